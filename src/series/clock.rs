//! A clock that is set: back, nothing that was shown is taken back; forward, no initial zero is cut short.

use std::sync::atomic::Ordering;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use super::record::seconds;
use super::table::Table;
use crate::catalogue::Kind;
use crate::clock::{Clock, UnixSeconds};
use crate::locks::lock;

/// Seconds by which the time of one call may be before that of another that came first.
const APART: u32 = 5;

/// A clock that is watched for being set forward.
#[derive(Debug, Default)]
pub(super) struct Watched {
    clock: OnceLock<Clock>,
    /// Its time when it was last read, and the monotonic time then.
    last: Mutex<Option<(u32, Duration)>>,
}

impl Table {
    /// Has this clock watched: where it is set forward, or the machine was suspended, nobody has seen the zeros
    /// of series that were just initialized. Only the first call counts.
    pub fn watch_clock(&self, clock: Clock) {
        self.watched.clock.get_or_init(|| clock);
    }

    /// The watched clock's time, where one is watched.
    pub(super) fn look_at_clock(&self) -> Option<u32> {
        let clock = self.watched.clock.get()?;
        Some(self.noticed(|| (clock.monotonic(), seconds(clock.now()))))
    }

    /// Reads the monotonic time and the clock's, and takes in whether the clock was set meanwhile. What was
    /// initialized before a leap is shown at 0 for as long as it would have been.
    pub(super) fn noticed(&self, read: impl FnOnce() -> (Duration, u32)) -> u32 {
        let mut last = lock(&self.watched.last);
        // Under the lock: a thread that stood still in between would take an old time for a new one.
        let (monotonic, now) = read();
        let Some((before, then)) = last.replace((now, monotonic)) else {
            return now;
        };
        let elapsed = monotonic.saturating_sub(then).as_secs();
        let elapsed = u32::try_from(elapsed).unwrap_or(u32::MAX);
        let leap = now.saturating_sub(before).saturating_sub(elapsed);
        if leap > APART {
            self.set_forward(before, leap);
        } else if now.saturating_add(APART) < before {
            self.set_back(now);
        }
        now
    }

    fn set_forward(&self, before: u32, leap: u32) {
        let mut state = self.write();
        let committed_at = self.committed_at();
        let mut moved = Vec::new();
        for family in &state.families {
            let open = family.living().filter(|(slot, row)| {
                let shard = state.shard(family, *slot);
                let window = state.windows.shortest(shard, row.initialized_at);
                let shown_at = before.min(committed_at[shard.index()]);
                let is_open = row.initialized_at.saturating_add(window) > shown_at;
                family.desc.kind != Kind::Gauge && row.initialized_at <= before && is_open
            });
            moved.extend(open.map(|(slot, row)| (family.id, slot, row.initialized_at)));
        }
        for (id, slot, initialized_at) in moved {
            let row = state.families[id.index()].row_mut(slot);
            row.initialized_at = initialized_at.saturating_add(leap);
        }
    }

    /// Takes in that the clock was set back to `now`: what was shown with its value must not be shown at 0
    /// when the clock comes there again, and what was shown at 0 is so for a whole window from now on.
    pub fn clock_was_set_back(&self, now: UnixSeconds) {
        self.set_back(seconds(now));
    }

    /// The time by which something is shown at `now`.
    pub(super) fn follow_clock(&self, now: u32) -> u32 {
        // The last push is for no time.
        if now == u32::MAX {
            return now;
        }
        // The caller's may be from before the clock was set.
        let now = self.look_at_clock().unwrap_or(now);
        let shown_at = self.shown_at.fetch_max(now, Ordering::AcqRel);
        match now.saturating_add(APART) < shown_at {
            true => now,
            false => now.max(shown_at),
        }
    }

    fn set_back(&self, now: u32) {
        let mut state = self.write();
        let shown_at = self.shown_at.swap(now, Ordering::AcqRel);
        let committed_at = self.committed_at();
        let widest = state.windows.widest();
        let mut moved = Vec::new();
        for family in &state.families {
            let open = family.living().filter(|(_, row)| {
                let over = row.initialized_at.saturating_add(widest);
                family.desc.kind != Kind::Gauge && over > now
            });
            for (slot, row) in open {
                let shard = state.shard(family, slot);
                let window = state.windows.shortest(shard, row.initialized_at);
                let over = row.initialized_at.saturating_add(window);
                let initialized_at = match shown_at.min(committed_at[shard.index()]) < over {
                    true => now,
                    false => now.saturating_sub(widest),
                };
                moved.push((family.id, slot, initialized_at));
            }
        }
        for (id, slot, initialized_at) in moved {
            let row = state.families[id.index()].row_mut(slot);
            row.initialized_at = initialized_at;
            row.changed = row.changed.min(now);
        }
        state.windows.set_back(now);
    }
}
