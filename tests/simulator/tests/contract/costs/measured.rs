//! The measured table, row by row: queries within 15 %, processor time within 35 %.

use gitlab_simulator::cost::Cost;
use gitlab_simulator::world::{Finish, JobSpec};
use gitlab_simulator::{World, WorldConfig};
use serde_json::{Value, json};

use super::{Bench, pipeline, quiet};

/// What was measured, and what the model says.
#[derive(Default)]
struct Table {
    wrong: Vec<String>,
}

impl Table {
    /// Queries within 15 %, processor milliseconds within 35 %.
    fn row(&mut self, name: &str, cost: &Cost, queries: f64, cpu_ms: f64) {
        self.within(name, cost, (queries, 0.15), (cpu_ms, 0.35));
    }

    /// The same for a row of the second session, whose machine was faster by half: what took 90 ms in the
    /// first took 60 in it.
    fn faster(&mut self, name: &str, cost: &Cost, queries: f64, cpu_ms: f64) {
        self.within(name, cost, (queries, 0.15), (cpu_ms * 1.5, 0.35));
    }

    fn within(&mut self, name: &str, cost: &Cost, queries: (f64, f64), cpu: (f64, f64)) {
        let off = |is: f64, should: f64| is / should - 1.0;
        let (q, c) = (off(cost.queries, queries.0), off(cost.cpu_ms, cpu.0));
        println!(
            "{name:<52} {:>6.0} queries, {:>6.0} measured ({:>+4.0} %) {:>6.0} ms, {:>6.0} measured ({:>+4.0} %)",
            cost.queries,
            queries.0,
            q * 100.0,
            cost.cpu_ms,
            cpu.0,
            c * 100.0
        );
        if q.abs() > queries.1 || c.abs() > cpu.1 {
            self.wrong.push(name.to_owned());
        }
    }

    fn judge(self) {
        assert!(self.wrong.is_empty(), "too far off: {:?}", self.wrong);
    }
}

const MERGE_REQUEST: &str = "mergeRequest { iid targetBranch sourceBranch }";
const UPSTREAM: &str =
    "upstream { id ref project { id fullPath } mergeRequest { iid targetBranch sourceBranch } }";
const SCALARS: &str = "id iid ref type refPath source status createdAt updatedAt startedAt \
                       finishedAt duration queuedDuration";
const PAGE: &str = "pageInfo { hasNextPage endCursor }";

/// The change feed's document: what it asks of each pipeline, and of each child.
fn changes(moved: &str, children: &str) -> String {
    format!(
        "query($ids: [ID!]!, $since: Time) {{ projects(ids: $ids, first: 100) {{ nodes {{ id fullPath \
         archived lastActivityAt publicJobs jobsEnabled mergeRequestsEnabled markedForDeletion \
         moved: pipelines(updatedAfter: $since, first: 100) {{ nodes {{ {SCALARS} {moved} }} {PAGE} }} \
         children: pipelines(updatedAfter: $since, source: \"parent_pipeline\", first: 100) \
         {{ nodes {{ {SCALARS} {children} }} {PAGE} }} }} }} queryComplexity {{ score limit }} }}"
    )
}

/// Projects with lists of this selection, empty since now.
fn lists(selection: &str) -> String {
    format!(
        "query($ids: [ID!]!, $since: Time) {{ projects(ids: $ids, first: 100) {{ nodes {{ id {selection} }} }} }}"
    )
}

fn since_now(bench: &Bench, projects: &[u64]) -> Value {
    let now = bench.simulator.world().now() + 1_000;
    let since = gitlab_simulator::time::whole_seconds(now);
    json!({"ids": Bench::ids(projects), "since": since})
}

#[tokio::test]
async fn quiet_projects() {
    let mut world = quiet(100);
    let projects: Vec<u64> = world.projects().map(|project| project.id).collect();
    for project in &projects {
        for _ in 0..5 {
            world.create_pipeline(*project, &pipeline(0)).expect("made");
        }
    }
    let bench = Bench::new(world);
    let variables = since_now(&bench, &projects);
    let mut table = Table::default();
    let all = format!("{MERGE_REQUEST} {UPSTREAM} sourceJob {{ name }}");
    let feed = changes(&all, &all);
    let (cost, _) = bench.graphql(&feed, variables.clone()).await;
    table.row("quiet poll, 100 projects, as sent", &cost, 323.0, 900.0);
    for (number, queries, cpu) in [(25, 106.0, 400.0), (50, 195.0, 750.0)] {
        let (cost, _) = bench
            .graphql(&feed, since_now(&bench, &projects[..number]))
            .await;
        table.row(&format!("… {number} projects"), &cost, queries, cpu);
    }
    let (cost, _) = bench
        .graphql(
            "query($ids: [ID!]!) { projects(ids: $ids, first: 100) { nodes { id } } }",
            variables.clone(),
        )
        .await;
    table.row("… no list at all", &cost, 21.0, 300.0);
    let one = "a: pipelines(updatedAfter: $since, first: 100) { nodes { id status updatedAt } }";
    let (cost, _) = bench.graphql(&lists(one), variables.clone()).await;
    table.row("… one list", &cost, 221.0, 900.0);
    let newest = "query($ids: [ID!]!) { projects(ids: $ids, first: 100) { nodes { id \
                  pipelines(first: 5) { nodes { id status updatedAt } } } } }";
    let (cost, _) = bench.graphql(newest, variables.clone()).await;
    table.row("100 quiet projects: newest 5 by id", &cost, 220.0, 1_150.0);
    let of = |statuses: &[&str], more: &str| -> String {
        let lists = statuses.iter().map(|status| {
            format!(
                "{status}{}: pipelines(status: {status}, first: 100 {more}) {{ nodes {{ id }} }} ",
                more.len()
            )
        });
        lists.collect()
    };
    let since = "updatedAfter: $since";
    let ended = of(&["SUCCESS", "FAILED", "CANCELED", "SKIPPED"], since);
    let (cost, _) = bench.graphql(&lists(&ended), variables.clone()).await;
    table.faster(
        "… updatedAfter with 4 terminal statuses",
        &cost,
        520.0,
        800.0,
    );
    let children = of(
        &["SUCCESS", "FAILED", "CANCELED"],
        "updatedAfter: $since source: \"parent_pipeline\"",
    );
    let (cost, _) = bench
        .graphql(&lists(&format!("{ended} {children}")), variables.clone())
        .await;
    table.faster(
        "… the same and 3 statuses of children",
        &cost,
        820.0,
        1_000.0,
    );
    let active = "r: pipelines(status: RUNNING, first: 100) { nodes { id } } \
                  p: pipelines(status: PREPARING, first: 100) { nodes { id } } \
                  c: pipelines(status: WAITING_FOR_RESOURCE, first: 100) { nodes { id } }";
    let active = lists(active).replace(", $since: Time", "");
    let (cost, _) = bench.graphql(&active, variables).await;
    table.faster("… three active statuses, all empty", &cost, 420.0, 650.0);
    let group = "query { group(fullPath: \"group\") { projects(includeSubgroups: true, \
                 notAimedForDeletion: true, first: 100) { nodes { id fullPath archived lastActivityAt \
                 REST } pageInfo { hasNextPage endCursor } } } }";
    let (cost, _) = bench.graphql(&group.replace("REST", ""), json!({})).await;
    table.row("group.projects, 100 projects", &cost, 25.0, 300.0);
    let root = group.replace("REST", "repository { rootRef }");
    let (cost, _) = bench.graphql(&root, json!({})).await;
    table.row("… with repository { rootRef }", &cost, 124.0, 1_000.0);
    let (cost, _) = bench.rest("/groups/group/projects?per_page=100").await;
    table.row(
        "REST list of a group, 100 projects, warm",
        &cost,
        137.0,
        1_500.0,
    );
    let (cost, _) = bench.graphql("{ currentUser { id } }", json!({})).await;
    table.row("the floor", &cost, 7.0, 40.0);
    table.judge();
}

/// 20 projects with 32 pipelines each; 50 of the 640 are children, 26 come from another project.
fn first_reading() -> World {
    let mut world = quiet(20);
    let projects: Vec<u64> = world.projects().map(|project| project.id).collect();
    for (number, project) in projects.iter().enumerate() {
        let next = projects[(number + 1) % projects.len()];
        let children = if number < 10 { 3 } else { 2 };
        let others = if number < 6 { 2 } else { 1 };
        let child = (0..children).map(|n| {
            JobSpec::child_bridge(
                "go",
                &format!("child-{n}"),
                false,
                vec![JobSpec::new("test", "a")],
            )
        });
        let other = (0..others).map(|n| {
            JobSpec::multi_project_bridge(
                "go",
                &format!("other-{n}"),
                next,
                false,
                vec![JobSpec::new("test", "a")],
            )
        });
        let parent = pipeline(0).jobs(child.chain(other).collect());
        let parent = world.create_pipeline(*project, &parent).expect("made");
        let bridges: Vec<u64> = world.jobs_of(parent).map(|job| job.id).collect();
        for bridge in bridges {
            world.trigger_bridge(bridge).expect("pending");
        }
    }
    for project in projects {
        while world.pipelines_of(project).count() < 32 {
            world.create_pipeline(project, &pipeline(1)).expect("made");
        }
    }
    world
}

#[tokio::test]
async fn a_first_reading() {
    let bench = Bench::new(first_reading());
    let variables = json!({"ids": Bench::ids(&bench.projects())});
    let mut table = Table::default();
    let source = "sourceJob { name }";
    let all = format!("{MERGE_REQUEST} {UPSTREAM} {source}");
    let (cost, answer) = bench.graphql(&changes(&all, &all), variables.clone()).await;
    let children = answer["projects"]["nodes"][0]["children"]["nodes"].as_array();
    assert!(children.is_some_and(|nodes| !nodes[0]["sourceJob"].is_null()));
    table.row(
        "first reading, 20 projects with 32 pipelines",
        &cost,
        862.0,
        2_200.0,
    );
    let less = format!("{MERGE_REQUEST} {UPSTREAM}");
    let (cost, _) = bench
        .graphql(&changes(&less, &less), variables.clone())
        .await;
    table.row("… without sourceJob", &cost, 183.0, 1_500.0);
    let (cost, _) = bench
        .graphql(&changes(MERGE_REQUEST, &all), variables)
        .await;
    table.row(
        "… sourceJob and upstream of children only",
        &cost,
        191.0,
        1_500.0,
    );
    table.judge();
}

const JOB: &str = "id name status retried createdAt startedAt finishedAt duration queuedDuration \
                   coverage runner { runnerType }";

fn jobs(of_pipeline: &str, of_job: &str) -> String {
    format!(
        "query($ids: [ID!]!) {{ projects(ids: $ids) {{ nodes {{ id fullPath \
         moved: pipelines(first: 100) {{ nodes {{ id iid ref status updatedAt {of_pipeline} \
         jobs(jobKind: BUILD, first: 100) {{ nodes {{ {JOB} {of_job} }} {PAGE} }} }} {PAGE} }} \
         children: pipelines(source: \"parent_pipeline\", first: 100) {{ nodes {{ id }} {PAGE} }} }} }} }}"
    )
}

const DOWNSTREAM: &str = "coverage downstream(first: 100) { nodes { id } }";
const STAGE: &str = "stage { name } artifacts(first: 100) { nodes { fileType size } }";

#[tokio::test]
async fn jobs_of_ten_projects() {
    let mut world = quiet(10);
    let projects: Vec<u64> = world.projects().map(|project| project.id).collect();
    for project in projects {
        for jobs in [8, 8, 7] {
            let id = world
                .create_pipeline(project, &pipeline(jobs).coverage(80.0))
                .expect("made");
            world
                .finish_pipeline(id, &Finish::success().on(1))
                .expect("goes on");
        }
    }
    let bench = Bench::new(world);
    let variables = json!({"ids": Bench::ids(&bench.projects())});
    let mut table = Table::default();
    let (cost, _) = bench
        .graphql(&jobs(DOWNSTREAM, STAGE), variables.clone())
        .await;
    table.row(
        "jobs of 10 projects, 30 pipelines, 230 jobs",
        &cost,
        983.0,
        2_100.0,
    );
    let (cost, _) = bench.graphql(&jobs("", ""), variables).await;
    table.row("… without the four fields", &cost, 134.0, 1_000.0);
    table.judge();
}

#[tokio::test]
async fn pipelines_by_their_ids() {
    let mut world = quiet(1);
    let project = world.projects().next().expect("one").id;
    let ids: Vec<u64> = (0..10)
        .map(|_| world.create_pipeline(project, &pipeline(6)).expect("made"))
        .collect();
    let bench = Bench::new(world);
    let ids: Vec<String> = ids
        .iter()
        .map(|id| format!("\"gid://gitlab/Ci::Pipeline/{id}\""))
        .collect();
    let by_ids = |query: String| {
        let list = format!("moved: pipelines(ids: [{}])", ids.join(", "));
        let children = "children: pipelines(source: \"parent_pipeline\", first: 100) \
                        { nodes { id } pageInfo { hasNextPage endCursor } }";
        query
            .replace("moved: pipelines(first: 100)", &list)
            .replace(children, "")
    };
    let variables = json!({"ids": Bench::ids(&[project])});
    let mut table = Table::default();
    let (cost, _) = bench
        .graphql(&by_ids(jobs(DOWNSTREAM, STAGE)), variables.clone())
        .await;
    table.row("ten pipelines by ids, all fields", &cost, 195.0, 440.0);
    let (cost, _) = bench.graphql(&by_ids(jobs("", "")), variables).await;
    table.row("… without the four", &cost, 32.0, 170.0);
    let (cost, rows) = bench
        .rest(&format!("/projects/{project}/pipelines/1000001/jobs"))
        .await;
    assert_eq!(rows, 6);
    table.within(
        "REST pipelines/:id/jobs, 6 of 8 jobs",
        &cost,
        (85.0 * 6.0 / 8.0, 0.15),
        (85.0, 0.35),
    );
    table.judge();
}

#[tokio::test]
async fn fields_of_one_project() {
    let mut world = quiet(2);
    let ids: Vec<u64> = world.projects().map(|project| project.id).collect();
    for jobs in [9, 9, 8, 8, 8, 8, 8] {
        let mut spec = pipeline(jobs);
        for number in 0..3 {
            let inside = vec![JobSpec::new("test", "inside")];
            let name = format!("bridge-{number}");
            spec = spec.job(JobSpec::multi_project_bridge(
                "test", &name, ids[1], false, inside,
            ));
        }
        let id = world.create_pipeline(ids[0], &spec).expect("made");
        let jobs = world.jobs_of(id).map(|job| (job.id, job.name.clone()));
        let bridges: Vec<_> = jobs
            .filter(|(_, name)| name.starts_with("bridge"))
            .collect();
        for (bridge, _) in bridges {
            world.trigger_bridge(bridge).expect("pending");
        }
    }
    let bench = Bench::new(world);
    let mut table = Table::default();
    let builds = "jobs(jobKind: BUILD, first: 100)";
    for (name, selection, queries, cpu) in [
        (
            "one project, 7 pipelines: scalars",
            format!("{SCALARS} {MERGE_REQUEST}"),
            22.0,
            60.0,
        ),
        ("+ coverage", format!("{SCALARS} coverage"), 29.0, 70.0),
        (
            "+ sourceJob",
            format!("{SCALARS} sourceJob {{ name }}"),
            29.0,
            70.0,
        ),
        (
            "+ jobs { id status }, 58 of them",
            format!("id {builds} {{ nodes {{ id status }} }}"),
            31.0,
            108.0,
        ),
        (
            "+ all scalars of a job",
            format!("id {builds} {{ nodes {{ {JOB} }} }}"),
            33.0,
            170.0,
        ),
        (
            "+ stage",
            format!("id {builds} {{ nodes {{ {JOB} stage {{ name }} }} }}"),
            89.0,
            230.0,
        ),
        (
            "+ artifacts",
            format!("id {builds} {{ nodes {{ {JOB} artifacts {{ nodes {{ size }} }} }} }}"),
            91.0,
            420.0,
        ),
        (
            "downstream",
            "id downstream { nodes { id } }".to_owned(),
            103.0,
            140.0,
        ),
        (
            "jobs of kind BRIDGE",
            "id jobs(jobKind: BRIDGE) { nodes { id name } }".to_owned(),
            31.0,
            76.0,
        ),
        (
            "+ downstreamPipeline",
            "id jobs(jobKind: BRIDGE) { nodes { id name downstreamPipeline { id status } } }"
                .to_owned(),
            58.0,
            110.0,
        ),
    ] {
        let query = format!(
            "query($ids: [ID!]!) {{ projects(ids: $ids) {{ nodes {{ id pipelines(first: 100) {{ nodes {{ {selection} }} }} }} }} }}"
        );
        let variables = json!({"ids": Bench::ids(&ids[..1])});
        let (cost, _) = bench.graphql(&query, variables).await;
        table.row(name, &cost, queries, cpu);
    }
    table.judge();
}

#[tokio::test]
async fn jobs_of_the_whole_instance_and_of_a_project() {
    let world = World::generate(WorldConfig {
        projects: 10,
        pipelines_per_project: 12,
        jobs_per_pipeline: 8,
        ..WorldConfig::default()
    });
    let bench = Bench::new(world);
    let mut table = Table::default();
    let (cost, answer) = bench
        .graphql("{ jobs(first: 100) { nodes { id status } } }", json!({}))
        .await;
    assert_eq!(answer["jobs"]["nodes"].as_array().map(Vec::len), Some(100));
    assert_eq!(cost.biggest_list, 100);
    table.row("Query.jobs, 100 newest: id, status", &cost, 12.0, 90.0);
    let with = "{ jobs(first: 100) { nodes { id status pipeline { id project { id } } } } }";
    let (cost, _) = bench.graphql(with, json!({})).await;
    table.row("… with pipeline and project", &cost, 37.0, 280.0);
    let project = bench.projects()[0];
    let (cost, rows) = bench
        .rest(&format!("/projects/{project}/jobs?per_page=100"))
        .await;
    assert!(rows > 90, "{rows}");
    table.row("REST projects/:id/jobs, 100", &cost, 38.0, 400.0);
    table.judge();
}
