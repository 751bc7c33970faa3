//! The client seen from a server: what it sends, what it sends again, what it never sends.

mod pace;

use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use secrecy::SecretString;

use crate::clock::{Clock, UnixSeconds};
use crate::gitlab::Lane;
use crate::gitlab::client::Call;
use crate::gitlab::graphql::Which;
use crate::gitlab::testing::{Accounts, Fake, Reply, TOKEN, Traces, gitlab};
use crate::gitlab::{
    GitLab, GitLabError, NoAccounting, Outcome, Settings, SetupError, TokenSource,
};
use crate::types::ProjectId;

const METADATA: &str = r#"{"version":"19.3.0-ee","revision":"abc","enterprise":true}"#;

fn project(id: u64) -> String {
    format!(r#"{{"id":{id},"path_with_namespace":"g/p{id}","default_branch":"main"}}"#)
}

/// Calls a server that returns `replies` in turn; how it ended and how many requests it took.
async fn ask(replies: Vec<Reply>) -> (Result<String, GitLabError>, usize) {
    let fake = Fake::script(replies).await;
    let result = fake.gitlab().metadata().await;
    (result.map(|metadata| metadata.version), fake.seen().len())
}

#[tokio::test]
async fn the_token_goes_as_a_bearer_header_and_nowhere_else() {
    let fake = Fake::script(vec![Reply::json(METADATA)]).await;
    fake.gitlab().metadata().await.unwrap();
    let seen = fake.seen();
    let mut request = seen[0].clone();
    assert_eq!(request.method, "GET");
    assert_eq!(request.target, "/api/v4/metadata");
    assert_eq!(
        request.headers.remove("authorization"),
        Some(format!("Bearer {TOKEN}"))
    );
    assert!(!request.has_token());
    assert!(request.headers["user-agent"].starts_with("amazing-gitlab-exporter/"));
}

/// An access proxy wants headers of its own, in every request; what it answers may echo them.
#[tokio::test]
async fn headers_of_the_settings_go_with_every_request_and_into_no_error() {
    const VALUE: &str = "proxy-s3cret";
    let echo = format!(r#"{{"message":"400 no {VALUE}"}}"#);
    let fake = Fake::script(vec![Reply::json(METADATA), Reply::status(400, echo)]).await;
    let mut settings = fake.settings();
    settings.headers = [("X-Proxy-Secret".to_owned(), SecretString::from(VALUE))].into();
    let gitlab = gitlab(&settings, Arc::new(NoAccounting));
    gitlab.metadata().await.unwrap();
    let error = gitlab.metadata().await.unwrap_err();
    assert!(error.to_string().ends_with("400 no [REDACTED])"), "{error}");
    let asked = gitlab.project_changes(&[ProjectId(1)], Which::RUNNING, 1);
    let _ = asked.await;
    let cable = crate::gitlab::Cables::new(&settings, &gitlab).unwrap();
    assert!(cable.connect().await.is_err());
    let seen = fake.seen();
    assert!(seen.len() >= 4, "{}", seen.len());
    for request in seen {
        assert_eq!(
            request.headers.get("x-proxy-secret").map(String::as_str),
            Some(VALUE),
            "{}",
            request.target
        );
        assert!(request.has_token());
    }
    assert!(!format!("{settings:?}").contains(VALUE));
}

#[tokio::test]
async fn an_instance_below_a_path_keeps_the_path() {
    let fake = Fake::script(vec![Reply::json(project(7))]).await;
    let mut settings = fake.settings();
    settings.url = fake.url().join("gitlab").unwrap();
    let gitlab = gitlab(&settings, Arc::new(NoAccounting));
    gitlab.project("a group/p").await.unwrap();
    assert_eq!(
        fake.seen()[0].target,
        "/gitlab/api/v4/projects/a%20group%2Fp"
    );
}

#[tokio::test]
async fn the_token_follows_no_redirect_to_another_origin() {
    let other = Fake::script(vec![Reply::json(METADATA)]).await;
    for status in [301, 302, 303, 307, 308] {
        let to = other.url().join("/api/v4/metadata").unwrap();
        let fake = Fake::script(vec![
            Reply::status(status, "").with("location", to.as_str()),
        ])
        .await;
        let error = fake.gitlab().metadata().await.unwrap_err();
        assert_eq!(error.kind(), "redirected");
        assert!(error.to_string().contains("127.0.0.1"), "{error}");
        assert_eq!(fake.seen().len(), 1, "a redirect is not retried");
    }
    assert!(
        other.seen().is_empty(),
        "no request came to the other origin"
    );
}

#[tokio::test]
async fn a_renamed_project_is_found_at_its_new_place() {
    let fake = Fake::start(|request, _| match request.target.as_str() {
        "/api/v4/projects/old%2Fname" => {
            Reply::status(301, "").with("location", "/api/v4/projects/7")
        }
        _ => Reply::json(project(7)),
    })
    .await;
    let found = fake.gitlab().project("old/name").await.unwrap();
    assert_eq!(found.id, ProjectId(7));
    assert!(fake.seen()[1].has_token(), "the same origin may know it");
}

/// GitLab asked at an internal address names its external one: `Location` of a project that moved.
#[tokio::test]
async fn a_redirect_to_gitlabs_external_address_is_followed_at_the_internal_one() {
    let elsewhere = Fake::script(vec![Reply::json(METADATA)]).await;
    let to = |path: &str| elsewhere.url().join(path).unwrap().to_string();
    let moved = to("/gitlab/api/v4/version?a=b%2Fc");
    let fake = Fake::script(vec![
        Reply::status(301, "").with("location", &moved),
        Reply::json(METADATA),
    ])
    .await;
    let metadata = fake.gitlab().metadata().await.expect("an answer");
    assert_eq!(&*metadata.version, "19.3.0-ee");
    let seen = fake.seen();
    assert_eq!(seen[1].target, "/api/v4/version?a=b%2Fc");
    // A move of the whole instance is none of a project, and neither is what lies outside the API.
    for path in ["/api/v4/metadata", "/users/sign_in", "/api/v4/../../login"] {
        let to = to(path);
        let fake = Fake::script(vec![Reply::status(301, "").with("location", &to)]).await;
        let error = fake.gitlab().metadata().await.unwrap_err();
        assert_eq!(error.kind(), "redirected", "{path}");
    }
    assert_eq!(elsewhere.seen().len(), 0, "the token goes nowhere else");
}

/// Puma sends no `Date` when it is asked without a proxy.
#[tokio::test]
async fn without_a_date_the_newest_time_in_answers_is_gitlabs() {
    let project = |at: &str| {
        let body = format!(
            r#"{{"id":1,"path_with_namespace":"a/b","updated_at":"{at}","due":"2099-01-01T00:00:00Z"}}"#
        );
        Reply::json(body)
    };
    let fake = Fake::script(vec![
        project("2026-01-05T12:00:00.900Z"),
        project("2026-01-05T11:00:00Z"),
        project("2026-01-05T12:30:00Z"),
    ])
    .await;
    let gitlab = fake.gitlab();
    let mut seen = Vec::new();
    for _ in 0..3 {
        gitlab.project(ProjectId(1)).await.expect("a project");
        seen.extend(gitlab.server_time());
    }
    let text: Vec<String> = seen.iter().map(ToString::to_string).collect();
    assert_eq!(text.len(), 3, "{text:?}");
    // It goes on with our clock, and never back.
    assert!(text[0].starts_with("2026-01-05T12:0"), "{text:?}");
    assert!(text[1].starts_with("2026-01-05T12:0"), "{text:?}");
    assert!(text[2].starts_with("2026-01-05T12:3"), "{text:?}");
}

#[tokio::test]
async fn redirects_in_a_circle_end() {
    let fake = Fake::script(vec![
        Reply::status(302, "").with("location", "/api/v4/metadata"),
    ])
    .await;
    let error = fake.gitlab().metadata().await.unwrap_err();
    assert_eq!(error.kind(), "redirected");
    assert_eq!(fake.seen().len(), 4);
}

#[tokio::test]
async fn a_graphql_call_is_never_sent_to_a_redirects_address() {
    let fake = Fake::script(vec![Reply::status(308, "").with("location", "/elsewhere")]).await;
    let error = fake
        .gitlab()
        .project_changes(&[ProjectId(1)], Which::MovedSince(UnixSeconds(0)), 5)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), "redirected");
    assert!(error.graphql_unavailable());
    assert_eq!(fake.seen().len(), 1);
}

#[tokio::test]
async fn servers_that_fail_are_asked_again() {
    for status in [500, 502, 503, 504, 520, 524, 526] {
        let (result, requests) = ask(vec![
            Reply::status(status, "oops"),
            Reply::html(status),
            Reply::json(METADATA),
        ])
        .await;
        assert_eq!(result.unwrap(), "19.3.0-ee", "{status}");
        assert_eq!(requests, 3);
    }
}

#[tokio::test]
async fn a_server_that_keeps_failing_gets_no_more_queries() {
    let (result, requests) = ask(vec![Reply::status(500, r#"{"message":"500 Internal"}"#)]).await;
    let error = result.unwrap_err();
    assert_eq!((error.kind(), error.status()), ("server", Some(500)));
    assert_eq!(requests, 4, "the first try and three more");
    assert_eq!(
        error.to_string(),
        "GET /metadata: GitLab failed (500: 500 Internal)"
    );
}

#[tokio::test]
async fn a_query_over_several_projects_that_fails_is_not_tried_again_as_it_is() {
    for (status, projects, tries) in [(500, 2, 1), (503, 50, 1), (500, 1, 4), (503, 1, 4)] {
        let fake = Fake::script(vec![Reply::status(status, "")]).await;
        let ids: Vec<ProjectId> = (1..=projects).map(ProjectId).collect();
        let gitlab = fake.gitlab();
        let asked = gitlab.project_changes(&ids, Which::RUNNING, 1);
        let error = asked.await.unwrap_err();
        assert_eq!((error.status(), fake.seen().len()), (Some(status), tries));
    }
}

#[tokio::test]
async fn broken_connections_are_tried_again() {
    let (result, requests) = ask(vec![
        Reply::Raw(Vec::new()),
        Reply::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"ver".to_vec()),
        Reply::json(METADATA),
    ])
    .await;
    assert_eq!(result.unwrap(), "19.3.0-ee");
    assert_eq!(requests, 3);
}

#[tokio::test]
async fn a_refused_connection_is_named() {
    let fake = Fake::script(vec![Reply::Silence]).await;
    let mut settings = fake.settings();
    drop(fake);
    settings.retry.max_retries = 1;
    // The port may be taken again by another test's server, which then does not know the call.
    settings.url = "http://127.0.0.1:1".parse().unwrap();
    let accounts = Arc::new(Accounts::default());
    let error = gitlab(&settings, Arc::clone(&accounts) as _)
        .metadata()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), "connect");
    assert_eq!(accounts.retries.lock().unwrap().len(), 1);
    assert_eq!(
        accounts.requests.lock().unwrap()[0],
        ("GET", "/metadata", Outcome::Failed("connect"))
    );
}

#[tokio::test]
async fn silence_ends_with_a_time_out_that_rest_retries_and_graphql_does_not() {
    let fake = Fake::script(vec![Reply::Silence]).await;
    let mut settings = fake.settings();
    settings.timeout = Duration::from_millis(50);
    settings.retry.max_retries = 1;
    let gitlab = gitlab(&settings, Arc::new(NoAccounting));
    let error = gitlab.metadata().await.unwrap_err();
    assert_eq!(error.kind(), "timeout");
    assert_eq!(fake.seen().len(), 2);
    let error = gitlab
        .project_changes(&[ProjectId(1)], Which::MovedSince(UnixSeconds(0)), 5)
        .await
        .unwrap_err();
    assert!(error.batch_too_heavy(), "a smaller batch may be quicker");
    assert_eq!(fake.seen().len(), 3);
}

#[tokio::test]
async fn other_4xx_are_final() {
    for (status, kind) in [
        (400, "refused"),
        (401, "auth"),
        (403, "forbidden"),
        (405, "refused"),
        (409, "refused"),
        (422, "refused"),
    ] {
        let (result, requests) = ask(vec![
            Reply::status(status, format!(r#"{{"message":"{status} no"}}"#)),
            Reply::json(METADATA),
        ])
        .await;
        let error = result.unwrap_err();
        assert_eq!((error.kind(), error.status()), (kind, Some(status)));
        assert_eq!(requests, 1, "{status}");
        assert!(error.to_string().contains("no"), "{error}");
    }
}

#[tokio::test]
async fn metadata_of_an_old_gitlab_comes_from_version() {
    let fake = Fake::start(|request, _| match request.target.as_str() {
        "/api/v4/version" => Reply::json(r#"{"version":"14.0.0","revision":"x"}"#),
        _ => Reply::status(404, r#"{"error":"404 Not Found"}"#),
    })
    .await;
    let metadata = fake.gitlab().metadata().await.unwrap();
    assert_eq!((&*metadata.version, metadata.enterprise), ("14.0.0", None));
}

#[tokio::test]
async fn both_kinds_of_429_are_waited_for() {
    for refusal in [
        Reply::status(429, "Retry later\n")
            .with("content-type", "text/plain")
            .with("ratelimit-remaining", "0")
            .with("retry-after", "1"),
        Reply::status(429, r#"{"message":{"error":"This endpoint has been requested too many times. Try again later."}}"#)
            .with("retry-after", "1"),
    ] {
        let fake = Fake::script(vec![refusal, Reply::json(METADATA)]).await;
        let accounts = Arc::new(Accounts::default());
        let gitlab = gitlab(&fake.settings(), Arc::clone(&accounts) as _);
        assert_eq!(gitlab.metadata().await.unwrap().version, "19.3.0-ee");
        assert_eq!(fake.seen().len(), 2);
        assert!(*accounts.throttled.lock().unwrap() >= 0.9, "it waited the second");
        assert_eq!(
            *accounts.requests.lock().unwrap(),
            [
                ("GET", "/metadata", Outcome::Status(429)),
                ("GET", "/metadata", Outcome::Status(200)),
            ]
        );
    }
}

#[tokio::test]
async fn a_pause_longer_than_a_call_waits_is_an_error_that_says_how_long() {
    let (result, requests) = ask(vec![
        Reply::status(429, "Retry later").with("retry-after", "1800"),
    ])
    .await;
    let error = result.unwrap_err();
    assert_eq!(error.kind(), "rate_limited");
    assert!(error.to_string().contains("next request in"), "{error}");
    assert_eq!(requests, 1);
}

#[tokio::test]
async fn rate_limit_headers_are_accounted() {
    let fake = Fake::script(vec![
        Reply::json(METADATA)
            .with("ratelimit-limit", "2000")
            .with("ratelimit-remaining", "1990")
            .with("ratelimit-reset", "1767614460"),
    ])
    .await;
    let accounts = Arc::new(Accounts::default());
    let gitlab = gitlab(&fake.settings(), Arc::clone(&accounts) as _);
    gitlab.metadata().await.unwrap();
    assert_eq!(
        *accounts.rate_limit.lock().unwrap(),
        Some((1990, UnixSeconds(1_767_614_460)))
    );
}

#[tokio::test]
async fn a_web_page_is_no_answer() {
    let (result, requests) = ask(vec![Reply::html(200)]).await;
    let error = result.unwrap_err();
    assert_eq!(error.kind(), "html");
    assert_eq!(requests, 1);
    let text = error.to_string();
    assert!(
        text.contains("/metadata") && text.contains("login page"),
        "{text}"
    );
}

#[tokio::test]
async fn an_endless_answer_is_cut_off() {
    let fake = Fake::script(vec![Reply::Endless]).await;
    let error = fake.gitlab().metadata().await.unwrap_err();
    assert_eq!(error.kind(), "too_large");
    assert!(error.to_string().contains("64 MiB"), "{error}");
    assert_eq!(fake.seen().len(), 1);
}

#[tokio::test]
async fn an_answer_that_announces_its_size_is_not_even_begun() {
    let (result, _) = ask(vec![Reply::Raw(
        b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n".to_vec(),
    )])
    .await;
    assert_eq!(result.unwrap_err().kind(), "too_large");
}

#[tokio::test]
async fn nonsense_is_named_with_its_place() {
    for (body, want) in [
        ("", "it is empty"),
        ("{\"version\":", "ends too early"),
        ("no json", "it is no JSON"),
        ("{\"version\":7}", "version: invalid type"),
        ("[]", "invalid"),
        ("null", "invalid"),
    ] {
        let (result, requests) = ask(vec![Reply::json(body)]).await;
        let error = result.unwrap_err();
        let text = error.to_string();
        assert_eq!(error.kind(), "decode", "{body}");
        assert!(text.starts_with("GET /metadata: "), "{text}");
        assert!(text.contains(want), "{body}: {text}");
        assert_eq!(requests, 1, "the same nonsense would come again");
    }
}

#[tokio::test]
async fn a_token_file_is_read_again_when_gitlab_refuses_the_token() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "old\n").unwrap();
    let fake = Fake::start(|request, _| {
        if request.headers["authorization"] == "Bearer new" {
            Reply::json(METADATA)
        } else {
            Reply::status(401, r#"{"message":"401 Unauthorized"}"#)
        }
    })
    .await;
    let mut settings = fake.settings();
    settings.token = TokenSource::File(file.path().to_owned());
    let gitlab = gitlab(&settings, Arc::new(NoAccounting));
    assert_eq!(gitlab.metadata().await.unwrap_err().kind(), "auth");
    assert_eq!(fake.seen().len(), 1, "the same token is not tried twice");
    std::fs::write(file.path(), "new\n").unwrap();
    gitlab.metadata().await.unwrap();
    assert_eq!(fake.seen().len(), 3);
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused_without_showing_secrets() {
    let build = |change: &dyn Fn(&mut Settings)| {
        let token = TokenSource::Secret(SecretString::from(TOKEN));
        let mut settings = Settings::new("https://gitlab.example.org".parse().unwrap(), token);
        change(&mut settings);
        GitLab::new(&settings, Arc::new(NoAccounting), Clock::System)
            .err()
            .expect("refused")
    };
    let error = build(&|s| s.url = format!("https://u:{TOKEN}@host?x={TOKEN}").parse().unwrap());
    assert!(matches!(error, SetupError::Url { .. }));
    assert!(!format!("{error} {error:?}").contains(TOKEN), "{error:?}");
    let error = build(&|s| s.url = "ftp://host".parse().unwrap());
    assert!(error.to_string().contains("http or https"), "{error}");
    let error = build(&|s| s.max_requests_per_second = 0.0);
    assert!(
        error.to_string().contains("max_requests_per_second"),
        "{error}"
    );
    let error = build(&|s| s.ca_cert_path = Some("/nonexistent.pem".into()));
    assert!(error.to_string().contains("/nonexistent.pem"), "{error}");
    let error = build(&|s| s.token = TokenSource::File("/nonexistent".into()));
    assert!(error.to_string().contains("token_file"), "{error}");
    let error = build(&|s| s.token = TokenSource::Secret("  ".into()));
    assert!(error.to_string().contains("empty"), "{error}");
    let not_pem = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(not_pem.path(), "hello").unwrap();
    let error = build(&|s| s.ca_cert_path = Some(not_pem.path().to_owned()));
    assert!(error.to_string().contains("no PEM certificate"), "{error}");
}

#[tokio::test]
async fn spans_say_what_was_asked_and_nothing_shows_the_token() {
    let (traces, _guard) = Traces::record();
    let fake = Fake::start(|_, number| match number {
        // A server that echoes the token in every place it has.
        0 => Reply::status(500, TOKEN),
        1 => Reply::status(403, format!(r#"{{"message":"403 {TOKEN}"}}"#))
            .with("x-request-id", TOKEN),
        2 => Reply::json(format!(r#"{{"id":"{TOKEN}"}}"#)),
        3 => Reply::json(format!(r#"{{"errors":[{{"message":"{TOKEN}"}}]}}"#)),
        4 => Reply::json(format!(
            r#"[{{"id":1,"path_with_namespace":"{TOKEN}","archived":"{TOKEN}"}}]"#
        )),
        _ => Reply::json(
            r#"{"data":{"projects":{"nodes":[]},"queryComplexity":{"score":42,"limit":250}}}"#,
        )
        .with("x-request-id", "01HZ")
        .with("x-runtime", "0.048")
        .with("ratelimit-remaining", "9")
        .with("ratelimit-reset", "1767614460"),
    })
    .await;
    let accounts = Arc::new(Accounts::default());
    let gitlab = gitlab(&fake.settings(), Arc::clone(&accounts) as _);
    let mut texts = Vec::new();
    for error in [
        gitlab.project(TOKEN).await.unwrap_err(),
        gitlab.project(ProjectId(47_110_815)).await.unwrap_err(),
        gitlab
            .project_changes(&[ProjectId(1)], Which::MovedSince(UnixSeconds(0)), 1)
            .await
            .unwrap_err(),
    ] {
        texts.push(format!("{error} {error:?}"));
    }
    let page = gitlab
        .group_projects("g", true, &Default::default())
        .await
        .unwrap();
    assert_eq!(page.skipped.len(), 1);
    texts.extend(page.skipped);
    gitlab
        .project_changes(&[ProjectId(1)], Which::MovedSince(UnixSeconds(0)), 1)
        .await
        .unwrap();

    for text in texts {
        assert!(!text.contains(TOKEN), "{text}");
        assert!(
            !text.contains("47110815"),
            "ids are no part of an endpoint: {text}"
        );
    }
    assert_eq!(
        *accounts.complexity.lock().unwrap(),
        [("ProjectChanges", 42, 250)]
    );
    let text = traces.text();
    let ours: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("gitlab.call"))
        .collect();
    let closed = |needle: &str| {
        ours.iter()
            .find(|line| line.contains(needle) && line.contains("close"))
            .unwrap_or_else(|| panic!("no span with {needle} in\n{}", ours.join("\n")))
    };
    let failed = closed("error.type=\"forbidden\"");
    for field in [
        "otel.name=\"GET /projects/:id\"",
        "otel.kind=\"client\"",
        "otel.status_code=\"ERROR\"",
        "http.request.method=\"GET\"",
        "http.request.resend_count=1",
        "http.response.status_code=403",
        "url.template=\"/projects/:id\"",
        "server.address=\"127.0.0.1\"",
        "gitlab.correlation_id=\"[REDACTED]\"",
    ] {
        assert!(failed.contains(field), "{field} in {failed}");
    }
    let answered = closed("gitlab.graphql.complexity=42");
    for field in [
        "otel.name=\"POST /graphql\"",
        "graphql.operation.name=\"ProjectChanges\"",
        "graphql.operation.type=\"query\"",
        "gitlab.rate_limit.remaining=9",
        "gitlab.server_time=0.048",
        "gitlab.correlation_id=\"01HZ\"",
    ] {
        assert!(answered.contains(field), "{field} in {answered}");
    }
    // The log has them, too, where it shows everything.
    let call = "called GitLab call=\"GraphQL ProjectChanges\" outcome=200 took=";
    assert!(ours.iter().any(|line| line.contains(call)), "{text}");
    for line in ours {
        assert!(
            !line.contains(TOKEN) && !line.contains("47110815"),
            "{line}"
        );
    }
    assert!(!text.contains(&format!("Bearer {TOKEN}")));
}

#[tokio::test]
async fn a_call_that_is_dropped_is_over() {
    let fake = Fake::start(|_, number| match number {
        0 => Reply::Silence,
        _ => Reply::json(METADATA),
    })
    .await;
    let gitlab = fake.gitlab();
    tokio::select! {
        _ = gitlab.metadata() => panic!("no answer"),
        () = fake.until_seen(1) => {}
    }
    gitlab.metadata().await.unwrap();
    assert_eq!(fake.seen().len(), 2, "the dropped call was not tried again");
}

#[tokio::test]
async fn retries_end_with_the_time_they_may_take() {
    let fake = Fake::script(vec![Reply::status(500, "")]).await;
    let mut settings = fake.settings();
    settings.retry.max_retries = 1000;
    settings.retry.total = Duration::from_millis(20);
    let error = gitlab(&settings, Arc::new(NoAccounting))
        .metadata()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), "server");
    assert!(fake.seen().len() < 1000);
}

#[tokio::test]
async fn connections_are_used_again() {
    let fake = Fake::script(vec![Reply::json(METADATA)]).await;
    let gitlab = fake.gitlab();
    for _ in 0..5 {
        gitlab.metadata().await.unwrap();
    }
    assert_eq!(fake.seen().len(), 5);
    assert_eq!(fake.connections(), 1);
}

#[tokio::test]
async fn who_waits_to_try_again_is_not_under_way() {
    let fake = Fake::start(|request, _| match request.target.as_str() {
        "/api/v4/user" => Reply::status(500, ""),
        _ => Reply::json(METADATA),
    })
    .await;
    let mut settings = fake.settings();
    settings.max_concurrent_requests = 1;
    settings.retry.min_delay = Duration::from_secs(3600);
    settings.retry.max_delay = Duration::from_secs(3600);
    let gitlab = gitlab(&settings, Arc::new(NoAccounting));
    let waiting = tokio::spawn({
        let gitlab = gitlab.clone();
        async move { gitlab.current_user().await.map(drop) }
    });
    fake.until_seen(1).await;
    gitlab.metadata().await.unwrap();
    assert!(!waiting.is_finished());
    waiting.abort();
}

#[tokio::test]
async fn few_large_bodies_are_there_at_once() {
    let large = format!(
        "{{\"version\":\"19.3.0\",\"filler\":\"{}\"}}",
        "x".repeat(2 << 20)
    );
    let fake = Fake::start(move |request, _| match request.target.as_str() {
        "/api/v4/metadata" => Reply::json(large.clone()),
        _ => Reply::json("{}"),
    })
    .await;
    let mut settings = fake.settings();
    settings.max_concurrent_requests = 100;
    let gitlab = gitlab(&settings, Arc::new(NoAccounting));
    let client = gitlab.client();
    let call = || Call {
        method: Method::GET,
        endpoint: "/metadata",
        url: client.root().join("api/v4/metadata").unwrap(),
        graphql: None,
        body: None,
        waits: true,
    };
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(client.send(Lane::Normal, &call()).await.unwrap());
    }
    let fifth = call();
    let mut fifth = std::pin::pin!(client.send(Lane::Normal, &fifth));
    let waited = tokio::time::timeout(Duration::from_millis(300), fifth.as_mut()).await;
    assert!(waited.is_err(), "a fifth large body is read beside four");
    held.pop();
    assert!(fifth.await.unwrap().body.len() > 2 << 20);
}

#[tokio::test]
async fn an_answer_of_millions_of_values_is_not_read() {
    let zeros = format!("[{}0]", "0,".repeat(1_100_000));
    let text = format!(
        r#"{{"version":"19.3.0","filler":"{}"}}"#,
        r#",\","#.repeat(500_000)
    );
    let fake = Fake::script(vec![Reply::json(zeros), Reply::json(text)]).await;
    let gitlab = fake.gitlab();
    let error = gitlab.metadata().await.unwrap_err();
    assert_eq!(error.kind(), "too_large", "{error}");
    assert!(
        error.to_string().contains("more than 1000000 values"),
        "{error}"
    );
    assert_eq!(gitlab.metadata().await.unwrap().version, "19.3.0");
}
