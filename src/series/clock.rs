//! A clock that is set back: nothing that was shown is taken back.

use std::sync::atomic::Ordering;

use super::record::seconds;
use super::table::Table;
use crate::catalogue::Kind;
use crate::clock::UnixSeconds;

/// Seconds by which the time of one call may be before that of another that came first.
const APART: u32 = 5;

impl Table {
    /// Takes in that the clock was set back to `now`: what was shown with its value must not be shown at 0
    /// when the clock comes there again, and what was shown at 0 is so for a whole window from now on.
    pub fn clock_was_set_back(&self, now: UnixSeconds) {
        self.set_back(seconds(now));
    }

    /// The time by which something is shown at `now`. That the clock was set back is noticed here before
    /// anything is shown by it.
    pub(super) fn follow_clock(&self, now: u32) -> u32 {
        // The last push is for no time.
        if now == u32::MAX {
            return now;
        }
        if now.saturating_add(APART) < self.shown_at.load(Ordering::Acquire) {
            self.set_back(now);
        }
        self.shown_at.fetch_max(now, Ordering::AcqRel).max(now)
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
