//! How long GitLab takes for each kind of call, held against the best that it was.
//!
//! Times are compared within one operation, one choice of its fields and one class of size (1, 2 to 3, 4 to
//! 7, … projects), per project. A batch has a floor whatever its size: divided by the projects alone, the
//! same GitLab would look five times slower for a project by itself than for a hundred. Within a class the
//! floor makes less than a third of difference.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

/// Times of a kind of which the median is taken: two of them may be of projects with much to show.
const RECENT: usize = 5;
/// Times of a kind before they are its best, or slow.
const ENOUGH: usize = 3;
/// How many times the best is near it.
const NEAR: f64 = 1.25;
/// How many times the best is slow.
const SLOW: f64 = 2.0;
/// An answer in less is not slow, whatever the best was: what is asked for differs by more than that.
const QUICK: f64 = 0.25;
/// Bests are those of this period and the one before: a GitLab that stays slower is not held against
/// what it once was for longer than two of them.
const PERIOD: Duration = Duration::from_secs(300);

/// How a time compares to the best of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Near the best, or nothing to compare with.
    Near,
    /// Slower, and not twice as slow.
    Slower,
    /// Twice the best and more.
    Doubled,
}

/// The times of all kinds of calls.
#[derive(Debug, Default)]
pub(super) struct Times(HashMap<(&'static str, u64, u32), Kind>);

/// The times of one kind, in seconds per project.
#[derive(Debug)]
struct Kind {
    recent: VecDeque<f64>,
    best: f64,
    best_before: f64,
    period_began: Instant,
}

impl Times {
    /// Takes in the time of a call of an operation, and a choice of its fields, for so many projects.
    pub(super) fn took(
        &mut self,
        (operation, variant): (&'static str, u64),
        projects: usize,
        time: Duration,
        now: Instant,
    ) -> Verdict {
        let projects = projects.max(1);
        #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 projects")]
        let divisor = projects as f64;
        let kind = self
            .0
            .entry((operation, variant, projects.ilog2()))
            .or_insert_with(|| Kind::new(now));
        kind.follow(now);
        let median = kind.add(time.as_secs_f64() / divisor);
        let ratio = median / kind.best.min(kind.best_before);
        let is_slow = kind.has_enough() && ratio >= SLOW && median * divisor >= QUICK;
        match ratio {
            ratio if ratio <= NEAR => Verdict::Near,
            _ if is_slow => Verdict::Doubled,
            _ => Verdict::Slower,
        }
    }

    /// Forgets the latest times, and keeps the bests: other times are to be expected from now on.
    pub(super) fn begin_again(&mut self) {
        for kind in self.0.values_mut() {
            kind.recent.clear();
        }
    }
}

impl Kind {
    fn new(now: Instant) -> Self {
        Self {
            recent: VecDeque::with_capacity(RECENT),
            best: f64::INFINITY,
            best_before: f64::INFINITY,
            period_began: now,
        }
    }

    /// Lets the bests age.
    fn follow(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.period_began);
        if passed < PERIOD {
            return;
        }
        let previous = if passed < 2 * PERIOD {
            self.best
        } else {
            f64::INFINITY
        };
        (self.best_before, self.best) = (previous, f64::INFINITY);
        self.period_began = now;
    }

    fn has_enough(&self) -> bool {
        self.recent.len() >= ENOUGH
    }

    /// The median of the latest times with this one. It can be the best once there are enough.
    fn add(&mut self, time: f64) -> f64 {
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(time);
        let mut sorted: Vec<f64> = self.recent.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        // Of an even number the lower: a doubt is no slowness.
        let median = sorted[(sorted.len() - 1) / 2];
        if self.has_enough() {
            // A time of nothing would make every other one infinitely slower.
            self.best = self.best.min(median).max(f64::MIN_POSITIVE);
        }
        median
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Clocked(Times, Instant);

    impl Clocked {
        fn new() -> Self {
            Self(Times::default(), Instant::now())
        }

        /// Verdicts on calls for so many projects that took these milliseconds.
        fn took(&mut self, projects: usize, millis: &[u64]) -> Vec<Verdict> {
            let times = millis.iter().map(|millis| Duration::from_millis(*millis));
            times
                .map(|time| self.0.took(("ProjectChanges", 0), projects, time, self.1))
                .collect()
        }

        fn wait(&mut self, seconds: u64) {
            self.1 += Duration::from_secs(seconds);
        }
    }

    use Verdict::{Doubled, Near, Slower};

    #[test]
    fn the_median_of_a_kind_is_held_against_its_best() {
        let mut times = Clocked::new();
        assert_eq!(times.took(20, &[2000; 5]), [Near; 5]);
        // One or two projects with much to show are no slow GitLab.
        assert_eq!(times.took(20, &[9000, 9000]), [Near; 2]);
        assert_eq!(times.took(20, &[3000]), [Slower]);
        assert_eq!(times.took(20, &[4000]), [Doubled]);
    }

    #[test]
    fn sizes_are_compared_with_their_like() {
        let mut times = Clocked::new();
        // As measured on an idle GitLab, ten times slower: 60 ms a query and 12 ms a project in it.
        let time = |projects: usize| 600 + 120 * u64::try_from(projects).unwrap();
        for projects in (1..=100).chain([1, 2, 4, 8, 16, 32, 64]) {
            let verdicts = times.took(projects, &[time(projects); 3]);
            assert!(!verdicts.contains(&Doubled), "{projects}: {verdicts:?}");
        }
        let slow = times.took(64, &[2 * time(64); 5]);
        assert!(slow.contains(&Doubled), "{slow:?}");
    }

    #[test]
    fn queries_for_other_fields_are_other_kinds() {
        let mut times = Times::default();
        let mut took = |variant, millis| {
            let kind = ("PipelineJobs", variant);
            times.took(kind, 20, Duration::from_millis(millis), Instant::now())
        };
        for _ in 0..5 {
            assert_eq!(took(1, 500), Near);
        }
        for _ in 0..5 {
            assert_eq!(took(2, 5000), Near, "the same operation with more fields");
        }
        let verdicts: Vec<Verdict> = (0..5).map(|_| took(1, 1500)).collect();
        assert!(verdicts.contains(&Doubled), "{verdicts:?}");
    }

    #[test]
    fn what_is_quick_is_not_slow() {
        let mut times = Clocked::new();
        times.took(1, &[30; 5]);
        assert!(!times.took(1, &[249; 5]).contains(&Doubled));
        assert!(times.took(1, &[250; 5]).contains(&Doubled));
    }

    #[test]
    fn a_gitlab_that_stays_slower_is_compared_with_itself_after_a_while() {
        let mut times = Clocked::new();
        times.took(20, &[1000; 5]);
        times.wait(299);
        assert!(times.took(20, &[4000; 5]).contains(&Doubled));
        times.wait(300);
        assert!(
            times.took(20, &[4000; 5]).contains(&Doubled),
            "the period before counts"
        );
        times.wait(300);
        assert_eq!(times.took(20, &[4000; 5]), [Near; 5]);
        assert!(times.took(20, &[8000; 5]).contains(&Doubled));
        // What has not been asked for long has no best.
        times.wait(3600);
        times.0.begin_again();
        assert_eq!(times.took(20, &[60_000; 5]), [Near; 5]);
    }

    #[test]
    fn after_a_change_the_latest_times_count_and_the_bests_stay() {
        let mut times = Clocked::new();
        times.took(20, &[1000; 5]);
        assert!(times.took(20, &[3000; 3]).contains(&Doubled));
        times.0.begin_again();
        assert_eq!(times.took(20, &[1000; 3]), [Near; 3]);
        times.0.begin_again();
        assert_eq!(times.took(20, &[3000; 3]), [Slower, Slower, Doubled]);
    }

    #[test]
    fn times_of_nothing_are_no_measure() {
        let mut times = Clocked::new();
        assert_eq!(times.took(0, &[0; 5]), [Near; 5]);
        assert_eq!(times.took(1, &[1; 3]), [Near, Near, Slower]);
    }
}
