//! What lies between the exporter and GitLab.

use super::outages::unreachable;
use super::rig::{Plan, Rig, gitlab};
use super::says::Says;
use crate::support::door::Door;
use crate::support::exporter::{Binary, configuration};
use crate::support::samples::Samples;
use crate::support::tls::{Expiry, TlsFront};
use crate::support::until;

#[tokio::test(start_paused = true)]
async fn an_expired_certificate() {
    let gitlab = gitlab();
    let front = TlsFront::start(gitlab.address(), "127.0.0.1", Expiry::Far);
    let door = Door::shut_before(front.address());
    let plan = Plan {
        scheme: "https",
        gitlab: format!("timeout: 20m\nca_cert_path: {}", front.authority()),
        all: true,
        ..Plan::default()
    };
    let rig = Rig::behind(plan, gitlab, door).await;
    rig.pass(600).await;
    rig.wait(300).await;
    let before = rig.before().await;
    front.renew(Expiry::Past);
    rig.pass(1200).await;
    rig.says(&Says {
        page: &["GitLab does not answer", "certificate expired"],
        ..unreachable("tls")
    })
    .await;
    rig.stands_still(&before, &["tls"]).await;
    front.renew(Expiry::Far);
    assert!(rig.recovers().await > 50.0);
}

/// In the time of the resolver, which no test can command: that the exporter goes on trying is what
/// other failures to connect show.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_not_resolved() {
    let simulator = gitlab();
    let yaml = configuration(&simulator, "").replace(
        &format!("url: {}", simulator.url()),
        "url: http://gitlab.invalid",
    );
    let exporter = Binary::run(&yaml, &[]).await;
    until("the failure is counted", async || {
        let samples = Samples::of_plain_text(&exporter.get("/metrics").await.body);
        let labels = [("error_type", "connect"), ("collector_type", "discovery")];
        match samples.sum("age_scrape_errors_total", &labels) {
            Some(errors) if errors > 0.0 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let ready = exporter.get("/ready").await;
    assert_eq!(ready.status, 200, "the first round was attempted");
    for part in [r#""reachable":false"#, r#""error":"connect""#] {
        assert!(ready.body.contains(part), "{}", ready.body);
    }
    let page = exporter.get("/").await.body;
    assert!(page.contains("GitLab does not answer"), "{page}");
    let said = exporter.program.stderr();
    assert!(said.contains("cannot connect: "), "{said}");
}
