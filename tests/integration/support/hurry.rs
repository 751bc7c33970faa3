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
        let moment = tokio::task::spawn_blocking(|| std::thread::sleep(Duration::from_millis(2)));
        moment.await.expect("sleeping does not panic");
    }

    /// Waits for `work`, and lets time pass quickly meanwhile: a second in some 40 milliseconds.
    pub async fn through<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = self.breathe() => {}
            }
            tokio::time::advance(Duration::from_millis(50)).await;
        }
    }
}
