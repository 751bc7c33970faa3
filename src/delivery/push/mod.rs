//! OTLP push of all metrics: the series table's and the exporter's own.
//!
//! A push reads the table like a scrape. Its messages are built chunk by chunk, each sent before the
//! next is built: nothing is queued, memory does not grow with the number of series, and a push that
//! fails is simply followed by the next, because everything is cumulative.

mod exported;
mod message;
mod sender;
mod task;

use std::sync::Arc;
use std::time::Duration;

use opentelemetry_sdk::Resource;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::Intervals;
use crate::clock::Clock;
use crate::series::Table;
use crate::telemetry::otlp::{ClientError, CountExports, OtlpTarget, Signal};
use crate::telemetry::process::OwnMetrics;

/// How large a message may become before it is cut. Receivers refuse messages of more than 4 MiB by
/// default. Half of that holds half as much memory while a message is built and sent, and takes no
/// longer.
pub const MAX_MESSAGE_BYTES: usize = 2_000_000;

/// Where, how and how often metrics are pushed. Temporality is not a setting: it is cumulative.
#[derive(Clone, Debug)]
pub struct PushSettings {
    /// Where to.
    pub otlp: OtlpTarget,
    /// Time between the starts of two pushes. A push is given up when the next is due.
    pub interval: Duration,
    /// What the metrics say about where they come from.
    pub resource: Resource,
    /// What those of GitLab say instead, which another replica may push next time; none where there is only
    /// one exporter.
    pub gitlab_resource: Option<Resource>,
    /// See [`MAX_MESSAGE_BYTES`].
    pub max_message_bytes: usize,
    /// Watches how often pushes succeed; none where the birth window is fixed.
    pub intervals: Option<Arc<Intervals>>,
}

/// What a push came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pushed {
    /// Messages that the receiver took.
    pub messages: usize,
    /// Data points in them.
    pub points: usize,
    /// Whether that is everything.
    pub complete: bool,
}

/// Sends an empty message of a signal to its receiver, once, to see whether it would be accepted. Must be
/// called within a tokio runtime.
///
/// # Errors
/// Why it would not be, as a sentence.
pub async fn try_receiver(signal: Signal, target: &OtlpTarget) -> Result<(), String> {
    let sender = sender::Sender::new(target).map_err(|error| error.to_string())?;
    let sent = sender.try_empty(signal).await;
    sent.map_err(|error| error.to_string())
}

/// Starts pushing.
pub struct Pusher;

impl Pusher {
    /// Starts a task that pushes `table` and `own` every interval; `exports` counts how it goes. Must be called within a tokio
    /// runtime.
    ///
    /// # Errors
    /// When no client can be made for the target.
    pub fn start(
        settings: &PushSettings,
        table: Arc<Table>,
        own: Arc<OwnMetrics>,
        exports: Arc<dyn CountExports>,
        clock: Clock,
    ) -> Result<PusherHandle, ClientError> {
        let (ask, asked) = mpsc::channel(1);
        let (stop, stopped) = oneshot::channel();
        let task = task::Task::new(settings, table, own, exports, clock)?;
        let task = tokio::spawn(task.run(asked, stopped));
        Ok(PusherHandle { ask, stop, task })
    }
}

/// The running task.
///
/// Dropping it ends the task without a last push.
#[must_use = "dropping it ends pushing"]
pub struct PusherHandle {
    ask: mpsc::Sender<oneshot::Sender<Pushed>>,
    stop: oneshot::Sender<Duration>,
    task: JoinHandle<Pushed>,
}

impl PusherHandle {
    /// Pushes now, or right after the push that is under way.
    pub async fn push_now(&self) -> Pushed {
        let (reply, pushed) = oneshot::channel();
        if self.ask.send(reply).await.is_err() {
            return Pushed::default();
        }
        pushed.await.unwrap_or_default()
    }

    /// Gives up the push that is under way, pushes everything a last time within `deadline`, and ends
    /// the task. Series that are still shown at their initial zero are pushed with their value.
    pub async fn shutdown(self, deadline: Duration) -> Pushed {
        // An error says that the task has ended already, which its own result shows too.
        let _ = self.stop.send(deadline);
        self.task.await.unwrap_or_else(|error| {
            tracing::error!(%error, "metrics export task failed");
            Pushed::default()
        })
    }
}
