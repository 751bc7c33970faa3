//! What is remembered of the variables of pipelines, and which are still to be read.

use std::collections::BTreeMap;

use super::Subject;
use super::pipelines::PipelinesMemory;
use super::refs::RefName;
use crate::config::Pattern;
use crate::types::{PipelineId, Text};

/// What is remembered: keys and values that the settings name, by ref.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VariablesMemory {
    /// The keys that it was filtered by.
    pub(crate) regexp: String,
    pub(crate) newest: BTreeMap<RefName, (PipelineId, BTreeMap<Text, Text>)>,
}

/// The pipelines whose variables are to be read: they never change.
#[must_use]
pub fn wanted(
    subject: Subject<'_>,
    known: &PipelinesMemory,
    memory: &VariablesMemory,
    regexp: &Pattern,
) -> Vec<(RefName, PipelineId)> {
    let mut newest = known.newest_shown(subject);
    newest.retain(|(name, id)| {
        let read = memory.newest.get(name).map(|(read, _)| read);
        read != Some(id) || memory.regexp != regexp.as_str()
    });
    newest
}
