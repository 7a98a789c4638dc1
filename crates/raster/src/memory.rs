//! How much memory there is, for what can only be done in one piece.

/// Bytes that can be taken without swapping, as far as the system says: what the machine has free, and what
/// the control group that this runs in has left (containers, batch systems).
pub(crate) fn available() -> Option<u64> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let machine = read("/proc/meminfo").as_deref().and_then(of_meminfo);
    let number = |path: &str| read(path)?.trim().parse::<u64>().ok();
    // "max" where there is no limit. What is cached of files is given up when memory is short.
    let cached = read("/sys/fs/cgroup/memory.stat").as_deref().and_then(of_memory_stat).unwrap_or(0);
    let group = number("/sys/fs/cgroup/memory.max")
        .zip(number("/sys/fs/cgroup/memory.current"))
        .map(|(most, used)| most.saturating_sub(used.saturating_sub(cached)));
    machine.into_iter().chain(group).min()
}

fn of_meminfo(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

fn of_memory_stat(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("file "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_from_the_kernels_words() {
        let text =
            "MemTotal:       24594420 kB\nMemFree:  12 kB\nMemAvailable:   23000000 kB\nBuffers: 1 kB\n";
        assert_eq!(of_meminfo(text), Some(23_000_000 * 1024));
        assert_eq!(of_meminfo("MemTotal: 1 kB\n"), None);
        assert_eq!(of_memory_stat("anon 5\nfile 4096\nfile_mapped 7\n"), Some(4096));
        assert_eq!(available().is_some(), cfg!(target_os = "linux"));
    }
}
