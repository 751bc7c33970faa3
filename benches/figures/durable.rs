//! An exporter without server and push that keeps its state in a file, on a clock that is set.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use amazing_gitlab_exporter::catalogue::buckets::BucketSettings;
use amazing_gitlab_exporter::catalogue::instruments::Instruments;
use amazing_gitlab_exporter::clock::Clock;
use amazing_gitlab_exporter::config::Settings;
use amazing_gitlab_exporter::gitlab::{self, GitLab, NoAccounting, TokenSource};
use amazing_gitlab_exporter::observer::NoObserver;
use amazing_gitlab_exporter::recorder::Recorder;
use amazing_gitlab_exporter::scheduler::Scheduler;
use amazing_gitlab_exporter::series::{Table, TableSettings};
use amazing_gitlab_exporter::store::{FileSettings, FileStore, Store};

use crate::role::Outcome;

/// A state file.
pub fn open(path: &Path, clock: &Clock) -> Outcome<FileStore> {
    let file = FileSettings {
        path: path.to_owned(),
        reset: false,
        patience: Duration::ZERO,
        gitlab: "https://gitlab.example.com".parse()?,
        accept_instance: false,
    };
    Ok(FileStore::open(&file, clock, |_| {})?)
}

/// An exporter over all projects, branches of any name among their refs, as quick as it can.
pub async fn exporter(
    address: &str,
    token: &str,
    store: Arc<dyn Store>,
    clock: &Clock,
) -> Outcome<(Scheduler, Arc<Table>)> {
    let mut settings = Settings {
        wildcards: vec![Default::default()],
        ..Settings::default()
    };
    settings.wildcards[0].settings.refs.branches.regexp = ".*".parse()?;
    let token = TokenSource::Secret(token.to_owned().into());
    let mut client = gitlab::Settings::new(address.parse()?, token);
    client.max_requests_per_second = 100_000.0;
    client.burst = 100_000;
    // GitLab's time is not measured here: the world's clock stands while it answers.
    client.max_server_share = 0.0;
    let gitlab = GitLab::new(&client, Arc::new(NoAccounting), clock.clone())?;
    let buckets = BucketSettings::default();
    let table = Table::new(&TableSettings {
        birth_window: settings.telemetry.widest_birth_window(),
        cardinality_limit: 200_000,
        buckets: buckets.clone(),
    });
    let mut recorder = Recorder::new(Instruments::new(&buckets)?, Arc::clone(&table), store);
    let remembered = recorder.restore(clock.now()).await?;
    let observer = Arc::new(NoObserver);
    let scheduler = Scheduler::new(
        &settings,
        &gitlab,
        recorder,
        remembered,
        observer,
        clock.clone(),
    );
    Ok((scheduler, table))
}
