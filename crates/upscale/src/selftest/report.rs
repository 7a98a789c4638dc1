//! What a self-test found, fit for a bug report.

use serde::{Deserialize, Serialize};

use super::compare::Worst;
use super::recipe::{LEAST, Nearness};
use crate::device::AdapterInfo;

/// What a case is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Within its tolerance.
    Ok,
    /// Out of it.
    Wrong,
    /// NaN, infinite or misshapen.
    NotANumber,
    /// The device reported an error.
    Failed,
    /// The process ended by itself: a driver's crash, most likely.
    Crashed,
    /// Nothing was heard within the time limit.
    TimedOut,
}

/// One kernel at one shape.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CaseResult {
    /// The kernel.
    pub kernel: String,
    /// The shape of its input, and what else matters.
    pub shape: String,
    /// `f32` or `f16`.
    pub precision: String,
    /// What it is worth.
    pub verdict: Verdict,
    /// The worst error as a share of its tolerance; none if there was no number to compare.
    pub error: Option<f64>,
    /// Thousand million operations a second, where that was measured.
    pub gflops: Option<f64>,
    /// How long the case took, with its reference.
    pub seconds: f64,
    /// Where the worst error was, or what the device said; empty where all is well.
    pub note: String,
}

impl CaseResult {
    /// Of a case that nothing is known of yet.
    pub fn new(kernel: &str, shape: &str, precision: &str) -> Self {
        Self {
            kernel: kernel.into(),
            shape: shape.into(),
            precision: precision.into(),
            verdict: Verdict::Failed,
            error: None,
            gflops: None,
            seconds: 0.0,
            note: String::new(),
        }
    }

    pub(super) fn judge(&mut self, worst: &Worst) {
        self.verdict = match worst.share {
            share if !share.is_finite() => Verdict::NotANumber,
            share if share > 1.0 => Verdict::Wrong,
            _ => Verdict::Ok,
        };
        self.error = worst.share.is_finite().then_some(worst.share);
        if self.verdict != Verdict::Ok {
            self.note.clone_from(&worst.place);
        }
    }

    /// An error is in proportion to the square root of its power.
    pub(super) fn judge_recipe(&mut self, nearness: &Nearness) {
        let near = [(nearness.stored, "the stored result"), (nearness.processor, "the CPU's")];
        let near: Vec<(f64, &str)> =
            near.into_iter().filter_map(|(psnr, what)| Some((psnr?, what))).collect();
        let worst = near.iter().fold(f64::INFINITY, |worst, (psnr, _)| worst.min(*psnr));
        let share = 10f64.powf((LEAST - worst) / 20.0);
        self.judge(&Worst { share, place: String::new() });
        let words: Vec<String> =
            near.iter().map(|(psnr, what)| format!("{psnr:.1} dB from {what}")).collect();
        self.note = format!("{}; at least {LEAST} dB are needed", words.join(", "));
    }

    pub(super) fn fail(&mut self, reason: &str) {
        self.verdict = Verdict::Failed;
        self.note = reason.split_whitespace().collect::<Vec<_>>().join(" ");
    }
}

/// A device.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AdapterReport {
    /// What it is called.
    pub name: String,
    /// The adapter; none for the CPU, and where a driver did not even say what it has.
    pub adapter: Option<AdapterInfo>,
    /// Known-bad entries that are about it.
    pub known_bad: Vec<String>,
    /// What went wrong with the whole of it, if anything.
    pub failure: Option<String>,
    /// Every case, in the order they ran.
    pub cases: Vec<CaseResult>,
}

impl AdapterReport {
    /// Of a device, and of what ran on it.
    pub fn new(adapter: Option<AdapterInfo>, cases: Vec<CaseResult>) -> Self {
        let name = adapter.as_ref().map_or_else(|| "CPU".into(), |a| format!("{} through {}", a.name, a.api));
        let known = adapter.iter().flat_map(crate::known_bad::of).map(|entry| entry.claim()).collect();
        Self { name, adapter, known_bad: known, failure: None, cases }
    }

    /// Of what could not be tested at all.
    pub fn failed(name: &str, failure: String) -> Self {
        Self { name: name.into(), failure: Some(failure), ..Self::new(None, Vec::new()) }
    }

    /// Whether all of it ran and was right.
    pub fn passed(&self) -> bool {
        self.failure.is_none()
            && !self.cases.is_empty()
            && self.cases.iter().all(|case| case.verdict == Verdict::Ok)
    }
}

/// All of a self-test.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// The program's version.
    pub version: String,
    /// The system, as Rust names it: `linux`, `windows`, `macos`; `unknown` in a page.
    pub os: String,
    /// The processor, likewise: `x86_64`, `aarch64`, `wasm32`.
    pub arch: String,
    /// What Vulkan is spoken to in: `WGSL`, or `SPIR-V` in a build with the feature `spirv`.
    pub shaders: String,
    /// Of the page: what the browser calls itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub browser: Option<String>,
    /// Whether only the quick cases ran.
    pub quick: bool,
    /// Each device.
    pub adapters: Vec<AdapterReport>,
}

impl Report {
    /// Of this program on this machine.
    pub fn new(quick: bool, adapters: Vec<AdapterReport>) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").into(),
            os: std::env::consts::OS.into(),
            arch: std::env::consts::ARCH.into(),
            shaders: if cfg!(feature = "spirv") { "SPIR-V" } else { "WGSL" }.into(),
            browser: None,
            quick,
            adapters,
        }
    }

    /// How many devices are right, in a sentence.
    pub fn summary(&self) -> String {
        let passed = self.adapters.iter().filter(|adapter| adapter.passed()).count();
        format!("{passed} of {} devices compute right\n", self.adapters.len())
    }

    /// Whether all are.
    pub fn passed(&self) -> bool {
        self.adapters.iter().all(AdapterReport::passed)
    }
}
