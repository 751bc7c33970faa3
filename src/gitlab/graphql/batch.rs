//! How many projects go into one query: halved when it was too heavy, growing slowly back.

use crate::gitlab::error::GitLabError;

/// Successes at one size before the size grows.
const PATIENCE: u32 = 4;

/// The size of the next batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchSize {
    current: usize,
    max: usize,
    successes: u32,
}

impl BatchSize {
    /// Begins at the largest size.
    #[must_use]
    pub fn new(max: usize) -> Self {
        let max = max.max(1);
        Self {
            current: max,
            max,
            successes: 0,
        }
    }

    /// Items to put into the next query; at least 1.
    #[must_use]
    pub const fn get(&self) -> usize {
        self.current
    }

    /// A batch of `len` succeeded.
    pub fn succeeded(&mut self, len: usize) {
        if len < self.current || self.current == self.max {
            return;
        }
        self.successes += 1;
        if self.successes >= PATIENCE {
            self.successes = 0;
            self.current = (self.current + self.current.div_ceil(4)).min(self.max);
        }
    }

    /// A batch of `len` failed. True when a smaller one may succeed: cut the batch down to
    /// [`Self::get`] and go on. False when size is not the trouble, or it was 1 already.
    pub fn failed(&mut self, len: usize, error: &GitLabError) -> bool {
        if !error.batch_too_heavy() {
            return false;
        }
        self.successes = 0;
        self.current = self.current.min((len / 2).max(1));
        len > 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gitlab::error::Cause;

    fn error(cause: Cause) -> GitLabError {
        GitLabError {
            endpoint: "GraphQL Test".to_owned(),
            cause,
        }
    }

    #[test]
    fn heavy_batches_are_halved_down_to_one() {
        let mut size = BatchSize::new(100);
        let heavy = error(Cause::GraphQlComplexity(String::new()));
        for want in [50, 25, 12, 6, 3, 1] {
            assert!(size.failed(size.get(), &heavy));
            assert_eq!(size.get(), want);
        }
        assert!(!size.failed(1, &heavy), "there is nothing left to halve");
        assert_eq!(size.get(), 1);
    }

    #[test]
    fn it_grows_slowly_and_only_with_full_batches() {
        let mut size = BatchSize::new(100);
        size.failed(100, &error(Cause::Timeout));
        for _ in 0..100 {
            size.succeeded(10);
        }
        assert_eq!(size.get(), 50, "small batches prove nothing");
        for _ in 0..PATIENCE {
            size.succeeded(50);
        }
        assert_eq!(size.get(), 63);
        for _ in 0..100 {
            size.succeeded(size.get());
        }
        assert_eq!(size.get(), 100);
    }

    #[test]
    fn other_failures_leave_the_size_alone() {
        let mut size = BatchSize::new(100);
        assert!(!size.failed(100, &error(Cause::Auth(String::new()))));
        assert_eq!(size.get(), 100);
    }
}
