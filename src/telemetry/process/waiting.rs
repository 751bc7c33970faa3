//! Time in which something waited, however many waited at once.

use std::time::{Duration, Instant};

/// How long ends may come after each other out of order: a request waits at most an hour.
const KEPT: Duration = Duration::from_secs(3600);

/// Times that are covered already, in order and apart.
#[derive(Debug, Default)]
pub(super) struct Waiting(Vec<(Instant, Instant)>);

impl Waiting {
    /// Takes in that something waited until `end`, and returns how much of that time is new.
    pub(super) fn until(&mut self, end: Instant, waited: Duration) -> Duration {
        let Some(start) = end.checked_sub(waited) else {
            return Duration::ZERO;
        };
        if let Some(old) = end.checked_sub(KEPT) {
            self.0.retain(|(_, known)| *known >= old);
        }
        let covered = |times: &[(Instant, Instant)]| -> Duration {
            times.iter().map(|(start, end)| *end - *start).sum()
        };
        let before = covered(&self.0);
        let mut merged = (start, end);
        self.0.retain(|(known, until)| {
            let touches = *known <= merged.1 && *until >= merged.0;
            if touches {
                merged = (merged.0.min(*known), merged.1.max(*until));
            }
            !touches
        });
        let place = self.0.partition_point(|(known, _)| *known < merged.0);
        self.0.insert(place, merged);
        covered(&self.0).saturating_sub(before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_wait_at_once_count_once() {
        let begin = Instant::now();
        let second = |seconds: u64| Duration::from_secs(seconds);
        let mut waiting = Waiting::default();
        let mut until = |end: u64, waited: u64| {
            let new = waiting.until(begin + second(end), second(waited));
            new.as_secs()
        };
        assert_eq!(until(10, 4), 4);
        assert_eq!(until(10, 4), 0, "two at once");
        assert_eq!(until(11, 8), 4, "from 3 to 6, and to 11");
        assert_eq!(until(30, 5), 5);
        assert_eq!(until(26, 20), 14, "what lies between");
        assert_eq!(until(9000, 1), 1);
        assert_eq!(waiting.0.len(), 1, "what is long over is forgotten");
    }
}
