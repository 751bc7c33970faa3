//! How often scrapes and pushes come, which decides how long new counters and histograms show 0.
//!
//! A client counts once three of its requests came at even distances; who looks by hand does not. What it was
//! last seen to keep to counts for ten minutes more.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::clock::UnixSeconds;
use crate::series::{Delivery, Table};

/// The shortest birth window.
const SHORTEST: Duration = Duration::from_secs(10);
/// How long an interval counts after it was last seen.
const KEPT: Duration = Duration::from_secs(600);
/// How many clients are known; the one that was seen least lately is forgotten.
const CLIENTS: usize = 64;

/// Sets a table's birth windows by the intervals of what reads it.
#[derive(Debug)]
pub struct Intervals {
    table: Arc<Table>,
    scrapes: Mutex<BTreeMap<String, Client>>,
    pushes: Mutex<Client>,
}

/// Requests of one client.
#[derive(Clone, Copy, Debug, Default)]
struct Client {
    last: Option<Instant>,
    /// Between the last two.
    gap: Option<Duration>,
    /// What it keeps to, and when that was last seen.
    interval: Option<(Duration, Instant)>,
}

impl Client {
    fn request(&mut self, now: Instant) {
        let gap = self.last.map(|last| now.saturating_duration_since(last));
        if let (Some(before), Some(gap)) = (self.gap, gap)
            && are_even(before, gap)
        {
            self.interval = Some((before.max(gap), now));
        }
        (self.last, self.gap) = (Some(now), gap);
    }

    fn interval(&self, now: Instant) -> Option<Duration> {
        let (interval, seen) = self.interval?;
        (now.saturating_duration_since(seen) <= KEPT.max(2 * interval)).then_some(interval)
    }
}

/// Whether two distances are the same but for a fifth, or a second: scrapes wait for each other.
fn are_even(one: Duration, other: Duration) -> bool {
    one.abs_diff(other) <= (one.max(other) / 5).max(Duration::from_secs(1))
}

impl Intervals {
    /// Of the deliveries of `table`.
    #[must_use]
    pub fn new(table: Arc<Table>) -> Self {
        Self {
            table,
            scrapes: Mutex::default(),
            pushes: Mutex::default(),
        }
    }

    /// A scrape by `client`: an identifier, such as address and user agent.
    pub fn scraped(&self, client: &str, at: Instant, now: UnixSeconds) {
        let longest = {
            let mut scrapes = self.scrapes.lock().unwrap_or_else(PoisonError::into_inner);
            if !scrapes.contains_key(client) && scrapes.len() >= CLIENTS {
                let oldest = scrapes.iter().min_by_key(|(_, known)| known.last);
                let oldest = oldest.map(|(name, _)| name.clone());
                oldest.and_then(|name| scrapes.remove(&name));
            }
            scrapes.entry(client.to_owned()).or_default().request(at);
            scrapes
                .values()
                .filter_map(|known| known.interval(at))
                .max()
        };
        self.set(Delivery::Scrape, longest, now);
    }

    /// A push that the receiver took.
    pub fn pushed(&self, at: Instant, now: UnixSeconds) {
        let interval = {
            let mut pushes = self.pushes.lock().unwrap_or_else(PoisonError::into_inner);
            pushes.request(at);
            pushes.interval(at)
        };
        self.set(Delivery::Push, interval, now);
    }

    fn set(&self, delivery: Delivery, interval: Option<Duration>, now: UnixSeconds) {
        let window = interval.map_or(Duration::MAX, |interval| {
            // To the second: 15.02 seconds are an interval of 15.
            let seconds = (2.0 * interval.as_secs_f64()).round();
            Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
        });
        let window = window.max(SHORTEST);
        self.table.set_birth_window(delivery, window, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::buckets::BucketSettings;
    use crate::series::TableSettings;

    struct Watched {
        intervals: Intervals,
        start: Instant,
    }

    impl Watched {
        fn new() -> Self {
            let table = Table::new(&TableSettings {
                birth_window: Duration::from_secs(120),
                cardinality_limit: 10,
                buckets: BucketSettings::default(),
            });
            Self {
                intervals: Intervals::new(table),
                start: Instant::now(),
            }
        }

        fn scrapes(&self, client: &str, times: impl IntoIterator<Item = u64>) {
            for milliseconds in times {
                let at = self.start + Duration::from_millis(milliseconds);
                let now = UnixSeconds(i64::try_from(milliseconds / 1000).unwrap());
                self.intervals.scraped(client, at, now);
            }
        }

        fn window(&self, seconds: i64) -> u64 {
            let table = &self.intervals.table;
            let now = UnixSeconds(seconds);
            table.birth_window(Delivery::Scrape, now).as_secs()
        }
    }

    #[test]
    fn regular_scrapes_make_the_window_twice_their_interval() {
        let watched = Watched::new();
        watched.scrapes("a", [0, 15_010]);
        assert_eq!(watched.window(20), 120, "two are not regular");
        watched.scrapes("a", [30_030]);
        assert_eq!(watched.window(31), 30);
        assert_eq!(watched.window(30), 120, "what is there keeps its window");
        // One comes late: it keeps to 15 seconds all the same.
        watched.scrapes("a", [60_000, 75_000]);
        assert_eq!(watched.window(76), 30);
    }

    #[test]
    fn the_longest_interval_of_all_clients_counts_and_those_who_look_by_hand_do_not() {
        let watched = Watched::new();
        watched.scrapes("fast", (0..20).map(|nth| nth * 5_000));
        assert_eq!(watched.window(100), 10);
        watched.scrapes("slow", [10_000, 40_000, 70_000]);
        assert_eq!(watched.window(100), 60);
        watched.scrapes("by hand", [71_000, 76_000, 100_000, 300_000]);
        watched.scrapes("fast", [305_000]);
        assert_eq!(watched.window(306), 60);
        // The slow one stays away.
        watched.scrapes("fast", [670_000, 675_000, 680_000]);
        assert_eq!(watched.window(681), 10);
    }

    #[test]
    fn an_interval_of_minutes_takes_the_widest_window_and_many_clients_little_room() {
        let watched = Watched::new();
        watched.scrapes("slow", [0, 90_000, 180_000]);
        assert_eq!(watched.window(181), 120);
        for client in 0..1000 {
            watched.scrapes(&format!("client {client}"), [181_000 + client]);
        }
        let known = watched.intervals.scrapes.lock().unwrap();
        assert_eq!(known.len(), CLIENTS);
    }

    #[test]
    fn pushes_have_a_window_of_their_own() {
        let watched = Watched::new();
        watched.scrapes("a", [0, 15_000, 30_000]);
        for seconds in [0, 60, 120] {
            let at = watched.start + Duration::from_secs(seconds);
            let now = UnixSeconds(i64::try_from(seconds).unwrap());
            watched.intervals.pushed(at, now);
        }
        let table = &watched.intervals.table;
        let of = |delivery| table.birth_window(delivery, UnixSeconds(121)).as_secs();
        assert_eq!((of(Delivery::Scrape), of(Delivery::Push)), (30, 120));
    }
}
