//! The processor's threads, divided among the processes of a machine.

use std::thread::available_parallelism;

use clarifier_upscale::Link;

use crate::world::World;

/// Take this process's share of the threads. `machine` connects the processes of this machine; those that may run on the
/// same processors share them, whether they were bound to some or not. What the user says with RAYON_NUM_THREADS counts.
pub fn share(machine: &World) {
    let own = allowed();
    // MPI's own failures end the process.
    let all = machine.all_gather(own.clone().into_bytes()).unwrap_or_default();
    let sharing = all.iter().filter(|other| **other == own.as_bytes()).count().max(1);
    if std::env::var_os("RAYON_NUM_THREADS").is_none() {
        let threads = available_parallelism().map_or(1, usize::from).div_ceil(sharing);
        // Nobody else has made a pool yet.
        let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    }
}

/// The processors that this process may run on, as Linux lists them; nothing elsewhere.
fn allowed() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    line.unwrap_or_default().trim().to_owned()
}
