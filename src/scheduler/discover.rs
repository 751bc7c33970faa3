//! Discovery as a task: when projects are looked up, and what becomes of what was found.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::{Instrument, info_span};

use super::retry::Retry;
use crate::catalogue::Activity;
use crate::clock::UnixSeconds;
use crate::config::Settings;
use crate::discovery::{Discovery, Scope};
use crate::gitlab::{GitLab, Lane};
use crate::ingest::Ingest;
use crate::observer::Observer;
use crate::registry::Registry;

/// Looks projects up.
pub(super) struct DiscoveryTask {
    discovery: tokio::sync::Mutex<Discovery>,
    interval: Duration,
    times: Mutex<Times>,
    registry: Arc<Registry>,
    ingest: Arc<Ingest>,
    observer: Arc<dyn Observer>,
}

#[derive(Debug, Default)]
struct Times {
    /// When all entries are looked up next.
    due: UnixSeconds,
    /// When those that failed are.
    retry: Retry,
}

impl DiscoveryTask {
    pub(super) fn new(
        settings: &Settings,
        gitlab: &GitLab,
        ingest: &Arc<Ingest>,
        registry: &Arc<Registry>,
        observer: &Arc<dyn Observer>,
    ) -> Self {
        let gitlab = gitlab.in_lane(Lane::Urgent);
        let discovery = Discovery::new(gitlab, &settings.projects, &settings.wildcards);
        Self {
            discovery: tokio::sync::Mutex::new(discovery),
            interval: settings.discovery.interval,
            times: Mutex::default(),
            registry: Arc::clone(registry),
            ingest: Arc::clone(ingest),
            observer: Arc::clone(observer),
        }
    }

    fn times(&self) -> MutexGuard<'_, Times> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to be looked up now, if anything is; the next time is set.
    pub(super) fn take_due(&self, now: UnixSeconds) -> Option<Scope> {
        let mut times = self.times();
        if times.due <= now {
            times.due = now.plus(self.interval);
            Some(Scope::All)
        } else {
            times.retry.is_due(now).then_some(Scope::Failed)
        }
    }

    /// Keeps the rhythm when the clock is set back.
    pub(super) fn clock_was_set_back(&self, back: Duration) {
        let mut times = self.times();
        times.due = times.due.minus(back);
        times.retry.clock_was_set_back(back);
    }

    /// Looks projects up, and stops tracking those that no longer exist.
    pub(super) async fn run(&self, scope: Scope, now: UnixSeconds) {
        let started = Instant::now();
        let span = info_span!("run", otel.name = "discovery run");
        let (found, errors) = {
            let mut discovery = self.discovery.lock().await;
            // Another try of some entries would not find what the others list.
            if scope == Scope::All {
                for id in self.registry.lock().take_changed() {
                    discovery.forget(id);
                }
            }
            discovery
                .discover(scope, now)
                .instrument(span.clone())
                .await
        };
        for error in &errors {
            tracing::warn!("{error}");
            self.observer
                .failed(Activity::Discovery, error.error.kind());
        }
        // What is not there hides nothing.
        let is_complete = errors.iter().all(|error| error.error.is_not_found());
        self.times().retry.ended(!is_complete, now);
        let removed = self.registry.lock().update(found, is_complete, now);
        self.ingest.remove(removed, now).await;
        self.ingest.switch_off(now).await;
        let took = started.elapsed();
        span.in_scope(|| self.observer.ran(Activity::Discovery, took));
        if errors.is_empty() {
            self.observer
                .succeeded(Activity::Discovery, now, Duration::ZERO);
        }
        self.ingest.report_projects();
    }
}
