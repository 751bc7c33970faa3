//! Many connections, slow ones, and what is no HTTP.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::site::{Reply, Site, until};
use crate::server::{LIMITS, Limits};
use crate::telemetry::process::HttpRefusal;

const HEALTH: &[u8] = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n";

/// Few places, so that few connections fill them.
pub(super) const FEW: Limits = Limits {
    connections: 4,
    kept: 2,
    ..LIMITS
};

/// Asks for `/health` and stays.
async fn known(site: &Site) -> TcpStream {
    let mut connection = site.connect().await;
    connection.write_all(HEALTH).await.unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"}") {
        assert!(connection.read_buf(&mut seen).await.unwrap() > 0);
    }
    connection
}

/// Asks for metrics and takes none of them.
pub(super) async fn deaf(site: &Site) -> TcpStream {
    let mut connection = site.connect().await;
    let request = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
    connection.write_all(request).await.unwrap();
    let mut first = [0; 16];
    connection.read_exact(&mut first).await.unwrap();
    connection
}

#[tokio::test]
async fn each_head_of_a_connection_has_a_deadline() {
    let request = Duration::from_millis(200);
    let site = Site::start_with("", Limits { request, ..LIMITS });
    let mut slow = known(&site).await;
    slow.write_all(b"G").await.unwrap();
    let (mut reading, mut writing) = slow.into_split();
    let drip = tokio::spawn(async move {
        // A byte now and then, for as long as the server takes them.
        while writing.write_all(b"E").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let mut rest = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), reading.read_to_end(&mut rest)).await;
    assert!(read.is_ok(), "the connection stays open");
    let rest = String::from_utf8(rest).unwrap();
    assert!(rest.starts_with("HTTP/1.1 408 "), "{rest}");
    drip.abort();
    assert_eq!(
        *site.world.refused.lock().unwrap(),
        [HttpRefusal::SlowRequest]
    );
}

#[tokio::test]
async fn the_longest_idle_connection_makes_room() {
    let site = Site::start_with("", FEW);
    let mut idle = Vec::new();
    for _ in 0..FEW.connections {
        idle.push(known(&site).await);
    }
    // One that has not asked yet counts as much.
    let silent = site.connect().await;
    for _ in 0..3 {
        assert_eq!(site.get("/").await.status, 200);
    }
    let mut rest = Vec::new();
    for (place, connection) in idle.iter_mut().enumerate().take(2) {
        let read = connection.read_to_end(&mut rest).await;
        assert_eq!(read.unwrap(), 0, "connection {place} is closed");
    }
    drop(silent);
    let refused = site.world.refused.lock().unwrap();
    assert!(
        refused
            .iter()
            .all(|why| *why == HttpRefusal::TooManyConnections)
    );
    assert!(refused.len() >= 2, "{refused:?}");
}

#[tokio::test]
async fn where_all_connections_are_busy_the_probes_still_answer() {
    let site = Site::start_with("", FEW);
    // More than the sockets' buffers take.
    site.fill(400_000);
    let mut busy = Vec::new();
    for _ in 0..FEW.connections {
        busy.push(deaf(&site).await);
    }
    for _ in 0..5 {
        assert_eq!(site.get("/health").await.status, 200);
        assert_eq!(site.get("/ready").await.status, 200);
    }
    let reply = site.get("/metrics").await;
    assert_eq!((reply.status, reply.header("connection")), (503, "close"));
    drop(busy);
    // The server learns of it in its own time.
    let deadline = Instant::now() + Duration::from_secs(60);
    while site.get("/metrics").await.status != 200 {
        assert!(Instant::now() < deadline, "there is no room again");
    }
}

#[tokio::test]
async fn heads_that_never_end_shut_nobody_out() {
    let site = Site::start();
    let mut held = Vec::new();
    for _ in 0..LIMITS.connections + 100 {
        let mut slow = known(&site).await;
        let _ = slow.write_all(b"GET /").await;
        held.push(slow);
    }
    for _ in 0..20 {
        assert_eq!(site.get("/health").await.status, 200);
    }
}

#[tokio::test]
async fn one_client_may_be_bounded() {
    let site = Site::start_with("server: {max_connections_per_client: 2}", LIMITS);
    let mut first = known(&site).await;
    let _second = known(&site).await;
    let _third = known(&site).await;
    assert_eq!(first.read_to_end(&mut Vec::new()).await.unwrap(), 0);
    site.fill(150_000);
    let (_a, _b) = (deaf(&site).await, deaf(&site).await);
    let mut refused = site.connect().await;
    let _ = refused.write_all(HEALTH).await;
    let mut answer = Vec::new();
    let _ = refused.read_to_end(&mut answer).await;
    assert_eq!(answer, b"");
    let counted = site.world.refused.lock().unwrap();
    assert!(counted.contains(&HttpRefusal::ClientLimit), "{counted:?}");
}

#[tokio::test]
async fn what_is_no_http_is_counted() {
    let site = Site::start();
    for _ in 0..50 {
        let mut connection = site.connect().await;
        connection
            .write_all(b"\x16\x03\x01 hello\r\n\r\n")
            .await
            .unwrap();
        assert_eq!(Reply::read(&mut connection).await.status, 400);
    }
    until("all are counted", || {
        site.world.refused.lock().unwrap().len() == 50
    })
    .await;
    assert!(
        site.world
            .refused
            .lock()
            .unwrap()
            .iter()
            .all(|why| *why == HttpRefusal::BadRequest)
    );
}

#[tokio::test]
async fn http_1_0_gets_no_chunks() {
    let site = Site::start();
    site.fill(5_000);
    let whole = site.get("/metrics").await.text();
    for headers in ["", "Connection: keep-alive\r\n"] {
        let mut connection = site.connect().await;
        let request = format!("GET /metrics HTTP/1.0\r\n{headers}\r\n");
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.0 200"), "{head}");
        assert!(!head.to_lowercase().contains("transfer-encoding"), "{head}");
        assert!(!head.to_lowercase().contains("keep-alive"), "{head}");
        assert_eq!(body, whole);
    }
}

#[tokio::test]
async fn a_scrape_under_way_may_end_after_a_stop() {
    let site = Site::start();
    site.fill(150_000);
    let mut scrape = deaf(&site).await;
    let mut idle = known(&site).await;
    let stopping = tokio::spawn({
        let handle = site.handle.clone();
        async move { handle.stop(true).await }
    });
    until("no new connection is taken", || {
        std::net::TcpStream::connect_timeout(&site.address, Duration::from_millis(100)).is_err()
    })
    .await;
    // What asks nothing is ended by the server itself, the scrape is not.
    assert_eq!(idle.read_to_end(&mut Vec::new()).await.unwrap(), 0);
    assert!(!stopping.is_finished());
    let mut rest = Vec::new();
    scrape.read_to_end(&mut rest).await.unwrap();
    assert!(
        rest.ends_with(b"0\r\n\r\n"),
        "the scrape is cut short after {} bytes",
        rest.len()
    );
    stopping.await.unwrap();
}

#[tokio::test]
async fn a_stop_waits_for_a_scrape_that_is_not_taken_as_long_as_it_may() {
    let stop_seconds = 2;
    let limits = Limits {
        stop_seconds,
        ..LIMITS
    };
    let site = Site::start_with("", limits);
    site.fill(150_000);
    let _scrape = deaf(&site).await;
    let start = Instant::now();
    site.handle.stop(true).await;
    // However slow the machine is, it is no shorter.
    assert!(start.elapsed() >= Duration::from_secs(stop_seconds));
}

#[tokio::test]
async fn pages_answer_under_allowed_names_alone() {
    let settings = "server: {allowed_hosts: [exporter.example.com], enable_poll: true}";
    let site = Site::start_with(settings, LIMITS);
    let ask = async |path: &str, host: &str| {
        let mut connection = site.connect().await;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        connection.write_all(request.as_bytes()).await.unwrap();
        Reply::read(&mut connection).await
    };
    for path in ["/", "/config", "/docs", "/-/poll", "/nowhere"] {
        let reply = ask(path, "rebound.example.net").await;
        assert_eq!(reply.status, 421, "{path}");
        assert!(
            reply.text().contains("server.allowed_hosts"),
            "{}",
            reply.text()
        );
        assert_ne!(
            ask(path, "exporter.example.com:8080").await.status,
            421,
            "{path}"
        );
    }
    for path in ["/metrics", "/health", "/ready"] {
        assert_eq!(ask(path, "rebound.example.net").await.status, 200, "{path}");
    }
    let absolute = ask("http://rebound.example.net/config", "exporter.example.com").await;
    assert_eq!(absolute.status, 421);
    let refused = site.world.refused.lock().unwrap();
    assert!(
        refused.iter().all(|why| *why == HttpRefusal::Host) && refused.len() == 6,
        "{refused:?}"
    );
}
