//! GraphQL's answers as bytes.

use super::holes::Partial;
use super::projects::{self, OverProjects};
use super::{Batch, PipelineJobs, queries};
use crate::gitlab::bodies::Reading;
use crate::gitlab::model::Page;
use crate::types::ProjectId;

/// What an answer is to be read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is named after its query")]
pub enum GraphQlAnswer {
    ProjectChanges,
    ProjectPermissions,
    PipelineJobs,
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
        Self::ProjectPermissions,
        Self::PipelineJobs,
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
    match answer {
        GraphQlAnswer::ProjectChanges => Ok(reading(
            batch::<queries::ProjectChanges>(body)?,
            |item, reading| {
                reading.item(&item.project);
                reading.page(item.pipelines);
                reading.page(item.children);
            },
        )),
        GraphQlAnswer::ProjectPermissions => Ok(reading(
            batch::<queries::ProjectPermissions>(body)?,
            |item, reading| reading.item(&item),
        )),
        GraphQlAnswer::PipelineJobs => Ok(reading(
            batch::<queries::PipelineJobs>(body)?,
            |(project, one), reading| {
                reading.item(&project.id);
                pipelines(project.pipelines, reading);
                pipelines(project.children, reading);
                one.into_iter()
                    .for_each(|pipeline| jobs_of(pipeline, reading));
            },
        )),
        GraphQlAnswer::LicensedFeatures => Ok(reading(
            batch::<queries::LicensedFeatures>(body)?,
            |item, reading| reading.item(&item),
        )),
        GraphQlAnswer::FeatureProbe => Ok(reading(
            batch::<queries::FeatureProbe>(body)?,
            |item, reading| {
                reading.item(&item);
            },
        )),
        GraphQlAnswer::MergeRequestReviews => Ok(reading(
            batch::<queries::MergeRequestReviews>(body)?,
            |item, reading| {
                reading.item(&item.project);
                let mut page = item.page;
                for one in &mut page.items {
                    reading.page(std::mem::take(&mut one.notes));
                }
                reading.page(page);
            },
        )),
        GraphQlAnswer::MergeRequestCensus => Ok(reading(
            batch::<queries::MergeRequestCensus>(body)?,
            |item, reading| {
                reading.item(&(item.project, item.count, item.last));
                reading.page(item.entries);
            },
        )),
        GraphQlAnswer::DoraMetrics => Ok(reading(
            batch::<queries::DoraMetrics>(body)?,
            |item, reading| {
                reading.item(&item);
            },
        )),
    }
}

fn batch<Q: OverProjects>(body: &[u8]) -> Result<Batch<Q::Item>, String> {
    let answer: Partial<Q::ResponseData> = super::read(body).map_err(|cause| cause.to_string())?;
    projects::read::<Q>(&[ProjectId(1), ProjectId(2), ProjectId(3)], answer)
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
        pipeline.status,
        pipeline.updated_at,
        pipeline.coverage,
    );
    reading.item(&head);
    reading.page(pipeline.jobs);
    reading.page(pipeline.downstream);
}
