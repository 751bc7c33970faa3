//! One file per source: what is read from GitLab together, once, for several collectors.
//!
//! A source asks [`crate::gitlab`] for a batch of projects and returns one result per project. It
//! counts nothing, measures nothing and shows nothing.

pub mod change_feed;
pub mod refs;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::stream::{self, StreamExt};

use crate::config::ProjectSettings;
use crate::gitlab::model::{Project, ProjectId, Text};
use crate::gitlab::{Cause, GitLabError};
use crate::project::ProjectMemory;

/// Runs futures side by side, at most `at_once` of them, and gives their results in order.
// A `Vec`, not an iterator: a future that holds the closure which makes the others is not `Send`
// to today's compiler.
pub(crate) async fn side_by_side<F: Future>(at_once: usize, futures: Vec<F>) -> Vec<F::Output> {
    stream::iter(futures).buffered(at_once).collect().await
}

/// A tracked project, as a source reads it.
#[derive(Clone, Debug)]
pub struct Target {
    /// Number of this tracking of the project: it has another when it went and came back.
    pub tracking: u64,
    /// The project as it was last seen.
    pub project: Project,
    /// Its settings.
    pub settings: Arc<ProjectSettings>,
    /// What is remembered of it.
    pub memory: Arc<ProjectMemory>,
}

impl Target {
    /// The project's id.
    #[must_use]
    pub fn id(&self) -> ProjectId {
        self.project.id
    }
}

/// The projects that are tracked now, with their full paths: what runs elsewhere is seen only from
/// upstream.
pub type Tracked = Arc<BTreeMap<ProjectId, Text>>;

/// Something that went wrong in one project and left the rest whole.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{project}: {sentence}")]
pub struct Problem {
    /// Full path of the project.
    pub project: Text,
    /// Value of the label `collector_type`.
    pub collector: &'static str,
    /// Value of the label `error_type`.
    pub kind: &'static str,
    /// What happened.
    pub sentence: String,
}

impl Problem {
    /// A failed call.
    #[must_use]
    pub fn call(project: &Text, collector: &'static str, error: &GitLabError) -> Self {
        Self {
            project: project.clone(),
            collector,
            kind: error.kind(),
            sentence: error.to_string(),
        }
    }

    /// An item that made no sense and was left out.
    #[must_use]
    pub fn skipped(project: &Text, collector: &'static str, sentence: String) -> Self {
        Self {
            project: project.clone(),
            collector,
            kind: "decode",
            sentence,
        }
    }
}

/// Why nothing could be read of a project.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// GitLab does not show the project to this token: deleted, or the role is gone.
    #[error("the project is gone, or the token may not see it any more")]
    Gone,
    /// The token's role is too low, and GitLab answers with emptiness instead of an error.
    #[error(
        "the token has the role {role} here; pipelines and jobs need Reporter or higher",
        role = .0.name()
    )]
    RoleTooLow(crate::gitlab::model::Role),
    /// The batch was answered, this project's part of it was not.
    #[error("GitLab left the project out of its answer: {0}")]
    Partial(String),
    /// A call failed; a batch shares the error.
    #[error(transparent)]
    GitLab(#[from] Arc<GitLabError>),
}

impl SourceError {
    /// Whether REST may answer where GraphQL did not.
    #[must_use]
    pub fn rest_may_answer(&self) -> bool {
        match self {
            Self::Gone | Self::RoleTooLow(_) => false,
            Self::Partial(_) => true,
            Self::GitLab(error) => {
                let too_heavy = matches!(
                    error.cause,
                    Cause::GraphQlTimeout(_) | Cause::GraphQlComplexity(_)
                );
                too_heavy || error.graphql_unavailable()
            }
        }
    }

    /// Value of the label `error_type`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Gone => "not_found",
            Self::RoleTooLow(_) => "forbidden",
            Self::Partial(_) => "graphql",
            Self::GitLab(error) => error.kind(),
        }
    }
}
