//! Which refs and shown pipelines still exist.
//!
//! Branches and tags are listed only for projects where something happened: a push or a deletion
//! moves `last_activity_at`, but at most once an hour, so they are listed once more an hour later.
//! Deleted pipelines leave no trace: those that are shown are asked for by id now and then.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Problem, SourceError, Target, side_by_side};
use crate::clock::UnixSeconds;
use crate::collector::refs::{Listing, RefsSeen};
use crate::config::RefRule;
use crate::gitlab::GitLabError;
use crate::gitlab::model::{Page, PipelineId, ProjectId, Text};
use crate::gitlab::rest::GitRef;
use crate::gitlab::{GitLab, model};

/// GitLab moves `last_activity_at` at most this often.
const ACTIVITY_THROTTLE: Duration = Duration::from_secs(3600);
/// How often the shown pipelines are asked for by id.
const PIPELINE_CHECK: Duration = Duration::from_secs(24 * 3600);
/// Pipelines asked for by id in one look.
const PIPELINES_AT_ONCE: usize = 20;
/// Calls of one look that run side by side.
const CALLS_AT_ONCE: usize = 4;

/// When a project's refs were looked at, and why they will be again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RefsState {
    /// The activity that the last look was for.
    pub activity: Option<UnixSeconds>,
    /// When to look once more, though no newer activity shows.
    pub again_at: Option<UnixSeconds>,
    /// When the shown pipelines were last asked for by id.
    pub pipelines_checked_at: Option<UnixSeconds>,
}

impl RefsState {
    /// Whether a project is to be looked at.
    #[must_use]
    pub fn is_due(&self, project: &model::Project, now: UnixSeconds) -> bool {
        let moved = project
            .last_activity_at
            .is_some_and(|at| self.activity != Some(at));
        moved
            || self.pipelines_checked_at.is_none()
            || self.again_at.is_some_and(|at| now >= at)
            || self.checks_pipelines(now)
    }

    fn checks_pipelines(&self, now: UnixSeconds) -> bool {
        self.pipelines_checked_at
            .is_some_and(|at| now.since(at) >= PIPELINE_CHECK)
    }

    fn looked(&self, project: &model::Project, now: UnixSeconds) -> Self {
        let moved = project
            .last_activity_at
            .is_some_and(|at| self.activity != Some(at));
        Self {
            activity: project.last_activity_at,
            again_at: moved.then(|| now.plus(ACTIVITY_THROTTLE)),
            pipelines_checked_at: match self.pipelines_checked_at {
                Some(at) if !self.checks_pipelines(now) => Some(at),
                _ => Some(now),
            },
        }
    }
}

/// What one look brought of a project.
#[derive(Debug)]
pub struct RefsRead {
    /// Which refs exist.
    pub seen: RefsSeen,
    /// What to remember.
    pub state: RefsState,
    /// Shown pipelines that were deleted.
    pub deleted: Vec<PipelineId>,
    /// What went wrong and left the rest whole.
    pub problems: Vec<Problem>,
}

/// The source.
pub struct RefsSource {
    gitlab: GitLab,
}

impl RefsSource {
    /// The refs of a GitLab.
    #[must_use]
    pub fn new(gitlab: GitLab) -> Self {
        Self { gitlab }
    }

    /// Looks at some projects: one result for each.
    pub async fn fetch(
        &self,
        targets: &[Target],
        now: UnixSeconds,
    ) -> Vec<(ProjectId, Result<RefsRead, SourceError>)> {
        let reads = targets
            .iter()
            .map(|target| async move { (target.id(), Ok(self.project(target, now).await)) });
        side_by_side(CALLS_AT_ONCE, reads.collect()).await
    }

    async fn project(&self, target: &Target, now: UnixSeconds) -> RefsRead {
        let rules = &target.settings.refs;
        let before = &target.memory.refs_seen;
        let mut problems = Vec::new();
        let at = self.gitlab.server_time().unwrap_or(now);
        let mut note =
            |read: Result<Option<Listing>, GitLabError>, kept: &Option<Listing>| match read {
                Ok(listing) => listing,
                Err(error) => {
                    problems.push(Problem::call(&target.project.full_path, "refs", &error));
                    kept.clone()
                }
            };
        let branches = note(
            self.branches(target, &rules.branches, at).await,
            &before.branches,
        );
        let tags = note(self.tags(target, &rules.tags, at).await, &before.tags);
        let mut seen = RefsSeen {
            branches,
            tags,
            merge_requests: before.merge_requests.clone(),
        };
        if let Err(error) = self.merge_requests(target, &mut seen).await {
            problems.push(Problem::call(&target.project.full_path, "refs", &error));
        }
        let state = target.memory.refs.looked(&target.project, now);
        let checks = target.memory.refs.checks_pipelines(now);
        let deleted = if checks {
            self.deleted(target).await
        } else {
            Vec::new()
        };
        RefsRead {
            seen,
            state,
            deleted,
            problems,
        }
    }

    async fn branches(
        &self,
        target: &Target,
        rule: &RefRule,
        at: UnixSeconds,
    ) -> Result<Option<Listing>, GitLabError> {
        if !rule.enabled || !rule.exclude_deleted {
            return Ok(None);
        }
        listing(self.gitlab.branches(target.id()).await, rule, at)
    }

    async fn tags(
        &self,
        target: &Target,
        rule: &RefRule,
        at: UnixSeconds,
    ) -> Result<Option<Listing>, GitLabError> {
        if !rule.enabled || !rule.exclude_deleted {
            return Ok(None);
        }
        listing(self.gitlab.tags(target.id()).await, rule, at)
    }

    /// States of the merge requests that have pipelines remembered, and only of those.
    async fn merge_requests(
        &self,
        target: &Target,
        seen: &mut RefsSeen,
    ) -> Result<(), GitLabError> {
        let remembered: BTreeSet<u64> = target
            .memory
            .pipelines
            .refs()
            .filter_map(|name| name.merge_request())
            .collect();
        seen.merge_requests
            .retain(|iid, _| remembered.contains(iid));
        if remembered.is_empty() {
            return Ok(());
        }
        let iids: Vec<u64> = remembered.into_iter().collect();
        let read = self.gitlab.merge_requests(target.id(), &iids).await?;
        seen.merge_requests = read
            .items
            .into_iter()
            .map(|mr| (mr.iid, mr.state))
            .collect();
        Ok(())
    }

    async fn deleted(&self, target: &Target) -> Vec<PipelineId> {
        let shown: Vec<PipelineId> = target
            .memory
            .pipelines
            .newest_ids()
            .take(PIPELINES_AT_ONCE)
            .collect();
        let checks = shown.into_iter().map(|id| async move {
            let gone = match self.gitlab.pipeline(target.id(), id).await {
                Err(error) => error.means_gone(),
                Ok(_) => false,
            };
            gone.then_some(id)
        });
        side_by_side(CALLS_AT_ONCE, checks.collect())
            .await
            .into_iter()
            .flatten()
            .collect()
    }
}

/// The watched names of a listing. A project without repository has none.
fn listing(
    read: Result<Page<GitRef>, GitLabError>,
    rule: &RefRule,
    at: UnixSeconds,
) -> Result<Option<Listing>, GitLabError> {
    let page = match read {
        Err(error) if error.means_gone() => Page::default(),
        read => read?,
    };
    let names: BTreeSet<Text> = page
        .items
        .into_iter()
        .map(|git_ref| git_ref.name)
        .filter(|name| rule.regexp.is_match(name))
        .collect();
    Ok(Some(Listing { at, names }))
}
