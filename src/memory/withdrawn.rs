//! What GitLab stopped showing of a project: its series left, and come back with their totals when it
//! is shown again.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock::UnixSeconds;
use crate::types::Text;

/// How long totals of what GitLab stopped showing are kept.
pub const KEPT_FOR: Duration = Duration::from_secs(30 * 24 * 3600);

/// Series of a project that were withdrawn.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Withdrawn {
    /// When the project was removed; none while it is tracked.
    pub removed_at: Option<UnixSeconds>,
    /// Collectors whose series were withdrawn while the project is tracked, by `collector_type`, and
    /// when; also single metrics, by name.
    pub collectors: BTreeMap<Text, UnixSeconds>,
}

impl Withdrawn {
    /// Whether nothing was withdrawn.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.removed_at.is_none() && self.collectors.is_empty()
    }
}
