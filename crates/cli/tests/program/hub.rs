//! A hub on this machine, with the ways in which one misbehaves.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Output;
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};

use crate::command;

/// How the hub misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Sound,
    /// Sends half of what was asked for, always.
    Cuts,
    /// Ignores `Range` and sends the whole file with 200.
    NoRange,
    /// Says 503 the first time that its storage is asked.
    BusyOnce,
    /// Says 416 to every `Range`.
    NoSuchPart,
    /// Sends other bytes of the same length.
    WrongBytes,
    NotFound,
    Forbidden,
}

/// A hub on this machine, and its storage.
pub struct Hub {
    pub endpoint: String,
    mood: Arc<Mutex<Mood>>,
    requests: Arc<Mutex<Vec<String>>>,
    pub content: Vec<u8>,
}

impl Hub {
    /// One that behaves.
    pub fn start() -> Self {
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

    /// Of the only file it has.
    pub fn hash(&self) -> String {
        Sha256::digest(&self.content).iter().map(|b| format!("{b:02x}")).collect()
    }

    /// Behave so from now on, and forget the requests.
    pub fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
        self.requests.lock().unwrap().clear();
    }

    /// `clarifier models ARGS` against it.
    pub fn run(&self, home: &Path, args: &[&str]) -> Output {
        command(home)
            .env("HF_ENDPOINT", &self.endpoint)
            .env("HF_TOKEN", "hf_secret")
            .arg("models")
            .args(args)
            .output()
            .unwrap()
    }

    /// The requests for bytes.
    pub fn parts(&self) -> Vec<String> {
        self.log().into_iter().filter(|l| l.starts_with("GET /storage/")).collect()
    }

    /// All requests.
    pub fn log(&self) -> Vec<String> {
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
    let (asked_before, asked_of_storage) = {
        let mut requests = requests.lock().unwrap();
        let address = line.split(" HTTP/").next().unwrap().to_owned();
        let asked_before = requests.iter().any(|l| l.starts_with(&format!("{address} ")));
        requests.push(line);
        (asked_before, requests.iter().filter(|l| l.contains("/storage/")).count())
    };
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
            "HTTP/1.1 302 Found\r\nx-repo-commit: abc123\r\nx-linked-etag: \"{hash}\"\r\nx-linked-size: {size}\r\nlocation: {elsewhere}/storage/{}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            requests.lock().unwrap().len()
        );
    }
    // Signed addresses expire; these at once.
    let refusal = match mood {
        _ if asked_before => Some("403 Forbidden"),
        Mood::BusyOnce if asked_of_storage == 1 => Some("503 Service Unavailable"),
        Mood::NoSuchPart if range.is_some() => Some("416 Range Not Satisfiable"),
        _ => None,
    };
    if let Some(refusal) = refusal {
        return write!(stream, "HTTP/1.1 {refusal}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
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
