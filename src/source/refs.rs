//! Which refs and shown pipelines still exist.
//!
//! Branches and tags are listed only for projects where something happened: a push or a deletion
//! moves `last_activity_at`, but at most once an hour, so they are listed once more an hour later.
//! Deleted pipelines leave no trace: those that are shown are asked for by id now and then. Imported
//! ones leave none for the change feed, which reads what moved: the newest are listed as often.
//!
//! Of a project that is new, refs are listed only where one that is shown may be gone or one may have pipelines
//! that the first reading did not reach back to: where that read all pipelines, refs without pipelines are
//! nothing to show, and a default branch is there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;

use super::batches::{Batches, PerProject};
use super::{
    Context, Fetched, Needs, Right, Source, SourceError, Target, Wants, fetched, side_by_side,
};
use crate::catalogue::{Activity, Collector};
use crate::clock::UnixSeconds;
use crate::config::{ProjectSettings, RefRule};
use crate::facts::feed::PipelineFacts;
use crate::facts::refs::RefsRead;
use crate::facts::{Facts, Problem, Reading, Unavailable};
use crate::gitlab::graphql::ProjectTip;
use crate::gitlab::model::{
    GitRef, Job, Known, MergeRequest, Page, PipelineMergeRequest, RefKind, Status,
};
use crate::gitlab::rest::PipelineFilter;
use crate::gitlab::{Cause, GitLabError};
use crate::gitlab::{GitLab, model};
use crate::memory::ProjectMemory;
use crate::memory::ref_listing::PIPELINE_CHECK;
use crate::memory::refs::{DELETED, Listing, RefName, RefsSeen, merge_request_ref};
use crate::types::{PipelineId, ProjectId, Text};

/// Pipelines asked for by id in one poll.
const PIPELINES_AT_ONCE: usize = 20;
/// Refs whose newest pipeline is asked for in one poll.
const REFS_AT_ONCE: usize = 20;
/// How soon the next refs are asked for when they did not fit.
const NEXT_REFS: Duration = Duration::from_secs(60);
/// How soon refs are polled again when they could not all be read.
const NEXT_TRY: Duration = Duration::from_secs(300);
/// Projects in one run, which takes a few calls each of those with several refs.
const BATCH: usize = 25;
/// Calls of one poll that run concurrently.
const CALLS_AT_ONCE: usize = 4;

/// The source.
pub struct RefsSource {
    gitlab: GitLab,
    default_branches: Batches,
}

impl RefsSource {
    /// The refs of a GitLab.
    #[must_use]
    pub fn new(gitlab: &GitLab) -> Self {
        Self {
            gitlab: gitlab.clone(),
            default_branches: Batches::new(&gitlab.breaker(), GitLab::TIP_PROJECTS),
        }
    }

    /// Reads some projects: one result for each.
    async fn read(
        &self,
        targets: &[Target],
        now: UnixSeconds,
    ) -> Vec<(ProjectId, Result<RefsRead, SourceError>)> {
        let defaults = self.defaults(targets, now).await;
        let reads = targets.iter().map(|target| {
            let default = defaults.get(&target.id());
            async move { (target.id(), Ok(self.project(target, default, now).await)) }
        });
        side_by_side(CALLS_AT_ONCE, reads.collect()).await
    }

    /// The default branches of projects that are read for the first time, where it may be the only one that
    /// matters.
    async fn defaults(&self, targets: &[Target], now: UnixSeconds) -> BTreeMap<ProjectId, Text> {
        let new = targets.iter().filter(|target| is_read_whole(target));
        let (mut known, mut open) = (BTreeMap::new(), Vec::new());
        for target in new {
            let name = target.project.default_branch.as_ref().value();
            match name {
                Some(name) => drop(known.insert(target.id(), name.clone())),
                None if remembers(target, RefKind::Branch, None) => open.push(target.id()),
                None => {}
            }
        }
        if open.is_empty() || !self.gitlab.uses_graphql() {
            return known;
        }
        let ask = async |ids: Vec<ProjectId>| self.gitlab.default_branches(&ids).await;
        let id_of = |found: &ProjectTip| found.id;
        let asked: PerProject<ProjectTip> = self.default_branches.ask(&open, now, id_of, ask).await;
        // Of the others, branches are listed.
        let named = asked.into_values().filter_map(Result::ok);
        known.extend(named.filter_map(|found| Some((found.id, found.name?))));
        known
    }

    async fn project(&self, target: &Target, default: Option<&Text>, now: UnixSeconds) -> RefsRead {
        let rules = &target.settings.refs;
        let before = &target.memory.refs_seen;
        let mut problems = Vec::new();
        let at = self.gitlab.server_time().unwrap_or(now);
        let mut note =
            |read: Result<Option<Listing>, GitLabError>, kept: &Option<Listing>| match read {
                Ok(listing) => listing,
                Err(error) => {
                    problems.push(Problem::call(
                        &target.project.full_path,
                        Activity::Refs,
                        &error,
                    ));
                    kept.clone()
                }
            };
        let id = target.id();
        let is_listed =
            |kind| !is_read_whole(target) || remembers(target, kind, default.map(|name| &**name));
        let branches = match is_listed(RefKind::Branch) {
            true => listing(self.gitlab.branches(id), &rules.branches, at).await,
            false => Ok((before.branches.clone(), false)),
        };
        let has_no_repository = matches!(&branches, Ok((_, true)));
        let branches = note(branches.map(|(listing, _)| listing), &before.branches);
        let tags = match is_listed(RefKind::Tag) {
            true => listing(self.gitlab.tags(id), &rules.tags, at).await,
            false => Ok((before.tags.clone(), false)),
        };
        let tags = match tags {
            // Where the repository is gone, GitLab fails at its tags.
            Err(error) if has_no_repository && matches!(error.cause, Cause::Server(..)) => {
                Ok(Some(Listing {
                    at,
                    names: BTreeSet::new(),
                }))
            }
            tags => tags.map(|(listing, _)| listing),
        };
        let tags = note(tags, &before.tags);
        let mut seen = RefsSeen {
            branches,
            tags,
            merge_requests: before.merge_requests.clone(),
        };
        if let Err(error) = self.merge_requests(target, &mut seen).await {
            problems.push(Problem::call(
                &target.project.full_path,
                Activity::Refs,
                &error,
            ));
        }
        let mut progress = target.memory.refs.polled(&target.project, now);
        if !problems.is_empty() {
            let again = now.plus(NEXT_TRY);
            progress.again_at = Some(progress.again_at.map_or(again, |at| at.min(again)));
        }
        let (mut found, asked, more) = self.newest_of_unseen_refs(target, &seen).await;
        progress.asked = asked;
        if more {
            progress.again_at = Some(now.plus(NEXT_REFS));
        }
        let (merge_requests, has_merge_requests) = self
            .unseen_merge_requests(target, &mut progress.asked)
            .await;
        if !has_merge_requests {
            progress.again_at = Some(now.plus(NEXT_REFS));
        }
        found.extend(merge_requests);
        let checks = target.memory.refs.checks_pipelines(now);
        let mut deleted = Vec::new();
        if checks {
            deleted = self.deleted(target, now).await;
            found.extend(self.imported(target).await);
        }
        RefsRead {
            seen,
            progress,
            deleted,
            found,
            has_merge_requests,
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
        if remembered.is_empty() || target.forbids(Right::MergeRequests).is_some() {
            return Ok(());
        }
        let iids: Vec<u64> = remembered.into_iter().collect();
        let read = match self.gitlab.merge_requests(target.id(), &iids).await {
            // What is known of them stays.
            Err(error) if error.is_forbidden() => return Ok(()),
            read => read?,
        };
        let is_whole = read.skipped.is_empty();
        let listed = read.items.into_iter().map(|mr| (mr.iid, mr.state));
        let unlisted = iids.into_iter().filter(|_| is_whole);
        seen.merge_requests = unlisted
            .map(|iid| (iid, DELETED.into()))
            .chain(listed)
            .collect();
        Ok(())
    }

    /// The newest pipelines of refs that exist, are watched, and have no pipeline remembered: the
    /// first poll of the change feed reads the newest pipelines of the project, and a quiet
    /// branch's may be older. Each ref is asked for once. Returns what was found, the refs asked for
    /// so far, and whether some are left.
    async fn newest_of_unseen_refs(
        &self,
        target: &Target,
        seen: &RefsSeen,
    ) -> (Vec<PipelineFacts>, BTreeSet<RefName>, bool) {
        let mut asked = target.memory.refs.asked.clone();
        let exist: BTreeSet<RefName> = seen.existing().collect();
        asked.retain(|name| name.kind == RefKind::MergeRequest || exist.contains(name));
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
            // What failed is asked for again at the next poll.
            if let Ok(facts) = read {
                found.extend(facts);
                asked.insert(name);
            }
        }
        (found, asked, more)
    }

    /// The newest pipelines of open merge requests that have none remembered: the first reading of a project
    /// did not reach back to them. Each is asked for once. Says whether all were.
    async fn unseen_merge_requests(
        &self,
        target: &Target,
        asked: &mut BTreeSet<RefName>,
    ) -> (Vec<PipelineFacts>, bool) {
        let rule = &target.settings.refs.merge_requests;
        let first = target.memory.first_reading;
        let is_nothing_open = first.has_merge_requests || first.is_whole;
        let is_shown = rule.enabled && rule.includes_state("opened");
        if is_nothing_open || !is_shown || target.forbids(Right::MergeRequests).is_some() {
            return (Vec::new(), true);
        }
        let open = match self.gitlab.open_merge_requests(target.id()).await {
            Ok(page) => page.items,
            // There is none, or it is hidden.
            Err(error) if error.is_forbidden() || error.is_not_found() => Vec::new(),
            Err(_) => return (Vec::new(), false),
        };
        let remembered = target.memory.latest_refs();
        let mut unseen = open;
        unseen.retain(|merge_request| {
            let name = merge_request_name(merge_request.iid);
            !remembered.contains_key(&name) && !asked.contains(&name)
        });
        let all = unseen.len() <= REFS_AT_ONCE;
        unseen.truncate(REFS_AT_ONCE);
        let reads = unseen
            .iter()
            .map(|merge_request| self.newest_of_merge_request(target, merge_request));
        let read = side_by_side(CALLS_AT_ONCE, reads.collect()).await;
        let has_all = all && read.iter().all(Result::is_ok);
        let mut found = Vec::new();
        for (merge_request, read) in unseen.iter().zip(read) {
            // What failed is asked for again at the next poll.
            if let Ok(facts) = read {
                found.extend(facts);
                asked.insert(merge_request_name(merge_request.iid));
            }
        }
        if has_all {
            asked.retain(|name| name.kind != RefKind::MergeRequest);
        }
        (found, has_all)
    }

    /// The newest pipeline of a merge request: of its source, or of the merged result.
    async fn newest_of_merge_request(
        &self,
        target: &Target,
        merge_request: &MergeRequest,
    ) -> Result<Option<PipelineFacts>, GitLabError> {
        let mut newest: Option<PipelineId> = None;
        for end in ["head", "merge"] {
            let name = format!("refs/merge-requests/{}/{end}", merge_request.iid);
            let filter = PipelineFilter {
                git_ref: Some(name),
                ..PipelineFilter::default()
            };
            let page = self.gitlab.newest_pipelines(target.id(), &filter).await?;
            newest = page.items.iter().map(|head| head.id).max().max(newest);
        }
        let Some(newest) = newest else {
            return Ok(None);
        };
        let mut facts = self.facts_of(target, newest).await?;
        facts.pipeline.merge_request = Known::Value(PipelineMergeRequest {
            iid: merge_request.iid,
            target_branch: merge_request.target_branch.clone(),
            source_branch: merge_request.source_branch.clone(),
        });
        Ok(Some(facts))
    }

    /// Pipelines that are newer than the newest of their ref that is remembered, and older than what the
    /// change feed reads: an import gives them new ids and the times that they had.
    async fn imported(&self, target: &Target) -> Vec<PipelineFacts> {
        let filter = PipelineFilter::default();
        let newest = self.gitlab.newest_pipelines(target.id(), &filter).await;
        let (Ok(page), Some(feed)) = (newest, &target.memory.feed) else {
            return Vec::new();
        };
        let since = feed.since();
        let newest_ids = target.memory.pipelines.newest_by_ref();
        let is_missed = |name: &RefName, known: PipelineId| {
            let mut heads = page.items.iter();
            heads.any(|head| {
                *head.git_ref == *name.name && head.id > known && head.updated_at < since
            })
        };
        let missed = newest_ids.filter(|(name, known)| is_missed(name, *known));
        let reads = missed
            .take(REFS_AT_ONCE)
            .map(|(name, _)| self.newest_of(target, name));
        let found = side_by_side(CALLS_AT_ONCE, reads.collect()).await;
        // What failed is found by the next check.
        found.into_iter().filter_map(Result::ok).flatten().collect()
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
        let page = self.gitlab.newest_pipelines(target.id(), &filter).await?;
        let Some(head) = page.items.into_iter().max_by_key(|head| head.id) else {
            return Ok(None);
        };
        let facts = self.facts_of(target, head.id).await?;
        // A tag and a branch of one name: the newest pipeline may be the other's.
        Ok(Some(facts).filter(|facts| RefName::of(&facts.pipeline) == *name))
    }

    /// A pipeline of the past, with its jobs.
    async fn facts_of(
        &self,
        target: &Target,
        id: PipelineId,
    ) -> Result<PipelineFacts, GitLabError> {
        let pipeline = self.gitlab.pipeline(target.id(), id).await?;
        let (mut jobs, mut bridges) = (None, None);
        if target.settings.interval(Collector::Jobs).is_some() {
            let read = self.gitlab.jobs(target.id(), id, true).await?.items;
            let has_failed = |job: &Job| job.status == Status::Failed && !job.allow_failure;
            // Where no job says why the pipeline failed, a trigger job does.
            if pipeline.status == Status::Failed && !read.iter().any(has_failed) {
                let page = self.gitlab.bridges(target.id(), id).await?;
                bridges = Some(page.items.into_iter().map(|bridge| bridge.job).collect());
            }
            jobs = Some(read);
        }
        Ok(PipelineFacts {
            pipeline,
            floor: None,
            jobs,
            bridges,
            foreign: Vec::new(),
        })
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
            let removed = match self.gitlab.pipeline(target.id(), id).await {
                Err(error) => error.is_object_not_found(),
                Ok(_) => false,
            };
            removed.then_some(id)
        });
        side_by_side(CALLS_AT_ONCE, checks.collect())
            .await
            .into_iter()
            .flatten()
            .collect()
    }
}

#[async_trait]
impl Source for RefsSource {
    fn reading(&self) -> Reading {
        Reading::Refs
    }

    fn collectors(&self) -> &[Collector] {
        &[]
    }

    /// What moved is seen by the change feed.
    fn interval(&self, settings: &ProjectSettings) -> Option<Duration> {
        settings.shortest_interval(&[Collector::Pipelines, Collector::Jobs])
    }

    fn batch(&self) -> usize {
        BATCH
    }

    fn runs_at_once(&self) -> usize {
        usize::MAX
    }

    fn needs(&self) -> Needs {
        Needs::Pipelines
    }

    fn unavailable(&self, target: &Target) -> Option<Unavailable> {
        target.forbids(Right::Pipelines)
    }

    fn wants(&self, project: &model::Project, memory: &ProjectMemory, now: UnixSeconds) -> Wants {
        match memory.refs.is_due(project, now) {
            true => Wants::Now,
            false => Wants::WhenSomethingMoved,
        }
    }

    async fn fetch(&self, targets: &[Target], context: &Context) -> Fetched {
        fetched(self.read(targets, context.now).await, Facts::Refs)
    }
}

/// Whether refs are polled for the first time of a project whose first reading read all its pipelines.
fn is_read_whole(target: &Target) -> bool {
    let memory = &target.memory;
    memory.first_reading.is_whole && memory.refs.pipelines_checked_at.is_none()
}

/// Whether pipelines of a branch or tag are remembered, but for one name.
fn remembers(target: &Target, kind: RefKind, but: Option<&str>) -> bool {
    let remembered = target.memory.latest_refs();
    let mut names = remembered.keys().filter(|name| name.kind == kind);
    names.any(|name| kind != RefKind::Branch || but != Some(&*name.name))
}

fn merge_request_name(iid: u64) -> RefName {
    RefName {
        kind: RefKind::MergeRequest,
        name: merge_request_ref(&iid.to_string()),
    }
}

/// The pipelines to be asked for this time: where there are more than fit into one poll, the
/// next ones each time.
fn turn(shown: &[PipelineId], now: UnixSeconds) -> Vec<PipelineId> {
    let polls = usize::try_from(now.since(UnixSeconds(0)).as_secs() / PIPELINE_CHECK.as_secs());
    let first = polls.unwrap_or(0).wrapping_mul(PIPELINES_AT_ONCE);
    let turn = shown.iter().cycle().skip(first % shown.len().max(1));
    turn.take(shown.len().min(PIPELINES_AT_ONCE))
        .copied()
        .collect()
}

/// The watched names of a listing, if the rule asks which exist, and whether there is no repository: such
/// a project has none.
async fn listing(
    read: impl Future<Output = Result<Page<GitRef>, GitLabError>>,
    rule: &RefRule,
    at: UnixSeconds,
) -> Result<(Option<Listing>, bool), GitLabError> {
    if !rule.enabled || !rule.exclude_deleted {
        return Ok((None, false));
    }
    let (page, is_missing) = match read.await {
        Err(error) if error.is_object_not_found() => (Page::default(), true),
        read => (read?, false),
    };
    let names: BTreeSet<Text> = page
        .items
        .into_iter()
        .map(|git_ref| git_ref.name)
        .filter(|name| rule.regexp.is_match(name))
        .collect();
    Ok((Some(Listing { at, names }), is_missing))
}

#[cfg(test)]
mod tests {
    use super::*;

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
