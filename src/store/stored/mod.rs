//! What is stored, in types of its own: what the program and GitLab's API call things can change
//! without changing a file in use.
//!
//! A change of a stored type needs a new version and an upgrade step: [`super::upgrade`].

mod compat;
mod deployments;
mod keep;
mod merge_requests;
mod meta;
mod pipelines;
mod refs;
mod repository;
mod row;
#[cfg(test)]
mod shape;
mod withdrawn;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::memory::ProjectMemory;
use crate::types::Text;
pub(super) use compat::{StoredCompat, v1 as compat_v1};
pub(super) use deployments::StoredEnvironments;
#[cfg(test)]
use deployments::{StoredDeploymentEvent, StoredShipped, StoredTier};
use deployments::{StoredDora, StoredDoraState, StoredEnvironmentsState};
pub(crate) use keep::Keep;
use keep::Map;
#[cfg(test)]
use merge_requests::StoredPhase;
use merge_requests::{
    StoredContributors, StoredMergeRequests, StoredMergeRequestsState, StoredNames,
};
use pipelines::StoredJobName;
pub(super) use pipelines::{
    StoredChildPipelines, StoredJobs, StoredPipelines, StoredTestReports, test_reports_v1,
    v1 as pipelines_v1, v2 as pipelines_v2, v3 as pipelines_v3,
};
#[cfg(test)]
use pipelines::{StoredDepth, StoredKnownMergeRequest, StoredKnownUpstream};
use pipelines::{StoredFeed, StoredVariables};
#[cfg(test)]
use refs::StoredRefKind;
use refs::{StoredFirstReading, StoredParent, StoredRefsSeen, StoredRefsState, StoredStarted};
use repository::{StoredRepository, StoredRepositoryParts};
use withdrawn::StoredWithdrawn;

pub(super) use deployments::{environments_v1, environments_v2};
pub(super) use meta::{Digest, Meta};
#[cfg(test)]
pub(super) use row::Value;
pub(super) use row::{Row, v1, v2};

/// Content that is not what its version says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Invalid(String);

impl From<postcard::Error> for Invalid {
    fn from(error: postcard::Error) -> Self {
        Self(error.to_string())
    }
}

/// Content in postcard's format.
pub(super) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, Invalid> {
    Ok(postcard::to_stdvec(value)?)
}

/// Content from postcard's format; nothing may be left over.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Invalid> {
    match postcard::take_from_bytes(bytes)? {
        (value, []) => Ok(value),
        (_, rest) => Err(Invalid(format!("{} bytes too many", rest.len()))),
    }
}

/// A part of what is remembered of a project: stored by itself, when it changed.
#[derive(Debug)]
pub(super) struct Part {
    /// What it is called in a store.
    pub(super) name: &'static str,
    /// Whether two memories are the same in it.
    pub(super) is_same: fn(&ProjectMemory, &ProjectMemory) -> bool,
    /// Its content.
    pub(super) encode: fn(&ProjectMemory) -> Result<Vec<u8>, Invalid>,
    /// Puts it into a memory.
    pub(super) decode: fn(&[u8], &mut ProjectMemory) -> Result<(), Invalid>,
    /// The shape of its stored type.
    #[cfg(test)]
    shape: fn() -> String,
}

/// A part is called as its field, unless it was stored under another name first.
macro_rules! part_name {
    ($field:ident) => {
        stringify!($field)
    };
    ($field:ident $name:literal) => {
        $name
    };
}

macro_rules! parts {
    ($($field:ident $(= $name:literal)?: $stored:ty $([$($enum:ty),*])?),* $(,)?) => {
        /// Every part.
        pub(super) static PARTS: &[Part] = &[$(Part {
            name: part_name!($field $($name)?),
            is_same: |one, other| one.$field == other.$field,
            encode: |memory| encode::<$stored>(&memory.$field.to_stored()),
            decode: |bytes, memory| {
                memory.$field = Keep::from_stored(decode::<$stored>(bytes)?)?;
                Ok(())
            },
            #[cfg(test)]
            shape: || shape::of::<$stored>(&[$($(shape::variants::<$enum>),*)?]),
        }),*];

        // Whatever is remembered is a part: what is missing here does not compile.
        const _: fn(&ProjectMemory) = |memory| {
            let ProjectMemory { $($field: _),* } = memory;
        };
    };
}

parts! {
    path: Text,
    labels: Text,
    withdrawn: StoredWithdrawn,
    feed: Option<StoredFeed> [
        StoredRefKind, StoredDepth, StoredKnownMergeRequest, StoredKnownUpstream
    ],
    first_reading: StoredFirstReading,
    refs: StoredRefsState [StoredRefKind],
    refs_seen: StoredRefsSeen,
    removed_refs = "gone": Map<Text, i64>,
    source_branches: Map<Text, Map<u64, i64>>,
    parents: Map<StoredStarted, StoredParent>,
    pipelines: StoredPipelines [StoredRefKind],
    jobs: StoredJobs [StoredRefKind],
    job_names: Map<StoredJobName, i64>,
    child_pipelines: StoredChildPipelines [StoredRefKind],
    test_reports: StoredTestReports [StoredRefKind],
    variables: StoredVariables [StoredRefKind],
    environments_progress = "environments_state": StoredEnvironmentsState,
    environments: StoredEnvironments [StoredDeploymentEvent, StoredRefKind],
    merge_requests_progress = "merge_requests_state": StoredMergeRequestsState,
    merge_requests: StoredMergeRequests [StoredPhase],
    code_review: StoredNames,
    dora_progress = "dora_state": StoredDoraState,
    dora: StoredDora [StoredTier, StoredShipped],
    repository: StoredRepository,
    repository_parts: StoredRepositoryParts,
    contributors: StoredContributors,
    compat: StoredCompat,
}

/// What is stored of a value.
#[cfg(test)]
pub(crate) fn content<T: Keep>(value: &T) -> Vec<u8> {
    encode(&value.to_stored()).expect("it can be stored")
}

/// The value that was stored.
#[cfg(test)]
pub(crate) fn read<T: Keep>(content: &[u8]) -> T {
    T::from_stored(decode(content).expect("it was stored")).expect("it was stored")
}

impl Part {
    /// The part called so.
    pub(super) fn by_name(name: &str) -> Option<&'static Self> {
        PARTS.iter().find(|part| part.name == name)
    }

    /// Whether it is as in a project that nothing is remembered of.
    pub(super) fn is_empty(&self, memory: &ProjectMemory) -> bool {
        (self.is_same)(memory, &ProjectMemory::default())
    }
}
