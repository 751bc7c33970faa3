//! Log messages: text or JSON on standard error with the ids of trace and span, and over OTLP
//! where that is asked for.

mod floods;
mod format;
mod otlp;
mod redact;

use std::sync::Arc;
use std::time::Duration;

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::{BatchLogProcessor, SdkLoggerProvider};
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::Filter;
use tracing_subscriber::registry::LookupSpan;

use super::otlp::{ClientError, CountExports, OtlpTarget};
use super::secrets::Secrets;
use floods::Floods;

/// The format of messages on standard error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// A line for people.
    #[default]
    Text,
    /// A JSON object per line.
    Json,
}

/// What is logged, how and where to.
#[derive(Clone, Debug)]
pub struct LogSettings {
    /// The least severe level that is shown.
    pub level: Level,
    /// Its format.
    pub format: LogFormat,
    /// Where messages go over OTLP; standard error gets them in any case.
    pub otlp: Option<OtlpTarget>,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            level: Level::INFO,
            format: LogFormat::Text,
            otlp: None,
        }
    }
}

/// Libraries that say much at `info` and below, and would feed on themselves over OTLP: sending a
/// message makes them log.
const NOISY: &[&str] = &[
    "actix",
    "h2",
    "hyper",
    "mio",
    "opentelemetry",
    "reqwest",
    "rustls",
    "tonic",
    "tower",
    "want",
];

/// What says something of each bad request, however many come; the server counts them.
const OF_EACH_REQUEST: &str = "actix_http";

/// What the SDK says of every failed export; [`super::otlp::Trouble`] says it once.
const SAID_ELSEWHERE: &[&str] = &[
    "BatchSpanProcessor.ExportError",
    "BatchLogProcessor.ExportError",
    "Export.Failed",
];

fn is_noisy(target: &str) -> bool {
    // `hyper` covers `hyper_util::…`, and `opentelemetry` covers `opentelemetry-otlp`.
    NOISY.iter().any(|noisy| target.starts_with(noisy))
}

/// Whether a message or span goes to standard error at `level`.
fn is_shown(metadata: &Metadata<'_>, level: Level) -> bool {
    let level = if is_noisy(metadata.target()) {
        level.min(Level::WARN)
    } else {
        level
    };
    *metadata.level() <= level
        && !metadata.target().starts_with(OF_EACH_REQUEST)
        && !(metadata.target().starts_with("opentelemetry")
            && SAID_ELSEWHERE
                .iter()
                .any(|name| metadata.name().contains(name)))
}

/// Sets the least severe level of a layer.
pub(super) type SetLevel = Box<dyn Fn(Level) + Send + Sync>;

/// What a layer shows at a level, and what changes the level.
fn by_level<S>(
    level: Level,
    is_shown: impl Fn(&Metadata<'_>, Level) -> bool + Clone + Send + Sync + 'static,
) -> (
    tracing_subscriber::reload::Layer<BoxedFilter<S>, S>,
    SetLevel,
)
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let at = move |level: Level| -> BoxedFilter<S> {
        let is_shown = is_shown.clone();
        let hint = tracing_subscriber::filter::LevelFilter::from_level(level);
        Box::new(filter_fn(move |metadata| is_shown(metadata, level)).with_max_level_hint(hint))
    };
    let (filter, handle) = tracing_subscriber::reload::Layer::new(at(level));
    let set = move |level| {
        // It fails only once there is no subscriber any more.
        let _ = handle.reload(at(level));
    };
    (filter, Box::new(set))
}

type BoxedFilter<S> = Box<dyn Filter<S> + Send + Sync>;

/// The layer that writes to `writer`, without any registered secret, and what sets its level.
pub(super) fn stderr_layer<S, W>(
    settings: &LogSettings,
    secrets: &Secrets,
    writer: W,
) -> (Box<dyn Layer<S> + Send + Sync>, SetLevel)
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    layer(settings, secrets, writer, Floods::default())
}

fn layer<S, W>(
    settings: &LogSettings,
    secrets: &Secrets,
    writer: W,
    floods: Floods,
) -> (Box<dyn Layer<S> + Send + Sync>, SetLevel)
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let writer = redact::RedactingWriter::new(writer, secrets.clone());
    let (filter, set) = by_level(settings.level, is_shown);
    let layer = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(writer);
    let layer: Box<dyn Layer<S> + Send + Sync> = match settings.format {
        LogFormat::Text => Box::new(
            layer
                .event_format(format::Text::new(floods))
                .with_filter(filter),
        ),
        LogFormat::Json => Box::new(
            layer
                .fmt_fields(tracing_subscriber::fmt::format::JsonFields::new())
                .event_format(format::Json::new(floods))
                .with_filter(filter),
        ),
    };
    (layer, set)
}

/// The provider that sends messages to `target` in batches.
///
/// # Errors
/// When no client can be made for `target`.
pub(super) fn provider(
    target: &OtlpTarget,
    resource: Resource,
    exports: Arc<dyn CountExports>,
) -> Result<SdkLoggerProvider, ClientError> {
    let exporter = otlp::exporter(target, exports)?;
    Ok(SdkLoggerProvider::builder()
        .with_resource(resource)
        .with_log_processor(BatchLogProcessor::builder(exporter).build())
        .build())
}

/// The layer that hands messages to `provider`, without any registered secret, and what sets its level.
pub(super) fn otlp_layer<S>(
    settings: &LogSettings,
    secrets: &Secrets,
    provider: &SdkLoggerProvider,
) -> (impl Layer<S> + Send + Sync + use<S>, SetLevel)
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let provider = redact::RedactingProvider::new(provider.clone(), secrets.clone());
    let (filter, set) = by_level(settings.level, |metadata, level| {
        !is_noisy(metadata.target()) && is_shown(metadata, level)
    });
    let bridge = opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge::new(&provider);
    (bridge.with_filter(filter), set)
}

/// Sends what is queued, for at most `deadline`. Blocks.
pub(super) fn shutdown(provider: &SdkLoggerProvider, deadline: Duration) {
    if let Err(error) = provider.shutdown_with_timeout(deadline) {
        tracing::debug!(%error, "the last log messages may not have been sent");
    }
}
