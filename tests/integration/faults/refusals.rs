//! GitLab answers, and refuses or fails some of what it is asked.

use gitlab_simulator::auth::Token;
use gitlab_simulator::faults::{Fault, Rule};

use super::rig::{Plan, Rig};
use super::says::{Before, Says, WELL, of};
use crate::support::samples::Samples;

const GRAPHQL: &str = "/api/graphql";

/// How old the last success gets where every look waits for REST calls that are tried again.
const SLOW_LOOK: f64 = 240.0;

/// Holds that reading goes on while REST fails: a look lasts as long as its REST calls are tried
/// again.
async fn goes_on_slowly(rig: &Rig, before: &Before) {
    let age = rig.clock.now().as_f64() - rig.last_success().await;
    assert!((0.0..=SLOW_LOOK).contains(&age), "{age}");
    rig.counted_more(before).await;
    assert_eq!(rig.errors_since(before).await, ["server"]);
    // Those with jobs that failed, whose reasons only REST tells.
    let failing = rig.failing().await;
    assert!((1..=4).contains(&failing), "{failing}");
}

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
        all: true,
        ..Plan::default()
    };
    let rig = Rig::behind(plan, gitlab, door).await;
    rig.pass(600).await;
    rig.wait(300).await;
    let before = rig.before().await;
    let revoke = |token| rig.gitlab.world().revoke_token(token).expect("it is there");
    revoke("gitlab-simulator-token-1");
    rig.pass(1200).await;
    let revoked = Says {
        error: Some(
            "GitLab refused the token: invalid_token: Token was revoked. You have to re-authorize from the user.",
        ),
        failing: 4,
        page: &["GitLab refused the token"],
    };
    rig.says(&revoked).await;
    rig.stands_still(&before, &["auth"]).await;
    // A new token that GitLab does not know yet helps nobody.
    write("gitlab-simulator-token-2");
    rig.pass(300).await;
    rig.says(&Says {
        error: Some("GitLab refused the token: 401 Unauthorized"),
        ..revoked
    })
    .await;
    rig.stands_still(&before, &["auth"]).await;
    rig.gitlab
        .world()
        .add_token(Token::new("gitlab-simulator-token-2"));
    assert!(rig.recovers().await > 50.0);
}

/// GitLab says that the token may not read a project, while it reads the others: that is no failure, its
/// series leave after the grace, and come back with their totals and what happened meanwhile.
#[tokio::test(start_paused = true)]
async fn one_project_is_forbidden() {
    let rig = Rig::of_all().await;
    rig.pass(600).await;
    rig.wait(300).await;
    let (id, path) = {
        let world = rig.gitlab.world();
        let project = world.projects().next().expect("a project");
        (project.id, project.full_path.to_string())
    };
    let of_project = |samples: &Samples| {
        let mut samples = samples.clone();
        samples
            .0
            .retain(|(_, labels), _| labels.get("project").is_some_and(|label| *label == path));
        samples
    };
    let before = rig.before().await;
    let forbidden = rig.gitlab.faults().add(status(403).about(id));
    rig.pass(2400).await;
    assert!(rig.gitlab.faults().hits(forbidden) > 0);
    let left = of_project(&rig.facts().await);
    assert!(!of_project(before.facts()).0.is_empty());
    assert_eq!(left.0.keys().next(), None);
    rig.goes_on(&before.without(&path), &[]).await;
    rig.says(&Says {
        page: &["the token may not read it"],
        ..WELL
    })
    .await;
    rig.gitlab.faults().clear();
    assert!(rig.recovers().await > 50.0);
}

/// What fails while all else works, and what comes of it.
struct Alone {
    /// What GitLab fails: endpoints and GraphQL operations.
    on: &'static [&'static str],
    /// `collector_type` of the errors; none where another way of reading stands in.
    collector: Option<&'static str>,
    /// Metrics that stay as they were, by the beginnings of their names.
    stays: &'static [&'static str],
    /// Counters that go on.
    goes_on: &'static [&'static str],
    /// What `/ready` and the page say.
    says: Says<'static>,
}

impl Alone {
    /// Fails it for a quarter of an hour, and holds that the rest goes on, and all comes back by itself.
    async fn fails(self) {
        let rig = Rig::of_all().await;
        rig.pass(600).await;
        rig.wait(300).await;
        let before = rig.before().await;
        let broken = self.on.iter().map(|on| {
            let rule = rig.gitlab.faults().add(status(500).on(on));
            (on, rule)
        });
        let broken: Vec<_> = broken.collect();
        rig.pass(900).await;
        for (on, rule) in broken {
            assert!(rig.gitlab.faults().hits(rule) > 0, "{on} was not asked");
        }
        // What was known stays, and is seen to be old.
        let metrics = rig.metrics().await;
        let then = before.of(self.stays);
        assert_eq!(then.0.is_empty(), self.stays.is_empty(), "nothing to stay");
        assert_eq!(then.differences(&of(&metrics, self.stays)), "");
        let errors = self.collector.map(|name| (name.into(), "server".into()));
        let errors: Vec<(String, String)> = errors.into_iter().collect();
        assert_eq!(rig.collectors_errors_since(&before).await, errors);
        if let Some(collector) = self.collector {
            let age = rig.clock.now().as_f64() - rig.success_of(collector).await;
            assert!(age >= 600.0, "{collector} went well {age} s ago");
        }
        // All else is as new as ever.
        let age = rig.clock.now().as_f64() - rig.last_success().await;
        assert!((0.0..=SLOW_LOOK).contains(&age), "{age}");
        rig.counted_more(&before).await;
        for metric in self.goes_on {
            let (then, now) = (before.of(&[metric]), of(&metrics, &[metric]));
            assert_ne!(then.differences(&now), "", "{metric} stands still");
        }
        rig.says(&self.says).await;
        rig.gitlab.faults().clear();
        assert!(rig.recovers().await > 30.0);
    }
}

/// What is said of a collector whose projects all fail.
const fn all_fail(page: &'static [&'static str]) -> Says<'static> {
    Says {
        error: None,
        failing: 4,
        page,
    }
}

/// Jobs cannot be read: pipelines are counted, and jobs are when they can be.
#[tokio::test(start_paused = true)]
async fn only_jobs_fail() {
    let alone = Alone {
        on: &[
            "PipelineJobs",
            "/api/v4/projects/:id/pipelines/:pipeline_id/jobs",
        ],
        collector: Some("jobs"),
        stays: &["age_job_"],
        goes_on: &[
            "age_pipeline_duration_seconds_count",
            "age_mr_created_total",
        ],
        says: all_fail(&[
            "4 of 4 projects fail",
            "GET /projects/:id/pipelines/:pipeline_id/jobs: GitLab failed (500",
            "<span class=\"chip\">server <b>",
        ]),
    };
    alone.fails().await;
}

#[tokio::test(start_paused = true)]
async fn only_deployments_fail() {
    let alone = Alone {
        on: &["Deployments", "/api/v4/projects/:id/deployments"],
        collector: Some("environments"),
        stays: &["age_environment_"],
        goes_on: &["age_job_", "age_mr_created_total", "age_contributor_"],
        says: all_fail(&[
            "4 of 4 projects fail",
            "GET /projects/:id/deployments: GitLab failed (500",
        ]),
    };
    alone.fails().await;
}

#[tokio::test(start_paused = true)]
async fn only_commits_fail() {
    let alone = Alone {
        on: &["BranchTips", "/api/v4/projects/:id/repository/commits"],
        collector: Some("contributors"),
        stays: &["age_contributor_"],
        goes_on: &["age_job_", "age_environment_", "age_repository_commit_"],
        says: all_fail(&[
            "4 of 4 projects fail",
            "GET /projects/:id/repository/commits: GitLab failed (500",
        ]),
    };
    alone.fails().await;
}

/// Merge requests cannot be read by GraphQL: REST tells all that is counted but lines, files and commits.
#[tokio::test(start_paused = true)]
async fn only_merge_requests_fail_by_graphql() {
    let alone = Alone {
        on: &["MergeRequestReviews"],
        collector: None,
        stays: &["age_mr_changes_count"],
        goes_on: &["age_mr_created_total", "age_review_comments_total"],
        says: WELL,
    };
    alone.fails().await;
}

#[tokio::test(start_paused = true)]
async fn only_merge_requests_fail_by_every_way() {
    let alone = Alone {
        on: &["MergeRequestReviews", "/api/v4/projects/:id/merge_requests"],
        collector: Some("merge_requests"),
        stays: &["age_mr_", "age_review_"],
        goes_on: &["age_job_", "age_environment_", "age_contributor_"],
        says: all_fail(&[
            "4 of 4 projects fail",
            "GET /projects/:id/merge_requests: GitLab failed (500",
        ]),
    };
    alone.fails().await;
}

#[tokio::test(start_paused = true)]
async fn projects_cannot_be_listed() {
    let rig = Rig::of_all().await;
    rig.pass(600).await;
    let before = rig.before().await;
    for list in ["ProjectList", "/api/v4/projects"] {
        rig.gitlab.faults().add(status(500).on(list));
    }
    rig.pass(1800).await;
    rig.goes_on(&before, &["server"]).await;
    let samples = rig.metrics().await;
    assert_eq!(samples.sum("age_projects_tracked", &[]), Some(4.0));
    let age = rig.clock.now().as_f64() - rig.success_of("discovery").await;
    assert!(age >= 1500.0, "{age}");
    rig.says(&WELL).await;
    rig.gitlab.faults().clear();
    assert!(rig.recovers().await > 50.0);
}

#[tokio::test(start_paused = true)]
async fn graphql_is_refused_while_rest_works() {
    let rig = Rig::of_all().await;
    rig.pass(600).await;
    let before = rig.before().await;
    rig.gitlab.faults().add(status(403).on(GRAPHQL));
    rig.pass(1800).await;
    rig.goes_on(&before, &[]).await;
    rig.says(&Says {
        page: &["All is well", "REST as fallback"],
        ..WELL
    })
    .await;
    // All is counted by REST alone, and by both together later on.
    assert!(rig.recovers().await > 50.0);
    rig.gitlab.faults().clear();
    rig.pass(1800).await;
    let page = rig.page().await;
    assert!(!page.contains("REST as fallback"), "{page}");
    assert!(rig.recovers().await > 100.0);
}

#[tokio::test(start_paused = true)]
async fn rest_is_refused_while_graphql_works() {
    let rig = Rig::start().await;
    rig.pass(600).await;
    let before = rig.before().await;
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
    goes_on_slowly(&rig, &before).await;
    rig.gitlab.faults().clear();
    assert!(rig.recovers().await > 30.0);
}
