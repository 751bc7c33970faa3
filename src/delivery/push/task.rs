//! The task that pushes.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry_sdk::Resource;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use super::exported::ExportedGauges;
use super::message::{Chunk, Encoded};
use super::sender::Sender;
use super::{PushSettings, Pushed};
use crate::clock::{Clock, UnixSeconds};
use crate::delivery::Intervals;
use crate::series::{RemovedRow, Table};
use crate::telemetry::otlp::{ClientError, CountExports, Exports, Outcome, Signal};
use crate::telemetry::process::OwnMetrics;

/// Rows that are read under one lock of the table.
const ROWS_AT_ONCE: usize = 2048;

/// Pushes of one millisecond would say two things of one time.
const LEAST_STEP: u64 = 1_000_000;

/// A time at which no initial zero is shown any more: nothing is delivered after the last push.
const END_OF_TIME: UnixSeconds = UnixSeconds(u32::MAX as i64);

pub(super) struct Task {
    sender: Sender,
    exports: Exports,
    interval: Duration,
    resource: Resource,
    gitlab_resource: Option<Resource>,
    max_message_bytes: usize,
    intervals: Option<Arc<Intervals>>,
    table: Arc<Table>,
    own: Arc<OwnMetrics>,
    clock: Clock,
    /// Time of the last push, in nanoseconds since the epoch.
    last: u64,
    /// Gauges of the exporter's own.
    exported: ExportedGauges,
}

impl Task {
    pub(super) fn new(
        settings: &PushSettings,
        table: Arc<Table>,
        own: Arc<OwnMetrics>,
        exports: Arc<dyn CountExports>,
        clock: Clock,
    ) -> Result<Self, ClientError> {
        Ok(Self {
            sender: Sender::new(&settings.otlp)?,
            exports: Exports::new(Signal::Metrics, exports),
            interval: settings.interval,
            resource: settings.resource.clone(),
            gitlab_resource: settings.gitlab_resource.clone(),
            max_message_bytes: settings.max_message_bytes,
            intervals: settings.intervals.clone(),
            table,
            own,
            clock,
            last: 0,
            exported: ExportedGauges::default(),
        })
    }

    /// Pushes every interval and when asked, until stopped; the last push is then the result.
    pub(super) async fn run(
        mut self,
        mut asked: mpsc::Receiver<oneshot::Sender<Pushed>>,
        mut stopped: oneshot::Receiver<Duration>,
    ) -> Pushed {
        let mut ticks = interval_at(Instant::now() + self.interval, self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let stop = loop {
            let reply = tokio::select! {
                biased;
                stop = &mut stopped => break stop,
                Some(reply) = asked.recv() => Some(reply),
                _ = ticks.tick() => None,
            };
            let pushed = tokio::select! {
                biased;
                stop = &mut stopped => break stop,
                pushed = self.push_now() => pushed,
            };
            if let Some(reply) = reply {
                // The caller may have been dropped.
                let _ = reply.send(pushed);
            }
        };
        match stop {
            Ok(deadline) => self.push(END_OF_TIME, deadline).await,
            Err(_) => Pushed::default(),
        }
    }

    async fn push_now(&mut self) -> Pushed {
        let (begun, now) = (std::time::Instant::now(), self.clock.steady());
        let pushed = self.push(now, self.interval).await;
        if let Some(intervals) = self.intervals.as_ref().filter(|_| pushed.complete) {
            intervals.pushed(begun, now);
        }
        pushed
    }

    /// One push of the table as it is `at` this time, given up after `deadline`.
    async fn push(&mut self, at: UnixSeconds, deadline: Duration) -> Pushed {
        let mut pushed = Pushed::default();
        let everything = self.push_everything(at, &mut pushed);
        match timeout(deadline, everything).await {
            Ok(complete) => pushed.complete = complete,
            Err(_) => self.exports.note(
                Outcome::Error,
                &format!("a push was given up after {deadline:?}"),
            ),
        }
        pushed
    }

    /// False when the receiver does not take a message: the rest is then for the next push.
    async fn push_everything(&mut self, at: UnixSeconds, pushed: &mut Pushed) -> bool {
        self.last = self.clock.unix_nanos().max(self.last + LEAST_STEP);
        let resource = self.gitlab_resource.as_ref().unwrap_or(&self.resource);
        let mut chunk = Chunk::new(resource, self.max_message_bytes, self.last);
        let (mut walk, removed) = self.table.push_walk(at);
        let mut removed = UnsentRemovals::new(&self.table, removed);
        for row in &removed.rows {
            chunk.add_removed(row);
            if chunk.is_full() && !self.send(chunk.take(), pushed).await {
                return false;
            }
        }
        let mut more = true;
        while more {
            more = walk.next_chunk(ROWS_AT_ONCE, |row| {
                chunk.add_row(row);
                if chunk.is_full() {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            });
            if chunk.is_full() && !self.send(chunk.take(), pushed).await {
                return false;
            }
            tokio::task::yield_now().await;
        }
        drop(walk);
        if self.gitlab_resource.is_some() {
            if !self.send(chunk.take(), pushed).await {
                return false;
            }
            chunk = Chunk::new(&self.resource, self.max_message_bytes, self.last);
        }
        let mut own = self.own.collect();
        let shown = self.exported.add_ends(&mut own, self.last);
        for metric in own {
            chunk.add_collected(metric);
            if chunk.is_full() && !self.send(chunk.take(), pushed).await {
                return false;
            }
        }
        if !self.send(chunk.take(), pushed).await {
            return false;
        }
        removed.rows.clear();
        drop(removed);
        self.exported.keep(shown);
        true
    }

    /// Sends a message, if there is one, and notes how that ended; false when it was not taken.
    async fn send(&self, message: Option<Encoded>, pushed: &mut Pushed) -> bool {
        let Some(Encoded { bytes, points }) = message else {
            return true;
        };
        match self.sender.send(bytes).await {
            Ok(rejected) => {
                pushed.messages += 1;
                pushed.points += points;
                if rejected.points > 0 {
                    tracing::debug!(points = rejected.points, "data points were rejected");
                    self.exports.note(Outcome::Partial, &rejected.reason);
                } else {
                    self.exports.note(Outcome::Success, "");
                }
                true
            }
            Err(error) => {
                self.exports.note(Outcome::Error, &error.to_string());
                false
            }
        }
    }
}

/// Series whose removal was not reported: noted again unless the push succeeds, also when it is given
/// up half-way.
struct UnsentRemovals<'a> {
    table: &'a Table,
    rows: Vec<RemovedRow>,
}

impl<'a> UnsentRemovals<'a> {
    fn new(table: &'a Table, rows: Vec<RemovedRow>) -> Self {
        Self { table, rows }
    }
}

impl Drop for UnsentRemovals<'_> {
    fn drop(&mut self) {
        if !self.rows.is_empty() {
            self.table.put_back_removed(std::mem::take(&mut self.rows));
        }
    }
}
