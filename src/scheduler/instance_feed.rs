//! The jobs of the whole instance, where the token is an administrator's: two short lists say in which
//! projects jobs began or run, so that all others need to be polled seldom. It is a hint only: what it
//! misses, the poll of each project finds later.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::UnixSeconds;
use crate::config::{InstanceFeedSetting, Settings};
use crate::gitlab::graphql::InstanceJobs;
use crate::gitlab::{GitLab, GitLabError};
use crate::registry::Registry;
use crate::types::{JobId, ProjectId};

/// How often the newest jobs are read.
const INTERVAL: Duration = Duration::from_secs(10);
/// The running ones: what is started by hand or later is no new job.
const RUNNING_INTERVAL: Duration = Duration::from_secs(30);
/// How soon it is tried again after a failure.
const RETRY: Duration = Duration::from_secs(60);
/// Failures in a row after which projects are polled as usual: what began meanwhile is that late.
const FAILURES: u32 = 5;
/// How soon it is tried again where GitLab shows no job.
const RETRY_EMPTY: Duration = Duration::from_secs(3600);
/// Jobs of the first page; as a rule the last poll knew some of them.
const FIRST: u32 = 20;
/// Jobs of each further page.
const MORE: u32 = 100;
/// Pages of one list; where there are more jobs, all projects are polled.
const PAGES: usize = 10;

/// Reads in which projects jobs begin.
pub(super) struct InstanceFeed {
    gitlab: GitLab,
    registry: Arc<Registry>,
    is_on: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    due: UnixSeconds,
    running_due: UnixSeconds,
    /// [`GitLab::token_revision`] at the last run.
    token: u64,
    /// The newest jobs of the last poll; none where it is not in use.
    seen: Option<BTreeSet<JobId>>,
    /// Failures in a row.
    failures: u32,
}

/// What a list said.
struct Listed {
    jobs: Vec<(JobId, ProjectId)>,
    /// Whether it reaches a job that was known, or the end.
    is_whole: bool,
}

impl InstanceFeed {
    pub(super) fn new(settings: &Settings, gitlab: &GitLab, registry: &Arc<Registry>) -> Self {
        Self {
            gitlab: gitlab.clone(),
            registry: Arc::clone(registry),
            is_on: settings.gitlab.instance_feed == InstanceFeedSetting::Auto,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is to be read. Without projects that are quiet there is nothing to be won. With replicas,
    /// each would read it for itself.
    pub(super) fn is_due(&self, now: UnixSeconds) -> bool {
        if !self.is_on || !self.gitlab.has_instance_jobs() || self.registry.lock().is_shared() {
            return false;
        }
        let state = self.state();
        let is_due = state.due <= now || state.token != self.gitlab.token_revision();
        is_due && self.registry.lock().has_quiet()
    }

    /// Keeps the rhythm when the clock is set back.
    pub(super) fn clock_was_set_back(&self, back: Duration) {
        let mut state = self.state();
        state.due = state.due.minus(back);
        state.running_due = state.running_due.minus(back);
    }

    /// Reads the lists, and has the projects polled in which jobs began.
    pub(super) async fn run(&self, now: UnixSeconds) {
        let (seen, running_due) = {
            let mut state = self.state();
            state.token = self.gitlab.token_revision();
            (state.seen.clone(), state.running_due <= now)
        };
        let newest = self.list(InstanceJobs::Newest, seen.as_ref()).await;
        let running = match &newest {
            Ok(newest) if running_due && !newest.jobs.is_empty() => {
                self.list(InstanceJobs::Running, None).await.map(Some)
            }
            _ => Ok(None),
        };
        match (newest, running) {
            (Ok(newest), Ok(_)) if newest.jobs.is_empty() => {
                self.stop(now, RETRY_EMPTY, "GitLab shows no job of the instance");
            }
            // Jobs that are started by hand would be missed.
            (_, Ok(Some(running))) if !running.is_whole => {
                self.stop(now, RETRY_EMPTY, "more jobs run than it is read for");
            }
            (Ok(newest), Ok(running)) => self.take(newest, running, seen, now),
            (Err(error), _) | (_, Err(error)) => self.failed(&error, now),
        }
    }

    /// One of the lists: until a page has a job that was seen before.
    async fn list(
        &self,
        which: InstanceJobs,
        seen: Option<&BTreeSet<JobId>>,
    ) -> Result<Listed, GitLabError> {
        let reaches_seen = |jobs: &[(JobId, ProjectId)]| {
            let is_among = |seen: &BTreeSet<JobId>| jobs.iter().any(|(job, _)| seen.contains(job));
            which == InstanceJobs::Newest && seen.is_none_or(is_among)
        };
        let first = match which {
            InstanceJobs::Newest => FIRST,
            InstanceJobs::Running => MORE,
        };
        let mut page = self.gitlab.instance_jobs(which, first, None).await?;
        let mut jobs = std::mem::take(&mut page.items);
        let mut is_whole = reaches_seen(&jobs);
        for _ in 1..PAGES {
            let Some(after) = page.next.take().filter(|_| !is_whole) else {
                is_whole = true;
                break;
            };
            page = self.gitlab.instance_jobs(which, MORE, Some(after)).await?;
            is_whole = reaches_seen(&page.items);
            jobs.append(&mut page.items);
        }
        Ok(Listed { jobs, is_whole })
    }

    fn take(
        &self,
        newest: Listed,
        running: Option<Listed>,
        seen: Option<BTreeSet<JobId>>,
        now: UnixSeconds,
    ) {
        {
            let mut state = self.state();
            state.failures = 0;
            state.due = now.plus(INTERVAL);
            if running.is_some() {
                state.running_due = now.plus(RUNNING_INTERVAL);
            }
            state.seen = Some(newest.jobs.iter().map(|(job, _)| *job).collect());
        }
        let mut projects = self.registry.lock();
        let Some(seen) = seen else {
            tracing::info!(
                "reading the jobs of the whole instance, polling projects without new jobs less often"
            );
            // What began before this is found by the next poll of each project.
            projects.announce(true);
            return;
        };
        if !newest.is_whole {
            projects.poll_as_usual(GitLab::CHANGES_PROJECTS, now);
        }
        let new = newest.jobs.iter().filter(|(job, _)| !seen.contains(job));
        let running = running.iter().flat_map(|running| &running.jobs);
        let moved: BTreeSet<ProjectId> = new.chain(running).map(|(_, project)| *project).collect();
        projects.jobs_began(&moved, now);
    }

    /// Tries again soon; after some failures, each project is polled for itself.
    fn failed(&self, error: &GitLabError, now: UnixSeconds) {
        let failures = {
            let mut state = self.state();
            state.failures = state.failures.saturating_add(1);
            state.due = now.plus(RETRY);
            state.failures
        };
        if failures >= FAILURES {
            self.stop(now, RETRY, &error.to_string());
        }
    }

    /// Goes back to polling each project for itself.
    fn stop(&self, now: UnixSeconds, retry: Duration, why: &str) {
        let mut state = self.state();
        state.due = now.plus(retry);
        if state.seen.take().is_some() {
            tracing::warn!(
                reason = %why,
                "jobs of the whole instance unavailable, polling each project"
            );
            drop(state);
            let mut projects = self.registry.lock();
            projects.announce(false);
            projects.poll_as_usual(GitLab::CHANGES_PROJECTS, now);
        } else {
            tracing::debug!("the jobs of the whole instance are not read: {why}");
        }
    }
}
