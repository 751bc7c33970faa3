//! Commits to default branches, by REST: GraphQL has no lines of commits.
//!
//! Where a project had activity since it was last read, the tip of its branch is asked for, of many projects
//! in a query of GraphQL; where that moved, it costs a call for each hundred commits that are new.

use std::time::Duration;

use async_trait::async_trait;

use super::batches::{Batches, PerProject};
use super::{Context, Fetched, Right, Source, SourceError, Target, Wants, fetched, side_by_side};
use crate::catalogue::Collector;
use crate::clock::UnixSeconds;
use crate::config::Labels;
use crate::facts::contributors::{Branch, Commits, ContributorsRead};
use crate::facts::{Facts, Problem, Reading, Unavailable};
use crate::gitlab::graphql::ProjectTip;
use crate::gitlab::model::{Commit, Known, Page, Project};
use crate::gitlab::{Cause, GitLab, GitLabError};
use crate::memory::ProjectMemory;
use crate::memory::contributors::{Begun, ContributorsMemory};
use crate::people::People;
use crate::types::{ProjectId, Text};

/// Projects in one run.
const BATCH: usize = GitLab::TIP_PROJECTS;
/// Projects whose calls run concurrently.
const CALLS_AT_ONCE: usize = 4;
/// GitLab notes activity at most this often: what moved is read once more later.
const THROTTLE: Duration = Duration::from_secs(3600);
/// How often a project is read though nothing was noted: mirrors move without activity.
const QUIET: Duration = Duration::from_secs(24 * 3600);

/// The source.
pub struct ContributorsSource {
    gitlab: GitLab,
    people: People,
    tips: Batches,
}

impl ContributorsSource {
    /// The source of a GitLab.
    #[must_use]
    pub fn new(labels: &Labels, gitlab: &GitLab) -> Self {
        Self {
            gitlab: gitlab.clone(),
            people: People::new(labels),
            tips: Batches::new(&gitlab.breaker(), GitLab::TIP_PROJECTS),
        }
    }

    /// Reads a project; with the tip of its default branch where that is known.
    async fn project(
        &self,
        target: &Target,
        tip: Option<Text>,
        now: UnixSeconds,
    ) -> Result<ContributorsRead, SourceError> {
        let mut problems = Vec::new();
        // By its name: after another one became the default, this is still the one remembered.
        let begun = target.memory.contributors.begun.as_ref();
        let begun = begun.map(|begun| &begun.branch);
        let begun = begun.filter(|name| !name.is_empty());
        let name = target.project.default_branch.as_ref();
        let tip = match name {
            Known::Value(_) if tip.is_some() => tip,
            // Without the code GitLab shows no default branch, though there may be one.
            Known::Nothing if target.permissions.code == Known::Value(true) => None,
            _ => self.tip(target, name.value().or(begun)).await?,
        };
        let read_at = self.gitlab.server_time().unwrap_or(now);
        let branch = match tip {
            Some(tip) => {
                let name = name.value().or(begun).cloned().unwrap_or_default();
                self.branch(target, name, tip, &mut problems).await?
            }
            None => Branch::Empty,
        };
        Ok(ContributorsRead {
            read: Commits {
                branch,
                activity: target.project.last_activity_at,
                read_at,
            },
            problems,
        })
    }

    /// The newest commit of a branch; `None` in a repository without a commit.
    async fn tip(&self, target: &Target, name: Option<&Text>) -> Result<Option<Text>, SourceError> {
        let newest = self
            .gitlab
            .newest_commit(target.id(), name.map(|name| &**name));
        match newest.await {
            Ok(commit) => Ok(commit.map(|commit| commit.sha)),
            // A removed project is found by other sources.
            Err(error) if error.is_object_not_found() => Ok(None),
            // Where the repository is gone, GitLab fails at its commits.
            Err(error) if matches!(error.cause, Cause::Server(..)) => {
                match self.gitlab.has_repository(target.id()).await {
                    Ok(false) => Err(Unavailable::SwitchedOff("the repository").into()),
                    Ok(true) | Err(_) => Err(error.into()),
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn branch(
        &self,
        target: &Target,
        name: Text,
        tip: Text,
        problems: &mut Vec<Problem>,
    ) -> Result<Branch, SourceError> {
        match &target.memory.contributors.begun {
            Some(begun) if begun.branch != name => Ok(Branch::Begins { name, tip }),
            Some(begun) if begun.tip == tip => Ok(Branch::Unmoved),
            Some(begun) if begun.base == tip => Ok(Branch::SetBack { tip }),
            Some(begun) => self.moved(target, begun, tip, problems).await,
            None => Ok(Branch::Begins { name, tip }),
        }
    }

    /// What leads to `tip` and was not counted.
    async fn moved(
        &self,
        target: &Target,
        begun: &Begun,
        tip: Text,
        problems: &mut Vec<Problem>,
    ) -> Result<Branch, SourceError> {
        let new = self
            .gitlab
            .commits_between(target.id(), &begun.base, &tip)
            .await;
        let error = match new {
            Ok(page) if !page.items.is_empty() => {
                let commits = whole(target, page, problems);
                return Ok(Branch::Moved { tip, commits });
            }
            Ok(_) => None,
            Err(error) => Some(error).filter(|error| !error.is_object_not_found()),
        };
        // GitLab answers so, too, when the last counted commit does not exist any more: some time after
        // a forced push.
        let may_be_removed = |error: &GitLabError| matches!(error.cause, Cause::Server(..));
        let has_base = match &error {
            Some(error) if !may_be_removed(error) => true,
            _ => self.gitlab.has_commit(target.id(), &begun.base).await?,
        };
        match error {
            _ if !has_base => Ok(Branch::Begins {
                name: begun.branch.clone(),
                tip,
            }),
            Some(error) => Err(error.into()),
            None => Ok(Branch::SetBack { tip }),
        }
    }
}

/// The commits of a page; missing ones are reported.
fn whole(target: &Target, page: Page<Commit>, problems: &mut Vec<Problem>) -> Vec<Commit> {
    let (path, collector) = (&target.project.full_path, Collector::Contributors);
    let skipped = page.skipped.into_iter();
    problems.extend(skipped.map(|why| Problem::skipped(path, collector, why)));
    if page.next.is_some() {
        let read = page.items.len();
        problems.push(Problem {
            project: path.clone(),
            activity: collector.into(),
            kind: "too_large",
            sentence: format!(
                "more than {read} commits came to the default branch since the last poll; the \
                 oldest of them are not counted"
            ),
            is_failure: false,
        });
    }
    page.items
}

/// Whether the default branch may have moved since it was last read.
fn may_have_moved(project: &Project, memory: &ContributorsMemory, now: UnixSeconds) -> bool {
    let (Some(read_at), Some(activity)) = (memory.read_at, project.last_activity_at) else {
        return true;
    };
    let branch = project.default_branch.as_ref().value();
    let begun = memory.begun.as_ref().map(|begun| &begun.branch);
    let begun = begun.filter(|name| !name.is_empty());
    let recent = read_at.since(activity) < THROTTLE.saturating_mul(2);
    branch != begun || memory.activity != Some(activity) || recent || now.since(read_at) >= QUIET
}

impl ContributorsSource {
    /// Reads some projects: one result for each.
    async fn read(
        &self,
        targets: &[Target],
        now: UnixSeconds,
    ) -> Vec<(ProjectId, Result<ContributorsRead, SourceError>)> {
        let named = targets
            .iter()
            .filter(|target| target.project.default_branch.as_ref().value().is_some());
        let ids: Vec<ProjectId> = named.map(Target::id).collect();
        let ask = async |ids: Vec<ProjectId>| self.gitlab.branch_tips(&ids).await;
        let id_of = |found: &ProjectTip| found.id;
        let mut tips: PerProject<ProjectTip> = self.tips.ask(&ids, now, id_of, ask).await;
        let reads = targets.iter().map(|target| {
            let tip = tips.remove(&target.id()).and_then(Result::ok);
            let tip = tip.and_then(|tip| tip.sha);
            async move { (target.id(), self.project(target, tip, now).await) }
        });
        side_by_side(CALLS_AT_ONCE, reads.collect()).await
    }
}

#[async_trait]
impl Source for ContributorsSource {
    fn reading(&self) -> Reading {
        Reading::Contributors
    }

    fn collectors(&self) -> &[Collector] {
        &[Collector::Contributors]
    }

    fn batch(&self) -> usize {
        BATCH
    }

    fn unavailable(&self, target: &Target) -> Option<Unavailable> {
        target.forbids(Right::Code)
    }

    fn wants(&self, project: &Project, memory: &ProjectMemory, now: UnixSeconds) -> Wants {
        let memory = &memory.contributors;
        let is_renamed = *memory.names.naming() != self.people.author_naming();
        match is_renamed || may_have_moved(project, memory, now) {
            true => Wants::Now,
            false => Wants::AfterInterval,
        }
    }

    async fn fetch(&self, targets: &[Target], context: &Context) -> Fetched {
        let read = self.read(targets, context.now).await;
        fetched(read, Facts::Contributors)
    }
}
