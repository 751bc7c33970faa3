//! REST's answers as bytes.

use std::fmt::Debug;

use serde::de::DeserializeOwned;

use super::deliveries::{RestDeployment, RestEnvironment, RestIncident};
use super::instance::RestToken;
use super::merge_requests::RestMergeRequest;
use super::pipelines::{RestJob, RestPipeline, mark_retried};
use super::projects::RestProject;
use super::refs::RestRef;
use super::repository::{ReleaseTime, RestCommit, RestRelease};
use super::reviews::{RestNote, RestReviewed, RestReviewer};
use super::{read_list, read_one};
use crate::gitlab::bodies::Reading;
use crate::gitlab::model::{
    Bridge, Commit, CurrentUser, Deployment, Environment, GitRef, Incident, Job, MergeRequest,
    Metadata, Note, Pipeline, PipelineHead, Project, ReviewedMergeRequest, Reviewer, TokenInfo,
};

/// What an answer is to be read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is named after what it holds")]
pub enum RestAnswer {
    Pipelines,
    Jobs,
    Bridges,
    Projects,
    Refs,
    MergeRequests,
    ReviewedMergeRequests,
    Notes,
    Reviewers,
    Environments,
    Deployments,
    Incidents,
    Commits,
    Releases,
    Pipeline,
    Project,
    MergeRequest,
    Metadata,
    Token,
    User,
}

impl RestAnswer {
    /// All of them, lists first.
    pub const ALL: [Self; 20] = [
        Self::Pipelines,
        Self::Jobs,
        Self::Bridges,
        Self::Projects,
        Self::Refs,
        Self::MergeRequests,
        Self::ReviewedMergeRequests,
        Self::Notes,
        Self::Reviewers,
        Self::Environments,
        Self::Deployments,
        Self::Incidents,
        Self::Commits,
        Self::Releases,
        Self::Pipeline,
        Self::Project,
        Self::MergeRequest,
        Self::Metadata,
        Self::Token,
        Self::User,
    ];

    /// Whether it is a list.
    #[must_use]
    pub fn is_list(self) -> bool {
        Self::ALL.iter().take(14).any(|list| *list == self)
    }
}

/// Reads the body of an answer.
///
/// # Errors
/// A sentence when nothing at all could be read.
pub fn rest(answer: RestAnswer, body: &[u8]) -> Result<Reading, String> {
    match answer {
        RestAnswer::Pipelines => list::<RestPipeline, PipelineHead>(body),
        RestAnswer::Jobs => {
            let (mut jobs, skipped) = read_list::<RestJob, Job>(body)?;
            mark_retried(&mut jobs);
            Ok(reading(&jobs, skipped))
        }
        RestAnswer::Bridges => list::<RestJob, Bridge>(body),
        RestAnswer::Projects => list::<RestProject, Project>(body),
        RestAnswer::Refs => list::<RestRef, GitRef>(body),
        RestAnswer::MergeRequests => list::<RestMergeRequest, MergeRequest>(body),
        RestAnswer::ReviewedMergeRequests => list::<RestReviewed, ReviewedMergeRequest>(body),
        RestAnswer::Notes => list::<RestNote, Note>(body),
        RestAnswer::Reviewers => list::<RestReviewer, Reviewer>(body),
        RestAnswer::Environments => list::<RestEnvironment, Environment>(body),
        RestAnswer::Deployments => list::<RestDeployment, Deployment>(body),
        RestAnswer::Incidents => list::<RestIncident, Incident>(body),
        RestAnswer::Commits => list::<RestCommit, Commit>(body),
        RestAnswer::Releases => list::<RestRelease, ReleaseTime>(body),
        RestAnswer::Pipeline => one::<RestPipeline, Pipeline>(body),
        RestAnswer::Project => one::<RestProject, Project>(body),
        RestAnswer::MergeRequest => one::<RestMergeRequest, MergeRequest>(body),
        RestAnswer::Metadata => one::<Metadata, Metadata>(body),
        RestAnswer::Token => one::<RestToken, TokenInfo>(body),
        RestAnswer::User => one::<CurrentUser, CurrentUser>(body),
    }
}

fn list<Raw, T>(body: &[u8]) -> Result<Reading, String>
where
    Raw: DeserializeOwned,
    T: TryFrom<Raw> + Debug,
    T::Error: std::fmt::Display,
{
    let (items, skipped) = read_list::<Raw, T>(body)?;
    Ok(reading(&items, skipped))
}

fn one<Raw, T>(body: &[u8]) -> Result<Reading, String>
where
    Raw: DeserializeOwned,
    T: TryFrom<Raw> + Debug,
    T::Error: std::fmt::Display,
{
    read_one::<Raw, T>(body).map(|item| reading(&[item], Vec::new()))
}

fn reading(items: &[impl Debug], skipped: Vec<String>) -> Reading {
    let mut reading = Reading {
        skipped,
        ..Reading::default()
    };
    items.iter().for_each(|item| reading.item(item));
    reading
}
