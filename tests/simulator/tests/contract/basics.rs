//! The simulator from outside: REST, GraphQL, headers, records.

use gitlab_simulator::time::{DAY, HOUR, SECOND};
use gitlab_simulator::world::{Event, Finish, PipelineSpec, Status};
use gitlab_simulator::{Options, Simulator, World, WorldConfig};
use reqwest::Response;
use serde_json::{Value, json};

use crate::support::client;

fn simulator() -> (Simulator, u64) {
    let mut world = World::new(WorldConfig::default());
    let project = world.add_project("group/sub/app").expect("free path");
    let spec = PipelineSpec::branch("main")
        .stage("build", &["compile"])
        .stage("test", &["unit"]);
    let pipeline = world.create_pipeline(project, &spec).expect("made");
    world.advance(30 * SECOND);
    world
        .finish_pipeline(pipeline, &Finish::success().on(2).after(7 * SECOND))
        .expect("finishes");
    world
        .create_pipeline(
            project,
            &PipelineSpec::branch("main").stage("test", &["unit"]),
        )
        .expect("made");
    (
        Simulator::start(world, &Options::default()).expect("starts"),
        project,
    )
}

async fn get(simulator: &Simulator, path: &str) -> Response {
    client()
        .get(format!("{}/api/v4{path}", simulator.url()))
        .header("private-token", simulator.token())
        .send()
        .await
        .expect("an answer")
}

async fn graphql(simulator: &Simulator, query: &str) -> Value {
    let answer = client()
        .post(format!("{}/api/graphql", simulator.url()))
        .bearer_auth(simulator.token())
        .json(&json!({"query": query}))
        .send()
        .await
        .expect("an answer");
    answer.json().await.expect("JSON")
}

#[tokio::test]
async fn rest_and_graphql_show_the_same_pipelines() {
    let (simulator, project) = simulator();
    let list: Value = get(&simulator, &format!("/projects/{project}/pipelines"))
        .await
        .json()
        .await
        .expect("JSON");
    assert_eq!(list.as_array().map(Vec::len), Some(2));
    let query = format!(
        "query Feed {{ projects(ids: [\"gid://gitlab/Project/{project}\"]) {{ nodes {{ id fullPath pipelines {{ nodes {{ \
         id iid status source type ref duration queuedDuration finishedAt jobs {{ nodes {{ id name status stage {{ name }} \
         duration runner {{ runnerType }} }} }} }} pageInfo {{ hasNextPage endCursor }} }} }} }} }}"
    );
    let answer = graphql(&simulator, &query).await;
    assert_eq!(answer.get("errors"), None, "{answer:#}");
    let project = &answer["data"]["projects"]["nodes"][0];
    assert_eq!(project["fullPath"], "group/sub/app");
    let done = &project["pipelines"]["nodes"][1];
    assert_eq!(
        done["id"],
        format!("gid://gitlab/Ci::Pipeline/{}", list[1]["id"])
    );
    assert_eq!(
        (&done["status"], &done["type"]),
        (&json!("SUCCESS"), &json!("branch"))
    );
    assert_eq!(done["duration"], 7);
    assert_eq!(done["finishedAt"], "2026-01-05T08:00:30Z");
    assert_eq!(done["jobs"]["nodes"][0]["name"], "unit");
    assert_eq!(
        done["jobs"]["nodes"][0]["runner"]["runnerType"],
        "GROUP_TYPE"
    );
    assert_eq!(simulator.requests().count("Feed"), 1);
    assert_eq!(
        simulator.requests().count("/api/v4/projects/:id/pipelines"),
        1
    );
}

#[tokio::test]
async fn graphql_pages_by_cursor() {
    let (simulator, _) = simulator();
    let page = |after: &str| {
        format!(
            "{{ project(fullPath: \"group/sub/app\") {{ pipelines(first: 1{after}) {{ count nodes {{ iid }} pageInfo {{ \
             hasNextPage endCursor }} }} }} }}"
        )
    };
    let first = graphql(&simulator, &page("")).await["data"]["project"]["pipelines"].take();
    assert_eq!(
        (&first["nodes"][0]["iid"], &first["count"]),
        (&json!("2"), &json!(2))
    );
    assert_eq!(first["pageInfo"]["hasNextPage"], true);
    let after = format!(", after: {}", first["pageInfo"]["endCursor"]);
    let second = graphql(&simulator, &page(&after)).await["data"]["project"]["pipelines"].take();
    assert_eq!(second["nodes"][0]["iid"], "1");
    assert_eq!(second["pageInfo"]["hasNextPage"], false);
}

#[tokio::test]
async fn projects_are_found_by_id_and_by_encoded_path_and_at_their_old_path() {
    let (simulator, project) = simulator();
    let by_path: Value = get(&simulator, "/projects/group%2Fsub%2Fapp")
        .await
        .json()
        .await
        .expect("JSON");
    assert_eq!(by_path["id"], project);
    simulator
        .world()
        .move_project(project, "other/app")
        .expect("moves");
    let moved = get(
        &simulator,
        "/projects/group%2Fsub%2Fapp/pipelines?per_page=1",
    )
    .await;
    assert_eq!(moved.status(), 301);
    let location = moved.headers()["location"]
        .to_str()
        .expect("text")
        .to_owned();
    assert_eq!(
        location,
        format!(
            "{}/api/v4/projects/{project}/pipelines?per_page=1",
            simulator.url()
        )
    );
    assert_eq!(
        get(&simulator, "/projects/nobody%2Fhere").await.status(),
        404
    );
}

#[tokio::test]
async fn unknown_routes_and_tokens_are_refused_in_gitlabs_words() {
    let (simulator, _) = simulator();
    let unknown: Value = get(&simulator, "/no/such/route")
        .await
        .json()
        .await
        .expect("JSON");
    assert_eq!(unknown, json!({"error": "404 Not Found"}));
    let stranger = client()
        .get(format!("{}/api/v4/projects", simulator.url()))
        .header("private-token", "glpat-nobody");
    let stranger = stranger.send().await.expect("an answer");
    assert_eq!(stranger.status(), 401);
    assert_eq!(
        stranger.json::<Value>().await.expect("JSON"),
        json!({"message": "401 Unauthorized"})
    );
}

#[tokio::test]
async fn the_control_api_moves_time_and_reads_the_ledger() {
    let (simulator, _) = simulator();
    let before = simulator.world().now();
    let advance = client()
        .post(format!("{}/_control/advance", simulator.url()))
        .json(&json!({"seconds": 90}));
    assert_eq!(advance.send().await.expect("an answer").status(), 200);
    assert_eq!(simulator.world().now(), before + 90 * SECOND);
    let ledger = client()
        .get(format!("{}/_control/ledger", simulator.url()))
        .send()
        .await
        .expect("an answer");
    let ledger: Value = ledger.json().await.expect("JSON");
    assert!(
        ledger
            .as_array()
            .expect("a list")
            .iter()
            .any(|entry| entry["event"] == "pipeline_finished"),
        "{ledger:#}"
    );
}

#[test]
fn a_thousand_projects_are_generated_quickly_enough_to_bench_with() {
    let config = WorldConfig {
        projects: 100,
        pipelines_per_project: 10,
        jobs_per_pipeline: 50,
        ..WorldConfig::default()
    };
    let world = World::generate(config);
    assert_eq!(world.projects().count(), 100);
    let project = world.projects().next().expect("one").id;
    assert_eq!(world.pipelines_of(project).count(), 10);
    assert!(
        world
            .pipelines_of(project)
            .all(|pipeline| pipeline.jobs.len() == 50 && pipeline.finished_at.is_some())
    );
}

#[tokio::test]
async fn answers_show_how_long_gitlab_worked() {
    let lab = crate::support::Lab::usual();
    let answer = lab.rest("/metadata").await;
    let seconds = answer
        .header("x-runtime")
        .and_then(|text| text.parse().ok());
    assert!(seconds.is_some_and(|seconds: f64| seconds >= 0.0));
}

#[test]
fn in_a_calm_world_what_runs_ends_and_nobody_begins_anything() {
    let config = WorldConfig {
        projects: 10,
        pushes_per_hour: 20.0,
        active_ratio: 1.0,
        ..WorldConfig::default()
    };
    let mut world = World::generate(config);
    world.advance(6 * HOUR);
    world.calm();
    let acts = |world: &World| {
        let events = world.ledger().entries().iter();
        let is_act = |event: &Event| {
            matches!(
                event,
                Event::JobRetried { .. } | Event::PipelineCreated { .. }
            )
        };
        events.filter(|entry| is_act(&entry.event)).count()
    };
    world.advance(6 * HOUR);
    let before = acts(&world);
    assert!(before > 100, "only {before}");
    world.advance(4 * DAY);
    assert_eq!(acts(&world), before);
    let mut running = world.projects().flat_map(|project| {
        let pipelines = world.pipelines_of(project.id);
        pipelines.filter(|pipeline| pipeline.status == Status::Running)
    });
    assert_eq!(running.next().map(|pipeline| pipeline.id), None);
}
