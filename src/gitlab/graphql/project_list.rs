//! Lists of projects, for discovery.

use super::convert::{gid, maybe_time};
use super::holes::Holes;
use super::{Unread, queries};
use crate::gitlab::error::{GRAPHQL, GitLabError};
use crate::gitlab::model::{Attributes, Features, Known, Owner, Page, Project};
use crate::gitlab::pager::{Bounds, MAX_PAGE};
use crate::gitlab::{Excess, GitLab};
use crate::types::{ProjectId, Text};
use queries::project_list::{self, ListedProjects, ListedProjectsNodes as Node};

/// Which projects are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListOf<'a> {
    /// Those of a group, and of its subgroups if so.
    Group {
        /// Its full path. GitLab does not know a path that it had before.
        path: &'a str,
        /// Whether the projects of its subgroups are listed, too.
        subgroups: bool,
    },
    /// All that the token can see.
    All {
        /// Only those that the token's user is a member of.
        membership: bool,
    },
}

/// What is read of each project besides its path and features, where it is needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListFields {
    /// The default branch, a call to Gitaly for each.
    pub branches: bool,
    /// The topics.
    pub topics: bool,
    /// Whether it is a fork, which costs GitLab a query for each.
    pub forks: bool,
}

/// A page of projects, the group that they are of, and the bytes that the page came in.
type Listed = (Option<Owner>, Page<Project>, usize);

impl GitLab {
    /// Whether lists of projects by GraphQL say all that discovery needs.
    pub(crate) fn lists_projects_by_graphql(&self) -> bool {
        let lacks = self.lacks("Project", "markedForDeletion");
        self.uses_graphql() && !lacks && self.refusal(project_list::OPERATION_NAME).is_none()
    }

    /// All projects of a list, with the group where it is of one; none where there is no such group, or the
    /// token may not see it. What `fields` leaves out is unread, and so are roles.
    ///
    /// # Errors
    /// Those of any call, and where a project could not be read: fine-grained tokens see less than REST
    /// shows them.
    pub async fn listed_projects(
        &self,
        of: ListOf<'_>,
        fields: ListFields,
    ) -> Result<Option<(Option<Owner>, Page<Project>)>, GitLabError> {
        let Some((owner, first, bytes)) = self.project_page(of, fields, None).await? else {
            return Ok(None);
        };
        let more = async |after: String| {
            let page = self.project_page(of, fields, Some(after)).await?;
            Ok(page.map(|(_, page, bytes)| (page, bytes)))
        };
        let list = format!("{GRAPHQL} {}", project_list::OPERATION_NAME);
        let page = self
            .all_pages(&list, Bounds::INSTANCE, (first, bytes), more)
            .await?;
        // The group went meanwhile.
        Ok(page.next.is_none().then_some((owner, page)))
    }

    async fn project_page(
        &self,
        of: ListOf<'_>,
        fields: ListFields,
        after: Option<String>,
    ) -> Result<Option<Listed>, GitLabError> {
        let (group, subgroups, membership) = match of {
            ListOf::Group { path, subgroups } => (Some(path.to_owned()), subgroups, None),
            ListOf::All { membership } => (None, false, membership.then_some(true)),
        };
        let variables = project_list::Variables {
            of_group: group.is_some(),
            all: group.is_none(),
            group: group.unwrap_or_default(),
            subgroups,
            membership,
            first: self.page_size(100),
            after,
            branch: fields.branches,
            topics: fields.topics,
            forks: fields.forks,
        };
        let answer = self.query::<queries::ProjectList>(variables, 0).await?;
        let name = project_list::OPERATION_NAME;
        let read = page(answer.data, answer.holes).map_err(|why| self.unread(name, why))?;
        Ok(read.map(|(owner, mut page)| {
            for text in &mut page.skipped {
                *text = self.tidied(text);
            }
            (owner, page, answer.bytes)
        }))
    }
}

/// A page of projects, with their group where they are of one.
type OwnedPage = (Option<Owner>, Page<Project>);

/// The projects of an answer; none where there is no such group.
///
/// # Errors
/// Where a project could not be read, or there are too many.
pub(super) fn page(
    data: project_list::ResponseData,
    holes: Holes,
) -> Result<Option<OwnedPage>, Unread> {
    let skipped = holes.whole()?;
    let (owner, page) = match data.group {
        Some(group) => {
            let owner = Owner {
                id: gid("group.id", group.id.as_deref().unwrap_or_default())?,
                path: group.full_path.into(),
            };
            (Some(owner), Some(group.projects))
        }
        None => (None, data.projects),
    };
    let Some(page) = page else {
        return Ok(None);
    };
    Ok(Some((owner, projects(page, skipped)?)))
}

fn projects(page: ListedProjects, skipped: Vec<String>) -> Result<Page<Project>, Unread> {
    let nodes = page.nodes.unwrap_or_default();
    if nodes.len() > MAX_PAGE {
        return Err(Unread::TooMuch(Excess::PageItems(MAX_PAGE)));
    }
    if nodes.iter().any(Option::is_none) {
        return Err("a project of the list is null".to_owned().into());
    }
    let more = page.page_info.has_next_page;
    let mut read = Page {
        items: Vec::with_capacity(nodes.len()),
        next: page.page_info.end_cursor.filter(|_| more),
        skipped: Vec::new(),
    };
    for node in nodes.into_iter().flatten() {
        match project(node) {
            Ok(project) => read.items.push(project),
            Err(why) => read.skipped.push(why),
        }
    }
    read.skipped.extend(skipped);
    Ok(read)
}

fn project(node: Node) -> Result<Project, String> {
    let feature = |value: Option<bool>| value.map_or(Known::Unread, Known::Value);
    Ok(Project {
        id: ProjectId(gid("id", &node.id)?),
        full_path: node.full_path.into(),
        default_branch: match node.repository {
            None => Known::Unread,
            Some(repository) => match repository.root_ref.filter(|name| !name.is_empty()) {
                Some(name) => Known::Value(name.into()),
                None => Known::Nothing,
            },
        },
        archived: node.archived.unwrap_or(false),
        is_scheduled_for_deletion: node.marked_for_deletion.unwrap_or(false),
        last_activity_at: maybe_time("lastActivityAt", node.last_activity_at.as_deref())?,
        role: Known::Unread,
        features: Features {
            public_jobs: feature(node.public_jobs),
            jobs: feature(node.jobs_enabled),
            merge_requests: feature(node.merge_requests_enabled),
        },
        attributes: Attributes {
            topics: node.topics.map_or(Known::Unread, |topics| {
                Known::Value(topics.into_iter().map(Text::from).collect())
            }),
            is_fork: feature(node.is_forked),
        },
    })
}
