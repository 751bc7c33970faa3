use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::site::{Site, TOKEN};
use crate::server::status::Reachability;

#[tokio::test]
async fn health_needs_nothing() {
    let site = Site::start();
    site.world.broken.store(true, Ordering::SeqCst);
    let reply = site.get("/health").await;
    assert_eq!(reply.status, 200);
    let health: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(
        health,
        json!({"status": "alive", "version": env!("CARGO_PKG_VERSION")})
    );
}

#[tokio::test]
async fn ready_says_how_things_are() {
    let site = Site::start();
    let reply = site.get("/ready").await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), "application/json");
    let ready: Value = serde_json::from_slice(&reply.body).unwrap();
    let expected = json!({
        "status": "ready",
        "gitlab": {"reachable": true, "error": null},
        "load": {
            "gitlab_workers": 0.0325,
            "summary": "uses 3 % of one GitLab worker",
            "concurrency": 4,
            "max_concurrency": 8,
            "slowed_down": false,
            "backfill_waits_seconds": null,
        },
        "store": {"kind": "memory", "up": true},
        "lag_seconds": 1.5,
        "projects": {"tracked": 3, "polled": 3, "failing": 0, "unreadable": 0},
        "unavailable": ["dora: nothing of 2 projects, the tier does not have it"],
    });
    assert_eq!(ready, expected);
}

#[tokio::test]
async fn ready_waits_for_the_first_round_and_not_for_gitlab() {
    let site = Site::start();
    {
        let mut readiness = site.world.readiness.lock().unwrap();
        readiness.first_round = false;
        readiness.gitlab = Reachability::Unknown;
        readiness.lag = None;
    }
    let reply = site.get("/ready").await;
    assert_eq!(reply.status, 503);
    let starting: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(starting["status"], "starting");
    assert_eq!(starting["gitlab"]["reachable"], Value::Null);
    assert_eq!(starting["lag_seconds"], Value::Null);
    {
        let mut readiness = site.world.readiness.lock().unwrap();
        readiness.first_round = true;
        let error = format!("GitLab refused \"{TOKEN}\"");
        readiness.gitlab = Reachability::Down { error };
    }
    let reply = site.get("/ready").await;
    assert_eq!(reply.status, 200);
    let down: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(down["gitlab"]["reachable"], false);
    assert_eq!(down["gitlab"]["error"], "GitLab refused \"[redacted]\"");
}

#[tokio::test]
async fn ready_survives_a_panic() {
    let site = Site::start();
    site.world.broken.store(true, Ordering::SeqCst);
    assert_eq!(site.get("/ready").await.status, 500);
    site.world.broken.store(false, Ordering::SeqCst);
    assert_eq!(site.get("/ready").await.status, 200);
}
