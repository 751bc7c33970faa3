//! Spans of this program's own work: the layer that records them and the exporter that sends them.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::trace::{Status, TracerProvider as _};
use opentelemetry::{KeyValue, StringValue, Value};
use opentelemetry_otlp::SpanExporter as OtlpSpanExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchSpanProcessor, Sampler, SdkTracerProvider, SpanData, SpanExporter,
};
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

use super::otlp::{
    ClientError, CountExports, Exports, OtlpTarget, Protocol, Signal, with_grpc, with_http,
};
use super::resource;
use super::secrets::Secrets;

/// Where spans go, and how many.
#[derive(Clone, Debug)]
pub struct TraceSettings {
    /// Where they are sent.
    pub otlp: OtlpTarget,
    /// Which traces are recorded.
    pub sampler: TraceSampler,
}

/// Which traces are recorded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TraceSampler {
    /// Share of the traces, from 0 to 1.
    pub ratio: f64,
    /// Whether a trace that began elsewhere is recorded if it is there.
    pub parent_based: bool,
}

impl Default for TraceSampler {
    /// All.
    fn default() -> Self {
        Self {
            ratio: 1.0,
            parent_based: true,
        }
    }
}

/// The provider that records spans and sends them in batches.
///
/// # Errors
/// When no client can be made for the target.
pub(super) fn provider(
    settings: &TraceSettings,
    resource: Resource,
    secrets: Secrets,
    exports: Arc<dyn CountExports>,
) -> Result<SdkTracerProvider, ClientError> {
    let target = &settings.otlp;
    let builder = OtlpSpanExporter::builder();
    let inner = match target.protocol {
        Protocol::Grpc => with_grpc(builder.with_tonic(), target)?.build()?,
        Protocol::HttpProtobuf => with_http(builder.with_http(), target)?.build()?,
    };
    let exporter = GuardedExporter {
        inner,
        secrets,
        exports: Exports::new(Signal::Traces, exports),
    };
    let TraceSampler {
        ratio,
        parent_based,
    } = settings.sampler;
    let of_ratio = Sampler::TraceIdRatioBased(ratio);
    let sampler = if parent_based {
        Sampler::ParentBased(Box::new(of_ratio))
    } else {
        of_ratio
    };
    Ok(SdkTracerProvider::builder()
        .with_resource(resource)
        .with_sampler(sampler)
        .with_span_processor(BatchSpanProcessor::builder(exporter).build())
        .build())
}

/// The layer that turns this program's own `tracing` spans into OpenTelemetry spans, and messages
/// of level `info` and above within them into span events.
pub(super) fn layer<S>(provider: &SdkTracerProvider) -> impl Layer<S> + Send + Sync + use<S>
where
    S: Subscriber + Send + Sync + for<'a> LookupSpan<'a>,
{
    tracing_opentelemetry::layer()
        .with_tracer(provider.tracer_with_scope(resource::scope()))
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_filter(
            filter_fn(is_recorded)
                .with_max_level_hint(tracing_subscriber::filter::LevelFilter::DEBUG),
        )
}

fn is_recorded(metadata: &Metadata<'_>) -> bool {
    let least = if metadata.is_span() {
        Level::DEBUG
    } else {
        Level::INFO
    };
    *metadata.level() <= least && is_own(metadata.target())
}

/// Whether `target` is a module of this program.
fn is_own(target: &str) -> bool {
    target
        .strip_prefix("amazing_gitlab_exporter")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Sends what is queued, for at most `deadline`. Blocks.
pub(super) fn shutdown(provider: &SdkTracerProvider, deadline: Duration) {
    if let Err(error) = provider.shutdown_with_timeout(deadline) {
        tracing::debug!(%error, "the last spans may not have been sent");
    }
}

/// Takes registered secrets out of spans, and counts and reports how exports end.
struct GuardedExporter {
    inner: OtlpSpanExporter,
    secrets: Secrets,
    exports: Exports,
}

impl GuardedExporter {
    fn redact(&self, span: &mut SpanData) {
        if let Cow::Owned(name) = self.secrets.redact(&span.name) {
            span.name = name.into();
        }
        if let Status::Error { description } = &mut span.status
            && let Cow::Owned(redacted) = self.secrets.redact(description)
        {
            *description = redacted.into();
        }
        self.redact_attributes(&mut span.attributes);
        for event in &mut span.events.events {
            if let Cow::Owned(name) = self.secrets.redact(&event.name) {
                event.name = name.into();
            }
            self.redact_attributes(&mut event.attributes);
        }
    }

    fn redact_attributes(&self, attributes: &mut [KeyValue]) {
        for KeyValue { value, .. } in attributes {
            if let Value::String(text) = value
                && let Cow::Owned(redacted) = self.secrets.redact(text.as_str())
            {
                *text = StringValue::from(redacted);
            }
        }
    }
}

impl fmt::Debug for GuardedExporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GuardedExporter(traces)")
    }
}

impl SpanExporter for GuardedExporter {
    async fn export(&self, mut batch: Vec<SpanData>) -> OTelSdkResult {
        for span in &mut batch {
            self.redact(span);
        }
        let result = self.inner.export(batch).await;
        self.exports.note_sdk(&result);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_programs_modules_are_its_own() {
        assert!(is_own("amazing_gitlab_exporter"));
        assert!(is_own("amazing_gitlab_exporter::gitlab::client"));
        assert!(!is_own("amazing_gitlab_exporter_plugin"));
        assert!(!is_own("hyper_util::client"));
    }
}
