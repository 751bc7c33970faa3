//! GitLab's address answers, and each answer is of no use: what `/ready`, the page, the metrics and the
//! log say.

use gitlab_simulator::faults::{Fault, Rule};
use serde_json::Value;

use super::rig::Rig;

/// An answer, what `/ready` says of it, and the errors that are counted.
struct Useless {
    what: &'static str,
    fault: Fault,
    says: &'static str,
    kinds: &'static [&'static str],
}

fn body(status: u16, content_type: &str, body: &str) -> Fault {
    Fault::Body {
        status,
        content_type: content_type.to_owned(),
        body: body.as_bytes().to_vec(),
    }
}

fn useless() -> Vec<Useless> {
    let garbled = "the responses do not match GitLab's API";
    vec![
        Useless {
            what: "a redirect to another host",
            fault: Fault::Redirect {
                to: "https://gitlab.example.com/users/sign_in".to_owned(),
            },
            says: "status 302, a redirect",
            kinds: &["redirected"],
        },
        Useless {
            what: "a login page",
            fault: Fault::Html,
            says: "status 200, and the response is not from GitLab",
            kinds: &["html"],
        },
        Useless {
            what: "403 in GitLab's form",
            fault: Fault::Status { status: 403 },
            says: "status 403",
            kinds: &[],
        },
        Useless {
            what: "403 of a firewall",
            fault: body(403, "text/plain", "blocked by policy 4711"),
            says: "status 403, and the response is not from GitLab",
            kinds: &["not_gitlab"],
        },
        Useless {
            what: "broken JSON",
            fault: Fault::InvalidJson,
            says: garbled,
            kinds: &["decode"],
        },
        Useless {
            what: "text",
            fault: body(200, "text/plain", "It works!"),
            says: garbled,
            kinds: &["decode"],
        },
        Useless {
            what: "JSON of something else",
            fault: body(200, "application/json", r#"{"status":"ok"}"#),
            says: garbled,
            kinds: &["decode"],
        },
        Useless {
            what: "nothing",
            fault: body(200, "application/json", ""),
            says: garbled,
            kinds: &["decode"],
        },
    ]
}

#[tokio::test(start_paused = true)]
async fn answers_that_are_of_no_use_are_said_to_be_none() {
    let rig = Rig::start().await;
    rig.pass(120).await;
    for Useless {
        what,
        fault,
        says,
        kinds,
    } in useless()
    {
        let before = rig.before().await;
        rig.gitlab.faults().add(Rule::new(fault));
        rig.pass(600).await;
        let (status, ready) = rig.ready().await;
        assert_eq!(status, 200, "{what}: there is something to scrape");
        assert_eq!(ready["gitlab"]["reachable"], false, "{what}: {ready}");
        assert_eq!(ready["gitlab"]["error"], says, "{what}");
        let page = rig.page().await;
        assert!(page.contains("GitLab is unreachable"), "{what}: {page}");
        let errors = rig.errors_since(&before).await;
        for kind in kinds {
            assert!(
                errors.iter().any(|error| error == kind),
                "{what}: {errors:?}"
            );
        }
        rig.gitlab.faults().clear();
        let mut ready = Value::Null;
        for _ in 0..60 {
            rig.wait(30).await;
            ready = rig.ready().await.1;
            if ready["gitlab"]["reachable"] == true {
                break;
            }
        }
        assert_eq!(ready["gitlab"]["reachable"], true, "{what}: {ready}");
    }
}
