//! Habits of GraphQL.

use gitlab_simulator::AccessLevel;
use gitlab_simulator::time::{HOUR, MINUTE};
use gitlab_simulator::world::{PipelineSpec, Tier};
use serde_json::{Value, json};

use crate::support::{Lab, contract, project_gid};

const NO_PERMISSION: &str = "permission";

fn message(answer: &Value) -> &str {
    answer["errors"][0]["message"].as_str().unwrap_or_default()
}

contract!(complexity_limit, lab => {
    let expensive = "pipelines { nodes { id iid sha jobs { nodes { id name status stage { name } runner { runnerType } \
                     artifacts { nodes { name fileType size } } } } downstream { nodes { id jobs { nodes { id name status } } } } } }";
    let query = format!("{{ projects {{ nodes {{ a: {expensive} b: {expensive} }} }} }}");
    let answer = lab.graphql(&query).await;
    let refused = message(&answer).starts_with("Query has complexity of ")
        && message(&answer).ends_with(", which exceeds max complexity of 250");
    assert!(refused || answer["data"]["projects"]["nodes"].is_array(), "{answer:#}");
    assert_eq!(answer.get("data").is_none(), refused);
    refused
});

contract!(depth_limit, lab => {
    let names = [
        "project(fullPath: \"group/app\")", "group", "projects(first: 1)", "nodes", "pipelines(first: 1)", "nodes", "upstream",
        "upstream", "downstream(first: 1)", "nodes", "downstream(first: 1)", "nodes", "jobs(first: 1)", "nodes",
        "downstreamPipeline", "sourceJob", "downstreamPipeline", "sourceJob", "project", "group",
    ];
    let query = format!("{{ {} {{ id {}", names.join(" { "), "} ".repeat(names.len() + 1));
    let answer = lab.graphql(&query).await;
    let refused = message(&answer) == "Query has depth of 21, which exceeds max depth of 20";
    assert!(refused || answer.get("errors").is_none(), "{answer:#}");
    refused
});

contract!(recursion_limit, lab => {
    let level = |inner: &str| format!("downstream(first: 1) {{ nodes {{ id {inner} }} }}");
    let twice = lab.of_app(&format!("pipelines {{ nodes {{ {} }} }}", level(&level("")))).await;
    assert!(twice["pipelines"]["nodes"].is_array(), "two levels pass");
    let query = format!("{{ project(fullPath: \"group/app\") {{ pipelines {{ nodes {{ {} }} }} }} }}", level(&level(&level(""))));
    message(&lab.graphql(&query).await).starts_with("Recursive query - too many of fields '{\"downstream\"=>3}' detected")
});

contract!(query_size_limit, lab => {
    let query = format!("{{ metadata {{ version }} }} #{}", "x".repeat(10_000));
    let answer = lab.post(lab.simulator.token(), &json!({"query": query})).await;
    assert!(answer.status == 200 || message(&answer.body) == "Query too large", "{answer:#?}");
    answer.status == 422
});

contract!(one_parent_fields, lab => {
    let query = format!(
        "{{ projects(ids: [{:?}, {:?}]) {{ nodes {{ id jobs {{ nodes {{ id }} }} }} }} }}",
        project_gid(lab.app),
        project_gid(lab.library),
    );
    let answer = lab.graphql(&query).await;
    let nulls = answer["data"]["projects"]["nodes"].as_array().expect("nodes").iter().filter(|node| node["jobs"].is_null()).count();
    if nulls == 0 {
        assert_eq!(answer.get("errors"), None);
        false
    } else {
        assert_eq!(message(&answer), "\"jobs\" field can be requested only for 1 Project(s) at a time.");
        assert_eq!(answer["errors"][0]["path"], json!(["projects", "nodes", 1, "jobs"]));
        nulls == 1
    }
});

#[tokio::test]
async fn one_parent_fields_count_apart_in_queries_that_are_written_differently() {
    let lab = Lab::usual();
    let jobs = |name: &str, path: &str| json!({"query": format!("query {name} {{ project(fullPath: {path:?}) {{ jobs {{ nodes {{ id }} }} }} }}")});
    let both = json!([jobs("One", "group/app"), jobs("Two", "group/library")]);
    let answer = lab.post(lab.simulator.token(), &both).await.body;
    assert!(
        answer
            .as_array()
            .expect("a list")
            .iter()
            .all(|one| one["data"]["project"]["jobs"].is_object()),
        "{answer:#}"
    );
}

contract!(full_paths_limit, lab => {
    let ask = |count: usize| {
        let paths: Vec<String> = (0..count).map(|index| format!("\"group/p{index}\"")).collect();
        format!("{{ projects(fullPaths: [{}]) {{ nodes {{ id }} }} }}", paths.join(", "))
    };
    assert!(lab.graphql(&ask(50)).await.get("errors").is_none());
    lab.graphql(&ask(51)).await.get("errors").is_some()
});

contract!(page_maximum, lab => {
    for _ in 0..120 {
        lab.simulator.world().create_pipeline(lab.app, &PipelineSpec::branch("main").config_error("no")).expect("made");
    }
    let page = lab.of_app("pipelines(first: 500) { nodes { id } pageInfo { hasNextPage } }").await["pipelines"].take();
    let rest = lab.rest(&format!("/projects/{}/pipelines?per_page=500", lab.app)).await;
    let cut = page["nodes"].as_array().map(Vec::len) == Some(100);
    assert_eq!(page["pageInfo"]["hasNextPage"], cut);
    assert_eq!(rest.body.as_array().map(Vec::len) == Some(100), cut);
    assert_eq!(rest.header("x-per-page"), Some(if cut { "100" } else { "500" }));
    cut
});

#[tokio::test]
async fn without_first_a_page_has_a_hundred_rows() {
    let lab = Lab::usual();
    for _ in 0..120 {
        lab.simulator
            .world()
            .create_pipeline(lab.app, &PipelineSpec::branch("main").config_error("no"))
            .expect("made");
    }
    let page = lab.of_app("pipelines { count nodes { id } }").await["pipelines"].take();
    assert_eq!(page["nodes"].as_array().map(Vec::len), Some(100));
    assert_eq!(page["count"], 123);
}

contract!(second_precision, lab => {
    let done = lab.of_pipeline(lab.flaky, "finishedAt updatedAt").await;
    let rest = lab.rest(&format!("/projects/{}/pipelines/{}", lab.app, lab.flaky)).await.body;
    assert_eq!(rest["finished_at"], "2026-01-05T08:20:40.250Z");
    let cut = done["finishedAt"] == "2026-01-05T08:20:40Z";
    assert!(cut || done["finishedAt"] == rest["finished_at"], "{done}");
    cut
});

contract!(null_instead_of_zero_queue, lab => {
    let done = lab.of_pipeline(lab.flaky, "queuedDuration startedAt createdAt").await;
    assert_eq!(done["startedAt"], done["createdAt"]);
    let rest = lab.rest(&format!("/projects/{}/pipelines/{}", lab.app, lab.flaky)).await.body;
    assert_eq!(rest["queued_duration"].is_null(), done["queuedDuration"].is_null());
    done["queuedDuration"].is_null()
});

contract!(no_failure_reason_in_graphql, lab => {
    let unknown = lab.graphql("{ project(fullPath: \"group/app\") { jobs { nodes { failureReason } } } }").await;
    assert_eq!(message(&unknown), "Field 'failureReason' doesn't exist on type 'CiJob'");
    assert_eq!(unknown["errors"][0]["extensions"]["code"], "undefinedField");
    let jobs = lab.of_pipeline(lab.flaky, "jobs(statuses: [FAILED]) { nodes { failureMessage } }").await;
    // Not even prose where a script failed.
    jobs["jobs"]["nodes"][0]["failureMessage"].is_null()
});

contract!(runners_hidden_below_maintainer, lab => {
    let token = lab.simulator.token();
    lab.simulator.world().set_default_role(token, AccessLevel::Developer).expect("a token");
    let jobs = lab.of_pipeline(lab.flaky, "jobs(retried: false) { nodes { name runner { runnerType } } }").await;
    let runner = |name: &str| {
        let jobs = jobs["jobs"]["nodes"].as_array().expect("nodes");
        jobs.iter().find(|job| job["name"] == name).expect("a job")["runner"]["runnerType"].clone()
    };
    assert_eq!(runner("lint"), "INSTANCE_TYPE");
    runner("unit").is_null()
});

contract!(empty_below_reporter, lab => {
    let token = lab.simulator.token();
    lab.simulator.world().set_default_role(token, AccessLevel::Guest).expect("a token");
    lab.simulator.world().change_settings(lab.app, |settings| settings.public_jobs = false).expect("a project");
    let query = "{ project(fullPath: \"group/app\") { maxAccessLevel { integerValue } pipelines { nodes { id } } } }";
    let answer = lab.graphql(query).await;
    assert_eq!(answer["data"]["project"]["maxAccessLevel"]["integerValue"], 10);
    if answer.get("errors").is_some() {
        assert!(message(&answer).contains(NO_PERMISSION), "{answer:#}");
        false
    } else {
        answer["data"]["project"]["pipelines"]["nodes"] == json!([])
    }
});

contract!(children_left_out, lab => {
    let ids = |pipelines: &Value| -> Vec<String> {
        pipelines["nodes"].as_array().expect("nodes").iter().map(|node| node["id"].to_string()).collect()
    };
    let child = format!("\"gid://gitlab/Ci::Pipeline/{}\"", lab.child);
    let both = lab.of_app("plain: pipelines { nodes { id } } children: pipelines(source: \"parent_pipeline\") { nodes { id child } }").await;
    assert_eq!(ids(&both["children"]), std::slice::from_ref(&child));
    assert_eq!(both["children"]["nodes"][0]["child"], true);
    let rest = lab.rest(&format!("/projects/{}/pipelines", lab.app)).await;
    let left_out = !ids(&both["plain"]).contains(&child);
    assert_eq!(!rest.each("id").contains(&lab.child.into()), left_out);
    let rest = lab.rest(&format!("/projects/{}/pipelines?source=parent_pipeline", lab.app)).await;
    assert_eq!(rest.each("id"), [json!(lab.child)]);
    left_out
});

contract!(retried_downstream_left_out, lab => {
    let second = {
        let mut world = lab.simulator.world();
        let bridge = world.job_named(lab.parent, "child").expect("a bridge").id;
        let again = world.retry_job(bridge).expect("it succeeded");
        world.trigger_bridge(again).expect("pending")
    };
    let downstream = lab.of_pipeline(lab.parent, "downstream { nodes { id sourceJob { name } } }").await;
    let text = downstream.to_string();
    assert!(text.contains(&second.to_string()) && text.contains(&lab.downstream.to_string()));
    !text.contains(&lab.child.to_string())
});

contract!(inaccessible_downstream_null, lab => {
    let token = lab.simulator.token();
    lab.simulator.world().set_role(token, lab.library, AccessLevel::None).expect("a token");
    let downstream = lab.of_pipeline(lab.parent, "downstream { nodes { id } }").await;
    let nodes = downstream["downstream"]["nodes"].as_array().expect("nodes").clone();
    assert_eq!(nodes.len(), 2);
    nodes.iter().filter(|node| node.is_null()).count() == 1
});

contract!(silent_omission, lab => {
    let token = lab.simulator.token();
    lab.simulator.world().set_role(token, lab.library, AccessLevel::None).expect("a token");
    let ids = [lab.app, lab.library, 999_999].map(|id| format!("{:?}", project_gid(id))).join(", ");
    let answer = lab.graphql(&format!("{{ projects(ids: [{ids}]) {{ nodes {{ id }} }} }}")).await;
    assert_eq!(answer.get("errors"), None);
    answer["data"]["projects"]["nodes"] == json!([{"id": project_gid(lab.app)}])
});

contract!(activity_throttled, lab => {
    let activity = || async { lab.of_app("lastActivityAt").await["lastActivityAt"].clone() };
    let before = activity().await;
    lab.simulator.world().advance(30 * MINUTE);
    lab.simulator.world().push(lab.app, "main").expect("pushed");
    let soon = activity().await;
    lab.simulator.world().advance(HOUR);
    lab.simulator.world().push(lab.app, "main").expect("pushed");
    assert_ne!(activity().await, before);
    soon == before
});

contract!(enterprise_fields_missing_on_ce, lab => {
    lab.simulator.world().enterprise = false;
    let answer = lab.graphql("{ project(fullPath: \"rich/app\") { id dora { metrics { date } } } }").await;
    let missing = message(&answer) == "Field 'dora' doesn't exist on type 'Project'";
    assert!(missing || answer["data"]["project"]["dora"]["metrics"].is_null(), "{answer:#}");
    missing && answer.get("data").is_none()
});

const DORA: &str = "dora { metrics(interval: ALL) { deploymentFrequency } }";

contract!(unlicensed_null, lab => {
    let answer = lab.graphql(&format!("{{ project(fullPath: \"group/app\") {{ id {DORA} }} }}")).await;
    answer.get("errors").is_none() && answer["data"]["project"]["dora"]["metrics"].is_null()
});

contract!(tier_by_top_level_group, lab => {
    let metrics = |path: &str| {
        let query = format!("{{ project(fullPath: {path:?}) {{ {DORA} }} }}");
        let lab = &lab;
        async move { lab.graphql(&query).await["data"]["project"]["dora"]["metrics"].clone() }
    };
    assert!(metrics("rich/app").await.is_array());
    metrics("group/app").await.is_null()
});

#[tokio::test]
async fn premium_unlocks_flow_metrics_and_not_dora() {
    let lab = Lab::usual();
    lab.simulator
        .world()
        .set_tier("group", Tier::Premium)
        .expect("a group");
    let selection = format!(
        "{DORA} flowMetrics {{ leadTime(from: \"2026-01-01\", to: \"2026-01-05\") {{ identifier }} }}"
    );
    let app = lab.of_app(&selection).await;
    assert_eq!(app["flowMetrics"]["leadTime"]["identifier"], "lead_time");
    assert!(app["dora"]["metrics"].is_null());
    let token = lab.simulator.token();
    lab.simulator
        .world()
        .set_default_role(token, AccessLevel::Guest)
        .expect("a token");
    assert!(
        lab.of_app(&selection).await["flowMetrics"]["leadTime"].is_object(),
        "guests read analytics"
    );
}

contract!(no_introspection, lab => {
    let standard = json!({"operationName": "IntrospectionQuery", "query": "query IntrospectionQuery { __schema { queryType { name } } }"});
    let standard = lab.post(lab.simulator.token(), &standard).await.body;
    assert_eq!(standard["data"]["__schema"]["queryType"]["name"], "Query", "{standard:#}");
    let answer = lab.graphql("{ __type(name: \"Project\") { name } }").await;
    message(&answer) == "Field '__type' doesn't exist on type 'Query'"
});

#[tokio::test]
async fn unknown_names_refuse_the_whole_query_with_at_most_five_errors() {
    let lab = Lab::usual();
    let answer = lab.graphql("query Bad { project(fullPath: \"group/app\") { id a b c d e f pipelines(foo: 1) { nodes { id } } } }").await;
    assert_eq!(answer["errors"].as_array().map(Vec::len), Some(5));
    assert_eq!(answer.get("data"), None);
    assert_eq!(
        answer["errors"][0],
        json!({
            "message": "Field 'a' doesn't exist on type 'Project'",
            "locations": [{"line": 1, "column": 49}],
            "path": ["query Bad", "project", "a"],
            "extensions": {"code": "undefinedField", "typeName": "Project", "fieldName": "a"},
        })
    );
    let answer = lab
        .graphql("{ project(fullPath: \"group/app\") { pipelines(foo: 1) { nodes { id } } } }")
        .await;
    assert_eq!(
        answer["errors"][0]["extensions"]["code"],
        "argumentNotAccepted"
    );
    let answer = lab
        .graphql("{ project(fullPath: \"group/app\") { pipelines } }")
        .await;
    assert_eq!(
        answer["errors"][0]["extensions"]["code"],
        "selectionMismatch"
    );
}

#[tokio::test]
async fn jobs_hold_current_and_retried_ones_and_bridges_unless_narrowed() {
    let lab = Lab::usual();
    let names = |answer: Value| -> Vec<(String, bool)> {
        let nodes = answer["jobs"]["nodes"].as_array().expect("nodes").clone();
        nodes
            .iter()
            .map(|job| {
                (
                    job["name"].as_str().expect("a name").to_owned(),
                    job["retried"] == true,
                )
            })
            .collect()
    };
    let all = names(
        lab.of_pipeline(lab.flaky, "jobs { nodes { name retried } }")
            .await,
    );
    assert_eq!(
        all,
        [
            ("unit".to_owned(), false),
            ("lint".to_owned(), false),
            ("unit".to_owned(), true)
        ]
    );
    let current = names(
        lab.of_pipeline(lab.flaky, "jobs(retried: false) { nodes { name retried } }")
            .await,
    );
    assert_eq!(current, all[..2]);
    let builds = names(
        lab.of_pipeline(
            lab.parent,
            "jobs(jobKind: BUILD) { nodes { name retried } }",
        )
        .await,
    );
    assert!(builds.is_empty());
    let bridges = lab.of_pipeline(lab.parent, "jobs(jobKind: BRIDGE) { nodes { id kind queuedAt runner { id } downstreamPipeline { id } } }").await;
    let bridge = &bridges["jobs"]["nodes"][1];
    assert!(
        bridge["id"]
            .as_str()
            .expect("an id")
            .starts_with("gid://gitlab/Ci::Bridge/")
    );
    assert_eq!(
        (&bridge["queuedAt"], &bridge["runner"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(
        bridge["downstreamPipeline"]["id"],
        format!("gid://gitlab/Ci::Pipeline/{}", lab.child)
    );
}

#[tokio::test]
async fn updated_after_is_inclusive_and_newest_ids_come_first() {
    let lab = Lab::usual();
    let at = lab.of_pipeline(lab.flaky, "updatedAt").await["updatedAt"]
        .as_str()
        .expect("a time")
        .to_owned();
    let listed = lab
        .of_app(&format!(
            "pipelines(updatedAfter: {at:?}) {{ nodes {{ id }} }}"
        ))
        .await;
    let ids: Vec<&Value> = listed["pipelines"]["nodes"]
        .as_array()
        .expect("nodes")
        .iter()
        .map(|node| &node["id"])
        .collect();
    assert_eq!(
        ids.last().map(|id| id.as_str()),
        Some(Some(&*format!("gid://gitlab/Ci::Pipeline/{}", lab.flaky)))
    );
    assert_eq!(ids.len(), 3);
}

#[tokio::test]
async fn a_status_that_gitlab_will_have_one_day_goes_out_as_it_is() {
    let lab = Lab::usual();
    lab.simulator
        .world()
        .set_pipeline_status(lab.flaky, "hibernating")
        .expect("exists");
    assert_eq!(
        lab.of_pipeline(lab.flaky, "status complete active").await,
        json!({
            "status": "HIBERNATING", "complete": false, "active": false,
        })
    );
    let rest = lab
        .rest(&format!("/projects/{}/pipelines/{}", lab.app, lab.flaky))
        .await
        .body;
    assert_eq!(rest["status"], "hibernating");
}

#[tokio::test]
async fn merge_request_pipelines_tell_their_kind_and_merge_request() {
    let lab = Lab::usual();
    let selection =
        "ref refPath type source mergeRequestEventType mergeRequest { iid targetBranch state }";
    assert_eq!(
        lab.of_pipeline(lab.merge_request, selection).await,
        json!({
            "ref": "refs/merge-requests/1/merge",
            "refPath": "refs/merge-requests/1/merge",
            "type": "merged_result",
            "source": "merge_request_event",
            "mergeRequestEventType": "MERGED_RESULT",
            "mergeRequest": {"iid": "1", "targetBranch": "main", "state": "opened"},
        })
    );
}

#[tokio::test]
async fn an_old_path_leads_nowhere_in_graphql() {
    let lab = Lab::usual();
    lab.simulator
        .world()
        .move_project(lab.app, "elsewhere/app")
        .expect("moved");
    let answer = lab.graphql("{ old: project(fullPath: \"group/app\") { id } new: project(fullPath: \"elsewhere/app\") { id } }").await;
    assert_eq!(
        answer,
        json!({"data": {"old": null, "new": {"id": project_gid(lab.app)}}})
    );
}

#[tokio::test]
async fn pipelines_are_found_by_their_ids_since_19_2() {
    let lab = Lab::usual();
    let gid = |id: u64| format!("\"gid://gitlab/Ci::Pipeline/{id}\"");
    let ask = |ids: &[u64], more: &str| {
        let ids: Vec<String> = ids.iter().map(|id| gid(*id)).collect();
        format!(
            "pipelines(ids: [{}] {more}) {{ nodes {{ id }} }}",
            ids.join(", ")
        )
    };
    let of_app =
        |selection: String| format!("{{ project(fullPath: \"group/app\") {{ {selection} }} }}");
    let both = [lab.flaky, lab.child];
    let answer = lab.graphql(&of_app(ask(&both, ""))).await;
    assert_eq!(
        answer["errors"][0]["extensions"]["code"], "argumentNotAccepted",
        "{answer}"
    );
    lab.simulator.world().version = "19.2.0".to_owned();
    let found = |answer: &Value| {
        let nodes = answer["data"]["project"]["pipelines"]["nodes"].as_array();
        nodes.map_or(0, Vec::len)
    };
    // Children are left out unless their source stands beside.
    assert_eq!(found(&lab.graphql(&of_app(ask(&both, ""))).await), 1);
    let children = "source: \"parent_pipeline\"";
    assert_eq!(found(&lab.graphql(&of_app(ask(&both, children))).await), 1);
    // Those of other projects are not found.
    assert_eq!(
        found(&lab.graphql(&of_app(ask(&[lab.downstream], ""))).await),
        0
    );
    let many: Vec<u64> = (1..=21).collect();
    let answer = lab.graphql(&of_app(ask(&many, ""))).await;
    assert_eq!(
        answer["errors"][0]["message"],
        "Cannot query more than 20 pipelines by ID at once."
    );
}

#[tokio::test]
async fn jobs_of_the_instance_are_for_administrators() {
    let lab = Lab::usual();
    let query = "{ jobs(first: 2) { nodes { id status kind pipeline { id project { id } } project { fullPath } } \
                 pageInfo { hasNextPage endCursor } } }";
    let answer = lab.graphql(query).await;
    assert_eq!(
        answer["data"]["jobs"],
        json!({
            "nodes": [], "pageInfo": {"hasNextPage": false, "endCursor": null},
        })
    );
    let mut admin = gitlab_simulator::Token::new("glpat-administrator-000000");
    admin.admin = true;
    lab.simulator.world().tokens.push(admin);
    let ask = async |query: &str| {
        lab.post("glpat-administrator-000000", &json!({"query": query}))
            .await
            .body["data"]["jobs"]
            .take()
    };
    let jobs = ask(query).await;
    assert_eq!(jobs["nodes"].as_array().map(Vec::len), Some(2));
    assert_eq!(jobs["pageInfo"]["hasNextPage"], true);
    // Newest first, without trigger jobs.
    assert_eq!(
        jobs["nodes"][0]["pipeline"]["id"],
        format!("gid://gitlab/Ci::Pipeline/{}", lab.merge_request)
    );
    assert_eq!(jobs["nodes"][0]["project"]["fullPath"], "group/app");
    assert_eq!(
        jobs["nodes"][0]["pipeline"]["project"]["id"],
        project_gid(lab.app)
    );
    let cursor = jobs["pageInfo"]["endCursor"].as_str().expect("a cursor");
    let next = ask(&query.replace("first: 2", &format!("first: 2, after: \"{cursor}\""))).await;
    assert_ne!(next["nodes"][0]["id"], jobs["nodes"][1]["id"]);
    let failed = ask(&query.replace("first: 2", "first: 9, statuses: [FAILED]")).await;
    assert_eq!(failed["nodes"].as_array().map(Vec::len), Some(1));
    let all = ask(&query.replace("first: 2", "first: 100")).await;
    let kinds = all["nodes"]
        .as_array()
        .expect("nodes")
        .iter()
        .map(|node| &node["kind"]);
    assert!(kinds.into_iter().all(|kind| *kind == "BUILD"));
}

#[tokio::test]
async fn projects_of_a_group_come_in_pages() {
    let lab = Lab::usual();
    lab.simulator
        .world()
        .add_project("group/sub/deep")
        .expect("a free path");
    let query = |more: &str| {
        format!(
            "{{ group(fullPath: \"group\") {{ projects(includeSubgroups: true, notAimedForDeletion: true, \
             first: 2 {more}) {{ nodes {{ fullPath }} pageInfo {{ hasNextPage endCursor }} }} }} }}"
        )
    };
    let first = lab.graphql(&query("")).await["data"]["group"]["projects"].take();
    assert_eq!(first["pageInfo"]["hasNextPage"], true);
    let cursor = first["pageInfo"]["endCursor"].as_str().expect("a cursor");
    let second = lab.graphql(&query(&format!("after: \"{cursor}\""))).await;
    let second = &second["data"]["group"]["projects"];
    assert_eq!(second["nodes"].as_array().map(Vec::len), Some(1));
    assert_eq!(second["pageInfo"]["hasNextPage"], false);
}
