//! What several tests need: receivers and worlds to talk to.

pub mod core;
pub mod door;
pub mod exporter;
pub mod foreign;
pub mod http;
pub mod hurry;
mod lines;
pub mod observer;
pub mod otlp;
pub mod program;
pub mod prometheus;
pub mod promql;
pub mod redis;
pub mod rest;
pub mod samples;
pub mod series;
pub mod tls;
pub mod tools;

use std::time::{Duration, Instant};

pub use lines::Lines;

/// How long a condition may take to come true before the test fails; far more than it should need.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Waits until `condition` is true.
///
/// # Panics
/// With `what` when it is not by the [`DEADLINE`].
pub async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(
            start.elapsed() < DEADLINE,
            "not within {DEADLINE:?}: {what}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until `look` gives something; it says what it saw instead when it does not.
///
/// # Panics
/// With the last of what it saw when it gives nothing by the [`DEADLINE`].
pub async fn until<T>(what: &str, look: impl AsyncFnMut() -> Result<T, String>) -> T {
    within(DEADLINE, what, look).await
}

/// The same with a deadline of its own, for what takes its time.
///
/// # Panics
/// With the last of what it saw when it gives nothing by then.
pub async fn within<T>(
    deadline: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    let start = Instant::now();
    loop {
        let began = Instant::now();
        match look().await {
            Ok(seen) => return seen,
            Err(instead) => assert!(
                start.elapsed() < deadline,
                "not within {deadline:?}: {what}; instead: {instead}"
            ),
        }
        // As long as it took: a look at thousands of series would keep a processor busy all the while.
        let pause = began.elapsed().min(Duration::from_secs(1));
        tokio::time::sleep(pause.max(Duration::from_millis(100))).await;
    }
}
