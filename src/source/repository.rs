//! Sizes, languages, counts and releases of repositories: one GraphQL query for many projects, REST
//! where GraphQL does not answer.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;

use super::batches::{Batches, PerProject};
use super::{Context, Fetched, Source, SourceError, Target, Wants, fetched, side_by_side};
use crate::catalogue::Collector;
use crate::clock::UnixSeconds;
use crate::config::Repository;
use crate::facts::RepositoryRead;
use crate::facts::{Facts, Problem, Reading};
use crate::gitlab::graphql::CountedRefs;
use crate::gitlab::model::{Known, Project};
use crate::gitlab::model::{RefCounts, RepositoryInfo};
use crate::gitlab::{GitLab, GitLabError};
use crate::memory::ProjectMemory;
use crate::memory::repository::RepositoryMemory;
use crate::types::ProjectId;

/// Projects whose REST calls run concurrently.
const CALLS_AT_ONCE: usize = 4;
/// The release from which GraphQL counts branches and tags.
const COUNTS_REFS: (u32, u32) = (18, 6);
/// REST reads a project where nothing moved only this often.
const QUIET: Duration = Duration::from_secs(24 * 3600);
/// GitLab notes activity at most this often: what moved is read once more later.
const THROTTLE: Duration = Duration::from_secs(3600);

/// The source.
pub struct RepositorySource {
    gitlab: GitLab,
    /// `collectors.repository.include_topics`.
    topics: bool,
    repositories: Batches,
    counts: Batches,
}

impl RepositorySource {
    /// The source of a GitLab.
    #[must_use]
    pub fn new(settings: &Repository, gitlab: &GitLab) -> Self {
        Self {
            gitlab: gitlab.clone(),
            topics: settings.include_topics,
            repositories: Batches::new(&gitlab.breaker(), GitLab::REPOSITORIES),
            counts: Batches::new(&gitlab.breaker(), GitLab::REPOSITORIES),
        }
    }

    /// Branches and tags as GraphQL counts them, where this GitLab does.
    async fn counts(&self, targets: &[Target], now: UnixSeconds) -> BTreeMap<ProjectId, RefCounts> {
        let (major, minor) = COUNTS_REFS;
        let new = |target: &&Target| {
            let instance = target.instance.as_ref();
            instance.is_some_and(|instance| instance.at_least(major, minor))
        };
        let ids: Vec<ProjectId> = targets.iter().filter(new).map(Target::id).collect();
        let ask = async |ids: Vec<ProjectId>| self.gitlab.ref_counts(&ids).await;
        let read: PerProject<CountedRefs> = self.counts.ask(&ids, now, |(id, _)| *id, ask).await;
        // What this way does not return, REST does.
        let read = read.into_iter();
        read.filter_map(|(id, counts)| Some((id, counts.ok()?.1?)))
            .collect()
    }

    async fn complete(
        &self,
        target: &Target,
        info: Option<Result<RepositoryInfo, SourceError>>,
        counts: Option<RefCounts>,
    ) -> Result<RepositoryRead, SourceError> {
        let mut problems = Vec::new();
        let mut info = match info {
            Some(Ok(info)) => info,
            Some(Err(error)) if !error.rest_may_answer() => return Err(error),
            Some(Err(_)) | None => self.by_rest(target, &mut problems).await?,
        };
        // REST gives them unasked.
        if !self.topics {
            info.topics.clear();
        }
        // GraphQL hides them from fine-grained tokens, whatever these are granted.
        if info.statistics == Known::Hidden && self.gitlab.has_fine_grained_token() {
            let read = self.gitlab.repository(target.id()).await;
            let read = note(target, read, || None, &mut problems);
            info.statistics = read.map_or(Known::Hidden, |read| read.statistics);
        }
        if info.languages.is_none() && self.gitlab.lacks("Project", "languages") {
            let before = &target.memory.repository_parts.languages;
            info.languages = match has_moved(&target.memory.repository, info.last_activity_at) {
                true => {
                    let read = self.gitlab.languages(target.id()).await;
                    note(target, read, || before.clone(), &mut problems)
                }
                false => before.clone(),
            };
        }
        info.refs = match counts {
            Some(counts) => Some(counts),
            None if has_moved(&target.memory.repository, info.last_activity_at) => {
                let read = self.gitlab.counted_refs(target.id()).await;
                let before = || Some(target.memory.repository.refs);
                note(target, read, before, &mut problems).flatten()
            }
            None => target.memory.repository.refs,
        };
        Ok(RepositoryRead { info, problems })
    }

    async fn by_rest(
        &self,
        target: &Target,
        problems: &mut Vec<Problem>,
    ) -> Result<RepositoryInfo, SourceError> {
        let id = target.id();
        let mut info = self.gitlab.repository(id).await?;
        let before = &target.memory.repository_parts;
        let languages = self.gitlab.languages(id).await;
        info.languages = note(target, languages, || before.languages.clone(), problems);
        let releases = self.gitlab.releases(id).await;
        info.releases = note(target, releases, || before.releases, problems);
        Ok(info)
    }
}

/// What a call gave; nothing where the token may not ask or there is no repository, and what was
/// there before where it failed.
fn note<T>(
    target: &Target,
    read: Result<T, GitLabError>,
    before: impl FnOnce() -> Option<T>,
    problems: &mut Vec<Problem>,
) -> Option<T> {
    match read {
        Ok(value) => Some(value),
        Err(error) if error.is_not_found() || error.is_forbidden() => None,
        Err(error) => {
            let (path, who) = (&target.project.full_path, Collector::Repository);
            problems.push(Problem::call(path, who, &error));
            before()
        }
    }
}

/// Whether the project may have moved since it was last read.
fn has_moved(memory: &RepositoryMemory, activity: Option<UnixSeconds>) -> bool {
    let Some(read_at) = memory.read_at else {
        return true;
    };
    let recent = memory
        .activity
        .is_some_and(|at| read_at.since(at) < THROTTLE.saturating_mul(2));
    memory.refs.is_none() || activity != memory.activity || recent
}

impl RepositorySource {
    /// Reads some projects: one result for each.
    async fn read(
        &self,
        targets: &[Target],
        now: UnixSeconds,
    ) -> Vec<(ProjectId, Result<RepositoryRead, SourceError>)> {
        let ids: Vec<ProjectId> = targets.iter().map(Target::id).collect();
        let ask = async |ids: Vec<ProjectId>| self.gitlab.repositories(&ids, self.topics).await;
        let id_of = |info: &RepositoryInfo| info.id;
        let mut read = self.repositories.ask(&ids, now, id_of, ask).await;
        let counts = self.counts(targets, now).await;
        let reads = targets.iter().map(|target| {
            let id = target.id();
            let info = read.remove(&id);
            let counts = counts.get(&id).copied();
            async move { (id, self.complete(target, info, counts).await) }
        });
        side_by_side(CALLS_AT_ONCE, reads.collect()).await
    }
}

#[async_trait]
impl Source for RepositorySource {
    fn reading(&self) -> Reading {
        Reading::Repository
    }

    fn collectors(&self) -> &[Collector] {
        &[Collector::Repository]
    }

    fn batch(&self) -> usize {
        GitLab::REPOSITORIES
    }

    fn wants(&self, project: &Project, memory: &ProjectMemory, now: UnixSeconds) -> Wants {
        let memory = &memory.repository;
        let is_quiet = memory.read_at.is_some_and(|at| now.since(at) < QUIET);
        let is_wanted =
            self.gitlab.uses_graphql() || !is_quiet || has_moved(memory, project.last_activity_at);
        match is_wanted {
            true => Wants::Now,
            false => Wants::AfterInterval,
        }
    }

    async fn fetch(&self, targets: &[Target], context: &Context) -> Fetched {
        let read = self.read(targets, context.now).await;
        fetched(read, |read| Facts::Repository(Box::new(read)))
    }
}
