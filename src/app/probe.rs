//! What GitLab is and what the token may do, asked at the start and daily: an upgrade or a new
//! token is picked up.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::clock::{Clock, UnixSeconds};
use crate::config::TierSetting;
use crate::gitlab::capability::{Instance, Tier, TokenState};
use crate::gitlab::model::{Known, ProjectId, Role};
use crate::gitlab::{GitLab, GitLabError};
use crate::scheduler::Shared;
use crate::telemetry::process::OwnMetrics;

/// How long what was found holds.
const HOLDS: Duration = Duration::from_secs(24 * 3600);
/// How soon a failed look is repeated.
const RETRY: Duration = Duration::from_secs(60);
/// How often the clock is looked at.
const TICK: Duration = Duration::from_secs(1);

/// Asks, and remembers the answers.
pub(super) struct Probe {
    gitlab: GitLab,
    projects: Arc<Shared>,
    own: Arc<OwnMetrics>,
    clock: Clock,
    tier: TierSetting,
    found: Mutex<Found>,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    /// Version and edition.
    pub(super) instance: Option<Instance>,
    /// Scopes, expiry, user.
    pub(super) token: Option<TokenState>,
    /// The highest tier of a tracked project.
    pub(super) tier: Option<Tier>,
    /// Why the last look failed.
    pub(super) error: Option<String>,
}

impl Probe {
    pub(super) fn new(
        gitlab: GitLab,
        tier: TierSetting,
        projects: Arc<Shared>,
        own: Arc<OwnMetrics>,
        clock: Clock,
    ) -> Arc<Self> {
        let found = Mutex::default();
        Arc::new(Self {
            gitlab,
            projects,
            own,
            clock,
            tier,
            found,
        })
    }

    /// What has been found so far.
    pub(super) fn found(&self) -> Found {
        self.found
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Asks whenever it is due, until `stop`.
    pub(super) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let asking = async {
            let mut due = UnixSeconds::default();
            let mut tier_due = UnixSeconds::default();
            loop {
                let now = self.clock.now();
                if due <= now {
                    due = now.plus(if traced(self.instance_and_token()).await {
                        HOLDS
                    } else {
                        RETRY
                    });
                }
                if tier_due <= now && !self.projects.registry().is_empty() {
                    tier_due = now.plus(if traced(self.tiers(now)).await {
                        HOLDS
                    } else {
                        RETRY
                    });
                }
                tokio::time::sleep(TICK).await;
            }
        };
        tokio::select! {
            () = asking => {}
            () = stop.cancelled() => {}
        }
    }

    /// Version, edition and token; whether that worked.
    async fn instance_and_token(&self) -> bool {
        let instance = self.gitlab.instance().await;
        let token = self.gitlab.token_state().await;
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let ok = self.take(instance, &mut found, |found, instance| {
            self.own
                .gitlab_info(&instance.version, instance.edition.as_str());
            found.instance = Some(instance);
        });
        let token_ok = self.take(token, &mut found, |found, token| {
            self.own.token_expiry(token.expires_at());
            for finding in token.findings(self.clock.now()) {
                tracing::warn!("{}", finding.text);
            }
            found.token = Some(token);
        });
        if ok && token_ok {
            found.error = None;
        }
        ok && token_ok
    }

    fn take<T>(
        &self,
        answer: Result<T, GitLabError>,
        found: &mut Found,
        put: impl FnOnce(&mut Found, T),
    ) -> bool {
        match answer {
            Ok(answer) => {
                put(found, answer);
                true
            }
            Err(error) => {
                let text = error.to_string();
                if found.error.as_ref() != Some(&text) {
                    tracing::warn!("{text}");
                }
                found.error = Some(text);
                false
            }
        }
    }

    /// The highest tier of the tracked projects; whether it could be told.
    async fn tiers(&self, now: UnixSeconds) -> bool {
        let tier = match self.tier {
            TierSetting::Auto => self.highest_tier(now).await,
            TierSetting::Free => Some(Tier::Free),
            TierSetting::Premium => Some(Tier::Premium),
            TierSetting::Ultimate => Some(Tier::Ultimate),
        };
        let Some(tier) = tier else { return false };
        self.own.gitlab_tier(tier);
        self.found
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .tier = Some(tier);
        true
    }

    async fn highest_tier(&self, now: UnixSeconds) -> Option<Tier> {
        let instance = self.found().instance?;
        let roles: BTreeMap<ProjectId, Known<Role>> = {
            let registry = self.projects.registry();
            registry
                .iter()
                .map(|(id, entry)| (id, entry.project.role))
                .collect()
        };
        let ids: Vec<ProjectId> = roles.keys().copied().collect();
        let mut highest = None;
        for ids in ids.chunks(GitLab::TIER_PROJECTS) {
            match self.gitlab.project_tiers(ids, &instance, now).await {
                Ok(batch) => {
                    let tiers = batch.items.iter().filter_map(|project| {
                        project.with_role(roles.get(&project.id).copied().unwrap_or_default())
                    });
                    highest = highest.max(tiers.max());
                }
                Err(error) => {
                    tracing::warn!("the tier of {} projects is unknown: {error}", ids.len())
                }
            }
        }
        highest
    }
}

/// Traces a look like the scheduler's tasks: one task, one run, a span for each call.
async fn traced(look: impl Future<Output = bool>) -> bool {
    let task = tracing::info_span!("task", otel.name = "probe", task = "probe");
    let run = tracing::info_span!(parent: &task, "run", otel.name = "probe run");
    look.instrument(run).instrument(task).await
}
