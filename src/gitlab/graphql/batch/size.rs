//! How many projects go into one query: halved when it was too heavy, growing slowly back.

/// Successes at one size before the size grows.
const PATIENCE: u32 = 4;

/// The size of the next batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BatchSize {
    current: usize,
    max: usize,
    successes: u32,
}

impl BatchSize {
    /// Begins at the largest size.
    pub(super) fn new(max: usize) -> Self {
        let max = max.max(1);
        Self {
            current: max,
            max,
            successes: 0,
        }
    }

    /// Items to put into the next query; at least 1.
    pub(super) const fn get(&self) -> usize {
        self.current
    }

    /// A batch of `len` succeeded.
    pub(super) fn succeeded(&mut self, len: usize) {
        if len < self.current || self.current == self.max {
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
        self.successes = 0;
        self.current = self.current.min((len / 2).max(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heavy_batches_are_halved_down_to_one() {
        let mut size = BatchSize::new(100);
        for want in [50, 25, 12, 6, 3, 1, 1] {
            size.too_heavy(size.get());
            assert_eq!(size.get(), want);
        }
    }

    #[test]
    fn it_grows_slowly_and_only_with_full_batches() {
        let mut size = BatchSize::new(100);
        size.too_heavy(100);
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
}
