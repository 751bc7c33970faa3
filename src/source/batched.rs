//! One GraphQL query for many projects, cut down where it is too much, and REST where GraphQL does
//! not answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::SourceError;
use crate::gitlab::GitLabError;
use crate::gitlab::graphql::Batch;
use crate::gitlab::model::ProjectId;

/// What was read of each project.
pub(crate) type PerProject<T> = BTreeMap<ProjectId, Result<T, SourceError>>;

/// Asks for `ids`, `size` at a time. A query that fails for what one project may have caused is
/// halved and asked again; whom no answer names is gone.
pub(crate) async fn batched<T, A>(
    ids: &[ProjectId],
    size: usize,
    id_of: impl Fn(&T) -> ProjectId,
    ask: impl Fn(Vec<ProjectId>) -> A,
) -> PerProject<T>
where
    A: Future<Output = Result<Batch<T>, GitLabError>>,
{
    let mut read = PerProject::new();
    let mut open: Vec<Vec<ProjectId>> = ids.chunks(size.max(1)).map(<[_]>::to_vec).collect();
    while let Some(ids) = open.pop() {
        match ask(ids.clone()).await {
            Ok(batch) => {
                let failed = batch.failed.into_iter();
                read.extend(failed.map(|one| (one.id, Err(SourceError::Partial(one.why)))));
                let items = batch.items.into_iter();
                read.extend(items.map(|item| (id_of(&item), Ok(item))));
                for id in ids {
                    read.entry(id).or_insert(Err(SourceError::Gone));
                }
            }
            Err(error) if error.may_be_one_items_fault() && ids.len() > 1 => {
                let (one, other) = ids.split_at(ids.len() / 2);
                open.extend([one.to_vec(), other.to_vec()]);
            }
            Err(error) => {
                let error = Arc::new(error);
                let failed = |id| (id, Err(SourceError::GitLab(Arc::clone(&error))));
                read.extend(ids.into_iter().map(failed));
            }
        }
    }
    read
}
