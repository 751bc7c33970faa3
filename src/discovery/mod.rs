//! From settings to projects: which projects are tracked now, and with what settings.
//!
//! Explicit entries come first and win; then wildcards, in the order of the settings. A project
//! that several entries match is tracked once. An entry that cannot be asked for now keeps what
//! it found before, and a list that lacks a project proves nothing: GitLab is asked for the project
//! itself ([`Discovery::confirm`]).

mod entry;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::clock::UnixSeconds;
use crate::config::{ProjectEntry, ProjectSettings, Wildcard};
use crate::gitlab::model::{Owner, Project};
use crate::gitlab::{GitLab, GitLabError};
use crate::source::side_by_side;
use crate::types::ProjectId;
pub use entry::Notice;
use entry::{Entry, Selects};

/// Calls that run side by side.
const CALLS_AT_ONCE: usize = 8;

/// The projects of all entries.
pub type Found = BTreeMap<ProjectId, Selected>;

/// A project, and the settings of the entry that selects it.
pub type Selected = (Project, Arc<ProjectSettings>);

/// An entry of the settings that could not be polled.
#[derive(Debug, thiserror::Error)]
#[error("{entry}: {}", self.reason())]
pub struct DiscoveryError {
    /// The entry, as the settings name it.
    pub entry: String,
    /// What happened.
    pub error: GitLabError,
}

impl DiscoveryError {
    /// What happened and what to do, without the entry.
    #[must_use]
    pub fn reason(&self) -> String {
        format!("{}{}", self.error, self.remedy())
    }

    /// What to do about it, where the error itself does not say.
    fn remedy(&self) -> &'static str {
        match self.error.is_not_found() {
            true => "; check its path, and that the token's user is a member",
            false => "",
        }
    }
}

/// What is to be said of an entry that was polled, for it selects nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{entry}: {notice}")]
pub struct EntryNotice {
    /// The entry, as the settings name it.
    pub entry: String,
    /// Why it selects nothing.
    pub notice: Notice,
}

/// What a poll of the entries gave.
#[derive(Debug, Default)]
pub struct Polled {
    /// All projects, as they are known now.
    pub found: Found,
    /// What went wrong.
    pub errors: Vec<DiscoveryError>,
    /// What is new of entries that select nothing.
    pub notices: Vec<EntryNotice>,
    /// Whether every entry is answered: by a list, or by GitLab's own word that there is no such
    /// project.
    pub is_complete: bool,
}

/// Why a project is to be removed, or not: GitLab's own word on it.
#[derive(Debug)]
pub enum Verdict {
    /// GitLab answers 404 for it: deleted, or hidden from the token.
    Missing,
    /// It is marked for deletion.
    ScheduledForDeletion,
    /// It is archived, and no entry wants archived projects.
    Archived,
    /// It is there, and no entry selects it any more.
    NotSelected,
    /// It is there, and an entry selects it, whatever a list said.
    Selected(Box<Selected>),
    /// The owner that an entry names is not known now, so nobody can say.
    NoOwner,
    /// GitLab could not be asked.
    NotAnswered(GitLabError),
}

/// Finds projects.
pub struct Discovery {
    gitlab: GitLab,
    entries: Vec<Entry>,
}

/// What a poll is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All entries that are due.
    All,
    /// Those whose last poll failed.
    Failed,
    /// No entry: only projects that may have to be removed.
    Unconfirmed,
}

impl Discovery {
    /// Discovery by the settings.
    #[must_use]
    pub fn new(gitlab: GitLab, projects: &[ProjectEntry], wildcards: &[Wildcard]) -> Self {
        let explicit = projects
            .iter()
            .map(|entry| Entry::project(&entry.name, &entry.settings));
        let wildcards = wildcards.iter().map(Entry::wildcard);
        Self {
            gitlab,
            entries: explicit.chain(wildcards).collect(),
        }
    }

    /// Goes on with other entries; those that stay keep what they found.
    pub fn set_entries(&mut self, projects: &[ProjectEntry], wildcards: &[Wildcard]) {
        let next = Self::new(self.gitlab.clone(), projects, wildcards).entries;
        let mut before = std::mem::replace(&mut self.entries, next);
        for entry in &mut self.entries {
            if let Some(place) = before.iter().position(|old| entry.is_like(old)) {
                entry.go_on_from(before.swap_remove(place));
            }
        }
    }

    /// Polls the entries that are due, and gives all projects as they are known now.
    pub async fn poll(&mut self, scope: Scope, now: UnixSeconds) -> Polled {
        let gitlab = &self.gitlab;
        let due = self.entries.iter().enumerate();
        let polls = due
            .filter(|(_, entry)| entry.is_due(scope, now))
            .map(|(place, entry)| async move { (place, entry.poll(gitlab, now).await) });
        let polls = side_by_side(CALLS_AT_ONCE, polls.collect()).await;
        let (mut errors, mut notices) = (Vec::new(), Vec::new());
        for (place, listed) in polls {
            let Some(entry) = self.entries.get_mut(place) else {
                continue;
            };
            match entry.polled(listed, now) {
                Ok(None) => {}
                Ok(Some(notice)) => notices.push(EntryNotice {
                    entry: entry.name(),
                    notice,
                }),
                Err(error) => errors.push(DiscoveryError {
                    entry: entry.name(),
                    error,
                }),
            }
        }
        Polled {
            found: self.found(),
            errors,
            notices,
            is_complete: self.entries.iter().all(Entry::is_answered),
        }
    }

    /// Asks GitLab for projects themselves: one verdict for each.
    pub async fn confirm(&self, ids: &[ProjectId], now: UnixSeconds) -> Vec<(ProjectId, Verdict)> {
        if ids.is_empty() {
            return Vec::new();
        }
        let owners = self.entries.iter();
        let owners = owners.map(|entry| entry.owner_now(&self.gitlab)).collect();
        let owners: Vec<Option<Owner>> = side_by_side(CALLS_AT_ONCE, owners).await;
        let verdicts = ids
            .iter()
            .map(|id| async { (*id, self.verdict(*id, &owners, now).await) });
        side_by_side(CALLS_AT_ONCE, verdicts.collect()).await
    }

    async fn verdict(&self, id: ProjectId, owners: &[Option<Owner>], now: UnixSeconds) -> Verdict {
        let project = match self.gitlab.project(id).await {
            Ok(project) => project,
            Err(error) if error.is_not_found() => return Verdict::Missing,
            Err(error) => return Verdict::NotAnswered(error),
        };
        if project.is_scheduled_for_deletion {
            return Verdict::ScheduledForDeletion;
        }
        let mut is_unknown = false;
        for (entry, owner) in self.entries.iter().zip(owners) {
            match entry.selects(&project, owner.as_ref(), now) {
                Selects::Yes => {
                    let settings = Arc::clone(&entry.settings);
                    return Verdict::Selected(Box::new((project, settings)));
                }
                Selects::Unknown => is_unknown = true,
                Selects::No => {}
            }
        }
        if is_unknown {
            Verdict::NoOwner
        } else if project.archived {
            Verdict::Archived
        } else {
            Verdict::NotSelected
        }
    }

    /// Whether GitLab as such answers the token.
    pub async fn gitlab_answers(&self) -> bool {
        match self.gitlab.instance().await {
            Ok(_) => true,
            Err(error) => error.is_forbidden(),
        }
    }

    /// Notes that a project is not as it was, so that its entry is polled again.
    pub fn changed(&mut self, id: ProjectId) {
        for entry in &mut self.entries {
            entry.changed(id);
        }
    }

    /// Forgets projects that are no longer tracked.
    pub fn remove(&mut self, removed: &[ProjectId]) {
        for entry in &mut self.entries {
            entry.found.retain(|project| !removed.contains(&project.id));
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
