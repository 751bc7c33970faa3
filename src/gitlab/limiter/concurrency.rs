//! How many calls may be under way at once: more and more while GitLab answers as quickly as it can,
//! half as many when it slows down (additive increase, multiplicative decrease, as in TCP).

use std::time::Duration;

use tokio::time::Instant;

use super::times::{Times, Verdict};
use super::{Load, Observation, Turn};

/// Places at the start.
const START: u32 = 2;
/// How long after GitLab slowed down backfill yields.
const YIELDS: Duration = Duration::from_secs(30);

/// The number of places under way. A GitLab worker serves its threads by turns: of sixteen heavy
/// queries at once none ends in time where two at a time would all be answered.
#[derive(Debug)]
pub(super) struct Concurrency {
    places: u32,
    ceiling: u32,
    /// Places of calls that were answered in time since the last change.
    answered: u32,
    /// Moves with each decrease.
    round: u64,
    times: Times,
    slowed_at: Option<Instant>,
}

/// What the end of a call changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing.
    None,
    /// There is more room.
    More,
    /// There is half the room, for calls of this operation took twice their best time.
    TimeDoubled,
    /// There is half the room, for GitLab did not answer in time, or with 502, 503 or 504.
    TooBusy,
}

impl Concurrency {
    /// At most `ceiling` places; 0 counts as 1.
    pub(super) fn new(ceiling: u32) -> Self {
        let ceiling = ceiling.max(1);
        Self {
            places: START.min(ceiling),
            ceiling,
            answered: 0,
            round: 0,
            times: Times::default(),
            slowed_at: None,
        }
    }

    /// Places that may be taken now, 1 to the ceiling.
    pub(super) const fn places(&self) -> u32 {
        self.places
    }

    /// Most places.
    pub(super) const fn ceiling(&self) -> u32 {
        self.ceiling
    }

    /// Sets the most places; 0 counts as 1.
    pub(super) fn set_ceiling(&mut self, ceiling: u32) {
        self.ceiling = ceiling.max(1);
        self.places = self.places.min(self.ceiling);
    }

    /// The round that calls begin in now.
    pub(super) const fn round(&self) -> u64 {
        self.round
    }

    /// How long ago GitLab slowed down, while backfill yields for it.
    pub(super) fn slowed(&self, now: Instant) -> Option<Duration> {
        let ago = now.saturating_duration_since(self.slowed_at?);
        (ago < YIELDS).then_some(ago)
    }

    /// Learns from the end of a call; `wanted`: others wait for a place. What began before the latest
    /// decrease met what was under way then, and has been answered for.
    pub(super) fn ended(
        &mut self,
        turn: &Turn,
        seen: &Observation,
        wanted: bool,
        now: Instant,
    ) -> Change {
        if turn.round != self.round {
            return Change::None;
        }
        let demand = &turn.demand;
        let verdict = match seen.load {
            Load::Unknown => return Change::None,
            Load::TooBusy => {
                self.decrease(now);
                return Change::TooBusy;
            }
            Load::Answered => self.times.took(
                (demand.operation, demand.variant),
                demand.projects,
                seen.server_time,
                now,
            ),
        };
        match verdict {
            Verdict::Near if wanted => self.increase(demand.weight.places()),
            Verdict::Near | Verdict::Slower => Change::None,
            Verdict::Doubled => {
                self.decrease(now);
                Change::TimeDoubled
            }
        }
    }

    /// One place more for each round of answers.
    fn increase(&mut self, weight: u32) -> Change {
        if self.places >= self.ceiling {
            return Change::None;
        }
        self.answered += weight;
        if self.answered < self.places {
            return Change::None;
        }
        self.answered = 0;
        self.places += 1;
        Change::More
    }

    fn decrease(&mut self, now: Instant) {
        self.places = (self.places / 2).max(1);
        self.answered = 0;
        self.round += 1;
        self.slowed_at = Some(now);
        self.times.begin_again();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Demand, Lane, Weight};
    use super::*;

    /// The concurrency, and calls that end in the round in which they began.
    struct Rig(Concurrency, Instant);

    fn turn(weight: Weight, round: u64) -> Turn {
        let demand = Demand {
            lane: Lane::Normal,
            endpoint: "/graphql",
            operation: "ProjectChanges",
            variant: 0,
            projects: 20,
            weight,
            waits: true,
        };
        Turn::new(demand, Duration::ZERO, round, Box::new(()))
    }

    fn answered(millis: u64) -> Observation {
        Observation {
            load: Load::Answered,
            server_time: Duration::from_millis(millis),
            ..Observation::default()
        }
    }

    fn load(load: Load) -> Observation {
        Observation {
            load,
            ..Observation::default()
        }
    }

    impl Rig {
        fn new(ceiling: u32) -> Self {
            Self(Concurrency::new(ceiling), Instant::now())
        }

        fn end(&mut self, seen: Observation) -> Change {
            self.end_of_round(self.0.round(), seen)
        }

        fn end_of_round(&mut self, round: u64, seen: Observation) -> Change {
            self.0
                .ended(&turn(Weight::Light, round), &seen, true, self.1)
        }

        /// The places after each of so many answers.
        fn places(&mut self, calls: usize, seen: Observation) -> Vec<u32> {
            let places = (0..calls).map(|_| {
                self.end(seen);
                self.0.places()
            });
            places.collect()
        }
    }

    #[test]
    fn it_starts_at_two_and_grows_by_one_for_each_round_of_answers() {
        let mut rig = Rig::new(8);
        assert_eq!(rig.0.places(), 2);
        let grown = rig.places(30, answered(500));
        // Two answers at two places, three at three, and so on.
        assert_eq!(grown[..10], [2, 3, 3, 3, 4, 4, 4, 4, 5, 5]);
        assert_eq!(grown[25..], [7, 8, 8, 8, 8], "the ceiling");
    }

    #[test]
    fn heavy_calls_fill_a_round_sooner() {
        let mut rig = Concurrency::new(8);
        let now = Instant::now();
        for want in [3, 3, 4] {
            rig.ended(&turn(Weight::Heavy, 0), &answered(500), true, now);
            assert_eq!(rig.places(), want);
        }
    }

    #[test]
    fn it_does_not_grow_where_nothing_waits() {
        let mut rig = Rig::new(8);
        let turn = turn(Weight::Light, 0);
        for _ in 0..100 {
            rig.0.ended(&turn, &answered(500), false, rig.1);
        }
        assert_eq!(rig.0.places(), 2);
    }

    #[test]
    fn each_sign_of_a_busy_gitlab_halves_it_down_to_one() {
        let mut rig = Rig::new(8);
        rig.places(100, answered(500));
        for want in [4, 2, 1, 1] {
            assert_eq!(rig.end(load(Load::TooBusy)), Change::TooBusy);
            assert_eq!(rig.0.places(), want);
        }
    }

    #[test]
    fn calls_that_were_under_way_at_a_decrease_do_not_decrease_again() {
        let mut rig = Rig::new(8);
        rig.places(100, answered(500));
        let round = rig.0.round();
        for _ in 0..8 {
            rig.end_of_round(round, load(Load::TooBusy));
            rig.end_of_round(round, answered(20_000));
            assert_eq!(rig.0.places(), 4);
        }
        rig.end(load(Load::TooBusy));
        assert_eq!(rig.0.places(), 2, "a call that was sent since");
    }

    #[test]
    fn a_time_that_doubles_halves_it_once() {
        let mut rig = Rig::new(8);
        rig.places(100, answered(500));
        let changes: Vec<Change> = (0..3).map(|_| rig.end(answered(1000))).collect();
        assert_eq!(changes, [Change::None, Change::None, Change::TimeDoubled]);
        assert_eq!(rig.0.places(), 4);
        // Back at its best, it grows again.
        assert_eq!(rig.places(5, answered(500)), [4, 4, 4, 5, 5]);
    }

    #[test]
    fn between_near_and_double_it_stays() {
        let mut rig = Rig::new(100);
        let before = rig.places(20, answered(500))[19];
        rig.places(2, answered(800));
        let settled = rig.0.places();
        assert_eq!(rig.places(50, answered(800)), vec![settled; 50]);
        assert!(settled - before <= 1);
    }

    #[test]
    fn a_gitlab_that_stays_slower_gets_its_calls_again() {
        let mut rig = Rig::new(8);
        rig.places(100, answered(500));
        assert_eq!(rig.places(100, answered(2000))[99], 1);
        rig.1 += Duration::from_secs(600);
        assert_eq!(rig.places(100, answered(2000))[99], 8);
    }

    #[test]
    fn refusals_and_other_failures_say_nothing() {
        let mut rig = Rig::new(8);
        for _ in 0..100 {
            assert_eq!(rig.end(load(Load::Unknown)), Change::None);
        }
        assert_eq!(rig.0.places(), 2);
    }

    #[test]
    fn backfill_yields_for_half_a_minute() {
        let mut rig = Rig::new(8);
        assert_eq!(rig.0.slowed(rig.1), None);
        rig.end(load(Load::TooBusy));
        let after = |seconds| rig.1 + Duration::from_secs(seconds);
        assert_eq!(rig.0.slowed(after(29)), Some(Duration::from_secs(29)));
        assert_eq!(rig.0.slowed(after(30)), None);
    }

    fn observations() -> impl Strategy<Value = (Observation, bool, u64, u64, bool)> {
        let load = prop_oneof![
            4 => Just(Load::Answered),
            1 => Just(Load::TooBusy),
            1 => Just(Load::Unknown),
        ];
        let numbers = (any::<u64>(), 0_u64..3, 0_u64..400);
        (load, numbers, any::<bool>(), any::<bool>()).prop_map(
            |(load, (millis, late, passed), wanted, is_heavy)| {
                // Mostly plausible times, and some beyond belief.
                let millis = if millis % 10 == 0 {
                    millis
                } else {
                    millis % 5000
                };
                let seen = Observation {
                    load,
                    server_time: Duration::from_millis(millis),
                    ..Observation::default()
                };
                (seen, wanted, late, passed, is_heavy)
            },
        )
    }

    proptest! {
        #[test]
        fn it_is_never_below_one_nor_above_the_ceiling(
            ceiling in 0_u32..1001,
            calls in prop::collection::vec(observations(), 0..300),
        ) {
            let mut concurrency = Concurrency::new(ceiling);
            let mut now = Instant::now();
            for (seen, wanted, late, passed, is_heavy) in calls {
                now += Duration::from_secs(passed);
                let round = concurrency.round().saturating_sub(late);
                let weight = if is_heavy { Weight::Heavy } else { Weight::Light };
                let before = concurrency.places();
                let change = concurrency.ended(&turn(weight, round), &seen, wanted, now);
                let places = concurrency.places();
                prop_assert!((1..=ceiling.max(1)).contains(&places), "{places}");
                match change {
                    Change::None => prop_assert_eq!(places, before),
                    Change::More => prop_assert_eq!(places, before + 1),
                    Change::TimeDoubled | Change::TooBusy => {
                        prop_assert!(places <= before && places >= before / 2);
                    }
                }
            }
        }
    }
}
