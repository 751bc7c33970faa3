//! What a project holds besides its refs and pipelines: commits of the default branch, languages, sizes,
//! releases, issues, value streams and vulnerabilities.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ledger::Event;
use super::living_code::somebody;
use super::model::{ProjectId, Tier};
use super::{Result, World, WorldError};
use crate::time::Millis;

/// Commits that GitLab looks at when it lists contributors.
const CONTRIBUTORS_LIMIT: usize = 2_000;
/// Commits of the default branch that a forced push throws away.
const REWRITTEN: usize = 3;
/// A commit of the default branch, now or once.
#[derive(Clone, Debug, Serialize)]
pub struct Commit {
    /// Its hash.
    pub sha: Arc<str>,
    /// The commit before it; `None` for the first.
    pub parent: Option<Arc<str>>,
    /// Whether it merges another branch.
    pub merge: bool,
    /// Name of the author.
    pub author_name: Arc<str>,
    /// E-mail address of the author.
    pub author_email: Arc<str>,
    /// When it was first written.
    pub authored_at: Millis,
    /// When it was committed; later when it was rewritten.
    pub committed_at: Millis,
    /// Lines added.
    pub additions: u64,
    /// Lines deleted.
    pub deletions: u64,
    /// What only some views show.
    #[serde(skip)]
    pub details: CommitDetails,
}

/// What Git keeps of a commit besides.
#[derive(Clone, Debug, Default)]
pub struct CommitDetails {
    /// Message; a made-up one where `None`.
    pub message: Option<Arc<str>>,
    /// Name and e-mail address of the committer; the author's where `None`.
    pub committer: Option<(Arc<str>, Arc<str>)>,
    /// The tips that it merges, where they are known.
    pub merged: Vec<Arc<str>>,
}

/// A commit to be made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommitSpec {
    /// Name of the author.
    pub author_name: Arc<str>,
    /// E-mail address of the author.
    pub author_email: Arc<str>,
    /// Lines added.
    #[serde(default)]
    pub additions: u64,
    /// Lines deleted.
    #[serde(default)]
    pub deletions: u64,
    /// Whether it merges another branch.
    #[serde(default)]
    pub merge: bool,
}

impl CommitSpec {
    /// A commit by somebody, with its lines.
    #[must_use]
    pub fn by(name: &str, email: &str, additions: u64, deletions: u64) -> Self {
        Self {
            author_name: name.into(),
            author_email: email.into(),
            additions,
            deletions,
            merge: false,
        }
    }
}

/// Commits of one e-mail address.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Contributor {
    /// Name in the newest commit.
    pub name: Arc<str>,
    /// E-mail address.
    pub email: Arc<str>,
    /// Commits, merge commits left out.
    pub commits: usize,
}

/// Sizes in bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sizes {
    /// Git repository.
    pub repository: u64,
    /// LFS objects.
    pub lfs_objects: u64,
    /// Job artifacts.
    pub job_artifacts: u64,
    /// Packages.
    pub packages: u64,
    /// Container registry; `None` where it is not measured.
    pub container_registry: Option<u64>,
    /// Wiki.
    pub wiki: u64,
}

/// Further sizes in bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct OtherSizes {
    /// Artifacts of pipelines.
    pub pipeline_artifacts: u64,
    /// Snippets.
    pub snippets: u64,
    /// Uploads.
    pub uploads: u64,
    /// All sizes together as GitLab last summed them; their sum where `None`.
    pub together: Option<u64>,
}

/// A release.
#[derive(Clone, Debug, Serialize)]
pub struct Release {
    /// Its tag.
    pub tag: Arc<str>,
    /// Made.
    pub created_at: Millis,
    /// Comes out; may be in the future.
    pub released_at: Millis,
    /// Name; the tag's where `None`.
    pub name: Option<Arc<str>>,
    /// User name of who made it; the exporter's bot where `None`.
    pub author: Option<Arc<str>>,
}

/// An issue, as far as value streams look at it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct FlowIssue {
    /// Made.
    pub created_at: Millis,
    /// First mentioned in a commit.
    pub mentioned_at: Option<Millis>,
    /// Closed.
    pub closed_at: Option<Millis>,
}

/// A stage of a value stream, with what GitLab would compute for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// Name.
    pub name: Arc<str>,
    /// Whether somebody defined it.
    pub custom: bool,
    /// Whether it is hidden.
    pub hidden: bool,
    /// Median in seconds; `None` while no item has left it.
    pub median: Option<f64>,
}

/// A value stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValueStream {
    /// Name.
    pub name: Arc<str>,
    /// Stages in order.
    pub stages: Vec<Stage>,
}

/// The names of the default stages, in order; there is no `production`.
pub const DEFAULT_STAGES: [&str; 6] = ["issue", "plan", "code", "test", "review", "staging"];

/// A vulnerability of the default branch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Vulnerability {
    /// `critical`, `high`, `medium`, `low`, `info` or `unknown`.
    pub severity: Arc<str>,
    /// `detected`, `confirmed`, `dismissed` or `resolved`.
    pub state: Arc<str>,
}

/// What a project holds.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Code {
    /// Every commit ever made, those that no branch leads to any more included.
    pub commits: BTreeMap<Arc<str>, Commit>,
    /// Newest commit of the default branch.
    pub tip: Option<Arc<str>>,
    /// Languages with their shares in percent.
    pub languages: Vec<(Arc<str>, f64)>,
    /// Sizes.
    pub sizes: Sizes,
    /// Sizes that hardly anybody asks for.
    pub other_sizes: OtherSizes,
    /// Commits as GitLab last counted them, where it is not up to date.
    pub commits_counted: Option<u64>,
    /// Users who starred it.
    pub stars: u32,
    /// Forks.
    pub forks: u32,
    /// Releases by tag.
    pub releases: BTreeMap<Arc<str>, Release>,
    /// Issues.
    pub issues: Vec<FlowIssue>,
    /// Medians of the default stages, in their order.
    pub default_stages: [Option<f64>; 6],
    /// Value streams that somebody made; only with a licence.
    pub value_streams: Vec<ValueStream>,
    /// Vulnerabilities.
    pub vulnerabilities: Vec<Vulnerability>,
}

impl Code {
    /// All sizes together.
    #[must_use]
    pub fn storage_size(&self) -> u64 {
        let sizes = &self.sizes;
        self.other_sizes.together.unwrap_or(
            sizes.repository
                + sizes.lfs_objects
                + sizes.job_artifacts
                + sizes.packages
                + sizes.wiki
                + sizes.container_registry.unwrap_or(0),
        )
    }

    /// Commits of the default branch, as GitLab last counted them.
    #[must_use]
    pub fn commit_count(&self) -> u64 {
        self.commits_counted
            .unwrap_or_else(|| self.history().count() as u64)
    }

    /// The commits of the default branch, newest first.
    pub fn history(&self) -> impl Iterator<Item = &Commit> {
        self.ancestors(self.tip.as_deref())
    }

    /// A commit and those before it, newest first.
    pub fn ancestors(&self, from: Option<&str>) -> impl Iterator<Item = &Commit> {
        let mut open: BinaryHeap<(Millis, Reverse<usize>, &str)> = BinaryHeap::new();
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        let mut found = Vec::new();
        let first = from.and_then(|sha| self.commits.get(sha));
        open.extend(first.map(|commit| (commit.committed_at, Reverse(0), &*commit.sha)));
        while let Some((_, _, sha)) = open.pop() {
            let Some(commit) = self.commits.get(sha).filter(|_| seen.insert(sha)) else {
                continue;
            };
            let parents = commit.parent.iter().chain(&commit.details.merged);
            let parents = parents.filter_map(|sha| self.commits.get(sha));
            let place = Reverse(found.len() + 1);
            open.extend(parents.map(|parent| (parent.committed_at, place, &*parent.sha)));
            found.push(commit);
        }
        found.into_iter()
    }

    /// Who committed to the default branch, by e-mail address, as GitLab counts: no merge commits,
    /// and only the newest commits.
    #[must_use]
    pub fn contributors(&self) -> Vec<Contributor> {
        self.contributors_up_to(self.tip.as_deref())
    }

    /// Who committed what a commit contains.
    #[must_use]
    pub fn contributors_up_to(&self, tip: Option<&str>) -> Vec<Contributor> {
        let mut found: Vec<Contributor> = Vec::new();
        let counted = self.ancestors(tip).filter(|commit| !commit.merge);
        for commit in counted.take(CONTRIBUTORS_LIMIT) {
            match found
                .iter_mut()
                .find(|one| one.email == commit.author_email)
            {
                Some(one) => one.commits += 1,
                None => found.push(Contributor {
                    name: commit.author_name.clone(),
                    email: commit.author_email.clone(),
                    commits: 1,
                }),
            }
        }
        found
    }

    /// The value streams a licence shows: without one the default stream, with one those made.
    #[must_use]
    pub fn streams(&self, tier: Tier) -> Vec<ValueStream> {
        if tier > Tier::Free {
            return self.value_streams.clone();
        }
        vec![ValueStream {
            name: "default".into(),
            stages: DEFAULT_STAGES
                .iter()
                .zip(self.default_stages)
                .map(|(&name, median)| Stage {
                    name: name.into(),
                    custom: false,
                    hidden: false,
                    median,
                })
                .collect(),
        }]
    }

    /// Median of a time between two moments of the issues closed in a range, in milliseconds.
    #[must_use]
    pub fn issue_median(
        &self,
        (from, to): (Millis, Millis),
        start: impl Fn(&FlowIssue) -> Option<Millis>,
    ) -> Option<f64> {
        let mut spans: Vec<Millis> = self
            .issues
            .iter()
            .filter_map(|issue| {
                let closed = issue.closed_at.filter(|at| (from..=to).contains(at))?;
                Some(closed - start(issue)?)
            })
            .collect();
        spans.sort_unstable();
        let middle = spans.len() / 2;
        let (low, high) = (
            spans.get(spans.len().checked_sub(1)? / 2)?,
            spans.get(middle)?,
        );
        Some((low + high) as f64 / 2.0)
    }
}

impl World {
    /// What a project holds.
    #[must_use]
    pub fn code(&self, project: ProjectId) -> Option<&Code> {
        self.code.get(&project)
    }

    /// What a project holds, to be changed; commits and releases have operations of their own.
    ///
    /// # Errors
    /// If there is no such project.
    pub fn code_mut(&mut self, project: ProjectId) -> Result<&mut Code> {
        self.code
            .get_mut(&project)
            .ok_or_else(|| WorldError::not_found("project", project))
    }

    /// Commits to the default branch. Makes no pipeline.
    ///
    /// # Errors
    /// If there is no such project, or its repository is empty.
    pub fn commit(&mut self, project: ProjectId, spec: &CommitSpec) -> Result<Arc<str>> {
        let branch = self
            .project_mut(project)?
            .default_branch
            .clone()
            .ok_or_else(|| WorldError::not_found("default branch of project", project))?;
        self.push_with(project, &branch, Some(spec))
    }

    /// The commit that merges a branch into another.
    pub(super) fn merge_commit(&self, project: ProjectId) -> CommitSpec {
        let number = self.code(project).map_or(0, |code| code.commits.len());
        CommitSpec {
            merge: true,
            ..somebody(self.config.seed, project, number)
        }
    }

    /// A push to a branch has come: what is pushed to the default branch is a commit there.
    pub(super) fn note_commit(
        &mut self,
        project: ProjectId,
        branch: &str,
        sha: &Arc<str>,
        spec: Option<&CommitSpec>,
    ) {
        let Some(found) = self.project(project) else {
            return;
        };
        if found.default_branch.as_deref() != Some(branch) {
            return;
        }
        let path = found.full_path.clone();
        let Some(code) = self.code.get_mut(&project) else {
            return;
        };
        let spec = spec
            .cloned()
            .unwrap_or_else(|| somebody(self.config.seed, project, code.commits.len()));
        let commit = Commit {
            sha: sha.clone(),
            parent: code.tip.clone(),
            merge: spec.merge,
            author_name: spec.author_name.clone(),
            author_email: spec.author_email.clone(),
            authored_at: self.now,
            committed_at: self.now,
            additions: spec.additions,
            deletions: spec.deletions,
            details: CommitDetails::default(),
        };
        code.commits.insert(sha.clone(), commit);
        code.tip = Some(sha.clone());
        self.ledger.write(self.now, || Event::Committed {
            project_id: project,
            project_path: path,
            branch: branch.into(),
            commit: spec,
        });
    }

    /// A forced push to a branch is about to come: on the default branch the newest commits go.
    pub(super) fn rewind(&mut self, project: ProjectId, branch: &str) {
        let is_default = self
            .project(project)
            .is_some_and(|project| project.default_branch.as_deref() == Some(branch));
        if let Some(code) = self.code.get_mut(&project).filter(|_| is_default) {
            let kept = code.history().nth(REWRITTEN).or(code.history().last());
            code.tip = kept.map(|commit| commit.sha.clone());
        }
    }

    /// The repository of a new project: its first commit.
    pub(super) fn begin_code(&mut self, project: ProjectId) {
        let main = self.project(project).and_then(|project| {
            let tip = project.branches.get(project.default_branch.as_ref()?)?;
            Some((tip.sha.clone(), tip.committed_at))
        });
        let mut code = Code::default();
        if let Some((sha, committed_at)) = main {
            let spec = somebody(self.config.seed, project, 0);
            code.tip = Some(sha.clone());
            code.commits.insert(
                sha.clone(),
                Commit {
                    sha,
                    parent: None,
                    merge: false,
                    author_name: spec.author_name,
                    author_email: spec.author_email,
                    authored_at: committed_at,
                    committed_at,
                    additions: spec.additions,
                    deletions: spec.deletions,
                    details: CommitDetails::default(),
                },
            );
        }
        self.code.insert(project, code);
    }

    /// Makes a release for a tag; `released_at` may be in the future.
    ///
    /// # Errors
    /// If there is no such project.
    pub fn create_release(
        &mut self,
        project: ProjectId,
        tag: &str,
        released_at: Millis,
    ) -> Result<()> {
        let created_at = self.now;
        let tag: Arc<str> = tag.into();
        self.code_mut(project)?.releases.insert(
            tag.clone(),
            Release {
                tag,
                created_at,
                released_at,
                name: None,
                author: None,
            },
        );
        self.record_activity(project);
        Ok(())
    }
}
