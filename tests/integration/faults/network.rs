//! What lies between the exporter and GitLab.

use std::time::Instant;

use super::outages::assert_stale;
use super::rig::{Plan, Rig, gitlab};
use crate::support::DEADLINE;
use crate::support::door::Door;
use crate::support::tls::{Expiry, TlsFront};

#[tokio::test(start_paused = true)]
async fn an_expired_certificate() {
    let gitlab = gitlab();
    let front = TlsFront::start(gitlab.address(), "127.0.0.1", Expiry::Far);
    let door = Door::shut_before(front.address());
    let plan = Plan {
        scheme: "https",
        gitlab: format!("timeout: 20m\nca_cert_path: {}", front.authority()),
        ..Plan::default()
    };
    let rig = Rig::behind(plan, gitlab, door).await;
    rig.pass(600).await;
    rig.wait(300).await;
    let (before, facts) = (rig.metrics().await, rig.facts().await);
    let since = rig.last_success().await;
    front.renew(Expiry::Past);
    rig.pass(1200).await;
    assert_stale(&rig, since, "tls").await;
    assert_eq!(facts.differences(&rig.facts().await), "");
    assert_eq!(rig.errors_since(&before).await, ["tls"]);
    let page = rig.page().await;
    assert!(page.contains("certificate expired"), "{page}");
    front.renew(Expiry::Far);
    assert!(rig.recovers().await > 50.0);
}

/// That it comes back is the resolver's doing, which no test can command; as for every failure to
/// connect, the exporter goes on trying.
#[tokio::test(start_paused = true)]
async fn a_name_that_is_not_resolved() {
    let plan = Plan {
        host: "gitlab.invalid",
        up: false,
        ..Plan::default()
    };
    let rig = Rig::by(plan).await;
    let before = rig.metrics().await;
    let begun = Instant::now();
    let mut errors = 0.0;
    // It goes on trying; the resolver takes its own time.
    while errors < 2.0 {
        rig.pass(5).await;
        let labels = [("error_type", "connect"), ("collector_type", "discovery")];
        let samples = rig.metrics().await;
        errors = samples
            .sum("age_scrape_errors_total", &labels)
            .unwrap_or(0.0);
        assert!(begun.elapsed() < DEADLINE, "{errors} errors");
    }
    assert_eq!(rig.errors_since(&before).await, ["connect"]);
    let (status, ready) = rig.ready().await;
    assert_eq!(status, 200, "the first round was attempted");
    assert_eq!(ready["gitlab"]["reachable"], false, "{ready}");
    assert_eq!(ready["gitlab"]["error"], "connect", "{ready}");
    assert_eq!(rig.last_success().await, 0.0);
}
