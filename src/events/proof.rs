//! Whether GitLab's events of a project can be relied on: whether what polls find was announced before.

use std::time::Duration;

use crate::clock::UnixSeconds;

/// So many changes in a row must have been announced.
const ENOUGH: u8 = 5;
/// An event may come so much later than a poll that finds its change: GitLab's own queue delays them.
const LATE: Duration = Duration::from_secs(60);
/// Changes that wait for their events; of more, the oldest count as missed.
const WAITING: usize = 64;

/// What events of one project were worth, for one reading.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// Changes in a row that were announced.
    in_a_row: u8,
    /// Whether an event ever came: without a webhook nothing is missed.
    is_begun: bool,
    /// Changes that a poll found and no event has announced yet, and when it did.
    unannounced: Vec<(u64, UnixSeconds)>,
}

impl Proof {
    /// An event came. What a poll found before it is not missed, and proves nothing.
    pub fn announced(&mut self, subject: Option<u64>) {
        self.is_begun = true;
        match subject {
            Some(subject) => self.unannounced.retain(|(found, _)| *found != subject),
            None => self.unannounced.clear(),
        }
    }

    /// A read found a change of a kind that GitLab announces.
    pub fn found(&mut self, subject: u64, was_announced: bool, now: UnixSeconds) {
        if was_announced {
            self.in_a_row = self.in_a_row.saturating_add(1);
            return;
        }
        let mut known = self.unannounced.iter();
        if self.is_begun && !known.any(|(found, _)| *found == subject) {
            self.unannounced.push((subject, now));
        }
    }

    /// Takes out what was missed: changes whose event did not come in time. Says how many.
    pub fn take_missed(&mut self, now: UnixSeconds) -> usize {
        let before = self.unannounced.len();
        self.unannounced.retain(|(_, at)| now.since(*at) <= LATE);
        let excess = self.unannounced.len().saturating_sub(WAITING);
        self.unannounced.drain(..excess);
        let missed = before - self.unannounced.len();
        if missed > 0 {
            self.in_a_row = 0;
        }
        missed
    }

    /// Whether polling may rely on events.
    #[must_use]
    pub const fn is_given(&self) -> bool {
        self.in_a_row >= ENOUGH
    }

    /// Moves all times with a clock that was set back by `back`.
    pub fn clock_was_set_back(&mut self, back: Duration) {
        for (_, at) in &mut self.unannounced {
            *at = at.minus(back);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> UnixSeconds {
        UnixSeconds(1_000 + seconds)
    }

    fn proven() -> Proof {
        let mut proof = Proof::default();
        proof.announced(None);
        for change in 0..5 {
            assert!(!proof.is_given(), "after {change} changes");
            proof.found(change, true, at(0));
        }
        assert!(proof.is_given());
        proof
    }

    #[test]
    fn one_missed_change_ends_it() {
        let mut proof = proven();
        proof.found(9, false, at(0));
        assert_eq!((proof.take_missed(at(60)), proof.is_given()), (0, true));
        assert_eq!((proof.take_missed(at(61)), proof.is_given()), (1, false));
        assert_eq!(proof.take_missed(at(61)), 0, "it is missed once");
    }

    #[test]
    fn an_event_that_comes_late_is_not_missed_and_proves_nothing() {
        let mut proof = Proof::default();
        proof.announced(None);
        for change in 0..4 {
            proof.found(change, true, at(0));
        }
        proof.found(7, false, at(0));
        proof.found(7, false, at(30));
        proof.found(8, false, at(0));
        proof.announced(Some(7));
        proof.announced(Some(6));
        assert_eq!((proof.take_missed(at(61)), proof.is_given()), (1, false));
        let mut proof = proven();
        proof.found(7, false, at(0));
        proof.announced(None);
        assert_eq!((proof.take_missed(at(61)), proof.is_given()), (0, true));
    }

    #[test]
    fn without_any_event_nothing_is_missed() {
        let mut proof = Proof::default();
        proof.found(1, false, at(0));
        assert_eq!(proof.take_missed(at(100)), 0);
        proof.announced(Some(2));
        proof.found(3, false, at(100));
        assert_eq!(proof.take_missed(at(200)), 1);
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut proof = proven();
        for change in 0..1000 {
            proof.found(change, false, at(0));
        }
        assert_eq!(proof.take_missed(at(0)), 1000 - WAITING);
        assert!(!proof.is_given());
    }

    #[test]
    fn a_clock_that_was_set_back_makes_nothing_missed() {
        let mut proof = proven();
        proof.found(1, false, at(0));
        proof.clock_was_set_back(Duration::from_secs(500));
        assert_eq!(proof.take_missed(at(-480)), 0);
        assert_eq!(proof.take_missed(at(-430)), 1);
    }
}
