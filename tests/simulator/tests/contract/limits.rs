//! The two rate limiters and their headers.

use gitlab_simulator::limits::Clock;
use gitlab_simulator::time::{MINUTE, SECOND};
use gitlab_simulator::{Limit, Token};
use serde_json::json;

use crate::support::{Answer, Lab};

fn headers(answer: &Answer) -> Vec<&str> {
    [
        "ratelimit-limit",
        "ratelimit-observed",
        "ratelimit-remaining",
        "ratelimit-reset",
        "ratelimit-name",
    ]
    .into_iter()
    .filter_map(|name| answer.header(name))
    .collect()
}

#[tokio::test]
async fn the_throttle_is_off_until_switched_on_and_then_speaks_in_every_answer() {
    let lab = Lab::usual();
    assert!(headers(&lab.rest("/version").await).is_empty());
    lab.simulator.limits().set_clock(Clock::World);
    lab.simulator.limits().set_throttle(Some(Limit {
        calls: 100,
        period: 3_600,
    }));
    let start = lab.simulator.world().now() / SECOND;
    let reset = (start / 3_600 + 1) * 3_600;
    let first = lab.rest("/version").await;
    // The limit is told per minute whatever its period is: 100 in an hour are 2 a minute.
    assert_eq!(
        headers(&first),
        [
            "2",
            "1",
            "99",
            &*reset.to_string(),
            "throttle_authenticated_api"
        ]
    );
    let second = lab
        .post(
            lab.simulator.token(),
            &json!({"query": "{ metadata { version } }"}),
        )
        .await;
    assert_eq!(headers(&second)[1], "2", "REST and GraphQL count together");
    lab.simulator.limits().set_throttle(None);
    assert!(headers(&lab.rest("/version").await).is_empty());
}

#[tokio::test]
async fn over_the_throttle_the_answer_is_plain_text_until_the_window_ends() {
    let lab = Lab::usual();
    lab.simulator.world().add_token(Token {
        name: "other".to_owned(),
        ..Token::new("glpat-other")
    });
    lab.simulator.limits().set_clock(Clock::World);
    lab.simulator.limits().set_throttle(Some(Limit {
        calls: 2,
        period: 60,
    }));
    for _ in 0..2 {
        assert_eq!(lab.rest("/version").await.status, 200);
    }
    let refused = lab.rest("/version").await;
    assert_eq!(
        (refused.status, &refused.body),
        (429, &json!("Retry later\n"))
    );
    assert_eq!(refused.header("content-type"), Some("text/plain"));
    let left = 60 - lab.simulator.world().now() / SECOND % 60;
    assert_eq!(refused.header("retry-after"), Some(&*left.to_string()));
    assert_eq!(headers(&refused)[..3], ["2", "3", "0"]);
    assert!(
        refused
            .header("ratelimit-resettime")
            .expect("a date")
            .ends_with(" GMT")
    );
    assert_eq!(
        lab.rest_as("glpat-other", "/version").await.status,
        200,
        "it counts per user"
    );
    lab.simulator.world().advance(MINUTE);
    assert_eq!(lab.rest("/version").await.status, 200);
}

#[tokio::test]
async fn an_application_limit_is_json_without_headers_and_hits_one_endpoint() {
    let lab = Lab::usual();
    let path = format!("/projects/{}", lab.app);
    lab.simulator.limits().set_clock(Clock::World);
    lab.simulator.limits().set_application_limit(
        "/api/v4/projects/:id",
        Some(Limit {
            calls: 1,
            period: 60,
        }),
    );
    let passed = lab.rest(&path).await;
    assert_eq!((passed.status, headers(&passed).len()), (200, 0));
    let refused = lab.rest(&path).await;
    assert_eq!((refused.status, headers(&refused).len()), (429, 0));
    assert_eq!(refused.header("retry-after"), Some("60"));
    assert_eq!(
        refused.body,
        json!({"message": {"error": "This endpoint has been requested too many times. Try again later."}})
    );
    assert_eq!(lab.rest(&format!("{path}/pipelines")).await.status, 200);
    lab.simulator
        .limits()
        .set_application_limit("/api/v4/projects/:id", None);
    assert_eq!(lab.rest(&path).await.status, 200);
}

#[tokio::test]
async fn project_jobs_are_limited_to_600_a_minute_from_the_start() {
    let lab = Lab::usual();
    lab.simulator.limits().set_clock(Clock::World);
    let path = format!("/projects/{}/jobs?per_page=1", lab.app);
    let client = crate::support::client();
    let url = format!("{}/api/v4{path}", lab.simulator.url());
    for _ in 0..600 {
        let answer = client
            .get(&url)
            .header("private-token", lab.simulator.token())
            .send()
            .await
            .expect("an answer");
        assert_eq!(answer.status(), 200);
    }
    assert_eq!(lab.rest(&path).await.status, 429);
}
