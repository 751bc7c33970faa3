//! Test reports.

use super::{Newest, status_values};
use crate::catalogue::Measurement;
use crate::catalogue::compat as metric;
use crate::catalogue::labels::{
    OldCaseLabels, OldCaseStatusLabels, OldPipelineLabels, OldSuiteLabels,
};
use crate::gitlab::model::TestReport;
use crate::memory::test_reports::RememberedCase;
use crate::memory::{ProjectMemory, Subject};

/// The states of the report of the newest ended pipeline of each ref, zeros included.
pub(super) fn states(
    subject: Subject<'_>,
    memory: &ProjectMemory,
    newest: &Newest,
    out: &mut Vec<Measurement>,
) {
    for (name, (_, labels)) in newest {
        let Some(kept) = memory.test_reports.reports.get(name) else {
            continue;
        };
        report(labels, &kept.report, out);
        for case in memory.test_reports.cases.get(name).into_iter().flatten() {
            self::case(subject, labels, case, out);
        }
    }
}

fn case(
    subject: Subject<'_>,
    of: &OldPipelineLabels,
    case: &RememberedCase,
    out: &mut Vec<Measurement>,
) {
    let labels = OldCaseLabels {
        kind: of.kind.clone(),
        project: of.project.clone(),
        git_ref: of.git_ref.clone(),
        source: of.source.clone(),
        class: case.class.clone(),
        case: case.short_name(),
        suite: case.suite.clone(),
        topics: of.topics.clone(),
        variables: of.variables.clone(),
    };
    for (status, value) in status_values(subject, &case.status) {
        let labels = labels.clone();
        let labels = OldCaseStatusLabels {
            kind: labels.kind,
            project: labels.project,
            git_ref: labels.git_ref,
            source: labels.source,
            status,
            class: labels.class,
            case: labels.case,
            suite: labels.suite,
            topics: labels.topics,
            variables: labels.variables,
        };
        out.push(metric::CASE_STATUS.set(labels, value));
    }
    let seconds = case.seconds.unwrap_or_default();
    out.push(metric::CASE_TIME.set(labels, seconds));
}

fn report(labels: &OldPipelineLabels, report: &TestReport, out: &mut Vec<Measurement>) {
    let total = &report.total;
    for (metric, value) in [
        (&metric::REPORT_TOTAL_TIME, total.seconds),
        (&metric::REPORT_TOTAL_COUNT, total.total),
        (&metric::REPORT_SUCCESS_COUNT, total.success),
        (&metric::REPORT_FAILED_COUNT, total.failed),
        (&metric::REPORT_SKIPPED_COUNT, total.skipped),
        (&metric::REPORT_ERROR_COUNT, total.error),
    ] {
        out.push(metric.set(labels.clone(), value));
    }
    for suite in &report.suites {
        let labels = OldSuiteLabels {
            kind: labels.kind.clone(),
            project: labels.project.clone(),
            git_ref: labels.git_ref.clone(),
            source: labels.source.clone(),
            suite: suite.name.clone(),
            topics: labels.topics.clone(),
            variables: labels.variables.clone(),
        };
        for (metric, value) in [
            (&metric::SUITE_TOTAL_TIME, suite.counts.seconds),
            (&metric::SUITE_TOTAL_COUNT, suite.counts.total),
            (&metric::SUITE_SUCCESS_COUNT, suite.counts.success),
            (&metric::SUITE_FAILED_COUNT, suite.counts.failed),
            (&metric::SUITE_SKIPPED_COUNT, suite.counts.skipped),
            (&metric::SUITE_ERROR_COUNT, suite.counts.error),
        ] {
            out.push(metric.set(labels.clone(), value));
        }
    }
}
