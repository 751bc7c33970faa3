//! A database file that is read, and never written: what would be written stays in memory.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};

/// Bytes that are kept together.
const PAGE: usize = 4096;

/// A file, with what was written "to it" in memory. Opening a database that was not closed in
/// order writes; one that then proves to be damaged has to stay as it was.
#[derive(Debug)]
pub(super) struct DryRun {
    file: FileBackend,
    written: Mutex<Written>,
}

#[derive(Debug)]
struct Written {
    /// The length of the file itself, as far as it still counts.
    of_file: u64,
    length: u64,
    pages: BTreeMap<u64, Box<[u8; PAGE]>>,
}

impl DryRun {
    /// A file of this length.
    pub(super) fn of(file: File, length: u64) -> Result<Self, redb::Error> {
        Ok(Self {
            file: FileBackend::new(file)?,
            written: Mutex::new(Written {
                of_file: length,
                length,
                pages: BTreeMap::new(),
            }),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A page as it is now.
    fn page(&self, written: &Written, number: u64) -> io::Result<Box<[u8; PAGE]>> {
        if let Some(page) = written.pages.get(&number) {
            return Ok(page.clone());
        }
        let mut page = Box::new([0; PAGE]);
        let start = number * PAGE as u64;
        let there = written.of_file.saturating_sub(start).min(PAGE as u64);
        let there = usize::try_from(there).unwrap_or(PAGE);
        if there > 0 {
            self.file.read(start, &mut page[..there])?;
        }
        Ok(page)
    }
}

/// The parts of the pages that a range of bytes touches: number, from, to.
fn parts(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let end = offset.saturating_add(length as u64);
    let mut at = offset;
    std::iter::from_fn(move || {
        let number = at / PAGE as u64;
        let from = usize::try_from(at % PAGE as u64).unwrap_or(0);
        let length = usize::try_from(end - at).unwrap_or(PAGE).min(PAGE - from);
        at += length as u64;
        (length > 0).then_some((number, from, from + length))
    })
}

impl StorageBackend for DryRun {
    fn len(&self) -> io::Result<u64> {
        Ok(self.lock().length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let written = self.lock();
        if offset.saturating_add(out.len() as u64) > written.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut rest = out;
        for (number, from, to) in parts(offset, rest.len()) {
            let (now, later) = rest.split_at_mut(to - from);
            now.copy_from_slice(&self.page(&written, number)?[from..to]);
            rest = later;
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut written = self.lock();
        if length < written.length {
            // What comes back later is empty.
            let last = length / PAGE as u64;
            let mut page = self.page(&written, last)?;
            page[usize::try_from(length % PAGE as u64).unwrap_or(0)..].fill(0);
            written.pages.retain(|number, _| *number < last);
            written.pages.insert(last, page);
            written.of_file = written.of_file.min(length);
        }
        written.length = length;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut written = self.lock();
        let mut rest = data;
        for (number, from, to) in parts(offset, data.len()) {
            let (now, later) = rest.split_at(to - from);
            let mut page = self.page(&written, number)?;
            page[from..to].copy_from_slice(now);
            written.pages.insert(number, page);
            rest = later;
        }
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write as _;

    #[derive(Clone, Debug)]
    enum Step {
        Write(u16, Vec<u8>),
        SetLength(u16),
    }

    fn step() -> impl Strategy<Value = Step> {
        let bytes = prop::collection::vec(any::<u8>(), 0..9000);
        prop_oneof![
            (0..20_000_u16, bytes).prop_map(|(at, bytes)| Step::Write(at, bytes)),
            (0..20_000_u16).prop_map(Step::SetLength),
        ]
    }

    proptest! {
        #[test]
        fn it_reads_as_a_file_would_and_leaves_the_file_alone(
            content in prop::collection::vec(any::<u8>(), 0..15_000),
            steps in prop::collection::vec(step(), 0..12),
        ) {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(&content).unwrap();
            let dry = DryRun::of(file.reopen().unwrap(), content.len() as u64).unwrap();
            let mut model = content.clone();
            for step in steps {
                match step {
                    Step::Write(at, bytes) => {
                        let end = usize::from(at) + bytes.len();
                        if end > model.len() {
                            model.resize(end, 0);
                            dry.set_len(end as u64).unwrap();
                        }
                        model[usize::from(at)..end].copy_from_slice(&bytes);
                        dry.write(at.into(), &bytes).unwrap();
                    }
                    Step::SetLength(length) => {
                        model.resize(length.into(), 0);
                        dry.set_len(length.into()).unwrap();
                    }
                }
            }
            prop_assert_eq!(dry.len().unwrap(), model.len() as u64);
            let mut seen = vec![0; model.len()];
            dry.read(0, &mut seen).unwrap();
            prop_assert!(seen == model);
            prop_assert!(dry.read(1, &mut vec![0; model.len()]).is_err());
            prop_assert_eq!(std::fs::read(file.path()).unwrap(), content);
        }
    }
}
