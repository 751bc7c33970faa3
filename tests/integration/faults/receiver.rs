//! The OTLP receiver is down.

use super::rig::{Plan, Rig};
use super::says::{Says, WELL};
use crate::support::otlp::Receiver;

#[tokio::test(start_paused = true)]
async fn a_receiver_is_down_for_an_hour() {
    let receiver = Receiver::start().await;
    let plan = Plan {
        more: format!(
            "otel: {{metrics: {{endpoint: '{}', protocol: grpc, interval: 60s, timeout: 50s}}}}",
            receiver.grpc()
        ),
        ..Plan::default()
    };
    let rig = Rig::by(plan).await;
    rig.pass(600).await;
    assert!(!receiver.received().points.is_empty());
    let before = rig.before().await;
    let address = receiver.addr();
    receiver.stop().await;
    rig.pass(3600).await;
    // Reading does not care.
    rig.goes_on(&before, &[]).await;
    rig.says(&Says {
        page: &["OTLP export of metrics fails"],
        ..WELL
    })
    .await;
    let failed = [("outcome", "error"), ("signal", "metrics")];
    let exports = "age_otlp_exports_total";
    let failures = rig.metrics().await.sum(exports, &failed).unwrap_or(0.0);
    assert!((50.0..=70.0).contains(&failures), "{failures} failures");

    let receiver = Receiver::start_at(address).await;
    rig.pass(300).await;
    assert!(rig.recovers().await > 100.0);
    // Another push, while nothing changes any more.
    rig.wait(120).await;
    let received = receiver.received().samples();
    let shown = rig.facts().await;
    assert!(shown.0.len() > 100);
    let name = |(name, labels): &(String, crate::support::series::Labels)| {
        let labels = labels.iter().map(|(key, value)| format!("{key}={value:?}"));
        (name.clone(), labels.collect::<Vec<_>>())
    };
    let missing: Vec<_> = shown
        .0
        .iter()
        .filter(|(series, value)| {
            let (name, labels) = name(series);
            let is_it = |(key, pushed): (&String, &f64)| {
                let (pushed_name, rest) = key.split_once('{').unwrap_or((key, ""));
                let same = labels
                    .iter()
                    .all(|label| label.starts_with("le=") || rest.contains(label.as_str()));
                pushed_name == name && same && pushed == *value
            };
            !received.iter().any(is_it)
        })
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}
