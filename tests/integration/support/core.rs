//! The exporter from scheduler to series table, driven by hand over a simulated GitLab: the clock
//! stands until the test moves it, and a round runs all that is due.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use amazing_gitlab_exporter::catalogue::buckets::BucketSettings;
use amazing_gitlab_exporter::catalogue::instruments::Instruments;
use amazing_gitlab_exporter::clock::{Clock, UnixSeconds};
use amazing_gitlab_exporter::config::{Discovery, QuietInterval, Settings};
use amazing_gitlab_exporter::gitlab::{self, GitLab, NoAccounting, RetryPolicy, TokenSource};
use amazing_gitlab_exporter::memory::ProjectMemory;
use amazing_gitlab_exporter::recorder::Recorder;
use amazing_gitlab_exporter::registry::Registry;
use amazing_gitlab_exporter::scheduler::Scheduler;
use amazing_gitlab_exporter::series::{Table, TableSettings};
use amazing_gitlab_exporter::store::{FileSettings, FileStore, MemoryStore, Store};
use amazing_gitlab_exporter::types::ProjectId;
use gitlab_simulator::Simulator;

use super::observer::Heard;
use super::series::Series;

/// How long a state file that an earlier core holds is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running exporter without server and push.
pub struct Core {
    /// Its clock, the world's time.
    pub clock: Clock,
    /// Its series.
    pub table: Arc<Table>,
    /// What its runs told about themselves.
    pub heard: Arc<Heard>,
    scheduler: Scheduler,
}

/// Settings that watch every project, branch, tag and merge request of the simulator, and let no
/// ref go: what is counted stays to be compared.
pub fn watch_everything() -> Settings {
    let mut settings = Settings {
        wildcards: vec![Default::default()],
        ..Settings::default()
    };
    let refs = &mut settings.wildcards[0].settings.refs;
    refs.branches.regexp = ".*".parse().expect("a regular expression");
    refs.tags.regexp = ".*".parse().expect("a regular expression");
    refs.branches.exclude_deleted = false;
    refs.tags.exclude_deleted = false;
    only_pipelines(&mut settings);
    settings
}

/// Removes at GitLab's first word what it no longer shows, unless the test says otherwise: the grace has
/// tests of its own.
pub fn no_grace(discovery: &mut Discovery) {
    if discovery.removal_grace == Discovery::default().removal_grace {
        discovery.removal_grace = Duration::ZERO;
    }
}

/// Polls every project as often as the settings say, unless the test sets what is done with quiet ones.
fn none_is_quiet(settings: &mut Settings) {
    let quiet = &mut settings.collectors.pipelines.quiet_interval;
    if *quiet == QuietInterval::default() {
        *quiet = QuietInterval {
            after_1h: Duration::ZERO,
            after_24h: Duration::ZERO,
        };
    }
}

/// Switches off what has tests of its own: all collectors that do not measure the change feed.
pub fn only_pipelines(settings: &mut Settings) {
    let collectors = &mut settings.collectors;
    collectors.merge_requests.enabled = false;
    collectors.code_review.enabled = false;
    collectors.dora.enabled = false;
    collectors.value_stream.enabled = false;
    collectors.repository.enabled = false;
}

/// A client's settings for the simulator: no limit that a test would wait for.
pub fn client_settings(simulator: &Simulator) -> gitlab::Settings {
    let url = simulator.url().parse().expect("an address");
    let token = TokenSource::Secret(simulator.token().to_owned().into());
    let mut settings = gitlab::Settings::new(url, token);
    settings.max_requests_per_second = 100_000.0;
    settings.burst = 100_000;
    // The world goes faster than time: what lies back would wait for a share that real time fills.
    settings.max_server_share = 0.0;
    settings.retry = RetryPolicy {
        max_retries: 1,
        min_delay: Duration::from_millis(1),
        max_delay: Duration::from_millis(2),
        total: Duration::from_secs(5),
    };
    settings
}

impl Core {
    /// Starts an exporter; it has looked at nothing yet.
    pub fn start(simulator: &Simulator, settings: &Settings) -> Self {
        Self::with_client(simulator, settings, &client_settings(simulator))
    }

    /// The same, with a client of the test's choice.
    pub fn with_client(
        simulator: &Simulator,
        settings: &Settings,
        client: &gitlab::Settings,
    ) -> Self {
        let store = Arc::<MemoryStore>::default();
        Self::over(store, simulator, settings, client)
    }

    /// The same, over a store of the test's choice, which remembers nothing.
    pub fn over(
        store: Arc<dyn Store>,
        simulator: &Simulator,
        settings: &Settings,
        client: &gitlab::Settings,
    ) -> Self {
        let (recorder, parts) = Parts::new(simulator, settings, store);
        parts.put_together(settings, client, recorder, Vec::new())
    }

    #[allow(dead_code, reason = "benches use it")]
    /// The same, with quiet projects polled as the settings say: benches count what the defaults cost.
    pub fn paced(simulator: &Simulator, settings: &Settings, client: &gitlab::Settings) -> Self {
        let store = Arc::<MemoryStore>::default();
        let (recorder, mut parts) = Parts::new(simulator, settings, store);
        parts.paced = true;
        parts.put_together(settings, client, recorder, Vec::new())
    }

    /// The same, with a client of the test's choice and the state in a file, which it goes on with.
    pub async fn with_state(
        simulator: &Simulator,
        settings: &Settings,
        client: &gitlab::Settings,
        path: &Path,
    ) -> Self {
        let file = FileSettings {
            path: path.to_owned(),
            reset: false,
            patience: PATIENCE,
            gitlab: client.url.clone(),
            accept_instance: false,
        };
        let clock = Clock::manual(now(simulator));
        let store = FileStore::open(&file, &clock, |_| {}).expect("a state file");
        let (mut recorder, parts) = Parts::new(simulator, settings, Arc::new(store));
        let remembered = recorder.restore(clock.steady()).await.expect("a state");
        parts.put_together(settings, client, recorder, remembered)
    }

    /// Sets the clock to the world's time and runs all that is due.
    pub async fn round(&mut self, simulator: &Simulator) {
        self.clock.set(now(simulator));
        self.scheduler.round().await;
    }

    /// The tracked projects.
    pub fn registry(&self) -> Arc<Registry> {
        self.scheduler.registry()
    }

    /// Gives the scheduler away, to be run by the test itself.
    pub fn into_scheduler(self) -> Scheduler {
        self.scheduler
    }

    /// Lets everything that waits come to its end, while the world stands still.
    pub async fn settle(&mut self) {
        for _ in 0..3 {
            self.clock
                .set(self.clock.now().plus(Duration::from_secs(301)));
            self.scheduler.round().await;
        }
    }

    /// Lets this much time pass, while the world stands still.
    pub async fn settle_for(&mut self, time: Duration) {
        self.clock.set(self.clock.now().plus(time));
        self.scheduler.round().await;
    }

    /// All series with their values, births over.
    pub fn series(&self) -> Series {
        Series::of(
            &self.table,
            self.clock.steady().plus(Duration::from_secs(86_400)),
        )
    }

    /// The latest start time of all series, as a delivery has it.
    #[allow(dead_code, reason = "tests use it, benches do not")]
    pub fn latest_start(&self) -> UnixSeconds {
        let mut latest = UnixSeconds(0);
        let mut walk = self.table.walk(self.clock.steady());
        while walk.next_chunk(1000, |row| {
            latest = latest.max(row.start);
            ControlFlow::Continue(())
        }) {}
        latest
    }

    /// All series as a delivery shows them now.
    pub fn shown(&self) -> Series {
        Series::of(&self.table, self.clock.steady())
    }
}

/// An exporter's clock and table, before it runs.
struct Parts {
    clock: Clock,
    table: Arc<Table>,
    /// Whether quiet projects are polled less often by the default, too.
    paced: bool,
}

impl Parts {
    fn new(simulator: &Simulator, settings: &Settings, store: Arc<dyn Store>) -> (Recorder, Self) {
        let buckets = BucketSettings::default();
        let table = Table::new(&TableSettings {
            birth_window: settings.telemetry.widest_birth_window(),
            cardinality_limit: 200_000,
            buckets: buckets.clone(),
        });
        let instruments = match settings.compat.gitlab_ci_metrics {
            true => Instruments::with_compat(&buckets),
            false => Instruments::new(&buckets),
        };
        let instruments = instruments.expect("instruments");
        let clock = Clock::manual(now(simulator));
        let recorder = Recorder::new(instruments, Arc::clone(&table), store);
        let parts = Self {
            clock,
            table,
            paced: false,
        };
        (recorder, parts)
    }

    fn put_together(
        self,
        settings: &Settings,
        client: &gitlab::Settings,
        recorder: Recorder,
        remembered: Vec<(ProjectId, Arc<ProjectMemory>)>,
    ) -> Core {
        let Self {
            clock,
            table,
            paced,
        } = self;
        // What a test switches on or off by hand.
        let mut settings = settings.clone();
        if !paced {
            none_is_quiet(&mut settings);
        }
        settings.resolve();
        no_grace(&mut settings.discovery);
        let gitlab = GitLab::new(client, Arc::new(NoAccounting), clock.clone()).expect("a client");
        let heard = Arc::new(Heard::default());
        let scheduler = Scheduler::new(
            &settings,
            &gitlab,
            recorder,
            remembered,
            Arc::clone(&heard) as _,
            clock.clone(),
        );
        Core {
            clock,
            table,
            heard,
            scheduler,
        }
    }
}

/// The world's time, as GitLab's clock shows it.
pub fn now(simulator: &Simulator) -> UnixSeconds {
    UnixSeconds(simulator.world().now().div_euclid(1000))
}
