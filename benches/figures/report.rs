//! Lines of the table, and what `/proc` says of a process.

use std::time::{Duration, Instant};

/// The end of a line whose figure misses its target.
pub const MISSED: &str = "MISSED";

/// Prints a figure, and whether it misses its target: at most so much.
pub fn figure(name: &str, measured: f64, unit: &str, target: Option<f64>) {
    let (target, mark) = match target {
        Some(target) if measured >= target => (format!("< {target} {unit}"), MISSED),
        Some(target) => (format!("< {target} {unit}"), ""),
        None => (String::new(), ""),
    };
    let line = format!("  {name:<60} {measured:>10.3} {unit:<7} {target:<10} {mark}");
    println!("{}", line.trim_end());
}

/// Prints what a figure is made of.
pub fn note(text: &str) {
    println!("      {text}");
}

/// Bytes as megabytes.
pub fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// Resident memory of a process in bytes: now, and at its peak since [`reset_peak`]. Zeros where
/// the system has no `/proc`.
pub fn memory_of(process: &str) -> (u64, u64) {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
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

/// Resident memory of this process.
pub fn memory() -> (u64, u64) {
    memory_of("self")
}

/// Processor time that a process has used, in user and kernel mode.
pub fn cpu_of(process: &str) -> Duration {
    // Ticks are hundredths of a second wherever Linux runs; the name before `)` may hold spaces.
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.filter_map(|text| text.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// Forgets the peak of this process's resident memory.
fn reset_peak() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// The longest of `times` runs, and the most resident memory that any of them added.
pub fn longest(times: usize, mut run: impl FnMut()) -> (Duration, u64) {
    let mut worst = Duration::ZERO;
    let mut added = 0;
    for _ in 0..times {
        reset_peak();
        let (before, _) = memory();
        let start = Instant::now();
        run();
        worst = worst.max(start.elapsed());
        added = added.max(memory().1.saturating_sub(before));
    }
    (worst, added)
}
