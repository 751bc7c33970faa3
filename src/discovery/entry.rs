//! An entry of the settings: what it selects, and how GitLab is asked for that.

use std::sync::Arc;
use std::time::Duration;

use super::Scope;
use crate::clock::UnixSeconds;
use crate::config::{Exclude, OwnerKind, ProjectSettings, Wildcard};
use crate::gitlab::graphql::{ListFields, ListOf};
use crate::gitlab::model::{Known, Owner, Project};
use crate::gitlab::rest::ProjectFilter;
use crate::gitlab::{GitLab, GitLabError};
use crate::types::ProjectId;

/// An explicit project that was found is asked for again this often; renames and deletions are seen
/// sooner, by the change feed.
const EXPLICIT_INTERVAL: Duration = Duration::from_secs(3600);

/// GitLab's search compares shorter texts as a whole.
const SHORTEST_PART: usize = 3;

/// An entry of `projects` or `wildcards`.
pub(super) struct Entry {
    wanted: Wanted,
    pub(super) settings: Arc<ProjectSettings>,
    /// What it selected when it was last polled with success.
    pub(super) found: Vec<Project>,
    /// The owner that a wildcard names, once GitLab has resolved it: an id survives renames and moves,
    /// and GitLab redirects no path of a group.
    owner: Option<Owner>,
    polled_at: Option<UnixSeconds>,
    /// Whether the last poll failed, and not because there is no such project.
    failed: bool,
    /// Whether a project of it may have changed since.
    is_changed: bool,
    /// Why it selects nothing, as said before.
    notice: Option<Notice>,
}

/// Why an entry selects nothing though GitLab answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Notice {
    /// The project that it names is archived.
    #[error(
        "the project is archived, so it is not read; unarchive it, or select it by a wildcard with \
         archived: true"
    )]
    Archived,
    /// The project that it names is marked for deletion.
    #[error(
        "the project is scheduled for deletion, so it is not read; restore it, or remove the entry"
    )]
    ScheduledForDeletion,
    /// The list is empty, and its search is too short to find parts of names.
    #[error("GitLab finds nothing: it compares a search of one or two characters with whole names")]
    ShortSearch,
    /// The list is empty.
    #[error(
        "GitLab finds nothing; check the entry, and that the token's user may see the projects"
    )]
    Empty,
    /// There are projects, and all are left out.
    #[error("exclude leaves out all of its projects; check wildcards[].exclude")]
    Excluded,
}

enum Wanted {
    Project(String),
    Wildcard(Box<Wildcard>),
}

/// What a poll of an entry gave.
pub(super) struct Listed {
    projects: Vec<Project>,
    owner: Option<Owner>,
    notice: Option<Notice>,
}

/// Whether an entry selects a project.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Selects {
    /// By all that the project's own answer shows.
    Yes,
    /// It is elsewhere, archived, or named otherwise.
    No,
    /// The entry's owner is not known now.
    Unknown,
}

impl Entry {
    pub(super) fn project(name: &str, settings: &ProjectSettings) -> Self {
        Self::new(Wanted::Project(name.to_owned()), settings)
    }

    pub(super) fn wildcard(wildcard: &Wildcard) -> Self {
        Self::new(
            Wanted::Wildcard(Box::new(wildcard.clone())),
            &wildcard.settings,
        )
    }

    fn new(wanted: Wanted, settings: &ProjectSettings) -> Self {
        Self {
            wanted,
            settings: Arc::new(settings.clone()),
            found: Vec::new(),
            owner: None,
            polled_at: None,
            failed: false,
            is_changed: false,
            notice: None,
        }
    }

    /// Whether it selects the same.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        match (&self.wanted, &other.wanted) {
            (Wanted::Project(one), Wanted::Project(other)) => one == other,
            (Wanted::Wildcard(one), Wanted::Wildcard(other)) => {
                let selection = |wildcard: &Wildcard| Wildcard {
                    settings: ProjectSettings::default(),
                    ..wildcard.clone()
                };
                selection(one) == selection(other)
            }
            _ => false,
        }
    }

    /// Knows what `before` found.
    pub(super) fn go_on_from(&mut self, before: Self) {
        let (wanted, settings) = (
            std::mem::replace(&mut self.wanted, before.wanted),
            Arc::clone(&self.settings),
        );
        *self = Self {
            wanted,
            settings,
            ..before
        };
    }

    /// The entry in words.
    pub(super) fn name(&self) -> String {
        let wildcard = match &self.wanted {
            Wanted::Project(name) => return format!("project {name}"),
            Wanted::Wildcard(wildcard) => wildcard,
        };
        let owner = match &wildcard.owner {
            None => "all visible projects".to_owned(),
            Some(owner) => match owner.kind {
                OwnerKind::Group => format!("projects of group {}", owner.name),
                OwnerKind::User => format!("projects of user {}", owner.name),
            },
        };
        match &wildcard.search {
            None => owner,
            Some(search) => format!("{owner} matching {search:?}"),
        }
    }

    pub(super) fn is_due(&self, scope: Scope, now: UnixSeconds) -> bool {
        match scope {
            Scope::Unconfirmed => false,
            Scope::Failed => self.failed,
            Scope::All => {
                let is_explicit = matches!(self.wanted, Wanted::Project(_));
                let is_settled = is_explicit && !self.found.is_empty() && !self.is_changed;
                !is_settled
                    || self
                        .polled_at
                        .is_none_or(|at| now.since(at) >= EXPLICIT_INTERVAL)
            }
        }
    }

    /// Has an explicit project asked for again.
    pub(super) fn changed(&mut self, id: ProjectId) {
        self.is_changed |= self.found.iter().any(|project| project.id == id);
    }

    /// Asks GitLab what the entry selects now.
    pub(super) async fn poll(
        &self,
        gitlab: &GitLab,
        now: UnixSeconds,
    ) -> Result<Listed, GitLabError> {
        match &self.wanted {
            Wanted::Project(name) => {
                let project = gitlab.project(name.as_str()).await?;
                let notice = match (project.archived, project.is_scheduled_for_deletion) {
                    (_, true) => Some(Notice::ScheduledForDeletion),
                    (true, false) => Some(Notice::Archived),
                    (false, false) => None,
                };
                Ok(Listed {
                    projects: Vec::from_iter(notice.is_none().then_some(project)),
                    owner: None,
                    notice,
                })
            }
            Wanted::Wildcard(wildcard) => {
                let (mut projects, owner) = self.list(gitlab, wildcard).await?;
                projects.retain(|project| !project.is_scheduled_for_deletion);
                let search = wildcard.search.as_ref().map(|text| text.chars().count());
                let notice = match search.is_some_and(|length| length < SHORTEST_PART) {
                    _ if !projects.is_empty() => Notice::Excluded,
                    true => Notice::ShortSearch,
                    false => Notice::Empty,
                };
                projects.retain(|project| !is_excluded(&wildcard.exclude, project, now));
                let notice = projects.is_empty().then_some(notice);
                Ok(Listed {
                    projects,
                    owner,
                    notice,
                })
            }
        }
    }

    async fn list(
        &self,
        gitlab: &GitLab,
        wildcard: &Wildcard,
    ) -> Result<(Vec<Project>, Option<Owner>), GitLabError> {
        if let Some(listed) = self.list_by_graphql(gitlab, wildcard).await {
            return Ok(listed);
        }
        let Some(wanted) = &wildcard.owner else {
            let page = gitlab.all_projects(&filter(wildcard)).await?;
            return Ok((self.whole(page), None));
        };
        if let Some(owner) = &self.owner {
            match list_of(gitlab, wildcard, wanted, &owner.id.to_string()).await {
                // Another group may have the name now.
                Err(error) if error.is_not_found() => {}
                listed => {
                    let listed = self.whole(listed?);
                    // GraphQL lists by paths, and a group may have another one now.
                    let owner_now = match gitlab.lists_projects_by_graphql() {
                        true => self.owner_now(gitlab).await,
                        false => None,
                    };
                    return Ok((listed, owner_now.or_else(|| Some(owner.clone()))));
                }
            }
        }
        let found = match wanted.kind {
            OwnerKind::Group => gitlab.group(&wanted.name).await.map(Some),
            OwnerKind::User => gitlab.user(&wanted.name).await,
        };
        let owner = match found {
            Ok(owner) => owner,
            // The list may be readable where its owner is not.
            Err(error) if error.is_forbidden() || wanted.kind == OwnerKind::User => None,
            Err(error) => return Err(error),
        };
        let id = owner.as_ref().map(|owner| owner.id.to_string());
        let name = id.as_deref().unwrap_or(&wanted.name);
        let page = list_of(gitlab, wildcard, wanted, name).await?;
        Ok((self.whole(page), owner))
    }

    /// The same by GraphQL, which costs GitLab far less; none where REST is to be asked: for users and
    /// searches, which GraphQL has not or understands otherwise, for a group that has another path now, and
    /// where GraphQL fails.
    async fn list_by_graphql(
        &self,
        gitlab: &GitLab,
        wildcard: &Wildcard,
    ) -> Option<(Vec<Project>, Option<Owner>)> {
        if wildcard.search.is_some() || !gitlab.lists_projects_by_graphql() {
            return None;
        }
        let known = self.owner.as_ref();
        let of = match &wildcard.owner {
            None => ListOf::All {
                membership: wildcard.membership,
            },
            Some(wanted) if wanted.kind == OwnerKind::Group => ListOf::Group {
                path: known.map_or(wanted.name.as_str(), |owner| &owner.path),
                subgroups: wanted.include_subgroups,
            },
            Some(_) => return None,
        };
        let exclude = &wildcard.exclude;
        let fields = ListFields {
            branches: self.settings.needs_default_branch(),
            topics: exclude.needs_topics(),
            forks: exclude.forks,
        };
        let (owner, page) = match gitlab.listed_projects(of, fields).await {
            Ok(listed) => listed?,
            Err(error) => {
                tracing::debug!(%error, entry = self.name(), "GraphQL failed, falling back to REST");
                return None;
            }
        };
        // GraphQL of an older GitLab does not say it.
        let lacks_forks = |project: &Project| project.attributes.is_fork == Known::Unread;
        if exclude.forks && page.items.iter().any(lacks_forks) {
            return None;
        }
        // Another group has the path now.
        let is_other =
            known.is_some_and(|known| owner.as_ref().map(|owner| owner.id) != Some(known.id));
        if is_other {
            return None;
        }
        let mut projects = self.whole(page);
        projects.retain(|project| wildcard.archived || !project.archived);
        Some((projects, owner))
    }

    /// The projects of a list; what could not be read of it is logged.
    fn whole(&self, page: crate::gitlab::model::Page<Project>) -> Vec<Project> {
        if let Some(example) = page.skipped.first() {
            let (entry, projects) = (self.name(), page.skipped.len());
            tracing::warn!(
                entry,
                projects,
                example,
                "invalid projects in a list skipped"
            );
        }
        page.items
    }

    /// Takes in what a poll gave; what was found before stays where it failed. Gives what is new of why
    /// it selects nothing.
    ///
    /// # Errors
    /// The poll's own, to be reported.
    pub(super) fn polled(
        &mut self,
        listed: Result<Listed, GitLabError>,
        now: UnixSeconds,
    ) -> Result<Option<Notice>, GitLabError> {
        let is_explicit = matches!(self.wanted, Wanted::Project(_));
        match listed {
            Ok(listed) => {
                self.found = listed.projects;
                self.owner = listed.owner;
                self.polled_at = Some(now);
                self.failed = false;
                self.is_changed = false;
                let before = std::mem::replace(&mut self.notice, listed.notice);
                Ok(self.notice.filter(|notice| Some(*notice) != before))
            }
            Err(error) => {
                self.failed = !(is_explicit && error.is_not_found());
                Err(error)
            }
        }
    }

    /// Whether the last poll answered what the entry selects.
    pub(super) fn is_answered(&self) -> bool {
        !self.failed
    }

    /// Asks for the present path of the owner; it is unknown when GitLab does not show it.
    pub(super) async fn owner_now(&self, gitlab: &GitLab) -> Option<Owner> {
        let (Wanted::Wildcard(wildcard), Some(owner)) = (&self.wanted, &self.owner) else {
            return None;
        };
        match wildcard.owner.as_ref()?.kind {
            OwnerKind::Group => gitlab.group(&owner.id.to_string()).await.ok(),
            OwnerKind::User => Some(owner.clone()),
        }
    }

    /// Whether a project that GitLab shows is one of the entry's, as `owner` is called now.
    pub(super) fn selects(
        &self,
        project: &Project,
        owner: Option<&Owner>,
        now: UnixSeconds,
    ) -> Selects {
        let wildcard = match &self.wanted {
            Wanted::Project(name) => {
                let is_named = project.full_path.eq_ignore_ascii_case(name);
                let is_it = is_named || self.found.iter().any(|found| found.id == project.id);
                return Selects::of(is_it && !project.archived);
            }
            Wanted::Wildcard(wildcard) => wildcard,
        };
        let is_archived = project.archived && !wildcard.archived;
        if is_archived || is_excluded(&wildcard.exclude, project, now) {
            return Selects::No;
        }
        if let Some(wanted) = &wildcard.owner {
            let Some(owner) = owner else {
                return Selects::Unknown;
            };
            let below = project.full_path.strip_prefix(&*owner.path);
            let below = below.and_then(|rest| rest.strip_prefix('/'));
            let is_below = below.is_some_and(|rest| {
                (wanted.include_subgroups && wanted.kind == OwnerKind::Group) || !rest.contains('/')
            });
            if !is_below {
                return Selects::No;
            }
        }
        let is_member = !wildcard.membership || project.role.value().is_some();
        // A name or description that contains the text is not in the answer: the list decides then.
        let is_found = wildcard.search.as_ref().is_none_or(|search| {
            let path = project.full_path.to_lowercase();
            let name = path.rsplit('/').next().unwrap_or_default();
            search.chars().count() >= SHORTEST_PART && name.contains(&search.to_lowercase())
        });
        Selects::of(is_member && is_found)
    }
}

impl Selects {
    const fn of(yes: bool) -> Self {
        if yes { Self::Yes } else { Self::No }
    }
}

/// Whether a project is left out of a wildcard, as far as it was read.
fn is_excluded(exclude: &Exclude, project: &Project, now: UnixSeconds) -> bool {
    let topics = project.attributes.topics.as_ref().value();
    let topics = topics.into_iter().flatten().map(|topic| &**topic);
    let is_inactive = project.last_activity_at.is_some_and(|at| {
        let days = u64::from(exclude.inactive_days);
        days > 0 && now.since(at) > Duration::from_secs(days * 24 * 3600)
    });
    exclude.has_path(&project.full_path)
        || exclude.has_topic(topics)
        || (exclude.forks && project.attributes.is_fork == Known::Value(true))
        || is_inactive
}

fn filter(wildcard: &Wildcard) -> ProjectFilter {
    ProjectFilter {
        search: wildcard.search.clone().unwrap_or_default(),
        archived: (!wildcard.archived).then_some(false),
        membership: wildcard.membership,
    }
}

async fn list_of(
    gitlab: &GitLab,
    wildcard: &Wildcard,
    wanted: &crate::config::Owner,
    name: &str,
) -> Result<crate::gitlab::model::Page<Project>, GitLabError> {
    let filter = filter(wildcard);
    match wanted.kind {
        OwnerKind::Group => {
            gitlab
                .group_projects(name, wanted.include_subgroups, &filter)
                .await
        }
        OwnerKind::User => gitlab.user_projects(name, &filter).await,
    }
}
