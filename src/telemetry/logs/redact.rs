//! Takes registered secrets out of messages on their way to standard error and to OTLP.

use std::borrow::Cow;
use std::io;
use std::time::{Instant, SystemTime};

use opentelemetry::logs::{AnyValue, LogRecord, Logger, LoggerProvider, Severity};
use opentelemetry::trace::{SpanId, TraceFlags, TraceId};
use opentelemetry::{InstrumentationScope, Key};
use opentelemetry_sdk::logs::{SdkLogRecord, SdkLogger, SdkLoggerProvider};
use tracing_subscriber::fmt::MakeWriter;

use super::floods::Floods;
use crate::telemetry::resource;
use crate::telemetry::secrets::Secrets;

/// Makes writers that redact whole lines: the formatting layer writes each message in one call.
pub(super) struct RedactingWriter<W> {
    inner: W,
    secrets: Secrets,
}

impl<W> RedactingWriter<W> {
    pub(super) fn new(inner: W, secrets: Secrets) -> Self {
        Self { inner, secrets }
    }
}

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for RedactingWriter<W> {
    type Writer = Redacting<'a, W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        Redacting {
            inner: self.inner.make_writer(),
            secrets: &self.secrets,
        }
    }
}

pub(super) struct Redacting<'a, W> {
    inner: W,
    secrets: &'a Secrets,
}

impl<W: io::Write> io::Write for Redacting<'_, W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        self.inner
            .write_all(self.secrets.redact(&text).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// The SDK's logger provider, whose records are redacted as they are filled.
pub(super) struct RedactingProvider {
    inner: SdkLoggerProvider,
    secrets: Secrets,
    floods: Floods,
}

impl RedactingProvider {
    pub(super) fn new(inner: SdkLoggerProvider, secrets: Secrets) -> Self {
        let floods = Floods::default();
        Self {
            inner,
            secrets,
            floods,
        }
    }
}

impl LoggerProvider for RedactingProvider {
    type Logger = RedactingLogger;

    /// The bridge asks for a nameless scope; ours is this program's.
    fn logger_with_scope(&self, _: InstrumentationScope) -> RedactingLogger {
        RedactingLogger {
            inner: self.inner.logger_with_scope(resource::scope()),
            secrets: self.secrets.clone(),
            floods: self.floods.clone(),
        }
    }
}

pub(super) struct RedactingLogger {
    inner: SdkLogger,
    secrets: Secrets,
    floods: Floods,
}

impl Logger for RedactingLogger {
    type LogRecord = RedactingRecord;

    fn create_log_record(&self) -> RedactingRecord {
        RedactingRecord {
            inner: self.inner.create_log_record(),
            secrets: self.secrets.clone(),
            name: None,
            is_detail: false,
        }
    }

    fn emit(&self, mut record: RedactingRecord) {
        if let Some(name) = record.name.filter(|_| !record.is_detail) {
            match self.floods.admit(name, Instant::now()) {
                None => return,
                Some(0) => {}
                Some(left_out) => {
                    let left_out = i64::try_from(left_out).unwrap_or(i64::MAX);
                    record.inner.add_attribute("left_out", left_out);
                }
            }
        }
        self.inner.emit(record.inner);
    }

    fn event_enabled(&self, level: Severity, target: &str, name: Option<&str>) -> bool {
        self.inner.event_enabled(level, target, name)
    }
}

pub(super) struct RedactingRecord {
    inner: SdkLogRecord,
    secrets: Secrets,
    /// Which message it is.
    name: Option<&'static str>,
    /// Whether it is less than information: who asks for details gets them all.
    is_detail: bool,
}

impl RedactingRecord {
    /// Strings alone: `tracing` has no other value that could hold a secret.
    fn redacted(&self, value: AnyValue) -> AnyValue {
        match value {
            AnyValue::String(text) => match self.secrets.redact(text.as_str()) {
                Cow::Borrowed(_) => AnyValue::String(text),
                Cow::Owned(redacted) => AnyValue::String(redacted.into()),
            },
            other => other,
        }
    }
}

impl LogRecord for RedactingRecord {
    fn set_event_name(&mut self, name: &'static str) {
        self.name = Some(name);
        self.inner.set_event_name(name);
    }

    fn set_target<T: Into<Cow<'static, str>>>(&mut self, target: T) {
        self.inner.set_target(target);
    }

    fn set_timestamp(&mut self, timestamp: SystemTime) {
        self.inner.set_timestamp(timestamp);
    }

    fn set_observed_timestamp(&mut self, timestamp: SystemTime) {
        self.inner.set_observed_timestamp(timestamp);
    }

    fn set_severity_text(&mut self, text: &'static str) {
        self.inner.set_severity_text(text);
    }

    fn set_severity_number(&mut self, number: Severity) {
        self.is_detail = number < Severity::Info;
        self.inner.set_severity_number(number);
    }

    fn set_body(&mut self, body: AnyValue) {
        let body = self.redacted(body);
        self.inner.set_body(body);
    }

    fn add_attributes<I, K, V>(&mut self, attributes: I)
    where
        I: IntoIterator<Item = (K, V)>,
        K: Into<Key>,
        V: Into<AnyValue>,
    {
        for (key, value) in attributes {
            self.add_attribute(key, value);
        }
    }

    fn add_attribute<K: Into<Key>, V: Into<AnyValue>>(&mut self, key: K, value: V) {
        let value = self.redacted(value.into());
        self.inner.add_attribute(key, value);
    }

    fn set_trace_context(&mut self, trace: TraceId, span: SpanId, flags: Option<TraceFlags>) {
        self.inner.set_trace_context(trace, span, flags);
    }
}
