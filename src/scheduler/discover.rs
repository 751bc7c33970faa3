//! Discovery as a task: when projects are looked for, and what becomes of what was found.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::{Instrument, info_span};

use super::retry::Retry;
use crate::catalogue::Activity;
use crate::clock::UnixSeconds;
use crate::config::{ProjectEntry, Settings, Wildcard};
use crate::discovery::{Discovery, DiscoveryError, EntryNotice, Polled, Scope, Verdict};
use crate::gitlab::{GitLab, Lane};
use crate::ingest::Ingest;
use crate::observer::Observer;
use crate::registry::{Judged, Reason, Registry, Removed, Rule};
use crate::types::ProjectId;

/// Projects that are logged one by one when they are removed together.
const NAMED: usize = 10;
/// Value of the label `error_type`: a list lacks a project that GitLab shows.
pub(crate) const INCOMPLETE_LIST: &str = "incomplete_list";

/// Looks for projects.
pub(super) struct DiscoveryTask {
    discovery: tokio::sync::Mutex<Discovery>,
    rules: Mutex<Rules>,
    times: Mutex<Times>,
    registry: Arc<Registry>,
    ingest: Arc<Ingest>,
    observer: Arc<dyn Observer>,
    /// Why entries failed when they were last polled, as logged.
    said: Mutex<BTreeMap<String, String>>,
}

/// What the settings say.
#[derive(Debug)]
struct Rules {
    interval: Duration,
    /// `discovery.removal_grace`.
    grace: Duration,
    /// Entries that the next poll begins with, where they changed.
    entries: Option<(Vec<ProjectEntry>, Vec<Wildcard>)>,
}

#[derive(Debug, Default)]
struct Times {
    /// When all entries are polled next.
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
            rules: Mutex::new(Rules {
                interval: settings.discovery.interval,
                grace: settings.discovery.removal_grace,
                entries: None,
            }),
            times: Mutex::default(),
            registry: Arc::clone(registry),
            ingest: Arc::clone(ingest),
            observer: Arc::clone(observer),
            said: Mutex::default(),
        }
    }

    fn times(&self) -> MutexGuard<'_, Times> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rules(&self) -> MutexGuard<'_, Rules> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes on by other settings, whose entries are polled at once.
    pub(super) fn reconfigure(&self, settings: &Settings, now: UnixSeconds) {
        *self.rules() = Rules {
            interval: settings.discovery.interval,
            grace: settings.discovery.removal_grace,
            entries: Some((settings.projects.clone(), settings.wildcards.clone())),
        };
        self.ask(now);
    }

    /// What is to be polled now, if anything is; the next time is set.
    pub(super) fn take_due(&self, now: UnixSeconds) -> Option<Scope> {
        // With replicas, one of them looks for projects.
        if !self.registry.lock().leads() {
            return None;
        }
        let (interval, grace) = {
            let rules = self.rules();
            (rules.interval, rules.grace)
        };
        let mut times = self.times();
        if times.due <= now {
            times.due = now.plus(interval);
            Some(Scope::All)
        } else if times.retry.is_due(now) {
            Some(Scope::Failed)
        } else {
            let has_doubts = self.registry.lock().has_doubts_due(grace, now);
            has_doubts.then_some(Scope::Unconfirmed)
        }
    }

    /// Has all entries polled now.
    pub(super) fn ask(&self, now: UnixSeconds) {
        if self.registry.lock().leave_lists() {
            return;
        }
        let mut times = self.times();
        times.due = times.due.min(now);
    }

    /// Keeps the rhythm when the clock is set back.
    pub(super) fn clock_was_set_back(&self, back: Duration) {
        let mut times = self.times();
        times.due = times.due.minus(back);
        times.retry.clock_was_set_back(back);
    }

    /// Polls what is due, and removes the projects that GitLab itself says are no more.
    pub(super) async fn run(&self, scope: Scope, now: UnixSeconds) {
        let started = Instant::now();
        let span = info_span!("run", otel.name = "discovery run");
        let is_well = self.poll(scope, now).instrument(span.clone()).await;
        self.ingest.switch_off().await;
        self.ingest.forget_withdrawn(now).await;
        let took = started.elapsed();
        span.in_scope(|| self.observer.ran(Activity::Discovery, took));
        if is_well {
            self.observer
                .succeeded(Activity::Discovery, now, Some(Duration::ZERO));
        }
        self.ingest.report_projects();
    }

    /// Whether nothing failed.
    async fn poll(&self, scope: Scope, now: UnixSeconds) -> bool {
        let mut discovery = self.discovery.lock().await;
        let (entries, grace) = {
            let mut rules = self.rules();
            (rules.entries.take(), rules.grace)
        };
        if let Some((projects, wildcards)) = entries {
            discovery.set_entries(&projects, &wildcards);
        }
        // Another try of some entries would not find what the others list.
        if scope == Scope::All {
            for id in self.registry.lock().take_changed() {
                discovery.changed(id);
            }
        }
        let Polled {
            found,
            errors,
            notices,
            is_complete,
        } = discovery.poll(scope, now).await;
        for EntryNotice { entry, notice } in notices {
            tracing::warn!(entry, reason = %notice, "entry selects no project");
        }
        for error in &errors {
            self.observer
                .failed(Activity::Discovery, error.error.kind());
        }
        self.report_errors(&errors, scope);
        if scope != Scope::Unconfirmed {
            self.times().retry.ended(!is_complete, now);
        }
        let unconfirmed = {
            let mut projects = self.registry.lock();
            let unconfirmed = projects.unconfirmed(&found, now);
            projects.update(found, now);
            unconfirmed
        };
        let verdicts = discovery.confirm(&unconfirmed, now).await;
        self.report_doubts(&verdicts);
        let is_shown = |(_, verdict): &(ProjectId, Verdict)| {
            !matches!(verdict, Verdict::Missing | Verdict::NotAnswered(_))
        };
        let rule = Rule {
            grace,
            is_complete: is_complete && scope == Scope::All,
            gitlab_answers: verdicts.iter().any(is_shown)
                || (!verdicts.is_empty() && discovery.gitlab_answers().await),
        };
        let Judged { removed, waiting } = self.registry.lock().judge(verdicts, rule, now);
        if let Some(waiting) = waiting {
            tracing::warn!(
                projects = waiting,
                "projects not removed yet: more than a tenth of all are missing in GitLab; waiting for a \
                 complete list of every entry in projects and wildcards"
            );
        }
        if removed.is_empty() {
            return errors.is_empty();
        }
        report_removed(&removed);
        let removed = removed.into_iter().map(|(removed, _)| removed);
        let mut removed: Vec<Removed> = removed.collect();
        let ids: Vec<ProjectId> = removed.iter().map(|removed| removed.id).collect();
        discovery.remove(&ids);
        // The series of the others are shown by other replicas, which are told.
        {
            let projects = self.registry.lock();
            removed.retain(|removed| projects.is_own(removed.id));
        }
        self.ingest.remove(removed).await;
        errors.is_empty()
    }

    /// Logs what is new of entries that failed, once for each cause.
    fn report_errors(&self, errors: &[DiscoveryError], scope: Scope) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let mut causes = BTreeMap::<String, Vec<&str>>::new();
        for error in errors {
            let text = error.reason();
            let is_known = said.get(&error.entry) == Some(&text);
            if !is_known && !error.error.is_token_refused() {
                causes.entry(text).or_default().push(&error.entry);
            }
        }
        for (error, entries) in causes {
            let example = entries.first().copied().unwrap_or_default();
            tracing::warn!(
                entries = entries.len(),
                example,
                error,
                "discovery failed, will retry"
            );
        }
        let failed = errors
            .iter()
            .map(|error| (error.entry.clone(), error.reason()));
        match scope {
            Scope::All => *said = failed.collect(),
            Scope::Failed | Scope::Unconfirmed => said.extend(failed),
        }
    }

    /// Counts what casts doubt on projects, and logs which are missing now.
    fn report_doubts(&self, verdicts: &[(ProjectId, Verdict)]) {
        let projects = self.registry.lock();
        let mut missing = Vec::new();
        for (id, verdict) in verdicts {
            let Some(project) = projects.path(*id) else {
                continue;
            };
            let kind = match verdict {
                Verdict::Missing => {
                    if !projects.is_missing(*id) {
                        missing.push(project);
                    }
                    "not_found"
                }
                Verdict::NotAnswered(error) => error.kind(),
                Verdict::Selected(_) if projects.get(*id).is_some() => {
                    tracing::debug!(%project, "project visible in GitLab, but not in a list or run");
                    INCOMPLETE_LIST
                }
                Verdict::NoOwner => "not_found",
                _ => continue,
            };
            self.observer.failed(Activity::Discovery, kind);
        }
        if let Some(example) = missing.first() {
            tracing::warn!(
                projects = missing.len(),
                %example,
                grace_seconds = self.rules().grace.as_secs(),
                "GitLab returns 404 for tracked projects, removing them after discovery.removal_grace"
            );
        }
    }
}

/// Logs why projects are no longer tracked: one by one, or by their number where they are many.
fn report_removed(removed: &[(Removed, Reason)]) {
    if removed.len() <= NAMED {
        for (Removed { path, .. }, reason) in removed {
            tracing::info!(project = %path, reason = reason.as_str(), "project removed");
        }
        return;
    }
    let mut by_reason = BTreeMap::<Reason, usize>::new();
    for (_, reason) in removed {
        *by_reason.entry(*reason).or_default() += 1;
    }
    for (reason, projects) in by_reason {
        tracing::warn!(projects, reason = reason.as_str(), "projects removed");
    }
}
