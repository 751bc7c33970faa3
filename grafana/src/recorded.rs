//! Recording rules that panels need over many series: the increase of a counter or histogram, five
//! minutes by five minutes, under the labels that panels ask for.
//!
//! A panel over a week of raw samples reads each sample of each series; of a recorded series there is a
//! value for five minutes in which something happened, and none otherwise.

use std::fmt::Write as _;

/// What is recorded of a metric.
#[derive(Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The counter, or the part of a histogram, that it comes from.
    pub metric: &'static str,
    /// The labels that are kept; `le` beside them for buckets.
    pub by: &'static [&'static str],
}

/// Labels of a project's pipelines.
const REF: &[&str] = &["project", "ref", "kind"];
/// Labels of a job's runs.
const RUN: &[&str] = &[
    "project",
    "ref",
    "stage",
    "job_name",
    "status",
    "runner_type",
];
/// Labels of merge requests.
const BRANCH: &[&str] = &["project", "target_branch"];
const AUTHOR: &[&str] = &["project", "author"];

const fn of(metric: &'static str, by: &'static [&'static str]) -> Recorded {
    Recorded { metric, by }
}

/// Every rule, in the order of the file.
pub const ALL: &[Recorded] = &[
    of(
        "age_pipeline_run_count",
        &["project", "ref", "kind", "source"],
    ),
    of(
        "age_pipeline_finished_total",
        &["project", "ref", "kind", "status"],
    ),
    of("age_pipeline_duration_seconds_bucket", REF),
    of("age_pipeline_queued_duration_seconds_bucket", REF),
    of("age_job_duration_seconds_sum", RUN),
    of("age_job_duration_seconds_count", RUN),
    of(
        "age_job_queued_duration_seconds_bucket",
        &["project", "ref", "stage"],
    ),
    of(
        "age_environment_deployment_duration_seconds_bucket",
        &["project", "environment"],
    ),
    of("age_mr_time_to_merge_seconds_bucket", BRANCH),
    of("age_mr_time_to_first_review_seconds_bucket", BRANCH),
    of("age_mr_time_to_approve_seconds_bucket", BRANCH),
    of("age_mr_open_duration_seconds_bucket", BRANCH),
    of("age_mr_review_cycles_count_bucket", BRANCH),
    of("age_mr_changes_count_bucket", BRANCH),
    of("age_mr_commits_count_bucket", BRANCH),
    of("age_mr_files_changed_count_bucket", BRANCH),
    of("age_mr_notes_count_bucket", BRANCH),
    of("age_mr_approvals_count_bucket", BRANCH),
    of("age_contributor_commits_count", AUTHOR),
    of("age_contributor_additions", AUTHOR),
    of("age_contributor_deletions", AUTHOR),
];

/// The size of artifacts by project, ref and stage: the recorded series, and what it comes from.
pub const ARTIFACT_SIZE: (&str, &str) = (
    "age:job_artifact_size_bytes:sum",
    "age_job_artifact_size_bytes",
);

/// How much a metric rose: PromQL over its recorded series. `metric` is one of [`ALL`]; `matchers`
/// stand in braces, `window` in brackets, which it may close itself: `1d] offset -1d`.
///
/// # Panics
/// When nothing is recorded of the metric.
pub fn increase(metric: &str, matchers: &str, window: &str) -> String {
    let recorded = ALL.iter().find(|recorded| recorded.metric == metric);
    let recorded = recorded.unwrap_or_else(|| panic!("nothing is recorded of {metric}"));
    let end = if window.contains(']') { "" } else { "]" };
    format!(
        "sum_over_time({}{{{matchers}}}[{window}{end})",
        recorded.name()
    )
}

/// Text of the rules' file.
pub fn rules() -> String {
    let mut text = HEAD.to_owned();
    for recorded in ALL {
        let _ = writeln!(
            text,
            "      - record: {}\n        expr: |\n          {}",
            recorded.name(),
            recorded.expr().replace('\n', "\n          ")
        );
    }
    let (name, metric) = ARTIFACT_SIZE;
    let _ = writeln!(
        text,
        "      - record: {name}\n        expr: sum by (project, ref, stage) (max by (project, ref, stage, job_name) ({metric}))"
    );
    text
}

/// What stands before the rules.
const HEAD: &str = "\
# What the dashboards' panels over many series read. Written by `cargo run -p gitlab-dashboards` from
# grafana/src/recorded.rs; change it there.
#
# Each is what its metric rose by in five minutes: a quarter of what it rose by in twenty, so that a rise
# between the samples of one evaluation is in the others. sum_over_time() over them is the rise over any
# time; the last twenty minutes are not in it to the full yet. Only what rose is recorded. The size of artifacts is recorded as it is. docs/dashboards.md says how to record the time before they were loaded.
groups:
  - name: amazing-gitlab-exporter-dashboards
    interval: 5m
    rules:
";

impl Recorded {
    /// The recorded series' name.
    pub fn name(&self) -> String {
        let name = self.metric.strip_prefix("age_").unwrap_or(self.metric);
        let name = name.strip_suffix("_total").unwrap_or(name);
        format!("age:{name}:increase5m")
    }

    /// The labels of the recorded series.
    pub fn labels(&self) -> Vec<&'static str> {
        let mut labels = self.by.to_vec();
        if self.metric.ends_with("_bucket") {
            labels.push("le");
        }
        labels
    }

    /// PromQL of the rule.
    fn expr(&self) -> String {
        let rise = |metric: &str, labels: &[&str]| {
            let labels = labels.join(", ");
            format!("sum by ({labels}) (increase({metric}[20m])) / 4")
        };
        match self.metric.strip_suffix("_bucket") {
            // All buckets, or quantiles would be interpolated from 0 on.
            Some(histogram) => {
                let all = rise(&format!("{histogram}_count"), self.by);
                let labels = self.by.join(", ");
                let buckets = rise(self.metric, &self.labels());
                format!("{buckets}\nand on ({labels})\n{all} > 0")
            }
            None => format!("{} > 0", rise(self.metric, self.by)),
        }
    }
}
