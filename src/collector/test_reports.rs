//! `test_reports`: what the newest ended pipeline of each ref reported.
//!
//! A report is read when its pipeline ended, and once more when its results have settled. Test cases
//! are counted once for each end of a pipeline that is not before the project's first look.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::refs::RefName;
use super::{Measured, Subject, pipelines};
use crate::catalogue::Measurement;
use crate::catalogue::labels::{CaseLabels, CaseStatusLabels, ProjectRefLabels, SuiteLabels};
use crate::catalogue::test_reports as metric;
use crate::clock::UnixSeconds;
use crate::gitlab::model::{TestCase, TestReport};
use crate::types::{PipelineId, Text};

/// How long after a pipeline's end its report may still grow: GitLab sums results up in the
/// background, and child pipelines may end after their parent.
const SETTLE: Duration = Duration::from_secs(180);

/// Every result that GitLab gives a test case.
const RESULTS: [&str; 4] = ["success", "failed", "skipped", "error"];

/// An end of a pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// The ref that its states stand under.
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

/// What was read of a pipeline.
#[derive(Clone, Debug)]
pub struct ReportFacts {
    /// The pipeline and its end.
    pub end: End,
    /// When it was read, by GitLab's clock.
    pub read_at: UnixSeconds,
    /// Its summary, if it was wanted.
    pub report: Option<TestReport>,
    /// Its cases, if they were wanted.
    pub cases: Option<Vec<TestCase>>,
}

/// What is remembered of a project's test reports.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// The first look: what ended before is history.
    pub(crate) since: Option<UnixSeconds>,
    /// The report of the newest ended pipeline of each ref.
    pub(crate) reports: BTreeMap<RefName, Kept>,
    /// The cases of the newest ended pipeline of each ref: suite, name, result.
    pub(crate) cases: BTreeMap<RefName, Vec<(Text, Text, Text)>>,
    /// The ends whose cases were counted, or are history.
    pub(crate) claims: BTreeMap<PipelineId, UnixSeconds>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) id: PipelineId,
    pub(crate) ended_at: UnixSeconds,
    pub(crate) read_at: UnixSeconds,
    pub(crate) report: TestReport,
}

impl Kept {
    fn is_of(&self, end: &End) -> bool {
        self.id == end.id && self.ended_at == end.at
    }

    fn is_settled(&self) -> bool {
        self.read_at >= self.ended_at.plus(SETTLE)
    }
}

/// The collector; `include_cases` is `collectors.test_reports.include_test_cases`.
#[derive(Clone, Copy, Debug)]
pub struct TestReports {
    /// Whether each test case is measured by itself.
    pub include_cases: bool,
}

impl TestReports {
    /// The pipelines whose reports are to be read at `at`, GitLab's time; the newest ends first.
    #[must_use]
    pub fn wanted(
        &self,
        subject: Subject<'_>,
        known: &pipelines::Memory,
        memory: &Memory,
        at: UnixSeconds,
    ) -> Vec<Wanted> {
        let mut wanted = Vec::new();
        for (name, ends) in known.ended(subject) {
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
                    cases: self.include_cases && wants_cases(memory, &end, newest),
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

    /// Takes in what was read, and gives all states as they are now.
    #[must_use]
    pub fn measure(
        &self,
        subject: Subject<'_>,
        known: &pipelines::Memory,
        read: &[ReportFacts],
        at: UnixSeconds,
        memory: &mut Memory,
    ) -> Measured {
        let mut measured = Measured::default();
        let since = *memory.since.get_or_insert(at);
        let ended = known.ended(subject);
        for facts in read {
            if let Some(cases) = &facts.cases {
                absorb_cases(subject, facts, cases, since, memory, &mut measured);
            }
            let newest = ended.get(&facts.end.name).and_then(|ends| ends.first());
            if newest != Some(&(facts.end.id, facts.end.at)) {
                continue;
            }
            if let Some(report) = &facts.report {
                let kept = Kept {
                    id: facts.end.id,
                    ended_at: facts.end.at,
                    read_at: facts.read_at,
                    report: report.clone(),
                };
                memory.reports.insert(facts.end.name.clone(), kept);
            }
            if let Some(cases) = &facts.cases {
                let cases = cases.iter();
                let cases = cases.map(|it| (it.suite.clone(), it.name.clone(), it.status.clone()));
                memory.cases.insert(facts.end.name.clone(), cases.collect());
            }
        }
        memory.reports.retain(|name, _| ended.contains_key(name));
        let include_cases = self.include_cases;
        memory
            .cases
            .retain(|name, _| include_cases && ended.contains_key(name));
        let remembered: BTreeSet<PipelineId> = known.all_ids().collect();
        memory.claims.retain(|id, _| remembered.contains(id));
        states(subject, memory, &mut measured.states);
        measured
    }
}

fn wants_summary(kept: Option<&Kept>, end: &End, at: UnixSeconds) -> bool {
    match kept {
        Some(kept) if kept.is_of(end) => !kept.is_settled() && at >= end.at.plus(SETTLE),
        _ => true,
    }
}

/// Of history only the newest end has cases: it gives the states.
fn wants_cases(memory: &Memory, end: &End, newest: bool) -> bool {
    let is_event = memory.since.is_some_and(|since| end.at >= since);
    memory.claims.get(&end.id) != Some(&end.at) && (newest || is_event)
}

fn absorb_cases(
    subject: Subject<'_>,
    facts: &ReportFacts,
    cases: &[TestCase],
    since: UnixSeconds,
    memory: &mut Memory,
    out: &mut Measured,
) {
    let End { name, id, at } = &facts.end;
    let claimed = memory.claims.insert(*id, *at);
    let counts = claimed < Some(*at) && *at >= since;
    for case in cases {
        let labels = CaseLabels {
            case_name: case.name.clone(),
            project: subject.project.clone(),
            git_ref: name.name.clone(),
            suite: case.suite.clone(),
        };
        // What was left out did not run.
        if &*case.status == "skipped" {
            continue;
        }
        if counts {
            out.events
                .push(metric::CASE_DURATION.observe(labels, case.seconds));
        } else {
            out.births.push(metric::CASE_DURATION.series(labels));
        }
    }
}

fn states(subject: Subject<'_>, memory: &Memory, out: &mut Vec<Measurement>) {
    // A branch and a tag of one name share their series: the later end is shown.
    let mut shown: BTreeMap<&Text, (&RefName, &Kept)> = BTreeMap::new();
    for (name, kept) in &memory.reports {
        let other = shown.get(&name.name);
        if other.is_none_or(|(_, other)| other.ended_at < kept.ended_at) {
            shown.insert(&name.name, (name, kept));
        }
    }
    for (name, kept) in shown.into_values() {
        if kept.report.suites.is_empty() {
            continue;
        }
        report_states(subject, name, &kept.report, out);
        for (suite, case, status) in memory.cases.get(name).into_iter().flatten() {
            case_states(subject, name, (suite, case, status), out);
        }
    }
}

fn report_states(
    subject: Subject<'_>,
    name: &RefName,
    report: &TestReport,
    out: &mut Vec<Measurement>,
) {
    let labels = ProjectRefLabels {
        project: subject.project.clone(),
        git_ref: name.name.clone(),
    };
    let total = &report.total;
    for (metric, value) in [
        (&metric::TOTAL_TIME, total.seconds),
        (&metric::TOTAL_COUNT, total.total),
        (&metric::SUCCESS_COUNT, total.success),
        (&metric::FAILED_COUNT, total.failed),
        (&metric::SKIPPED_COUNT, total.skipped),
        (&metric::ERROR_COUNT, total.error),
    ] {
        out.push(metric.set(labels.clone(), value));
    }
    for suite in &report.suites {
        let labels = SuiteLabels {
            project: subject.project.clone(),
            git_ref: name.name.clone(),
            suite_name: suite.name.clone(),
        };
        for (metric, value) in [
            (&metric::SUITE_DURATION, suite.counts.seconds),
            (&metric::SUITE_COUNT, suite.counts.total),
            (&metric::SUITE_SUCCESS_COUNT, suite.counts.success),
            (&metric::SUITE_FAILED_COUNT, suite.counts.failed),
            (&metric::SUITE_SKIPPED_COUNT, suite.counts.skipped),
            (&metric::SUITE_ERROR_COUNT, suite.counts.error),
        ] {
            out.push(metric.set(labels.clone(), value));
        }
    }
}

fn case_states(
    subject: Subject<'_>,
    name: &RefName,
    (suite, case, status): (&Text, &Text, &Text),
    out: &mut Vec<Measurement>,
) {
    let mut set = |status: Text, value| {
        let labels = CaseStatusLabels {
            case_name: case.clone(),
            project: subject.project.clone(),
            git_ref: name.name.clone(),
            status,
            suite: suite.clone(),
        };
        out.push(metric::CASE_STATUS.set(labels, value));
    };
    set(status.clone(), 1.0);
    if !subject.settings.output_sparse_status_metrics {
        let others = RESULTS.iter().filter(|other| ***other != **status);
        others.for_each(|other| set((*other).into(), 0.0));
    }
}
