//! Lists whose cost grows with a project's past, and lists that an index serves.

use gitlab_simulator::time::whole_seconds;
use gitlab_simulator::world::Past;
use serde_json::json;

use super::{Bench, pipeline, quiet};

const PAST: Past = Past {
    pipelines: 300_000,
    child_pipelines: 75_000,
    merge_requests: 50_000,
    deployments: 200_000,
};

fn old() -> (Bench, u64) {
    let mut world = quiet(2);
    let project = world.projects().next().expect("one").id;
    world.create_pipeline(project, &pipeline(1)).expect("made");
    world.set_past(project, PAST).expect("exists");
    world.create_pipeline(project, &pipeline(1)).expect("made");
    (Bench::new(world), project)
}

/// Rows that a project's list of these arguments reads.
async fn read(bench: &Bench, project: u64, arguments: &str) -> u64 {
    let query = format!(
        "query($ids: [ID!]!) {{ projects(ids: $ids) {{ nodes {{ id pipelines({arguments}, first: 100) \
         {{ nodes {{ id }} }} }} }} }}"
    );
    let variables = json!({"ids": Bench::ids(&[project])});
    bench.graphql(&query, variables).await;
    bench.simulator.costs().of_project(project).biggest_list
}

#[tokio::test]
async fn the_newest_iid_is_the_number_of_pipelines_that_there_ever_were() {
    let (bench, project) = old();
    let world = bench.simulator.world();
    let iids: Vec<u64> = world.pipelines_of(project).map(|found| found.iid).collect();
    assert_eq!(iids, [300_002, 300_001]);
    assert_eq!(world.pipelines_ever(project), 300_002);
}

#[tokio::test]
async fn pipelines_by_time_alone_read_all_that_there_ever_were() {
    let (bench, project) = old();
    let since = whole_seconds(bench.simulator.world().now());
    let since = format!("updatedAfter: \"{since}\"");
    assert_eq!(read(&bench, project, &since).await, 300_002);
    let children = "source: \"parent_pipeline\"";
    assert_eq!(
        read(&bench, project, &format!("{since}, {children}")).await,
        75_000
    );
    assert_eq!(read(&bench, project, children).await, 75_000);
    let path = format!("/projects/{project}/pipelines?updated_after=2026-01-01T00:00:00Z");
    assert_eq!(bench.rest(&path).await.0.biggest_list, 300_002);
}

#[tokio::test]
async fn an_index_serves_statuses_ids_and_the_newest() {
    let (bench, project) = old();
    let since = whole_seconds(bench.simulator.world().now());
    let id = bench
        .simulator
        .world()
        .pipelines_of(project)
        .next()
        .expect("one")
        .id;
    for arguments in [
        format!("status: PENDING, updatedAfter: \"{since}\""),
        "status: PENDING".to_owned(),
        "status: PENDING, source: \"parent_pipeline\"".to_owned(),
        format!("ids: [\"gid://gitlab/Ci::Pipeline/{id}\"]"),
        "scope: RUNNING".to_owned(),
    ] {
        let rows = read(&bench, project, &arguments).await;
        assert!(rows <= 2, "{arguments}: {rows}");
    }
    let path =
        format!("/projects/{project}/pipelines?status=success&updated_after=2026-01-01T00:00:00Z");
    assert!(bench.rest(&path).await.0.biggest_list <= 2);
    assert!(
        bench
            .rest(&format!("/projects/{project}/pipelines"))
            .await
            .0
            .biggest_list
            <= 2
    );
}

#[tokio::test]
async fn counting_reads_what_it_counts() {
    let (bench, project) = old();
    let count = |selection: &str| {
        format!("query($ids: [ID!]!) {{ projects(ids: $ids) {{ nodes {{ id {selection} }} }} }}")
    };
    let variables = json!({"ids": Bench::ids(&[project])});
    let all = count("mergeRequests(first: 1) { count nodes { iid } }");
    let (cost, _) = bench.graphql(&all, variables.clone()).await;
    assert_eq!(cost.biggest_list, 50_000);
    let without = count("mergeRequests(first: 1) { nodes { iid } }");
    let (cost, _) = bench.graphql(&without, variables).await;
    assert!(cost.biggest_list <= 1);
}

#[tokio::test]
async fn jobs_of_a_status_without_an_index_are_searched_by_id() {
    let (bench, project) = old();
    let path = format!("/projects/{project}/jobs");
    assert!(bench.rest(&path).await.0.biggest_list <= 2);
    assert!(
        bench
            .rest(&format!("{path}?scope[]=running"))
            .await
            .0
            .biggest_list
            <= 2
    );
    let (cost, rows) = bench.rest(&format!("{path}?scope[]=failed")).await;
    assert_eq!((rows, cost.biggest_list), (0, 2_400_002));
}

#[tokio::test]
async fn costs_are_known_by_operation_project_and_minute() {
    let (bench, project) = old();
    let costs = bench.simulator.costs();
    costs.reset();
    let url = bench.simulator.url();
    let query = "query Feed($ids: [ID!]!) { projects(ids: $ids) { nodes { id pipelines { nodes { id } } } } }";
    let body = json!({"query": query, "operationName": "Feed", "variables": {"ids": Bench::ids(&bench.projects())}});
    for _ in 0..2 {
        let request = bench.client.post(format!("{url}/api/graphql"));
        request
            .bearer_auth(super::ADMIN)
            .json(&body)
            .send()
            .await
            .expect("an answer");
        bench.simulator.advance(std::time::Duration::from_secs(60));
    }
    let answer = bench
        .client
        .get(format!("{url}/_control/costs"))
        .send()
        .await;
    let report: serde_json::Value = answer.expect("an answer").json().await.expect("JSON");
    assert_eq!(report["operations"]["Feed"]["requests"], 2);
    assert_eq!(report["operations"]["Feed"]["queries"], 50.0);
    assert_eq!(report["projects"][project.to_string()]["queries"], 4.0);
    assert_eq!(
        report["minutes"].as_object().map(serde_json::Map::len),
        Some(2)
    );
    assert_eq!(costs.of("Feed").queries, 50.0);
    let recorded = bench.simulator.requests().all();
    assert!(recorded.iter().all(|request| request.cost.queries == 25.0));
    let cleared = bench
        .client
        .delete(format!("{url}/_control/costs"))
        .send()
        .await;
    assert_eq!(cleared.expect("an answer").status().as_u16(), 204);
    assert_eq!(costs.total().requests, 0);
}
