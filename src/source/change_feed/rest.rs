//! The change feed by REST: the same facts with a call per object.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::super::side_by_side;
use super::pasts::{Listed, Pasts};
use super::rest_lists::Heads;
use super::{
    CALLS_AT_ONCE, Changes, DetailsRead, RawDetails, Share, SourceError, Started, Target, Wanted,
    lock,
};
use crate::clock::UnixSeconds;
use crate::facts::feed::PARENT_PIPELINE;
use crate::gitlab::graphql::{BridgesPart, Parts};
use crate::gitlab::model::{
    Bridge, Job, Known, Page, Pipeline, PipelineHead, PipelineMergeRequest, Project, RefKind,
    UNKNOWN_SOURCE, merge_request_iid,
};
use crate::gitlab::rest::PipelineFilter;
use crate::gitlab::{GitLab, GitLabError};
use crate::types::{JobId, PipelineId, ProjectId};

/// Path and activity of a project, which pipelines do not contain, are read this often.
const PROJECT_INTERVAL: Duration = Duration::from_secs(300);

/// Reads by REST.
pub(super) struct Rest {
    pub(super) gitlab: GitLab,
    /// How long the pasts of projects are.
    pub(super) pasts: Arc<Pasts>,
    /// When projects themselves were last read.
    projects_read: Mutex<BTreeMap<ProjectId, UnixSeconds>>,
    /// Branches of merge requests; they rarely change, and only pipelines name them here.
    merge_requests: Mutex<BTreeMap<(ProjectId, u64), PipelineMergeRequest>>,
}

/// Pipelines of a project that moved and are read in one poll, by a call each.
const MOVED_AT_ONCE: usize = 50;

/// How long a pipeline that cannot be read is tried again.
const GIVEN_UP: Duration = Duration::from_secs(3600);

/// Newest jobs of a project that are listed where labels of few are missing.
const FEW_JOBS: u32 = 20;
/// The same where they are many.
const MANY_JOBS: u32 = 100;

/// Merge requests whose branches are remembered.
const MERGE_REQUESTS_KEPT: usize = 10_000;

impl Rest {
    pub(super) fn new(gitlab: GitLab, pasts: Arc<Pasts>) -> Self {
        Self {
            gitlab,
            pasts,
            projects_read: Mutex::default(),
            merge_requests: Mutex::new(BTreeMap::new()),
        }
    }

    /// What moved in each of the projects.
    pub(super) async fn changes(
        &self,
        targets: &[&Target],
        now: UnixSeconds,
    ) -> Vec<(ProjectId, Result<Changes, SourceError>)> {
        let reads = targets
            .iter()
            .map(|target| async move { (target.id(), self.changes_of(target, now).await) });
        side_by_side(CALLS_AT_ONCE, reads.collect()).await
    }

    async fn changes_of(&self, target: &Target, now: UnixSeconds) -> Result<Changes, SourceError> {
        match self.read_changes(target, now).await {
            Ok(changes) => Ok(changes),
            Err(error) if error.is_not_found() => Err(SourceError::NotFound),
            Err(error) if error.is_forbidden() => Err(self.refused(target, error).await),
            Err(error) => Err(SourceError::GitLab(Arc::new(error))),
        }
    }

    /// What a refusal means: it is the project's pipelines that the token may not read, if the project
    /// itself is there.
    async fn refused(&self, target: &Target, error: GitLabError) -> SourceError {
        match self.gitlab.project(target.id()).await {
            Err(gone) if gone.is_not_found() => SourceError::NotFound,
            _ => error.into(),
        }
    }

    async fn read_changes(
        &self,
        target: &Target,
        now: UnixSeconds,
    ) -> Result<Changes, GitLabError> {
        let project = self.project(target, now).await?;
        let Heads {
            heads,
            skipped,
            until: listed_until,
            missing,
            has_more,
        } = self.heads(target, now).await?;
        let heads: Vec<PipelineHead> = heads.into_values().collect();
        let listed: Vec<PipelineId> = heads.iter().map(|head| head.id).collect();
        let (wanted, until) = wanted_heads(target, heads);
        if until.is_some() {
            // The others are listed as new again.
            let read: BTreeSet<PipelineId> = wanted.iter().map(|head| head.id).collect();
            let left = listed.into_iter().filter(|id| !read.contains(id)).min();
            let newest = left.map(|left| PipelineId(left.0.saturating_sub(1)));
            self.pasts.newest_is(target.id(), newest);
        }
        let mut until = match (until, listed_until) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        let moved_at: Vec<UnixSeconds> = wanted.iter().map(|head| head.updated_at).collect();
        let reads = wanted.into_iter().map(|head| self.pipeline(target, head));
        let read = side_by_side(CALLS_AT_ONCE, reads.collect()).await;
        let mut pipelines = Vec::with_capacity(read.len());
        let (mut failed, mut answered) = (Vec::new(), false);
        for (read, moved_at) in read.into_iter().zip(moved_at) {
            match read {
                Ok(pipeline) => {
                    answered = true;
                    pipelines.extend(pipeline);
                }
                Err(error) if error.may_be_one_items_fault() || error.is_forbidden() => {
                    // It is read again by the next polls, though not permanently.
                    if now.since(moved_at) < GIVEN_UP {
                        until = Some(until.map_or(moved_at, |until| until.min(moved_at)));
                    }
                    failed.push(error);
                }
                Err(error) => return Err(error),
            }
        }
        // Where nothing is answered, it is not the fault of one pipeline.
        if failed.len() > 1 && !answered {
            return Err(failed.swap_remove(0));
        }
        Ok(Changes {
            pipelines,
            skipped,
            until,
            missing,
            has_more,
            failed: failed.into_iter().map(Arc::new).collect(),
            ..Changes::of(project)
        })
    }

    /// All pages of a listing, or the first; returns whether there are more.
    pub(super) async fn list(
        &self,
        target: &Target,
        filter: &PipelineFilter,
        only_first: bool,
        into: &mut Heads,
    ) -> Result<bool, GitLabError> {
        let id = target.id();
        let page = match only_first {
            true => self.gitlab.newest_pipelines(id, filter).await?,
            false => self.gitlab.pipelines(id, filter).await?,
        };
        let has_more = page.next.is_some();
        self.take(target, page, into);
        Ok(has_more)
    }

    /// Takes in a page of a listing.
    pub(super) fn take(&self, target: &Target, page: Page<PipelineHead>, into: &mut Heads) {
        let listed = page.items.iter().map(|head| Listed {
            id: head.id,
            number: head.iid,
            is_child: &*head.source == PARENT_PIPELINE,
        });
        self.pasts.learn(target.id(), listed);
        let heads = page.items.into_iter().map(|head| (head.id, head));
        into.heads.extend(heads);
        into.skipped.extend(page.skipped);
    }

    /// The project itself, as it is now or was a few minutes ago.
    async fn project(&self, target: &Target, now: UnixSeconds) -> Result<Project, GitLabError> {
        let is_due = {
            let mut read_at = lock(&self.projects_read);
            read_at.retain(|_, at| now.since(*at) < PROJECT_INTERVAL);
            // Before its first poll, discovery has just read it.
            if target.memory.feed.is_none() {
                read_at.insert(target.id(), now);
            }
            !read_at.contains_key(&target.id())
        };
        if !is_due {
            return Ok(target.project.clone());
        }
        let read = self.gitlab.project(target.id()).await?;
        lock(&self.projects_read).insert(target.id(), now);
        Ok(Project {
            // Permissions show less than the true role; REST says 403 where that is too low.
            role: target.project.role,
            ..read
        })
    }

    /// The whole pipeline: what is known of it, if it has not moved, else by a call of its own.
    async fn pipeline(
        &self,
        target: &Target,
        head: PipelineHead,
    ) -> Result<Option<Pipeline>, GitLabError> {
        if let Some(known) = unmoved(target, &head) {
            return Ok(Some(known.clone()));
        }
        let mut pipeline = match self.gitlab.pipeline(target.id(), head.id).await {
            Err(error) if error.is_object_not_found() => return Ok(None),
            pipeline => pipeline?,
        };
        if pipeline.kind == RefKind::MergeRequest {
            pipeline.merge_request = self.merge_request(target.id(), &pipeline).await?;
        }
        Ok(Some(pipeline))
    }

    /// Fills in what GraphQL of this GitLab does not show of a project's pipelines: the sources, by one
    /// list, and the branches of merge requests, by a call for each. Pipelines that are followed have
    /// both already.
    pub(super) async fn complete(
        &self,
        target: &Target,
        pipelines: &mut [Pipeline],
    ) -> Result<(), GitLabError> {
        let feed = target.memory.feed.as_ref();
        let mut open = Vec::new();
        for pipeline in pipelines {
            match feed.and_then(|feed| feed.followed.get(&pipeline.id)) {
                Some(known) => {
                    pipeline.source.clone_from(&known.pipeline.source);
                    let merge_request = &known.pipeline.merge_request;
                    pipeline.merge_request.clone_from(merge_request);
                }
                None => open.push(pipeline),
            }
        }
        let unknown = open.iter().filter(|one| &*one.source == UNKNOWN_SOURCE);
        if let Some(since) = unknown.map(|one| one.updated_at).min() {
            let filter = PipelineFilter {
                updated_after: Some(since),
                ..PipelineFilter::default()
            };
            let mut heads = Heads::default();
            match self.list(target, &filter, false, &mut heads).await {
                Err(error) if error.is_not_found() || error.is_forbidden() => {}
                listed => drop(listed?),
            }
            for pipeline in &mut open {
                if let Some(head) = heads.heads.get(&pipeline.id) {
                    pipeline.source.clone_from(&head.source);
                }
            }
        }
        for pipeline in open {
            if pipeline.kind == RefKind::MergeRequest && pipeline.merge_request.is_open() {
                pipeline.merge_request = self.merge_request(target.id(), pipeline).await?;
            }
        }
        Ok(())
    }

    async fn merge_request(
        &self,
        project: ProjectId,
        pipeline: &Pipeline,
    ) -> Result<Known<PipelineMergeRequest>, GitLabError> {
        let Some(iid) = merge_request_iid(&pipeline.git_ref) else {
            return Ok(Known::Nothing);
        };
        let key = (project, iid);
        let known = lock(&self.merge_requests).get(&key).cloned();
        if let Some(known) = known {
            return Ok(Known::Value(known));
        }
        let read = match self.gitlab.merge_request(project, iid).await {
            Err(error) if error.is_not_found() || error.is_forbidden() => return Ok(Known::Hidden),
            read => read?,
        };
        let merge_request = PipelineMergeRequest {
            iid,
            target_branch: read.target_branch,
            source_branch: read.source_branch,
        };
        let mut kept = lock(&self.merge_requests);
        if kept.len() >= MERGE_REQUESTS_KEPT {
            kept.pop_first();
        }
        kept.insert(key, merge_request.clone());
        Ok(Known::Value(merge_request))
    }

    /// Jobs and downstream pipelines of the wanted pipelines: of some, where there are very many.
    pub(super) async fn details(
        &self,
        wanted: Vec<&Wanted>,
        share: Share,
    ) -> BTreeMap<PipelineId, DetailsRead> {
        let wanted = share.take(wanted);
        let reads = wanted.into_iter().map(|wanted| async move {
            let read = self.one(wanted).await;
            let read = match read {
                Ok(details) => Ok(Some(details)),
                Err(error) if error.is_object_not_found() => Ok(None),
                Err(error) => Err(Arc::new(error)),
            };
            (wanted.pipeline.id, read)
        });
        side_by_side(CALLS_AT_ONCE, reads.collect())
            .await
            .into_iter()
            .collect()
    }

    /// Whether pipelines are deleted: GitLab does not find them. What it refuses or shows is not.
    pub(super) async fn deleted(
        &self,
        wanted: &[&Wanted],
    ) -> Vec<(PipelineId, Result<bool, Arc<GitLabError>>)> {
        let reads = wanted.iter().map(|wanted| async move {
            let id = wanted.pipeline.id;
            (id, self.is_deleted(wanted.project, id).await)
        });
        side_by_side(CALLS_AT_ONCE, reads.collect()).await
    }

    /// Whether a pipeline is deleted: GitLab does not find it. What it refuses or shows is not.
    pub(super) async fn is_deleted(
        &self,
        project: ProjectId,
        pipeline: PipelineId,
    ) -> Result<bool, Arc<GitLabError>> {
        match self.gitlab.pipeline(project, pipeline).await {
            Ok(_) => Ok(false),
            Err(error) if error.is_object_not_found() => Ok(true),
            Err(error) if error.is_forbidden() => Ok(false),
            Err(error) => Err(Arc::new(error)),
        }
    }

    async fn one(&self, wanted: &Wanted) -> Result<RawDetails, GitLabError> {
        let jobs = self
            .gitlab
            .jobs(wanted.project, wanted.pipeline.id, true)
            .await?;
        let (mut bridges, mut failed) = (None, None);
        if wanted.parts.bridges != BridgesPart::None {
            let read = self.gitlab.bridges(wanted.project, wanted.pipeline.id);
            match read.await {
                Ok(page) => bridges = Some(page.items),
                Err(error) if error.is_object_not_found() => return Err(error),
                // Its jobs are there all the same.
                Err(error) => failed = Some(Arc::new(error)),
            }
        }
        let trigger_jobs = bridges.as_ref().map(|bridges| {
            let bridges = bridges.iter();
            bridges.map(|bridge| bridge.job.clone()).collect()
        });
        let downstream = bridges.into_iter().flatten();
        Ok(RawDetails {
            jobs: jobs.items,
            parts: Parts {
                bridges: match wanted.parts.bridges {
                    BridgesPart::None => BridgesPart::None,
                    _ => BridgesPart::Started,
                },
                ..Parts::WHOLE
            },
            bridges: trigger_jobs,
            origin: None,
            downstream: downstream.filter_map(Started::from_bridge).collect(),
            // The single pipeline contained it.
            coverage: Known::Unread,
            skipped: jobs.skipped,
            failed,
        })
    }

    /// The jobs of some pipelines of a project that labels are missing of, as REST shows them: from the list
    /// of the project's newest, and what that does not have by a call for each pipeline. Trigger jobs are in a
    /// list of their own.
    pub(super) async fn labels(
        &self,
        project: ProjectId,
        open: &[(PipelineId, Vec<Job>)],
    ) -> Result<BTreeMap<JobId, Job>, Arc<GitLabError>> {
        let mut read = self.bridge_labels(project, open).await?;
        let of_kind = |jobs: &[Job]| jobs.iter().filter(|job| !job.is_bridge).count();
        let jobs = open.iter().map(|(_, jobs)| of_kind(jobs)).sum::<usize>();
        if jobs == 0 {
            return Ok(read);
        }
        // No index has the jobs of a status that have ended, so it is the newest of all.
        let most = match jobs > FEW_JOBS as usize / 4 {
            true => MANY_JOBS,
            false => FEW_JOBS,
        };
        match self.gitlab.newest_jobs(project, most).await {
            // Each pipeline is asked for its own.
            Err(error) if error.is_rate_limited() => {}
            listed => read.extend(by_id(listed)?),
        }
        let missing = open.iter().filter(|(_, jobs)| {
            let mut builds = jobs.iter().filter(|job| !job.is_bridge);
            builds.any(|job| !read.contains_key(&job.id))
        });
        let missing: Vec<PipelineId> = missing.map(|(pipeline, _)| *pipeline).collect();
        let reads = missing
            .into_iter()
            .map(|pipeline| self.gitlab.jobs(project, pipeline, true));
        for one in side_by_side(CALLS_AT_ONCE, reads.collect()).await {
            read.extend(by_id(one)?);
        }
        Ok(read)
    }

    /// The same of trigger jobs alone: a call for each pipeline that has some.
    async fn bridge_labels(
        &self,
        project: ProjectId,
        open: &[(PipelineId, Vec<Job>)],
    ) -> Result<BTreeMap<JobId, Job>, Arc<GitLabError>> {
        let open = open.iter();
        let open = open.filter(|(_, jobs)| jobs.iter().any(|job| job.is_bridge));
        let reads = open.map(|(pipeline, _)| async move {
            let page = self.gitlab.bridges(project, *pipeline).await?;
            let bridges = page.items.into_iter();
            Ok(Page {
                items: bridges.map(|bridge| bridge.job).collect(),
                ..Page::default()
            })
        });
        let mut read = BTreeMap::new();
        for one in side_by_side(CALLS_AT_ONCE, reads.collect()).await {
            read.extend(by_id(one)?);
        }
        Ok(read)
    }
}

/// Fills in what GraphQL cannot give or hides, reason of failure and type of runner, and artifacts, which cost
/// it a query for each. What REST does not return either is settled as nothing.
pub(super) fn settle_labels(jobs: &mut [Job], read: &BTreeMap<JobId, Job>) {
    for job in jobs.iter_mut().filter(|job| job.status.is_terminal()) {
        let listed = read.get(&job.id);
        job.failure_reason = settle(
            &job.failure_reason,
            listed.map(|listed| &listed.failure_reason),
        );
        // REST has the fractions of a second.
        job.duration = listed.map_or(job.duration, |listed| listed.duration);
        job.runner_type = settle(&job.runner_type, listed.map(|listed| &listed.runner_type));
        if let Some(listed) = listed {
            job.artifact_bytes = listed.artifact_bytes;
            let description = &listed.runner_description;
            job.runner_description = job.runner_description.take().or(description.clone());
            job.tags = job.tags.take().or(listed.tags.clone());
        }
    }
}

/// Jobs by their ids; none where the token may not read them: no other way is left to ask.
fn by_id(read: Result<Page<Job>, GitLabError>) -> Result<BTreeMap<JobId, Job>, Arc<GitLabError>> {
    let items = match read {
        Ok(page) => page.items,
        Err(error) if error.is_not_found() || error.is_forbidden() => Vec::new(),
        Err(error) => return Err(Arc::new(error)),
    };
    Ok(items.into_iter().map(|job| (job.id, job)).collect())
}

fn settle<T: Clone>(known: &Known<T>, listed: Option<&Known<T>>) -> Known<T> {
    match (known, listed) {
        (Known::Value(_) | Known::Nothing, _) => known.clone(),
        (_, Some(Known::Value(listed))) => Known::Value(listed.clone()),
        _ => Known::Nothing,
    }
}

/// A pipeline that is known as it is now.
fn unmoved<'t>(target: &'t Target, head: &PipelineHead) -> Option<&'t Pipeline> {
    let feed = target.memory.feed.as_ref()?;
    let known = &feed.followed.get(&head.id)?.pipeline;
    let is_same = known.updated_at == head.updated_at && known.status == head.status;
    is_same.then_some(known)
}

/// The pipelines that are read whole: those that moved, and until when, if not all; at the first poll,
/// only those that have states to show: the newest of each ref, and the active ones. Of very many that
/// moved, those that did first; the next poll begins with the others.
fn wanted_heads(
    target: &Target,
    mut heads: Vec<PipelineHead>,
) -> (Vec<PipelineHead>, Option<UnixSeconds>) {
    if target.memory.feed.is_some() {
        let (mut wanted, mut moved): (Vec<_>, Vec<_>) = heads
            .into_iter()
            .partition(|head| unmoved(target, head).is_some());
        let is_whole = moved.len() <= MOVED_AT_ONCE;
        moved.sort_by_key(|head| (head.updated_at, head.id));
        moved.truncate(MOVED_AT_ONCE);
        let last = moved.last().map(|head| head.updated_at);
        wanted.extend(moved);
        return (wanted, last.filter(|_| !is_whole));
    }
    let mut refs = BTreeSet::new();
    heads.sort_by_key(|head| std::cmp::Reverse(head.id));
    let wanted = heads
        .into_iter()
        .filter(|head| {
            let child = &*head.source == PARENT_PIPELINE;
            let newest = refs.insert((child, head.git_ref.clone()));
            newest || head.status.is_active()
        })
        .collect();
    (wanted, None)
}

impl Started {
    /// What REST returns of a bridge; nothing until its downstream pipeline exists.
    pub(super) fn from_bridge(bridge: Bridge) -> Option<Self> {
        let target = bridge.downstream?;
        Some(Self {
            bridge: bridge.job.name,
            project: target.project_id,
            pipeline: target.pipeline.id,
            target: None,
        })
    }
}
