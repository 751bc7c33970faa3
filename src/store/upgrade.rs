//! How what an earlier version wrote becomes what this one reads: every upgrade step is here.
//!
//! What is stored of a project is stored in parts ([`super::stored::PARTS`]), and each counter or
//! histogram in a row. Each kind has a version of its own: 1, and 1 more for each step. A step reads
//! the content of one version and returns that of the next.
//!
//! To change the shape of a stored type: keep the old type next to the new one (as `v1`), and append
//! a step from the old to the new here. To rename a metric or change its labels: append a step to
//! [`ROWS`] that rewrites its rows, or returns `None` for those that cannot be rewritten; they are
//! dropped, and a log line says so.

use super::stored::{Invalid, Row, StoredEnvironments, decode, encode, environments_v1, v1};

/// Content of one version to that of the next.
pub(super) type PartStep = fn(&[u8]) -> Result<Vec<u8>, Invalid>;
/// The same for a row; `None` where the series cannot continue.
pub(super) type RowStep = fn(&[u8]) -> Result<Option<Vec<u8>>, Invalid>;

/// All upgrade steps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Steps {
    /// Of parts by their names, each from version 1 on.
    pub(super) parts: &'static [(&'static str, &'static [PartStep])],
    /// Of rows, from version 1 on.
    pub(super) rows: &'static [RowStep],
    /// Parts of earlier versions that are stored no more: what is there of them is dropped.
    pub(super) dropped: &'static [&'static str],
}

/// The steps to this version of the program.
pub(super) const STEPS: Steps = Steps {
    parts: &[("environments", &[deployments_by_creation])],
    rows: &[without_withdrawal],
    // The role said what may be read; GitLab's answers do.
    dropped: &["role"],
};

/// Version 1 knew no series that wait for the access to come back.
fn without_withdrawal(content: &[u8]) -> Result<Option<Vec<u8>>, Invalid> {
    let row: v1::Row = decode(content)?;
    encode(&Row::from(row)).map(Some)
}

/// Version 1 counted deployments when they were created: what it counted is not counted again.
fn deployments_by_creation(content: &[u8]) -> Result<Vec<u8>, Invalid> {
    let stored: environments_v1::Environments = decode(content)?;
    encode(&StoredEnvironments::from(stored))
}

/// The version that so many steps lead to.
pub(super) const fn version(steps: usize) -> u16 {
    steps as u16 + 1
}

impl Steps {
    /// The steps of a part.
    pub(super) fn of_part(&self, name: &str) -> &'static [PartStep] {
        let known = self.parts.iter().find(|(part, _)| *part == name);
        known.map_or(&[], |(_, steps)| steps)
    }
}
