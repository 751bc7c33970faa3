//! Everything that is remembered of a tracked project between two looks.

use crate::collector::{child_pipelines, jobs, pipelines, refs::RefsSeen};
use crate::gitlab::model::Text;
use crate::source::change_feed::FeedState;
use crate::source::refs::RefsState;

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
    /// How far the change feed has read; none before the first look.
    feed: Option<FeedState>,
    /// When refs were last looked at, and why they are to be looked at again.
    refs: RefsState,
    /// Which refs exist.
    refs_seen: RefsSeen,
    /// Memory of the collector `pipelines`.
    pipelines: pipelines::Memory,
    /// Memory of the collector `jobs`.
    jobs: jobs::Memory,
    /// Memory of the collector `child_pipelines`.
    child_pipelines: child_pipelines::Memory,
}
