//! `variables`: what the newest pipeline of each ref was started with, as far as the settings name it.

use std::collections::BTreeMap;

use super::Measured;
use crate::catalogue::labels::VariableLabels;
use crate::catalogue::variables as metric;
use crate::config::Pattern;
use crate::facts::VariablesOf;
use crate::memory::Subject;
use crate::memory::pipelines::PipelinesMemory;
use crate::memory::refs::RefName;
use crate::memory::variables::VariablesMemory;
use crate::types::{PipelineId, Text};

/// Most characters of a value that a label shows.
const LONGEST_VALUE: usize = 256;

/// Takes in what was read, and returns all states as they are now.
#[must_use]
pub fn measure(
    subject: Subject<'_>,
    known: &PipelinesMemory,
    read: &[VariablesOf],
    regexp: &Pattern,
    memory: &mut VariablesMemory,
) -> Measured {
    if memory.regexp != regexp.as_str() {
        memory.newest.clear();
        memory.regexp = regexp.as_str().to_owned();
    }
    for (name, id, variables) in read {
        let shown = variables
            .iter()
            .filter(|variable| !variable.file && regexp.is_match(&variable.key))
            .map(|variable| (variable.key.clone(), shortened(&variable.value)));
        memory.newest.insert(name.clone(), (*id, shown.collect()));
    }
    let newest: BTreeMap<RefName, PipelineId> = known.newest_shown(subject).into_iter().collect();
    memory.newest.retain(|name, _| newest.contains_key(name));
    let mut measured = Measured::default();
    for (name, (id, variables)) in &memory.newest {
        // Another pipeline's are no longer true of the ref.
        if newest.get(name) != Some(id) {
            continue;
        }
        for (key, value) in variables {
            let labels = VariableLabels {
                key: key.clone(),
                kind: name.kind.as_str().into(),
                project: subject.project.clone(),
                git_ref: name.name.clone(),
                value: value.clone(),
            };
            measured.states.push(metric::INFO.set(labels, 1.0));
        }
    }
    measured
}

fn shortened(value: &Text) -> Text {
    match value.char_indices().nth(LONGEST_VALUE) {
        None => value.clone(),
        Some((end, _)) => format!("{}…", &value[..end]).into(),
    }
}
