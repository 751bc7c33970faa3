//! What lies between the exporter and GitLab.

use gitlab_simulator::world::PipelineSpec;
use gitlab_simulator::{Options, Simulator, World, WorldConfig};
use serde_json::Value;

use super::outages::unreachable;
use super::rig::{Plan, Rig, gitlab};
use super::says::Says;
use crate::support::door::Door;
use crate::support::exporter::{Binary, RealTime, beginning_now, configuration};
use crate::support::samples::Samples;
use crate::support::tls::{Expiry, TlsFront};
use crate::support::tools::tool;
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
        page: &["GitLab is unreachable", "certificate expired"],
        ..unreachable("tls")
    })
    .await;
    rig.stands_still(&before, &["tls"]).await;
    front.renew(Expiry::Far);
    assert!(rig.recovers().await > 50.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_not_resolved() {
    let simulator = gitlab();
    does_not_resolve(&simulator, "gitlab.invalid", &[]).await;
}

/// An exporter that resolves names as a file of hosts says, in the time of the system.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_resolves_later() {
    let Some(resolver) = tool("bin/libnss-wrapper") else {
        return;
    };
    let hosts = tempfile::NamedTempFile::new().expect("a file");
    let resolve = |name: &str| {
        let line = format!("127.0.0.1 {name}\n");
        std::fs::write(hosts.path(), line).expect("it can be written");
    };
    resolve("elsewhere.test");
    let environment = [
        ("LD_PRELOAD", resolver.to_str().expect("text")),
        ("NSS_WRAPPER_HOSTS", hosts.path().to_str().expect("text")),
    ];
    let world = World::generate(WorldConfig {
        projects: 3,
        active_ratio: 0.0,
        ..beginning_now()
    });
    let simulator = Simulator::start(world, &Options::default()).expect("a simulator");
    let _time = RealTime::of(&simulator);
    let exporter = does_not_resolve(&simulator, "gitlab.test", &environment).await;
    resolve("gitlab.test");
    until("all projects are read", async || {
        let ready = exporter.get("/ready").await.body;
        let said: Value = serde_json::from_str(&ready).map_err(|error| error.to_string())?;
        let is_reached = said["gitlab"]["reachable"] == true && said["projects"]["failing"] == 0;
        let are_read = said["projects"]["polled"] == 3;
        (is_reached && are_read).then_some(()).ok_or(ready)
    })
    .await;
    // What failed meanwhile is read again after up to five minutes; nothing is wrong any more.
    until("nothing is wrong", async || {
        let page = exporter.get("/").await.body;
        let is_well = page.contains("All is well") || page.contains("First sync");
        is_well.then_some(()).ok_or(page)
    })
    .await;
    {
        let mut world = simulator.world();
        let project = world.projects().next().expect("a project").id;
        for _ in 0..3 {
            let spec = PipelineSpec::branch("main").skipped();
            world.create_pipeline(project, &spec).expect("a pipeline");
        }
    }
    until("what happens then is counted", async || {
        let samples = Samples::of_plain_text(&exporter.get("/metrics").await.body);
        match samples.sum("age_pipeline_run_count", &[]) {
            Some(3.0) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

/// An exporter whose GitLab has a name that nobody knows: it says so, and is up.
async fn does_not_resolve(
    simulator: &Simulator,
    name: &str,
    environment: &[(&str, &str)],
) -> Binary {
    let url = format!("http://{name}:{}", simulator.address().port());
    let births = "telemetry: {birth_window: 4s}\n";
    let yaml = configuration(simulator, births).replace(simulator.url(), &url);
    let exporter = Binary::run(&yaml, environment).await;
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
    assert!(page.contains("GitLab is unreachable"), "{page}");
    let said = exporter.program.stderr();
    assert!(said.contains("cannot connect: "), "{said}");
    exporter
}
