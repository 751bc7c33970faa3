use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::AsyncWriteExt;

use super::site::{Reply, Site, until};
use crate::server::{LIMITS, Limits};

const OPEN_METRICS: (&str, &str) = (
    "Accept",
    "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
);
const GZIP: (&str, &str) = ("Accept-Encoding", "gzip");

/// Text of many chunks.
const MANY: usize = 5_000;

#[tokio::test]
async fn a_scrape_gets_the_table_and_then_the_exporters_own_metrics() {
    let site = Site::start();
    site.fill(2);
    let reply = site.get("/metrics").await;
    assert_eq!(reply.status, 200);
    assert_eq!(
        reply.header("content-type"),
        "text/plain; version=0.0.4; charset=utf-8"
    );
    assert_eq!(reply.header("vary"), "Accept, Accept-Encoding");
    let text = reply.text();
    let table = text.find("age_pipeline_id{").expect("the table");
    let own = text.find("\nage_build_info 1\n").expect("own metrics");
    assert!(table < own, "{text}");
    assert!(!text.contains("# EOF"), "{text}");
}

#[tokio::test]
async fn a_clock_that_is_set_cuts_no_initial_zero_short_and_takes_nothing_back() {
    let site = Site::start();
    site.count_run();
    let shown = async || {
        let text = site.get("/metrics").await.text();
        let run = |line: &&str| line.starts_with("age_pipeline_run_count{");
        text.lines()
            .find(run)
            .unwrap()
            .rsplit_once(' ')
            .unwrap()
            .1
            .to_owned()
    };
    let clock = &site.clock;
    let day = Duration::from_secs(86_400);
    clock.leap(clock.now().plus(day));
    assert_eq!(shown().await, "0");
    clock.set(clock.now().plus(Duration::from_secs(120)));
    assert_eq!(shown().await, "1");
    clock.set(clock.now().minus(2 * day));
    assert_eq!(shown().await, "1");
}

#[tokio::test]
async fn open_metrics_is_given_to_whom_asks_for_it() {
    let site = Site::start();
    site.fill(2);
    let reply = site.ask("GET", "/metrics", &[OPEN_METRICS]).await;
    assert_eq!(
        reply.header("content-type"),
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    assert!(reply.text().ends_with("# EOF\n"), "{}", reply.text());
}

#[tokio::test]
async fn headers_sent_more_than_once_count_together() {
    let site = Site::start();
    let twice = [("Accept", "application/json"), OPEN_METRICS];
    let reply = site.ask("GET", "/metrics", &twice).await;
    assert!(
        reply
            .header("content-type")
            .starts_with("application/openmetrics-text")
    );
}

#[tokio::test]
async fn gzip_holds_the_same_text() {
    let site = Site::start();
    site.fill(MANY);
    for format in [("Accept", "text/plain"), OPEN_METRICS] {
        let plain = site.ask("GET", "/metrics", &[format]).await;
        let packed = site.ask("GET", "/metrics", &[format, GZIP]).await;
        assert_eq!(plain.header("content-encoding"), "");
        assert_eq!(packed.header("content-encoding"), "gzip");
        assert!(plain.complete && packed.complete);
        assert!(packed.body.len() * 4 < plain.body.len());
        assert_eq!(plain.text(), packed.text());
        let lines = plain
            .text()
            .lines()
            .filter(|line| line.starts_with("age_pipeline_id{"))
            .count();
        assert_eq!(lines, MANY);
    }
}

#[tokio::test]
async fn a_held_status_lock_blocks_no_other_request() {
    let site = Site::start();
    let world = Arc::clone(&site.world);
    let (held, is_held) = std::sync::mpsc::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    std::thread::spawn(move || {
        let _status = world.status.lock().unwrap();
        held.send(()).unwrap();
        let _ = released.recv();
    });
    is_held.recv().unwrap();
    let mut waiting = site.connect().await;
    waiting
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    for path in ["/metrics", "/health", "/ready"] {
        assert_eq!(site.get(path).await.status, 200, "{path}");
    }
    drop(release);
}

#[tokio::test]
async fn a_panic_is_one_failed_scrape() {
    let site = Site::start();
    site.world.broken.store(true, Ordering::SeqCst);
    for _ in 0..20 {
        let reply = site.get("/metrics").await;
        assert_eq!(reply.status, 500);
        assert_eq!(reply.header("content-type"), "application/json");
        assert!(!reply.text().contains("on purpose"), "{}", reply.text());
    }
    site.world.broken.store(false, Ordering::SeqCst);
    assert_eq!(site.get("/metrics").await.status, 200);
}

/// Without this a client that stops reading would keep everything that goes from the table.
#[tokio::test]
async fn a_client_that_takes_no_data_is_given_up() {
    let patience = Duration::from_millis(100);
    let site = Site::start_with("", Limits { patience, ..LIMITS });
    // More than the buffers on the way can hold.
    site.fill(150_000);
    let idle = Arc::strong_count(&site.table);
    let mut deaf = site.connect().await;
    deaf.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    until("the scrape begins", || {
        Arc::strong_count(&site.table) > idle
    })
    .await;
    until("the scrape is given up", || {
        Arc::strong_count(&site.table) == idle
    })
    .await;
    let reply = Reply::read(&mut deaf).await;
    assert_eq!(reply.status, 200);
    assert!(!reply.complete, "a part must not look like the whole");
    assert!(site.get("/metrics").await.complete);
}

#[tokio::test]
async fn a_client_that_leaves_frees_the_table() {
    let site = Site::start();
    site.fill(150_000);
    let idle = Arc::strong_count(&site.table);
    let mut hasty = site.connect().await;
    hasty
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    until("the scrape begins", || {
        Arc::strong_count(&site.table) > idle
    })
    .await;
    drop(hasty);
    until("the scrape ends", || Arc::strong_count(&site.table) == idle).await;
}

#[tokio::test]
async fn a_scrape_may_ask_for_collectors_and_metrics() {
    let site = Site::start();
    site.fill(2);
    let jobs = site.get("/metrics?collect[]=jobs").await;
    assert_eq!((jobs.status, jobs.text().as_str()), (200, ""));
    let pipelines = site.get("/metrics?collect%5B%5D=pipelines").await;
    let text = pipelines.text();
    assert!(text.contains("\nage_pipeline_id{"), "{text}");
    assert!(!text.contains("age_build_info"), "{text}");
    let own = site.get("/metrics?exclude[]=pipelines").await;
    let text = own.text();
    assert!(!text.contains("age_pipeline_id") && text.contains("\nage_build_info 1\n"));
    let named = site.get("/metrics?name[]=age_build_info").await;
    let text = named.text();
    assert!(
        text.ends_with("\nage_build_info 1\n") && text.lines().count() == 3,
        "{text}"
    );
    let wrong = site.get("/metrics?collect[]=job").await;
    assert_eq!(wrong.status, 400);
    assert!(
        wrong.text().contains("is not a collector"),
        "{}",
        wrong.text()
    );
}
