//! A plausible state of affairs.

use std::time::Duration;

use crate::catalogue::Collector;
use crate::clock::UnixSeconds;
use crate::gitlab::Pace;
use crate::gitlab::model::Role;
use crate::server::status::*;
use crate::types::ProjectId;
use crate::types::Tier;

pub(super) const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

fn ago(seconds: u64) -> UnixSeconds {
    NOW.minus(Duration::from_secs(seconds))
}

/// A busy exporter with a few troubles, without its projects.
pub(super) fn status() -> Status {
    Status {
        started_at: ago(93_784),
        gitlab: GitLabStatus {
            url: "https://gitlab.example.com/".into(),
            version: Some("18.6.1-ee".into()),
            edition: Some("Enterprise Edition".into()),
            tier: Some(Tier::Premium),
            reachability: Reachability::Up,
            reading: Reading::GraphQl,
            lost: Vec::new(),
            subscriptions: Some(crate::server::status::SubscriptionsStatus {
                standing: 41,
                pending: 1,
                refused: 0,
                why: None,
            }),
        },
        token: TokenStatus {
            name: Some("exporter-read-only".into()),
            scopes: vec!["read_api".into(), "read_user".into()],
            expiry: TokenExpiry::At(NOW.plus(Duration::from_secs(19 * 86_400))),
            missing_grants: Vec::new(),
        },
        budget: Some(Budget {
            remaining: 1_742,
            reset: NOW.plus(Duration::from_secs(42)),
        }),
        load: load(),
        replicas: None,
        store: StoreStatus {
            kind: "memory",
            up: true,
        },
        push: vec![
            PushStatus {
                signal: "metrics",
                target: "http://collector.observability.svc:4317/ by grpc".into(),
                succeeded_at: Some(ago(14)),
                failed_at: None,
            },
            PushStatus {
                signal: "traces",
                target: "http://collector.observability.svc:4318/v1/traces by http/protobuf".into(),
                succeeded_at: Some(ago(300)),
                failed_at: Some(ago(9)),
            },
        ],
        config: crate::server::status::ConfigStatus {
            loaded_at: ago(93_784),
            error: None,
            needs_restart: Vec::new(),
        },
        collectors: Collector::ALL.into_iter().map(collector).collect(),
        projects: ProjectPage::default(),
    }
}

/// Little, with room for more.
fn load() -> ServerLoad {
    ServerLoad {
        workers: Some(0.0325),
        pace: Pace {
            concurrency: 4,
            ceiling: 8,
            slowed: None,
            backfill_waits: None,
        },
        instance_feed: false,
    }
}

fn collector(collector: Collector) -> CollectorStatus {
    let idle = CollectorStatus {
        collector,
        state: CollectorState::Disabled,
        interval: Some(Duration::from_secs(300)),
        ran_at: None,
        duration: None,
        succeeded_at: None,
        lag: None,
        errors: Vec::new(),
    };
    let busy = CollectorStatus {
        state: CollectorState::Enabled,
        interval: Some(Duration::from_secs(30)),
        ran_at: Some(ago(7)),
        duration: Some(Duration::from_millis(1_840)),
        succeeded_at: Some(ago(7)),
        lag: Some(Duration::from_millis(400)),
        ..idle.clone()
    };
    match collector {
        Collector::Pipelines => busy,
        Collector::Jobs => CollectorStatus {
            lag: Some(Duration::from_secs(75)),
            errors: vec![("timeout", 12), ("forbidden", 3), ("decode", 1)],
            ..busy
        },
        Collector::ChildPipelines => CollectorStatus {
            duration: Some(Duration::from_millis(310)),
            ..busy
        },
        Collector::ValueStream => CollectorStatus {
            state: CollectorState::Unavailable {
                reason: "value stream analytics needs GitLab Premium in every project".into(),
            },
            ..idle
        },
        _ => idle,
    }
}

/// `count` projects, some of them in trouble and some with long names.
pub(super) fn projects(count: u64) -> Vec<ProjectStatus> {
    (1..=count).map(project).collect()
}

fn project(id: u64) -> ProjectStatus {
    let team = ["platform", "payments", "mobile", "research/vision", "docs"][id as usize % 5];
    let path = match id % 60 {
        7 => format!(
            "group-with-a-rather-long-name/and-a-subgroup-that-nobody-can-remember/yet-another-level/\
             the-service-that-does-everything-for-everybody-{id}"
        ),
        _ => format!("{team}/service-{id}"),
    };
    let error = match id % 90 {
        7 => Some(
            "GitLab answered 403 to GET /projects/:id/pipelines: forbidden; the token needs at least the role Reporter",
        ),
        31 => Some("GitLab did not answer POST /api/graphql within 30 s"),
        _ => None,
    };
    let unread = id % 97 == 5;
    ProjectStatus {
        id: ProjectId(id),
        path: path.into(),
        role: Some(if id.is_multiple_of(4) {
            Role::MAINTAINER
        } else {
            Role::REPORTER
        }),
        succeeded_at: (!unread).then(|| ago(if error.is_some() { 4_000 } else { id % 30 })),
        interval: Some(Duration::from_secs(if id.is_multiple_of(3) {
            30
        } else {
            300
        })),
        lag: Duration::from_secs(if error.is_some() { 90 } else { 0 }),
        error: error.map(Into::into),
        active_pipelines: Some((id % 11) as usize / 3),
        reads_nothing: false,
        trigger: (id == 2).then_some(("webhook", Some(Duration::from_secs(2)))),
        relies_on_events: id == 2,
        unavailable: match id % 13 {
            3 => ["dora", "security"]
                .map(|who| {
                    (
                        who,
                        "needs GitLab Ultimate, the project has Free".to_owned(),
                    )
                })
                .to_vec(),
            _ => Vec::new(),
        },
    }
}

/// Ready, with `count` projects.
pub(super) fn readiness(count: usize) -> Readiness {
    Readiness {
        first_round: true,
        gitlab: Reachability::Up,
        load: load(),
        replicas: None,
        store: StoreStatus {
            kind: "memory",
            up: true,
        },
        lag: Some(Duration::from_millis(1_500)),
        projects: ProjectCounts {
            tracked: count,
            polled: count,
            failing: 0,
            late: Duration::ZERO,
            unreadable: 0,
            removals_pending: 0,
            first_sync: FirstSync::default(),
        },
        unavailable: vec![("dora", "tier", 2)],
    }
}
