//! What the client learns of GitLab's time, and how many requests are under way for it.

use std::sync::Arc;
use std::time::Duration;

use super::METADATA;
use crate::gitlab::NoAccounting;
use crate::gitlab::graphql::Which;
use crate::gitlab::testing::{Accounts, Fake, Gate, Reply, gitlab};
use crate::types::ProjectId;

/// Two requests at first, more as they are answered, never more than the setting; queries count twice.
#[tokio::test]
async fn requests_under_way_grow_to_the_setting_and_queries_count_twice() {
    let gate = Arc::new(Gate::default());
    let fake = Fake::start({
        let gate = Arc::clone(&gate);
        move |request, _| {
            let body = match request.target.as_str() {
                "/api/graphql" => r#"{"data":{"projects":{"nodes":[]},"queryComplexity":null}}"#,
                _ => METADATA,
            };
            let reply = Reply::json(body).with("x-runtime", "0.1");
            Reply::Held(Arc::clone(&gate), Box::new(reply))
        }
    })
    .await;
    let gitlab = gitlab(&fake.settings(), Arc::new(NoAccounting));
    let mut answered = 0;
    for (calls, places_of_one, most) in [(40, 1, [8, 0]), (20, 2, [8, 4])] {
        let tasks = (0..calls).map(|_| {
            let gitlab = gitlab.clone();
            let ids = [ProjectId(1)];
            tokio::spawn(async move {
                match places_of_one {
                    1 => gitlab.metadata().await.map(drop),
                    _ => {
                        let changes = gitlab.project_changes(&ids, Which::RUNNING, 1);
                        changes.await.map(drop)
                    }
                }
            })
        });
        let mut tasks: Vec<_> = tasks.collect();
        let all = answered + calls;
        while !tasks.is_empty() {
            // As many as may be are under way, and none more.
            let places = usize::try_from(gitlab.pace().concurrency).unwrap();
            let under_way = places / places_of_one;
            fake.until_seen(all.min(answered + under_way)).await;
            assert!(fake.seen().len() <= answered + under_way);
            gate.let_one_go();
            while !tasks.iter().any(tokio::task::JoinHandle::is_finished) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let ended = tasks.iter().position(tokio::task::JoinHandle::is_finished);
            tasks.remove(ended.unwrap()).await.unwrap().unwrap();
            answered += 1;
        }
        assert_eq!(gate.most(), most);
        assert_eq!(gitlab.pace().concurrency, 8);
    }
}

/// What each end of a call says about GitLab's load: the concurrency after it, from 2.
#[tokio::test]
async fn time_outs_and_gateway_errors_halve_what_is_under_way() {
    let partial = r#"{"data":{"projects":{"nodes":[]},"queryComplexity":null},
        "errors":[{"message":"Timeout on Project.pipelines","path":["projects","nodes",0,"pipelines"]}]}"#;
    let whole = r#"{"data":{"projects":{"nodes":[]},"queryComplexity":null}}"#;
    for (reply, places) in [
        (Reply::json(whole), 2),
        (Reply::json(partial), 1),
        (Reply::status(502, ""), 1),
        (Reply::status(503, ""), 1),
        (Reply::status(504, ""), 1),
        (Reply::Silence, 1),
        (Reply::status(500, ""), 2),
        (Reply::status(403, r#"{"message":"403 Forbidden"}"#), 2),
        (Reply::Raw(Vec::new()), 2),
    ] {
        let named = format!("{reply:?}");
        let fake = Fake::script(vec![reply]).await;
        let mut settings = fake.settings();
        settings.timeout = Duration::from_millis(200);
        settings.retry.max_retries = 0;
        let accounts = Arc::new(Accounts::default());
        let gitlab = gitlab(&settings, Arc::clone(&accounts) as _);
        let ids = [ProjectId(1), ProjectId(2)];
        let _ = gitlab.project_changes(&ids, Which::RUNNING, 1).await;
        assert_eq!(gitlab.pace().concurrency, places, "{named}");
        assert_eq!(*accounts.concurrency.lock().unwrap(), [places], "{named}");
    }
}

#[tokio::test]
async fn gitlabs_time_is_its_runtime_or_the_duration() {
    let fake = Fake::script(vec![
        Reply::json(METADATA).with("x-runtime", "0.75"),
        Reply::status(403, r#"{"message":"403 Forbidden"}"#).with("x-runtime", "0.0321"),
        Reply::json(METADATA).with("x-runtime", "-1"),
        Reply::Raw(Vec::new()),
        Reply::json(r#"{"data":{"projects":{"nodes":[]},"queryComplexity":null}}"#)
            .with("x-runtime", "1.5"),
    ])
    .await;
    let mut settings = fake.settings();
    settings.retry.max_retries = 0;
    let accounts = Arc::new(Accounts::default());
    let gitlab = gitlab(&settings, Arc::clone(&accounts) as _);
    for _ in 0..4 {
        let _ = gitlab.current_user().await;
    }
    let changes = gitlab.project_changes(&[ProjectId(1)], Which::RUNNING, 1);
    changes.await.unwrap();
    let times = accounts.server_time.lock().unwrap();
    assert_eq!(times.len(), 5);
    assert_eq!(times[0], ("GET", "/user", 0.75));
    assert_eq!(times[1], ("GET", "/user", 0.0321));
    for (method, endpoint, seconds) in &times[2..4] {
        assert_eq!((*method, *endpoint), ("GET", "/user"));
        assert!((0.0..10.0).contains(seconds), "{seconds}: the duration");
    }
    assert_eq!(times[4], ("POST", "/graphql", 1.5));
}

#[tokio::test]
async fn what_did_not_reach_gitlab_took_none_of_its_time() {
    let fake = Fake::script(vec![Reply::Silence]).await;
    let mut settings = fake.settings();
    drop(fake);
    settings.retry.max_retries = 0;
    settings.url = "http://127.0.0.1:1".parse().unwrap();
    let accounts = Arc::new(Accounts::default());
    let gitlab = gitlab(&settings, Arc::clone(&accounts) as _);
    assert_eq!(gitlab.metadata().await.unwrap_err().kind(), "connect");
    assert_eq!(*accounts.server_time.lock().unwrap(), []);
    assert_eq!(
        gitlab.pace().concurrency,
        2,
        "and says nothing about its load"
    );
}
