//! What GitLab is and which tier each project has: asked at the start and daily, so that an upgrade
//! is picked up, and for new projects as they come.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tracing::{Instrument, info_span};

use super::Shared;
use super::registry::Entry;
use crate::clock::UnixSeconds;
use crate::config::TierSetting;
use crate::gitlab::GitLab;
use crate::gitlab::capability::Instance;
use crate::gitlab::model::{Known, Role};
use crate::types::ProjectId;
use crate::types::Tier;

/// How long what was found holds.
const HOLDS: Duration = Duration::from_secs(24 * 3600);
/// How soon a failed look is repeated.
const RETRY: Duration = Duration::from_secs(60);

/// When to ask, and what was found.
#[derive(Debug, Default)]
pub(super) struct Capability {
    /// When version and edition are to be asked for.
    pub(super) instance_due: UnixSeconds,
    /// Whether they have been asked for with an answer, be it a refusal.
    pub(super) asked: bool,
}

/// Whether anything is to be asked for.
pub(super) fn is_due(shared: &Shared, now: UnixSeconds) -> bool {
    let capability = shared.capability();
    let (instance_due, asked) = (capability.instance_due <= now, capability.asked);
    drop(capability);
    let registry = shared.registry();
    let mut tiers = registry.iter();
    instance_due || asked && tiers.any(|(_, entry)| entry.tier_due <= now)
}

/// Asks for what is due.
pub(super) async fn look(shared: Arc<Shared>) {
    let span = info_span!("run", otel.name = "capability run");
    async {
        let now = shared.clock.now();
        if shared.capability().instance_due <= now {
            instance(&shared, now).await;
        }
        if shared.capability().asked {
            tiers(&shared, now).await;
        }
    }
    .instrument(span)
    .await;
}

async fn instance(shared: &Shared, now: UnixSeconds) {
    let answer = shared.gitlab.instance().await;
    let mut capability = shared.capability();
    match answer {
        Ok(instance) => {
            shared.observer.instance(&instance);
            shared.registry().set_instance(Some(Arc::new(instance)));
            capability.asked = true;
            capability.instance_due = now.plus(HOLDS);
        }
        // A token that may not ask: what depends on the version is left out.
        Err(error) if matches!(error.status(), Some(403 | 404)) => {
            tracing::warn!("the version of GitLab is not known: {error}");
            capability.asked = true;
            capability.instance_due = now.plus(HOLDS);
        }
        Err(error) => {
            tracing::debug!("the version of GitLab is asked for again: {error}");
            // One endpoint that fails stops no collector: they do without the version until then.
            capability.asked |= error.status().is_some();
            capability.instance_due = now.plus(RETRY);
        }
    }
}

async fn tiers(shared: &Shared, now: UnixSeconds) {
    let (instance, roles) = {
        let registry = shared.registry();
        let due = registry.iter().filter(|(_, entry)| entry.tier_due <= now);
        let roles: BTreeMap<ProjectId, Known<Role>> =
            due.map(|(id, entry)| (id, entry.project.role)).collect();
        (registry.instance(), roles)
    };
    let ids: Vec<ProjectId> = roles.keys().copied().collect();
    for ids in ids.chunks(GitLab::TIER_PROJECTS) {
        let told = match set(shared.tier) {
            Some(tier) => {
                let (tier, holds) = (Known::Value(tier), HOLDS);
                ids.iter().map(|id| (*id, Told { tier, holds })).collect()
            }
            None => asked(shared, ids, instance.as_deref(), &roles, now).await,
        };
        let mut registry = shared.registry();
        for id in ids {
            let Some(entry) = registry.get_mut(*id) else {
                continue;
            };
            match told.get(id) {
                Some(told) => told.put(entry, now),
                None => entry.tier_due = now.plus(RETRY),
            }
        }
    }
    let registry = shared.registry();
    let tiers = registry.iter().filter_map(|(_, entry)| entry.tier?.value());
    if let Some(highest) = tiers.max() {
        shared.observer.tier(highest);
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

/// The tiers that GitLab tells. What it does not tell now is taken for unread and asked for again;
/// what was known stays. No answer at all tells nothing: then nothing else is read either.
async fn asked(
    shared: &Shared,
    ids: &[ProjectId],
    instance: Option<&Instance>,
    roles: &BTreeMap<ProjectId, Known<Role>>,
    now: UnixSeconds,
) -> BTreeMap<ProjectId, Told> {
    let unread = |holds| ids.iter().map(|id| (*id, Told::unread(holds))).collect();
    let Some(instance) = instance else {
        return unread(RETRY);
    };
    match shared.gitlab.project_tiers(ids, instance, now).await {
        Ok(batch) => {
            let mut told: BTreeMap<ProjectId, Told> = unread(RETRY);
            told.extend(batch.items.iter().map(|project| {
                let role = roles.get(&project.id).copied().unwrap_or_default();
                let tier = project.with_role(role).map_or(project.tier, Known::Value);
                (project.id, Told { tier, holds: HOLDS })
            }));
            told
        }
        Err(error) if error.graphql_unavailable() => {
            tracing::warn!("the tier of {} projects is unknown: {error}", ids.len());
            unread(RETRY)
        }
        Err(error) => {
            tracing::debug!("the tiers are asked for again: {error}");
            BTreeMap::new()
        }
    }
}

/// What was told of a project's tier, and how long that holds.
#[derive(Clone, Copy, Debug)]
struct Told {
    tier: Known<Tier>,
    holds: Duration,
}

impl Told {
    const fn unread(holds: Duration) -> Self {
        let tier = Known::Unread;
        Self { tier, holds }
    }

    fn put(self, entry: &mut Entry, now: UnixSeconds) {
        entry.tier_due = now.plus(self.holds);
        let before = entry.tier;
        let tier = match (self.tier, before) {
            (Known::Unread, Some(known)) => known,
            (told, _) => told,
        };
        entry.tier = Some(tier);
        // What an upgrade brings, or a downgrade takes, shows at the next look.
        if before.is_some_and(|before| before != tier) {
            entry.hasten_others(now);
        }
    }
}
