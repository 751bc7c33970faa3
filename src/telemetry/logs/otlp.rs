//! The exporter of log messages.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::logs::Severity;
use opentelemetry_otlp::LogExporter as OtlpLogExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogBatch, LogExporter};

use crate::telemetry::otlp::{
    ClientError, CountExports, Exports, OtlpTarget, Protocol, Signal, with_grpc, with_http,
};

/// Counts and reports how exports end.
pub(super) struct CountedExporter {
    inner: OtlpLogExporter,
    exports: Exports,
}

/// # Errors
/// When no client can be made for `target`.
pub(super) fn exporter(
    target: &OtlpTarget,
    exports: Arc<dyn CountExports>,
) -> Result<CountedExporter, ClientError> {
    let builder = OtlpLogExporter::builder();
    let inner = match target.protocol {
        Protocol::Grpc => with_grpc(builder.with_tonic(), target)?.build()?,
        Protocol::HttpProtobuf => with_http(builder.with_http(), target)?.build()?,
    };
    let exports = Exports::new(Signal::Logs, exports);
    Ok(CountedExporter { inner, exports })
}

impl fmt::Debug for CountedExporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CountedExporter(logs)")
    }
}

impl LogExporter for CountedExporter {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        let result = self.inner.export(batch).await;
        self.exports.note_sdk(&result);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn event_enabled(&self, level: Severity, target: &str, name: Option<&str>) -> bool {
        self.inner.event_enabled(level, target, name)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}
