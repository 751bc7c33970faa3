//! GraphQL's answers as bytes.

use std::fmt::Debug;

use super::deliveries::{DeploymentByNumber, MergedByDeployment, VariablesOfPipeline};
use super::holes::Partial;
use super::places::{self, Places};
use super::projects::{self, OverProjects};
use super::{Batch, PipelineJobs, Unread, instance_jobs, project_list, queries, runners};
use crate::gitlab::bodies::Reading;
use crate::gitlab::model::Page;
use crate::types::ProjectId;

/// Declares what an answer is to be read as: one for each query, by its name.
macro_rules! answers {
    ($($name:ident),+ $(,)?) => {
        /// What an answer is to be read as.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[expect(missing_docs, reason = "each is named after its query")]
        pub enum GraphQlAnswer {
            $($name),+
        }

        impl GraphQlAnswer {
            /// All of them. The first byte of a fuzzed input is a place in this list: new ones go to its end.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The name of the query.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name)),+
                }
            }
        }
    };
}

answers!(
    ProjectChanges,
    ProjectPermissions,
    PipelineJobs,
    LicensedFeatures,
    FeatureProbe,
    MergeRequestReviews,
    MergeRequestCensus,
    DoraMetrics,
    BranchTips,
    Deployments,
    DeploymentMergeRequests,
    FlowTimes,
    Incidents,
    InstanceJobs,
    PipelineSchedules,
    PipelineVariables,
    ProjectList,
    RefCounts,
    Repositories,
    Runners,
    TestReports,
    ValueStreams,
    VulnerabilityCounts,
);

/// Reads the body of an answer to a question for projects 1 to 3.
///
/// # Errors
/// A sentence when nothing at all could be read.
pub fn graphql(answer: GraphQlAnswer, body: &[u8]) -> Result<Reading, String> {
    match answer {
        GraphQlAnswer::ProjectChanges => over::<queries::ProjectChanges>(body, |item, reading| {
            reading.item(&item.project);
            reading.page(item.pipelines);
            reading.page(item.children);
            item.active
                .into_iter()
                .for_each(|pipeline| jobs_of(pipeline, reading));
        }),
        GraphQlAnswer::ProjectPermissions => each::<queries::ProjectPermissions>(body),
        GraphQlAnswer::PipelineJobs => {
            over::<queries::PipelineJobs>(body, |(project, one), reading| {
                reading.item(&project.id);
                pipelines(project.pipelines, reading);
                pipelines(project.children, reading);
                one.into_iter()
                    .for_each(|pipeline| jobs_of(pipeline, reading));
            })
        }
        GraphQlAnswer::LicensedFeatures => each::<queries::LicensedFeatures>(body),
        GraphQlAnswer::FeatureProbe => each::<queries::FeatureProbe>(body),
        GraphQlAnswer::MergeRequestReviews => {
            over::<queries::MergeRequestReviews>(body, |item, reading| {
                reading.item(&item.project);
                let mut page = item.page;
                for one in &mut page.items {
                    reading.page(std::mem::take(&mut one.notes));
                }
                reading.page(page);
            })
        }
        GraphQlAnswer::MergeRequestCensus => {
            over::<queries::MergeRequestCensus>(body, |item, reading| {
                reading.item(&(item.project, item.count, item.last));
                reading.page(item.entries);
            })
        }
        GraphQlAnswer::DoraMetrics => each::<queries::DoraMetrics>(body),
        GraphQlAnswer::BranchTips => each::<queries::BranchTips>(body),
        GraphQlAnswer::Deployments => filled::<DeploymentByNumber>(body),
        GraphQlAnswer::DeploymentMergeRequests => filled::<MergedByDeployment>(body),
        GraphQlAnswer::FlowTimes => each::<queries::FlowTimes>(body),
        GraphQlAnswer::Incidents => over::<queries::Incidents>(body, |item, reading| {
            reading.item(&item.id);
            reading.page(item.incidents);
        }),
        GraphQlAnswer::InstanceJobs => {
            let answer: Partial<_> = read(body)?;
            let page = instance_jobs::jobs(answer.data, answer.holes)?;
            Ok(reading_of(Some(page)))
        }
        GraphQlAnswer::PipelineSchedules => each::<queries::PipelineSchedules>(body),
        GraphQlAnswer::PipelineVariables => filled::<VariablesOfPipeline>(body),
        GraphQlAnswer::ProjectList => {
            let answer: Partial<_> = read(body)?;
            let read = project_list::page(answer.data, answer.holes).map_err(sentence)?;
            Ok(reading_of(read.map(|(_, page)| page)))
        }
        GraphQlAnswer::RefCounts => each::<queries::RefCounts>(body),
        GraphQlAnswer::Repositories => each::<queries::Repositories>(body),
        GraphQlAnswer::Runners => all_runners(body),
        GraphQlAnswer::TestReports => each::<queries::TestReports>(body),
        GraphQlAnswer::ValueStreams => each::<queries::ValueStreams>(body),
        GraphQlAnswer::VulnerabilityCounts => each::<queries::VulnerabilityCounts>(body),
    }
}

/// The runners of projects, and those of the instance: the query has both.
fn all_runners(body: &[u8]) -> Result<Reading, String> {
    let mut read = over::<queries::Runners>(body, |item, reading| {
        reading.item(&item.id);
        reading.page(item.runners.unwrap_or_default());
    })?;
    let answer: Partial<_> = self::read(body)?;
    let of_instance = runners::page(answer.data, answer.holes).map_err(sentence)?;
    let of_instance = reading_of(of_instance);
    read.items.extend(of_instance.items);
    read.skipped.extend(of_instance.skipped);
    Ok(read)
}

fn sentence(why: Unread) -> String {
    match why {
        Unread::Because(why) => why,
        Unread::TooMuch(excess) => excess.to_string(),
    }
}

fn reading_of<T: Debug>(page: Option<Page<T>>) -> Reading {
    let mut reading = Reading::default();
    reading.page(page.unwrap_or_default());
    reading
}

fn read<D: serde::de::DeserializeOwned>(body: &[u8]) -> Result<Partial<D>, String> {
    super::read(body).map_err(|cause| cause.to_string())
}

/// What places of a document are filled with.
fn filled<P: Places<Item: Debug>>(body: &[u8]) -> Result<Reading, String> {
    let mut reading = Reading::default();
    for item in places::places::<P>(body)?.into_iter().flatten() {
        reading.item(&item);
    }
    Ok(reading)
}

/// What is read of each project, as `Debug` writes it.
fn each<Q: OverProjects<Item: Debug>>(body: &[u8]) -> Result<Reading, String> {
    over::<Q>(body, |item, reading| reading.item(&item))
}

fn over<Q: OverProjects>(
    body: &[u8],
    note: impl Fn(Q::Item, &mut Reading),
) -> Result<Reading, String> {
    Ok(reading(batch::<Q>(body)?, note))
}

fn batch<Q: OverProjects>(body: &[u8]) -> Result<Batch<Q::Item>, String> {
    let answer: Partial<Q::ResponseData> = read(body)?;
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
