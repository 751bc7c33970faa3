//! How long new counters and histograms show 0.
//!
//! The window of a series is that of its first second, and stays: what was shown is never taken back, however
//! often the deliveries come later.

use super::TableSettings;
use crate::shards::{Shard, ShardSet};

/// A way on which series are delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Scrapes of `/metrics`.
    Scrape,
    /// Pushes by OTLP.
    Push,
}

/// Steps that are held for one delivery while a store notes no commit.
const STEPS: usize = 256;

/// From when on new series show 0 for how long, in seconds.
#[derive(Clone, Copy, Debug)]
struct Step {
    from: u32,
    seconds: u32,
}

/// The windows of both deliveries.
#[derive(Debug)]
pub(super) struct BirthWindows {
    /// Where nothing else is known.
    widest: u32,
    /// What is older was restored, and shows its value: by shard.
    since: [u32; Shard::COUNT],
    scrape: Vec<Step>,
    push: Vec<Step>,
    /// Whether there are pushes.
    pub(super) pushes: bool,
}

impl BirthWindows {
    pub(super) fn new(settings: &TableSettings) -> Self {
        Self {
            widest: u32::try_from(settings.birth_window.as_secs()).unwrap_or(u32::MAX),
            since: [0; Shard::COUNT],
            scrape: Vec::new(),
            push: Vec::new(),
            pushes: false,
        }
    }

    /// The window where nothing is known of a delivery: no other is wider.
    pub(super) const fn widest(&self) -> u32 {
        self.widest
    }

    /// How long a delivery shows the initial zero of a series that was initialized then.
    pub(super) fn of(&self, delivery: Delivery, shard: Shard, initialized_at: u32) -> u32 {
        if initialized_at < self.since[shard.index()] {
            return 0;
        }
        let mut steps = self.steps(delivery).iter().rev();
        let step = steps.find(|step| step.from <= initialized_at);
        step.map_or(self.widest, |step| step.seconds)
    }

    fn steps(&self, delivery: Delivery) -> &Vec<Step> {
        match delivery {
            Delivery::Scrape => &self.scrape,
            Delivery::Push => &self.push,
        }
    }

    /// The longer of both deliveries': after it, each has seen it.
    pub(super) fn longest(&self, shard: Shard, initialized_at: u32) -> u32 {
        let scrape = self.of(Delivery::Scrape, shard, initialized_at);
        match self.pushes {
            true => scrape.max(self.of(Delivery::Push, shard, initialized_at)),
            false => scrape,
        }
    }

    /// The shorter: after it, one may have seen the value.
    pub(super) fn shortest(&self, shard: Shard, initialized_at: u32) -> u32 {
        let scrape = self.of(Delivery::Scrape, shard, initialized_at);
        match self.pushes {
            true => scrape.min(self.of(Delivery::Push, shard, initialized_at)),
            false => scrape,
        }
    }

    /// Whether this is the window of what is initialized from now on.
    pub(super) fn is(&self, delivery: Delivery, seconds: u32) -> bool {
        let last = self.steps(delivery).last();
        last.map_or(self.widest, |step| step.seconds) == seconds.min(self.widest)
    }

    /// Sets the window of series that are initialized after `now`; no wider than the widest. Zeros of before
    /// `settled` are over, by the clock and for the store.
    pub(super) fn set(&mut self, delivery: Delivery, seconds: u32, now: u32, settled: u32) {
        if self.is(delivery, seconds) {
            return;
        }
        let seconds = seconds.min(self.widest);
        let steps = match delivery {
            Delivery::Scrape => &mut self.scrape,
            Delivery::Push => &mut self.push,
        };
        let from = now.saturating_add(1);
        // Two in a second: the later one decides.
        steps.retain(|step| step.from < from);
        // Steps that only apply to zeros that are over are not needed.
        let first = steps.iter().rposition(|step| step.from <= settled);
        steps.drain(..first.unwrap_or(0));
        if steps.len() >= STEPS {
            // The narrower of two takes back nothing that was shown.
            let oldest = steps.remove(0);
            steps[0].from = oldest.from;
            steps[0].seconds = steps[0].seconds.min(oldest.seconds);
        }
        steps.push(Step { from, seconds });
    }

    /// What was initialized before in these shards was restored with its value.
    pub(super) fn restored(&mut self, shards: ShardSet, now: u32) {
        for shard in shards.iter() {
            self.since[shard.index()] = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::catalogue::buckets::BucketSettings;

    fn windows() -> BirthWindows {
        BirthWindows::new(&TableSettings {
            birth_window: Duration::from_secs(120),
            cardinality_limit: 1,
            buckets: BucketSettings::default(),
        })
    }

    #[test]
    fn a_series_keeps_the_window_of_its_first_second() {
        let mut windows = windows();
        let shard = Shard::INSTANCE;
        assert_eq!(windows.longest(shard, 100), 120);
        windows.set(Delivery::Scrape, 30, 100, 0);
        windows.set(Delivery::Scrape, 60, 200, 0);
        let of = |at| windows.of(Delivery::Scrape, shard, at);
        assert_eq!([of(100), of(101), of(200), of(201)], [120, 30, 30, 60]);
        assert_eq!(windows.of(Delivery::Push, shard, 201), 120);
        assert_eq!(windows.longest(shard, 201), 60, "nothing is pushed");
        windows.pushes = true;
        assert_eq!(
            (windows.shortest(shard, 201), windows.longest(shard, 201)),
            (60, 120)
        );
        windows.restored([shard].into_iter().collect(), 150);
        assert_eq!(windows.of(Delivery::Scrape, shard, 149), 0);
        let other = Shard::by_index(3).unwrap();
        assert_eq!(windows.of(Delivery::Scrape, other, 149), 30);
    }

    #[test]
    fn many_changes_take_no_more_room_and_none_is_wider_than_the_widest() {
        let mut windows = windows();
        for minute in 1000..2000 {
            windows.set(
                Delivery::Push,
                10 + minute % 2,
                60 * minute,
                60 * minute - 120,
            );
        }
        assert!(windows.push.len() < 6, "{}", windows.push.len());
        windows.set(Delivery::Push, 500, 150_000, 149_000);
        assert_eq!(windows.of(Delivery::Push, Shard::INSTANCE, 200_000), 120);
    }

    #[test]
    fn many_changes_while_nothing_is_committed_take_no_more_room_and_make_no_window_wider() {
        let mut windows = windows();
        for minute in 1000..2000 {
            windows.set(Delivery::Push, 10 + minute % 2, 60 * minute, 60_000);
        }
        assert_eq!(windows.push.len(), STEPS);
        let of = |at| windows.of(Delivery::Push, Shard::INSTANCE, at);
        assert_eq!([of(60_060), of(60_120)], [10, 10]);
        assert_eq!([of(119_940), of(119_941)], [10, 11]);
    }
}
