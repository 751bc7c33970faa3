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
    feed: Option<FeedState>,
    /// When refs were last looked at, and why they are to be looked at again.
    refs: RefsState,
    /// Which refs exist.
    refs_seen: RefsSeen,
    /// Refs that are gone, and that other projects may name still.
    gone: Gone,
    /// Source branches that merge requests are counted under.
    source_branches: SourceBranches,
    /// Refs of other projects that started pipelines here.
    parents: Parents,
    /// Memory of the collector `pipelines`.
    pipelines: pipelines::Memory,
    /// Memory of the collector `jobs`.
    jobs: jobs::Memory,
    /// Memory of the collector `child_pipelines`.
    child_pipelines: child_pipelines::Memory,
    /// Memory of the collector `test_reports`.
    test_reports: test_reports::Memory,
    /// Memory of the collector `variables`.
    variables: variables::Memory,
    /// How far deployments have been read.
    environments_state: crate::source::environments::State,
    /// Memory of the collector `environments`.
    environments: crate::collector::environments::Memory,
    /// How far merge requests have been read.
    merge_requests_state: crate::source::merge_requests::State,
    /// Memory of the collector `merge_requests`.
    merge_requests: crate::collector::merge_requests::Memory,
    /// Reviewers who have series.
    code_review: crate::collector::names::Names,
    /// How far what DORA figures are reckoned from has been read.
    dora_state: crate::source::dora::State,
    /// Memory of the collector `dora`.
    dora: crate::collector::dora::Memory,
    /// Memory of the collector `repository`.
    repository: repository::Memory,
    /// What REST last told of the repository by calls of its own.
    repository_parts: repository::Parts,
    /// Memory of the collector `contributors`.
    contributors: crate::collector::contributors::Memory,
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
