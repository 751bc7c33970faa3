//! What is remembered of a tracked project between two polls: one file for each part.

pub mod child_pipelines;
pub mod contributors;
pub mod dora;
pub mod environments;
pub mod feed;
pub mod gone;
pub mod history;
pub mod jobs;
pub mod merge_requests;
pub mod names;
pub mod parents;
pub mod pipelines;
pub mod ref_listing;
pub mod refs;
pub mod repository;
pub mod test_reports;
pub mod variables;

use std::collections::BTreeMap;

use crate::clock::UnixSeconds;
use crate::config::ProjectSettings;
use crate::gitlab::model::{Known, Role};
use crate::types::{ProjectId, Text, Tier};
use child_pipelines::ChildPipelinesMemory;
use contributors::ContributorsMemory;
use dora::{DoraMemory, DoraProgress};
use environments::{EnvironmentsMemory, EnvironmentsProgress};
use feed::FeedProgress;
use gone::{Gone, SourceBranches};
use jobs::JobsMemory;
use merge_requests::{MergeRequestsMemory, MergeRequestsProgress};
use names::Names;
use parents::Parents;
use pipelines::PipelinesMemory;
use ref_listing::RefsProgress;
use refs::{RefName, RefsSeen};
use repository::{RepositoryMemory, RepositoryParts};
use test_reports::TestReportsMemory;
use variables::VariablesMemory;

/// Declares what is remembered, part by part: a store keeps each by itself, under its name.
macro_rules! memory {
    ($($(#[$doc:meta])* $part:ident: $type:ty),* $(,)?) => {
        /// What is remembered of a project: committed as a whole, with the rows it led to.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct ProjectMemory {
            $($(#[$doc])* pub $part: $type),*
        }

        impl ProjectMemory {
            /// The parts by their names, in postcard's format.
            pub fn parts(
                &self,
            ) -> impl Iterator<Item = (&'static str, Result<Vec<u8>, postcard::Error>)> {
                [$((stringify!($part), postcard::to_stdvec(&self.$part))),*].into_iter()
            }

            /// Puts a part back. One that no name is known for is of a collector that is no more.
            ///
            /// # Errors
            /// When it is not what the part looks like.
            pub fn restore_part(&mut self, name: &str, bytes: &[u8]) -> Result<(), postcard::Error> {
                match name {
                    $(stringify!($part) => self.$part = postcard::from_bytes(bytes)?,)*
                    _ => {}
                }
                Ok(())
            }
        }
    };
}

memory! {
    /// The full path that its series bear; empty before anything was measured.
    path: Text,
    /// The token's role in it at the last look.
    role: Option<Role>,
    /// How far the change feed has read; none before the first look.
    feed: Option<FeedProgress>,
    /// When refs were last looked at, and why they are to be looked at again.
    refs: RefsProgress,
    /// Which refs exist.
    refs_seen: RefsSeen,
    /// Refs that are gone, and that other projects may name still.
    gone: Gone,
    /// Source branches that merge requests are counted under.
    source_branches: SourceBranches,
    /// Refs of other projects that started pipelines here.
    parents: Parents,
    /// Memory of the collector `pipelines`.
    pipelines: PipelinesMemory,
    /// Memory of the collector `jobs`.
    jobs: JobsMemory,
    /// Memory of the collector `child_pipelines`.
    child_pipelines: ChildPipelinesMemory,
    /// Memory of the collector `test_reports`.
    test_reports: TestReportsMemory,
    /// Memory of the collector `variables`.
    variables: VariablesMemory,
    /// How far deployments have been read.
    environments_state: EnvironmentsProgress,
    /// Memory of the collector `environments`.
    environments: EnvironmentsMemory,
    /// How far merge requests have been read.
    merge_requests_state: MergeRequestsProgress,
    /// Memory of the collector `merge_requests`.
    merge_requests: MergeRequestsMemory,
    /// Reviewers who have series.
    code_review: Names,
    /// How far what DORA figures are reckoned from has been read.
    dora_state: DoraProgress,
    /// Memory of the collector `dora`.
    dora: DoraMemory,
    /// Memory of the collector `repository`.
    repository: RepositoryMemory,
    /// What REST last told of the repository by calls of its own.
    repository_parts: RepositoryParts,
    /// Memory of the collector `contributors`.
    contributors: ContributorsMemory,
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
    /// The tier that its licence gives, as far as it could be told.
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
