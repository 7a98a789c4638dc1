//! This program once more, as a child that may crash or hang.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use clarifier_upscale::device::AdapterInfo;
use clarifier_upscale::selftest::{CaseResult, Progress};
use serde::{Deserialize, Serialize};

/// How long a driver may take to be taken down, after all is computed.
const TAKING_DOWN: Duration = Duration::from_secs(10);

/// A line of a child's standard output.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// The answer to `--list`.
    Adapters(Vec<AdapterInfo>),
    /// Of `--child`.
    Progress(Progress),
    /// All is said.
    Finished,
}

/// How a child ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// As it should.
    Finished,
    /// By itself.
    Ended(ExitStatus),
    /// By us.
    TimedOut,
    /// It never began.
    NotStarted(String),
}

impl End {
    /// What it did, for a sentence that begins with "it".
    pub fn words(&self, timeout: Duration) -> String {
        match self {
            Self::Finished => "finished".into(),
            Self::Ended(status) => format!("crashed ({status})"),
            Self::TimedOut => format!("did not end within {} s", timeout.as_secs()),
            Self::NotStarted(reason) => format!("could not be started ({reason})"),
        }
    }
}

/// What was heard of a child.
#[derive(Debug)]
pub struct Watched {
    pub adapters: Vec<AdapterInfo>,
    pub cases: Vec<CaseResult>,
    /// Kernel, shape and precision of the case that had begun and not ended.
    pub begun: Option<(String, String, String)>,
    pub end: End,
    /// The last line of its standard error.
    pub said: String,
}

/// Start this program with `selftest` and `arguments`, and listen until it ends or the time is over.
pub fn watch(arguments: &[String], timeout: Duration) -> Watched {
    let mut heard = Watched {
        adapters: Vec::new(),
        cases: Vec::new(),
        begun: None,
        end: End::TimedOut,
        said: String::new(),
    };
    let child = std::env::current_exe().and_then(|program| {
        let mut command = Command::new(program);
        command.arg("selftest").args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
    });
    let mut child = match child {
        Ok(child) => child,
        Err(error) => {
            heard.end = End::NotStarted(error.to_string());
            return heard;
        }
    };
    let (stdout, mut stderr) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
    let said = thread::spawn(move || {
        let mut bytes = Vec::new();
        // What it said before its end is all that matters.
        let _ = stderr.read_to_end(&mut bytes);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().trim().to_owned()
    });
    let (send, lines) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            // A driver may write to standard output too.
            if let Ok(line) = serde_json::from_str::<Line>(&line) {
                let _ = send.send(line);
            }
        }
    });
    let mut deadline = Instant::now() + timeout;
    let mut finished = false;
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(Line::Adapters(adapters)) => heard.adapters = adapters,
            Ok(Line::Progress(Progress::Begin { kernel, shape, precision })) => {
                heard.begun = Some((kernel, shape, precision));
            }
            Ok(Line::Progress(Progress::Done(case))) => {
                heard.begun = None;
                heard.cases.push(case);
            }
            Ok(Line::Progress(Progress::Planned(_) | Progress::Working)) => {}
            Ok(Line::Finished) => {
                finished = true;
                deadline = deadline.min(Instant::now() + TAKING_DOWN);
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
        }
    }
    // A driver that hangs while it is taken down has computed all the same.
    let status = ended(&mut child, deadline);
    heard.end = match status {
        _ if finished => End::Finished,
        Some(status) => End::Ended(status),
        None => End::TimedOut,
    };
    heard.said = said.join().unwrap_or_default();
    heard
}

/// Wait for a child whose output has ended, or kill it at the deadline.
fn ended(child: &mut std::process::Child, deadline: Instant) -> Option<ExitStatus> {
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        if Instant::now() >= deadline {
            // It may have ended just now.
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        thread::sleep(Duration::from_millis(10));
    }
}
