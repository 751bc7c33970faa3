//! One log line for each cause of failure, however many projects it is about.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::catalogue::Activity;
use crate::clock::UnixSeconds;
use crate::types::Text;

/// How long projects are gathered before a cause is logged: the batches of one poll follow each other.
const GATHER: Duration = Duration::from_secs(5);
/// What fails for the same cause later is gathered for so long.
const AGAIN: Duration = Duration::from_secs(600);
/// Causes remembered at once; a text that differs with each project is no cause of all.
const CAUSES: usize = 50;

/// What failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    /// Reading projects as a whole.
    Poll,
    /// A call, while the rest of the project was read.
    Call,
    /// Reading an item of a response.
    Item,
}

impl What {
    /// The message of the log line.
    const fn message(self) -> &'static str {
        match self {
            Self::Poll => "polling projects failed, will retry",
            Self::Call => "call failed, the rest of the project was read",
            Self::Item => "invalid item in a response skipped",
        }
    }
}

/// Gathers failures, and logs each cause once.
#[derive(Debug, Default)]
pub(super) struct FailureLog(Mutex<BTreeMap<(What, String), Cause>>);

#[derive(Debug)]
struct Cause {
    /// When it is logged next, if it has projects then.
    due: UnixSeconds,
    projects: BTreeSet<Text>,
    collectors: BTreeSet<&'static str>,
    error: String,
}

impl FailureLog {
    /// Notes that something failed for a project; `cause` is the same for all that fail alike.
    pub(super) fn note(
        &self,
        what: What,
        (project, activity): (&Text, Activity),
        (cause, error): (&str, &str),
        now: UnixSeconds,
    ) {
        let mut causes = self.causes();
        let key = (what, cause.to_owned());
        let key = match causes.contains_key(&key) || causes.len() < CAUSES {
            true => key,
            false => (what, "various".to_owned()),
        };
        let cause = causes.entry(key).or_insert_with(|| Cause {
            due: now.plus(GATHER),
            projects: BTreeSet::new(),
            collectors: BTreeSet::new(),
            error: String::new(),
        });
        if cause.projects.is_empty() {
            error.clone_into(&mut cause.error);
        }
        cause.projects.insert(project.clone());
        cause.collectors.insert(activity.as_str());
    }

    /// Logs what is due; all that there is when `is_last`.
    pub(super) fn report(&self, now: UnixSeconds, is_last: bool) {
        self.causes().retain(|(what, _), cause| {
            if cause.due > now && !is_last {
                return true;
            }
            let Some(example) = cause.projects.first() else {
                return false;
            };
            let collectors: Vec<&str> = cause.collectors.iter().copied().collect();
            tracing::warn!(
                projects = cause.projects.len(),
                %example,
                collectors = collectors.join(","),
                error = cause.error,
                "{}",
                what.message()
            );
            cause.projects.clear();
            cause.collectors.clear();
            cause.due = now.plus(AGAIN);
            true
        });
    }

    /// Keeps the rhythm when the clock is set back.
    pub(super) fn clock_was_set_back(&self, now: UnixSeconds) {
        for cause in self.causes().values_mut() {
            cause.due = cause.due.min(now.plus(AGAIN));
        }
    }

    fn causes(&self) -> MutexGuard<'_, BTreeMap<(What, String), Cause>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Collector;
    use crate::gitlab::testing::Traces;

    const START: UnixSeconds = UnixSeconds(1_800_000_000);

    fn later(seconds: u64) -> UnixSeconds {
        START.plus(Duration::from_secs(seconds))
    }

    fn note(log: &FailureLog, number: usize, cause: &str, now: UnixSeconds) {
        let project = Text::from(format!("group/p{number:03}"));
        let error = format!("GET /projects/:id/{}: {cause}", number % 2);
        let activity = Collector::Pipelines.into();
        log.note(What::Poll, (&project, activity), (cause, &error), now);
    }

    #[test]
    fn three_hundred_projects_with_one_cause_are_one_line() {
        let (traces, _guard) = Traces::record();
        let log = FailureLog::default();
        for number in 0..300 {
            // Batches follow each other.
            note(
                &log,
                number,
                "no response in time",
                later(number as u64 / 100),
            );
            log.report(later(number as u64 / 100), false);
        }
        assert_eq!(traces.text(), "");
        log.report(later(5), false);
        log.report(later(6), false);
        let text = traces.text();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(
            text.contains(
                "polling projects failed, will retry projects=300 example=group/p000 \
                 collectors=\"pipelines\" error=\"GET /projects/:id/0: no response in time\""
            ),
            "{text}"
        );
        // What fails for the same cause soon after is gathered, and another cause is a line of its own.
        note(&log, 300, "no response in time", later(7));
        note(&log, 301, "GitLab failed (500)", later(7));
        log.report(later(12), false);
        assert_eq!(traces.text().lines().count(), 2);
        log.report(later(605), false);
        let text = traces.text();
        assert!(
            text.lines()
                .nth(2)
                .unwrap()
                .contains("projects=1 example=group/p300"),
            "{text}"
        );
        // A cause that is over is news when it comes back.
        log.report(later(2000), false);
        note(&log, 1, "no response in time", later(2000));
        log.report(later(2005), false);
        assert_eq!(traces.text().lines().count(), 4);
    }

    #[test]
    fn texts_that_differ_with_each_project_fill_no_log() {
        let (traces, _guard) = Traces::record();
        let log = FailureLog::default();
        for number in 0..1000 {
            note(&log, number, &format!("cause {number}"), START);
        }
        log.report(START, true);
        assert_eq!(traces.text().lines().count(), CAUSES + 1);
    }
}
