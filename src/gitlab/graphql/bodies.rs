//! GraphQL's answers as bytes.

use serde::de::DeserializeOwned;

use super::holes::Partial;
use super::queries::{
    dora_metrics, feature_probe, licensed_features, merge_request_census, merge_request_reviews,
    merge_request_states, pipeline_jobs, project_changes,
};
use super::{Batch, PipelineJobs, changes, dora, features, jobs, merge_requests, reviews};
use crate::gitlab::bodies::Reading;
use crate::gitlab::model::Page;
use crate::types::ProjectId;

/// What an answer is to be read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is named after its query")]
pub enum GraphQlAnswer {
    ProjectChanges,
    PipelineJobs,
    MergeRequestStates,
    LicensedFeatures,
    FeatureProbe,
    MergeRequestReviews,
    MergeRequestCensus,
    DoraMetrics,
}

impl GraphQlAnswer {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::ProjectChanges,
        Self::PipelineJobs,
        Self::MergeRequestStates,
        Self::LicensedFeatures,
        Self::FeatureProbe,
        Self::MergeRequestReviews,
        Self::MergeRequestCensus,
        Self::DoraMetrics,
    ];
}

/// Reads the body of an answer to a question for projects 1 to 3.
///
/// # Errors
/// A sentence when nothing at all could be read.
pub fn graphql(answer: GraphQlAnswer, body: &[u8]) -> Result<Reading, String> {
    let ids = &[ProjectId(1), ProjectId(2), ProjectId(3)];
    match answer {
        GraphQlAnswer::ProjectChanges => {
            let partial = partial::<project_changes::ResponseData>(body)?;
            Ok(reading(changes::batch(ids, partial)?, |item, reading| {
                reading.item(&item.project);
                reading.page(item.pipelines);
                reading.page(item.children);
            }))
        }
        GraphQlAnswer::PipelineJobs => {
            let partial = partial::<pipeline_jobs::ResponseData>(body)?;
            Ok(reading(
                jobs::batch(ids, partial)?,
                |(project, one), reading| {
                    reading.item(&project.id);
                    pipelines(project.pipelines, reading);
                    pipelines(project.children, reading);
                    one.into_iter()
                        .for_each(|pipeline| jobs_of(pipeline, reading));
                },
            ))
        }
        GraphQlAnswer::MergeRequestStates => {
            let partial = partial::<merge_request_states::ResponseData>(body)?;
            Ok(reading(
                merge_requests::batch(ids, partial)?,
                |page, reading| {
                    reading.item(&"a project");
                    reading.page(page);
                },
            ))
        }
        GraphQlAnswer::LicensedFeatures => {
            let partial = partial::<licensed_features::ResponseData>(body)?;
            Ok(reading(
                features::licensed(ids, partial)?,
                |item, reading| reading.item(&item),
            ))
        }
        GraphQlAnswer::FeatureProbe => {
            let partial = partial::<feature_probe::ResponseData>(body)?;
            Ok(reading(features::probed(ids, partial)?, |item, reading| {
                reading.item(&item);
            }))
        }
        GraphQlAnswer::MergeRequestReviews => {
            let partial = partial::<merge_request_reviews::ResponseData>(body)?;
            Ok(reading(reviews::batch(ids, partial)?, |item, reading| {
                reading.item(&item.project);
                let mut page = item.page;
                for one in &mut page.items {
                    reading.page(std::mem::take(&mut one.notes));
                }
                reading.page(page);
            }))
        }
        GraphQlAnswer::MergeRequestCensus => {
            let partial = partial::<merge_request_census::ResponseData>(body)?;
            Ok(reading(reviews::census(ids, partial)?, |item, reading| {
                reading.item(&(item.project, item.count, item.last));
                reading.page(item.entries);
            }))
        }
        GraphQlAnswer::DoraMetrics => {
            let partial = partial::<dora_metrics::ResponseData>(body)?;
            Ok(reading(dora::batch(ids, partial)?, |item, reading| {
                reading.item(&item);
            }))
        }
    }
}

fn partial<D: DeserializeOwned>(body: &[u8]) -> Result<Partial<D>, String> {
    super::read(body).map_err(|cause| cause.to_string())
}

fn reading<T>(batch: Batch<T>, note: impl Fn(T, &mut Reading)) -> Reading {
    let mut reading = Reading::default();
    for item in batch.items {
        note(item, &mut reading);
    }
    let failed = batch.failed.into_iter();
    reading
        .skipped
        .extend(failed.map(|failed| format!("project {}: {}", failed.id, failed.why)));
    reading
}

fn pipelines(page: Page<PipelineJobs>, reading: &mut Reading) {
    reading.skipped.extend(page.skipped);
    page.items
        .into_iter()
        .for_each(|pipeline| jobs_of(pipeline, reading));
}

fn jobs_of(pipeline: PipelineJobs, reading: &mut Reading) {
    let head = (
        pipeline.id,
        pipeline.iid,
        pipeline.status,
        pipeline.updated_at,
        pipeline.coverage,
    );
    reading.item(&head);
    reading.page(pipeline.jobs);
    reading.page(pipeline.downstream);
}
