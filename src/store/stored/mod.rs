//! What is stored, in types of its own: nothing else decides what stands in a file.

mod meta;
mod row;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::project::ProjectMemory;

pub(super) use meta::{Digest, Meta};
pub(super) use row::Row;

/// Content that is not what its version says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Invalid(pub(super) String);

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
}

macro_rules! parts {
    ($($name:ident),* $(,)?) => {
        /// Every part.
        pub(super) static PARTS: &[Part] = &[$(Part {
            name: stringify!($name),
            is_same: |one, other| one.$name == other.$name,
            encode: |memory| encode(&memory.$name),
            decode: |bytes, memory| {
                memory.$name = decode(bytes)?;
                Ok(())
            },
        }),*];
    };
}

parts! {
    path, role, feed, refs, refs_seen, gone, source_branches, parents, pipelines, jobs,
    child_pipelines, test_reports, variables, environments_state, environments,
    merge_requests_state, merge_requests, code_review, dora_state, dora, repository,
    repository_parts, contributors,
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
