//! What is in the file, and in which format.
//!
//! - `meta`: under `format` the format's version, under `state` whose the file is, the latest time
//!   of a commit, and a digest of the two other tables;
//! - `memories`: what is remembered of each project, by project and part, so that only parts that
//!   changed are written;
//! - `rows`: counters and histograms that have counted, by project, name and label values.
//!
//! Each value is a record ([`crate::store::record`]): a checksum that covers its key, the version of its
//! content, and that in postcard's format. Later formats keep the record `format` as it is, so that
//! any version can recognize a file's format.

mod write;

use std::collections::HashMap;
use std::sync::Arc;

use redb::{
    Database, ReadTransaction, ReadableDatabase, ReadableTable, Table, TableDefinition, TableError,
    TableHandle,
};

use super::super::record::{Key, Record, seal, unseal};
use super::super::records::{
    self, ALWAYS, Loaded, Reader, damaged, encoded, invalid, newer, of_memory, of_row, series,
};
use super::super::stored::{self, Meta};
use super::super::upgrade::{STEPS, Steps};
use super::quiet::caught;
use crate::clock::UnixSeconds;
use crate::memory::ProjectMemory;
use crate::types::ProjectId;

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

impl From<records::Error> for Error {
    fn from(error: records::Error) -> Self {
        match error {
            records::Error::TooNew(why) => Self::TooNew(why),
            records::Error::Damaged(why) => Self::Damaged(why),
        }
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

const fn of_meta(key: &'static str) -> Key<'static> {
    Key {
        table: "meta",
        project: 0,
        rest: key.as_bytes(),
    }
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
            Ok(stored::decode(content).map_err(|error| invalid(&what, &error))?)
        }
        version if version > known => Err(newer(&what, version.into(), known.into()).into()),
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
        return Err(newer("its format", format, VERSION).into());
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
    let mut reader = Reader::new(steps);
    for entry in transaction.open_table(MEMORIES)?.iter()? {
        let (key, value) = entry?;
        let (id, name) = key.value();
        reader.part(id, name, value.value())?;
    }
    for entry in transaction.open_table(ROWS)?.iter()? {
        let (key, value) = entry?;
        let (id, series) = key.value();
        reader.row(id, series, value.value())?;
    }
    let (mut loaded, memories, rows) = reader.finish();
    if memories != meta.memories {
        return Err(Error::Damaged("parts of projects are missing".to_owned()));
    }
    if rows != meta.rows {
        return Err(Error::Damaged("rows are missing".to_owned()));
    }
    loaded.remembered.committed_at = UnixSeconds(meta.told);
    Ok(loaded)
}

#[cfg(test)]
mod tests;
