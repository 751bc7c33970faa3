//! What the exporter does: the values of the label `collector_type`.

use super::Collector;

/// Who a run, an error or a duration belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Activity {
    /// A collector.
    Collector(Collector),
    /// Looking projects up.
    Discovery,
    /// Listing refs.
    Refs,
    /// Asking for version, edition and tiers.
    Capability,
    /// Reading in which projects jobs begin.
    InstanceFeed,
    /// Removing series and rows whose subject was removed.
    Cleanup,
}

impl Activity {
    /// The value of the label `collector_type`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Collector(collector) => collector.as_str(),
            Self::Discovery => "discovery",
            Self::Refs => "refs",
            Self::Capability => "capability",
            Self::InstanceFeed => "instance_feed",
            Self::Cleanup => "cleanup",
        }
    }
}

impl From<Collector> for Activity {
    fn from(collector: Collector) -> Self {
        Self::Collector(collector)
    }
}
