//! A record in a store: a checksum, the version of what is in it, and that.
//!
//! The checksum covers the key too, so that a record that is found under another key than it was
//! written under is found out like one whose own bytes changed.

use twox_hash::XxHash3_64;

/// Bytes of the checksum.
const CHECKSUM: usize = size_of::<u64>();
/// Bytes before the content.
const HEAD: usize = CHECKSUM + size_of::<u16>();

/// A record whose checksum is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Record<'a> {
    /// The version of its content's type.
    pub(in crate::store) version: u16,
    /// Its checksum.
    pub(in crate::store) checksum: u64,
    /// Its content.
    pub(in crate::store) content: &'a [u8],
}

/// The key of a record: table, project (0 where it belongs to none), and the rest of the key.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Key<'a> {
    pub(in crate::store) table: &'static str,
    pub(in crate::store) project: u64,
    pub(in crate::store) rest: &'a [u8],
}

impl Key<'_> {
    /// A number for it, which starts the checksum.
    fn seed(self) -> u64 {
        let table = XxHash3_64::oneshot_with_seed(self.project, self.table.as_bytes());
        XxHash3_64::oneshot_with_seed(table, self.rest)
    }
}

/// Makes a record.
pub(in crate::store) fn seal(key: Key<'_>, version: u16, content: &[u8]) -> Vec<u8> {
    let mut record = Vec::with_capacity(HEAD + content.len());
    record.extend_from_slice(&[0; CHECKSUM]);
    record.extend_from_slice(&version.to_le_bytes());
    record.extend_from_slice(content);
    let checksum = XxHash3_64::oneshot_with_seed(key.seed(), &record[CHECKSUM..]);
    record[..CHECKSUM].copy_from_slice(&checksum.to_le_bytes());
    record
}

/// Reads a record; `None` when it is not what was written under this key.
pub(in crate::store) fn unseal<'a>(key: Key<'_>, record: &'a [u8]) -> Option<Record<'a>> {
    let (checksum, rest) = record.split_first_chunk()?;
    let (version, content) = rest.split_first_chunk()?;
    let checksum = u64::from_le_bytes(*checksum);
    let found = XxHash3_64::oneshot_with_seed(key.seed(), rest);
    (found == checksum).then_some(Record {
        version: u16::from_le_bytes(*version),
        checksum,
        content,
    })
}

/// The checksum that a record says it has.
pub(in crate::store) fn checksum(record: &[u8]) -> u64 {
    let checksum = record.split_first_chunk();
    checksum.map_or(0, |(checksum, _)| u64::from_le_bytes(*checksum))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key<'static> = Key {
        table: "rows",
        project: 7,
        rest: b"key",
    };

    #[test]
    fn a_record_reads_as_it_was_written() {
        let record = seal(KEY, 3, b"content");
        let read = unseal(KEY, &record).unwrap();
        assert_eq!((read.version, read.content), (3, &b"content"[..]));
        assert_eq!(read.checksum, checksum(&record));
        assert_eq!(unseal(KEY, &seal(KEY, 1, b"")).unwrap().content, b"");
        assert_eq!(unseal(KEY, b"short"), None);
    }

    #[test]
    fn each_flipped_bit_of_record_and_key_is_found() {
        let record = seal(KEY, 3, b"content");
        for bit in 0..record.len() * 8 {
            let mut flipped = record.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(unseal(KEY, &flipped), None, "bit {bit}");
        }
        let mut others = vec![Key {
            table: "memories",
            ..KEY
        }];
        others.extend((0..64).map(|bit| Key {
            project: KEY.project ^ 1 << bit,
            ..KEY
        }));
        let rests: Vec<Vec<u8>> = (0..24)
            .map(|bit| {
                let mut rest = KEY.rest.to_vec();
                rest[bit / 8] ^= 1 << (bit % 8);
                rest
            })
            .collect();
        others.extend(rests.iter().map(|rest| Key { rest, ..KEY }));
        for other in others {
            assert_eq!(unseal(other, &record), None, "{other:?}");
        }
    }
}
