//! Puts logs and traces together, and takes them down in order.

use std::sync::Arc;
use std::time::{Duration, Instant};

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use thiserror::Error;
use tracing::{Dispatch, Level};
use tracing_subscriber::Registry;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;

use super::logs::{self, LogSettings, SetLevel};
use super::otlp::{ClientError, CountExports, Signal};
use super::secrets::Secrets;
use super::traces::{self, TraceSettings};

/// What logs and traces are made of.
#[derive(Clone)]
pub struct TelemetrySettings {
    /// Log messages.
    pub logs: LogSettings,
    /// Spans; `None` records none.
    pub traces: Option<TraceSettings>,
    /// Where all telemetry says it comes from.
    pub resource: Resource,
    /// What must never be printed or sent. Header values of the OTLP targets are added to it.
    pub secrets: Secrets,
    /// Who counts exports of spans and log messages.
    pub exports: Arc<dyn CountExports>,
}

/// Why telemetry cannot be set up.
#[derive(Debug, Error)]
pub enum TelemetryError {
    /// No OTLP client for a signal.
    #[error("OTLP {signal}: {source}")]
    Client {
        /// The signal.
        signal: Signal,
        /// Why.
        source: ClientError,
    },
    /// This process has a subscriber already.
    #[error("logging has been set up before")]
    AlreadyInstalled,
}

/// Keeps logs and traces alive; [`Guard::shutdown`] sends what is queued.
#[must_use = "dropping it stops the export of spans and log messages"]
pub struct Guard {
    traces: Option<SdkTracerProvider>,
    logs: Option<SdkLoggerProvider>,
    level: LogLevel,
}

/// Sets the minimum log level of this process.
#[derive(Clone)]
pub struct LogLevel(Arc<[SetLevel]>);

impl LogLevel {
    /// Shows what is at least as severe from now on.
    pub fn set(&self, level: Level) {
        for set in self.0.iter() {
            set(level);
        }
    }
}

impl Guard {
    /// What sets the log level.
    #[must_use]
    pub fn log_level(&self) -> LogLevel {
        self.level.clone()
    }

    /// Sends queued spans, then queued log messages, together within `deadline`.
    pub async fn shutdown(self, deadline: Duration) {
        // The SDK blocks until its own thread has exported, which needs this runtime.
        let taken_down = tokio::task::spawn_blocking(move || {
            let start = Instant::now();
            let left = || deadline.saturating_sub(start.elapsed());
            if let Some(provider) = &self.traces {
                traces::shutdown(provider, left());
            }
            if let Some(provider) = &self.logs {
                logs::shutdown(provider, left());
            }
        });
        if let Err(error) = taken_down.await {
            tracing::warn!(%error, "logs and traces failed to shut down");
        }
    }
}

/// Builds logs and traces as a subscriber that is not installed yet; `writer` takes the log lines.
///
/// Must be called within a tokio runtime, which drives gRPC connections.
///
/// # Errors
/// When no client can be made for an OTLP target.
pub fn build<W>(settings: TelemetrySettings, writer: W) -> Result<(Dispatch, Guard), TelemetryError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let TelemetrySettings {
        logs,
        traces,
        resource,
        secrets,
        exports,
    } = settings;
    let targets = [
        logs.otlp.as_ref(),
        traces.as_ref().map(|traces| &traces.otlp),
    ];
    for target in targets.into_iter().flatten() {
        target.register_secrets(&secrets);
    }
    let of = |signal| move |source| TelemetryError::Client { signal, source };
    let tracer_provider = traces
        .map(|settings| {
            let exports = Arc::clone(&exports);
            traces::provider(&settings, resource.clone(), secrets.clone(), exports)
        })
        .transpose()
        .map_err(of(Signal::Traces))?;
    let logger_provider = logs
        .otlp
        .as_ref()
        .map(|target| logs::provider(target, resource, exports))
        .transpose()
        .map_err(of(Signal::Logs))?;
    let provider = logger_provider.as_ref();
    let exported = provider.map(|provider| logs::otlp_layer(&logs, &secrets, provider));
    let (exported, set_exported) = exported.unzip();
    let (shown, set_shown) = logs::stderr_layer(&logs, &secrets, writer);
    let subscriber = Registry::default()
        .with(tracer_provider.as_ref().map(traces::layer))
        .with(exported)
        .with(shown);
    let guard = Guard {
        traces: tracer_provider,
        logs: logger_provider,
        level: LogLevel(set_exported.into_iter().chain([set_shown]).collect()),
    };
    Ok((Dispatch::new(subscriber), guard))
}

/// Builds logs and traces and installs them for the whole process, with log lines on standard
/// error. Once per process; within a tokio runtime.
///
/// # Errors
/// When no client can be made for an OTLP target, or this was called before.
pub fn init(settings: TelemetrySettings) -> Result<Guard, TelemetryError> {
    let (dispatch, guard) = build(settings, std::io::stderr)?;
    tracing::dispatcher::set_global_default(dispatch)
        .map_err(|_| TelemetryError::AlreadyInstalled)?;
    Ok(guard)
}
