//! How sources ask for many projects at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::SourceError;
use crate::gitlab::graphql::batch::NotRead;
use crate::gitlab::{Cause, GitLabError};
use crate::types::ProjectId;

pub(super) use crate::gitlab::graphql::batch::Batches;

/// What was read of each project; those that GraphQL was not asked for are absent.
pub(super) type PerProject<T> = BTreeMap<ProjectId, Result<T, SourceError>>;

impl From<NotRead> for SourceError {
    fn from(why: NotRead) -> Self {
        match why {
            NotRead::NotFound => Self::NotFound,
            NotRead::Partial(why) => Self::Partial(why),
            NotRead::TooMuch(why, excess) => Self::GitLab(Arc::new(GitLabError {
                endpoint: why,
                cause: Cause::TooMuch(excess),
            })),
            NotRead::Failed(error) => Self::GitLab(error),
        }
    }
}
