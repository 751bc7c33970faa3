//! The calls under way and those that wait, by lane.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::gitlab::limiter::{Demand, Lane, Weight};

/// After so many calls of the other lanes that went before it, a backfill call goes.
const BACKFILL_AFTER: u32 = 3;

/// After so many urgent calls that went before it, a call of the steady work goes: a storm of events
/// starves nothing.
const NORMAL_AFTER: u32 = 4;

/// A call that takes longer may hang: it does not hold up all others. GitLab answers the longest queries
/// in less when it is not busy.
const OVERDUE: Duration = Duration::from_secs(3);

/// How many places there are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// Now.
    pub(super) places: u32,
    /// At most.
    pub(super) ceiling: u32,
}

/// How many calls are under way and wait.
#[derive(Debug, Default)]
pub(super) struct UnderWay {
    /// Places taken.
    places: u32,
    /// When the calls began, by the number that each was given.
    calls: BTreeMap<u64, Instant>,
    /// The number of the next call.
    next: u64,
    /// Calls of backfill.
    backfill: u32,
    /// Calls of other lanes that went since a backfill call has been waiting.
    overtaken: u32,
    /// Urgent calls that went since a call of the steady work has been waiting.
    urgent_in_a_row: u32,
    /// Calls that wait to go, by lane.
    waiting: [usize; Lane::COUNT],
}

impl UnderWay {
    /// Whether a call may go beside the others. One always may.
    pub(super) const fn has_room(&self, weight: Weight, room: Room) -> bool {
        self.places == 0 || self.places + weight.places() <= room.places
    }

    /// From when on a call may go because the oldest under way is overdue: one more, within the ceiling.
    pub(super) fn has_room_from(&self, weight: Weight, room: Room) -> Option<Instant> {
        let (_, oldest) = self.calls.first_key_value()?;
        let heavy = Weight::Heavy.places();
        let places = room.ceiling.min(room.places.max(heavy) + heavy);
        (self.places + weight.places() <= places).then(|| *oldest + OVERDUE)
    }

    /// Calls of backfill under way.
    pub(super) const fn backfill(&self) -> u32 {
        self.backfill
    }

    /// Takes a call into account that goes; its number.
    pub(super) fn begins(&mut self, demand: &Demand, now: Instant) -> u64 {
        let number = self.next;
        self.next += 1;
        self.calls.insert(number, now);
        self.places += demand.weight.places();
        let waits = self.waiting[Lane::Backfill as usize] > 0;
        self.overtaken = match demand.lane {
            Lane::Urgent | Lane::Normal if waits => self.overtaken.saturating_add(1),
            _ => 0,
        };
        let waits = self.waiting[Lane::Normal as usize] > 0;
        self.urgent_in_a_row = match demand.lane {
            Lane::Urgent if waits => self.urgent_in_a_row.saturating_add(1),
            Lane::Backfill => self.urgent_in_a_row,
            _ => 0,
        };
        self.backfill += u32::from(demand.lane == Lane::Backfill);
        number
    }

    /// Frees the places of one that ended.
    pub(super) fn ends(&mut self, number: u64, demand: &Demand) {
        self.calls.remove(&number);
        self.places = self.places.saturating_sub(demand.weight.places());
        let backfill = u32::from(demand.lane == Lane::Backfill);
        self.backfill = self.backfill.saturating_sub(backfill);
    }

    /// Calls that wait, of all lanes.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.iter().sum()
    }

    pub(super) fn waits(&mut self, lane: Lane) {
        self.waiting[lane as usize] += 1;
    }

    pub(super) fn waits_no_longer(&mut self, lane: Lane) {
        let waiting = &mut self.waiting[lane as usize];
        *waiting = waiting.saturating_sub(1);
    }

    /// Whether calls of other lanes are to go before one of this lane.
    pub(super) fn yields(&self, lane: Lane, backfill_may_go: bool) -> bool {
        let mut others = self.go_before(lane, backfill_may_go).iter();
        others.any(|other| self.waiting[*other as usize] > 0)
    }

    /// The lanes whose calls go before those of this one. Where the budget is too small for the
    /// steady work, backfill continues all the same, slowly, unless it is held back itself.
    fn go_before(&self, lane: Lane, backfill_may_go: bool) -> &'static [Lane] {
        let is_backfills_turn = self.overtaken >= BACKFILL_AFTER && backfill_may_go;
        let is_normals_turn = self.urgent_in_a_row >= NORMAL_AFTER;
        match (lane, is_backfills_turn) {
            (Lane::Urgent, _) if is_normals_turn => &[Lane::Normal],
            (Lane::Urgent, _) => &[],
            (Lane::Normal, _) if is_normals_turn => &[],
            (Lane::Normal, true) => &[Lane::Urgent, Lane::Backfill],
            (Lane::Normal, false) | (Lane::Backfill, true) => &[Lane::Urgent],
            (Lane::Backfill, false) => &[Lane::Urgent, Lane::Normal],
        }
    }
}
