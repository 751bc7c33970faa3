//! What every bench needs: the process's memory, and lines with targets beside them.

use std::time::{Duration, Instant};

/// Resident memory now and at its peak since [`reset_peak`], in bytes; zeros where the system has
/// no `/proc`.
pub fn memory() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kilobytes = line.and_then(|line| line.split_whitespace().next());
        kilobytes
            .and_then(|text| text.parse::<u64>().ok())
            .unwrap_or(0)
            * 1024
    };
    (field("VmRSS:"), field("VmHWM:"))
}

/// Forgets the peak of resident memory.
pub fn reset_peak() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// The shortest of `times` runs, and the most resident memory that any of them added.
pub fn shortest(times: usize, mut run: impl FnMut()) -> (Duration, u64) {
    let mut best = Duration::MAX;
    let mut added = 0;
    for _ in 0..times {
        reset_peak();
        let (before, _) = memory();
        let start = Instant::now();
        run();
        best = best.min(start.elapsed());
        added = added.max(memory().1.saturating_sub(before));
    }
    (best, added)
}

/// Prints a figure, and whether it misses its target.
pub fn figure(name: &str, measured: f64, unit: &str, target: Option<f64>) {
    let (target, mark) = match target {
        Some(target) if measured > target => (format!("< {target} {unit}"), "  MISSED"),
        Some(target) => (format!("< {target} {unit}"), ""),
        None => (String::new(), ""),
    };
    println!("{name:<58} {measured:>10.3} {unit:<6} {target}{mark}");
}
