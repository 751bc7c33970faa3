use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::server::{LIMITS, OwnFamilies};

/// Counts what it is told.
#[derive(Default)]
struct Told(AtomicUsize);

impl OwnFamilies for Told {
    fn gather(&self) -> Vec<prometheus::proto::MetricFamily> {
        Vec::new()
    }

    fn http_refused(&self, _: HttpRefusal) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn connections() -> Arc<Connections> {
    Connections::new(LIMITS, 0, Refusals::new(Arc::<Told>::default()))
}

#[test]
fn idle_connections_are_closed_sooner_the_more_there_are() {
    let connections = connections();
    let limits: Vec<u64> = [0, 256, 320, 384, 448, 512, 544]
        .map(|live| connections.idle_limit(live).as_secs())
        .to_vec();
    assert_eq!(limits, [90, 90, 68, 47, 26, 5, 5]);
}

#[tokio::test]
async fn an_end_that_is_not_taken_is_given_up() {
    let connections = connections();
    let now = Instant::now();
    let connection = connections.admit(None, now).unwrap();
    connections.sweep(now + LIMITS.request);
    assert!(connection.is_ending());
    assert_eq!(connections.live(), 0);
    assert!(connection.ending_since().is_some());
    connections.sweep(now + LIMITS.request + LIMITS.patience);
    assert!(connection.ending_since().is_none(), "it is given up");
}

#[tokio::test]
async fn connections_that_end_make_no_place_twice() {
    let connections = connections();
    let now = Instant::now();
    for _ in 0..10 * LIMITS.connections {
        connections.admit(None, now).unwrap();
        assert!(connections.live() <= LIMITS.connections);
    }
    let numbers: Vec<u64> = connections.open().all.keys().copied().collect();
    for number in numbers {
        connections.forget(number);
    }
    assert_eq!(connections.live(), 0);
}

#[tokio::test]
async fn a_place_for_the_probes_stays_one() {
    let connections = connections();
    let now = Instant::now();
    let busy: Vec<_> = (0..LIMITS.connections)
        .map(|_| connections.admit(None, now).unwrap().begin())
        .collect();
    for _ in 0..10 {
        // Each makes room for the next.
        assert!(connections.admit(None, now).unwrap().for_probes);
    }
    drop(busy);
    assert!(!connections.admit(None, now).unwrap().for_probes);
}

#[test]
fn refusals_are_counted_each_and_said_once_a_minute() {
    use std::io::Write;
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);
    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone());
    let told = Arc::<Told>::default();
    let refusals = Refusals::new(Arc::clone(&told) as _);
    let now = Instant::now();
    tracing::subscriber::with_default(subscriber.finish(), || {
        for _ in 0..64_502 {
            refusals.count(HttpRefusal::BadRequest, now);
        }
        refusals.report(0, now + Duration::from_secs(59));
        refusals.report(0, now + Duration::from_secs(60));
        refusals.report(0, now + Duration::from_secs(600));
    });
    assert_eq!(told.0.load(Ordering::Relaxed), 64_502);
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<&str> = text.lines().take(10).collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[1].contains("bad_request 64501"), "{lines:?}");
}
