//! Issues of a project; in generated worlds all of them are incidents.

use async_graphql::{ID, Object, Result};

use super::page::{Page, PageArguments, connection};
use super::scalars::{IssueState, IssueType, Time};
use super::{Asked, gid};
use crate::world::{Incident, ProjectId};

/// An issue.
#[derive(Clone, Debug)]
pub struct IssueNode(Incident);

connection!(IssueConnection, IssueEdge, IssueNode {
    async fn count(&self) -> i32 {
        i32::try_from(self.0.total).unwrap_or(i32::MAX)
    }
});

#[Object(name = "Issue")]
impl IssueNode {
    async fn id(&self) -> ID {
        gid("Issue", self.0.id)
    }

    async fn iid(&self) -> String {
        self.0.iid.to_string()
    }

    async fn state(&self) -> IssueState {
        if self.0.closed_at.is_some() {
            "closed"
        } else {
            "opened"
        }
        .into()
    }

    async fn r#type(&self) -> Option<IssueType> {
        Some(self.0.issue_type().to_ascii_uppercase().into())
    }

    async fn created_at(&self, ctx: &async_graphql::Context<'_>) -> Time {
        Asked::of(ctx).time(self.0.created_at)
    }

    async fn updated_at(&self, ctx: &async_graphql::Context<'_>) -> Time {
        Asked::of(ctx).time(self.0.updated_at)
    }

    async fn closed_at(&self, ctx: &async_graphql::Context<'_>) -> Option<Time> {
        self.0.closed_at.map(|at| Asked::of(ctx).time(at))
    }

    async fn closed_as_duplicate_of(&self, ctx: &async_graphql::Context<'_>) -> Option<IssueNode> {
        let world = Asked::of(ctx).world();
        let iid = self.0.duplicate_of?;
        let found = world.delivery(self.0.project_id)?.incidents.get(&iid)?;
        Some(Self(found.clone()))
    }
}

impl IssueConnection {
    /// The issues of a project; nothing for a role that is too low.
    pub(super) fn of_project(
        asked: &Asked,
        project: ProjectId,
        types: Option<&[IssueType]>,
        updated_after: Option<&Time>,
        sort: &str,
        page: &PageArguments,
    ) -> Result<Self> {
        let world = asked.world();
        let readable = world
            .project(project)
            .is_some_and(|project| asked.viewer.may(project, crate::access::Right::Issues));
        if !readable {
            return asked.denied().map(|()| Self(Page::empty()));
        }
        let wanted = |issue: &Incident| {
            let kind = issue.issue_type();
            types.is_none_or(|types| types.iter().any(|one| one.0.eq_ignore_ascii_case(kind)))
        };
        let by_update = sort.starts_with("UPDATED");
        let descending = !sort.ends_with("_ASC");
        let mut rows: Vec<_> = world
            .delivery(project)
            .into_iter()
            .flat_map(|delivery| delivery.incidents.values())
            .filter(|issue| wanted(issue))
            .filter(|incident| updated_after.is_none_or(|time| incident.updated_at >= time.at))
            .map(|incident| {
                let at = if by_update {
                    incident.updated_at
                } else {
                    incident.created_at
                };
                let key = (at, incident.id);
                (key, Some(IssueNode(incident.clone())))
            })
            .collect();
        rows.sort_by_key(|(key, _)| *key);
        if descending {
            rows.reverse();
        }
        page.cut(rows, descending, asked.page_maximum()).map(Self)
    }
}
