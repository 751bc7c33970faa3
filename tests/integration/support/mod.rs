//! What several tests need: receivers and worlds to talk to.

pub mod core;
mod lines;
pub mod observer;
pub mod otlp;
pub mod series;

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
