//! What is written: commits, and what an earlier version wrote as this one does.

use std::collections::BTreeMap;
use std::sync::Arc;

use redb::{Database, ReadableTable, Table, WriteTransaction};

use super::super::super::Commit;
use super::super::super::record::{self, Key, seal};
use super::super::super::stored::{Digest, Meta, PARTS, Part, Row};
use super::super::super::upgrade::{STEPS, Steps, version};
use super::{
    ALWAYS, Bytes, Committed, Loaded, MEMORIES, META, META_RECORD, ROWS, Result, STATE, encoded,
    invalid, meta_record, of_memory, of_row, put_meta, series,
};
use crate::memory::ProjectMemory;
use crate::series::{RowKey, RowRecord};

/// A table of records that is being changed, and its digest.
pub(super) struct Changing<'a> {
    table: Table<'a, (u64, &'static [u8]), &'static [u8]>,
    digest: &'a mut Digest,
    bytes: &'a mut Bytes,
    key: fn(u64, &[u8]) -> Key<'_>,
    /// What the versions of records follow from.
    steps: &'a Steps,
}

impl<'a> Changing<'a> {
    pub(super) fn memories(
        transaction: &'a WriteTransaction,
        meta: &'a mut Meta,
        bytes: &'a mut Bytes,
    ) -> Result<Self> {
        Ok(Self {
            table: transaction.open_table(MEMORIES)?,
            digest: &mut meta.memories,
            bytes,
            key: of_memory,
            steps: &STEPS,
        })
    }

    pub(super) fn rows(
        transaction: &'a WriteTransaction,
        meta: &'a mut Meta,
        bytes: &'a mut Bytes,
    ) -> Result<Self> {
        Ok(Self {
            table: transaction.open_table(ROWS)?,
            digest: &mut meta.rows,
            bytes,
            key: of_row,
            steps: &STEPS,
        })
    }

    /// Writes a record unless it is there already.
    pub(super) fn put(
        &mut self,
        project: u64,
        key: &[u8],
        version: u16,
        content: &[u8],
    ) -> Result<()> {
        let record = seal((self.key)(project, key), version, content);
        self.bytes.encoded += record.len() as u64;
        if let Some(known) = self.table.get((project, key))? {
            if known.value() == record {
                return Ok(());
            }
            self.digest.remove(record::checksum(known.value()));
        }
        self.table.insert((project, key), record.as_slice())?;
        self.digest.add(record::checksum(&record));
        self.bytes.written += record.len() as u64;
        Ok(())
    }

    pub(super) fn remove(&mut self, project: u64, key: &[u8]) -> Result<()> {
        if let Some(known) = self.table.remove((project, key))? {
            self.digest.remove(record::checksum(known.value()));
        }
        Ok(())
    }

    /// Removes all records of a project.
    pub(super) fn remove_project(&mut self, id: u64) -> Result<()> {
        let (table, digest) = (&mut self.table, &mut *self.digest);
        let all = (id, &[][..])..(id.saturating_add(1), &[][..]);
        table.retain_in(all, |_, record| {
            digest.remove(record::checksum(record));
            false
        })?;
        Ok(())
    }

    pub(super) fn put_part(&mut self, id: u64, part: &Part, memory: &ProjectMemory) -> Result<()> {
        let name = part.name.as_bytes();
        if part.name != ALWAYS && part.is_empty(memory) {
            return self.remove(id, name);
        }
        let content = (part.encode)(memory).map_err(|error| invalid(part.name, &error))?;
        let version = version(self.steps.of_part(part.name).len());
        self.put(id, name, version, &content)
    }

    pub(super) fn put_row(&mut self, row: &RowRecord) -> Result<()> {
        let RowKey {
            project,
            name,
            labels,
        } = row.key();
        let content = encoded("a row", &Row::from(row))?;
        let version = version(self.steps.rows.len());
        self.put(project.0, &series(&name, &labels)?, version, &content)
    }
}

/// Does something in a transaction that keeps the digests.
pub(super) fn change<T>(
    database: &Database,
    work: impl FnOnce(&WriteTransaction, &mut Meta, &mut Bytes) -> Result<T>,
) -> Result<(T, Bytes)> {
    let transaction = database.begin_write()?;
    let mut table = transaction.open_table(META)?;
    let before: Meta = meta_record(&table, STATE, META_RECORD)?;
    let mut meta = before.clone();
    let mut bytes = Bytes::default();
    let done = work(&transaction, &mut meta, &mut bytes)?;
    if meta != before {
        put_meta(&mut table, STATE, META_RECORD, &meta)?;
    }
    drop(table);
    transaction.commit()?;
    Ok((done, bytes))
}

/// Stores a whole commit. Of a memory in `committed` only parts that changed are compared.
pub(in crate::store::file) fn write(
    database: &Database,
    commit: &Commit,
    committed: &Committed,
) -> Result<Bytes> {
    let ((), bytes) = change(database, |transaction, meta, bytes| {
        meta.told = commit.committed_at.0.max(meta.told);
        let mut memories = Changing::memories(transaction, meta, bytes)?;
        for (id, memory) in &commit.projects {
            let Some(memory) = memory else {
                memories.remove_project(id.0)?;
                continue;
            };
            let before = committed.get(id);
            if before.is_some_and(|before| Arc::ptr_eq(before, memory)) {
                continue;
            }
            for part in PARTS {
                if !before.is_some_and(|before| (part.is_same)(before, memory)) {
                    memories.put_part(id.0, part, memory)?;
                }
            }
        }
        drop(memories);
        let mut rows = Changing::rows(transaction, meta, bytes)?;
        for row in &commit.rows {
            rows.put_row(row)?;
        }
        for key in &commit.removed {
            rows.remove(key.project.0, &series(&key.name, &key.labels)?)?;
        }
        Ok(())
    })?;
    Ok(bytes)
}

/// Writes what an earlier version wrote as this one does.
pub(in crate::store::file) fn rewrite(database: &Database, loaded: &Loaded) -> Result<()> {
    rewrite_by(database, loaded, &STEPS)
}

pub(super) fn rewrite_by(database: &Database, loaded: &Loaded, steps: &Steps) -> Result<()> {
    let Loaded {
        remembered,
        outdated,
    } = loaded;
    if outdated.len() == 0 {
        return Ok(());
    }
    let known: BTreeMap<u64, &ProjectMemory> = remembered
        .projects
        .iter()
        .map(|(id, memory)| (id.0, &**memory))
        .collect();
    change(database, |transaction, meta, bytes| {
        let mut memories = Changing::memories(transaction, meta, bytes)?;
        memories.steps = steps;
        for (id, part) in &outdated.parts {
            if let Some(memory) = known.get(id) {
                memories.put_part(*id, part, memory)?;
            }
        }
        for (id, name) in &outdated.removed {
            memories.remove(*id, name)?;
        }
        drop(memories);
        let mut rows = Changing::rows(transaction, meta, bytes)?;
        rows.steps = steps;
        for (id, key, _) in &outdated.rows {
            rows.remove(*id, key)?;
        }
        for (_, _, row) in &outdated.rows {
            if let Some(row) = row {
                rows.put_row(row)?;
            }
        }
        Ok(())
    })?;
    Ok(())
}
