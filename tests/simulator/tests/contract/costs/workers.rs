//! Workers that behave. Nothing here asserts a time.

use gitlab_simulator::workers::Settings;
use serde_json::{Value, json};

use super::{Bench, pipeline, quiet};

/// So fast that no test waits for it.
fn fast(workers: usize) -> Settings {
    Settings {
        workers,
        speed: 2_000.0,
        ..Settings::default()
    }
}

const QUERY: &str = "query($ids: [ID!]!) { projects(ids: $ids, first: 100) { nodes { id fullPath \
                     pipelines(first: 100) { nodes { id sourceJob { name } } } } } }";

async fn ask(bench: &Bench) -> Value {
    let url = format!("{}/api/graphql", bench.simulator.url());
    let body = json!({"query": QUERY, "variables": {"ids": Bench::ids(&bench.projects())}});
    let request = bench.client.post(url).bearer_auth(super::ADMIN).json(&body);
    let answer = request.send().await.expect("an answer");
    assert_eq!(answer.status().as_u16(), 200);
    assert!(answer.headers().contains_key("x-runtime"));
    answer.json().await.expect("JSON")
}

fn busy() -> Bench {
    let mut world = quiet(20);
    let projects: Vec<u64> = world.projects().map(|project| project.id).collect();
    for project in projects {
        for _ in 0..100 {
            world.create_pipeline(project, &pipeline(0)).expect("made");
        }
    }
    Bench::new(world)
}

#[tokio::test]
async fn a_query_alone_is_answered_whole() {
    let bench = busy();
    bench.simulator.workers().set(Some(fast(1)));
    let answer = ask(&bench).await;
    assert_eq!(answer.get("errors"), None);
    let report = bench.simulator.workers().report().expect("they behave");
    assert_eq!((report.tally.requests, report.tally.timeouts), (1, 0));
}

#[tokio::test]
async fn in_a_crowd_queries_time_out_with_part_of_their_answer() {
    let bench = busy();
    // Slow enough for all of them to be in the worker together.
    bench.simulator.workers().set(Some(Settings {
        speed: 30.0,
        ..fast(1)
    }));
    let answers = futures::future::join_all((0..8).map(|_| ask(&bench))).await;
    let late: Vec<&Value> = answers
        .iter()
        .filter(|answer| answer["errors"].is_array())
        .collect();
    assert!(!late.is_empty(), "nobody timed out");
    for answer in late {
        let errors = answer["errors"].as_array().expect("a list");
        assert!(errors.iter().all(|error| {
            let message = error["message"].as_str().unwrap_or_default();
            message.starts_with("Timeout on ") && error["path"].is_array()
        }));
        assert!(answer["data"]["projects"]["nodes"][0]["pipelines"]["nodes"].is_array());
        for error in errors {
            let path = error["path"].as_array().expect("a path").iter();
            let at = path.fold(&answer["data"], |at, step| match step {
                Value::String(key) => &at[key],
                step => &at[usize::try_from(step.as_u64().unwrap_or_default()).unwrap_or_default()],
            });
            assert_eq!(*at, Value::Null);
        }
    }
    // Their cost is charged in full.
    let costs = bench.simulator.costs().total();
    assert_eq!(costs.requests, 8);
    assert!(
        bench
            .simulator
            .requests()
            .all()
            .iter()
            .all(|one| one.cost.queries > 2_000.0)
    );
}

#[tokio::test]
async fn what_a_client_gives_up_is_computed_and_charged_all_the_same() {
    let bench = busy();
    // Slow enough for the client to be gone before.
    bench.simulator.workers().set(Some(Settings {
        speed: 2.0,
        ..fast(1)
    }));
    let report = || bench.simulator.workers().report().expect("they behave");
    let step = std::time::Duration::from_millis(10);
    {
        let mut asked = std::pin::pin!(ask(&bench));
        while report().active == 0 {
            let answered = tokio::time::timeout(step, &mut asked).await;
            assert!(answered.is_err(), "answered before it was seen at work");
        }
    }
    let mut waited = 0;
    while report().tally.requests == 0 {
        tokio::time::sleep(step).await;
        waited += 1;
        assert!(waited < 3_000, "it never ended");
    }
    assert_eq!(report().tally.timeouts, 0);
    assert_eq!(bench.simulator.costs().total().requests, 1);
}

#[tokio::test]
async fn other_users_are_there_and_slowed_down() {
    let bench = busy();
    let url = format!("{}/_control/workers", bench.simulator.url());
    let settings = json!({"workers": 1, "load": 0.3, "speed": 500.0});
    let set = bench.client.put(&url).json(&settings).send().await;
    assert_eq!(set.expect("an answer").status().as_u16(), 204);
    for _ in 0..20 {
        futures::future::join_all((0..3).map(|_| ask(&bench))).await;
    }
    let answer = bench.client.get(&url).send().await.expect("an answer");
    let report: Value = answer.json().await.expect("JSON");
    assert!(report["tally"]["others"].as_u64() > Some(5), "{report}");
    assert!(report["others_slowdown"].as_f64() > Some(1.0), "{report}");
    let stop = bench.client.put(&url).json(&Value::Null).send().await;
    assert_eq!(stop.expect("an answer").status().as_u16(), 204);
    assert!(!bench.simulator.workers().is_on());
}
