//! `test_reports`: what the newest ended pipeline of each ref reported.
//!
//! A report is read when its pipeline ended, and once more when its results have settled. Test cases
//! are counted once for each end of a pipeline that is not before the project's first poll.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use super::Measured;
use crate::catalogue::Measurement;
use crate::catalogue::labels::{CaseLabels, CaseStatusLabels, ProjectRefLabels, SuiteLabels};
use crate::catalogue::test_reports as metric;
use crate::clock::UnixSeconds;
use crate::facts::test_reports::ReportFacts;
use crate::gitlab::model::{TestCase, TestReport};
use crate::memory::Subject;
use crate::memory::pipelines::PipelinesMemory;
use crate::memory::refs::RefName;
use crate::memory::test_reports::{End, RememberedCase, RememberedReport, TestReportsMemory};
use crate::types::{PipelineId, Text};

/// Every result that a test case can have in GitLab.
const RESULTS: [&str; 4] = ["success", "failed", "skipped", "error"];

/// The collector; `include_cases` is `collectors.test_reports.include_test_cases`.
#[derive(Clone, Copy, Debug)]
pub struct TestReports {
    /// Whether each test case is measured by itself.
    pub include_cases: bool,
}

impl TestReports {
    /// Takes in what was read, and returns all states as they are now.
    #[must_use]
    pub fn measure(
        &self,
        subject: Subject<'_>,
        known: &PipelinesMemory,
        read: &[ReportFacts],
        at: UnixSeconds,
        memory: &mut TestReportsMemory,
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
                let kept = RememberedReport {
                    id: facts.end.id,
                    ended_at: facts.end.at,
                    read_at: facts.read_at,
                    report: report.clone(),
                };
                memory.reports.insert(facts.end.name.clone(), kept);
            }
            if let Some(cases) = &facts.cases {
                let cases = worst_of_each(cases);
                memory.cases.insert(facts.end.name.clone(), cases);
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

/// Each case once: of several with one name, the one that says most against it.
fn worst_of_each(cases: &[TestCase]) -> Vec<RememberedCase> {
    let place = |status: &str| {
        ["skipped", "success"]
            .iter()
            .position(|good| *good == status)
    };
    let mut worst: BTreeMap<(&Text, &Text), &TestCase> = BTreeMap::new();
    for case in cases {
        let known = worst.entry((&case.suite, &case.name)).or_insert(case);
        let rank = |status: &str| (place(status).unwrap_or(2), status == "error");
        if rank(&case.status) > rank(&known.status) {
            *known = case;
        }
    }
    let worst = worst.into_values().map(|case| RememberedCase {
        suite: case.suite.clone(),
        class: case.class.clone(),
        name: case.name.clone(),
        status: case.status.clone(),
        // What was left out did not run.
        seconds: (&*case.status != "skipped").then_some(case.seconds),
    });
    worst.collect()
}

fn absorb_cases(
    subject: Subject<'_>,
    facts: &ReportFacts,
    cases: &[TestCase],
    since: UnixSeconds,
    memory: &mut TestReportsMemory,
    out: &mut Measured,
) {
    let End { name, id, at } = &facts.end;
    let claimed = memory.claims.insert(*id, *at);
    if claimed >= Some(*at) || *at < since {
        return;
    }
    for case in cases {
        let labels = CaseLabels {
            case_name: case.name.clone(),
            project: subject.project.clone(),
            git_ref: name.without_kind(),
            suite: case.suite.clone(),
        };
        // What was left out did not run.
        if &*case.status == "skipped" {
            continue;
        }
        out.events
            .push(metric::CASE_DURATION.observe(labels, case.seconds));
    }
}

fn states(subject: Subject<'_>, memory: &TestReportsMemory, out: &mut Vec<Measurement>) {
    for (name, kept) in &memory.reports {
        if kept.report.suites.is_empty() {
            continue;
        }
        report_states(subject, name, &kept.report, out);
        for case in memory.cases.get(name).into_iter().flatten() {
            case_states(subject, name, case, out);
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
        git_ref: name.without_kind(),
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
            git_ref: name.without_kind(),
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
    case: &RememberedCase,
    out: &mut Vec<Measurement>,
) {
    let labels = CaseLabels {
        case_name: case.name.clone(),
        project: subject.project.clone(),
        git_ref: name.without_kind(),
        suite: case.suite.clone(),
    };
    let status = &case.status;
    let mut set = |status: Text, value| {
        let labels = CaseStatusLabels {
            case_name: labels.case_name.clone(),
            project: labels.project.clone(),
            git_ref: labels.git_ref.clone(),
            status,
            suite: labels.suite.clone(),
        };
        out.push(metric::CASE_STATUS.set(labels, value));
    };
    set(status.clone(), 1.0);
    if !subject.settings.output_sparse_status_metrics {
        let others = RESULTS.iter().filter(|other| ***other != **status);
        others.for_each(|other| set((*other).into(), 0.0));
    }
    if let Some(seconds) = case.seconds {
        out.push(metric::CASE_LAST_DURATION.set(labels, seconds));
    }
}
