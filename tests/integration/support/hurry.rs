//! tokio's time, moved by the test: pauses of minutes pass in milliseconds, while sockets work as
//! ever. For tests with `#[tokio::test(start_paused = true)]`.

use std::sync::mpsc;
use std::time::Duration;

/// A paused tokio time that moves only when it is told to; by itself it would jump over every
/// pause as soon as the process waits for a socket.
pub struct Hurry {
    _held: mpsc::Sender<()>,
}

impl Hurry {
    /// Takes the time of this test's runtime over.
    pub fn new() -> Self {
        let (held, end) = mpsc::channel::<()>();
        // tokio leaves its time alone while a blocking task runs; this one ends with the test.
        tokio::task::spawn_blocking(move || end.recv());
        Self { _held: held }
    }

    /// Moves tokio's time by `step` and lets what that wakes go on for a moment.
    pub async fn step(&self, step: Duration) {
        tokio::time::advance(step).await;
        self.breathe().await;
    }

    /// Lets sockets be read and written for a moment, while tokio's time stands.
    pub async fn breathe(&self) {
        let moment = tokio::task::spawn_blocking(|| std::thread::sleep(Duration::from_millis(1)));
        moment.await.expect("sleeping does not panic");
    }
}
