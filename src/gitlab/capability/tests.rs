//! Capability against a server of every age and edition.

use serde_json::{Value, json};

use super::*;
use crate::gitlab::testing::{Fake, Reply};

const NOW: UnixSeconds = UnixSeconds(1_767_614_400); // 2026-01-05T12:00:00Z
const IDS: [ProjectId; 3] = [ProjectId(1), ProjectId(2), ProjectId(3)];

fn instance(version: &str, enterprise: Option<bool>) -> Instance {
    Metadata {
        version: version.to_owned(),
        revision: String::new(),
        enterprise,
    }
    .into()
}

fn data(nodes: Value) -> Reply {
    Reply::json(json!({"data": {"projects": {"nodes": nodes}}}).to_string())
}

fn tiers(batch: &Batch<ProjectTier>) -> Vec<Known<Tier>> {
    batch.items.iter().map(|item| item.tier).collect()
}

#[test]
fn versions_and_editions_are_read() {
    for (version, enterprise, release, edition) in [
        ("19.3.0-ee", Some(true), (19, 3), Edition::Enterprise),
        ("19.3.0-pre", Some(true), (19, 3), Edition::Enterprise),
        ("18.11.2", Some(false), (18, 11), Edition::Community),
        ("14.0.1-ee", None, (14, 0), Edition::Enterprise),
        ("14.0.1", None, (14, 0), Edition::Community),
        ("main", None, (0, 0), Edition::Community),
        ("99999999999.1", None, (0, 1), Edition::Community),
        ("", None, (0, 0), Edition::Community),
    ] {
        let instance = instance(version, enterprise);
        assert_eq!(
            (instance.release, instance.edition),
            (release, edition),
            "{version}"
        );
    }
    assert!(instance("19.0.0", None).at_least(18, 11));
    assert!(!instance("18.9.0", None).at_least(18, 11));
}

#[tokio::test]
async fn community_edition_is_free_without_a_question() {
    let fake = Fake::script(vec![Reply::status(500, "")]).await;
    let ce = instance("19.3.0", Some(false));
    let batch = fake.gitlab().project_tiers(&IDS, &ce, NOW).await.unwrap();
    assert_eq!(tiers(&batch), [Known::Value(Tier::Free); 3]);
    assert!(fake.seen().is_empty());
}

#[tokio::test]
async fn newer_editions_report_their_licence_per_project() {
    let node = |id: u64, ultimate: Value, premium: Value| {
        json!({"id": format!("gid://gitlab/Project/{id}"),
            "ultimate": {"available": ultimate}, "premium": {"available": premium}})
    };
    let fake = Fake::script(vec![data(json!([
        node(1, json!(true), json!(true)),
        node(2, json!(false), json!(true)),
        node(3, json!(false), json!(false)),
        {"id": "gid://gitlab/Project/4", "ultimate": null, "premium": null},
    ]))])
    .await;
    let ee = instance("18.11.0-ee", Some(true));
    let batch = fake.gitlab().project_tiers(&IDS, &ee, NOW).await.unwrap();
    let value = Known::Value;
    assert_eq!(
        tiers(&batch),
        [
            value(Tier::Ultimate),
            value(Tier::Premium),
            value(Tier::Free),
            Known::Hidden
        ]
    );
    assert!(fake.seen()[0].body.contains("LicensedFeatures"));
}

#[tokio::test]
async fn older_editions_are_probed() {
    let node = |id: u64, dora: Value, flow: Value| {
        json!({"id": format!("gid://gitlab/Project/{id}"),
            "dora": {"metrics": dora}, "flowMetrics": {"leadTime": flow}})
    };
    let fake = Fake::script(vec![data(json!([
        node(1, json!([{"deploymentFrequency": null}]), json!({"value": null})),
        node(2, Value::Null, json!({"value": 1.5})),
        {"id": "gid://gitlab/Project/3", "dora": null, "flowMetrics": null},
    ]))])
    .await;
    let ee = instance("17.0.0-ee", Some(true));
    let batch = fake.gitlab().project_tiers(&IDS, &ee, NOW).await.unwrap();
    assert_eq!(
        tiers(&batch),
        [
            Known::Value(Tier::Ultimate),
            Known::Value(Tier::Premium),
            Known::Hidden
        ]
    );
    let variables = fake.seen()[0].variables();
    assert_eq!(
        (&variables["from"], &variables["to"]),
        (
            &json!("2026-01-04T12:00:00Z"),
            &json!("2026-01-05T12:00:00Z")
        )
    );
}

#[tokio::test]
async fn an_experiment_that_went_away_is_no_failure() {
    let refusal = json!({"errors": [{"message": "Field 'licensedFeatureAvailability' doesn't exist",
        "extensions": {"code": "undefinedField"}}]});
    let fake = Fake::script(vec![Reply::json(refusal.to_string()), data(json!([]))]).await;
    let ee = instance("20.0.0-ee", Some(true));
    let batch = fake.gitlab().project_tiers(&IDS, &ee, NOW).await.unwrap();
    assert!(batch.items.is_empty());
    assert!(fake.seen()[1].body.contains("FeatureProbe"));
}

#[tokio::test]
async fn without_graphql_the_tier_is_unread() {
    let fake = Fake::script(vec![Reply::status(500, "")]).await;
    let mut settings = fake.settings();
    settings.use_graphql = false;
    let gitlab =
        crate::gitlab::testing::gitlab(&settings, std::sync::Arc::new(crate::gitlab::NoAccounting));
    let ee = instance("19.3.0-ee", Some(true));
    let batch = gitlab.project_tiers(&IDS, &ee, NOW).await.unwrap();
    assert_eq!(tiers(&batch), [Known::Unread; 3]);
    assert!(fake.seen().is_empty());
}

#[tokio::test]
async fn tokens_that_may_not_ask_about_themselves_still_work() {
    let fake = Fake::start(|request, _| match request.target.as_str() {
        "/api/v4/user" => Reply::json(r#"{"id":1,"username":"bot"}"#),
        _ => Reply::status(404, r#"{"message":"404 Not Found"}"#),
    })
    .await;
    let state = fake.gitlab().token_state().await.unwrap();
    assert_eq!(state.token, Known::Unread);
    assert_eq!(state.user.as_ref().value().unwrap().username, "bot");
    assert!(state.findings(NOW).is_empty());
}

#[tokio::test]
async fn a_token_that_is_refused_is_an_error() {
    let fake = Fake::script(vec![Reply::status(
        401,
        r#"{"error":"invalid_token","error_description":"Token is expired. You can either do re-authorization or token refresh."}"#,
    )])
    .await;
    let error = fake.gitlab().token_state().await.unwrap_err();
    assert_eq!(error.kind(), "auth");
    assert!(error.to_string().contains("Token is expired"), "{error}");
}

#[test]
fn findings_say_what_to_fix() {
    let state =
        |scopes: &[&str], expires_in: Option<i64>, active: bool, granular: bool| TokenState {
            token: Known::Value(TokenInfo {
                name: "t".into(),
                scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
                expires_at: expires_in.map(|days| UnixSeconds(NOW.0 + days * 86_400)),
                active,
                granular,
            }),
            user: Known::Unread,
        };
    let texts = |state: TokenState| {
        let findings = state.findings(NOW);
        let text = |f: &Finding| format!("{}: {}", if f.fatal { "fatal" } else { "hint" }, f.text);
        findings.iter().map(text).collect::<Vec<_>>()
    };
    assert!(texts(state(&["read_api"], Some(300), true, false)).is_empty());
    assert!(
        texts(state(&[], None, true, true)).is_empty(),
        "fine-grained tokens have no scopes"
    );
    let found = texts(state(
        &["read_user", "read_repository"],
        Some(300),
        true,
        false,
    ));
    assert_eq!(
        found,
        ["fatal: the token lacks the scope read_api (it has: read_user, read_repository)"]
    );
    let found = texts(state(&["api"], Some(3), true, false));
    assert_eq!(found.len(), 2);
    assert!(
        found[0].contains("read_api is enough") && found[1].contains("in 3 days"),
        "{found:?}"
    );
    let found = texts(state(&["read_api"], Some(-3), false, false));
    assert_eq!(
        found,
        ["fatal: the token is revoked or expired; create a new one"]
    );
}
