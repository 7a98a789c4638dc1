//! `clarifier models` against a hub on this machine.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Output;
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};

use crate::{command, stderr};

/// How the hub misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Sound,
    /// Sends half of what was asked for, always.
    Cuts,
    /// Ignores `Range` and sends the whole file with 200.
    NoRange,
    /// Sends other bytes of the same length.
    WrongBytes,
    NotFound,
    Forbidden,
}

struct Hub {
    endpoint: String,
    mood: Arc<Mutex<Mood>>,
    requests: Arc<Mutex<Vec<String>>>,
    content: Vec<u8>,
}

impl Hub {
    fn start() -> Self {
        let content: Vec<u8> =
            (0..300_000u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        // Another host to a client, as the hub's storage is.
        let storage = TcpListener::bind("127.0.0.1:0").unwrap();
        let elsewhere = format!("http://{}", storage.local_addr().unwrap());
        let hub =
            Self { endpoint, mood: Arc::new(Mutex::new(Mood::Sound)), requests: Arc::default(), content };
        for listener in [listener, storage] {
            let (mood, requests, content) = (hub.mood.clone(), hub.requests.clone(), hub.content.clone());
            let elsewhere = elsewhere.clone();
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    let _ = answer(stream.unwrap(), *mood.lock().unwrap(), &requests, &content, &elsewhere);
                }
            });
        }
        hub
    }

    fn hash(&self) -> String {
        Sha256::digest(&self.content).iter().map(|b| format!("{b:02x}")).collect()
    }

    fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
        self.requests.lock().unwrap().clear();
    }

    fn run(&self, home: &Path, args: &[&str]) -> Output {
        command(home)
            .env("HF_ENDPOINT", &self.endpoint)
            .env("HF_TOKEN", "hf_secret")
            .arg("models")
            .args(args)
            .output()
            .unwrap()
    }

    fn log(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn answer(
    stream: TcpStream,
    mood: Mood,
    requests: &Mutex<Vec<String>>,
    content: &[u8],
    elsewhere: &str,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    let range = headers.get("range").cloned();
    let token = headers.contains_key("authorization");
    let line = format!(
        "{}{}{}",
        first.trim(),
        range.as_ref().map_or(String::new(), |r| format!(" {r}")),
        if token { " token" } else { "" }
    );
    requests.lock().unwrap().push(line);
    let mut stream = stream;
    let hash: String = Sha256::digest(content).iter().map(|b| format!("{b:02x}")).collect();
    let size = content.len();
    let (method, path) =
        (first.split(' ').next().unwrap_or_default(), first.split(' ').nth(1).unwrap_or_default());
    match mood {
        Mood::NotFound => {
            return write!(
                stream,
                "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            );
        }
        Mood::Forbidden => {
            return write!(
                stream,
                "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            );
        }
        _ => {}
    }
    if !path.starts_with("/storage/") {
        // A renamed repository redirects within the hub, the hub to its storage.
        if !path.starts_with("/renamed") {
            return write!(
                stream,
                "HTTP/1.1 307 Moved\r\nlocation: /renamed{path}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            );
        }
        return write!(
            stream,
            "HTTP/1.1 302 Found\r\nx-repo-commit: abc123\r\nx-linked-etag: \"{hash}\"\r\nx-linked-size: {size}\r\nlocation: {elsewhere}/storage/file\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        );
    }
    let start = range
        .filter(|_| mood != Mood::NoRange)
        .map_or(0, |r| r.trim_start_matches("bytes=").trim_end_matches('-').parse::<usize>().unwrap());
    let mut body = content[start..].to_vec();
    if mood == Mood::WrongBytes {
        body[0] ^= 1;
    }
    if start > 0 {
        write!(
            stream,
            "HTTP/1.1 206 Partial Content\r\ncontent-range: bytes {start}-{}/{size}\r\n",
            size - 1
        )?;
    } else {
        write!(stream, "HTTP/1.1 200 OK\r\n")?;
    }
    write!(stream, "content-length: {}\r\nconnection: close\r\n\r\n", body.len())?;
    if method == "HEAD" {
        return Ok(());
    }
    let sent = if mood == Mood::Cuts { body.len().div_ceil(2) } else { body.len() };
    stream.write_all(&body[..sent])?;
    stream.flush()?;
    // The client may still be sending; a reset would lose what it has not read yet.
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let _ = reader.read(&mut [0; 64]);
    Ok(())
}

#[test]
fn a_model_is_downloaded_through_redirects_and_found_again() {
    let (hub, home) = (Hub::start(), tempfile::tempdir().unwrap());
    let output = hub.run(home.path(), &["pull", "vae-ft-mse"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains("licence: MIT"));
    let repo = home.path().join("hub/models--stabilityai--sd-vae-ft-mse");
    let file = repo.join("snapshots/abc123/diffusion_pytorch_model.safetensors");
    assert_eq!(std::fs::read(&file).unwrap(), hub.content);
    assert_eq!(std::fs::read(repo.join("blobs").join(hub.hash())).unwrap(), hub.content);
    assert_eq!(std::fs::read_to_string(repo.join("refs/main")).unwrap(), "abc123");
    // The token goes to the hub, never to where it redirects.
    let log = hub.log();
    assert!(log.iter().all(|line| line.contains("token") != line.contains("/storage/")), "{log:?}");
    assert!(!stderr(&output).contains("hf_secret"));
    // Nothing is fetched twice.
    hub.set(Mood::Sound);
    assert!(hub.run(home.path(), &["pull", "vae-ft-mse"]).status.success());
    assert!(hub.log().iter().all(|line| line.starts_with("HEAD")), "{:?}", hub.log());
    let path = hub.run(home.path(), &["path", "vae-ft-mse"]);
    assert_eq!(String::from_utf8(path.stdout).unwrap().trim(), file.display().to_string());
    let list = String::from_utf8(hub.run(home.path(), &["list"]).stdout).unwrap();
    assert!(list.lines().any(|l| l.starts_with("vae-ft-mse") && l.contains("here")));
    assert!(hub.run(home.path(), &["verify"]).status.success());
    std::fs::write(repo.join("blobs").join(hub.hash()), b"damaged").unwrap();
    let verify = hub.run(home.path(), &["verify"]);
    assert_eq!(verify.status.code(), Some(1));
    assert!(stderr(&verify).contains("damaged: vae-ft-mse"));
}

#[test]
fn a_cut_off_transfer_goes_on_where_it_stopped() {
    let (hub, home) = (Hub::start(), tempfile::tempdir().unwrap());
    // The first 400 000 bytes are there from an earlier try, and every answer is cut in half.
    let blobs = home.path().join("hub/models--stabilityai--sd-vae-ft-mse/blobs");
    std::fs::create_dir_all(&blobs).unwrap();
    std::fs::write(blobs.join(format!("{}.incomplete", hub.hash())), &hub.content[..400_000]).unwrap();
    hub.set(Mood::Cuts);
    let output = hub.run(home.path(), &["pull", "vae-ft-mse"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let log = hub.log();
    let parts: Vec<_> = log.iter().filter(|l| l.starts_with("GET")).collect();
    assert!(parts[0].contains("bytes=400000-") && parts[1].contains("bytes=800000-"), "{parts:?}");
    assert_eq!(std::fs::read(blobs.join(hub.hash())).unwrap(), hub.content);
}

#[test]
fn a_server_without_ranges_starts_over() {
    let (hub, home) = (Hub::start(), tempfile::tempdir().unwrap());
    let blobs = home.path().join("hub/models--stabilityai--sd-vae-ft-mse/blobs");
    std::fs::create_dir_all(&blobs).unwrap();
    std::fs::write(blobs.join(format!("{}.incomplete", hub.hash())), vec![0; 1000]).unwrap();
    hub.set(Mood::NoRange);
    let output = hub.run(home.path(), &["pull", "vae-ft-mse"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(std::fs::read(blobs.join(hub.hash())).unwrap(), hub.content);
}

#[test]
fn refusals_and_wrong_hashes_are_said_and_leave_nothing() {
    let (hub, home) = (Hub::start(), tempfile::tempdir().unwrap());
    for (mood, says) in [
        (Mood::WrongBytes, "it was deleted; try again"),
        (Mood::NotFound, "the hub has no diffusion_pytorch_model.safetensors"),
        (Mood::Forbidden, "set HF_TOKEN"),
    ] {
        hub.set(mood);
        let output = hub.run(home.path(), &["pull", "vae-ft-mse"]);
        assert_eq!(output.status.code(), Some(1), "{mood:?}");
        assert!(stderr(&output).contains(says), "{mood:?}: {}", stderr(&output));
        let blobs = home.path().join("hub/models--stabilityai--sd-vae-ft-mse/blobs");
        let kept = std::fs::read_dir(blobs).map_or(0, |d| {
            d.filter(|e| e.as_ref().unwrap().path().extension().is_none_or(|x| x != "lock")).count()
        });
        assert_eq!(kept, 0, "{mood:?}");
    }
    // The author's own hash is known for this one, and the hub's is another.
    hub.set(Mood::Sound);
    let output = hub.run(home.path(), &["pull", "juggernaut-reborn"]);
    assert!(stderr(&output).contains("it is not the same file"), "{}", stderr(&output));
    let unknown = hub.run(home.path(), &["pull", "no-such-model"]);
    assert!(stderr(&unknown).contains("there is no model \"no-such-model\""));
}

#[test]
fn non_commercial_models_need_their_name() {
    let (hub, home) = (Hub::start(), tempfile::tempdir().unwrap());
    let output = hub.run(home.path(), &["pull", "ultrasharp"]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("NOT for commercial use"));
    hub.set(Mood::NotFound);
    let all = String::from_utf8(hub.run(home.path(), &["pull"]).stdout).unwrap();
    assert!(!all.contains("CC BY-NC"), "{all}");
}
