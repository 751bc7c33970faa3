//! How a run of a source is started.

use std::sync::Mutex;

use async_trait::async_trait;

use super::*;
use crate::catalogue::buckets::BucketSettings;
use crate::catalogue::instruments::Instruments;
use crate::facts::Reading;
use crate::gitlab::testing::Fake;
use crate::observer::NoObserver;
use crate::registry::tests::found;
use crate::series::{Table, TableSettings};
use crate::source::{Needs, Target};
use crate::store::MemoryStore;

/// Notes the lane that it is read in, also by what it awaits side by side.
#[derive(Default)]
struct Lanes(Mutex<Vec<Option<Lane>>>);

#[async_trait]
impl Source for Lanes {
    fn reading(&self) -> Reading {
        Reading::ChangeFeed
    }

    fn collectors(&self) -> &[Collector] {
        &[Collector::Pipelines]
    }

    fn needs(&self) -> Needs {
        Needs::Nothing
    }

    fn batch(&self) -> usize {
        1
    }

    async fn fetch(&self, _: &[Target], _: &Context) -> Fetched {
        tokio::task::yield_now().await;
        let lane = async { Lane::of_task() };
        let (one, other) = tokio::join!(lane, async { Lane::of_task() });
        self.0.lock().unwrap().extend([one, other]);
        Vec::new()
    }
}

#[tokio::test]
async fn a_runs_calls_are_made_in_the_lane_of_its_priority() {
    let (settings, clock) = (Settings::default(), Clock::manual(UnixSeconds(1_000)));
    let buckets = BucketSettings::default();
    let table = Table::new(&TableSettings {
        birth_window: Duration::from_secs(120),
        cardinality_limit: 1_000,
        buckets: buckets.clone(),
    });
    let store = Arc::<MemoryStore>::default();
    let recorder = Recorder::new(Instruments::new(&buckets).unwrap(), table, store);
    let registry = Arc::new(Registry::new(Vec::new()));
    let ingest = Arc::new(Ingest::new(
        &settings,
        &[],
        Arc::clone(&registry),
        recorder,
        Arc::new(NoObserver),
        clock.clone(),
    ));
    let source = Arc::new(Lanes::default());
    let now = clock.now();
    registry.lock().update(found([1]), now);
    let free = FreeSlots {
        runs: 1,
        others: 1,
        backfill: 1,
        feed: 1,
    };
    let sources: [Arc<dyn Source>; 1] = [Arc::clone(&source) as _];
    let mut taken = registry.lock().take(&sources, now, free).batches;
    let targets = taken.remove(0).targets;
    let fake = Fake::script(Vec::new()).await;
    for priority in [Priority::Backfill, Priority::Urgent, Priority::Current] {
        let batch = Batch {
            source: Arc::clone(&source) as _,
            priority,
            targets: targets.clone(),
            origins: Vec::new(),
        };
        let (registry, ingest) = (Arc::clone(&registry), Arc::clone(&ingest));
        run(registry, ingest, fake.gitlab(), batch, clock.clone()).await;
    }
    let expected = [Lane::Backfill, Lane::Urgent, Lane::Normal];
    let expected = expected.map(|lane| [Some(lane); 2]).concat();
    assert_eq!(*source.0.lock().unwrap(), expected);
}
