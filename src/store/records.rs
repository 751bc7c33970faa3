//! What a store has as records, and how they are read: parts of projects, and rows.
//!
//! The same in every store, so that state can move from one to another. A reader is handed the records one
//! by one, those of projects first.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::Remembered;
use super::record::{Key, Record, unseal};
use super::stored::{self, Digest, Invalid, Part, Row};
use super::upgrade::{PartStep, Steps, version};
use crate::memory::ProjectMemory;
use crate::series::{RowKey, RowRecord};
use crate::types::{ProjectId, Text};

/// The part that is stored of every project, so that one with nothing else is remembered too.
pub(in crate::store) const ALWAYS: &str = "path";

/// Why a record cannot be read.
#[derive(Debug, thiserror::Error)]
pub(in crate::store) enum Error {
    /// A later version wrote it.
    #[error("{0}")]
    TooNew(String),
    /// It is invalid.
    #[error("{0}")]
    Damaged(String),
}

type Result<T> = std::result::Result<T, Error>;

/// The key of a part of a project.
pub(in crate::store) const fn of_memory(project: u64, part: &[u8]) -> Key<'_> {
    Key {
        table: "memories",
        project,
        rest: part,
    }
}

/// The key of a row.
pub(in crate::store) const fn of_row(project: u64, series: &[u8]) -> Key<'_> {
    Key {
        table: "rows",
        project,
        rest: series,
    }
}

/// A record that is not what was written.
pub(in crate::store) fn damaged(what: &str) -> Error {
    Error::Damaged(format!("the checksum of {what} is wrong"))
}

/// Content that cannot be read or written.
pub(in crate::store) fn invalid(what: &str, error: &Invalid) -> Error {
    Error::Damaged(format!("{what}: {error}"))
}

/// Content in postcard's format.
pub(in crate::store) fn encoded<T: serde::Serialize>(what: &str, value: &T) -> Result<Vec<u8>> {
    stored::encode(value).map_err(|error| invalid(what, &error))
}

/// The key of a row within its project.
pub(in crate::store) fn series(name: &str, labels: &[Text]) -> Result<Vec<u8>> {
    encoded("a row", &(name, labels))
}

/// Something that a later version wrote.
pub(in crate::store) fn newer(what: &str, found: u32, known: u32) -> Error {
    Error::TooNew(format!("{what} has version {found}, {known} is known"))
}

/// Everything that was committed.
#[derive(Debug, Default)]
pub(in crate::store) struct Loaded {
    pub(in crate::store) remembered: Remembered,
    pub(in crate::store) outdated: Outdated,
}

/// What an earlier version wrote, and what becomes of it.
#[derive(Debug, Default)]
pub(in crate::store) struct Outdated {
    /// Parts that are written again.
    pub(in crate::store) parts: Vec<(u64, &'static Part)>,
    /// Parts that are stored no more.
    pub(in crate::store) removed: Vec<(u64, Vec<u8>)>,
    /// Rows by their key; `None` when they cannot continue.
    pub(in crate::store) rows: Vec<(u64, Vec<u8>, Option<RowRecord>)>,
}

impl Outdated {
    /// How many records that are.
    pub(in crate::store) fn len(&self) -> usize {
        self.parts.len() + self.removed.len() + self.rows.len()
    }

    /// Metrics with rows that cannot continue, and how many.
    pub(in crate::store) fn dropped(&self) -> BTreeMap<String, usize> {
        let mut dropped = BTreeMap::new();
        for (_, key, row) in &self.rows {
            if row.is_none() {
                let name = stored::decode::<(String, Vec<Text>)>(key);
                let name = name.map(|(name, _)| name).unwrap_or_default();
                *dropped.entry(name).or_default() += 1;
            }
        }
        dropped
    }
}

/// Reads the records of a store.
pub(in crate::store) struct Reader<'a> {
    steps: &'a Steps,
    loaded: Loaded,
    memories: BTreeMap<ProjectId, ProjectMemory>,
    /// Of parts, and of rows.
    digests: (Digest, Digest),
}

impl<'a> Reader<'a> {
    pub(in crate::store) fn new(steps: &'a Steps) -> Self {
        Self {
            steps,
            loaded: Loaded::default(),
            memories: BTreeMap::new(),
            digests: Default::default(),
        }
    }

    /// Reads a part of a project.
    pub(in crate::store) fn part(&mut self, id: u64, name: &[u8], record: &[u8]) -> Result<()> {
        let what = format!("{} of project {id}", String::from_utf8_lossy(name));
        let record = unseal(of_memory(id, name), record).ok_or_else(|| damaged(&what))?;
        self.digests.0.add(record.checksum);
        let known = std::str::from_utf8(name).ok();
        let Some(part) = known.and_then(Part::by_name) else {
            if known.is_some_and(|name| self.steps.dropped.contains(&name)) {
                self.loaded.outdated.removed.push((id, name.to_vec()));
                return Ok(());
            }
            return Err(Error::TooNew(format!("{what} is not known")));
        };
        let steps = self.steps.of_part(part.name);
        let content = upgraded(&what, steps, record)?;
        if record.version != version(steps.len()) {
            self.loaded.outdated.parts.push((id, part));
        }
        let memory = self.memories.entry(ProjectId(id)).or_default();
        (part.decode)(&content, memory).map_err(|error| invalid(&what, &error))
    }

    /// Reads a row, after all parts.
    pub(in crate::store) fn row(&mut self, id: u64, series: &[u8], record: &[u8]) -> Result<()> {
        let what = "a row";
        let record = unseal(of_row(id, series), record).ok_or_else(|| damaged(what))?;
        self.digests.1.add(record.checksum);
        let decoded = |content: &[u8]| {
            let row = stored::decode::<Row>(content).map_err(|error| invalid(what, &error))?;
            Ok::<_, Error>(row.of(ProjectId(id)))
        };
        if record.version == version(self.steps.rows.len()) {
            self.loaded.remembered.rows.push(decoded(record.content)?);
            return Ok(());
        }
        let mut content = Some(Cow::Borrowed(record.content));
        let nothing = ProjectMemory::default();
        let memory = self.memories.get(&ProjectId(id)).unwrap_or(&nothing);
        for step in steps_from(what, self.steps.rows, record.version)? {
            let Some(before) = content else { break };
            let after = step(&before, memory).map_err(|error| invalid(what, &error))?;
            content = after.map(Cow::Owned);
        }
        let row = content.map(|content| decoded(&content)).transpose()?;
        self.loaded.outdated.rows.push((id, series.to_vec(), row));
        Ok(())
    }

    /// Everything, and what its digests are.
    pub(in crate::store) fn finish(self) -> (Loaded, Digest, Digest) {
        let Self {
            mut loaded,
            memories,
            digests,
            ..
        } = self;
        let memories = memories.into_iter();
        let Remembered { projects, rows, .. } = &mut loaded.remembered;
        *projects = memories
            .map(|(id, memory)| (id, Arc::new(memory)))
            .collect();
        if !loaded.outdated.rows.is_empty() {
            // A series that is there under its new name already keeps its total.
            let mut known: HashSet<RowKey> = rows.iter().map(RowRecord::key).collect();
            for (_, _, row) in &mut loaded.outdated.rows {
                *row = row.take().filter(|row| known.insert(row.key()));
                rows.extend(row.clone());
            }
        }
        (loaded, digests.0, digests.1)
    }
}

/// The steps that a record of this version still takes.
fn steps_from<'a, T>(what: &str, steps: &'a [T], found: u16) -> Result<&'a [T]> {
    let known = version(steps.len());
    if found > known {
        return Err(newer(what, found.into(), known.into()));
    }
    let done = usize::from(found).checked_sub(1);
    done.and_then(|done| steps.get(done..))
        .ok_or_else(|| Error::Damaged(format!("{what} has version {found}")))
}

/// The content of a part as this version has it.
fn upgraded<'a>(what: &str, steps: &[PartStep], record: Record<'a>) -> Result<Cow<'a, [u8]>> {
    let mut content = Cow::Borrowed(record.content);
    for step in steps_from(what, steps, record.version)? {
        content = Cow::Owned(step(&content).map_err(|error| invalid(what, &error))?);
    }
    Ok(content)
}
