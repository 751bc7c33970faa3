//! The table of all series from GitLab: their initialization, change, retirement and limits.
//!
//! Nothing else owns the life cycle of a series. The recorder applies what changed ([`Table::stage`],
//! then [`Table::apply`]); scrape and push read it ([`Table::walk`], [`Table::push_walk`]).
//!
//! - *Commit, then show*: [`Table::stage`] computes new totals without showing them, so that a
//!   store can remember them first.
//! - *Each counter and histogram belongs to one project*: the one whose run first recorded or
//!   initialised it, though another project's run may add to it later. It stays so until the series
//!   is removed.
//! - *Initialized at zero*: a counter or histogram renders as 0 from its first showing until its birth
//!   window ([`Table::set_birth_window`]) has passed, because Prometheus ignores a series' first sample in
//!   `increase()`. Gauges are exempt.
//! - *One epoch per update*: rows carry the epochs at which they were added and removed, and a walk sees
//!   exactly those of its epoch, without a copy of the table and without a lock between chunks.

mod block;
mod change;
mod clock;
mod family;
mod labels;
mod projects;
mod record;
mod rename;
mod retire;
mod state;
mod table;
mod walk;
mod window;
mod withdraw;

pub use block::Block;
pub use labels::{LabelsView, Redaction};
pub use record::{RecordedValue, Refusal, Restored, RowKey, RowRecord, StagedRows};
pub use retire::Retirement;
pub use table::{Table, TableSettings, TableSize, Update};
pub use walk::{RemovedRow, RowValue, RowView, Walk};
pub use window::Delivery;

#[cfg(test)]
mod tests;
