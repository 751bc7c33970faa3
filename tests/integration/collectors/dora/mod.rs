//! `dora`.

mod agreement;
mod reading;

use amazing_gitlab_exporter::config::{DoraSource, Settings};
use gitlab_simulator::faults::{Fault, Rule};
use gitlab_simulator::time::{HOUR, Millis, SECOND};
use gitlab_simulator::world::{Finish, MergeRequestState, PipelineSpec, Tier};
use gitlab_simulator::{AccessLevel, World};

use super::code::{Make, Rig};

const FREQUENCY: &str = "age_dora_deployment_frequency";
const LEAD_TIME: &str = "age_dora_lead_time_for_changes_seconds";
const RESTORE: &str = "age_dora_time_to_restore_service_seconds";
const FAILURE_RATE: &str = "age_dora_change_failure_rate";
const SOURCE: &str = "age_dora_source";
const QUERY: &str = "DoraMetrics";
const REST: &str = "/api/v4/projects/:id/dora/metrics";
const DEPLOYMENTS: &str = "/api/v4/projects/:id/deployments";
const SHIPPED: &str = "/api/v4/projects/:id/deployments/:deployment_id/merge_requests";
const SHIPPED_QUERY: &str = "DeploymentMergeRequests";
const ISSUES: &str = "/api/v4/projects/:id/issues";

fn on(settings: &mut Settings) {
    settings.collectors.dora.enabled = true;
}

fn only_gitlab(settings: &mut Settings) {
    on(settings);
    settings.collectors.dora.source = DoraSource::Gitlab;
}

/// A merge request that was merged now.
fn merge(world: &mut World, app: u64) -> u64 {
    let number = world.project(app).expect("a project").merge_requests.len();
    let source = format!("feature-{number}");
    let iid = world
        .create_merge_request(app, &source, "main")
        .expect("a merge request");
    world
        .set_merge_request_state(app, iid, MergeRequestState::Merged)
        .expect("it is merged");
    iid
}

fn place(world: &mut World, app: u64, name: &str) -> u64 {
    world
        .add_environment(app, name, None)
        .expect("an environment")
}

/// A pipeline that runs from start to end: the sign that something may have been deployed.
fn move_pipelines(world: &mut World, app: u64) {
    let spec = PipelineSpec::branch("main").stage("deploy", &["go"]);
    let pipeline = world.create_pipeline(app, &spec).expect("a pipeline");
    world
        .finish_pipeline(pipeline, &Finish::success())
        .expect("it ends");
}

/// A change that took two hours to production, and an incident of half an hour.
fn delivered(world: &mut World, app: u64) {
    let production = place(world, app, "production");
    merge(world, app);
    world.advance(2 * HOUR - 60 * SECOND);
    world
        .deploy(app, production, 60 * SECOND)
        .expect("a deployment");
    let incident = world.open_incident(app).expect("an incident");
    world.advance(HOUR / 2);
    world
        .set_incident(app, incident, true, None)
        .expect("it is closed");
    world.advance(HOUR);
}

impl Rig {
    fn production(&self, metric: &str) -> Option<f64> {
        self.value(metric, &[("environment_tier", "production")])
    }

    /// All four of production.
    fn four(&self) -> [Option<f64>; 4] {
        [FREQUENCY, LEAD_TIME, RESTORE, FAILURE_RATE].map(|metric| self.production(metric))
    }

    fn source(&self) -> Vec<String> {
        let series = self.series();
        let shown = series.select(SOURCE, &[("project", "group/app")]);
        shown
            .keys()
            .map(|labels| labels["source"].clone())
            .collect()
    }

    fn calls(&self, subject: &str) -> usize {
        self.gitlab.requests().count(subject)
    }

    fn fails(&self, status: u16, subject: &str) -> u64 {
        let rule = Rule::new(Fault::Status { status }).on(subject);
        self.gitlab.faults().add(rule)
    }
}

const WANTED: [Option<f64>; 4] = [Some(1.0 / 30.0), Some(7200.0), Some(1800.0), Some(1.0)];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_ultimate_the_figures_are_gitlabs_own_by_graphql_or_rest() {
    for graphql in [true, false] {
        let make = Make {
            graphql,
            ..Make::new(on)
        };
        let rig = make.begin(delivered).await;
        assert_eq!(rig.four(), WANTED);
        assert_eq!(rig.source(), ["gitlab"]);
        let staging = [("environment_tier", "staging")];
        assert_eq!(rig.value(FREQUENCY, &staging), Some(0.0));
        assert_eq!(rig.value(FAILURE_RATE, &staging), None);
        assert_eq!(
            (rig.calls(QUERY) > 0, rig.calls(REST) > 0),
            (graphql, !graphql)
        );
        assert_eq!(rig.calls(DEPLOYMENTS), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_licence_they_are_computed() {
    for (tier, enterprise) in [
        (Tier::Free, true),
        (Tier::Free, false),
        (Tier::Premium, true),
    ] {
        let make = Make {
            tier,
            enterprise,
            ..Make::new(on)
        };
        let rig = make.begin(delivered).await;
        assert_eq!(rig.four(), WANTED);
        assert_eq!(rig.source(), ["computed"]);
        assert_eq!((rig.calls(QUERY), rig.calls(REST)), (0, 0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_they_come_from_can_be_chosen() {
    let computed = Make::new(|settings| {
        on(settings);
        settings.collectors.dora.source = DoraSource::Computed;
    });
    let rig = computed.begin(delivered).await;
    assert_eq!(rig.four(), WANTED);
    assert_eq!(rig.source(), ["computed"]);
    assert_eq!((rig.calls(QUERY), rig.calls(REST)), (0, 0));

    let rig = Make::new(only_gitlab).begin(delivered).await;
    assert_eq!(rig.source(), ["gitlab"]);
    let premium = Make {
        tier: Tier::Premium,
        ..Make::new(only_gitlab)
    };
    let rig = premium.begin(delivered).await;
    assert_eq!(rig.four(), [None; 4]);
    let why = rig.unavailable("dora").expect("a reason");
    assert_eq!(why, "needs GitLab Ultimate, the project has Premium");
    assert_eq!(rig.calls(DEPLOYMENTS), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_graphql_is_refused_rest_gives_the_same() {
    for status in [403, 404, 500, 502] {
        let make = Make::new(only_gitlab);
        let mut rig = make.begin(delivered).await;
        rig.fails(status, QUERY);
        rig.look_later().await;
        assert_eq!(rig.four(), WANTED, "{status}");
        assert_eq!(rig.source(), ["gitlab"]);
        assert!(rig.calls(REST) > 0, "{status}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_401_for_the_licence_is_no_bad_token_and_is_not_asked_for_again_and_again() {
    let make = Make {
        graphql: false,
        tier: Tier::Premium,
        ..Make::new(on)
    };
    let mut rig = make.begin(delivered).await;
    for _ in 0..3 {
        rig.look_later().await;
    }
    assert_eq!(rig.four(), WANTED);
    assert_eq!(rig.source(), ["computed"]);
    assert_eq!(rig.calls(REST), 1);
    let make = Make {
        graphql: false,
        tier: Tier::Premium,
        ..Make::new(only_gitlab)
    };
    let rig = make.begin(delivered).await;
    let why = rig.unavailable("dora").expect("a reason");
    assert_eq!(why, "GitLab gives it only with Ultimate");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_licence_ends_or_comes_the_source_changes_with_all_figures() {
    let mut rig = Make::new(on).begin(delivered).await;
    rig.world().set_tier("group", Tier::Free).expect("a group");
    rig.gitlab.advance(std::time::Duration::from_secs(90_000));
    rig.look_later().await;
    assert_eq!(rig.source(), ["computed"]);
    assert_eq!(rig.four(), WANTED);
    rig.world()
        .set_tier("group", Tier::Ultimate)
        .expect("a group");
    rig.gitlab.advance(std::time::Duration::from_secs(90_000));
    rig.look_later().await;
    assert_eq!(rig.source(), ["gitlab"]);
    assert_eq!(rig.four(), WANTED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_project_deploys_0_times_a_day() {
    for tier in [Tier::Free, Tier::Ultimate] {
        let make = Make {
            tier,
            ..Make::new(on)
        };
        let rig = make.begin(|_, _| {}).await;
        assert_eq!(rig.four(), [Some(0.0), None, None, None]);
        assert_eq!(rig.series().metric(FREQUENCY).len(), 2, "of two tiers");
        assert_eq!(rig.source().len(), 1);
        assert_eq!(rig.calls(ISSUES), 0, "nothing is production");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_role_there_is_nothing_and_a_reason() {
    for tier in [Tier::Free, Tier::Ultimate] {
        let make = Make {
            tier,
            role: AccessLevel::Guest,
            ..Make::new(on)
        };
        let rig = make.begin(delivered).await;
        assert!(rig.series().metric(SOURCE).is_empty());
        assert_eq!(rig.calls(DEPLOYMENTS), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_403_is_a_reason_and_what_is_not_forbidden_is_shown() {
    let free = || Make {
        tier: Tier::Free,
        ..Make::new(on)
    };
    let mut rig = free().begin(delivered).await;
    let faults = [ISSUES, "Incidents"].map(|subject| rig.fails(403, subject));
    rig.look_later().await;
    let [frequency, lead, ..] = WANTED;
    assert_eq!(rig.four(), [frequency, lead, None, None]);
    assert_eq!(rig.unavailable("dora"), None);
    for fault in faults {
        rig.gitlab.faults().remove(fault);
    }
    rig.look_later().await;
    assert_eq!(rig.four(), WANTED);

    move_pipelines(&mut rig.world(), rig.app);
    rig.look().await;
    rig.fails(403, DEPLOYMENTS);
    rig.look_later().await;
    assert_eq!(rig.four(), [None; 4]);
    let why = rig.unavailable("dora").expect("a reason");
    assert!(why.contains("403"), "{why}");
    rig.gitlab.faults().clear();
    rig.look_later().await;
    assert_eq!(rig.four(), WANTED);
    assert_eq!(rig.unavailable("dora"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_projects_share_a_query() {
    let make = Make {
        more_projects: 119,
        ..Make::new(on)
    };
    let rig = make.begin(delivered).await;
    assert_eq!(rig.series().metric(SOURCE).len(), 120);
    assert!(rig.calls(QUERY) <= 8, "{}", rig.calls(QUERY));
    assert_eq!(rig.calls(REST), 0);
}

/// Days of a world's time.
fn days(number: i64) -> std::time::Duration {
    let millis: Millis = 24 * HOUR * number;
    std::time::Duration::from_millis(millis.unsigned_abs())
}

fn give(rig: &Rig, role: AccessLevel) {
    let token = gitlab_simulator::world::DEFAULT_TOKEN;
    let given = rig.world().set_default_role(token, role);
    given.expect("a token");
}

/// Nothing moves in the project, and REST says nothing of permissions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_rest_alone_figures_leave_with_the_role_and_come_back_with_it() {
    let make = Make {
        graphql: false,
        tier: Tier::Free,
        ..Make::new(on)
    };
    let mut rig = make.begin(delivered).await;
    rig.look_later().await;
    rig.look_later().await;
    assert_eq!(rig.four(), WANTED);
    give(&rig, AccessLevel::Guest);
    rig.look_later().await;
    assert_eq!(rig.four(), [None; 4]);
    assert_eq!(rig.source(), [] as [&str; 0]);
    give(&rig, AccessLevel::Maintainer);
    rig.look_later().await;
    assert_eq!(rig.four(), WANTED);
}

/// By REST a refusal for the role looks like one for the licence.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_rest_alone_the_figures_are_gitlabs_again_as_soon_as_the_role_is() {
    let make = Make {
        graphql: false,
        ..Make::new(on)
    };
    let mut rig = make.begin(delivered).await;
    assert_eq!(rig.source(), ["gitlab"]);
    give(&rig, AccessLevel::Guest);
    rig.look_later().await;
    assert_ne!(rig.source(), ["gitlab"]);
    give(&rig, AccessLevel::Maintainer);
    rig.look_later().await;
    assert_eq!(rig.source(), ["gitlab"]);
    assert_eq!(rig.four(), WANTED);
}
