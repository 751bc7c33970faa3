//! `value_stream`.

use amazing_gitlab_exporter::config::Settings;
use gitlab_simulator::World;
use gitlab_simulator::faults::{Fault, Rule};
use gitlab_simulator::world::{DEFAULT_STAGES, FlowIssue, Stage, Tier, ValueStream};

use super::code::{Make, Rig};

const DAY: i64 = 86_400_000;

fn on(settings: &mut Settings) {
    settings.collectors.value_stream.enabled = true;
}

fn streaming(world: &mut World, app: u64) {
    let now = world.now();
    let code = world.code_mut(app).expect("a project");
    code.default_stages = [
        Some(10.0),
        Some(20.0),
        Some(30.0),
        None,
        Some(50.0),
        Some(60.0),
    ];
    let stage = |name: &str, custom, hidden, median| Stage {
        name: name.into(),
        custom,
        hidden,
        median: Some(median),
    };
    code.value_streams = vec![
        ValueStream {
            name: "Delivery".into(),
            stages: vec![
                stage("Review", false, false, 70.0),
                stage("Sign Off", true, false, 80.0),
                stage("plan", false, true, 90.0),
            ],
        },
        ValueStream {
            name: "Second".into(),
            stages: vec![stage("review", false, false, 1.0)],
        },
    ];
    code.issues = [2, 4, 60]
        .map(|days| FlowIssue {
            created_at: now - days * DAY - DAY,
            mentioned_at: Some(now - days * DAY - DAY / 2),
            closed_at: Some(now - days * DAY),
        })
        .to_vec();
}

fn stage(rig: &Rig, name: &str) -> Option<f64> {
    let labels = [("stage_name", name)];
    rig.value("age_value_stream_stage_duration_seconds", &labels)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_licence_the_default_stages_are_shown() {
    for enterprise in [true, false] {
        let make = Make {
            tier: Tier::Free,
            enterprise,
            ..Make::new(on)
        };
        let mut rig = make.begin(streaming).await;
        let shown = DEFAULT_STAGES.map(|name| stage(&rig, name));
        let wanted = [
            Some(10.0),
            Some(20.0),
            Some(30.0),
            None,
            Some(50.0),
            Some(60.0),
        ];
        assert_eq!(shown, wanted, "no item has left the stage test");
        assert_eq!(rig.value("age_value_stream_lead_time_seconds", &[]), None);
        assert_eq!(rig.gitlab.requests().count("FlowTimes"), 0);
        rig.world()
            .code_mut(rig.app)
            .expect("a project")
            .default_stages[3] = Some(40.0);
        rig.look_later().await;
        assert_eq!(stage(&rig, "test"), Some(40.0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_premium_own_stages_lead_and_cycle_time_are_shown() {
    let make = Make {
        tier: Tier::Premium,
        ..Make::new(on)
    };
    let mut rig = make.begin(streaming).await;
    assert_eq!(stage(&rig, "review"), Some(70.0), "the first stream's");
    assert_eq!(stage(&rig, "Sign Off"), Some(80.0));
    assert_eq!(stage(&rig, "plan"), None, "it is hidden");
    let times = |rig: &Rig| {
        let metrics = ["lead", "cycle"].map(|name| format!("age_value_stream_{name}_time_seconds"));
        metrics.map(|metric| rig.value(&metric, &[]))
    };
    assert_eq!(times(&rig), [Some(86_400.0), Some(43_200.0)]);
    rig.world().set_tier("group", Tier::Free).expect("a group");
    rig.gitlab.advance(std::time::Duration::from_secs(90_000));
    rig.look_later().await;
    assert_eq!(times(&rig), [None, None], "the licence ended");
    assert_eq!(stage(&rig, "issue"), Some(10.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_graphql_there_is_nothing_and_a_reason() {
    let make = Make {
        graphql: false,
        ..Make::new(on)
    };
    let rig = make.begin(streaming).await;
    assert_eq!(stage(&rig, "issue"), None);
    let why = rig.unavailable("value_stream").expect("a reason");
    assert!(why.contains("GraphQL"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_projects_share_queries() {
    let make = Make {
        more_projects: 29,
        tier: Tier::Free,
        ..Make::new(on)
    };
    let rig = make
        .begin(|world, _| {
            let all: Vec<u64> = world.projects().map(|project| project.id).collect();
            all.into_iter().for_each(|id| streaming(world, id));
        })
        .await;
    let shown = rig.series();
    assert_eq!(
        shown
            .metric("age_value_stream_stage_duration_seconds")
            .len(),
        150
    );
    assert!(rig.gitlab.requests().count("ValueStreams") <= 5);
}

/// What one query says does not wait for the other, and what the other said stands.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stages_and_times_stand_for_themselves() {
    for fails in ["FlowTimes", "ValueStreams"] {
        let make = Make {
            tier: Tier::Premium,
            ..Make::new(on)
        };
        let mut rig = make.begin(streaming).await;
        let rule = Rule::new(Fault::Status { status: 500 }).on(fails);
        let rule = rig.gitlab.faults().add(rule);
        let app = rig.app;
        {
            let mut world = rig.world();
            let code = world.code_mut(app).expect("a project");
            code.value_streams[0].stages[0].median = Some(75.0);
            for issue in &mut code.issues {
                issue.created_at -= DAY;
            }
        }
        rig.gitlab.advance(std::time::Duration::from_secs(3600));
        rig.look_later().await;
        assert!(rig.gitlab.faults().hits(rule) > 0);
        let (review, lead) = match fails {
            "FlowTimes" => (75.0, 86_400.0),
            _ => (70.0, 172_800.0),
        };
        assert_eq!(stage(&rig, "review"), Some(review), "{fails}");
        let shown = rig.value("age_value_stream_lead_time_seconds", &[]);
        assert_eq!(shown, Some(lead), "{fails}");
    }
}
