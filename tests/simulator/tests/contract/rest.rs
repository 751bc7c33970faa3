//! Habits of REST, and of the world as REST shows it.

use gitlab_simulator::time::{HOUR, MINUTE};
use gitlab_simulator::world::{Finish, PipelineSpec};
use serde_json::{Value, json};

use crate::support::{Lab, contract};

contract!(updated_at_on_own_transitions, lab => {
    let path = format!("/projects/{}/pipelines/{}", lab.library, lab.downstream);
    let job = {
        let mut world = lab.simulator.world();
        let first = world.job_named(lab.downstream, "inner").expect("a job").id;
        world.start_job(first, None).expect("pending");
        world.add_job(lab.downstream, &gitlab_simulator::world::JobSpec::new("test", "second")).expect("added")
    };
    let before = lab.rest(&path).await.body["updated_at"].clone();
    {
        let mut world = lab.simulator.world();
        world.advance(MINUTE);
        world.start_job(job, None).expect("pending");
    }
    lab.rest(&path).await.body["updated_at"] == before
});

contract!(list_without_details, lab => {
    let list = lab.rest(&format!("/projects/{}/pipelines", lab.app)).await.body;
    let single = lab.rest(&format!("/projects/{}/pipelines/{}", lab.app, lab.flaky)).await.body;
    let details = ["duration", "queued_duration", "started_at", "finished_at", "coverage", "tag", "user"];
    for detail in details {
        assert!(single.get(detail).is_some(), "the single pipeline has {detail}");
    }
    details.iter().all(|detail| list[0].get(*detail).is_none())
});

contract!(coverage_as_string, lab => {
    let pipeline = lab.rest(&format!("/projects/{}/pipelines/{}", lab.app, lab.flaky)).await.body;
    let jobs = lab.rest(&format!("/projects/{}/pipelines/{}/jobs", lab.app, lab.flaky)).await;
    assert!(jobs.each("coverage").contains(&json!(82.714)), "a job's is a number");
    assert_eq!(lab.of_pipeline(lab.flaky, "coverage").await["coverage"], 82.714);
    pipeline["coverage"] == "82.71"
});

contract!(totals_missing, lab => {
    let pipelines = format!("/projects/{}/pipelines", lab.app);
    assert_eq!(lab.rest(&pipelines).await.header("x-total"), Some("3").filter(|_| lab.simulator.world().quirks.children_left_out));
    for _ in 0..10_001 {
        lab.simulator.world().create_pipeline(lab.app, &PipelineSpec::branch("main").config_error("no")).expect("made");
    }
    let many = lab.rest(&pipelines).await;
    let jobs = lab.rest(&format!("/projects/{}/jobs", lab.app)).await;
    let missing = |answer: &crate::support::Answer| {
        let absent = answer.header("x-total").is_none();
        assert_eq!(answer.header("x-total-pages").is_none(), absent);
        assert_eq!(!answer.header("link").unwrap_or_default().contains("rel=\"last\""), absent);
        absent
    };
    assert_eq!(many.header("x-next-page"), Some("2"));
    assert_eq!(missing(&many), missing(&jobs));
    missing(&many)
});

contract!(retried_jobs_left_out, lab => {
    let path = format!("/projects/{}/pipelines/{}/jobs", lab.app, lab.flaky);
    let all = lab.rest(&format!("{path}?include_retried=true")).await.each("name");
    assert_eq!(all, [json!("unit"), json!("lint"), json!("unit")]);
    lab.rest(&path).await.each("name") == [json!("unit"), json!("lint")]
});

contract!(failure_reason_key_only_if_failed, lab => {
    let jobs = lab.rest(&format!("/projects/{}/pipelines/{}/jobs?include_retried=true", lab.app, lab.flaky)).await;
    assert_eq!(jobs.body[2]["failure_reason"], "script_failure");
    assert_eq!(jobs.body[2]["runner"]["runner_type"], "group_type");
    assert!(jobs.body.as_array().expect("a list").iter().all(|job| job.get("retried").is_none()), "there is no such flag");
    jobs.body[0].get("failure_reason").is_none()
});

contract!(moved_permanently, lab => {
    lab.simulator.world().move_project(lab.app, "elsewhere/app").expect("moved");
    let answer = lab.rest("/projects/group%2Fapp/pipelines?per_page=2").await;
    assert_eq!(lab.rest(&format!("/projects/{}", lab.app)).await.body["path_with_namespace"], "elsewhere/app");
    if answer.status == 301 {
        let target = format!("{}/api/v4/projects/{}/pipelines?per_page=2", lab.simulator.url(), lab.app);
        assert_eq!(answer.header("location"), Some(&*target));
    } else {
        assert_eq!(answer.status, 200);
    }
    answer.status == 301
});

contract!(job_retry_keeps_finished_at, lab => {
    let finished = || async {
        lab.rest(&format!("/projects/{}/pipelines/{}", lab.app, lab.flaky)).await.body["finished_at"].clone()
    };
    let before = finished().await;
    {
        let mut world = lab.simulator.world();
        world.advance(HOUR);
        let job = world.job_named(lab.flaky, "lint").expect("a job").id;
        world.retry_job(job).expect("over");
    }
    let kept = finished().await == before;
    {
        let mut world = lab.simulator.world();
        world.finish_pipeline(lab.flaky, &Finish::failed("script_failure")).expect("finishes");
        world.advance(HOUR);
        world.retry_pipeline(lab.flaky).expect("failed");
    }
    assert_eq!(finished().await, Value::Null, "a retry of the pipeline clears it in any case");
    kept
});

contract!(keyset_order_checked, lab => {
    let fine = lab.rest("/projects?pagination=keyset&order_by=id&sort=asc").await;
    assert_eq!(fine.status, 200);
    let answer = lab.rest("/projects?pagination=keyset&order_by=name").await;
    assert!(answer.status == 405 || answer.status == 200);
    answer.status == 405
});

#[tokio::test]
async fn offset_pages_have_links_and_numbers() {
    let lab = Lab::usual();
    let path = format!("/projects/{}/pipelines", lab.app);
    let first = lab
        .rest(&format!("{path}?per_page=2&ref=main&page=1"))
        .await;
    assert_eq!(first.each("id"), [json!(lab.parent), json!(lab.flaky)]);
    let second = lab.rest(&format!("{path}?per_page=2&page=2")).await;
    let url = format!("{}/api/v4{path}", lab.simulator.url());
    let page = |page: u32| {
        let app = lab.app;
        format!("<{url}?id={app}&order_by=id&page={page}&per_page=2&sort=desc>")
    };
    assert_eq!(
        second.header("link"),
        Some(&*format!(
            "{}; rel=\"prev\", {}; rel=\"first\", {}; rel=\"last\"",
            page(1),
            page(1),
            page(2)
        ))
    );
    let seen = [
        "x-page",
        "x-per-page",
        "x-prev-page",
        "x-next-page",
        "x-total",
        "x-total-pages",
    ]
    .map(|name| second.header(name).unwrap_or("missing").to_owned());
    assert_eq!(seen, ["2", "2", "1", "", "3", "2"]);
    assert_eq!(lab.rest(&format!("{path}?page=9")).await.body, json!([]));
    let bad = lab.rest(&format!("{path}?per_page=0")).await;
    assert_eq!(
        (bad.status, bad.body),
        (400, json!({"error": "per_page has a value not allowed"}))
    );
}

#[tokio::test]
async fn keyset_pages_have_a_link_only_and_end_without_one() {
    let lab = Lab::usual();
    let mut path = "/projects?pagination=keyset&order_by=id&sort=asc&per_page=2".to_owned();
    let mut seen = Vec::new();
    for _ in 0..2 {
        let page = lab.rest(&path).await;
        assert_eq!(
            (page.header("x-total"), page.header("x-page")),
            (None, None)
        );
        seen.extend(page.each("id"));
        let Some(link) = page.header("link") else {
            break;
        };
        let (url, relation) = link.split_once('>').expect("a link");
        assert_eq!(relation, "; rel=\"next\"");
        path = url.rsplit_once("/api/v4").expect("our API").1.to_owned();
        assert!(path.contains("id_after="), "{path}");
    }
    assert_eq!(seen, [json!(lab.app), json!(lab.library), json!(lab.rich)]);
}

#[tokio::test]
async fn last_activity_after_is_strict_and_filters_narrow() {
    let lab = Lab::usual();
    lab.simulator.world().advance(2 * HOUR);
    lab.simulator
        .world()
        .push(lab.library, "main")
        .expect("pushed");
    let at = lab.rest(&format!("/projects/{}", lab.library)).await.body["last_activity_at"]
        .as_str()
        .expect("a time")
        .to_owned();
    let at_that_time = lab
        .rest(&format!("/projects?last_activity_after={at}"))
        .await;
    assert_eq!(at_that_time.body, json!([]));
    assert_eq!(
        lab.rest("/projects?last_activity_after=2026-01-05T09:00:00Z")
            .await
            .each("id"),
        [json!(lab.library)]
    );
    assert_eq!(
        lab.rest("/projects?search=LIB").await.each("id"),
        [json!(lab.library)]
    );
    lab.simulator
        .world()
        .set_archived(lab.library, true)
        .expect("a project");
    assert_eq!(
        lab.rest("/projects?archived=true").await.each("id"),
        [json!(lab.library)]
    );
    assert_eq!(
        lab.rest("/projects?archived=false&search=lib").await.body,
        json!([])
    );
    let unknown = lab
        .rest("/projects?no_such_parameter=1&archived=perhaps")
        .await;
    assert_eq!(
        (unknown.status, unknown.body),
        (400, json!({"error": "archived is invalid"}))
    );
}

#[tokio::test]
async fn bridges_are_apart_from_jobs_and_null_until_triggered() {
    let lab = Lab::usual();
    let pipeline = format!("/projects/{}/pipelines/{}", lab.app, lab.parent);
    assert_eq!(lab.rest(&format!("{pipeline}/jobs")).await.body, json!([]));
    let bridges = lab.rest(&format!("{pipeline}/bridges")).await;
    assert_eq!(
        bridges.body,
        lab.rest(&format!("{pipeline}/trigger_jobs")).await.body
    );
    assert_eq!(bridges.body[1]["downstream_pipeline"]["id"], lab.child);
    assert_eq!(
        bridges.body[0]["downstream_pipeline"]["project_id"],
        lab.library
    );
    let again = {
        let mut world = lab.simulator.world();
        let bridge = world.job_named(lab.parent, "child").expect("a bridge").id;
        world.retry_job(bridge).expect("it succeeded")
    };
    let bridges = lab.rest(&format!("{pipeline}/bridges")).await;
    assert_eq!(bridges.each("id").len(), 2, "the retried one is left out");
    assert_eq!(
        (
            &bridges.body[0]["id"],
            &bridges.body[0]["downstream_pipeline"]
        ),
        (&json!(again), &Value::Null)
    );
}

#[tokio::test]
async fn deleted_things_leave_no_trace() {
    let lab = Lab::usual();
    lab.simulator
        .world()
        .delete_pipeline(lab.flaky)
        .expect("exists");
    assert_eq!(
        lab.rest(&format!("/projects/{}/pipelines/{}", lab.app, lab.flaky))
            .await
            .status,
        404
    );
    assert!(
        !lab.rest(&format!("/projects/{}/pipelines", lab.app))
            .await
            .each("id")
            .contains(&json!(lab.flaky))
    );
    lab.simulator
        .world()
        .delete_project(lab.app)
        .expect("exists");
    assert_eq!(lab.rest("/projects/group%2Fapp").await.status, 404);
    assert!(
        !lab.rest("/projects")
            .await
            .each("id")
            .contains(&json!(lab.app))
    );
}

#[tokio::test]
async fn branches_and_tags_of_one_name_are_apart_and_mr_lists_filter() {
    let lab = Lab::usual();
    lab.simulator
        .world()
        .create_tag(lab.app, "main")
        .expect("made");
    let branches = lab
        .rest(&format!("/projects/{}/repository/branches", lab.app))
        .await;
    assert_eq!(branches.each("name"), [json!("feature"), json!("main")]);
    assert_eq!(branches.each("default"), [json!(false), json!(true)]);
    assert_eq!(
        lab.rest(&format!("/projects/{}/repository/tags", lab.app))
            .await
            .each("name"),
        [json!("main")]
    );
    let open = lab
        .rest(&format!(
            "/projects/{}/merge_requests?state=opened&iids[]=1",
            lab.app
        ))
        .await;
    assert_eq!(open.each("target_branch"), [json!("main")]);
    assert_eq!(
        lab.rest(&format!(
            "/projects/{}/merge_requests?state=merged",
            lab.app
        ))
        .await
        .body,
        json!([])
    );
    assert_eq!(
        lab.rest(&format!("/projects/{}/merge_requests/1", lab.app))
            .await
            .body["changes_count"],
        "1"
    );
}

#[tokio::test]
async fn every_answer_names_its_request() {
    let lab = Lab::usual();
    let first = lab.rest("/version").await;
    lab.simulator.requests().reset();
    let second = lab.rest("/version").await;
    let id = second.header("x-request-id").expect("named").to_owned();
    assert_ne!(first.header("x-request-id"), Some(&*id));
    assert_eq!(lab.simulator.requests().all()[0].correlation_id, id);
    assert!(second.header("x-gitlab-meta").expect("named").contains(&id));
}

#[tokio::test]
async fn the_oddest_names_come_through_unharmed() {
    let lab = Lab::usual();
    let odd = format!(
        "fix/\"quoted\"\\back\nline \u{1f680} {}",
        "x".repeat(10_000)
    );
    let pipeline = {
        let mut world = lab.simulator.world();
        world.push(lab.app, &odd).expect("pushed");
        let spec = PipelineSpec::branch(&odd)
            .source("a_source_of_tomorrow")
            .stage(&odd, &[&odd]);
        world.create_pipeline(lab.app, &spec).expect("made")
    };
    let rest = lab
        .rest(&format!("/projects/{}/pipelines/{pipeline}/jobs", lab.app))
        .await;
    assert_eq!(
        (
            &rest.body[0]["name"],
            &rest.body[0]["ref"],
            &rest.body[0]["stage"]
        ),
        (&json!(odd), &json!(odd), &json!(odd))
    );
    let graphql = lab
        .of_pipeline(
            pipeline,
            "ref source jobs { nodes { name stage { name } } }",
        )
        .await;
    assert_eq!(
        graphql,
        json!({
            "ref": odd,
            "source": "a_source_of_tomorrow",
            "jobs": {"nodes": [{"name": odd, "stage": {"name": odd}}]},
        })
    );
    assert!(
        lab.rest(&format!("/projects/{}/repository/branches", lab.app))
            .await
            .each("name")
            .contains(&json!(odd))
    );
}

contract!(next_on_last_keyset_page, lab => {
    let page = lab.rest("/projects?pagination=keyset&order_by=id&sort=asc&per_page=50").await;
    page.header("link").is_some_and(|link| link.contains("rel=\"next\""))
});

contract!(x_runtime, lab => {
    let answer = lab.rest("/metadata").await;
    let queried = lab.post(lab.simulator.token(), &json!({"query": "{ metadata { version } }"})).await;
    let missing = lab.rest("/projects/1").await;
    let shown = [answer, queried, missing].map(|answer| {
        let text = answer.header("x-runtime").map(str::to_owned);
        text.and_then(|text| text.parse::<f64>().ok()).is_some_and(|seconds| seconds > 0.0)
    });
    assert!(shown.iter().all(|one| *one == shown[0]));
    shown[0]
});
