//! Several listeners, each with its routes and its places for connections.

use std::sync::atomic::Ordering;
use std::time::Duration;

use actix_web::web;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::connections::{FEW, deaf};
use super::site::{Reply, Site, until};
use crate::server::{LIMITS, Limits, Routes};
use crate::telemetry::process::HttpRefusal;

/// `/echo`, which answers with the body that it takes.
fn echo() -> Routes {
    Routes::new(&["/echo"], |to| {
        let echo = web::post().to(async |body: web::Bytes| body);
        to.service(web::resource("/echo").route(echo));
    })
}

/// Asks the first of the further listeners.
async fn ask(site: &Site, request: &str) -> Reply {
    let mut connection = TcpStream::connect(site.further[0]).await.unwrap();
    connection.write_all(request.as_bytes()).await.unwrap();
    Reply::read(&mut connection).await
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
}

fn post(path: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello"
    )
}

#[tokio::test]
async fn the_listener_of_the_probes_answers_nothing_else() {
    let site = Site::start_on("", LIMITS, vec![Routes::probes()]);
    for path in ["/health", "/ready"] {
        assert_eq!(ask(&site, &get(path)).await.status, 200, "{path}");
        assert_eq!(site.get(path).await.status, 200, "{path}");
    }
    for path in ["/", "/metrics", "/config", "/docs"] {
        let reply = ask(&site, &get(path)).await;
        assert_eq!(reply.status, 404, "{path}");
        assert_eq!(reply.header("cache-control"), "no-store", "{path}");
    }
}

#[tokio::test]
async fn a_listener_has_its_own_routes_and_takes_bodies_where_it_says() {
    let site = Site::start_on("", LIMITS, vec![echo()]);
    let reply = ask(&site, &post("/echo")).await;
    assert_eq!((reply.status, reply.text().as_str()), (200, "hello"));
    assert_eq!(ask(&site, &post("/other")).await.status, 413);
    assert_eq!(ask(&site, &get("/metrics")).await.status, 404);
    assert_eq!(site.get("/echo").await.status, 404);
}

#[tokio::test]
async fn routes_of_two_parts_may_share_a_listener() {
    let site = Site::start_on("", LIMITS, vec![Routes::probes().and(echo())]);
    assert_eq!(ask(&site, &post("/echo")).await.text(), "hello");
    assert_eq!(ask(&site, &get("/health")).await.status, 200);
}

#[tokio::test]
async fn connections_of_one_listener_take_no_places_of_another() {
    let site = Site::start_on("", FEW, vec![Routes::probes(), echo()]);
    site.fill(150_000);
    let mut busy = Vec::new();
    for _ in 0..FEW.connections {
        busy.push(deaf(&site).await);
    }
    let mut idle = Vec::new();
    for _ in 0..FEW.connections {
        idle.push(TcpStream::connect(site.further[1]).await.unwrap());
    }
    assert_eq!(ask(&site, &get("/health")).await.status, 200);
    until("all of them are counted", || {
        site.world.connections.load(Ordering::SeqCst) >= 2 * FEW.connections
    })
    .await;
    assert_eq!(*site.world.refused.lock().unwrap(), []);
}

#[tokio::test]
async fn every_listener_has_a_deadline_for_heads_and_ends_with_the_others() {
    let request = Duration::from_millis(200);
    let limits = Limits { request, ..LIMITS };
    let site = Site::start_on("", limits, vec![echo()]);
    let reply = ask(&site, "POST /ec").await;
    assert_eq!(reply.status, 408);
    assert_eq!(
        *site.world.refused.lock().unwrap(),
        [HttpRefusal::SlowRequest]
    );
    site.handle.stop(true).await;
    let mut rest = Vec::new();
    if let Ok(mut connection) = TcpStream::connect(site.further[0]).await {
        // The kernel may have taken it before the socket was closed.
        let _ = connection.write_all(get("/").as_bytes()).await;
        let _ = connection.read_to_end(&mut rest).await;
    }
    assert_eq!(rest, b"");
}
