//! `clarifier models` against a hub on this machine.

use std::io::{BufRead, BufReader};

use sha2::{Digest, Sha256};

use crate::hub::{Hub, Mood};
use crate::{command, stderr};

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
    assert!(list.lines().any(|l| l.starts_with("starter") && l.contains("built in")));
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
    let parts = hub.parts();
    assert!(parts[0].contains("bytes=400000-") && parts[1].contains("bytes=800000-"), "{parts:?}");
    assert_eq!(std::fs::read(blobs.join(hub.hash())).unwrap(), hub.content);
}

#[test]
fn a_server_without_ranges_starts_over() {
    for mood in [Mood::NoRange, Mood::NoSuchPart] {
        let (hub, home) = (Hub::start(), tempfile::tempdir().unwrap());
        let blobs = home.path().join("hub/models--stabilityai--sd-vae-ft-mse/blobs");
        std::fs::create_dir_all(&blobs).unwrap();
        std::fs::write(blobs.join(format!("{}.incomplete", hub.hash())), vec![0; 1000]).unwrap();
        hub.set(mood);
        let output = hub.run(home.path(), &["pull", "vae-ft-mse"]);
        assert!(output.status.success(), "{mood:?}: {}", stderr(&output));
        assert_eq!(std::fs::read(blobs.join(hub.hash())).unwrap(), hub.content, "{mood:?}");
    }
}

#[test]
fn a_busy_server_is_asked_again() {
    let (hub, home) = (Hub::start(), tempfile::tempdir().unwrap());
    hub.set(Mood::BusyOnce);
    let output = hub.run(home.path(), &["pull", "vae-ft-mse"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(hub.parts().len(), 2);
}

#[test]
fn two_processes_download_once() {
    let (hub, home) = (Hub::start(), tempfile::tempdir().unwrap());
    // huggingface_hub locks the same file.
    let locks = home.path().join("hub/.locks/models--stabilityai--sd-vae-ft-mse");
    std::fs::create_dir_all(&locks).unwrap();
    let lock = std::fs::File::create(locks.join(format!("{}.lock", hub.hash()))).unwrap();
    lock.lock().unwrap();
    let mut waiting = [(); 2].map(|()| {
        command(home.path())
            .env("HF_ENDPOINT", &hub.endpoint)
            .args(["models", "pull", "vae-ft-mse"])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap()
    });
    for process in &mut waiting {
        let mut line = String::new();
        BufReader::new(process.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains("another process"), "{line}");
    }
    assert_eq!(hub.parts().len(), 0);
    lock.unlock().unwrap();
    for mut process in waiting {
        assert!(process.wait().unwrap().success());
    }
    assert_eq!(hub.parts().len(), 1, "{:?}", hub.log());
}

#[test]
#[cfg(unix)]
fn what_other_tools_downloaded_is_used_without_a_connection() {
    let home = tempfile::tempdir().unwrap();
    let repo = home.path().join("hub/models--stabilityai--sd-vae-ft-mse");
    let hash: String = Sha256::digest(b"weights").iter().map(|b| format!("{b:02x}")).collect();
    for folder in ["blobs", "refs", "snapshots/abc"] {
        std::fs::create_dir_all(repo.join(folder)).unwrap();
    }
    std::fs::write(repo.join("blobs").join(&hash), b"weights").unwrap();
    std::fs::write(repo.join("refs/main"), "abc").unwrap();
    let file = repo.join("snapshots/abc/diffusion_pytorch_model.safetensors");
    std::os::unix::fs::symlink(format!("../../blobs/{hash}"), &file).unwrap();
    for verb in ["pull", "path", "verify"] {
        let output = command(home.path())
            .env("HF_ENDPOINT", "http://127.0.0.1:9")
            .args(["models", verb, "vae-ft-mse"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{verb}: {}", stderr(&output));
    }
    // Where links are none, the file is a copy, and is compared with the blobs beside it.
    std::fs::remove_file(&file).unwrap();
    std::fs::copy(repo.join("blobs").join(&hash), &file).unwrap();
    let verify = |expected| {
        let output = command(home.path()).args(["models", "verify"]).output().unwrap();
        assert_eq!(output.status.code(), Some(expected), "{}", stderr(&output));
    };
    verify(0);
    std::fs::write(&file, b"weightz").unwrap();
    verify(1);
}

#[test]
#[cfg(target_os = "linux")]
fn a_disk_too_small_is_said_before_anything_is_downloaded() {
    let (hub, home) = (Hub::start(), tempfile::tempdir().unwrap());
    std::fs::create_dir(home.path().join("hub")).unwrap();
    // A disk of 512 KiB, in a mount namespace of the program's own.
    let script = format!(
        "mount -t tmpfs -o size=512k none hub && {} models pull vae-ft-mse; code=$?; find hub -path '*blobs/*'; exit $code",
        env!("CARGO_BIN_EXE_clarifier")
    );
    let output = std::process::Command::new("unshare")
        .args(["--mount", "--map-root-user", "sh", "-c", &script])
        .env("HF_HOME", home.path())
        .env("HF_ENDPOINT", &hub.endpoint)
        .env_remove("HF_HUB_CACHE")
        .current_dir(home.path())
        .output()
        .expect("unshare, of util-linux");
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains("make room, or set HF_HOME"), "{}", stderr(&output));
    assert!(!String::from_utf8_lossy(&output.stdout).contains("blobs/"));
    assert_eq!(hub.parts().len(), 0);
}

#[test]
#[cfg(unix)]
fn a_reader_that_has_seen_enough_is_no_error() {
    let home = tempfile::tempdir().unwrap();
    let script = format!("(sleep 0.3; {} models list) | true", env!("CARGO_BIN_EXE_clarifier"));
    let output = std::process::Command::new("sh").args(["-c", &script]).env("HF_HOME", home.path()).output();
    assert_eq!(stderr(&output.unwrap()), "");
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
