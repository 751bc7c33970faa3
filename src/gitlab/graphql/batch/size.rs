//! How many projects go into one query: few at first, twice as many after each success until one is too
//! heavy, halved then, and growing slowly back.

use std::time::Duration;

/// Projects in the first query: nothing is known of what they cost this GitLab.
const START: usize = 5;
/// GitLab's time for a query that is too heavy: it gives up after 30 s, and others wait for its worker.
const LONG: Duration = Duration::from_secs(5);
/// Successes at one size before the size grows, once a query was too heavy.
const PATIENCE: u32 = 4;

/// The size of the next batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BatchSize {
    current: usize,
    max: usize,
    successes: u32,
    /// Whether a query has been too heavy.
    has_failed: bool,
}

impl BatchSize {
    /// Begins small.
    pub(super) fn new(max: usize) -> Self {
        let max = max.max(1);
        Self {
            current: START.min(max),
            max,
            successes: 0,
            has_failed: false,
        }
    }

    /// Items to put into the next query; at least 1.
    pub(super) const fn get(&self) -> usize {
        self.current
    }

    /// A batch of `len` succeeded, for which GitLab worked so long.
    pub(super) fn took(&mut self, len: usize, server_time: Duration) {
        if server_time > LONG {
            self.too_heavy(len);
        } else if 2 * server_time <= LONG {
            self.succeeded(len);
        }
    }

    /// A batch of `len` succeeded.
    pub(super) fn succeeded(&mut self, len: usize) {
        if len < self.current || self.current == self.max {
            return;
        }
        if !self.has_failed {
            self.current = (2 * self.current).min(self.max);
            return;
        }
        self.successes += 1;
        if self.successes >= PATIENCE {
            self.successes = 0;
            self.current = (self.current + self.current.div_ceil(4)).min(self.max);
        }
    }

    /// A batch of `len` was too much.
    pub(super) fn too_heavy(&mut self, len: usize) {
        self.has_failed = true;
        self.successes = 0;
        self.current = self.current.min((len / 2).max(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sizes after each of so many successes.
    fn grown(size: &mut BatchSize, successes: usize) -> Vec<usize> {
        let sizes = (0..successes).map(|_| {
            size.succeeded(size.get());
            size.get()
        });
        sizes.collect()
    }

    #[test]
    fn it_begins_small_and_doubles_until_something_is_too_heavy() {
        let mut size = BatchSize::new(25);
        assert_eq!(size.get(), 5);
        assert_eq!(grown(&mut size, 4), [10, 20, 25, 25]);
        let mut size = BatchSize::new(100);
        assert_eq!(grown(&mut size, 3), [10, 20, 40]);
        size.too_heavy(40);
        assert_eq!(size.get(), 20);
        assert_eq!(grown(&mut size, 5), [20, 20, 20, 25, 25], "slowly now");
        assert_eq!(BatchSize::new(3).get(), 3);
        assert_eq!(BatchSize::new(0).get(), 1);
    }

    #[test]
    fn heavy_batches_are_halved_down_to_one() {
        let mut size = BatchSize::new(100);
        grown(&mut size, 5);
        for want in [50, 25, 12, 6, 3, 1, 1] {
            size.too_heavy(size.get());
            assert_eq!(size.get(), want);
        }
    }

    #[test]
    fn what_takes_gitlab_long_is_halved_and_what_would_grow_too_long_stays() {
        let seconds = Duration::from_secs_f64;
        let mut size = BatchSize::new(100);
        for (took, want) in [
            (0.3, 10),
            (2.4, 20),
            (2.6, 20),
            (4.9, 20),
            (5.1, 10),
            (2.6, 10),
            (28.0, 5),
            (6.0, 2),
            (9.0, 1),
            (9.0, 1),
        ] {
            size.took(size.get(), seconds(took));
            assert_eq!(size.get(), want, "after {took} s");
        }
        for _ in 0..4 {
            size.took(1, seconds(2.0));
        }
        assert_eq!(size.get(), 2);
    }

    #[test]
    fn it_grows_only_with_full_batches() {
        let mut size = BatchSize::new(100);
        for _ in 0..100 {
            size.succeeded(4);
        }
        assert_eq!(size.get(), 5, "small batches prove nothing");
        grown(&mut size, 5);
        size.too_heavy(100);
        for _ in 0..100 {
            size.succeeded(10);
        }
        assert_eq!(size.get(), 50);
        assert_eq!(grown(&mut size, 4), [50, 50, 50, 63]);
        assert_eq!(grown(&mut size, 100).pop(), Some(100));
    }
}
