//! Webhooks over real connections.

use std::time::Duration;

use tokio::io::AsyncWriteExt;

use super::site::{Reply, Site, until};
use crate::events::UnixMillis;
use crate::events::payload::{Meaning, tests::shared};
use crate::server::webhook::Outcome;
use crate::server::{LIMITS, Limits};
use crate::types::ProjectId;

const SECRET: &str = "a-secret-for-webhooks";
const SIGNING: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const SETTINGS: &str =
    "server: {webhook: {enabled: true, secret_tokens: [a-secret-for-webhooks, the-next-secret]}}";
const PIPELINE: &str = r#"{"object_kind": "pipeline", "project": {"id": 7},
    "object_attributes": {"id": 31, "status": "success", "finished_at": "2026-11-30 08:00:52 UTC",
    "variables": [{"key": "PASSWORD", "value": "in-the-body"}]}}"#;

impl Site {
    /// Sends a webhook with these headers.
    async fn send(&self, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let mut head = format!(
            "POST /webhook HTTP/1.1\r\nHost: exporter\r\nConnection: close\r\nContent-Length: {}\r\n",
            body.len()
        );
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let mut connection = self.connect().await;
        let request = [head.as_bytes(), b"\r\n", body].concat();
        // What is refused is not read to its end.
        let _ = connection.write_all(&request).await;
        Reply::read(&mut connection).await
    }

    /// Sends a webhook of a known sender.
    async fn send_known(&self, body: &[u8]) -> Reply {
        self.send(&[("X-Gitlab-Token", SECRET)], body).await
    }

    fn outcomes(&self) -> Vec<(&'static str, Outcome)> {
        self.world.outcomes.lock().unwrap().clone()
    }
}

#[tokio::test]
async fn events_of_known_senders_are_accepted_and_say_what_moved() {
    let site = Site::start_with(SETTINGS, LIMITS);
    for header in ["X-Gitlab-Token", "x-gitlab-token", "X-GITLAB-TOKEN"] {
        for secret in [SECRET, "the-next-secret"] {
            let reply = site.send(&[(header, secret)], PIPELINE.as_bytes()).await;
            assert_eq!(
                (reply.status, reply.text()),
                (202, r#"{"status":"accepted"}"#.into())
            );
        }
    }
    let events = site.world.events.lock().unwrap().clone();
    assert_eq!(events.len(), 6);
    let (event, mark) = events[0];
    let Meaning::Moved { project, .. } = event.meaning else {
        panic!("{event:?}");
    };
    assert_eq!((project, mark.subject), (ProjectId(7), Some(31)));
    assert_eq!(mark.at, UnixMillis::parse("2026-11-30T08:00:52Z"));
    assert_eq!(site.outcomes(), [("pipeline", Outcome::Accepted); 6]);
}

#[tokio::test]
async fn each_request_is_answered_as_documented() {
    let site = Site::start_with(SETTINGS, LIMITS);
    let untracked = PIPELINE.replace("\"id\": 7", "\"id\": 404");
    let mut expected = Vec::new();
    for (body, status, kind, outcome) in [
        (PIPELINE, 202, "pipeline", Outcome::Accepted),
        (&*untracked, 200, "pipeline", Outcome::Untracked),
        (
            r#"{"event_name": "project_create"}"#,
            202,
            "project_create",
            Outcome::Accepted,
        ),
        (
            r#"{"object_kind": "wiki_page", "project": {"id": 7}}"#,
            200,
            "other",
            Outcome::Ignored,
        ),
        (
            r#"{"text": "a template of its own"}"#,
            200,
            "other",
            Outcome::Ignored,
        ),
        ("[1, 2]", 200, "other", Outcome::Ignored),
        ("payload=%7B%7D", 400, "other", Outcome::BadRequest),
        ("", 400, "other", Outcome::BadRequest),
        (
            "{\"object_kind\": \"pipeline\"",
            400,
            "other",
            Outcome::BadRequest,
        ),
    ] {
        let reply = site.send_known(body.as_bytes()).await;
        assert_eq!(reply.status, status, "{body}: {}", reply.text());
        assert!(!reply.text().contains("in-the-body"));
        expected.push((kind, outcome));
    }
    for headers in [
        &[][..],
        &[("X-Gitlab-Token", "")],
        &[("X-Gitlab-Token", "another")],
        &[("Authorization", "Bearer a-secret-for-webhooks")],
        &[
            ("webhook-signature", "v1,AAAA"),
            ("webhook-id", "1"),
            ("webhook-timestamp", "1"),
        ],
    ] {
        let reply = site.send(headers, PIPELINE.as_bytes()).await;
        assert_eq!(reply.status, 401, "{headers:?}");
        assert!(!reply.text().contains(SECRET));
        expected.push(("other", Outcome::Unauthorized));
    }
    for method in ["GET", "HEAD", "PUT"] {
        let reply = site
            .ask(method, "/webhook", &[("X-Gitlab-Token", SECRET)])
            .await;
        assert_eq!(reply.status, 405, "{method}");
        assert_eq!(reply.header("allow"), "POST");
        expected.push(("other", Outcome::Method));
    }
    assert_eq!(site.outcomes(), expected);
}

#[tokio::test]
async fn without_the_setting_there_is_no_such_page_and_no_body_is_taken() {
    let site = Site::start();
    let reply = site.send_known(PIPELINE.as_bytes()).await;
    assert_eq!(reply.status, 413);
    let site = Site::start_with(SETTINGS, LIMITS);
    let mut connection = site.connect().await;
    let request = b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}";
    connection.write_all(request).await.unwrap();
    assert_eq!(Reply::read(&mut connection).await.status, 413);
}

#[tokio::test]
async fn a_signature_is_as_good_as_a_secret() {
    let settings = format!("server: {{webhook: {{enabled: true, signing_tokens: ['{SIGNING}']}}}}");
    let site = Site::start_with(&settings, LIMITS);
    let now = super::sample::NOW.0;
    let key = crate::types::signing_key(SIGNING).unwrap();
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &key);
    let signed = |time: i64, body: &str| {
        let mac = ring::hmac::sign(&key, format!("id-1.{time}.{body}").as_bytes());
        use base64::Engine as _;
        let mac = base64::engine::general_purpose::STANDARD.encode(mac.as_ref());
        (time.to_string(), format!("v1,{mac}"))
    };
    for (time, body, status) in [
        (now, PIPELINE, 202),
        (now - 250, PIPELINE, 202),
        (now - 400, PIPELINE, 401),
        (now + 400, PIPELINE, 401),
        (now, "{}", 401),
    ] {
        let (time, signature) = signed(time, PIPELINE);
        let headers = [
            ("Webhook-Id", "id-1"),
            ("Webhook-Timestamp", &*time),
            ("Webhook-Signature", &*signature),
        ];
        let reply = site.send(&headers, body.as_bytes()).await;
        assert_eq!(reply.status, status, "{time} {}", reply.text());
    }
    // The time of an event that has none of its own.
    let push = r#"{"object_kind": "push", "project_id": 7}"#;
    let (time, signature) = signed(now - 3, push);
    let headers = [
        ("webhook-id", "id-1"),
        ("webhook-timestamp", &*time),
        ("webhook-signature", &*signature),
    ];
    assert_eq!(site.send(&headers, push.as_bytes()).await.status, 202);
    let (_, mark) = *site.world.events.lock().unwrap().last().unwrap();
    assert_eq!(mark.at, Some(UnixMillis::from_seconds(now - 3)));
}

#[tokio::test]
async fn the_file_of_the_secret_is_read_again_when_another_comes() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "first-secret\n").unwrap();
    let path = file.path().display();
    let settings = format!("server: {{webhook: {{enabled: true, secret_token_file: '{path}'}}}}");
    let site = Site::start_with(&settings, LIMITS);
    let send = async |secret: &str| {
        let headers = [("X-Gitlab-Token", secret)];
        site.send(&headers, PIPELINE.as_bytes()).await.status
    };
    assert_eq!(send("first-secret").await, 202);
    std::fs::write(file.path(), "second-secret\n").unwrap();
    assert_eq!(send("second-secret").await, 202);
    assert_eq!(send("first-secret").await, 401);
    assert_eq!(
        site.secrets.redact("is second-secret it"),
        "is [redacted] it"
    );
}

#[tokio::test]
async fn a_file_that_cannot_be_read_takes_no_secret_away() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    std::fs::write(&path, "first-secret\n").unwrap();
    let shown = path.display();
    let settings = format!("server: {{webhook: {{enabled: true, secret_token_file: '{shown}'}}}}");
    let site = Site::start_with(&settings, LIMITS);
    let send = async |secret: &str| {
        let headers = [("X-Gitlab-Token", secret)];
        site.send(&headers, PIPELINE.as_bytes()).await.status
    };
    std::fs::remove_file(&path).unwrap();
    assert_eq!(send("another").await, 401);
    assert_eq!(send("first-secret").await, 202);
}

#[tokio::test]
async fn each_recorded_webhook_is_answered_with_success() {
    let Some(index) = shared("INDEX.tsv") else {
        return;
    };
    let site = Site::start_with(SETTINGS, LIMITS);
    let index = String::from_utf8(index).unwrap();
    for line in index.lines().skip(1) {
        let name = line.split('\t').next().unwrap();
        let reply = site.send_known(&shared(name).unwrap()).await;
        assert!(
            matches!(reply.status, 200 | 202),
            "{name}: {}",
            reply.status
        );
    }
}

#[tokio::test]
async fn bodies_beyond_gitlabs_largest_are_refused_as_they_come() {
    let site = Site::start_with(SETTINGS, LIMITS);
    let request = |headers: &str| {
        format!(
            "POST /webhook HTTP/1.1\r\nHost: x\r\nX-Gitlab-Token: {SECRET}\r\n{headers}\r\n\r\n"
        )
    };
    let mut promised = site.connect().await;
    let head = request("Content-Length: 26214401");
    promised.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(Reply::read(&mut promised).await.status, 413);

    let mut endless = site.connect().await;
    let head = request("Transfer-Encoding: chunked");
    endless.write_all(head.as_bytes()).await.unwrap();
    let (mut reading, mut writing) = endless.into_split();
    let sending = tokio::spawn(async move {
        let chunk = [b"10000\r\n".as_slice(), &[b' '; 0x10000], b"\r\n"].concat();
        // The server closes the connection soon after its answer.
        while writing.write_all(&chunk).await.is_ok() {}
    });
    let mut answer = Vec::new();
    let _ = tokio::io::AsyncReadExt::read_to_end(&mut reading, &mut answer).await;
    assert!(
        answer.starts_with(b"HTTP/1.1 413 "),
        "{:?}",
        String::from_utf8_lossy(&answer)
    );
    sending.await.unwrap();

    let mut large = PIPELINE.as_bytes().to_vec();
    large.resize(24 << 20, b' ');
    assert_eq!(site.send_known(&large).await.status, 202);
    assert_eq!(
        site.outcomes(),
        [
            ("other", Outcome::TooLarge),
            ("other", Outcome::TooLarge),
            ("pipeline", Outcome::Accepted)
        ]
    );
}

#[tokio::test]
async fn a_thousand_connections_at_once_and_slow_senders_lose_nothing() {
    let site = std::sync::Arc::new(Site::start_with(SETTINGS, LIMITS));
    // They promise a body and send a part of it.
    let mut slow = Vec::new();
    for _ in 0..100 {
        let mut connection = site.connect().await;
        let head = format!(
            "POST /webhook HTTP/1.1\r\nHost: x\r\nX-Gitlab-Token: {SECRET}\r\nContent-Length: 20000000\r\n\r\n{{"
        );
        connection.write_all(head.as_bytes()).await.unwrap();
        slow.push(connection);
    }
    let senders: Vec<_> = (0..1000)
        .map(|_| {
            let site = std::sync::Arc::clone(&site);
            tokio::spawn(async move { site.send_known(PIPELINE.as_bytes()).await.status })
        })
        .collect();
    for sender in senders {
        assert_eq!(sender.await.unwrap(), 202);
    }
    assert_eq!(site.get("/health").await.status, 200);
    assert_eq!(site.world.events.lock().unwrap().len(), 1000);
    drop(slow);
}

#[tokio::test]
async fn only_senders_that_are_not_known_are_told_to_wait() {
    let settings = format!(
        "server: {{webhook: {{enabled: true, secret_token: {SECRET}, signing_tokens: ['{SIGNING}']}}}}"
    );
    let site = Site::start_with(&settings, LIMITS);
    let mut statuses = std::collections::BTreeMap::new();
    let mut count = |status: u16| *statuses.entry(status).or_insert(0) += 1;
    for number in 0..100 {
        let headers = match number % 2 {
            0 => [("X-Gitlab-Token", "another"), ("X-Other", "")],
            // Whether it is known the body shows.
            _ => [("webhook-signature", "v1,AAAA"), ("webhook-id", "1")],
        };
        let reply = site.send(&headers, PIPELINE.as_bytes()).await;
        count(reply.status);
        if reply.status == 429 {
            let wait: u64 = reply.header("retry-after").parse().unwrap();
            assert!((1..=60).contains(&wait), "{wait}");
        }
        count(site.send_known(PIPELINE.as_bytes()).await.status);
    }
    let statuses: Vec<(u16, i32)> = statuses.into_iter().collect();
    assert_eq!(statuses, [(202, 100), (401, 60), (429, 40)]);
    let outcomes = site.outcomes();
    let limited = outcomes.iter();
    let limited =
        limited.filter(|(kind, outcome)| (*kind, *outcome) == ("other", Outcome::RateLimited));
    assert_eq!(limited.count(), 40);
}

#[tokio::test]
async fn many_that_are_refused_leave_room_for_probes() {
    let limits = Limits {
        request: Duration::from_millis(200),
        ..LIMITS
    };
    let site = Site::start_with(SETTINGS, limits);
    for _ in 0..50 {
        let reply = site
            .send(&[("X-Gitlab-Token", "no")], PIPELINE.as_bytes())
            .await;
        assert_eq!(reply.status, 401);
    }
    until("the connections are closed", || {
        site.world
            .connections
            .load(std::sync::atomic::Ordering::SeqCst)
            == 0
    })
    .await;
    assert_eq!(site.get("/health").await.status, 200);
}
