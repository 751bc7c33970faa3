//! Every way in which an answer can be broken, and where rules strike.

use std::time::Duration;

use gitlab_simulator::time::{HOUR, MINUTE};
use gitlab_simulator::{Fault, Rule};
use serde_json::{Value, json};

use crate::support::{Lab, client};

const FEED: &str =
    "query Feed { projects { nodes { id fullPath pipelines { nodes { id status } } } } }";

async fn feed(lab: &Lab) -> crate::support::Answer {
    lab.post(lab.simulator.token(), &json!({"query": FEED}))
        .await
}

#[tokio::test]
async fn rules_strike_where_when_and_as_often_as_they_say() {
    let lab = Lab::usual();
    let faults = lab.simulator.faults();
    let id = faults.add(
        Rule::new(Fault::Status { status: 500 })
            .on("Feed")
            .skip(1)
            .times(2),
    );
    let statuses = [
        feed(&lab).await.status,
        feed(&lab).await.status,
        feed(&lab).await.status,
        feed(&lab).await.status,
    ];
    assert_eq!(statuses, [200, 500, 500, 200]);
    assert_eq!(faults.hits(id), 2);
    faults.clear();
    faults.add(
        Rule::new(Fault::Status { status: 502 })
            .on("/api/v4/projects/:id/pipelines")
            .page(2),
    );
    let path = format!("/projects/{}/pipelines?per_page=1", lab.app);
    assert_eq!(lab.rest(&path).await.status, 200);
    assert_eq!(lab.rest(&format!("{path}&page=2")).await.status, 502);
    assert_eq!(lab.rest("/version").await.status, 200);
    faults.clear();
    let until = lab.simulator.world().now() + 5 * MINUTE;
    faults.add(Rule::new(Fault::Status { status: 503 }).until(until));
    assert_eq!(lab.rest("/version").await.status, 503);
    lab.simulator.world().advance(HOUR);
    assert_eq!(lab.rest("/version").await.status, 200);
    let recorded = lab.simulator.requests().all();
    assert_eq!(
        recorded
            .iter()
            .filter(|request| request.fault.as_deref() == Some("status"))
            .count(),
        4
    );
}

#[tokio::test]
async fn a_later_page_of_a_graphql_listing_can_fail() {
    let lab = Lab::usual();
    lab.simulator
        .faults()
        .add(Rule::new(Fault::Status { status: 503 }).on("Page").page(2));
    let query = "query Page($after: String) { projects(first: 1, after: $after) { pageInfo { endCursor } } }";
    let first = lab
        .post(
            lab.simulator.token(),
            &json!({"query": query, "variables": {"after": null}}),
        )
        .await;
    let cursor = first.body["data"]["projects"]["pageInfo"]["endCursor"].clone();
    assert!(cursor.is_string());
    let second = lab
        .post(
            lab.simulator.token(),
            &json!({"query": query, "variables": {"after": cursor}}),
        )
        .await;
    assert_eq!(second.status, 503);
    assert!(
        second.body["errors"][0]["message"]
            .as_str()
            .expect("text")
            .starts_with("Request timed out.")
    );
}

#[tokio::test]
async fn both_kinds_of_429_look_like_gitlabs() {
    let lab = Lab::usual();
    lab.simulator
        .faults()
        .add(Rule::new(Fault::RackAttack { retry_after: 30 }).times(1));
    let plain = lab.rest("/version").await;
    assert_eq!(
        (plain.status, plain.header("content-type"), &plain.body),
        (429, Some("text/plain"), &json!("Retry later\n"))
    );
    lab.simulator
        .faults()
        .add(Rule::new(Fault::ApplicationLimit { retry_after: 60 }).times(1));
    let limited = lab.rest("/version").await;
    assert_eq!(
        (
            limited.status,
            limited.header("retry-after"),
            limited.header("ratelimit-reset")
        ),
        (429, Some("60"), None)
    );
    assert!(limited.body["message"]["error"].is_string());
}

#[tokio::test]
async fn graphql_can_be_off_forbidden_or_out_of_time() {
    let lab = Lab::usual();
    let expected = [
        (404, json!({"error": "404 Not Found"})),
        (
            403,
            json!({"errors": [{"message": "API not accessible for user"}]}),
        ),
        (
            500,
            json!({"errors": [{"message": "Internal server error"}]}),
        ),
    ];
    for (status, body) in expected {
        lab.simulator.faults().clear();
        lab.simulator
            .faults()
            .add(Rule::new(Fault::Status { status }).on("/api/graphql"));
        let answer = feed(&lab).await;
        assert_eq!((answer.status, answer.body), (status, body));
        assert_eq!(lab.rest("/version").await.status, 200);
    }
}

#[tokio::test]
async fn fields_that_time_out_leave_the_rest() {
    let lab = Lab::usual();
    let fault = Fault::FieldTimeout {
        parent: "Project".to_owned(),
        field: "pipelines".to_owned(),
    };
    lab.simulator.faults().add(Rule::new(fault).on("Feed"));
    let answer = feed(&lab).await;
    assert_eq!(answer.status, 200);
    let nodes = answer.body["data"]["projects"]["nodes"]
        .as_array()
        .expect("nodes");
    assert!(
        nodes
            .iter()
            .all(|node| node["pipelines"].is_null() && node["fullPath"].is_string())
    );
    assert_eq!(
        answer.body["errors"][1],
        json!({
            "message": "Timeout on Project.pipelines",
            "path": ["projects", "nodes", 1, "pipelines"],
        })
    );
}

#[tokio::test]
async fn what_queries_may_cost_can_be_less() {
    let lab = Lab::usual();
    feed(&lab).await;
    let cost = lab.simulator.requests().all()[0].complexity;
    let cost = cost.expect("it was looked at");
    let faults = lab.simulator.faults();
    let limit = cost - 1;
    let rule = faults.add(Rule::new(Fault::MaxComplexity { limit }).on("Feed"));
    let refused = feed(&lab).await;
    assert_eq!(refused.status, 200);
    let message =
        format!("Query has complexity of {cost}, which exceeds max complexity of {limit}");
    assert_eq!(refused.body, json!({"errors": [{"message": message}]}));
    faults.remove(rule);
    faults.add(Rule::new(Fault::MaxComplexity { limit: cost }).on("Feed"));
    assert!(feed(&lab).await.body["data"]["projects"].is_object());
}

#[tokio::test]
async fn bodies_can_be_html_cut_or_anything() {
    let lab = Lab::usual();
    let faults = lab.simulator.faults();
    faults.add(Rule::new(Fault::Html).times(1));
    let page = lab.rest("/version").await;
    assert_eq!(
        (page.status, page.header("content-type")),
        (200, Some("text/html; charset=utf-8"))
    );
    assert!(page.body.as_str().expect("text").contains("Sign in"));
    faults.add(Rule::new(Fault::InvalidJson).times(1));
    let broken = lab.rest("/version").await;
    assert!(broken.body.as_str().expect("no JSON").starts_with('{'));
    assert_eq!(broken.header("content-type"), Some("application/json"));
    faults.add(
        Rule::new(Fault::Body {
            status: 200,
            content_type: "application/json".to_owned(),
            body: vec![0xff, 0xfe, b'"'],
        })
        .times(1),
    );
    let url = format!("{}/api/v4/version", lab.simulator.url());
    let raw = client()
        .get(&url)
        .header("private-token", lab.simulator.token())
        .send()
        .await
        .expect("an answer");
    assert_eq!(
        raw.bytes().await.expect("a body").as_ref(),
        [0xff, 0xfe, b'"']
    );
    faults.add(
        Rule::new(Fault::Replace {
            pointer: "/data/projects/nodes/*/pipelines/nodes/0/status".to_owned(),
            value: Value::Null,
        })
        .on("Feed"),
    );
    let nulled = feed(&lab).await.body;
    assert!(
        nulled["data"]["projects"]["nodes"][2]["pipelines"]["nodes"][0]["status"].is_null(),
        "{nulled:#}"
    );
    assert!(nulled["data"]["projects"]["nodes"][2]["pipelines"]["nodes"][1]["status"].is_string());
}

#[tokio::test]
async fn connections_can_break_before_and_within_an_answer() {
    let lab = Lab::usual();
    let url = format!("{}/api/v4/version", lab.simulator.url());
    let ask = || {
        client()
            .get(&url)
            .header("private-token", lab.simulator.token())
            .send()
    };
    lab.simulator.faults().add(Rule::new(Fault::Reset).times(1));
    let reset = match ask().await {
        Err(_) => true,
        Ok(answer) => answer.bytes().await.is_err(),
    };
    assert!(reset, "no whole answer came");
    lab.simulator
        .faults()
        .add(Rule::new(Fault::Truncated).times(1));
    let truncated = ask().await.expect("the head of an answer");
    assert_eq!(truncated.status(), 200);
    assert!(truncated.bytes().await.is_err(), "the body is cut");
    assert_eq!(ask().await.expect("an answer").status(), 200);
}

#[tokio::test]
async fn answers_can_be_late_or_never_come() {
    let lab = Lab::usual();
    let url = format!("{}/api/v4/version", lab.simulator.url());
    let ask = || {
        client()
            .get(&url)
            .header("private-token", lab.simulator.token())
    };
    lab.simulator
        .faults()
        .add(Rule::new(Fault::Slow { milliseconds: 300 }).times(1));
    assert!(
        ask()
            .timeout(Duration::from_millis(100))
            .send()
            .await
            .is_err()
    );
    lab.simulator.faults().add(Rule::new(Fault::Hang));
    assert!(
        ask()
            .timeout(Duration::from_millis(100))
            .send()
            .await
            .is_err()
    );
    // It is recorded although nothing came, once the server sees that nobody waits any more.
    let is_recorded = || {
        let all = lab.simulator.requests().all();
        all.iter()
            .any(|it| (it.status, it.fault.as_deref()) == (0, Some("hang")))
    };
    let begun = std::time::Instant::now();
    while !is_recorded() {
        assert!(begun.elapsed() < Duration::from_secs(30), "not recorded");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    lab.simulator.stop();
}

#[tokio::test]
async fn a_huge_body_streams_and_a_redirect_leads_elsewhere() {
    let lab = Lab::usual();
    lab.simulator
        .faults()
        .add(Rule::new(Fault::HugeBody { bytes: 100 << 20 }).times(1));
    let url = format!("{}/api/v4/version", lab.simulator.url());
    let mut huge = client().get(&url).send().await.expect("an answer");
    let mut size = 0;
    while let Some(chunk) = huge.chunk().await.expect("a chunk") {
        size += chunk.len();
    }
    assert!(size > 100 << 20, "{size}");
    lab.simulator.faults().add(
        Rule::new(Fault::Redirect {
            to: "http://127.0.0.1:9/elsewhere".to_owned(),
        })
        .times(1),
    );
    let redirect = lab.rest("/version").await;
    assert_eq!(
        (redirect.status, redirect.header("location")),
        (302, Some("http://127.0.0.1:9/elsewhere"))
    );
}

#[tokio::test]
async fn every_document_that_names_a_project_fails_as_a_whole() {
    let lab = Lab::usual();
    lab.simulator
        .faults()
        .add(Rule::new(Fault::Status { status: 500 }).about(lab.app));
    let token = lab.simulator.token();
    let gid = |id: u64| format!("gid://gitlab/Project/{id}");
    let by_ids = "query A($ids: [ID!]) { projects(ids: $ids) { nodes { id } } }";
    let alone = json!({"query": by_ids, "variables": {"ids": [gid(lab.library)]}});
    let among = json!({"query": by_ids, "variables": {"ids": [gid(lab.library), gid(lab.app)]}});
    let by_path = json!({"query": "{ project(fullPath: \"group/app\") { id } }"});
    let by_paths = json!({
        "query": "query A($paths: [String!]) { projects(fullPaths: $paths) { nodes { id } } }",
        "variables": {"paths": ["group/library", "group/app"]},
    });
    assert_eq!(lab.post(token, &alone).await.status, 200);
    let internal = json!({"errors": [{"message": "Internal server error"}]});
    for document in [&among, &by_path, &by_paths] {
        let answer = lab.post(token, document).await;
        assert_eq!(
            (answer.status, &answer.body),
            (500, &internal),
            "{document}"
        );
    }
    for (path, status) in [
        (format!("/projects/{}", lab.app), 500),
        ("/projects/group%2Fapp/pipelines".to_owned(), 500),
        (format!("/projects/{}", lab.library), 200),
    ] {
        assert_eq!(lab.rest(&path).await.status, status, "{path}");
    }
}
