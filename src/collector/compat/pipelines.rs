//! Pipelines.

use super::{Claims, Newest, WITH_WARNINGS, pipeline_labels, status_values};
use crate::catalogue::compat as metric;
use crate::catalogue::labels::OldPipelineStatusLabels;
use crate::collector::Measured;
use crate::collector::pipelines::claim_run;
use crate::facts::feed::{Feed, PARENT_PIPELINE};
use crate::gitlab::model::Status;
use crate::memory::refs::{RefName, is_watched};
use crate::memory::{ProjectMemory, Subject};
use crate::types::Text;

/// Counts pipelines when they are created, each once, as the collector of pipelines does.
pub(super) fn count(subject: Subject<'_>, feed: &Feed, claims: &mut Claims, out: &mut Measured) {
    for facts in &feed.pipelines {
        let pipeline = &facts.pipeline;
        if !is_watched(pipeline, subject.settings) || &*pipeline.source == PARENT_PIPELINE {
            continue;
        }
        if claim_run(&mut claims.pipelines, facts, pipeline).created {
            let name = RefName::of(pipeline);
            // Variables are not read yet when a pipeline is counted.
            let labels = pipeline_labels(subject, &name, &pipeline.source, Text::default());
            out.events.push(metric::PIPELINE_RUN_COUNT.add(labels, 1.0));
        }
    }
}

/// The states of the newest pipeline of each ref; returns the labels of each.
pub(super) fn states(subject: Subject<'_>, memory: &ProjectMemory, out: &mut Measured) -> Newest {
    let mut newest = Newest::new();
    for (name, entry) in memory.pipelines.newest.shown(subject) {
        let run = &entry.value;
        let variables = variables(memory, name);
        let labels = pipeline_labels(subject, name, &run.source, variables);
        let counted = pipeline_labels(subject, name, &run.source, Text::default());
        out.initializations
            .push(metric::PIPELINE_RUN_COUNT.series(counted));
        let jobs = memory.jobs.newest.find(name, entry.id);
        let warns = run.status == Status::Success && jobs.is_some_and(|jobs| jobs.value.warnings);
        let status = if warns {
            WITH_WARNINGS
        } else {
            run.status.as_str()
        };
        for (status, value) in status_values(subject, status) {
            let labels = OldPipelineStatusLabels {
                kind: labels.kind.clone(),
                project: labels.project.clone(),
                git_ref: labels.git_ref.clone(),
                source: labels.source.clone(),
                status,
                topics: labels.topics.clone(),
                variables: labels.variables.clone(),
            };
            out.states.push(metric::PIPELINE_STATUS.set(labels, value));
        }
        let updated = run.updated_at.or(run.finished_at);
        let updated = updated.unwrap_or(entry.created_at);
        #[expect(clippy::cast_precision_loss, reason = "ids stay far below 2^53")]
        let id = entry.id.0 as f64;
        for (metric, value) in [
            (&metric::PIPELINE_ID, id),
            (&metric::PIPELINE_DURATION, run.duration.unwrap_or_default()),
            (&metric::PIPELINE_QUEUED, run.queued.unwrap_or_default()),
            (&metric::PIPELINE_COVERAGE, run.coverage.unwrap_or_default()),
            (&metric::PIPELINE_TIMESTAMP, updated.as_f64()),
        ] {
            out.states.push(metric.set(labels.clone(), value));
        }
        newest.insert(name.clone(), (entry.id, labels));
    }
    newest
}

/// The label `variables`: `K:V,K:V`.
fn variables(memory: &ProjectMemory, name: &RefName) -> Text {
    let Some((_, variables)) = memory.variables.newest.get(name) else {
        return Text::default();
    };
    let pairs = variables
        .iter()
        .map(|(key, value)| format!("{key}:{value}"));
    pairs.collect::<Vec<_>>().join(",").into()
}
