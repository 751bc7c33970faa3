//! Tokens: where they go, what they may, how they end.

use gitlab_simulator::time::DAY;
use gitlab_simulator::{AccessLevel, Token};
use serde_json::json;

use crate::support::{Lab, client};

#[tokio::test]
async fn both_headers_carry_a_token_and_without_one_only_public_things_show() {
    let lab = Lab::usual();
    let url = format!("{}/api/v4/projects", lab.simulator.url());
    let count = |answer: serde_json::Value| answer.as_array().map(Vec::len);
    let bearer = client()
        .get(&url)
        .bearer_auth(lab.simulator.token())
        .send()
        .await
        .expect("an answer");
    assert_eq!(count(bearer.json().await.expect("JSON")), Some(3));
    let nobody = client().get(&url).send().await.expect("an answer");
    assert_eq!(count(nobody.json().await.expect("JSON")), Some(0));
    let query = json!({"query": "{ metadata { version } currentUser { username } queryComplexity { limit } }"});
    let anonymous = client()
        .post(format!("{}/api/graphql", lab.simulator.url()))
        .json(&query)
        .send()
        .await
        .expect("an answer");
    let anonymous: serde_json::Value = anonymous.json().await.expect("JSON");
    assert_eq!(
        anonymous["data"],
        json!({"metadata": null, "currentUser": null, "queryComplexity": {"limit": 200}})
    );
}

#[tokio::test]
async fn unknown_expired_and_revoked_tokens_get_401() {
    let lab = Lab::usual();
    let end = lab.simulator.world().now() + DAY;
    lab.simulator
        .world()
        .add_token(Token::new("glpat-mortal").expiring(end));
    lab.simulator.world().add_token(Token::new("glpat-gone"));
    lab.simulator
        .world()
        .revoke_token("glpat-gone")
        .expect("a token");
    let unknown = lab.rest_as("glpat-stranger", "/projects").await;
    assert_eq!(
        (unknown.status, unknown.body),
        (401, json!({"message": "401 Unauthorized"}))
    );
    assert_eq!(lab.rest_as("glpat-mortal", "/projects").await.status, 200);
    assert_eq!(
        lab.rest_as("glpat-mortal", "/personal_access_tokens/self")
            .await
            .body["expires_at"],
        "2026-01-06"
    );
    lab.simulator.world().advance(DAY);
    let expired = lab.rest_as("glpat-mortal", "/projects").await;
    assert_eq!(expired.body["error"], "invalid_token");
    assert!(
        expired.body["error_description"]
            .as_str()
            .expect("text")
            .starts_with("Token is expired.")
    );
    assert!(
        expired
            .header("www-authenticate")
            .expect("a challenge")
            .contains("invalid_token")
    );
    let revoked = lab.rest_as("glpat-gone", "/projects").await;
    assert!(
        revoked.body["error_description"]
            .as_str()
            .expect("text")
            .starts_with("Token was revoked.")
    );
    for token in ["glpat-stranger", "glpat-mortal", "glpat-gone"] {
        let answer = lab
            .post(token, &json!({"query": "{ metadata { version } }"}))
            .await;
        assert_eq!(
            (answer.status, answer.body),
            (401, json!({"errors": [{"message": "Invalid token"}]}))
        );
    }
}

#[tokio::test]
async fn a_token_without_scope_for_the_api_gets_403_and_in_graphql_401() {
    let lab = Lab::usual();
    lab.simulator
        .world()
        .add_token(Token::new("glpat-narrow").with_scopes(&["read_repository"]));
    let answer = lab.rest_as("glpat-narrow", "/projects").await;
    assert_eq!(
        (answer.status, &answer.body["error"], &answer.body["scope"]),
        (
            403,
            &json!("insufficient_scope"),
            &json!("ai_workflows api read_api")
        )
    );
    let answer = lab
        .post(
            "glpat-narrow",
            &json!({"query": "{ metadata { version } }"}),
        )
        .await;
    assert_eq!(
        (answer.status, answer.body),
        (401, json!({"errors": [{"message": "Invalid token"}]}))
    );
    let itself = lab
        .rest_as("glpat-narrow", "/personal_access_tokens/self")
        .await;
    assert_eq!(
        (itself.status, &itself.body["scopes"]),
        (200, &json!(["read_repository"]))
    );
}

#[tokio::test]
async fn roles_are_per_token_and_project() {
    let lab = Lab::usual();
    lab.simulator
        .world()
        .add_token(Token::new("glpat-reader").with_role(AccessLevel::None));
    lab.simulator
        .world()
        .set_role("glpat-reader", lab.library, AccessLevel::Reporter)
        .expect("a token");
    assert_eq!(
        lab.rest_as("glpat-reader", "/projects").await.each("id"),
        [json!(lab.library)]
    );
    assert_eq!(
        lab.rest_as("glpat-reader", "/projects?min_access_level=30")
            .await
            .body,
        json!([])
    );
    let member = lab
        .rest_as(
            "glpat-reader",
            &format!("/projects/{}/members/all/100", lab.library),
        )
        .await;
    assert_eq!(member.body["access_level"], 20);
    let query = json!({"query": "{ projects(membership: true) { nodes { maxAccessLevel { integerValue stringValue } } } }"});
    let levels = lab.post("glpat-reader", &query).await.body["data"]["projects"]["nodes"].take();
    assert_eq!(
        levels,
        json!([{"maxAccessLevel": {"integerValue": 20, "stringValue": "REPORTER"}}])
    );
}

#[tokio::test]
async fn the_instance_tells_version_and_edition() {
    let lab = Lab::usual();
    let metadata = lab.rest("/metadata").await.body;
    assert_eq!(
        (&metadata["version"], &metadata["enterprise"]),
        (&json!("18.4.1-ee"), &json!(true))
    );
    assert_eq!(lab.rest("/version").await.body, metadata);
    let graphql = lab
        .graphql("{ metadata { version revision enterprise } }")
        .await["data"]["metadata"]
        .take();
    assert_eq!(
        (&graphql["version"], &graphql["revision"]),
        (&metadata["version"], &metadata["revision"])
    );
    assert_eq!(lab.rest("/user").await.body["username"], "exporter-bot");
    lab.simulator.world().version = "19.3.0-pre".to_owned();
    assert_eq!(lab.rest("/version").await.body["version"], "19.3.0-pre");
}
