//! A query over projects: `projects(ids:) { nodes { … } }`. What it shares with all others of its kind
//! is here; what it asks for, and what becomes of a project's node, is in a file of its own.

use std::time::Duration;

use graphql_client::GraphQLQuery;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::holes::{Partial, ProjectHoles};
use super::{Batch, FailedProject, Scored};
use crate::gitlab::GitLab;
use crate::gitlab::error::{Cause, GRAPHQL, GitLabError};
use crate::gitlab::model::Page;
use crate::gitlab::pager::Bounds;
use crate::types::ProjectId;

/// A query over projects.
pub(super) trait OverProjects:
    GraphQLQuery<Variables: Serialize, ResponseData: DeserializeOwned + Scored>
{
    /// Name of the operation.
    const NAME: &'static str;
    /// What the answer holds of one project.
    type Node;
    /// What becomes of it.
    type Item: Messages;

    /// The projects' nodes; null for one that cannot be given.
    fn nodes(data: Self::ResponseData) -> Option<Vec<Option<Self::Node>>>;

    /// The project's global id.
    fn id(node: &Self::Node) -> &str;

    /// Reads a project's node.
    ///
    /// # Errors
    /// A sentence when it is invalid.
    fn convert(node: Self::Node, holes: ProjectHoles<'_>) -> Result<Self::Item, String>;
}

/// Declares a query over projects: its type and module, what a node is and becomes, and the function
/// that makes it so.
macro_rules! over_projects {
    ($query:ty, $module:ident, $node:ty => $item:ty, $convert:expr) => {
        impl $crate::gitlab::graphql::projects::OverProjects for $query {
            const NAME: &'static str = $module::OPERATION_NAME;
            type Node = $node;
            type Item = $item;

            fn nodes(data: Self::ResponseData) -> Option<Vec<Option<Self::Node>>> {
                data.projects?.nodes
            }

            fn id(node: &Self::Node) -> &str {
                &node.id
            }

            fn convert(
                node: Self::Node,
                holes: $crate::gitlab::graphql::holes::ProjectHoles<'_>,
            ) -> Result<Self::Item, String> {
                $convert(node, holes)
            }
        }
    };
}
pub(super) use over_projects;

/// Types that carry sentences about what was left out.
pub(super) trait Messages {
    /// Shows every list of them to `edit`.
    fn messages(&mut self, _edit: &mut dyn FnMut(&mut Vec<String>)) {}
}

impl<T> Messages for Page<T> {
    fn messages(&mut self, edit: &mut dyn FnMut(&mut Vec<String>)) {
        edit(&mut self.skipped);
    }
}

/// The global ids of projects.
pub(super) fn gids(ids: &[ProjectId]) -> Vec<String> {
    let gid = |id: &ProjectId| format!("gid://gitlab/Project/{id}");
    ids.iter().map(gid).collect()
}

/// A count for a variable of type `Int`.
pub(super) fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// What an answer says of each project that was asked for.
///
/// # Errors
/// A sentence when something outside the projects was lost.
pub(super) fn read<Q: OverProjects>(
    ids: &[ProjectId],
    answer: Partial<Q::ResponseData>,
) -> Result<Batch<Q::Item>, String> {
    let nodes = Q::nodes(answer.data).unwrap_or_default();
    let mut batch = answer.holes.split(ids, nodes, Q::id, Q::convert)?;
    batch.bytes = answer.bytes;
    batch.server_time = answer.server_time;
    Ok(batch)
}

impl GitLab {
    /// Asks for some projects: one entry for each that was read, messages that name the query.
    pub(super) async fn over_projects<Q: OverProjects>(
        &self,
        ids: &[ProjectId],
        variables: Q::Variables,
    ) -> Result<Batch<Q::Item>, GitLabError> {
        // GitLab takes an empty list of ids for all that there are.
        if ids.is_empty() {
            return Ok(Batch {
                items: Vec::new(),
                failed: Vec::new(),
                bytes: 0,
                server_time: Duration::ZERO,
            });
        }
        let answer = self.query::<Q>(variables, ids.len()).await?;
        let batch = read::<Q>(ids, answer).map_err(|why| self.query_error(Q::NAME, &why))?;
        Ok(self.tidy(Q::NAME, batch))
    }

    /// Asks for one project; `None` when it does not exist. With the bytes that the answer came in.
    pub(super) async fn over_one_project<Q: OverProjects>(
        &self,
        id: ProjectId,
        variables: Q::Variables,
    ) -> Result<Option<(Q::Item, usize)>, GitLabError> {
        let batch = self.over_projects::<Q>(&[id], variables).await?;
        let bytes = batch.bytes;
        match batch.failed.into_iter().next() {
            Some(failed) => Err(self.failed_project(Q::NAME, failed)),
            None => Ok(batch.items.into_iter().next().map(|item| (item, bytes))),
        }
    }

    /// The error of a project that the query's answer left out.
    fn failed_project(&self, operation: &str, failed: FailedProject) -> GitLabError {
        if let Some(excess) = failed.too_much {
            let list = format!("{GRAPHQL} {operation}");
            return self.client().error(list, Cause::TooMuch(excess));
        }
        // The error names the query itself.
        let name = format!("{GRAPHQL} {operation}: ");
        let why = failed.why.strip_prefix(&name).unwrap_or(&failed.why);
        self.query_error(operation, why)
    }

    /// Reads one project's list on, from its first page, to its end; it has a `next` if the project goes
    /// meanwhile.
    pub(super) async fn rest_of<Q: OverProjects, T>(
        &self,
        id: ProjectId,
        first: Page<T>,
        variables: impl Fn(String) -> Q::Variables,
        page_of: impl Fn(Q::Item) -> Option<Page<T>>,
    ) -> Result<Page<T>, GitLabError> {
        let list = format!("{GRAPHQL} {}", Q::NAME);
        let more = async |after: String| {
            let asked = self.over_one_project::<Q>(id, variables(after)).await?;
            Ok(asked.and_then(|(item, bytes)| Some((page_of(item)?, bytes))))
        };
        self.all_pages(&list, Bounds::PROJECT, (first, 0), more)
            .await
    }

    /// The batch with messages that name the query and are fit to be shown.
    fn tidy<T: Messages>(&self, operation: &str, mut batch: Batch<T>) -> Batch<T> {
        let tidy =
            |text: &mut String| *text = format!("{GRAPHQL} {operation}: {}", self.tidied(text));
        for failed in &mut batch.failed {
            tidy(&mut failed.why);
        }
        for item in &mut batch.items {
            item.messages(&mut |texts: &mut Vec<String>| texts.iter_mut().for_each(tidy));
        }
        batch
    }
}
