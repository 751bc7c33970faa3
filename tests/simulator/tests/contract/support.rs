//! A small GitLab with something of everything, and ways to ask it.

use gitlab_simulator::time::{MINUTE, SECOND};
use gitlab_simulator::world::{Finish, JobSpec, PipelineSpec, Tier};
use gitlab_simulator::{Options, Quirks, Simulator, World, WorldConfig};
use reqwest::header::HeaderMap;
use reqwest::redirect::Policy;
use serde_json::{Value, json};

/// Holds that a habit shows with its switch on and does not with its switch off. The body sees a fresh
/// `lab` each time and says whether the habit shows.
macro_rules! contract {
    ($quirk:ident, $lab:ident => $seen:block) => {
        #[tokio::test]
        async fn $quirk() {
            for on in [true, false] {
                let $lab =
                    $crate::support::Lab::new($crate::support::quirks(stringify!($quirk), on));
                let seen: bool = $seen;
                assert_eq!(
                    seen,
                    on,
                    "{} is switched {}",
                    stringify!($quirk),
                    if on { "on" } else { "off" }
                );
            }
        }
    };
}
pub(crate) use contract;

/// All habits, one of them switched as told.
pub fn quirks(name: &str, on: bool) -> Quirks {
    let mut switches = serde_json::to_value(Quirks::default()).expect("serializes");
    assert!(switches.get(name).is_some(), "no habit is named {name}");
    switches[name] = on.into();
    serde_json::from_value(switches).expect("deserializes")
}

/// An answer that was read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// A field of every element.
    pub fn each(&self, field: &str) -> Vec<Value> {
        self.body
            .as_array()
            .expect("a list")
            .iter()
            .map(|item| item[field].clone())
            .collect()
    }
}

/// The GitLab. `group/app` has a flaky pipeline (`flaky`), one with children (`parent`, `child`, and a
/// `downstream` in `group/library`) and one for merge request 1; `rich/app` is Ultimate.
pub struct Lab {
    pub simulator: Simulator,
    pub app: u64,
    pub library: u64,
    pub rich: u64,
    pub flaky: u64,
    pub parent: u64,
    pub child: u64,
    pub downstream: u64,
    pub merge_request: u64,
    client: reqwest::Client,
}

pub fn client() -> reqwest::Client {
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    reqwest::Client::builder()
        .redirect(Policy::none())
        .build()
        .expect("a client")
}

impl Lab {
    pub fn new(quirks: Quirks) -> Self {
        let mut world = World::new(WorldConfig::default());
        world.quirks = quirks;
        let app = world.add_project("group/app").expect("free path");
        let library = world.add_project("group/library").expect("free path");
        let rich = world.add_project("rich/app").expect("free path");
        world.set_tier("rich", Tier::Ultimate).expect("a group");

        let spec = PipelineSpec::branch("main")
            .job(
                JobSpec::new("test", "unit")
                    .coverage(82.714)
                    .artifact("archive", "a.zip", 1_234)
                    .tag("linux"),
            )
            .job(JobSpec::new("test", "lint"));
        let flaky = world.create_pipeline(app, &spec).expect("made");
        let unit = world.job_named(flaky, "unit").expect("a job").id;
        let lint = world.job_named(flaky, "lint").expect("a job").id;
        world.start_job(unit, Some(2)).expect("pending");
        world.advance(10 * SECOND + 250);
        world
            .finish_job(unit, &Finish::failed("script_failure"))
            .expect("running");
        world
            .finish_job(lint, &Finish::success().on(1).after(3 * SECOND))
            .expect("pending");
        world.advance(20 * MINUTE);
        let again = world.retry_job(unit).expect("failed");
        world.advance(30 * SECOND);
        world
            .finish_job(again, &Finish::success().on(2).after(12 * SECOND + 500))
            .expect("pending");

        let inner = vec![JobSpec::new("test", "inner")];
        let spec = PipelineSpec::branch("main")
            .job(JobSpec::child_bridge(
                "trigger",
                "child",
                false,
                inner.clone(),
            ))
            .job(JobSpec::multi_project_bridge(
                "trigger", "library", library, false, inner,
            ));
        let parent = world.create_pipeline(app, &spec).expect("made");
        let bridge = world.job_named(parent, "child").expect("a bridge").id;
        let child = world.trigger_bridge(bridge).expect("pending");
        let bridge = world.job_named(parent, "library").expect("a bridge").id;
        let downstream = world.trigger_bridge(bridge).expect("pending");

        let iid = world
            .create_merge_request(app, "feature", "main")
            .expect("opened");
        let spec = PipelineSpec::merged_result(iid).stage("test", &["unit"]);
        let merge_request = world.create_pipeline(app, &spec).expect("made");
        let simulator = Simulator::start(world, &Options::default()).expect("starts");
        Self {
            simulator,
            app,
            library,
            rich,
            flaky,
            parent,
            child,
            downstream,
            merge_request,
            client: client(),
        }
    }

    pub fn usual() -> Self {
        Self::new(Quirks::default())
    }

    /// `GET /api/v4…` with the default token.
    pub async fn rest(&self, path: &str) -> Answer {
        self.rest_as(self.simulator.token(), path).await
    }

    pub async fn rest_as(&self, token: &str, path: &str) -> Answer {
        let url = format!("{}/api/v4{path}", self.simulator.url());
        read(
            self.client
                .get(url)
                .header("private-token", token)
                .send()
                .await
                .expect("an answer"),
        )
        .await
    }

    /// A query with the default token.
    pub async fn graphql(&self, query: &str) -> Value {
        self.post(self.simulator.token(), &json!({"query": query}))
            .await
            .body
    }

    pub async fn post(&self, token: &str, body: &Value) -> Answer {
        let url = format!("{}/api/graphql", self.simulator.url());
        read(
            self.client
                .post(url)
                .bearer_auth(token)
                .json(body)
                .send()
                .await
                .expect("an answer"),
        )
        .await
    }

    /// What a query selects of the project `group/app`.
    pub async fn of_app(&self, selection: &str) -> Value {
        let mut answer = self
            .graphql(&format!(
                "{{ project(fullPath: \"group/app\") {{ {selection} }} }}"
            ))
            .await;
        answer["data"]["project"].take()
    }

    /// What a query selects of a pipeline of `group/app`.
    pub async fn of_pipeline(&self, id: u64, selection: &str) -> Value {
        let selection =
            format!("pipeline(id: \"gid://gitlab/Ci::Pipeline/{id}\") {{ {selection} }}");
        self.of_app(&selection).await["pipeline"].take()
    }
}

async fn read(response: reqwest::Response) -> Answer {
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await.expect("a body");
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Answer {
        status,
        headers,
        body,
    }
}

pub fn project_gid(id: u64) -> String {
    format!("gid://gitlab/Project/{id}")
}
