use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::site::{Reply, Site, until};
use crate::server::{LIMITS, Limits};

/// What a browser accepts.
const BROWSER: [(&str, &str); 1] = [("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")];
const PATHS: [&str; 6] = ["/", "/metrics", "/health", "/ready", "/config", "/docs"];

/// What a reload changes, or why it does not, without a secret.
#[tokio::test]
async fn a_reload_is_asked_for_by_post_and_only_where_it_is_on() {
    let off = Site::start();
    assert_eq!(off.ask("POST", "/-/reload", &[]).await.status, 404);
    let site = Site::start_with("server: {enable_reload: true}", LIMITS);
    let got = site.get("/-/reload").await;
    assert_eq!((got.status, got.header("allow")), (405, "POST"));
    *site.world.reloads.lock().unwrap() = Ok(crate::config::Changes {
        applied: vec!["projects".to_owned()],
        needs_restart: vec!["state.path".to_owned()],
    });
    let reply = site.ask("POST", "/-/reload", &[]).await;
    assert_eq!(reply.status, 200);
    assert_eq!(
        reply.text(),
        r#"{"status":"reloaded","applied":["projects"],"needs_restart":["state.path"]}"#
    );
    let why = format!("age.yml:3: {} is no setting", super::site::TOKEN);
    *site.world.reloads.lock().unwrap() = Err(why);
    let reply = site.ask("POST", "/-/reload", &[]).await;
    assert_eq!(reply.status, 500);
    let text = reply.text();
    assert!(
        text.contains("the configuration was not reloaded: age.yml:3: [redacted] is no setting"),
        "{text}"
    );
}

#[tokio::test]
async fn what_does_not_exist_is_404_for_programs_and_people() {
    let site = Site::start();
    for path in [
        "/nowhere",
        "/metrics/",
        "/%2e%2e/etc/passwd",
        "/debug/pprof/profile",
        "//",
    ] {
        let reply = site.get(path).await;
        assert_eq!(reply.status, 404, "{path}");
        let body: Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(
            body,
            json!({"status": 404, "error": "there is no such page"})
        );
    }
    let reply = site.ask("GET", "/%3Cscript%3E", &BROWSER).await;
    assert_eq!(reply.header("content-type"), "text/html; charset=utf-8");
    assert!(reply.text().contains("there is no such page"));
    assert!(!reply.text().contains("<script"));
}

#[tokio::test]
async fn only_get_and_head_are_allowed() {
    let site = Site::start();
    for path in PATHS {
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"] {
            let reply = site.ask(method, path, &[]).await;
            assert_eq!(reply.status, 405, "{method} {path}");
            assert_eq!(reply.header("allow"), "GET, HEAD");
            assert!(reply.complete);
        }
    }
}

#[tokio::test]
async fn a_poll_is_asked_for_where_the_settings_allow_it() {
    let site = Site::start();
    assert_eq!(
        site.ask("POST", "/-/poll?project=group/app", &[])
            .await
            .status,
        404
    );
    assert!(!site.get("/").await.text().contains("Poll now"));
    let site = Site::start_with("server: {enable_poll: true}", LIMITS);
    let reply = site.ask("POST", "/-/poll?project=group%2Fapp", &[]).await;
    assert_eq!(reply.status, 202);
    let body: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(
        body,
        json!({"project": "group/app", "status": "poll requested"})
    );
    let reply = site
        .ask("POST", "/-/poll?project=group/app", &BROWSER)
        .await;
    assert_eq!((reply.status, reply.header("location")), (303, "../"));
    for (path, status) in [("/-/poll?project=group/other", 404), ("/-/poll", 400)] {
        assert_eq!(site.ask("POST", path, &[]).await.status, status, "{path}");
    }
    let polled = ["group/app", "group/app", "group/other"];
    assert_eq!(*site.world.polled.lock().unwrap(), polled);
    let reply = site.get("/-/poll?project=group/app").await;
    assert_eq!((reply.status, reply.header("allow")), (405, "POST"));
    assert!(site.get("/").await.text().contains("Poll now"));
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let site = Site::start();
    for path in PATHS {
        let get = site.get(path).await;
        let head = site.ask("HEAD", path, &[]).await;
        assert_eq!(head.status, 200, "{path}");
        assert_eq!(head.body, b"", "{path}");
        for name in ["content-type", "content-encoding", "content-length", "vary"] {
            assert_eq!(head.header(name), get.header(name), "{path} {name}");
        }
    }
}

#[tokio::test]
async fn every_answer_is_guarded() {
    let site = Site::start();
    for path in PATHS.into_iter().chain(["/nowhere"]) {
        let reply = site.get(path).await;
        assert_eq!(reply.header("cache-control"), "no-store", "{path}");
        assert_eq!(reply.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(reply.header("x-frame-options"), "DENY", "{path}");
        assert_eq!(reply.header("referrer-policy"), "no-referrer", "{path}");
        let policy = reply.header("content-security-policy");
        assert!(
            policy.starts_with("default-src 'none'; "),
            "{path}: {policy}"
        );
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
    }
}

#[tokio::test]
async fn requests_are_limited() {
    let site = Site::start();
    let mut connection = site.connect().await;
    let head = "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n";
    connection.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(Reply::read(&mut connection).await.status, 413);
    let mut connection = site.connect().await;
    let head = "POST /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    let body = "5\r\nhello\r\n0\r\n\r\n";
    let request = format!("{head}{body}");
    connection.write_all(request.as_bytes()).await.unwrap();
    assert_eq!(Reply::read(&mut connection).await.status, 413);
    let long = format!("/?search={}", "x".repeat(9_000));
    assert_eq!(site.get(&long).await.status, 414);
    let filler = "x".repeat(200_000);
    assert_eq!(
        site.ask("GET", "/", &[("X-Filler", &filler)]).await.status,
        431
    );
    let mut connection = site.connect().await;
    connection
        .write_all(b"\x16\x03\x01 hello\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(Reply::read(&mut connection).await.status, 400);
    assert_eq!(site.get("/health").await.status, 200);
}

#[tokio::test]
async fn a_client_that_does_not_say_what_it_wants_is_given_up() {
    let request = Duration::from_millis(100);
    let site = Site::start_with("", Limits { request, ..LIMITS });
    let mut slow = site.connect().await;
    slow.write_all(b"GET /metrics HT").await.unwrap();
    assert_eq!(Reply::read(&mut slow).await.status, 408);
}

#[tokio::test]
async fn a_connection_serves_several_requests() {
    let site = Site::start();
    let mut connection = site.connect().await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        let request = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n";
        connection.write_all(request).await.unwrap();
        let before = seen.len();
        while seen.len() == before || !seen.ends_with(b"}") {
            assert!(connection.read_buf(&mut seen).await.unwrap() > 0);
        }
    }
    let seen = String::from_utf8(seen).unwrap();
    assert_eq!(seen.matches("HTTP/1.1 200 OK").count(), 3, "{seen}");
}

#[tokio::test]
async fn a_stop_waits_for_no_idle_connection() {
    let site = Site::start();
    let mut idle = site.connect().await;
    let request = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n";
    idle.write_all(request).await.unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"}") {
        assert!(idle.read_buf(&mut seen).await.unwrap() > 0);
    }
    site.handle.stop(true).await;
    until("the server ends", || site.task.is_finished()).await;
    assert_eq!(idle.read_buf(&mut seen).await.unwrap(), 0);
    assert!(tokio::net::TcpStream::connect(site.address).await.is_err());
}
