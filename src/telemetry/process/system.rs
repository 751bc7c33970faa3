//! What the operating system says of this process: Linux's `/proc`, nothing elsewhere.

use std::fs;

/// Clock ticks per second in `/proc`: Linux shows every architecture this program is built for the
/// same 100, whatever the kernel's own rate.
const TICKS_PER_SECOND: f64 = 100.0;

/// The figures of the standard `process_*` metrics; `None` where the system does not report them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Usage {
    /// User and system CPU time, in seconds.
    pub(super) cpu_seconds: Option<f64>,
    /// Open file descriptors.
    pub(super) open_fds: Option<f64>,
    /// File descriptors that may be open; `None` also when unlimited.
    pub(super) max_fds: Option<f64>,
    /// Resident memory, in bytes.
    pub(super) resident_bytes: Option<f64>,
    /// Virtual memory, in bytes.
    pub(super) virtual_bytes: Option<f64>,
    /// Start of the process, in seconds since the epoch.
    pub(super) start_seconds: Option<f64>,
    /// Threads.
    pub(super) threads: Option<f64>,
}

impl Usage {
    /// Reads the figures as they are now.
    pub(super) fn now() -> Self {
        // Elsewhere files of these names may be anything.
        if !cfg!(target_os = "linux") {
            return Self::default();
        }
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let status = read("/proc/self/status");
        let stat = read("/proc/self/stat");
        Self {
            cpu_seconds: cpu_seconds(&stat),
            open_fds: open_fds(),
            max_fds: max_fds(&read("/proc/self/limits")),
            resident_bytes: kilobytes(&status, "VmRSS:"),
            virtual_bytes: kilobytes(&status, "VmSize:"),
            start_seconds: start_seconds(&stat, &read("/proc/stat")),
            threads: field(&status, "Threads:").and_then(|value| value.parse().ok()),
        }
    }
}

/// The first word after `name` at the start of a line.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()
}

fn kilobytes(status: &str, name: &str) -> Option<f64> {
    let kilobytes: f64 = field(status, name)?.parse().ok()?;
    Some(kilobytes * 1024.0)
}

/// A field of `/proc/self/stat` by its number in proc(5). The second, the program's name, may hold
/// blanks and parentheses, so counting starts after its end.
fn stat_field(stat: &str, number: usize) -> Option<f64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let field = after_name.split_whitespace().nth(number.checked_sub(3)?)?;
    field.parse().ok()
}

fn cpu_seconds(stat: &str) -> Option<f64> {
    Some((stat_field(stat, 14)? + stat_field(stat, 15)?) / TICKS_PER_SECOND)
}

fn start_seconds(stat: &str, system: &str) -> Option<f64> {
    let boot: f64 = field(system, "btime ")?.parse().ok()?;
    Some(boot + stat_field(stat, 22)? / TICKS_PER_SECOND)
}

fn open_fds() -> Option<f64> {
    let count = fs::read_dir("/proc/self/fd").ok()?.count();
    // One of them is the directory being read.
    u32::try_from(count.saturating_sub(1)).ok().map(f64::from)
}

fn max_fds(limits: &str) -> Option<f64> {
    field(limits, "Max open files")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_proc_are_understood() {
        let stat = "4242 (a b) c) S 1 4242 4242 0 -1 4194560 500 0 0 0 150 25 0 0 20 0 7 0 12345 \
                    1000000 300 18446744073709551615 1 1";
        assert_eq!(cpu_seconds(stat), Some(1.75));
        let system = "cpu  1 2 3\nbtime 1700000000\nprocesses 9";
        assert_eq!(start_seconds(stat, system), Some(1_700_000_123.45));
        let status = "Name:\tx\nVmSize:\t    2048 kB\nVmRSS:\t   1024 kB\nThreads:\t7\n";
        assert_eq!(kilobytes(status, "VmRSS:"), Some(1_048_576.0));
        assert_eq!(kilobytes(status, "VmSize:"), Some(2_097_152.0));
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max open files            1024                 524288               files\n";
        assert_eq!(max_fds(limits), Some(1024.0));
        assert_eq!(max_fds("Max open files  unlimited unlimited files"), None);
        assert_eq!(cpu_seconds("nonsense"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_is_reported_whole() {
        let usage = Usage::now();
        assert!(usage.resident_bytes.is_some_and(|bytes| bytes > 100_000.0));
        assert!(usage.virtual_bytes >= usage.resident_bytes);
        assert!(usage.open_fds.is_some_and(|fds| fds >= 3.0), "{usage:?}");
        assert!(usage.threads.is_some_and(|threads| threads >= 1.0));
        assert!(usage.cpu_seconds.is_some());
        assert!(usage.start_seconds.is_some_and(|start| start > 1.6e9));
    }
}
