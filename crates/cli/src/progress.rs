//! Events to people and to programs.

use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clarifier_upscale::{Estimator, Event, Phase};
use indicatif::{ProgressBar, ProgressStyle};

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// A bar on standard error, or now and then a line where that is no terminal.
    Human,
    /// Every event as a line of JSON on standard output.
    Json,
    /// Nothing.
    Quiet,
}

/// The observer of one picture.
pub struct Progress {
    style: Style,
    bar: ProgressBar,
    terminal: bool,
    cancel: Arc<AtomicBool>,
    stage: String,
    begun: Instant,
    estimator: Estimator,
    last_line: Instant,
}

/// How often a line is written where there is no bar.
const LINE_EVERY: Duration = Duration::from_secs(10);

impl Progress {
    pub fn new(style: Style, cancel: Arc<AtomicBool>) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bar = if style == Style::Human && terminal { ProgressBar::new(1) } else { ProgressBar::hidden() };
        let template = "{prefix} {wide_bar} {pos}/{len} {msg}";
        bar.set_style(ProgressStyle::with_template(template).expect("a valid template"));
        Self {
            style,
            bar,
            terminal,
            cancel,
            stage: String::new(),
            begun: Instant::now(),
            estimator: Estimator::default(),
            last_line: Instant::now(),
        }
    }

    /// Take notice of an event.
    pub fn observe(&mut self, event: Event) -> ControlFlow<()> {
        match self.style {
            Style::Quiet => {}
            // Its pixels are not said, and tiles are counted.
            Style::Json if matches!(event, Event::Part(_)) => {}
            Style::Json => print_json(&event),
            Style::Human => self.show(&event),
        }
        if self.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn show(&mut self, event: &Event) {
        match event {
            Event::Load { network, bytes, total } => {
                self.bar.set_prefix(format!("loading {network}"));
                self.bar.set_length(total >> 20);
                self.bar.set_position(bytes >> 20);
                self.bar.set_message("MB");
            }
            Event::Resumed { stage, stages, phase, done, total } => self.line(&format!(
                "going on from stage {stage} of {stages}, {}{}",
                verb(*phase),
                if done == total {
                    ", which was done".to_owned()
                } else {
                    format!(": {done} of {total} tiles were done")
                }
            )),
            Event::Stage { stage, stages, width, height, .. } => {
                self.stage = match stages {
                    1 => format!("to {width} × {height}"),
                    _ => format!("stage {stage} of {stages}, to {width} × {height}"),
                };
                self.line(&self.stage);
            }
            Event::Tile { phase, done, total } => self.tile(*phase, *done, *total),
            Event::Warning { message } => self.line(&format!("warning: {message}")),
            // For those who look at pictures.
            Event::Preview(_) | Event::Part(_) | Event::Step { .. } => {}
        }
    }

    fn tile(&mut self, phase: Phase, done: usize, total: usize) {
        let left = self.estimator.tile(phase, done, total, self.begun.elapsed());
        let verb = verb(phase);
        let left = left.map_or_else(String::new, |left| format!("{} left", human(left)));
        self.bar.set_prefix(verb);
        self.bar.set_length(total as u64);
        self.bar.set_position(done as u64);
        self.bar.set_message(left.clone());
        if !self.terminal && self.last_line.elapsed() > LINE_EVERY {
            self.line(&format!("{verb}: {done} of {total} tiles {left}"));
            self.last_line = Instant::now();
        }
    }

    fn line(&self, text: &str) {
        self.bar.suspend(|| errln!("{text}"));
    }

    /// Whether the user wants it to stop.
    pub fn is_cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }

    /// What is set once the user wants it to stop.
    pub fn cancel(&self) -> &AtomicBool {
        &self.cancel
    }

    /// Something the user should know, without spoiling the bar.
    pub fn warn(&self, message: &str) {
        self.bar.suspend(|| warn(self.style, message));
    }

    /// Take the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// What is being done.
pub fn verb(phase: Phase) -> &'static str {
    match phase {
        Phase::Enlarge => "enlarging",
        Phase::Encode => "encoding",
        Phase::Diffuse => "redrawing",
        Phase::Decode => "decoding",
    }
}

/// Something the user should know.
pub fn warn(style: Style, message: &str) {
    match style {
        Style::Json => print_json(&Event::Warning { message: message.to_owned() }),
        Style::Human => errln!("warning: {message}"),
        Style::Quiet => {}
    }
}

/// A line of JSON on standard output.
pub fn print_json(value: &impl serde::Serialize) {
    let line = serde_json::to_string(value).expect("plain data");
    outln!("{line}");
}

/// `1 h 5 min`, `3 min 20 s`, `12 s`.
pub fn human(time: Duration) -> String {
    let seconds = time.as_secs_f64().round() as u64;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}
