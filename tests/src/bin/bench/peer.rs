//! PyTorch in a process of its own, which does what it is told and says what it cost.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::cases::Case;
use crate::usage::Usage;

const ENDED: &str =
    "PyTorch's process has ended; CLARIFIER_PYTHON names a python with torch, diffusers and spandrel";

/// The process; it ends when its input does.
pub struct Peer {
    child: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
    /// Where it computes, and in what.
    pub kind: String,
}

impl Peer {
    /// With as many threads as we have; on a GPU, and in 16 bits there, if it can.
    pub fn start(threads: usize, on_gpu: bool, half: bool) -> Self {
        let python = std::env::var_os("CLARIFIER_PYTHON").unwrap_or_else(|| "python3".into());
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bin/bench/peer.py");
        let started = Command::new(&python)
            .arg(script)
            .args(on_gpu.then_some("gpu"))
            .args((on_gpu && half).then_some("half"))
            .env("OMP_NUM_THREADS", threads.to_string())
            // Threads that wait by turning would take the processor from us in our turn.
            .env("KMP_BLOCKTIME", "0")
            .env("OMP_WAIT_POLICY", "passive")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut child = started.unwrap_or_else(|error| fail(&format!("{}: {error}", python.display())));
        let to = child.stdin.take();
        let mut from = BufReader::new(child.stdout.take().expect("piped"));
        let mut kind = String::new();
        if !from.read_line(&mut kind).is_ok_and(|length| length > 0) {
            fail(ENDED);
        }
        Self { child, to, from, kind: kind.trim().into() }
    }

    /// Run a case once; the first time it is prepared and run once before.
    pub fn run(&mut self, case: &Case) -> Usage {
        let line = serde_json::to_string(case).expect("plain data");
        let mut answer = String::new();
        let to = self.to.as_mut().expect("open until dropped");
        let told = writeln!(to, "{line}").and_then(|()| to.flush());
        let heard = told.and_then(|()| self.from.read_line(&mut answer));
        let usage = heard.ok().and_then(|_| serde_json::from_str(&answer).ok());
        usage.unwrap_or_else(|| fail(ENDED))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.to = None;
        let _ = self.child.wait();
    }
}

fn fail(why: &str) -> ! {
    eprintln!("{why}");
    std::process::exit(1);
}
