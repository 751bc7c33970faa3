//! What runs report about themselves: the source of the exporter's own metrics.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::catalogue::{Activity, Collector};
use crate::clock::UnixSeconds;
use crate::events::Trigger;
use crate::gitlab::capability::Instance;
use crate::registry::Priority;
use crate::types::Tier;

/// Is notified of every run. All collectors and sources are timed and counted here, none does it
/// itself.
pub trait Observer: Send + Sync {
    /// A run took this long for a collector (`collector_type`). Called within the run's span.
    fn ran(&self, activity: Activity, took: Duration);
    /// A project, an entry or an item failed.
    fn failed(&self, activity: Activity, kind: &'static str);
    /// A collector's run ended well for at least one project, so much later than due; nothing where it was
    /// backfill, which says nothing of how current the collector is.
    fn succeeded(&self, activity: Activity, at: UnixSeconds, lag: Option<Duration>);
    /// Projects due and waiting, and runs under way.
    fn tasks(&self, queued: usize, running: usize);
    /// How much later than due the latest project is that waits for a run, by priority.
    fn waiting(&self, _lag: [Duration; Priority::ALL.len()]) {}
    /// Projects tracked now, and how many of them have been read whole since the start, or failed.
    fn projects(&self, tracked: usize, first_sync: f64);
    /// How many projects collectors have nothing of, by collector and reason.
    fn unavailable(&self, _projects: BTreeMap<(Collector, &'static str), usize>) {}
    /// Projects that GitLab no longer shows and that are not removed yet.
    fn removals_pending(&self, _projects: usize) {}
    /// The store took a commit, or did not.
    fn store(&self, up: bool);
    /// How many replicas there are, and how many shards this one holds.
    fn cluster(&self, _members: usize, _owned_shards: usize) {}
    /// What GitLab is.
    fn instance(&self, _instance: &Instance) {}
    /// The highest tier of a tracked project.
    fn tier(&self, _tier: Tier) {}
    /// Something that moved is shown, so long after GitLab's time of it, and after its event came.
    fn shown(
        &self,
        _activity: Activity,
        _trigger: Trigger,
        _age: Option<Duration>,
        _handling: Option<Duration>,
    ) {
    }
    /// Changes were found by polling that GitLab should have announced.
    fn events_missed(&self, _activity: Activity, _changes: usize) {}
    /// How many subscriptions there are, by state.
    fn subscriptions(&self, _standing: usize, _pending: usize, _refused: usize) {}
    /// A connection for subscriptions was opened, or not.
    fn subscriptions_connected(&self, _outcome: &'static str) {}
    /// Whether a collector has something of at least one project.
    fn availability(&self, _collector: Collector, _available: bool) {}
}

/// Ignores everything: for tests of other things.
#[derive(Debug)]
pub struct NoObserver;

impl Observer for NoObserver {
    fn ran(&self, _: Activity, _: Duration) {}
    fn failed(&self, _: Activity, _: &'static str) {}
    fn succeeded(&self, _: Activity, _: UnixSeconds, _: Option<Duration>) {}
    fn tasks(&self, _: usize, _: usize) {}
    fn projects(&self, _: usize, _: f64) {}
    fn store(&self, _: bool) {}
}
