use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::site::Site;
use crate::server::LIMITS;

const ENABLED: &str = "server: {enable_pprof: true}";

/// Uses CPU time until it is dropped.
struct Busy(Arc<AtomicBool>);

impl Busy {
    fn new() -> Self {
        let on = Arc::new(AtomicBool::new(true));
        let also = Arc::clone(&on);
        std::thread::spawn(move || {
            while also.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        });
        Self(on)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn profiles_are_off_by_default() {
    let site = Site::start();
    for path in [
        "/debug/pprof",
        "/debug/pprof/profile",
        "/debug/pprof/flamegraph",
    ] {
        assert_eq!(site.get(path).await.status, 404, "{path}");
    }
    assert!(!site.get("/").await.text().contains("pprof"));
}

/// One test, since there is one profiler in a process.
#[tokio::test]
async fn profiles_are_taken_one_at_a_time() {
    let site = Site::start_with(ENABLED, LIMITS);
    let _busy = Busy::new();
    assert!(
        site.get("/")
            .await
            .text()
            .contains("debug/pprof/flamegraph")
    );
    for path in [
        "/debug/pprof/profile?seconds=0",
        "/debug/pprof/profile?seconds=x",
        "/debug/pprof/flamegraph?seconds=301",
    ] {
        assert_eq!(site.get(path).await.status, 400, "{path}");
    }
    let head = site.ask("HEAD", "/debug/pprof/profile", &[]).await;
    assert_eq!(head.header("content-type"), "application/octet-stream");

    let graph = site.get("/debug/pprof/flamegraph?seconds=1").await;
    assert_eq!(graph.header("content-type"), "image/svg+xml");
    assert!(graph.text().contains("<svg"), "{}", graph.text());
    assert!(
        graph
            .header("content-security-policy")
            .starts_with("default-src 'none'; ")
    );

    let other = pprof::ProfilerGuard::new(99).unwrap();
    assert_eq!(site.get("/debug/pprof/profile").await.status, 409);
    drop(other);
    let profile = site.get("/debug/pprof/profile?seconds=1").await;
    assert_eq!(profile.status, 200);
    assert_eq!(profile.body[..2], [0x1f, 0x8b], "gzip");
}
