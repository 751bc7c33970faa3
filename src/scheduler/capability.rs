//! What GitLab is and which tier each project has: asked at the start and daily, so that an upgrade
//! is picked up, and for new projects as they come.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::{Instrument, info_span};

use crate::clock::UnixSeconds;
use crate::config::{Settings, TierSetting};
use crate::gitlab::capability::Instance;
use crate::gitlab::model::{Known, Permissions, Role};
use crate::gitlab::{Cause, GitLab};
use crate::observer::Observer;
use crate::registry::{Projects, Registry};
use crate::types::ProjectId;
use crate::types::Tier;

/// How long what was found holds.
const HOLDS: Duration = Duration::from_secs(24 * 3600);
/// How often GitLab is asked what the token may read of each project.
const PERMISSIONS_HOLD: Duration = Duration::from_secs(900);
/// How soon a failed poll is repeated.
const RETRY: Duration = Duration::from_secs(60);

/// Asks what GitLab is and which tier each project has.
pub(super) struct CapabilityTask {
    gitlab: GitLab,
    tier: TierSetting,
    times: Mutex<Times>,
    registry: Arc<Registry>,
    observer: Arc<dyn Observer>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Times {
    /// When version and edition are to be asked for.
    instance_due: UnixSeconds,
    /// Whether they have been asked for with an answer, be it a refusal.
    asked: bool,
    /// [`GitLab::token_revision`] at the last run.
    token: u64,
    /// When the grants of a fine-grained token are to be tried.
    grants_due: UnixSeconds,
}

impl CapabilityTask {
    pub(super) fn new(
        settings: &Settings,
        gitlab: &GitLab,
        registry: &Arc<Registry>,
        observer: &Arc<dyn Observer>,
    ) -> Self {
        Self {
            gitlab: gitlab.clone(),
            tier: settings.gitlab.tier,
            times: Mutex::default(),
            registry: Arc::clone(registry),
            observer: Arc::clone(observer),
        }
    }

    fn times(&self) -> MutexGuard<'_, Times> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether anything is to be asked for.
    pub(super) fn is_due(&self, now: UnixSeconds) -> bool {
        let Times {
            instance_due,
            asked,
            token,
            ..
        } = *self.times();
        if instance_due <= now || token != self.gitlab.token_revision() {
            return true;
        }
        let grants_are_due = self.grants_are_due(now);
        let projects = self.registry.lock();
        grants_are_due && !projects.is_empty()
            || asked && (projects.has_tier_due(now) || self.asks_permissions(&projects, now))
    }

    fn grants_are_due(&self, now: UnixSeconds) -> bool {
        self.times().grants_due <= now && self.gitlab.has_fine_grained_token()
    }

    /// Keeps the rhythm when the clock is set back.
    pub(super) fn clock_was_set_back(&self, back: Duration) {
        let mut times = self.times();
        times.instance_due = times.instance_due.minus(back);
        times.grants_due = times.grants_due.minus(back);
    }

    /// Asks for what is due.
    pub(super) async fn run(&self, now: UnixSeconds) {
        let span = info_span!("run", otel.name = "capability run");
        async {
            let token = self.gitlab.token_revision();
            if std::mem::replace(&mut self.times().token, token) != token {
                self.registry.lock().rights_changed(now);
            }
            let due = self.times().instance_due;
            if due <= now {
                self.ask_instance(now).await;
            }
            let asked = self.times().asked;
            if asked {
                self.ask_permissions(now).await;
                self.ask_tiers(now).await;
            }
            if self.grants_are_due(now) {
                self.try_grants(now).await;
            }
        }
        .instrument(span)
        .await;
    }

    async fn ask_instance(&self, now: UnixSeconds) {
        let answer = self.gitlab.instance().await;
        let mut times = self.times();
        match answer {
            Ok(instance) => {
                self.observer.instance(&instance);
                self.registry.lock().set_instance(Some(Arc::new(instance)));
                times.asked = true;
                times.instance_due = now.plus(HOLDS);
            }
            // A token that may not ask: what depends on the version is left out.
            Err(error) if matches!(error.status(), Some(403 | 404)) => {
                tracing::warn!(%error, "GitLab version unknown");
                times.asked = true;
                times.instance_due = now.plus(HOLDS);
            }
            Err(error) => {
                tracing::debug!(%error, "reading the GitLab version failed, will retry");
                // One endpoint that fails stops no collector: they do without the version until then.
                times.asked |= error.status().is_some();
                times.instance_due = now.plus(RETRY);
            }
        }
    }

    fn asks_permissions(&self, projects: &Projects, now: UnixSeconds) -> bool {
        self.gitlab.uses_graphql() && projects.has_permissions_due(now)
    }

    /// Asks what the token may read of each project. Where GitLab does not say, it is asked for what is
    /// to be read, and what it refuses is remembered.
    async fn ask_permissions(&self, now: UnixSeconds) {
        if !self.gitlab.uses_graphql() {
            return;
        }
        let due = self.registry.lock().permissions_due(now);
        for ids in due.chunks(GitLab::PERMISSION_PROJECTS) {
            let read = self.gitlab.permissions(ids).await;
            let mut projects = self.registry.lock();
            let (mut left, retry) = (BTreeMap::new(), now.plus(RETRY));
            match read {
                Ok(batch) => {
                    for (id, permissions) in batch.items {
                        left.insert(id, (permissions, now.plus(PERMISSIONS_HOLD)));
                    }
                    // Nulled by what a fine-grained token may not ask for.
                    for failed in batch.failed {
                        left.insert(failed.id, (Permissions::default(), now.plus(HOLDS)));
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "reading permissions failed, will retry");
                    let holds = match error.graphql_unavailable() {
                        true => PERMISSIONS_HOLD,
                        false => RETRY,
                    };
                    for id in ids {
                        projects.ask_permissions_again(*id, now.plus(holds));
                    }
                    continue;
                }
            }
            for id in ids {
                match left.remove(id) {
                    Some((permissions, due)) => {
                        projects.set_permissions(*id, permissions, due, now);
                    }
                    None => projects.ask_permissions_again(*id, retry),
                }
            }
        }
    }

    /// Tries the grants of a fine-grained token on one project: what GraphQL leaves empty for want of one
    /// looks like nothing.
    async fn try_grants(&self, now: UnixSeconds) {
        let first = self.registry.lock().iter().next().map(|(id, _)| id);
        let Some(project) = first else { return };
        self.times().grants_due = now.plus(HOLDS);
        self.gitlab.try_grants(project).await;
        for grant in self.gitlab.missing_grants() {
            tracing::warn!(grant, "token lacks a grant");
        }
    }

    async fn ask_tiers(&self, now: UnixSeconds) {
        let (instance, roles) = {
            let projects = self.registry.lock();
            (projects.instance(), projects.tiers_due(now))
        };
        let ids: Vec<ProjectId> = roles.keys().copied().collect();
        for ids in ids.chunks(GitLab::TIER_PROJECTS) {
            let read = match set(self.tier) {
                Some(tier) => {
                    let (tier, holds) = (Known::Value(tier), HOLDS);
                    let set = ids.iter().map(|id| (*id, ReadTier { tier, holds }));
                    set.collect()
                }
                None => read_tiers(&self.gitlab, ids, instance.as_deref(), &roles, now).await,
            };
            let mut projects = self.registry.lock();
            for id in ids {
                match read.get(id) {
                    Some(ReadTier { tier, holds }) => {
                        projects.set_tier(*id, *tier, now.plus(*holds), now);
                    }
                    None => projects.ask_tier_again(*id, now.plus(RETRY)),
                }
            }
        }
        let highest = self.registry.lock().highest_tier();
        if let Some(highest) = highest {
            self.observer.tier(highest);
        }
    }
}

/// The tier that the settings say, if they say one.
#[must_use]
pub const fn set(setting: TierSetting) -> Option<Tier> {
    match setting {
        TierSetting::Auto => None,
        TierSetting::Free => Some(Tier::Free),
        TierSetting::Premium => Some(Tier::Premium),
        TierSetting::Ultimate => Some(Tier::Ultimate),
    }
}

/// The tiers that GitLab returns. What it does not give now is taken for unread and asked for again;
/// what was known stays. Without any answer nothing else is read either.
async fn read_tiers(
    gitlab: &GitLab,
    ids: &[ProjectId],
    instance: Option<&Instance>,
    roles: &BTreeMap<ProjectId, Known<Role>>,
    now: UnixSeconds,
) -> BTreeMap<ProjectId, ReadTier> {
    let unread = |holds| {
        ids.iter()
            .map(|id| (*id, ReadTier::unread(holds)))
            .collect()
    };
    let Some(instance) = instance else {
        return unread(RETRY);
    };
    match gitlab.project_tiers(ids, instance, now).await {
        Ok(batch) => {
            let mut read: BTreeMap<ProjectId, ReadTier> = unread(RETRY);
            read.extend(batch.items.iter().map(|project| {
                let role = roles.get(&project.id).copied().unwrap_or_default();
                let tier = project.with_role(role).map_or(project.tier, Known::Value);
                (project.id, ReadTier { tier, holds: HOLDS })
            }));
            read
        }
        Err(error) if error.graphql_unavailable() => {
            tracing::warn!(projects = ids.len(), %error, "tier of projects unknown");
            // What this GitLab lacks comes with another version only.
            let is_lost = matches!(error.cause, Cause::GraphQlLacks(_));
            unread(if is_lost { HOLDS } else { RETRY })
        }
        Err(error) => {
            tracing::debug!("the tiers are asked for again: {error}");
            BTreeMap::new()
        }
    }
}

/// What was read of a project's tier, and how long that holds.
#[derive(Clone, Copy, Debug)]
struct ReadTier {
    tier: Known<Tier>,
    holds: Duration,
}

impl ReadTier {
    const fn unread(holds: Duration) -> Self {
        let tier = Known::Unread;
        Self { tier, holds }
    }
}
