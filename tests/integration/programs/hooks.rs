//! The command `webhooks`, against a GitLab that has webhooks, and a running exporter that receives them.

use std::process::Output;

use gitlab_simulator::auth::{AccessLevel, Token};
use gitlab_simulator::rest::hooks::Holder;
use gitlab_simulator::world::{PipelineSpec, Tier};
use gitlab_simulator::{Options, Simulator, World};
use serde_json::{Value, json};

use crate::support::exporter::{Binary, beginning_now, binary, configuration, write};
use crate::support::until;

const SECRET: &str = "a-secret-for-webhooks";
const API: &str = "glpat-with-the-scope-api";

/// A GitLab with three projects; one is none of the token's business.
fn gitlab() -> (Simulator, Vec<u64>) {
    let mut world = World::new(beginning_now());
    let ids: Vec<u64> = ["group/app", "group/lib", "group/other"]
        .map(|path| world.add_project(path).expect("a project"))
        .to_vec();
    for token in &mut world.tokens {
        token.default_role = AccessLevel::Maintainer;
    }
    let mut api = Token::new(API).with_scopes(&["api"]);
    api.default_role = AccessLevel::Maintainer;
    api.roles.insert(ids[2], AccessLevel::Developer);
    world.tokens.push(api);
    let pipeline = PipelineSpec::branch("main");
    world
        .create_pipeline(ids[0], &pipeline)
        .expect("a pipeline");
    let simulator = Simulator::start(world, &Options::default()).expect("a simulator");
    (simulator, ids)
}

fn yaml(simulator: &Simulator) -> String {
    configuration(
        simulator,
        &format!("server: {{webhook: {{enabled: true, secret_token: {SECRET}}}}}"),
    )
}

/// Runs the command; gives what it wrote and whether it went well.
async fn webhooks(yaml: &str, arguments: &[&str], token: Option<&str>) -> (String, bool) {
    let folder = tempfile::tempdir().expect("a folder");
    write(&folder, "config.yml", yaml);
    let mut command = binary(&["webhooks"]);
    command.args(arguments).args(["--config", "config.yml"]);
    command.current_dir(folder.path());
    if let Some(token) = token {
        command.env("AGE_WEBHOOKS_TOKEN", token);
    }
    let done = tokio::task::spawn_blocking(move || command.output());
    let Output {
        status,
        stdout,
        stderr,
    } = done.await.expect("it ends").expect("it runs");
    let said = String::from_utf8_lossy(&stdout) + String::from_utf8_lossy(&stderr);
    for secret in [SECRET, API] {
        assert!(!said.contains(secret), "{said}");
    }
    (said.into_owned(), status.success())
}

fn urls(simulator: &Simulator, project: u64) -> Vec<Value> {
    let hooks = simulator.hooks().of(project);
    hooks.iter().map(|hook| hook["url"].clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_are_planned_installed_and_removed_and_no_others_are_touched() {
    let (simulator, ids) = gitlab();
    let yaml = yaml(&simulator);
    let url = "https://exporter.example.com/webhook";
    let foreign = json!({"url": "https://ci.example.com/hook", "push_events": true});
    simulator.hooks().add(ids[0], foreign.clone());
    simulator.hooks().add(
        ids[1],
        json!({"url": url, "pipeline_events": true, "job_events": true}),
    );

    // With read_api a plan can be made, and nothing changed.
    let (said, good) = webhooks(&yaml, &["plan", "--url", url], None).await;
    assert!(good, "{said}");
    assert!(said.contains("group/app    would be created"), "{said}");
    assert!(
        said.contains("group/lib    would be updated: confidential_issues_events, "),
        "{said}"
    );
    assert_eq!(urls(&simulator, ids[0]), ["https://ci.example.com/hook"]);
    let (said, good) = webhooks(&yaml, &["install", "--url", url], None).await;
    assert!(!good && said.contains("set AGE_WEBHOOKS_TOKEN"), "{said}");
    assert_eq!(urls(&simulator, ids[0]), ["https://ci.example.com/hook"]);

    // One project that fails stops no other; twice is as once.
    for round in 0..2 {
        let (said, good) = webhooks(&yaml, &["install", "--url", url], Some(API)).await;
        assert!(!good && said.contains("3 projects, 1 failed"), "{said}");
        assert!(said.contains("group/other  failed: "), "{said}");
        let done = if round == 0 {
            "created"
        } else {
            "exists, secret token set"
        };
        assert!(said.contains(&format!("group/app    {done}")), "{said}");
        assert_eq!(
            urls(&simulator, ids[0]),
            ["https://ci.example.com/hook", url]
        );
        assert_eq!(urls(&simulator, ids[1]), [url]);
        assert_eq!(urls(&simulator, ids[2]), [] as [&str; 0]);
    }
    let installed = simulator.hooks().of(ids[1])[0].clone();
    assert_eq!(
        (&installed["token"], &installed["job_events"]),
        (&json!(SECRET), &json!(false))
    );
    assert_eq!(installed["merge_requests_events"], json!(true));

    let (said, _) = webhooks(&yaml, &["plan", "--url", url, "--jobs"], None).await;
    assert!(
        said.contains("group/app    would be updated: job_events"),
        "{said}"
    );

    let (said, _) = webhooks(&yaml, &["remove", "--url", url], Some(API)).await;
    assert!(said.contains("group/app    removed"), "{said}");
    assert_eq!(simulator.hooks().of(ids[0]), [foreign]);
    assert_eq!(urls(&simulator, ids[1]), [] as [&str; 0]);
    let (said, _) = webhooks(&yaml, &["remove", "--url", url], Some(API)).await;
    assert!(said.contains("group/lib    has none"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_goes_through_gitlab_to_the_running_exporter() {
    let (simulator, _) = gitlab();
    let yaml = yaml(&simulator);
    let exporter = Binary::run(&yaml, &[]).await;
    until("projects are tracked", async || {
        let metrics = exporter.get("/metrics").await.body;
        match metrics.contains("age_projects_tracked 3") {
            true => Ok(()),
            false => Err(metrics),
        }
    })
    .await;
    let url = format!("http://{}/webhook", exporter.address());
    let _ = webhooks(&yaml, &["install", "--url", &url], Some(API)).await;
    let (said, _) = webhooks(&yaml, &["test", "--url", &url], Some(API)).await;
    assert!(
        said.contains("group/app    delivered, response 202"),
        "{said}"
    );
    assert!(
        said.contains("group/lib    has no pipeline to test with"),
        "{said}"
    );
    let metrics = exporter.get("/metrics").await.body;
    let accepted = r#"age_webhook_events_total{event="pipeline",outcome="accepted"} 1"#;
    assert!(metrics.contains(accepted), "{metrics}");

    // Another secret is seen in the status that GitLab got.
    let other = yaml.replace(SECRET, "another-secret");
    let _ = webhooks(&other, &["install", "--url", &url], Some(API)).await;
    let (said, good) = webhooks(&other, &["test", "--url", &url], Some(API)).await;
    assert!(
        !good && said.contains("group/app    delivered, response 401"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_secret_nothing_is_installed() {
    let (simulator, ids) = gitlab();
    let yaml = configuration(&simulator, "");
    let url = "https://exporter.example.com/webhook";
    let (said, good) = webhooks(&yaml, &["install", "--url", url], Some(API)).await;
    assert!(
        !good && said.contains("server.webhook.secret_token"),
        "{said}"
    );
    assert_eq!(urls(&simulator, ids[0]), [] as [&str; 0]);
}

/// The URLs of what has webhooks.
fn held(simulator: &Simulator, holder: Holder) -> Vec<Value> {
    let hooks = simulator.hooks().held_by(holder);
    hooks.iter().map(|hook| hook["url"].clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_has_one_webhook_for_all_projects_where_gitlab_has_group_webhooks() {
    let mut world = World::new(beginning_now());
    world.enterprise = true;
    let ids: Vec<u64> = ["paid/app", "paid/team/lib", "free/app"]
        .map(|path| world.add_project(path).expect("a project"))
        .to_vec();
    world.set_tier("paid", Tier::Premium).expect("a group");
    world
        .create_pipeline(ids[1], &PipelineSpec::branch("main"))
        .expect("a pipeline");
    let [paid, free] = ["paid", "free"].map(|path| world.group_by_path(path).expect("a group").id);
    for token in &mut world.tokens {
        token.default_role = AccessLevel::Maintainer;
    }
    let mut api = Token::new(API).with_scopes(&["api"]);
    api.group_roles = [(paid, AccessLevel::Owner), (free, AccessLevel::Owner)].into();
    world.tokens.push(api);
    let simulator = Simulator::start(world, &Options::default()).expect("a simulator");
    let wildcards =
        "wildcards: [{owner: {name: paid}}, {owner: {name: paid/team}}, {owner: {name: free}}]";
    let yaml = yaml(&simulator).replace("wildcards: [{}]", wildcards);
    let exporter = Binary::run(&yaml, &[]).await;
    until("projects are tracked", async || {
        let metrics = exporter.get("/metrics").await.body;
        match metrics.contains("age_projects_tracked 3") {
            true => Ok(()),
            false => Err(metrics),
        }
    })
    .await;
    let url = format!("http://{}/webhook", exporter.address());
    let run = async |task: &str, token: Option<&str>| {
        webhooks(&yaml, &[task, "--scope", "groups", "--url", &url], token).await
    };
    let (said, good) = run("install", Some(API)).await;
    assert!(good, "{said}");
    assert!(said.contains("paid (group)  created"), "{said}");
    assert!(said.contains("free/app      created"), "{said}");
    assert!(said.contains("note: free: no group webhooks"), "{said}");
    assert!(said.contains("1 groups, 1 projects, 0 failed"), "{said}");
    assert_eq!(held(&simulator, Holder::Group(paid)), [json!(url)]);
    assert_eq!(held(&simulator, Holder::Group(free)), [] as [Value; 0]);
    assert_eq!(urls(&simulator, ids[0]), [] as [Value; 0]);
    assert_eq!(urls(&simulator, ids[2]), [json!(url)]);
    let installed = simulator.hooks().held_by(Holder::Group(paid))[0].clone();
    for events in ["pipeline_events", "subgroup_events"] {
        assert_eq!(installed[events], json!(true), "{installed}");
    }
    let (said, good) = run("install", Some(API)).await;
    assert!(good && said.contains("paid (group)  exists"), "{said}");
    let (said, _) = run("test", Some(API)).await;
    assert!(
        said.contains("paid (group)  delivered, response 202"),
        "{said}"
    );

    // Who owns no group has webhooks in projects.
    let (said, good) = run("plan", None).await;
    assert!(
        good && said.contains("note: paid: no group webhooks"),
        "{said}"
    );
    assert!(said.contains("paid/team/lib  would be created"), "{said}");
    let (said, _) = run("remove", Some(API)).await;
    assert!(said.contains("paid (group)  removed"), "{said}");
    assert_eq!(held(&simulator, Holder::Group(paid)), [] as [Value; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_is_offered_one_system_hook_for_what_projects_do_not_report() {
    let (simulator, _) = gitlab();
    let mut admin = Token::new("glpat-of-an-administrator").with_scopes(&["api"]);
    admin.admin = true;
    let token = admin.value.clone();
    simulator.world().tokens.push(admin);
    let yaml = yaml(&simulator);
    let exporter = Binary::run(&yaml, &[]).await;
    let url = format!("http://{}/webhook", exporter.address());
    let (said, _) = webhooks(&yaml, &["plan", "--url", &url], None).await;
    assert!(!said.contains("--scope system"), "{said}");
    let (said, _) = webhooks(&yaml, &["plan", "--url", &url], Some(&token)).await;
    assert!(
        said.contains("note: this token is an administrator's: with --scope system"),
        "{said}"
    );

    let run = async |task: &str, token: &str| {
        webhooks(
            &yaml,
            &[task, "--scope", "system", "--url", &url],
            Some(token),
        )
        .await
    };
    let (said, good) = run("install", API).await;
    assert!(
        !good && said.contains("system hooks need an administrator"),
        "{said}"
    );
    for done in ["created", "exists, secret token set"] {
        let (said, good) = run("install", &token).await;
        assert!(
            good && said.contains(&format!("instance  {done}")),
            "{said}"
        );
    }
    let installed = simulator.hooks().held_by(Holder::Instance);
    assert_eq!(installed.len(), 1);
    for (events, on) in [
        ("repository_update_events", true),
        ("merge_requests_events", true),
        ("push_events", false),
        ("tag_push_events", false),
    ] {
        assert_eq!(installed[0][events], json!(on), "{events}");
    }
    let (said, _) = webhooks(&yaml, &["plan", "--url", &url], Some(&token)).await;
    assert!(!said.contains("--scope system"), "it is there: {said}");
    let (said, good) = run("test", &token).await;
    assert!(good && said.contains("instance  sent"), "{said}");
    let metrics = exporter.get("/metrics").await.body;
    let accepted = r#"age_webhook_events_total{event="project_create",outcome="accepted"} 1"#;
    assert!(metrics.contains(accepted), "{metrics}");
    let (said, _) = run("remove", &token).await;
    assert!(said.contains("instance  removed"), "{said}");
}
