//! What is in the file, and in which format.
//!
//! - `meta`: under `format` the format's version, under `state` whose the file is, the latest time
//!   of a commit, and a digest of the two other tables;
//! - `memories`: what is remembered of each project, by project and part, so that only parts that
//!   changed are written;
//! - `rows`: counters and histograms that have counted, by project, name and label values.
//!
//! Each value is a record ([`super::record`]): a checksum that covers its key, the version of its
//! content, and that in postcard's format. Later formats keep the record `format` as it is, so that
//! any version can recognize a file's format.

mod write;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use redb::{
    Database, ReadTransaction, ReadableDatabase, ReadableTable, Table, TableDefinition, TableError,
    TableHandle,
};

use super::super::Remembered;
use super::super::stored::{self, Digest, Invalid, Meta, Part, Row};
use super::super::upgrade::{PartStep, STEPS, Steps, version};
use super::quiet::caught;
use super::record::{Key, Record, seal, unseal};
use crate::clock::UnixSeconds;
use crate::memory::ProjectMemory;
use crate::series::{RowKey, RowRecord};
use crate::types::{ProjectId, Text};

pub(super) use write::{rewrite, write};

/// Records about a project.
type OfProjects = TableDefinition<'static, (u64, &'static [u8]), &'static [u8]>;

const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
const MEMORIES: OfProjects = TableDefinition::new("memories");
const ROWS: OfProjects = TableDefinition::new("rows");

/// In `meta`: the format's version.
const FORMAT: &str = "format";
/// In `meta`: the rest.
const STATE: &str = "state";

/// The version of the format that this program writes.
const VERSION: u32 = 1;
/// The version of the record that says so: it never changes.
const FORMAT_RECORD: u16 = 1;
/// The version of [`Meta`].
const META_RECORD: u16 = 1;

/// The part that is stored of every project, so that one with nothing else is remembered too.
const ALWAYS: &str = "path";

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The database, or the disk.
    #[error(transparent)]
    Database(Box<redb::Error>),
    /// A later version wrote it.
    #[error("{0}")]
    TooNew(String),
    /// It holds the state of another GitLab.
    #[error("it holds the state of {0}")]
    OtherInstance(String),
    /// Something in it is invalid.
    #[error("{0}")]
    Damaged(String),
}

impl<E: Into<redb::Error>> From<E> for Error {
    fn from(error: E) -> Self {
        Self::Database(Box::new(error.into()))
    }
}

type Result<T> = std::result::Result<T, Error>;

/// Works on a database; a page that is damaged can make it panic.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    caught(work).unwrap_or_else(|panic| Err(Error::Damaged(panic)))
}

/// Whose state a file is to hold.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    /// The address of the GitLab.
    pub(super) gitlab: String,
    /// Whether the state of another address is taken for that of this one.
    pub(super) accept: bool,
}

/// A file that can be used.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) instance_id: String,
    /// The other address whose state it held.
    pub(super) accepted: Option<String>,
}

/// Memories that are in the file unchanged.
pub(super) type Committed = HashMap<ProjectId, Arc<ProjectMemory>>;

/// Bytes of records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bytes {
    /// Encoded, to be compared with what is in the file.
    pub encoded: u64,
    /// Handed to the database, because they differ.
    pub written: u64,
}

/// Everything that was committed.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) remembered: Remembered,
    pub(super) outdated: Outdated,
}

/// What an earlier version wrote, and what becomes of it.
#[derive(Debug, Default)]
pub(super) struct Outdated {
    /// Parts that are written again.
    parts: Vec<(u64, &'static Part)>,
    /// Parts that are stored no more.
    removed: Vec<(u64, Vec<u8>)>,
    /// Rows by their key; `None` when they cannot continue.
    rows: Vec<(u64, Vec<u8>, Option<RowRecord>)>,
}

impl Outdated {
    /// How many records that are.
    pub(super) fn len(&self) -> usize {
        self.parts.len() + self.removed.len() + self.rows.len()
    }

    /// Metrics with rows that cannot continue, and how many.
    pub(super) fn dropped(&self) -> BTreeMap<String, usize> {
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

const fn of_meta(key: &'static str) -> Key<'static> {
    Key {
        table: "meta",
        project: 0,
        rest: key.as_bytes(),
    }
}

const fn of_memory(project: u64, part: &[u8]) -> Key<'_> {
    Key {
        table: "memories",
        project,
        rest: part,
    }
}

const fn of_row(project: u64, series: &[u8]) -> Key<'_> {
    Key {
        table: "rows",
        project,
        rest: series,
    }
}

fn damaged(what: &str) -> Error {
    Error::Damaged(format!("the checksum of {what} is wrong"))
}

fn invalid(what: &str, error: &Invalid) -> Error {
    Error::Damaged(format!("{what}: {error}"))
}

fn encoded<T: serde::Serialize>(what: &str, value: &T) -> Result<Vec<u8>> {
    stored::encode(value).map_err(|error| invalid(what, &error))
}

/// The key of a row within its project.
fn series(name: &str, labels: &[Text]) -> Result<Vec<u8>> {
    encoded("a row", &(name, labels))
}

fn newer(what: &str, found: u32, known: u32) -> Error {
    Error::TooNew(format!("{what} has version {found}, {known} is known"))
}

/// The content of a record of `meta`.
fn meta_record<T: serde::de::DeserializeOwned>(
    table: &impl ReadableTable<&'static str, &'static [u8]>,
    key: &'static str,
    known: u16,
) -> Result<T> {
    let what = format!("the record {key:?}");
    let Some(record) = table.get(key)? else {
        return Err(Error::Damaged(format!("{what} is missing")));
    };
    let Record {
        version, content, ..
    } = unseal(of_meta(key), record.value()).ok_or_else(|| damaged(&what))?;
    match version {
        version if version == known => {
            stored::decode(content).map_err(|error| invalid(&what, &error))
        }
        version if version > known => Err(newer(&what, version.into(), known.into())),
        _ => Err(Error::Damaged(format!("{what} has version {version}"))),
    }
}

fn put_meta<T: serde::Serialize>(
    table: &mut Table<'_, &'static str, &'static [u8]>,
    key: &'static str,
    version: u16,
    value: &T,
) -> Result<()> {
    let record = seal(of_meta(key), version, &encoded(key, value)?);
    table.insert(key, record.as_slice())?;
    Ok(())
}

/// What the file says of itself; `None` for one that is new.
fn meta(transaction: &ReadTransaction) -> Result<Option<Meta>> {
    let table = match transaction.open_table(META) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => {
            return match transaction.list_tables()?.next() {
                Some(table) => Err(Error::Damaged(format!("it has a table {}", table.name()))),
                None => Ok(None),
            };
        }
        Err(error) => return Err(error.into()),
    };
    let format: u32 = meta_record(&table, FORMAT, FORMAT_RECORD)?;
    if format > VERSION {
        return Err(newer("its format", format, VERSION));
    }
    Ok(Some(meta_record(&table, STATE, META_RECORD)?))
}

/// Makes a database a state file of this GitLab, or finds that it is one.
pub(super) fn begin(database: &Database, identity: &Identity) -> Result<Begun> {
    let known = meta(&database.begin_read()?)?;
    let accepted = match &known {
        Some(meta) if meta.gitlab == identity.gitlab => {
            return Ok(Begun {
                instance_id: meta.instance.clone(),
                accepted: None,
            });
        }
        Some(meta) if !identity.accept => return Err(Error::OtherInstance(meta.gitlab.clone())),
        Some(meta) => Some(meta.gitlab.clone()),
        None => None,
    };
    let meta = Meta {
        gitlab: identity.gitlab.clone(),
        ..known.unwrap_or_else(|| Meta {
            instance: uuid::Uuid::new_v4().to_string(),
            ..Meta::default()
        })
    };
    let transaction = database.begin_write()?;
    transaction.open_table(MEMORIES)?;
    transaction.open_table(ROWS)?;
    let mut table = transaction.open_table(META)?;
    put_meta(&mut table, FORMAT, FORMAT_RECORD, &VERSION)?;
    put_meta(&mut table, STATE, META_RECORD, &meta)?;
    drop(table);
    transaction.commit()?;
    Ok(Begun {
        instance_id: meta.instance,
        accepted,
    })
}

/// Bytes that what is in it takes.
pub(super) fn used(database: &Database) -> Result<u64> {
    let transaction = database.begin_write()?;
    let stats = transaction.stats()?;
    Ok(stats.stored_bytes() + stats.metadata_bytes() + stats.fragmented_bytes())
}

/// Everything that was committed, each record checked.
pub(super) fn read(database: &Database) -> Result<Loaded> {
    read_by(database, &STEPS)
}

fn read_by(database: &Database, steps: &Steps) -> Result<Loaded> {
    let transaction = database.begin_read()?;
    let Some(meta) = meta(&transaction)? else {
        return Ok(Loaded::default());
    };
    let mut loaded = Loaded::default();
    loaded.remembered.committed_at = UnixSeconds(meta.told);
    let memories = read_memories(&transaction, steps, &mut loaded)?;
    if memories != meta.memories {
        return Err(Error::Damaged("parts of projects are missing".to_owned()));
    }
    let rows = read_rows(&transaction, steps, &mut loaded)?;
    if rows != meta.rows {
        return Err(Error::Damaged("rows are missing".to_owned()));
    }
    Ok(loaded)
}

fn read_memories(
    transaction: &ReadTransaction,
    steps: &Steps,
    loaded: &mut Loaded,
) -> Result<Digest> {
    let mut digest = Digest::default();
    let mut memories: BTreeMap<ProjectId, ProjectMemory> = BTreeMap::new();
    for entry in transaction.open_table(MEMORIES)?.iter()? {
        let (key, value) = entry?;
        let (id, name) = key.value();
        let what = format!("{} of project {id}", String::from_utf8_lossy(name));
        let record = unseal(of_memory(id, name), value.value()).ok_or_else(|| damaged(&what))?;
        digest.add(record.checksum);
        let known = std::str::from_utf8(name).ok();
        let Some(part) = known.and_then(Part::by_name) else {
            if known.is_some_and(|name| steps.dropped.contains(&name)) {
                loaded.outdated.removed.push((id, name.to_vec()));
                continue;
            }
            return Err(Error::TooNew(format!("{what} is not known")));
        };
        let steps = steps.of_part(part.name);
        let content = upgraded(&what, steps, record)?;
        if record.version != version(steps.len()) {
            loaded.outdated.parts.push((id, part));
        }
        let memory = memories.entry(ProjectId(id)).or_default();
        (part.decode)(&content, memory).map_err(|error| invalid(&what, &error))?;
    }
    let memories = memories.into_iter();
    loaded.remembered.projects = memories
        .map(|(id, memory)| (id, Arc::new(memory)))
        .collect();
    Ok(digest)
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

fn read_rows(transaction: &ReadTransaction, steps: &Steps, loaded: &mut Loaded) -> Result<Digest> {
    let mut digest = Digest::default();
    let mut upgraded = Vec::new();
    let Remembered { projects, rows, .. } = &mut loaded.remembered;
    let memories = projects.iter().map(|(id, memory)| (id.0, &**memory));
    let memories: BTreeMap<u64, &ProjectMemory> = memories.collect();
    let nothing = ProjectMemory::default();
    for entry in transaction.open_table(ROWS)?.iter()? {
        let (key, value) = entry?;
        let (id, series) = key.value();
        let what = "a row";
        let record = unseal(of_row(id, series), value.value()).ok_or_else(|| damaged(what))?;
        digest.add(record.checksum);
        let decoded = |content: &[u8]| {
            let row = stored::decode::<Row>(content).map_err(|error| invalid(what, &error))?;
            Ok::<_, Error>(row.of(ProjectId(id)))
        };
        if record.version == version(steps.rows.len()) {
            rows.push(decoded(record.content)?);
            continue;
        }
        let mut content = Some(Cow::Borrowed(record.content));
        let memory = memories.get(&id).copied().unwrap_or(&nothing);
        for step in steps_from(what, steps.rows, record.version)? {
            let Some(before) = content else { break };
            let after = step(&before, memory).map_err(|error| invalid(what, &error))?;
            content = after.map(Cow::Owned);
        }
        let row = content.map(|content| decoded(&content)).transpose()?;
        upgraded.push((id, series.to_vec(), row));
    }
    if !upgraded.is_empty() {
        // A series that is there under its new name already keeps its total.
        let mut known: HashSet<RowKey> = rows.iter().map(RowRecord::key).collect();
        for (_, _, row) in &mut upgraded {
            *row = row.take().filter(|row| known.insert(row.key()));
            rows.extend(row.clone());
        }
        loaded.outdated.rows = upgraded;
    }
    Ok(digest)
}

#[cfg(test)]
mod tests;
