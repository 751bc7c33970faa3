//! GitLab answers, and refuses or fails some of what it is asked.

use gitlab_simulator::auth::Token;
use gitlab_simulator::faults::{Fault, Rule};

use super::outages::assert_stale;
use super::rig::{FRESH, Plan, Rig};

const GRAPHQL: &str = "/api/graphql";

fn status(status: u16) -> Rule {
    Rule::new(Fault::Status { status })
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_revoked_and_replaced_in_its_file() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let write = |token: &str| std::fs::write(file.path(), token).expect("it can be written");
    write("gitlab-simulator-token-1");
    let gitlab = super::rig::gitlab();
    gitlab
        .world()
        .add_token(Token::new("gitlab-simulator-token-1"));
    let door = crate::support::door::Door::shut_before(gitlab.address());
    let plan = Plan {
        gitlab: format!("timeout: 20m\ntoken_file: {}", file.path().display()),
        ..Plan::default()
    };
    let rig = Rig::behind(plan, gitlab, door).await;
    rig.pass(600).await;
    rig.wait(300).await;
    let (before, facts) = (rig.metrics().await, rig.facts().await);
    let since = rig.last_success().await;
    let revoke = |token| rig.gitlab.world().revoke_token(token).expect("it is there");
    revoke("gitlab-simulator-token-1");
    rig.pass(1200).await;
    assert_stale(&rig, since, "status 401").await;
    assert_eq!(facts.differences(&rig.facts().await), "");
    assert_eq!(rig.errors_since(&before).await, ["auth"]);
    // A new token that GitLab does not know yet helps nobody.
    write("gitlab-simulator-token-2");
    rig.pass(300).await;
    assert_stale(&rig, since, "status 401").await;
    rig.gitlab
        .world()
        .add_token(Token::new("gitlab-simulator-token-2"));
    assert!(rig.recovers().await > 50.0);
}

#[tokio::test(start_paused = true)]
async fn one_project_is_forbidden() {
    let rig = Rig::start().await;
    rig.pass(600).await;
    rig.wait(300).await;
    let (id, path) = {
        let world = rig.gitlab.world();
        let project = world.projects().next().expect("a project");
        (project.id, project.full_path.to_string())
    };
    let of_project = |samples: &crate::support::samples::Samples| {
        let mut samples = samples.clone();
        samples.0.retain(|(_, labels), _| {
            let label = labels.get("project").or(labels.get("parent_project"));
            label.is_some_and(|label| *label == path)
        });
        samples
    };
    let (before, facts) = (rig.metrics().await, rig.facts().await);
    rig.gitlab.faults().add(status(403).about(id));
    rig.pass(1200).await;
    let after = rig.facts().await;
    assert_eq!(of_project(&facts).differences(&of_project(&after)), "");
    assert_ne!(facts.differences(&after), "", "the others go on");
    let age = rig.clock.now().as_f64() - rig.last_success().await;
    assert!(age <= FRESH, "{age}");
    assert_eq!(rig.errors_since(&before).await, ["forbidden"]);
    let (_, ready) = rig.ready().await;
    assert_eq!(ready["gitlab"]["reachable"], true, "{ready}");
    assert_eq!(ready["projects"]["failing"], 1, "{ready}");
    let page = rig.page().await;
    assert!(page.contains("1 of 4 projects fails"), "{page}");
    assert!(page.contains("GitLab forbids it (403"), "{page}");
    rig.gitlab.faults().clear();
    assert!(rig.recovers().await > 50.0);
}

/// Only the labels of jobs cannot be read: pipelines are counted, and jobs are when they can be.
#[tokio::test(start_paused = true)]
async fn one_endpoint_fails() {
    let rig = Rig::start().await;
    rig.pass(600).await;
    let before = rig.metrics().await;
    let counted = |samples: &crate::support::samples::Samples, name| samples.sum(name, &[]);
    let jobs = "/api/v4/projects/:id/pipelines/:pipeline_id/jobs";
    let broken = rig.gitlab.faults().add(status(500).on(jobs));
    rig.pass(1800).await;
    assert!(
        rig.gitlab.faults().hits(broken) > 0,
        "{:?}",
        rig.gitlab.requests().counts()
    );
    let after = rig.metrics().await;
    let runs = "age_pipeline_run_count";
    assert!(
        counted(&after, runs) > counted(&before, runs),
        "pipelines go on"
    );
    assert_eq!(rig.errors_since(&before).await, ["server"]);
    let moved = [("collector_type", "jobs"), ("error_type", "server")];
    assert!(after.sum("age_scrape_errors_total", &moved) > Some(0.0));
    let (status, _) = rig.ready().await;
    assert_eq!(status, 200);
    rig.gitlab.faults().clear();
    assert!(rig.recovers().await > 50.0);
}

#[tokio::test(start_paused = true)]
async fn projects_cannot_be_listed() {
    let rig = Rig::start().await;
    rig.pass(600).await;
    let before = rig.metrics().await;
    rig.gitlab.faults().add(status(500).on("/api/v4/projects"));
    rig.pass(1800).await;
    assert_eq!(rig.errors_since(&before).await, ["server"]);
    let samples = rig.metrics().await;
    assert_eq!(samples.sum("age_projects_tracked", &[]), Some(4.0));
    let name = "age_collection_last_success_timestamp";
    let now = rig.clock.now().as_f64();
    let age = |kind| {
        now - samples
            .sum(name, &[("collector_type", kind)])
            .unwrap_or(0.0)
    };
    assert!(age("discovery") >= 1500.0, "{}", age("discovery"));
    assert!(age("pipelines") <= FRESH, "{}", age("pipelines"));
    rig.gitlab.faults().clear();
    assert!(rig.recovers().await > 50.0);
}

#[tokio::test(start_paused = true)]
async fn graphql_is_refused_while_rest_works() {
    let rig = Rig::start().await;
    rig.pass(600).await;
    let before = rig.metrics().await;
    rig.gitlab.faults().add(status(403).on(GRAPHQL));
    rig.pass(1800).await;
    let errors = rig.errors_since(&before).await;
    assert!(errors.is_empty(), "{errors:?}");
    let age = rig.clock.now().as_f64() - rig.last_success().await;
    assert!(age <= FRESH, "{age}");
    let (_, ready) = rig.ready().await;
    assert_eq!(ready["gitlab"]["reachable"], true, "{ready}");
    let page = rig.page().await;
    assert!(page.contains("REST for now"), "{page}");
    // All is counted by REST alone, and by both together later on.
    assert!(rig.recovers().await > 50.0);
    rig.gitlab.faults().clear();
    rig.pass(1800).await;
    let page = rig.page().await;
    assert!(!page.contains("REST for now"), "{page}");
    assert!(rig.recovers().await > 100.0);
}

#[tokio::test(start_paused = true)]
async fn rest_is_refused_while_graphql_works() {
    let rig = Rig::start().await;
    rig.pass(600).await;
    let before = rig.metrics().await;
    let asked = rig.gitlab.requests().counts();
    let rest: Vec<&String> = asked
        .keys()
        .filter(|key| key.starts_with("/api/v4"))
        .collect();
    assert!(rest.len() > 2, "{rest:?}");
    for endpoint in rest {
        rig.gitlab.faults().add(status(503).on(endpoint));
    }
    rig.pass(900).await;
    let after = rig.metrics().await;
    let runs = "age_pipeline_run_count";
    assert!(
        after.sum(runs, &[]) > before.sum(runs, &[]),
        "pipelines go on"
    );
    assert_eq!(rig.errors_since(&before).await, ["server"]);
    let age = rig.clock.now().as_f64() - rig.last_success().await;
    assert!(age <= FRESH, "{age}");
    rig.gitlab.faults().clear();
    assert!(rig.recovers().await > 30.0);
}
