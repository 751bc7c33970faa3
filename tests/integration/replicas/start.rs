//! Starts without a Redis that can be reached.

use super::handover::calm;
use super::rig::{PATIENCE, Replica, Rig, read, share};
use crate::support::http::{self, Answer};
use crate::support::within;

async fn ready(replica: &Replica) -> Answer {
    http::get(&format!("http://{}/ready", replica.address)).await
}

/// How often it said something in its log.
fn said(replica: &Replica, what: &str) -> usize {
    let program = replica.program.as_ref().expect("it runs");
    program.stderr().matches(what).count()
}

/// It is not ready, says why in a sentence, asks GitLab for no project, and begins when Redis is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_without_redis_waits_for_it() {
    let Some(mut rig) = Rig::start(calm(), &[]).await else {
        return;
    };
    rig.redis.kill();
    let mut replica = rig.replica();
    replica.start().await;
    within(PATIENCE, "it says what it waits for", async || {
        let said = said(&replica, "Redis unavailable, waiting for it");
        (said == 1).then_some(()).ok_or(format!("{said} times"))
    })
    .await;
    let answer = within(PATIENCE, "readiness names Redis", async || {
        let answer = ready(&replica).await;
        let names_it = answer.body.contains("Redis at ");
        names_it.then_some(answer.clone()).ok_or(answer.body)
    })
    .await;
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert_eq!(replica.counts().await.len(), 0);
    rig.redis.restart().await;
    let replicas = [replica];
    share(&replicas).await;
    read(&replicas).await;
    assert_eq!(ready(&replicas[0]).await.status, 200);
    assert_eq!(said(&replicas[0], "Redis unavailable, waiting for it"), 1);
}

/// With `redis.fallback: single` it runs as if there were no Redis in its settings, and says what that means.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_without_redis_can_run_as_a_single_instance() {
    let Some(mut rig) = Rig::start(calm(), &["redis.fallback=single"]).await else {
        return;
    };
    rig.redis.kill();
    let mut replica = rig.replica();
    replica.start().await;
    let replicas = [replica];
    read(&replicas).await;
    let [replica] = replicas;
    let answer = ready(&replica).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(replica.standing().await.is_null(), "{}", answer.body);
    let text = replica.metrics().await.unwrap_or_default();
    let projects = text
        .lines()
        .filter(|line| line.starts_with("age_project_last_success_timestamp{"))
        .count();
    assert_eq!(projects, 24);
    assert!(!text.contains("age_cluster_members "), "{text}");
    assert_eq!(said(&replica, "running as a single instance"), 1);
}
