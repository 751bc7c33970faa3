//! From settings to projects: which projects are tracked now, and with what settings.
//!
//! Explicit entries come first and win; then wildcards, in the order of the settings. A project
//! that several entries match is tracked once. An entry that cannot be asked for now keeps what
//! it found before: only GitLab's own word makes a project go.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::UnixSeconds;
use crate::config::{OwnerKind, ProjectEntry, ProjectSettings, Wildcard};
use crate::gitlab::model::Project;
use crate::gitlab::rest::ProjectFilter;
use crate::gitlab::{GitLab, GitLabError};
use crate::source::side_by_side;
use crate::types::ProjectId;

/// An explicit project that was found is looked up again this often; renames and deletions are seen
/// sooner, by the change feed.
const EXPLICIT_INTERVAL: Duration = Duration::from_secs(3600);

/// Entries that are looked up concurrently.
const LOOKUPS_AT_ONCE: usize = 8;

/// The projects of all entries.
pub type Found = BTreeMap<ProjectId, (Project, Arc<ProjectSettings>)>;

/// An entry of the settings that could not be looked up.
#[derive(Debug, thiserror::Error)]
#[error("{entry}: {error}")]
pub struct DiscoveryError {
    /// The entry, as the settings name it.
    pub entry: String,
    /// What happened.
    pub error: GitLabError,
}

/// Looks projects up.
pub struct Discovery {
    gitlab: GitLab,
    entries: Vec<Entry>,
}

struct Entry {
    wanted: Wanted,
    settings: Arc<ProjectSettings>,
    found: Vec<Project>,
    found_at: Option<UnixSeconds>,
    /// Whether the last lookup failed, and not because there is nothing.
    failed: bool,
}

/// What a discovery run reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All entries that are due.
    All,
    /// Those whose last lookup failed.
    Failed,
}

enum Wanted {
    Project(String),
    Wildcard(Box<Wildcard>),
}

impl Entry {
    fn new(wanted: Wanted, settings: &ProjectSettings) -> Self {
        Self {
            wanted,
            settings: Arc::new(settings.clone()),
            found: Vec::new(),
            found_at: None,
            failed: false,
        }
    }

    fn name(&self) -> String {
        match &self.wanted {
            Wanted::Project(name) => format!("project {name}"),
            Wanted::Wildcard(wildcard) => describe(wildcard),
        }
    }

    fn is_due(&self, scope: Scope, now: UnixSeconds) -> bool {
        if scope == Scope::Failed {
            return self.failed;
        }
        let settled = matches!(self.wanted, Wanted::Project(_)) && !self.found.is_empty();
        !settled
            || self
                .found_at
                .is_none_or(|at| now.since(at) >= EXPLICIT_INTERVAL)
    }

    async fn look_up(&self, gitlab: &GitLab) -> Result<Vec<Project>, GitLabError> {
        match &self.wanted {
            Wanted::Project(name) => {
                let project = gitlab.project(name.as_str()).await?;
                Ok(if project.archived {
                    Vec::new()
                } else {
                    vec![project]
                })
            }
            Wanted::Wildcard(wildcard) => list_wildcard(gitlab, wildcard).await,
        }
    }
}

/// A wildcard in words.
fn describe(wildcard: &Wildcard) -> String {
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

async fn list_wildcard(gitlab: &GitLab, wildcard: &Wildcard) -> Result<Vec<Project>, GitLabError> {
    let filter = ProjectFilter {
        search: wildcard.search.clone().unwrap_or_default(),
        archived: (!wildcard.archived).then_some(false),
        membership: wildcard.membership,
    };
    let page = match &wildcard.owner {
        None => gitlab.all_projects(&filter).await?,
        Some(owner) => match owner.kind {
            OwnerKind::Group => {
                gitlab
                    .group_projects(&owner.name, owner.include_subgroups, &filter)
                    .await?
            }
            OwnerKind::User => gitlab.user_projects(&owner.name, &filter).await?,
        },
    };
    for sentence in &page.skipped {
        tracing::warn!(
            "a project of {} is left out: {sentence}",
            describe(wildcard)
        );
    }
    Ok(page.items)
}

impl Discovery {
    /// Discovery by the settings.
    #[must_use]
    pub fn new(gitlab: GitLab, projects: &[ProjectEntry], wildcards: &[Wildcard]) -> Self {
        let explicit = projects
            .iter()
            .map(|entry| Entry::new(Wanted::Project(entry.name.clone()), &entry.settings));
        let wildcards = wildcards.iter().map(|wildcard| {
            Entry::new(
                Wanted::Wildcard(Box::new(wildcard.clone())),
                &wildcard.settings,
            )
        });
        Self {
            gitlab,
            entries: explicit.chain(wildcards).collect(),
        }
    }

    /// Looks up what is due, and returns all projects as they are known now.
    pub async fn discover(
        &mut self,
        scope: Scope,
        now: UnixSeconds,
    ) -> (Found, Vec<DiscoveryError>) {
        let mut errors = Vec::new();
        let gitlab = &self.gitlab;
        let due = self.entries.iter().enumerate();
        let lookups = due
            .filter(|(_, entry)| entry.is_due(scope, now))
            .map(|(place, entry)| async move { (place, entry.look_up(gitlab).await) });
        for (place, result) in side_by_side(LOOKUPS_AT_ONCE, lookups.collect()).await {
            let Some(entry) = self.entries.get_mut(place) else {
                continue;
            };
            entry.failed = matches!(&result, Err(error) if !error.is_not_found());
            match result {
                Ok(found) => {
                    entry.found = found;
                    entry.found_at = Some(now);
                }
                Err(error) => {
                    // A refusal may concern the token or the address; a 404 is about the entry.
                    if error.is_not_found() {
                        entry.found.clear();
                    }
                    errors.push(DiscoveryError {
                        entry: entry.name(),
                        error,
                    });
                }
            }
        }
        (self.found(), errors)
    }

    /// Notes that a project was removed, or is not as it was, so that its entry is looked up again.
    pub fn forget(&mut self, id: ProjectId) {
        for entry in &mut self.entries {
            entry.found.retain(|project| project.id != id);
        }
    }

    fn found(&self) -> Found {
        let mut found = Found::new();
        for entry in &self.entries {
            for project in &entry.found {
                found
                    .entry(project.id)
                    .or_insert_with(|| (project.clone(), Arc::clone(&entry.settings)));
            }
        }
        found
    }
}
