//! Which tier a project's licence gives, as far as GraphQL shows it.

use std::time::Duration;

use super::convert::gid;
use super::holes::ProjectHoles;
use super::projects::{Messages, count, gids, over_projects};
use super::{Batch, queries};
use crate::clock::UnixSeconds;
use crate::gitlab::GitLab;
use crate::gitlab::error::GitLabError;
use crate::gitlab::model::{Known, Role};
use crate::types::{ProjectId, Tier};
use queries::feature_probe::{self, FeatureProbeProjectsNodes as Probed};
use queries::licensed_features::{self, LicensedFeaturesProjectsNodes as Licensed};

/// Days the probe of value stream metrics looks back; the answer's value does not matter.
const PROBE: Duration = Duration::from_secs(86_400);

/// The tier of one project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectTier {
    /// The project.
    pub id: ProjectId,
    /// Its tier. Hidden when what was seen may also come from a role below Reporter.
    pub tier: Known<Tier>,
}

impl ProjectTier {
    /// The tier, where the token's role in the project shows what else could have hidden it: from
    /// Reporter on, only the licence can.
    #[must_use]
    pub fn with_role(&self, role: Known<Role>) -> Option<Tier> {
        match (self.tier, role) {
            (Known::Value(tier), _) => Some(tier),
            (Known::Hidden, Known::Value(role)) if role >= Role::REPORTER => Some(Tier::Free),
            _ => None,
        }
    }
}

impl Messages for ProjectTier {}

impl GitLab {
    /// Most projects in one query for tiers.
    pub const TIER_PROJECTS: usize = 100;

    /// Tiers by the licence itself: GitLab 18.11 and later, Enterprise Edition.
    pub(crate) async fn licensed_tiers(
        &self,
        ids: &[ProjectId],
    ) -> Result<Batch<ProjectTier>, GitLabError> {
        let variables = licensed_features::Variables {
            ids: gids(ids),
            projects: count(ids.len()),
        };
        self.over_projects::<queries::LicensedFeatures>(ids, variables)
            .await
    }

    /// Tiers by what licensed fields show: older Enterprise Editions.
    pub(crate) async fn probed_tiers(
        &self,
        ids: &[ProjectId],
        now: UnixSeconds,
    ) -> Result<Batch<ProjectTier>, GitLabError> {
        let variables = feature_probe::Variables {
            ids: gids(ids),
            projects: count(ids.len()),
            from: now.minus(PROBE).to_string(),
            to: now.to_string(),
        };
        self.over_projects::<queries::FeatureProbe>(ids, variables)
            .await
    }
}

over_projects!(queries::LicensedFeatures, licensed_features, Licensed => ProjectTier, licensed);

fn licensed(node: Licensed, _: ProjectHoles<'_>) -> Result<ProjectTier, String> {
    let ultimate = node.ultimate.and_then(|feature| feature.available);
    let premium = node.premium.and_then(|feature| feature.available);
    Ok(ProjectTier {
        id: ProjectId(gid("id", &node.id)?),
        tier: match (ultimate, premium) {
            (Some(true), _) => Known::Value(Tier::Ultimate),
            (_, Some(true)) => Known::Value(Tier::Premium),
            (Some(false), Some(false)) => Known::Value(Tier::Free),
            _ => Known::Hidden,
        },
    })
}

over_projects!(queries::FeatureProbe, feature_probe, Probed => ProjectTier, probed);

fn probed(node: Probed, _: ProjectHoles<'_>) -> Result<ProjectTier, String> {
    let dora = node.dora.and_then(|dora| dora.metrics);
    let flow = node.flow_metrics.and_then(|metrics| metrics.lead_time);
    Ok(ProjectTier {
        id: ProjectId(gid("id", &node.id)?),
        tier: if dora.is_some() {
            Known::Value(Tier::Ultimate)
        } else if flow.is_some() {
            Known::Value(Tier::Premium)
        } else {
            Known::Hidden
        },
    })
}
