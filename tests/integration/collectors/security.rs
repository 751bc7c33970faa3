//! `security`.

use amazing_gitlab_exporter::config::Settings;
use gitlab_simulator::world::{Tier, Vulnerability};
use gitlab_simulator::{AccessLevel, World};

use super::code::{Make, Rig};

fn on(settings: &mut Settings) {
    settings.collectors.security.enabled = true;
}

fn vulnerable(world: &mut World, app: u64) {
    let found = |severity: &str, state: &str| Vulnerability {
        severity: severity.into(),
        state: state.into(),
    };
    let code = world.code_mut(app).expect("a project");
    code.vulnerabilities = vec![
        found("critical", "detected"),
        found("high", "confirmed"),
        found("high", "detected"),
        found("high", "dismissed"),
        found("low", "resolved"),
    ];
    // More than a page of a list.
    let many = std::iter::repeat_n(found("info", "detected"), 120);
    code.vulnerabilities.extend(many);
}

fn count(rig: &Rig, severity: &str) -> Option<f64> {
    rig.value("age_vulnerability_count", &[("severity", severity)])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_vulnerabilities_are_counted_by_severity() {
    for graphql in [true, false] {
        let make = Make {
            graphql,
            role: AccessLevel::Developer,
            ..Make::new(on)
        };
        let mut rig = make.begin(vulnerable).await;
        assert_eq!(count(&rig, "critical"), Some(1.0));
        assert_eq!(count(&rig, "high"), Some(2.0));
        assert_eq!(count(&rig, "low"), Some(0.0), "resolved ones are not open");
        assert_eq!(count(&rig, "info"), Some(120.0));
        let clean = Vec::new();
        rig.world()
            .code_mut(rig.app)
            .expect("a project")
            .vulnerabilities = clean;
        rig.look_later().await;
        assert_eq!(count(&rig, "critical"), Some(0.0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_licence_or_role_there_is_nothing_and_a_reason() {
    for (tier, role, enterprise, reason) in [
        (Tier::Premium, AccessLevel::Maintainer, true, "Ultimate"),
        (Tier::Free, AccessLevel::Maintainer, false, "Ultimate"),
        (Tier::Ultimate, AccessLevel::Reporter, true, "Developer"),
    ] {
        let make = Make {
            tier,
            role,
            enterprise,
            ..Make::new(on)
        };
        let rig = make.begin(vulnerable).await;
        assert_eq!(count(&rig, "critical"), None);
        let why = rig.unavailable("security").expect("a reason");
        assert!(why.contains(reason), "{why}");
        assert_eq!(rig.gitlab.requests().count("VulnerabilityCounts"), 0);
    }
}
