//! What a piece of work cost: time, the processor's time, memory.

use std::time::Instant;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// The cost of one run.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Usage {
    /// By the clock.
    pub seconds: f64,
    /// Of all threads of the process; 0 where the system does not say. On a machine that others use this is the fairer one.
    pub cpu_seconds: f64,
    /// The most memory that the process had meanwhile, in bytes; 0 where the system does not say.
    pub peak: u64,
}

impl Usage {
    /// The lesser of each.
    pub fn best(self, other: Option<Self>) -> Self {
        let Some(other) = other else { return self };
        Self {
            seconds: self.seconds.min(other.seconds),
            cpu_seconds: self.cpu_seconds.min(other.cpu_seconds),
            peak: self.peak.min(other.peak),
        }
    }
}

/// Measure `work`.
pub fn of(work: impl FnOnce()) -> Usage {
    // Linux: forget the peak until now.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let (begun, used) = (Instant::now(), cpu_seconds());
    work();
    Usage { seconds: begun.elapsed().as_secs_f64(), cpu_seconds: cpu_seconds() - used, peak: peak() }
}

/// Linux's, in nanoseconds, thread by thread.
fn cpu_seconds() -> f64 {
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let of = |path: std::path::PathBuf| -> Option<f64> {
        std::fs::read_to_string(path.join("schedstat")).ok()?.split(' ').next()?.parse().ok()
    };
    threads.filter_map(|thread| of(thread.path())).sum::<f64>() * 1e-9
}

fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// Bytes read and written a second by all threads, copying `values` f32.
pub fn copy_bytes_a_second(values: usize) -> f64 {
    let from = vec![1.0_f32; values];
    let mut to = vec![2.0_f32; values];
    let begun = Instant::now();
    to.par_chunks_mut(1 << 18).zip(from.par_chunks(1 << 18)).for_each(|(to, from)| to.copy_from_slice(from));
    std::hint::black_box(&to);
    8.0 * values as f64 / begun.elapsed().as_secs_f64()
}
