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
        text.contains("Missing     GraphQL of this GitLab has no Pipeline.type: nothing is lost"),
        "{text}"
    );
    assert!(!text.contains("falling back to REST"), "{text}");
}
