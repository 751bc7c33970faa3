//! What an exporter must have counted, computed from the world's own ledger: from what happened in
//! GitLab, never through the code under test.

use std::collections::BTreeMap;

use gitlab_simulator::time::Millis;
use gitlab_simulator::world::ledger::{JobFacts, PipelineFacts};
use gitlab_simulator::world::{Entry, Event, PipelineKind, RunnerType, Status};

use crate::support::series::Labels;

/// Counts by metric and labels.
pub type Counts = BTreeMap<(String, Labels), f64>;

/// Every event of the ledger that is no history for an exporter that first looked at `first_look`.
pub fn counts(entries: &[Entry], first_look: Millis) -> Counts {
    let mut counts = Counts::new();
    for entry in entries {
        if entry.at > first_look {
            count(&entry.event, &mut counts);
        }
    }
    counts
}

fn count(event: &Event, counts: &mut Counts) {
    let mut add = |metric: &str, labels: Vec<(&str, String)>, by: f64| {
        let labels = labels
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect();
        *counts.entry((metric.to_owned(), labels)).or_default() += by;
    };
    match event {
        Event::PipelineCreated { pipeline, .. } => {
            add("age_pipeline_run_count", by_source(pipeline), 1.0);
            if let Some(labels) = by_upstream(pipeline) {
                add("age_child_pipeline_run_count", labels, 1.0);
            }
        }
        Event::PipelineFinished {
            pipeline,
            status,
            started_at,
            duration,
            ..
        } => {
            let mut labels = by_source(pipeline);
            labels.push(("status", status.to_string()));
            add("age_pipeline_finished_total", labels.clone(), 1.0);
            if duration.is_some() {
                add("age_pipeline_duration_seconds", labels, 1.0);
            }
            if started_at.is_some() {
                add(
                    "age_pipeline_queued_duration_seconds",
                    by_source(pipeline),
                    1.0,
                );
            }
            if let Some(labels) = by_upstream(pipeline) {
                if duration.is_some() {
                    add("age_child_pipeline_duration_seconds", labels.clone(), 1.0);
                }
                if started_at.is_some() {
                    add("age_child_pipeline_queued_duration_seconds", labels, 1.0);
                }
            }
        }
        Event::PipelineStatusChanged { pipeline, to, .. } if *to == Status::Skipped => {
            let mut labels = by_source(pipeline);
            labels.push(("status", to.to_string()));
            add("age_pipeline_finished_total", labels, 1.0);
        }
        Event::JobFinished {
            job,
            status,
            failure_reason,
            runner_type,
            started_at,
            duration,
            queued_duration,
            ..
        } if !job.bridge || status.to_string() == "failed" => {
            let status = status.to_string();
            if status == "failed" {
                let mut labels = by_job(job);
                let reason = failure_reason.as_deref().unwrap_or("unknown").to_owned();
                labels.push(("failure_reason", reason));
                let metric = match job.allow_failure {
                    true => "age_job_allowed_failures_total",
                    false => "age_job_failures_total",
                };
                add(metric, labels, 1.0);
            }
            // Of a trigger job only failures count.
            if started_at.is_none() || job.bridge {
                return;
            }
            add("age_job_run_count", by_job(job), 1.0);
            if queued_duration.is_some() {
                add("age_job_queued_duration_seconds", by_job(job), 1.0);
            }
            if duration.is_some() {
                let mut labels = by_job(job);
                labels.push(("runner_type", runner(*runner_type).to_owned()));
                labels.push(("status", status));
                add("age_job_duration_seconds", labels, 1.0);
            }
        }
        Event::JobRetried { old, .. } if !old.bridge => {
            add("age_job_retries_total", by_job(old), 1.0);
        }
        Event::JobFlaky { job, failed_ids } if !job.bridge => {
            #[expect(clippy::cast_precision_loss, reason = "a handful")]
            add("age_job_flaky_total", by_job(job), failed_ids.len() as f64);
        }
        _ => {}
    }
}

fn runner(runner_type: Option<RunnerType>) -> &'static str {
    match runner_type {
        Some(RunnerType::InstanceType) => "instance",
        Some(RunnerType::GroupType) => "group",
        Some(RunnerType::ProjectType) => "project",
        None => "unknown",
    }
}

fn ref_label(pipeline: &PipelineFacts) -> String {
    match &pipeline.target_branch {
        Some(target) if pipeline.merge_request_iid.is_some() => format!("merge-requests/{target}"),
        _ => pipeline.ref_name.to_string(),
    }
}

/// Metrics without `kind` tell tags from branches by their name.
fn without_kind(pipeline: &PipelineFacts) -> String {
    match pipeline.kind {
        PipelineKind::Tag => format!("tags/{}", pipeline.ref_name),
        _ => ref_label(pipeline),
    }
}

fn by_source(pipeline: &PipelineFacts) -> Vec<(&'static str, String)> {
    let kind = match pipeline.kind {
        PipelineKind::Branch => "branch",
        PipelineKind::Tag => "tag",
        PipelineKind::MergeRequest | PipelineKind::MergedResult | PipelineKind::MergeTrain => {
            "merge-request"
        }
    };
    vec![
        ("kind", kind.to_owned()),
        ("project", pipeline.project_path.to_string()),
        ("ref", ref_label(pipeline)),
        ("source", pipeline.source.to_string()),
    ]
}

fn by_upstream(pipeline: &PipelineFacts) -> Option<Vec<(&'static str, String)>> {
    let upstream = pipeline.upstream.as_ref()?;
    Some(vec![
        ("bridge_name", upstream.bridge_name.to_string()),
        ("parent_project", upstream.pipeline.project_path.to_string()),
        ("parent_ref", ref_label(&upstream.pipeline)),
        ("project", pipeline.project_path.to_string()),
        ("ref", without_kind(pipeline)),
    ])
}

fn by_job(job: &JobFacts) -> Vec<(&'static str, String)> {
    vec![
        ("job_name", job.name.to_string()),
        ("project", job.pipeline.project_path.to_string()),
        ("ref", without_kind(&job.pipeline)),
        ("stage", job.stage.to_string()),
    ]
}
