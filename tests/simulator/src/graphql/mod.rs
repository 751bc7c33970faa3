//! GitLab's GraphQL API: a true subset of its schema.

pub mod analysis;
pub mod code;
pub mod endpoint;
pub mod environments;
pub mod incidents;
pub mod interfaces;
mod introduced;
pub mod job;
pub mod licensed;
pub mod merge_requests;
pub mod page;
pub mod pipeline;
pub(crate) mod plan;
pub mod project;
pub mod query;
pub mod reports;
pub mod runners;
pub mod scalars;
pub mod schedules;
mod types;
mod validation;

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLockReadGuard};

use async_graphql::{Context, EmptyMutation, EmptySubscription, ID, Schema, ServerError};

use crate::access::{Right, SharedWorld, Viewer};
use crate::auth::AccessLevel;
use crate::cost::graphql::{ListRead, Lists};
use crate::quirks::Quirks;
use crate::time::Millis;
use crate::world::{Feature, Pipeline, Project, ProjectId, World};

/// The schema; one for all worlds.
pub type GitlabSchema = Schema<query::Query, EmptyMutation, EmptySubscription>;

/// Builds the schema.
#[must_use]
pub fn schema() -> GitlabSchema {
    Schema::build(query::Query, EmptyMutation, EmptySubscription).finish()
}

/// The schema's SDL: a true subset of GitLab's.
#[must_use]
pub fn sdl() -> String {
    schema().sdl()
}

/// One operation: who asks, of which world, at which price.
pub struct Asked {
    /// The world.
    pub shared: SharedWorld,
    /// Who asks.
    pub viewer: Viewer,
    /// The world's habits when the operation began.
    pub quirks: Quirks,
    /// Where the instance is reached, without a slash at the end.
    pub base_url: String,
    /// What the operation costs.
    pub complexity_score: i32,
    /// What it may cost.
    pub complexity_limit: i32,
    /// The first parents that the request asked one-parent fields of.
    pub first_parents: FirstParents,
    /// Name and text of the query: queries that differ in them have first parents of their own.
    pub fingerprint: String,
    /// Whether a field failed in a way that nothing rescues: the whole request then fails.
    pub failed: Arc<AtomicBool>,
    /// What its lists read.
    pub(crate) lists: Lists,
}

/// The first parent for which each one-parent field was asked, by query, type and field.
#[derive(Clone, Debug, Default)]
pub struct FirstParents(Arc<Mutex<HashMap<(String, String), u64>>>);

impl Asked {
    /// The operation that a resolver belongs to.
    pub(crate) fn of<'a>(ctx: &Context<'a>) -> &'a Self {
        ctx.data_unchecked::<Self>()
    }

    fn world(&self) -> RwLockReadGuard<'_, World> {
        self.shared.read()
    }

    fn time(&self, at: Millis) -> scalars::Time {
        scalars::Time::new(at, !self.quirks.second_precision)
    }

    fn page_maximum(&self) -> Option<usize> {
        self.quirks.page_maximum.then_some(page::PAGE_SIZE)
    }

    fn reads(&self, world: &World, pipeline: &Pipeline) -> bool {
        self.may(world, pipeline.project_id, Right::Pipelines)
    }

    /// Whether the viewer may see this of a project.
    fn may(&self, world: &World, project: ProjectId, right: Right) -> bool {
        world
            .project(project)
            .is_some_and(|project| self.viewer.may(project, right))
    }

    /// Whether a project exists for the viewer, and for a fine-grained token lies in one of its groups.
    fn sees(&self, world: &World, project: &Project) -> bool {
        self.viewer.sees(project)
            && self
                .granted(world, project)
                .is_none_or(|found| found.is_some())
    }

    /// What a fine-grained token may read in a project; `None` for every other token.
    fn granted(&self, world: &World, project: &Project) -> Option<Option<&BTreeSet<String>>> {
        let grants = self.viewer.token.as_ref()?.grants.as_ref()?;
        let top = world.group_by_path(project.top_level());
        Some(top.and_then(|group| grants.groups.get(&group.id)))
    }

    /// Whether a fine-grained token has a permission in a project; every other token has all.
    fn is_granted(&self, world: &World, project: ProjectId, permission: &str) -> bool {
        let Some(found) = world.project(project) else {
            return false;
        };
        match self.granted(world, found) {
            None => true,
            Some(None) => false,
            Some(Some(permissions)) => permissions.contains(permission),
        }
    }

    /// Whether users are shown: a fine-grained token needs a permission for it.
    fn shows_users(&self) -> bool {
        let token = self.viewer.token.as_ref();
        let grants = token.and_then(|token| token.grants.as_ref());
        grants.is_none_or(|grants| grants.user.contains("read_user"))
    }

    /// Whether a fine-grained token asks.
    fn is_granular(&self) -> bool {
        let token = self.viewer.token.as_ref();
        token.is_some_and(|token| token.grants.is_some())
    }

    /// Whether a project has CI at all.
    fn has_ci(&self, world: &World, project: ProjectId) -> bool {
        let found = world.project(project);
        found.is_some_and(|found| found.settings.builds != Feature::Disabled)
    }

    /// Notes how many rows the list reads that is being resolved.
    fn note_list(&self, ctx: &Context<'_>, project: ProjectId, rows: u64) {
        if let Some(path) = &ctx.path_node {
            let read = ListRead { project, rows };
            self.lists.note(path.to_string_vec().join("."), read);
        }
    }

    /// A field failed in a way that nothing rescues.
    fn fail(&self) {
        self.failed.store(true, Ordering::SeqCst);
    }

    /// What a role that is too low gets: emptiness, or without that quirk an error.
    fn denied(&self) -> async_graphql::Result<()> {
        if self.quirks.empty_below_reporter {
            return Ok(());
        }
        Err(NOT_THERE.into())
    }

    /// Whether this parent is the first for which the operation asks the field; otherwise an error is
    /// noted, and the field is null.
    fn first_parent(&self, ctx: &Context<'_>, class: &str, id: u64) -> bool {
        if !self.quirks.one_parent_fields {
            return true;
        }
        let field = ctx.item.node.name.node.to_string();
        let key = (self.fingerprint.clone(), format!("{class}.{field}"));
        let mut first = self
            .first_parents
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let allowed = *first.entry(key).or_insert(id) == id;
        if !allowed {
            let message =
                format!("\"{field}\" field can be requested only for 1 {class}(s) at a time.");
            ctx.add_error(ctx.set_error_path(ServerError::new(message, Some(ctx.item.pos))));
        }
        allowed
    }
}

/// What GitLab says of what is missing, or may not be seen.
const NOT_THERE: &str = "The resource that you are attempting to access does not exist or you don't have \
                         permission to perform this action";

/// A global id, such as `gid://gitlab/Project/1`.
fn gid(class: &str, id: u64) -> ID {
    ID(format!("gid://gitlab/{class}/{id}"))
}

/// What GitLab says where something is missing that cannot be: the parent becomes null in its place.
fn cannot_be_null(class: &str, field: &str) -> async_graphql::Error {
    format!("Cannot return null for non-nullable field {class}.{field}").into()
}

/// The number in a global id, or the number itself.
fn gid_number(gid: &str) -> Option<u64> {
    gid.rsplit('/').next()?.parse().ok()
}

/// A role by its GraphQL name.
fn level_from_name(name: &str) -> Option<AccessLevel> {
    [
        AccessLevel::None,
        AccessLevel::Minimal,
        AccessLevel::Guest,
        AccessLevel::Planner,
        AccessLevel::Reporter,
        AccessLevel::Developer,
        AccessLevel::Maintainer,
        AccessLevel::Owner,
    ]
    .into_iter()
    .find(|level| level.graphql() == name)
}
