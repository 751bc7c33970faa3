//! What is remembered of a project's test reports, and which are still to be read.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Subject;
use super::pipelines::PipelinesMemory;
use super::refs::RefName;
use crate::clock::UnixSeconds;
use crate::gitlab::model::TestReport;
use crate::types::{PipelineId, Text};

/// How long after a pipeline's end its report may still grow: GitLab sums results up in the
/// background, and child pipelines may end after their parent.
pub(crate) const SETTLE: Duration = Duration::from_secs(180);

/// An end of a pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// The ref that its states are labelled with.
    pub name: RefName,
    /// The pipeline.
    pub id: PipelineId,
    /// When it ended.
    pub at: UnixSeconds,
}

/// A pipeline whose report is to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The pipeline and its end.
    pub end: End,
    /// Whether its summary is wanted: it is the newest that ended.
    pub summary: bool,
    /// Whether its cases are wanted.
    pub cases: bool,
}

/// What is remembered of a project's test reports.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TestReportsMemory {
    /// The first poll: what ended before is history.
    pub(crate) since: Option<UnixSeconds>,
    /// The report of the newest ended pipeline of each ref.
    pub(crate) reports: BTreeMap<RefName, RememberedReport>,
    /// The cases of the newest ended pipeline of each ref.
    pub(crate) cases: BTreeMap<RefName, Vec<RememberedCase>>,
    /// The ends whose cases were counted, or are history.
    pub(crate) claims: BTreeMap<PipelineId, UnixSeconds>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RememberedCase {
    pub(crate) suite: Text,
    pub(crate) class: Text,
    /// With the class.
    pub(crate) name: Text,
    pub(crate) status: Text,
    /// How long it took; none where it was left out, or an earlier version did not note it.
    pub(crate) seconds: Option<f64>,
}

impl RememberedCase {
    /// Its name without the class.
    pub(crate) fn short_name(&self) -> Text {
        let rest = self.name.strip_prefix(&*self.class);
        match rest.and_then(|rest| rest.strip_prefix('.')) {
            Some(name) if !self.class.is_empty() => name.into(),
            _ => self.name.clone(),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RememberedReport {
    pub(crate) id: PipelineId,
    pub(crate) ended_at: UnixSeconds,
    pub(crate) read_at: UnixSeconds,
    pub(crate) report: TestReport,
}

impl RememberedReport {
    pub(crate) fn is_of(&self, end: &End) -> bool {
        self.id == end.id && self.ended_at == end.at
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.read_at >= self.ended_at.plus(SETTLE)
    }
}

pub(crate) fn wants_summary(kept: Option<&RememberedReport>, end: &End, at: UnixSeconds) -> bool {
    match kept {
        Some(kept) if kept.is_of(end) => !kept.is_settled() && at >= end.at.plus(SETTLE),
        _ => true,
    }
}

/// Of history only the newest end has cases: it gives the states.
pub(crate) fn wants_cases(memory: &TestReportsMemory, end: &End, newest: bool) -> bool {
    let is_event = memory.since.is_some_and(|since| end.at >= since);
    memory.claims.get(&end.id) != Some(&end.at) && (newest || is_event)
}

/// The pipelines whose reports are to be read at `at`, GitLab's time; the newest ends first.
/// `cases` says whether test cases are measured one by one.
#[must_use]
pub fn wanted(
    subject: Subject<'_>,
    pipelines: &PipelinesMemory,
    memory: &TestReportsMemory,
    cases: bool,
    at: UnixSeconds,
) -> Vec<Wanted> {
    let mut wanted = Vec::new();
    for (name, ends) in pipelines.ended(subject) {
        for (place, (id, ended_at)) in ends.into_iter().enumerate() {
            let name = name.clone();
            let end = End {
                name,
                id,
                at: ended_at,
            };
            let newest = place == 0;
            let one = Wanted {
                summary: newest && wants_summary(memory.reports.get(&end.name), &end, at),
                cases: cases && wants_cases(memory, &end, newest),
                end,
            };
            if one.summary || one.cases {
                wanted.push(one);
            }
        }
    }
    wanted.sort_by_key(|one| std::cmp::Reverse((one.end.at, one.end.id)));
    wanted
}
