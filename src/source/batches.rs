//! How sources ask for many projects at once.

use std::collections::BTreeMap;

use super::SourceError;
use crate::gitlab::graphql::batch::NotRead;
use crate::gitlab::model::ProjectId;

pub(super) use crate::gitlab::graphql::batch::Batches;

/// What was read of each project; those that GraphQL was not asked for are absent.
pub(super) type PerProject<T> = BTreeMap<ProjectId, Result<T, SourceError>>;

impl From<NotRead> for SourceError {
    fn from(why: NotRead) -> Self {
        match why {
            NotRead::Gone => Self::Gone,
            NotRead::Partial(why) => Self::Partial(why),
            NotRead::Failed(error) => Self::GitLab(error),
        }
    }
}
