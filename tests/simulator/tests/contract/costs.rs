//! What answers cost, held against what was measured on a running GitLab 19.3.

mod measured;
mod past;
mod workers;

use gitlab_simulator::auth::Token;
use gitlab_simulator::cost::Cost;
use gitlab_simulator::world::{JobSpec, PipelineSpec};
use gitlab_simulator::{Options, Simulator, World, WorldConfig};
use serde_json::{Value, json};

use crate::support::{client, project_gid};

/// The secret of an administrator.
const ADMIN: &str = "glpat-administrator-000000";

/// A simulator over a world of one's own. Queries may be as complex as they like.
struct Bench {
    simulator: Simulator,
    client: reqwest::Client,
}

impl Bench {
    fn new(mut world: World) -> Self {
        "19.3.0-pre".clone_into(&mut world.version);
        world.quirks.complexity_limit = false;
        world.quirks.one_parent_fields = false;
        let mut admin = Token::new(ADMIN);
        admin.admin = true;
        world.tokens.push(admin);
        let simulator = Simulator::start(world, &Options::default()).expect("a free port");
        let client = client();
        Self { simulator, client }
    }

    fn projects(&self) -> Vec<u64> {
        let world = self.simulator.world();
        world.projects().map(|project| project.id).collect()
    }

    /// What one query costs, and its answer.
    async fn graphql(&self, query: &str, variables: Value) -> (Cost, Value) {
        self.simulator.costs().reset();
        let url = format!("{}/api/graphql", self.simulator.url());
        let body = json!({"query": query, "variables": variables});
        let request = self.client.post(url).bearer_auth(ADMIN).json(&body);
        let answer = request.send().await.expect("an answer");
        let answer: Value = answer.json().await.expect("JSON");
        assert_eq!(answer.get("errors"), None, "{answer}");
        (self.simulator.costs().total(), answer["data"].clone())
    }

    /// What one request by REST costs, and how many rows it shows.
    async fn rest(&self, path: &str) -> (Cost, usize) {
        self.simulator.costs().reset();
        let url = format!("{}/api/v4{path}", self.simulator.url());
        let request = self.client.get(url).header("private-token", ADMIN);
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status().as_u16(), 200, "{path}");
        let answer: Value = answer.json().await.expect("JSON");
        let rows = answer.as_array().map_or(0, Vec::len);
        (self.simulator.costs().total(), rows)
    }

    /// The variable `ids` for some projects.
    fn ids(projects: &[u64]) -> Value {
        projects
            .iter()
            .map(|id| Value::from(project_gid(*id)))
            .collect()
    }
}

/// Projects without pipelines.
fn quiet(projects: usize) -> World {
    let mut world = World::new(WorldConfig::default());
    for number in 0..projects {
        let path = format!("group/project-{number}");
        world.add_project(&path).expect("a free path");
    }
    world
}

/// A pipeline of so many jobs.
fn pipeline(jobs: usize) -> PipelineSpec {
    let jobs = (0..jobs).map(|number| JobSpec::new("test", &format!("job-{number}")));
    PipelineSpec::branch("main").jobs(jobs.collect())
}
