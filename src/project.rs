//! Everything that is remembered of a tracked project between two looks.

use std::collections::BTreeMap;

use crate::clock::UnixSeconds;
use crate::collector::gone::{Gone, SourceBranches};
use crate::collector::parents::Parents;
use crate::collector::refs::{RefName, RefsSeen};
use crate::collector::{child_pipelines, jobs, pipelines, repository, test_reports, variables};
use crate::gitlab::model::Role;
use crate::source::change_feed::FeedState;
use crate::source::refs::RefsState;
use crate::types::Text;

/// What is remembered of a project: committed as a whole, with the rows it led to. What is stored of
/// it, and how, is in [`crate::store`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProjectMemory {
    /// The full path that its series bear; empty before anything was measured.
    pub path: Text,
    /// The token's role in it at the last look.
    pub role: Option<Role>,
    /// How far the change feed has read; none before the first look.
    pub feed: Option<FeedState>,
    /// When refs were last looked at, and why they are to be looked at again.
    pub refs: RefsState,
    /// Which refs exist.
    pub refs_seen: RefsSeen,
    /// Refs that are gone, and that other projects may name still.
    pub gone: Gone,
    /// Source branches that merge requests are counted under.
    pub source_branches: SourceBranches,
    /// Refs of other projects that started pipelines here.
    pub parents: Parents,
    /// Memory of the collector `pipelines`.
    pub pipelines: pipelines::Memory,
    /// Memory of the collector `jobs`.
    pub jobs: jobs::Memory,
    /// Memory of the collector `child_pipelines`.
    pub child_pipelines: child_pipelines::Memory,
    /// Memory of the collector `test_reports`.
    pub test_reports: test_reports::Memory,
    /// Memory of the collector `variables`.
    pub variables: variables::Memory,
    /// How far deployments have been read.
    pub environments_state: crate::source::environments::State,
    /// Memory of the collector `environments`.
    pub environments: crate::collector::environments::Memory,
    /// How far merge requests have been read.
    pub merge_requests_state: crate::source::merge_requests::State,
    /// Memory of the collector `merge_requests`.
    pub merge_requests: crate::collector::merge_requests::Memory,
    /// Reviewers who have series.
    pub code_review: crate::collector::names::Names,
    /// How far what DORA figures are reckoned from has been read.
    pub dora_state: crate::source::dora::State,
    /// Memory of the collector `dora`.
    pub dora: crate::collector::dora::Memory,
    /// Memory of the collector `repository`.
    pub repository: repository::Memory,
    /// What REST last told of the repository by calls of its own.
    pub repository_parts: repository::Parts,
    /// Memory of the collector `contributors`.
    pub contributors: crate::collector::contributors::Memory,
}

impl ProjectMemory {
    /// Whether something is remembered of a ref of this name.
    #[must_use]
    pub fn has_ref(&self, name: &Text) -> bool {
        let mut refs = self.pipelines.latest_refs().chain(self.jobs.latest_refs());
        refs.any(|(known, _)| known.name == *name)
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
