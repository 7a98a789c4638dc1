//! One file, resumed where it was cut off, checked, then given its name.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use indicatif::{DecimalBytes, ProgressBar, ProgressStyle};

use super::cache::Cache;
use super::http::{Hub, PartRefused, Remote, ServerTrouble};
use super::manifest::Model;
use super::verify::{hash_of, is_sha256};

/// How often a cut-off transfer is taken up again before giving up.
const ATTEMPTS: usize = 5;

/// The first pause before a cut-off transfer is taken up again; each further one is twice as long.
const PAUSE: Duration = Duration::from_millis(500);

/// The model's file, downloaded unless it is here already.
pub fn pull(cache: &Cache, model: &Model) -> Result<PathBuf> {
    let hub = Hub::from_environment();
    let remote = match hub.look_up(model) {
        Ok(remote) => remote,
        // Without a connection, what is here is here.
        Err(error) => return cache.find(model).ok_or(error),
    };
    if !remote.hash.starts_with(&model.sha256_start) {
        bail!(
            "the hub's file has the hash {}, its author's begins with {}: it is not the same file",
            remote.hash,
            model.sha256_start
        );
    }
    let blob = cache.blob(model, &remote.hash);
    outln!("  {}", DecimalBytes(remote.size));
    if !blob.is_file() {
        let lock = cache.lock(model, &remote.hash);
        for folder in [&blob, &lock].map(|file| file.parent().expect("it is in the cache")) {
            std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock)
            .with_context(|| lock.display().to_string())?;
        if lock.try_lock().is_err() {
            errln!("  another process is downloading this; waiting for it");
            lock.lock()?;
        }
        // The other process may have finished it.
        if !blob.is_file() {
            fetch(&hub, model, &remote, &blob)?;
        }
    }
    cache.publish(model, &remote.commit, &remote.hash)
}

fn fetch(hub: &Hub, model: &Model, remote: &Remote, blob: &Path) -> Result<()> {
    let part = blob.with_file_name(format!("{}.incomplete", remote.hash));
    let here = std::fs::metadata(&part).map_or(0, |part| part.len());
    check_space(&part, remote.size.saturating_sub(here))?;
    let mut file = File::options().create(true).read(true).write(true).truncate(false).open(&part)?;
    let bar = ProgressBar::new(remote.size);
    let template =
        "  {decimal_bytes} of {decimal_total_bytes} {wide_bar} {decimal_bytes_per_sec}, {eta} left";
    bar.set_style(ProgressStyle::with_template(template).expect("a valid template"));
    let mut attempt = 0;
    loop {
        let start = file.metadata()?.len();
        if start == remote.size {
            break;
        }
        if start > remote.size {
            file.set_len(0)?;
            continue;
        }
        if let Err(error) = transfer(hub, model, remote, &mut file, start, &bar) {
            let progressed = file.metadata()?.len() > start;
            attempt = if progressed { 0 } else { attempt + 1 };
            if !is_transient(&error) || attempt >= ATTEMPTS {
                return Err(
                    error.context("the part that arrived is kept: the same command goes on from there")
                );
            }
            if attempt > 0 {
                std::thread::sleep(PAUSE * (1 << (attempt - 1)));
            }
        }
    }
    bar.finish_and_clear();
    file.sync_all()?;
    if is_sha256(&remote.hash) {
        let hash = hash_of(&mut file)?;
        if hash != remote.hash {
            drop(file);
            std::fs::remove_file(&part)?;
            bail!("what arrived has the hash {hash}, not {}: it was deleted; try again", remote.hash);
        }
    }
    std::fs::rename(&part, blob)?;
    Ok(())
}

/// Whether the disk can take `needed` more bytes; a disk that does not say is trusted.
fn check_space(part: &Path, needed: u64) -> Result<()> {
    let folder = part.parent().expect("it is in a repository");
    match fs4::available_space(folder) {
        Ok(free) if free < needed => bail!(
            "{} has {} free and {} are needed; make room, or set HF_HOME to another disk",
            folder.display(),
            DecimalBytes(free),
            DecimalBytes(needed)
        ),
        _ => Ok(()),
    }
}

/// A server that refuses will refuse again; a connection that broke may not.
fn is_transient(error: &anyhow::Error) -> bool {
    let connection = |cause: &ureq::Error| {
        matches!(cause, ureq::Error::Io(_) | ureq::Error::Timeout(_) | ureq::Error::Protocol(_))
    };
    error.is::<CutOff>()
        || error.is::<ServerTrouble>()
        || error.chain().any(|cause| {
            cause.downcast_ref().is_some_and(connection)
                || (cause.is::<std::io::Error>() && !is_disk_full(cause))
        })
}

fn is_disk_full(cause: &(dyn std::error::Error + 'static)) -> bool {
    cause.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::StorageFull)
}

/// The connection ended before the file did.
#[derive(Debug)]
struct CutOff;

impl std::fmt::Display for CutOff {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the transfer was cut off")
    }
}

impl std::error::Error for CutOff {}

/// Append what the server sends from `start` on.
fn transfer(
    hub: &Hub,
    model: &Model,
    remote: &Remote,
    file: &mut File,
    start: u64,
    bar: &ProgressBar,
) -> Result<()> {
    let (resumed, mut body) = match hub.bytes(&remote.url, start, model) {
        Err(error) if start > 0 && error.is::<PartRefused>() => {
            file.set_len(0)?;
            hub.bytes(&remote.url, 0, model)?
        }
        other => other?,
    };
    let mut at = if resumed { start.min(file.metadata()?.len()) } else { 0 };
    if !resumed {
        file.set_len(0)?;
    }
    file.seek(SeekFrom::Start(at))?;
    let mut buffer = vec![0; 1 << 16];
    while at < remote.size {
        let read = body.read(&mut buffer)?;
        if read == 0 {
            return Err(CutOff.into());
        }
        file.write_all(&buffer[..read])?;
        at += read as u64;
        bar.set_position(at);
    }
    if at > remote.size {
        file.set_len(0)?;
        bail!("the server sent more than the file's {} bytes", remote.size);
    }
    Ok(())
}
