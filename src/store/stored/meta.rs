//! What a file says of itself.

use serde::{Deserialize, Serialize};

/// Whose the file is, and what is to be found in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::store) struct Meta {
    /// The exporter's instance id.
    pub(in crate::store) instance: String,
    /// The GitLab whose ids are in it.
    pub(in crate::store) gitlab: String,
    /// The latest time of a commit, in seconds since the Unix epoch.
    pub(in crate::store) told: i64,
    pub(in crate::store) memories: Digest,
    pub(in crate::store) rows: Digest,
}

/// Number and checksums of a table's records: a record that was lost, or came back, is found out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::store) struct Digest {
    records: u64,
    /// The sum of their checksums, which wraps.
    sum: u64,
}

impl Digest {
    /// A record is added.
    pub(in crate::store) const fn add(&mut self, checksum: u64) {
        self.records = self.records.wrapping_add(1);
        self.sum = self.sum.wrapping_add(checksum);
    }

    /// A record is removed.
    pub(in crate::store) const fn remove(&mut self, checksum: u64) {
        self.records = self.records.wrapping_sub(1);
        self.sum = self.sum.wrapping_sub(checksum);
    }
}
