//! What is remembered of a tracked project between two polls: one file for each part.

pub mod child_pipelines;
pub mod compat;
pub mod contributors;
pub mod dora;
pub mod environments;
pub mod feed;
pub mod first_reading;
pub mod history;
pub mod job_names;
pub mod jobs;
pub mod merge_requests;
pub mod names;
pub mod parents;
pub mod pipelines;
pub mod ref_listing;
pub mod refs;
pub mod removed_refs;
pub mod repository;
pub mod test_reports;
pub mod variables;
pub mod withdrawn;

use std::collections::BTreeMap;

use crate::clock::UnixSeconds;
use crate::config::ProjectSettings;
use crate::gitlab::model::Known;
use crate::types::{ProjectId, Text, Tier};
use child_pipelines::ChildPipelinesMemory;
use compat::CompatMemory;
use contributors::ContributorsMemory;
use dora::{DoraMemory, DoraProgress};
use environments::{EnvironmentsMemory, EnvironmentsProgress};
use feed::FeedProgress;
use first_reading::FirstReading;
use job_names::JobNames;
use jobs::JobsMemory;
use merge_requests::{MergeRequestsMemory, MergeRequestsProgress};
use names::Names;
use parents::Parents;
use pipelines::PipelinesMemory;
use ref_listing::RefsProgress;
use refs::{RefName, RefsSeen};
use removed_refs::{RemovedRefs, SourceBranches};
use repository::{RepositoryMemory, RepositoryParts};
use test_reports::TestReportsMemory;
use variables::VariablesMemory;
use withdrawn::Withdrawn;

/// What is remembered of a project: committed as a whole, with the rows it led to. What is stored of
/// it, and how, is in [`crate::store`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProjectMemory {
    /// The full path that its series carry; empty before anything was measured.
    pub path: Text,
    /// The rules by which the labels of its series were rewritten; empty without any.
    pub labels: Text,
    /// What GitLab stopped showing of it.
    pub withdrawn: Withdrawn,
    /// How far the change feed has read; none before the first poll.
    pub feed: Option<FeedProgress>,
    /// What the first reading of its pipelines left to others.
    pub first_reading: FirstReading,
    /// When refs were last polled, and why they are to be polled again.
    pub refs: RefsProgress,
    /// Which refs exist.
    pub refs_seen: RefsSeen,
    /// Removed refs that other projects may still name.
    pub removed_refs: RemovedRefs,
    /// Source branches that merge requests are counted under.
    pub source_branches: SourceBranches,
    /// Refs of other projects that started pipelines here.
    pub parents: Parents,
    /// Memory of the collector `pipelines`.
    pub pipelines: PipelinesMemory,
    /// Memory of the collector `jobs`.
    pub jobs: JobsMemory,
    /// Names of jobs that have series.
    pub job_names: JobNames,
    /// Memory of the collector `child_pipelines`.
    pub child_pipelines: ChildPipelinesMemory,
    /// Memory of the collector `test_reports`.
    pub test_reports: TestReportsMemory,
    /// Memory of the collector `variables`.
    pub variables: VariablesMemory,
    /// How far deployments have been read.
    pub environments_progress: EnvironmentsProgress,
    /// Memory of the collector `environments`.
    pub environments: EnvironmentsMemory,
    /// How far merge requests have been read.
    pub merge_requests_progress: MergeRequestsProgress,
    /// Memory of the collector `merge_requests`.
    pub merge_requests: MergeRequestsMemory,
    /// Reviewers who have series.
    pub code_review: Names,
    /// How far the input of DORA figures has been read.
    pub dora_progress: DoraProgress,
    /// Memory of the collector `dora`.
    pub dora: DoraMemory,
    /// Memory of the collector `repository`.
    pub repository: RepositoryMemory,
    /// What REST last returned of the repository by calls of its own.
    pub repository_parts: RepositoryParts,
    /// Memory of the collector `contributors`.
    pub contributors: ContributorsMemory,
    /// What the metrics of gitlab-ci-pipelines-exporter need besides.
    pub compat: CompatMemory,
}

impl ProjectMemory {
    /// Up to when its pipelines have been read.
    #[must_use]
    pub fn read_to(&self) -> UnixSeconds {
        let feed = self.feed.as_ref();
        let read_to = feed.map(|feed| feed.polled_at.max(feed.watermark));
        read_to.unwrap_or_default()
    }

    /// Whether something is remembered of a ref of this name.
    #[must_use]
    pub fn has_ref(&self, name: &Text) -> bool {
        let mut refs = self.pipelines.latest_refs().chain(self.jobs.latest_refs());
        refs.any(|(known, _)| known.name == *name)
    }

    /// Whether something is remembered of a ref.
    #[must_use]
    pub fn knows(&self, name: &RefName) -> bool {
        self.pipelines.newest.knows(name) || self.jobs.newest.knows(name)
    }

    /// The refs that something is remembered of, and when the newest pipeline of each was created.
    #[must_use]
    pub fn latest_refs(&self) -> BTreeMap<RefName, UnixSeconds> {
        let mut latest = BTreeMap::new();
        for (name, newest) in self.pipelines.latest_refs().chain(self.jobs.latest_refs()) {
            let known: &mut UnixSeconds = latest.entry(name.clone()).or_default();
            *known = newest.max(*known);
        }
        latest
    }
}

/// What every collector of a project measures with.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The project.
    pub id: ProjectId,
    /// Its full path.
    pub project: &'a Text,
    /// The full paths that tracked projects have now.
    pub paths: &'a BTreeMap<ProjectId, Text>,
    /// The project's settings.
    pub settings: &'a ProjectSettings,
    /// Newest pipelines remembered per ref.
    pub max_pipelines_per_ref: usize,
    /// Which refs exist, as far as known.
    pub refs: &'a RefsSeen,
    /// The tier that its licence gives, as far as known.
    pub tier: Known<Tier>,
    /// The time of measuring.
    pub now: UnixSeconds,
}

impl Subject<'_> {
    /// The path that a project has now, if it is tracked; else the one that was read.
    #[must_use]
    pub fn path_of(&self, project: ProjectId, read: &Text) -> Text {
        if project == self.id {
            return self.project.clone();
        }
        self.paths.get(&project).unwrap_or(read).clone()
    }
}
