//! Environments, deployments, and what DORA figures are computed from.

use super::keep::{Map, stored_enum, stored_struct};
use super::refs::StoredRefKind;
use crate::gitlab::model::DeploymentTier;
use crate::gitlab::model::Environment;
use crate::memory::dora;
use crate::memory::environments::{
    self, EnvironmentsMemory, EnvironmentsProgress, LastSuccess, RememberedEnvironment,
};
use crate::types::Text;

stored_struct! {
    StoredEnvironmentsState of EnvironmentsProgress {
        first_seen: i64,
        watermark: i64,
        read_at: Option<i64>,
        full_at: i64,
        moved: i64,
        turn: u64,
    }
}

stored_enum! {
    /// An event of a deployment.
    StoredDeploymentEvent of environments::DeploymentEvent { Started, Finished }
}

stored_struct! {
    StoredEnvironment of Environment {
        id: u64,
        name: Text,
        tier: Text,
        state: Text,
        external_url: Option<Text>,
    }
}

stored_struct! {
    StoredSuccess of LastSuccess {
        id: u64,
        sha: Text,
        finished_at: i64,
        duration: Option<f64>,
        created_at: Option<i64>,
        git_ref: Text,
        kind: Option<StoredRefKind>,
        job: Option<u64>,
        user: Text,
    }
}

stored_struct! {
    StoredLastStarted of environments::LastStarted {
        id: u64,
        started_at: i64,
        status: Text,
    }
}

stored_struct! {
    StoredKnownEnvironment of RememberedEnvironment {
        environment: StoredEnvironment,
        newest: Option<StoredLastStarted>,
        waiting: Map<u64, Text>,
        success: Option<StoredSuccess>,
        behind: Option<u64>,
        asked: bool,
    }
}

stored_struct! {
    StoredEnvironments of EnvironmentsMemory {
        claims: Map<(u64, StoredDeploymentEvent), i64>,
        known: Map<u64, StoredKnownEnvironment>,
        tip: Option<Text>,
        naming: Text,
    }
}

/// As version 2 stored them: without what a deployment came from.
pub(in crate::store) mod environments_v2 {
    use serde::{Deserialize, Serialize};

    use super::{
        Map, StoredDeploymentEvent, StoredEnvironment, StoredEnvironments, StoredKnownEnvironment,
        StoredLastStarted, StoredSuccess, Text,
    };

    #[derive(Debug, Serialize, Deserialize)]
    pub(super) struct Success {
        id: u64,
        sha: Text,
        finished_at: i64,
        duration: Option<f64>,
    }

    #[derive(Debug, Serialize, Deserialize)]
    pub(super) struct KnownEnvironment {
        pub(super) environment: StoredEnvironment,
        pub(super) newest: Option<StoredLastStarted>,
        pub(super) waiting: Map<u64, Text>,
        pub(super) success: Option<Success>,
        pub(super) behind: Option<u64>,
        pub(super) asked: bool,
    }

    #[derive(Debug, Serialize, Deserialize)]
    pub(in crate::store) struct Environments {
        pub(super) claims: Map<(u64, StoredDeploymentEvent), i64>,
        pub(super) known: Map<u64, KnownEnvironment>,
    }

    impl From<Environments> for StoredEnvironments {
        fn from(stored: Environments) -> Self {
            let known = stored.known.into_iter();
            Self {
                claims: stored.claims,
                known: known.map(|(id, known)| (id, known.into())).collect(),
                tip: None,
                naming: Text::default(),
            }
        }
    }

    impl From<KnownEnvironment> for StoredKnownEnvironment {
        fn from(known: KnownEnvironment) -> Self {
            let success = known.success.map(|success| StoredSuccess {
                id: success.id,
                sha: success.sha,
                finished_at: success.finished_at,
                duration: success.duration,
                created_at: None,
                git_ref: Text::default(),
                kind: None,
                job: None,
                user: Text::default(),
            });
            Self {
                environment: known.environment,
                newest: known.newest,
                waiting: known.waiting,
                success,
                behind: known.behind,
                asked: known.asked,
            }
        }
    }
}

/// As version 1 stored them: deployments were counted when they were created, and the status was that
/// of the newest, whether it had started or not.
pub(in crate::store) mod environments_v1 {
    use serde::{Deserialize, Serialize};

    use super::environments_v2::{self as v2, Success};
    use super::{Map, StoredDeploymentEvent, StoredEnvironment, StoredLastStarted, Text};

    #[derive(Debug, Serialize, Deserialize)]
    struct KnownEnvironment {
        environment: StoredEnvironment,
        newest: Option<(u64, Text)>,
        success: Option<Success>,
        behind: Option<u64>,
        asked: bool,
    }

    #[derive(Debug, Serialize, Deserialize)]
    pub(in crate::store) struct Environments {
        claims: Map<(u64, StoredDeploymentEvent), i64>,
        known: Map<u64, KnownEnvironment>,
    }

    impl From<Environments> for v2::Environments {
        fn from(stored: Environments) -> Self {
            let known = stored.known.into_iter();
            Self {
                claims: stored.claims,
                known: known.map(|(id, known)| (id, known.into())).collect(),
            }
        }
    }

    impl From<KnownEnvironment> for v2::KnownEnvironment {
        fn from(known: KnownEnvironment) -> Self {
            let has_started = |status: &str| !matches!(status, "created" | "blocked" | "skipped");
            let (newest, waiting) = match known.newest {
                // Any other that starts is later.
                Some((id, status)) if has_started(&status) => (
                    Some(StoredLastStarted {
                        id,
                        started_at: 0,
                        status,
                    }),
                    Map::new(),
                ),
                Some(waiting) => (None, vec![waiting]),
                None => (None, Map::new()),
            };
            Self {
                environment: known.environment,
                newest,
                waiting,
                success: known.success,
                behind: known.behind,
                asked: known.asked,
            }
        }
    }
}

stored_struct! {
    StoredDoraState of dora::DoraProgress {
        read_at: Option<i64>,
        full_at: i64,
        moved: i64,
        incidents_at: Option<i64>,
        all_incidents_at: i64,
        refused_at: Option<i64>,
    }
}

stored_enum! {
    StoredTier of DeploymentTier { Production, Staging, Testing, Development, Other }
}

stored_enum! {
    StoredShipped of dora::Shipped {
        Unasked,
        Failed,
        Early(Vec<u32>),
        Known(Vec<u32>),
    }
}

stored_struct! {
    StoredDeployed of dora::Deployed {
        environment: u64,
        finished_at: i64,
        shipped: StoredShipped,
    }
}

stored_struct! {
    StoredIncident of dora::Life {
        created_at: i64,
        closed_at: Option<i64>,
        duplicate: bool,
    }
}

stored_struct! {
    StoredDora of dora::DoraMemory {
        tiers: Vec<StoredTier>,
        environments: Map<u64, StoredTier>,
        deployments: Map<u64, StoredDeployed>,
        incidents: Option<Map<u64, StoredIncident>>,
    }
}
