//! `check` of a fine-grained token that lacks grants, and of an older GitLab.

use serde_json::{Value, json};

use super::*;
use crate::gitlab::testing::{Fake, Reply, TOKEN};

fn refusal(boundary: &str, grant: &str) -> Reply {
    let text = format!(
        "Access denied: This operation requires a fine-grained personal access token with the \
         following {boundary} permissions: [{grant}]."
    );
    let body = json!({"error": "insufficient_granular_scope", "error_description": text});
    Reply::status(403, body.to_string())
}

fn project() -> Reply {
    let project = json!({"id": 7, "path_with_namespace": "group/p", "default_branch": "main",
        "permissions": {"project_access": {"access_level": 20}, "group_access": null}});
    Reply::json(project.to_string())
}

async fn report(fake: &Fake) -> Report {
    let url = fake.url();
    let yaml =
        format!("gitlab: {{url: '{url}', token: '{TOKEN}'}}\nprojects: [{{name: group/p}}]\n");
    let config = Config::from_yaml(&yaml).expect("a configuration");
    check(&config, |_| {}).await.expect("a client")
}

#[tokio::test]
async fn a_missing_grant_is_named_and_does_not_stop_what_is_granted() {
    let fake = Fake::start(|request, _| {
        let path = request.target.split('?').next().unwrap_or_default();
        match path.trim_start_matches("/api/v4") {
            "/metadata" | "/version" => refusal("instance", "Metadata: Read"),
            "/personal_access_tokens/self" => {
                Reply::json(r#"{"name":"t","scopes":["granular"],"active":true,"granular":true}"#)
            }
            "/user" => refusal("user", "User: Read"),
            "/projects/7/repository/branches" => refusal("project", "Branch: Read"),
            "/projects/group%2Fp" | "/projects/7" => project(),
            "/api/graphql" => Reply::json(r#"{"data":{"projects":{"nodes":[]}}}"#),
            _ => Reply::json("[]"),
        }
    })
    .await;
    let report = report(&fake).await;
    let text = report.to_string();
    assert!(report.is_good(), "{text}");
    assert!(text.contains("version unknown"), "{text}");
    for grant in ["Metadata: Read", "User: Read", "Branch: Read"] {
        assert!(
            text.contains(&format!("the token has no grant {grant}")),
            "{text}"
        );
    }
    assert!(!text.contains("no grant Pipeline: Read"), "{text}");
    let asked = fake.seen().into_iter().map(|request| request.body);
    let enterprise = ["DoraMetrics", "FlowTimes", "VulnerabilityCounts"];
    let asked: Vec<String> = asked.collect();
    for query in enterprise {
        assert!(!asked.iter().any(|body| body.contains(query)), "{query}");
    }
}

#[tokio::test]
async fn what_an_older_gitlab_lacks_is_listed() {
    let fake = Fake::start(|request, _| {
        let path = request.target.split('?').next().unwrap_or_default();
        match path.trim_start_matches("/api/v4") {
            "/metadata" => Reply::json(r#"{"version":"17.6.0","enterprise":false}"#),
            "/projects/group%2Fp" | "/projects/7" => project(),
            "/api/graphql" => {
                let body: Value = serde_json::from_str(&request.body).unwrap_or_default();
                let query = body["query"].as_str().unwrap_or_default();
                match query.split_whitespace().any(|word| word == "type") {
                    true => Reply::json(
                        r#"{"errors":[{"message":"Field 'type' doesn't exist on type 'Pipeline'",
                            "extensions":{"code":"undefinedField","typeName":"Pipeline",
                            "fieldName":"type"}}]}"#,
                    ),
                    false => Reply::json(r#"{"data":{"projects":{"nodes":[]}}}"#),
                }
            }
            _ => Reply::status(404, "{}"),
        }
    })
    .await;
    let text = report(&fake).await.to_string();
    assert!(
        text.contains(
            "Missing     the GraphQL API of this GitLab has no Pipeline.type: no data is missing"
        ),
        "{text}"
    );
    assert!(!text.contains("falling back to REST"), "{text}");
}

/// A GitLab with one project, and more that the settings may name.
async fn gitlab() -> Fake {
    Fake::start(|request, _| {
        let path = request.target.split('?').next().unwrap_or_default();
        match path.trim_start_matches("/api/v4") {
            "/metadata" => Reply::json(r#"{"version":"19.3.0","enterprise":false}"#),
            "/projects/group%2Fp" | "/projects/7" => project(),
            "/projects/group%2Fold" => {
                Reply::json(r#"{"id": 8, "path_with_namespace": "group/old", "archived": true}"#)
            }
            "/api/graphql" => Reply::json(r#"{"data":{"projects":{"nodes":[]}}}"#),
            "/v1/metrics" => Reply::json(""),
            _ => Reply::status(404, r#"{"message":"404 Not Found"}"#),
        }
    })
    .await
}

async fn report_of(fake: &Fake, settings: &str) -> Report {
    let url = fake.url();
    let yaml = format!("gitlab: {{url: '{url}', token: '{TOKEN}'}}\n{settings}\n");
    let config = Config::from_yaml(&yaml).expect("a configuration");
    check(&config, |_| {}).await.expect("a client")
}

#[tokio::test]
async fn what_settings_name_and_gitlab_does_not_give_is_a_warning() {
    let fake = gitlab().await;
    let report = report_of(
        &fake,
        "projects: [{name: group/p}, {name: group/old}, {name: group/typo}]\n\
         wildcards: [{owner: {name: nosuch}}]",
    )
    .await;
    let text = report.to_string();
    assert!(report.is_good() && report.has_warnings(), "{text}");
    for warning in [
        "project group/old: the project is archived, so it is not read; unarchive it, or select it by a \
         wildcard with archived: true",
        "project group/typo: GET /projects/:id: not found, or not visible to the token (404: 404 Not \
         Found); check its path, and that the token's user is a member",
        "projects of group nosuch: GET /groups/:id: not found",
    ] {
        assert!(text.contains(&format!("warning     {warning}")), "{text}");
    }
    let json = report.to_json();
    assert_eq!(json["problems"][0]["level"], "warning", "{json}");
    assert_eq!(json["projects"][0]["path"], "group/p", "{json}");
    assert!(
        !report_of(&fake, "projects: [{name: group/p}]")
            .await
            .has_warnings()
    );
}

#[tokio::test]
async fn redis_is_tried() {
    let fake = gitlab().await;
    // Nobody listens on port 1.
    let with = |more: &str| {
        format!(
            "projects: [{{name: group/p}}]\nredis: {{url: 'redis://:hunter2hunter2@127.0.0.1:1'{more}}}"
        )
    };
    let report = report_of(&fake, &with("")).await;
    let text = report.to_string();
    assert!(!report.is_good(), "{text}");
    let error = "error       Redis at 127.0.0.1:1 cannot be reached (Connection refused (os error 111)): check \
                 redis.url, and whether it is running";
    assert!(text.contains(error), "{text}");
    assert!(text.contains("Redis       127.0.0.1:1: failed"), "{text}");
    let json = report.to_json();
    assert_eq!(json["redis"]["ok"], false, "{json}");
    assert!(!format!("{text}{json}").contains("hunter2"), "{text}{json}");

    let report = report_of(&fake, &with(", fallback: single")).await;
    assert!(report.is_good() && report.has_warnings(), "{report}");
    let report = report_of(&fake, "projects: [{name: group/p}]").await;
    assert_eq!(report.to_json()["redis"], serde_json::Value::Null);
}

#[tokio::test]
async fn otlp_receivers_are_tried() {
    let fake = gitlab().await;
    let otel = |settings: &str| {
        let url = fake.url();
        let url = url.as_str().trim_end_matches("/");
        format!(
            "projects: [{{name: group/p}}]\notel: {{metrics: {{endpoint: '{url}', {settings}}}}}"
        )
    };
    let report = report_of(&fake, &otel("protocol: http/protobuf")).await;
    let text = report.to_string();
    assert!(
        text.contains("/v1/metrics by http/protobuf: accepted"),
        "{text}"
    );
    assert!(!report.has_warnings(), "{text}");
    assert_eq!(report.to_json()["otlp"][0]["ok"], true);

    let report = report_of(&fake, &otel("protocol: grpc")).await;
    let text = report.to_string();
    assert!(report.is_good() && report.has_warnings(), "{text}");
    assert!(
        text.contains("for OTLP/HTTP (usually 4318) set the protocol to http/protobuf"),
        "{text}"
    );
    assert_eq!(report.to_json()["otlp"][0]["ok"], false);

    let traces =
        "projects: [{name: group/p}]\notel: {traces: {endpoint: 'URL', protocol: http/protobuf}}";
    let traces = traces.replace("URL", fake.url().as_str().trim_end_matches("/"));
    let text = report_of(&fake, &traces).await.to_string();
    assert!(
        text.contains("the receiver answered 404 Not Found; check the path of the endpoint"),
        "{text}"
    );
}
