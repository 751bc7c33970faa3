//! What is in the file, and in which format.
//!
//! - `meta`: the format's version, the instance id, and the latest time that a commit told;
//! - `memories`: of each project, what each part of the exporter remembers, part by part, so that
//!   only parts that changed are written and a new part needs no new format;
//! - `rows`: counters and histograms that have counted, by name and label values.
//!
//! Keys and values are in postcard's format.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use redb::{
    Database, ReadableDatabase, ReadableTable, Table, TableDefinition, TableError, WriteTransaction,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::super::{Commit, Remembered};
use crate::clock::UnixSeconds;
use crate::memory::ProjectMemory;
use crate::series::RowRecord;
use crate::types::{ProjectId, Text};

const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
const MEMORIES: TableDefinition<(u64, &str), &[u8]> = TableDefinition::new("memories");
const ROWS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("rows");

/// In `meta`: the format's version.
const FORMAT: &str = "format";
/// In `meta`: the instance id.
const INSTANCE: &str = "instance";
/// In `meta`: the latest time that a commit told.
const TOLD: &str = "told";

/// Brings a file from one version of the format to the next.
type Step = fn(&WriteTransaction) -> Result<()>;

/// The steps from version 1 on, the first being to 2. Anything that changes what stands in the
/// file adds one: the test beside this says when.
const STEPS: &[Step] = &[];

/// The version of the format that this program writes.
pub(super) const VERSION: u32 = STEPS.len() as u32 + 1;

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The database, or the disk.
    #[error(transparent)]
    Database(Box<redb::Error>),
    /// A later version wrote it.
    #[error("its format is {0}")]
    TooNew(u32),
    /// Something in it makes no sense.
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
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(Error::Damaged(
            text.unwrap_or("it cannot be read").to_owned(),
        ))
    })
}

fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    postcard::to_stdvec(value).map_err(|error| Error::Damaged(error.to_string()))
}

fn decode<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T> {
    postcard::from_bytes(bytes).map_err(|error| Error::Damaged(format!("{what}: {error}")))
}

/// Writes a value unless it stands there already.
fn put<K: redb::Key + 'static>(
    table: &mut Table<'_, K, &'static [u8]>,
    key: K::SelfType<'_>,
    bytes: &[u8],
) -> Result<()> {
    let same = table.get(&key)?.is_some_and(|known| known.value() == bytes);
    if !same {
        table.insert(&key, bytes)?;
    }
    Ok(())
}

/// The key of a row.
fn row_key(name: &str, labels: impl Iterator<Item = Text>) -> Result<Vec<u8>> {
    encode(&(name, labels.collect::<Vec<Text>>()))
}

/// Brings a database up to date: one that is empty too.
pub(super) fn upgrade(database: &Database) -> Result<()> {
    upgrade_by(database, STEPS)
}

fn upgrade_by(database: &Database, steps: &[Step]) -> Result<()> {
    let latest = steps.len() as u32 + 1;
    let found = match database.begin_read()?.open_table(META) {
        Ok(meta) => match meta.get(FORMAT)? {
            Some(version) => decode(FORMAT, version.value())?,
            None => return Err(Error::Damaged("it does not say its format".to_owned())),
        },
        Err(TableError::TableDoesNotExist(_)) => 0,
        Err(error) => return Err(error.into()),
    };
    if found == latest {
        return Ok(());
    }
    if found > latest {
        return Err(Error::TooNew(found));
    }
    let transaction = database.begin_write()?;
    if found == 0 {
        transaction.open_table(MEMORIES)?;
        transaction.open_table(ROWS)?;
    } else {
        for step in &steps[found as usize - 1..] {
            step(&transaction)?;
        }
    }
    transaction
        .open_table(META)?
        .insert(FORMAT, encode(&latest)?.as_slice())?;
    transaction.commit()?;
    Ok(())
}

/// The instance id, which is made at the first time.
pub(super) fn instance_id(database: &Database) -> Result<String> {
    let transaction = database.begin_write()?;
    let mut meta = transaction.open_table(META)?;
    let known = match meta.get(INSTANCE)? {
        Some(known) => Some(decode(INSTANCE, known.value())?),
        None => None,
    };
    if let Some(known) = known {
        return Ok(known);
    }
    let id = uuid::Uuid::new_v4().to_string();
    meta.insert(INSTANCE, encode(&id)?.as_slice())?;
    drop(meta);
    transaction.commit()?;
    Ok(id)
}

/// Bytes that what is in it takes.
pub(super) fn used(database: &Database) -> Result<u64> {
    let transaction = database.begin_write()?;
    let stats = transaction.stats()?;
    Ok(stats.stored_bytes() + stats.metadata_bytes() + stats.fragmented_bytes())
}

/// Everything that was committed.
pub(super) fn read(database: &Database) -> Result<Remembered> {
    let transaction = database.begin_read()?;
    let mut remembered = Remembered::default();
    if let Some(told) = transaction.open_table(META)?.get(TOLD)? {
        remembered.told = decode(TOLD, told.value())?;
    }
    let mut memories: BTreeMap<ProjectId, ProjectMemory> = BTreeMap::new();
    for entry in transaction.open_table(MEMORIES)?.iter()? {
        let (key, value) = entry?;
        let (id, part) = key.value();
        let memory = memories.entry(ProjectId(id)).or_default();
        memory
            .restore_part(part, value.value())
            .map_err(|error| Error::Damaged(format!("{part} of project {id}: {error}")))?;
    }
    let memories = memories.into_iter();
    remembered.projects = memories
        .map(|(id, memory)| (id, Arc::new(memory)))
        .collect();
    for entry in transaction.open_table(ROWS)?.iter()? {
        let (_, value) = entry?;
        remembered
            .rows
            .push(decode::<RowRecord>("a row", value.value())?);
    }
    Ok(remembered)
}

/// Keeps a commit, whole.
pub(super) fn write(database: &Database, commit: &Commit) -> Result<()> {
    let transaction = database.begin_write()?;
    let mut memories = transaction.open_table(MEMORIES)?;
    for (id, memory) in &commit.projects {
        match memory {
            Some(memory) => {
                for (part, bytes) in memory.parts() {
                    let bytes = bytes.map_err(|error| Error::Damaged(error.to_string()))?;
                    put(&mut memories, (id.0, part), &bytes)?;
                }
            }
            None => memories.retain_in((id.0, "")..(id.0 + 1, ""), |_, _| false)?,
        }
    }
    drop(memories);
    let mut rows = transaction.open_table(ROWS)?;
    for row in &commit.rows {
        let key = row_key(&row.name, row.labels.iter().map(|(_, value)| value.clone()))?;
        put(&mut rows, key.as_slice(), &encode(row)?)?;
    }
    for key in &commit.removed {
        let key = row_key(key.desc.name, key.labels.iter().cloned())?;
        rows.remove(key.as_slice())?;
    }
    drop(rows);
    tell(&transaction, commit.told)?;
    transaction.commit()?;
    Ok(())
}

/// Notes a time, if it is the latest.
fn tell(transaction: &WriteTransaction, told: UnixSeconds) -> Result<()> {
    let mut meta = transaction.open_table(META)?;
    let known = match meta.get(TOLD)? {
        Some(known) => decode(TOLD, known.value())?,
        None => UnixSeconds::default(),
    };
    if told > known {
        meta.insert(TOLD, encode(&told)?.as_slice())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database() -> Database {
        let memory = redb::backends::InMemoryBackend::new();
        Database::builder().create_with_backend(memory).unwrap()
    }

    fn version(database: &Database) -> u32 {
        let meta = database.begin_read().unwrap().open_table(META).unwrap();
        decode(FORMAT, meta.get(FORMAT).unwrap().unwrap().value()).unwrap()
    }

    #[test]
    fn an_older_format_is_brought_up_to_date_step_by_step_and_a_later_one_refused() {
        let database = database();
        upgrade_by(&database, &[]).unwrap();
        assert_eq!(version(&database), 1);
        let second: Step = |transaction| {
            let mut rows = transaction.open_table(ROWS)?;
            rows.insert(b"row".as_slice(), b"2".as_slice())?;
            Ok(())
        };
        let third: Step = |transaction| {
            let mut rows = transaction.open_table(ROWS)?;
            let before = rows.get(b"row".as_slice())?.map(|row| row.value().to_vec());
            let after = [before.unwrap_or_default(), b"3".to_vec()].concat();
            rows.insert(b"row".as_slice(), after.as_slice())?;
            Ok(())
        };
        upgrade_by(&database, &[second, third]).unwrap();
        assert_eq!(version(&database), 3);
        let rows = database.begin_read().unwrap().open_table(ROWS).unwrap();
        let row = rows.get(b"row".as_slice()).unwrap().unwrap();
        assert_eq!(row.value(), b"23");
        let refused = upgrade_by(&database, &[second]);
        assert!(matches!(refused, Err(Error::TooNew(3))), "{refused:?}");
    }
}
