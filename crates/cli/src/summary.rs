//! What became of each picture of a batch.

use std::path::{Path, PathBuf};

use crate::progress::{Style, print_json};
use crate::{Outcome, words};

/// Counts and reasons.
pub struct Summary {
    style: Style,
    total: usize,
    done: usize,
    skipped: Vec<PathBuf>,
    failed: Vec<(PathBuf, String)>,
    cancelled: bool,
    /// Of a process that leaves talking to another.
    follows: bool,
}

impl Summary {
    /// Of `total` pictures.
    pub fn new(style: Style, total: usize) -> Self {
        let (skipped, failed) = (Vec::new(), Vec::new());
        Self { style, total, done: 0, skipped, failed, cancelled: false, follows: false }
    }

    /// Of `total` pictures, silent.
    pub fn of_follower(total: usize) -> Self {
        Self { follows: true, ..Self::new(Style::Quiet, total) }
    }

    pub fn done(&mut self) {
        self.done += 1;
    }

    /// Its result is there already.
    pub fn skipped(&mut self, input: &Path, output: &Path) {
        match self.style {
            Style::Json => {
                print_json(&serde_json::json!({ "event": "skipped", "input": input, "output": output }));
            }
            Style::Human => errln!("{}: it exists already; skipped", output.display()),
            Style::Quiet => {}
        }
        self.skipped.push(input.to_owned());
    }

    pub fn failed(&mut self, input: &Path, error: &anyhow::Error) {
        let message = words::of_error(error);
        if !self.follows {
            errln!("error: {message}");
        }
        if self.style == Style::Json {
            print_json(&serde_json::json!({ "event": "error", "input": input, "message": message }));
        }
        self.failed.push((input.to_owned(), message));
    }

    /// The user stopped it.
    pub fn cancelled(&mut self) {
        self.cancelled = true;
    }

    pub fn is_cancelled(&self) -> bool {
        self.cancelled
    }

    /// Say how it ended: in a line for each that failed, if there were several pictures.
    pub fn finish(&self) -> Outcome {
        if self.cancelled && self.follows {
            return Outcome::Cancelled;
        }
        if self.cancelled {
            match self.done {
                0 => errln!("cancelled; no result was written"),
                done => errln!("cancelled; only the {done} pictures before this one were written"),
            }
            if self.style == Style::Json {
                print_json(&serde_json::json!({ "event": "cancelled", "done": self.done }));
            }
            return Outcome::Cancelled;
        }
        if self.total > 1 {
            match self.style {
                Style::Json => print_json(&self.json()),
                Style::Human => errln!("{}", self.text()),
                Style::Quiet => {}
            }
        }
        if self.failed.is_empty() { Outcome::Done } else { Outcome::Failed }
    }

    /// How it ended, in a line.
    pub fn state(&self) -> String {
        match (self.cancelled, &self.failed[..]) {
            (true, _) => "cancelled".into(),
            (_, []) => "done".into(),
            (_, [(_, message)]) if self.total == 1 => format!("failed: {message}"),
            (_, failed) => format!("failed: {} of {} pictures; {}", failed.len(), self.total, failed[0].1),
        }
    }

    fn json(&self) -> serde_json::Value {
        let failed = self.failed.iter();
        let failed: Vec<_> = failed
            .map(|(input, message)| serde_json::json!({ "input": input, "message": message }))
            .collect();
        serde_json::json!({
            "event": "summary", "total": self.total, "done": self.done, "skipped": self.skipped,
            "failed": failed,
        })
    }

    /// `2 of 5 pictures done, 1 skipped, 2 failed:` and the reasons.
    pub fn text(&self) -> String {
        let mut text = format!("{} of {} pictures done", self.done, self.total);
        if !self.skipped.is_empty() {
            text += &format!(", {} skipped", self.skipped.len());
        }
        if !self.failed.is_empty() {
            text += &format!(", {} failed:", self.failed.len());
        }
        for (input, message) in &self.failed {
            let name = input.display().to_string();
            // Most reasons name the picture themselves.
            let message = message.strip_prefix(&format!("{name}: ")).unwrap_or(message);
            text += &format!("\n  {name}: {message}");
        }
        text
    }
}
