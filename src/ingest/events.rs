//! What a run showed of what GitLab's events announced, and how fresh it was.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Ingest, activity};
use crate::clock::UnixSeconds;
use crate::events::{Trigger, UnixMillis};
use crate::facts::Change;
use crate::registry::{Ended, Holding, Projects};
use crate::source::Source;
use crate::types::ProjectId;

impl Ingest {
    /// What moved in each project since the read before, as long as that is remembered.
    pub(super) fn changes(projects: &Projects, ended: &[Ended]) -> Vec<(ProjectId, Vec<Change>)> {
        let changes = ended.iter().filter_map(|ended| {
            let (facts, entry) = (ended.facts.as_ref()?, projects.get(ended.id)?);
            Some((ended.id, facts.changes(entry.memory())))
        });
        changes.collect()
    }

    /// Reports what is shown now, of which runs began as `holdings` say.
    pub(super) fn report_shown(
        &self,
        projects: &mut Projects,
        source: &dyn Source,
        changes: Vec<(ProjectId, Vec<Change>)>,
        holdings: &BTreeMap<ProjectId, Holding>,
        now: UnixSeconds,
    ) {
        let (reading, activity) = (source.reading(), activity(source));
        let shown_at =
            UnixMillis(i64::try_from(self.clock.unix_nanos() / 1_000_000).unwrap_or(i64::MAX));
        for (id, changes) in changes {
            let Some(holding) = holdings.get(&id) else {
                continue;
            };
            let shown = projects.shown(id, (reading, holding.began), &changes, now);
            for mark in &shown.marks {
                let age = mark.at.map(|at| shown_at.since(at));
                self.observer
                    .shown(activity, mark.trigger, age, Some(mark.arrived.elapsed()));
            }
            for change in &shown.polled {
                let age = shown_at.since(UnixMillis::from_seconds(change.at.0));
                self.observer
                    .shown(activity, Trigger::Poll, Some(age), None);
            }
            if shown.missed > 0 {
                self.observer.events_missed(activity, shown.missed);
            }
            let last = match shown.marks.last() {
                Some(mark) => Some((mark.trigger, mark.at)),
                None => {
                    let newest = shown.polled.iter().map(|change| change.at).max();
                    newest.map(|at| (Trigger::Poll, Some(UnixMillis::from_seconds(at.0))))
                }
            };
            if let Some((trigger, at)) = last {
                let age: Option<Duration> = at.map(|at| shown_at.since(at));
                projects.note_freshness(id, trigger, age);
            }
        }
    }
}
