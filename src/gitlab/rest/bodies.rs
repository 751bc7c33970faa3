//! REST's answers as bytes.

use std::fmt::Debug;

use serde::de::DeserializeOwned;

use super::instance::{CurrentUser, Metadata, RestToken, TokenInfo};
use super::merge_requests::RestMergeRequest;
use super::pipelines::{Bridge, PipelineHead, RestJob, RestPipeline, mark_retried};
use super::projects::RestProject;
use super::refs::{GitRef, RestRef};
use super::{read_list, read_one};
use crate::gitlab::bodies::Reading;
use crate::gitlab::model::{Job, MergeRequest, Pipeline, Project};

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
    Pipeline,
    Project,
    MergeRequest,
    Metadata,
    Token,
    User,
}

impl RestAnswer {
    /// All of them, lists first.
    pub const ALL: [Self; 12] = [
        Self::Pipelines,
        Self::Jobs,
        Self::Bridges,
        Self::Projects,
        Self::Refs,
        Self::MergeRequests,
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
        Self::ALL.iter().take(6).any(|list| *list == self)
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
