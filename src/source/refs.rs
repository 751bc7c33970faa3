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
use crate::collector::PipelineFacts;
use crate::collector::refs::{DELETED, Listing, RefName, RefsSeen};
use crate::config::RefRule;
use crate::gitlab::GitLabError;
use crate::gitlab::model::Page;
use crate::gitlab::rest::{GitRef, PipelineFilter};
use crate::gitlab::{GitLab, model};
use crate::types::{PipelineId, ProjectId, Text};

/// GitLab moves `last_activity_at` at most this often.
const ACTIVITY_THROTTLE: Duration = Duration::from_secs(3600);
/// How often the shown pipelines are asked for by id.
const PIPELINE_CHECK: Duration = Duration::from_secs(24 * 3600);
/// Pipelines asked for by id in one look.
const PIPELINES_AT_ONCE: usize = 20;
/// Refs whose newest pipeline is asked for in one look.
const REFS_AT_ONCE: usize = 20;
/// How soon the next refs are asked for when they did not fit.
const NEXT_REFS: Duration = Duration::from_secs(60);
/// How soon refs are looked at again when they could not all be read.
const NEXT_TRY: Duration = Duration::from_secs(300);
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
    /// Refs that exist and whose newest pipeline was asked for, because the first look of the
    /// change feed did not reach back to it.
    pub asked: BTreeSet<RefName>,
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
            again_at: (moved && may_hide_more(project, now)).then(|| now.plus(ACTIVITY_THROTTLE)),
            pipelines_checked_at: match self.pipelines_checked_at {
                Some(at) if !self.checks_pipelines(now) => Some(at),
                Some(_) => Some(now),
                None => Some(now.minus(spread(project.id))),
            },
            asked: self.asked.clone(),
        }
    }
}

/// Whether something could have happened since the activity that GitLab noted, without moving it. An
/// older one moves with whatever happens next. Twice the throttle: our clock may be ahead.
fn may_hide_more(project: &model::Project, now: UnixSeconds) -> bool {
    project
        .last_activity_at
        .is_some_and(|at| now.since(at) < 2 * ACTIVITY_THROTTLE)
}

/// How much sooner than the others a project's pipelines are checked a second time, so that what was
/// first seen together is not checked together for ever.
fn spread(project: ProjectId) -> Duration {
    let scattered = project.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    Duration::from_secs(scattered % PIPELINE_CHECK.as_secs())
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
    /// The newest pipelines of refs that had none remembered: history.
    pub found: Vec<PipelineFacts>,
    /// What went wrong and left the rest whole.
    pub problems: Vec<Problem>,
}

/// The source.
pub struct RefsSource {
    gitlab: GitLab,
    /// Whether jobs are wanted.
    jobs: bool,
}

impl RefsSource {
    /// The refs of a GitLab; `jobs` says whether the jobs of pipelines are wanted.
    #[must_use]
    pub fn new(gitlab: GitLab, jobs: bool) -> Self {
        Self { gitlab, jobs }
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
        let id = target.id();
        let branches = listing(self.gitlab.branches(id), &rules.branches, at).await;
        let branches = note(branches, &before.branches);
        let tags = listing(self.gitlab.tags(id), &rules.tags, at).await;
        let tags = note(tags, &before.tags);
        let mut seen = RefsSeen {
            branches,
            tags,
            merge_requests: before.merge_requests.clone(),
        };
        if let Err(error) = self.merge_requests(target, &mut seen).await {
            problems.push(Problem::call(&target.project.full_path, "refs", &error));
        }
        let mut state = target.memory.refs.looked(&target.project, now);
        if !problems.is_empty() {
            let again = now.plus(NEXT_TRY);
            state.again_at = Some(state.again_at.map_or(again, |at| at.min(again)));
        }
        let (found, asked, more) = self.newest_of_unseen_refs(target, &seen).await;
        state.asked = asked;
        if more {
            state.again_at = Some(now.plus(NEXT_REFS));
        }
        let checks = target.memory.refs.checks_pipelines(now);
        let deleted = if checks {
            self.deleted(target, now).await
        } else {
            Vec::new()
        };
        RefsRead {
            seen,
            state,
            deleted,
            found,
            problems,
        }
    }

    /// States of the merge requests that have pipelines remembered or that keep counters, and only
    /// of those.
    async fn merge_requests(
        &self,
        target: &Target,
        seen: &mut RefsSeen,
    ) -> Result<(), GitLabError> {
        let remembered = target.memory.latest_refs();
        let remembered: BTreeSet<u64> = remembered
            .keys()
            .filter_map(RefName::merge_request)
            .chain(target.memory.source_branches.merge_requests())
            .collect();
        seen.merge_requests
            .retain(|iid, _| remembered.contains(iid));
        if remembered.is_empty() {
            return Ok(());
        }
        let iids: Vec<u64> = remembered.into_iter().collect();
        let read = self.gitlab.merge_requests(target.id(), &iids).await?;
        let is_whole = read.skipped.is_empty();
        let told = read.items.into_iter().map(|mr| (mr.iid, mr.state));
        let untold = iids.into_iter().filter(|_| is_whole);
        seen.merge_requests = untold
            .map(|iid| (iid, DELETED.into()))
            .chain(told)
            .collect();
        Ok(())
    }

    /// The newest pipelines of refs that exist, are watched, and have no pipeline remembered: the
    /// first look of the change feed reads the newest pipelines of the project, and a quiet
    /// branch's may be older. Each ref is asked for once. Gives what was found, the refs asked for
    /// so far, and whether some are left.
    async fn newest_of_unseen_refs(
        &self,
        target: &Target,
        seen: &RefsSeen,
    ) -> (Vec<PipelineFacts>, BTreeSet<RefName>, bool) {
        let mut asked = target.memory.refs.asked.clone();
        let exist: BTreeSet<RefName> = seen.existing().collect();
        asked.retain(|name| exist.contains(name));
        let remembered = target.memory.latest_refs();
        let unseen: Vec<RefName> = exist
            .into_iter()
            .filter(|name| !asked.contains(name) && !remembered.contains_key(name))
            .collect();
        let more = unseen.len() > REFS_AT_ONCE;
        let reads = unseen
            .into_iter()
            .take(REFS_AT_ONCE)
            .map(|name| async move { (self.newest_of(target, &name).await, name) });
        let mut found = Vec::new();
        for (read, name) in side_by_side(CALLS_AT_ONCE, reads.collect()).await {
            // What failed is asked for again at the next look.
            if let Ok(facts) = read {
                found.extend(facts);
                asked.insert(name);
            }
        }
        (found, asked, more)
    }

    async fn newest_of(
        &self,
        target: &Target,
        name: &RefName,
    ) -> Result<Option<PipelineFacts>, GitLabError> {
        let filter = PipelineFilter {
            git_ref: Some(name.name.to_string()),
            ..PipelineFilter::default()
        };
        let page = self.gitlab.pipelines(target.id(), &filter, None).await?;
        let Some(head) = page.items.into_iter().max_by_key(|head| head.id) else {
            return Ok(None);
        };
        let pipeline = self.gitlab.pipeline(target.id(), head.id).await?;
        if RefName::of(&pipeline) != *name {
            // A tag and a branch of one name: the newest pipeline is the other's.
            return Ok(None);
        }
        let jobs = match self.jobs {
            true => Some(self.gitlab.jobs(target.id(), head.id, true).await?.items),
            false => None,
        };
        Ok(Some(PipelineFacts {
            pipeline,
            floor: None,
            jobs,
            foreign: Vec::new(),
        }))
    }

    /// Shown pipelines that GitLab does not have any more.
    async fn deleted(&self, target: &Target, now: UnixSeconds) -> Vec<PipelineId> {
        let memory = &target.memory;
        let shown: Vec<PipelineId> = memory
            .pipelines
            .newest_ids()
            .chain(memory.child_pipelines.newest_ids())
            .collect();
        let checks = turn(&shown, now).into_iter().map(|id| async move {
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

/// The pipelines whose turn it is to be asked for: where there are more than fit into one look, the
/// next ones each time.
fn turn(shown: &[PipelineId], now: UnixSeconds) -> Vec<PipelineId> {
    let looks = usize::try_from(now.since(UnixSeconds(0)).as_secs() / PIPELINE_CHECK.as_secs());
    let first = looks.unwrap_or(0).wrapping_mul(PIPELINES_AT_ONCE);
    let turn = shown.iter().cycle().skip(first % shown.len().max(1));
    turn.take(shown.len().min(PIPELINES_AT_ONCE))
        .copied()
        .collect()
}

/// The watched names of a listing, if the rule asks which exist. A project without repository has
/// none.
async fn listing(
    read: impl Future<Output = Result<Page<GitRef>, GitLabError>>,
    rule: &RefRule,
    at: UnixSeconds,
) -> Result<Option<Listing>, GitLabError> {
    if !rule.enabled || !rule.exclude_deleted {
        return Ok(None);
    }
    let page = match read.await {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn active_at(at: i64) -> model::Project {
        model::Project {
            id: ProjectId(1),
            full_path: "group/project".into(),
            default_branch: model::Known::Nothing,
            archived: false,
            last_activity_at: Some(UnixSeconds(at)),
            role: model::Known::Nothing,
        }
    }

    #[test]
    fn only_fresh_activity_asks_for_a_second_look() {
        let now = UnixSeconds(1_000_000);
        let fresh = RefsState::default().looked(&active_at(now.0 - 60), now);
        assert_eq!(fresh.again_at, Some(now.plus(ACTIVITY_THROTTLE)));
        assert!(fresh.is_due(&active_at(now.0 - 60), now.plus(ACTIVITY_THROTTLE)));

        let quiet = RefsState::default().looked(&active_at(now.0 - 86_400), now);
        assert_eq!(quiet.again_at, None);
        assert!(!quiet.is_due(&active_at(now.0 - 86_400), now.plus(ACTIVITY_THROTTLE)));
        assert!(quiet.is_due(&active_at(now.0 + 10), now.plus(ACTIVITY_THROTTLE)));
    }

    #[test]
    fn every_shown_pipeline_has_its_turn() {
        let shown: Vec<PipelineId> = (0..50).map(PipelineId).collect();
        let turns: BTreeSet<PipelineId> = (0..5)
            .flat_map(|day| turn(&shown, UnixSeconds(day * 24 * 3600)))
            .collect();
        assert_eq!(turns.len(), shown.len());
        assert_eq!(turn(&shown[..3], UnixSeconds(86_400 * 7)).len(), 3);
        assert!(turn(&[], UnixSeconds(0)).is_empty());
    }
}
