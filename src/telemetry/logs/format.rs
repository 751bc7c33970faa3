//! Lines of text and JSON, each with the ids of the trace and span in which it was said.

use std::fmt;

use opentelemetry::Context;
use opentelemetry::trace::TraceContextExt;
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{self, Format, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// The ids of the active span, where spans are recorded at all.
fn active_ids() -> Option<(String, String)> {
    Context::map_current(|context| {
        let span = context.span().span_context().clone();
        span.is_valid()
            .then(|| (span.trace_id().to_string(), span.span_id().to_string()))
    })
}

/// A line for people: time, level, spans, target, message and fields; then `trace_id` and
/// `span_id`.
pub(super) struct Text(Format<format::Full>);

impl Text {
    pub(super) fn new() -> Self {
        Self(format::format().with_ansi(false))
    }
}

impl<S, N> FormatEvent<S, N> for Text
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Some((trace_id, span_id)) = active_ids() else {
            return self.0.format_event(context, writer, event);
        };
        let mut line = String::new();
        self.0
            .format_event(context, Writer::new(&mut line), event)?;
        let line = line.trim_end_matches('\n');
        writeln!(writer, "{line} trace_id={trace_id} span_id={span_id}")
    }
}

/// A JSON object: `timestamp`, `level`, `target`, `message`, the fields, `span`, `trace_id`,
/// `span_id`.
pub(super) struct Json(Format<format::Json>);

impl Json {
    pub(super) fn new() -> Self {
        Self(
            format::format()
                .json()
                .flatten_event(true)
                .with_current_span(true)
                .with_span_list(false),
        )
    }
}

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Some((trace_id, span_id)) = active_ids() else {
            return self.0.format_event(context, writer, event);
        };
        let mut line = String::new();
        self.0
            .format_event(context, Writer::new(&mut line), event)?;
        // The library closes the object and cannot be asked for more members.
        let line = line.trim_end();
        let line = line.strip_suffix('}').unwrap_or(line);
        writeln!(
            writer,
            r#"{line},"trace_id":"{trace_id}","span_id":"{span_id}"}}"#
        )
    }
}
