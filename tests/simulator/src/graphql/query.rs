//! The root of the schema.

use async_graphql::{Context, ID, Object, Result, SimpleObject};

use super::interfaces::CiJobInterfaceConnection;
use super::merge_requests::{MergeRequestConnection, MergeRequestFilter};
use super::page::{PageArguments, connection};
use super::project::{ProjectConnection, ProjectNode};
use super::runners::CiRunnerConnection;
use super::scalars::{
    AccessLevelEnum, CiJobStatus, CiRunnerType, MergeRequestSort, MergeRequestState,
    ProjectArchived, Time, UserId,
};
use super::{Asked, gid, gid_number};
use crate::access::Right;
use crate::world::{GroupId, Project, World};

/// Version and edition.
#[derive(SimpleObject)]
pub struct Metadata {
    version: String,
    revision: String,
    enterprise: bool,
}

/// What a query costs.
#[derive(SimpleObject)]
pub struct QueryComplexity {
    limit: Option<i32>,
    score: Option<i32>,
}

/// The user behind the token.
#[derive(SimpleObject)]
pub struct CurrentUser {
    id: UserId,
    username: String,
    name: String,
    bot: bool,
}

/// A group.
#[derive(Clone, Debug)]
pub struct GroupNode(pub GroupId);

connection!(GroupConnection, GroupEdge, GroupNode {});

/// `Query`.
pub struct Query;

/// Which projects to list.
#[derive(Default)]
struct ProjectFilter {
    ids: Option<Vec<u64>>,
    paths: Option<Vec<String>>,
    namespace: Option<String>,
    subgroups: bool,
    membership: bool,
    search: Option<String>,
    archived: Option<bool>,
    /// Neither archived nor to be deleted; or one of the two.
    active: Option<bool>,
    /// To be deleted.
    going: Option<bool>,
    min_access_level: Option<String>,
    /// What may not be seen is left out after the page was cut, not before.
    seen_late: bool,
}

impl ProjectFilter {
    fn passes(&self, asked: &Asked, world: &World, project: &Project) -> bool {
        let seen = !asked.quirks.silent_omission || asked.sees(world, project);
        (seen || self.seen_late)
            && self
                .ids
                .as_ref()
                .is_none_or(|ids| ids.contains(&project.id))
            && self.paths.as_ref().is_none_or(|paths| {
                paths
                    .iter()
                    .any(|path| path.eq_ignore_ascii_case(&project.full_path))
            })
            && self.namespace.as_deref().is_none_or(|namespace| {
                let own = project.namespace();
                own.eq_ignore_ascii_case(namespace)
                    || self.subgroups
                        && own
                            .to_lowercase()
                            .starts_with(&format!("{}/", namespace.to_lowercase()))
            })
            && (!self.membership || asked.viewer.is_member(project))
            && self.search.as_deref().is_none_or(|text| {
                let (name, text) = (project.path().to_lowercase(), text.to_lowercase());
                crate::rest::is_found(&name, &text)
            })
            && self
                .archived
                .is_none_or(|archived| project.archived == archived)
            && self.going.is_none_or(|going| is_going(project) == going)
            && self
                .active
                .is_none_or(|active| active != (is_going(project) || project.archived))
            && self.min_access_level.as_deref().is_none_or(|level| {
                let role = asked.viewer.role(project.id);
                super::level_from_name(level).is_some_and(|level| role >= level)
            })
    }

    fn list(&self, asked: &Asked, sort: &str, page: &PageArguments) -> Result<ProjectConnection> {
        let sort = sort.to_ascii_lowercase();
        let descending = !sort.ends_with("_asc");
        let key = |project: &Project| {
            if sort.starts_with("latest_activity") || sort.starts_with("activity") {
                project.last_activity_at
            } else if sort.starts_with("created") {
                project.created_at
            } else {
                0
            }
        };
        let world = asked.world();
        let pass = |project: &&Project| self.passes(asked, &world, project);
        let found: Vec<&Project> = match &self.ids {
            Some(ids) => ids
                .iter()
                .filter_map(|id| world.project(*id))
                .filter(pass)
                .collect(),
            None => world.projects().filter(pass).collect(),
        };
        let mut rows: Vec<_> = found
            .into_iter()
            .map(|project| ((key(project), project.id), Some(ProjectNode(project.id))))
            .collect();
        rows.sort_by_key(|(key, _)| *key);
        rows.dedup_by_key(|(key, _)| *key);
        if descending {
            rows.reverse();
        }
        let page = page.cut(rows, descending, asked.page_maximum())?;
        let seen = |node: &ProjectNode| {
            let project = world.project(node.0);
            !asked.quirks.silent_omission
                || project.is_some_and(|project| asked.sees(&world, project))
        };
        Ok(ProjectConnection(page.keep(seen)))
    }
}

/// Whether a project is to be deleted.
fn is_going(project: &Project) -> bool {
    project.settings.deletion_asked_at.is_some()
}

/// Which projects two arguments want: those that are to be deleted, or the others.
fn going(aimed: Option<bool>, not_aimed: Option<bool>) -> Option<bool> {
    match (aimed, not_aimed) {
        (Some(true), _) => Some(true),
        (_, Some(true)) => Some(false),
        _ => None,
    }
}

/// The numbers of projects' global ids.
fn project_ids(ids: &[ID]) -> Result<Vec<u64>> {
    let mut numbers = Vec::with_capacity(ids.len());
    for id in ids {
        let Some(rest) = id.strip_prefix("gid://gitlab/") else {
            return Err(format!("{} is not a valid GitLab ID.", id.as_str()).into());
        };
        let Some(number) = rest.strip_prefix("Project/") else {
            return Err(format!("{} is not a valid ID for Project.", id.as_str()).into());
        };
        numbers.extend(number.parse::<u64>());
    }
    Ok(numbers)
}

#[Object]
#[expect(clippy::too_many_arguments, reason = "the arguments are GitLab's")]
impl Query {
    async fn metadata(&self, ctx: &Context<'_>) -> Option<Metadata> {
        let asked = Asked::of(ctx);
        let token = asked.viewer.token.as_ref()?;
        let grants = token.grants.as_ref();
        if grants.is_some_and(|grants| !grants.instance.contains("read_metadata")) {
            return None;
        }
        let world = asked.world();
        Some(Metadata {
            version: world.version.clone(),
            revision: world.revision.to_string(),
            enterprise: world.enterprise,
        })
    }

    async fn current_user(&self, ctx: &Context<'_>) -> Option<CurrentUser> {
        let asked = Asked::of(ctx);
        let token = asked.viewer.token.as_ref()?;
        let grants = token.grants.as_ref();
        if grants.is_some_and(|grants| !grants.user.contains("read_user")) {
            return None;
        }
        let world = asked.world();
        let known = world.account_by_id(token.user_id);
        let username = known.map_or(crate::rest::USERNAME, |user| &user.username);
        Some(CurrentUser {
            id: UserId(gid("User", token.user_id).0),
            username: username.to_owned(),
            name: known.map_or(&*token.name, |user| &user.name).to_owned(),
            bot: known.is_some_and(|user| user.bot),
        })
    }

    async fn query_complexity(&self, ctx: &Context<'_>) -> Option<QueryComplexity> {
        let asked = Asked::of(ctx);
        if asked.is_granular() {
            return None;
        }
        Some(QueryComplexity {
            limit: Some(asked.complexity_limit),
            score: Some(asked.complexity_score),
        })
    }

    async fn project(&self, ctx: &Context<'_>, full_path: ID) -> Option<ProjectNode> {
        let asked = Asked::of(ctx);
        let world = asked.world();
        let project = world.project_by_path(&full_path)?;
        asked
            .sees(&world, project)
            .then_some(ProjectNode(project.id))
    }

    async fn projects(
        &self,
        ctx: &Context<'_>,
        membership: Option<bool>,
        search: Option<String>,
        sort: Option<String>,
        ids: Option<Vec<ID>>,
        full_paths: Option<Vec<String>>,
        archived: Option<ProjectArchived>,
        active: Option<bool>,
        aimed_for_deletion: Option<bool>,
        not_aimed_for_deletion: Option<bool>,
        min_access_level: Option<AccessLevelEnum>,
        after: Option<String>,
        before: Option<String>,
        first: Option<i32>,
        last: Option<i32>,
    ) -> Result<Option<ProjectConnection>> {
        let asked = Asked::of(ctx);
        if asked.quirks.full_paths_limit
            && full_paths.as_ref().is_some_and(|paths| paths.len() > 50)
        {
            return Err("Too many paths. Maximum is 50.".into());
        }
        let filter = ProjectFilter {
            ids: ids.map(|ids| project_ids(&ids)).transpose()?,
            paths: full_paths,
            membership: membership.unwrap_or(false),
            search,
            archived: match archived.as_ref().map(|archived| &*archived.0) {
                Some("ONLY") => Some(true),
                Some("EXCLUDE") => Some(false),
                _ => None,
            },
            active,
            going: going(aimed_for_deletion, not_aimed_for_deletion),
            min_access_level: min_access_level.map(|level| level.0.to_string()),
            ..ProjectFilter::default()
        };
        let page = PageArguments {
            after,
            before,
            first,
            last,
        };
        filter
            .list(asked, sort.as_deref().unwrap_or("id_desc"), &page)
            .map(Some)
    }

    async fn runners(
        &self,
        ctx: &Context<'_>,
        r#type: Option<CiRunnerType>,
        after: Option<String>,
        before: Option<String>,
        first: Option<i32>,
        last: Option<i32>,
    ) -> Result<Option<CiRunnerConnection>> {
        let page = PageArguments {
            after,
            before,
            first,
            last,
        };
        CiRunnerConnection::of_instance(ctx, r#type.as_ref(), &page)
    }

    /// Jobs of the whole instance; empty for all but administrators.
    async fn jobs(
        &self,
        ctx: &Context<'_>,
        statuses: Option<Vec<CiJobStatus>>,
        after: Option<String>,
        before: Option<String>,
        first: Option<i32>,
        last: Option<i32>,
    ) -> Result<Option<CiJobInterfaceConnection>> {
        let page = PageArguments {
            after,
            before,
            first,
            last,
        };
        CiJobInterfaceConnection::of_instance(ctx, statuses.as_deref(), &page).map(Some)
    }

    async fn group(&self, ctx: &Context<'_>, full_path: ID) -> Option<GroupNode> {
        let asked = Asked::of(ctx);
        let world = asked.world();
        let group = world.group_by_path(&full_path)?;
        asked
            .viewer
            .sees_group(&world, group)
            .then_some(GroupNode(group.id))
    }
}

#[Object(name = "Group")]
#[expect(clippy::too_many_arguments, reason = "the arguments are GitLab's")]
impl GroupNode {
    async fn id(&self) -> Option<ID> {
        Some(gid("Group", self.0))
    }

    async fn full_path(&self, ctx: &Context<'_>) -> ID {
        ID(Asked::of(ctx)
            .world()
            .group(self.0)
            .map(|group| group.full_path.to_string())
            .unwrap_or_default())
    }

    async fn name(&self, ctx: &Context<'_>) -> Option<String> {
        let world = Asked::of(ctx).world();
        world.group(self.0).and_then(|group| {
            let path = group.full_path.rsplit('/').next();
            group.name.as_deref().or(path).map(str::to_owned)
        })
    }

    async fn visibility(&self, ctx: &Context<'_>) -> Option<String> {
        let world = Asked::of(ctx).world();
        let visibility = world.group(self.0)?.visibility.unwrap_or_default();
        Some(visibility.as_str().to_owned())
    }

    async fn projects(
        &self,
        ctx: &Context<'_>,
        include_subgroups: Option<bool>,
        include_archived: Option<bool>,
        not_aimed_for_deletion: Option<bool>,
        search: Option<String>,
        ids: Option<Vec<ID>>,
        archived_only: Option<bool>,
        after: Option<String>,
        before: Option<String>,
        first: Option<i32>,
        last: Option<i32>,
    ) -> Result<ProjectConnection> {
        let asked = Asked::of(ctx);
        let namespace = asked
            .world()
            .group(self.0)
            .map(|group| group.full_path.to_string());
        let filter = ProjectFilter {
            ids: ids.map(|ids| ids.iter().filter_map(|id| gid_number(id)).collect()),
            namespace,
            subgroups: include_subgroups.unwrap_or(false),
            seen_late: true,
            going: going(None, not_aimed_for_deletion),
            search,
            archived: match (
                archived_only.unwrap_or(false),
                include_archived.unwrap_or(true),
            ) {
                (true, _) => Some(true),
                (false, false) => Some(false),
                (false, true) => None,
            },
            ..ProjectFilter::default()
        };
        let page = PageArguments {
            after,
            before,
            first,
            last,
        };
        filter.list(asked, "id_desc", &page)
    }

    async fn merge_requests(
        &self,
        ctx: &Context<'_>,
        include_subgroups: Option<bool>,
        iids: Option<Vec<String>>,
        source_branches: Option<Vec<String>>,
        target_branches: Option<Vec<String>>,
        state: Option<MergeRequestState>,
        updated_after: Option<Time>,
        updated_before: Option<Time>,
        sort: Option<MergeRequestSort>,
        after: Option<String>,
        before: Option<String>,
        first: Option<i32>,
        last: Option<i32>,
    ) -> Result<Option<MergeRequestConnection>> {
        let page = PageArguments {
            after,
            before,
            first,
            last,
        };
        let filter = MergeRequestFilter {
            iids,
            source_branches,
            target_branches,
            state,
            updated_after,
            updated_before,
            deployed: None,
            sort,
        };
        let asked = Asked::of(ctx);
        let world = asked.world();
        let path = world.group(self.0).map(|group| group.full_path.clone());
        let path = path.unwrap_or_default();
        let below = format!("{path}/");
        let deep = include_subgroups.unwrap_or(false);
        let projects = world.projects().filter(|project| {
            let own = project.namespace();
            (*own == *path || deep && own.starts_with(&below))
                && asked.viewer.may(project, Right::MergeRequests)
        });
        filter.list(asked, projects, &page).map(Some)
    }
}
