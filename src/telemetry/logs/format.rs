//! Lines of text and JSON, each with the ids of the trace and span in which it was said.

use std::fmt;
use std::time::Instant;

use opentelemetry::Context;
use opentelemetry::trace::TraceContextExt;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::{self, Format, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::floods::Floods;

/// The ids of the active span, where spans are recorded at all.
fn active_ids() -> Option<(String, String)> {
    Context::map_current(|context| {
        let span = context.span().span_context().clone();
        span.is_valid()
            .then(|| (span.trace_id().to_string(), span.span_id().to_string()))
    })
}

/// What stands behind the fields of a line: how many like it were left out before, and the ids.
struct Behind {
    left_out: u64,
    ids: Option<(String, String)>,
}

impl Behind {
    /// Nothing where the line is left out, too. Who asks for details gets them all.
    fn of(event: &Event<'_>, floods: &Floods) -> Option<Self> {
        let metadata = event.metadata();
        let left_out = match *metadata.level() > Level::INFO {
            true => 0,
            false => floods.admit(metadata.name(), Instant::now())?,
        };
        let ids = active_ids();
        Some(Self { left_out, ids })
    }

    const fn is_empty(&self) -> bool {
        self.left_out == 0 && self.ids.is_none()
    }
}

/// A line for people: time, level, part of the program, message and fields; then `left_out`, `trace_id`
/// and `span_id`. Spans are for traces: what a line is about is in its fields.
pub(super) struct Text(Floods);

impl Text {
    pub(super) fn new(floods: Floods) -> Self {
        Self(floods)
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
        let Some(behind) = Behind::of(event, &self.0) else {
            return Ok(());
        };
        SystemTime.format_time(&mut writer)?;
        let metadata = event.metadata();
        write!(
            writer,
            " {:>5} {}: ",
            metadata.level(),
            part(metadata.target())
        )?;
        context.format_fields(writer.by_ref(), event)?;
        if behind.left_out > 0 {
            write!(writer, " left_out={}", behind.left_out)?;
        }
        if let Some((trace_id, span_id)) = behind.ids {
            write!(writer, " trace_id={trace_id} span_id={span_id}")?;
        }
        writeln!(writer)
    }
}

/// The part of the program, or the library, that a target belongs to.
fn part(target: &str) -> &str {
    let own = target.strip_prefix(concat!(env!("CARGO_CRATE_NAME"), "::"));
    match own {
        Some(path) => path.split("::").next().unwrap_or(path),
        None => target,
    }
}

/// A JSON object: `timestamp`, `level`, `target`, `message`, the fields, `span`, `left_out`, `trace_id`,
/// `span_id`.
pub(super) struct Json(Format<format::Json>, Floods);

impl Json {
    pub(super) fn new(floods: Floods) -> Self {
        let format = format::format()
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false);
        Self(format, floods)
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
        let Some(behind) = Behind::of(event, &self.1) else {
            return Ok(());
        };
        if behind.is_empty() {
            return self.0.format_event(context, writer, event);
        }
        let mut line = String::new();
        self.0
            .format_event(context, Writer::new(&mut line), event)?;
        // The library closes the object and cannot be asked for more members.
        let line = line.trim_end();
        write!(writer, "{}", line.strip_suffix('}').unwrap_or(line))?;
        if behind.left_out > 0 {
            write!(writer, r#","left_out":{}"#, behind.left_out)?;
        }
        if let Some((trace_id, span_id)) = behind.ids {
            write!(writer, r#","trace_id":"{trace_id}","span_id":"{span_id}""#)?;
        }
        writeln!(writer, "}}")
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use crate::telemetry::logs::{LogSettings, stderr_layer};
    use crate::telemetry::secrets::Secrets;
    use crate::telemetry::testing::Lines;

    #[test]
    fn a_line_of_text_has_no_spans() {
        let lines = Lines::default();
        let settings = LogSettings::default();
        let (layer, _) = stderr_layer(&settings, &Secrets::new(), lines.clone());
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, || {
            let span = tracing::info_span!("run", otel.name = "discovery run", projects = 3);
            span.in_scope(|| {
                tracing::warn!(
                    target: "amazing_gitlab_exporter::scheduler::discover",
                    entries = 1,
                    error = "no response in time",
                    "discovery failed"
                );
            });
            tracing::error!(target: "hyper_util::client", "broken");
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let said: Vec<&str> = text
            .lines()
            .filter_map(|line| line.split_once("Z "))
            .map(|(_, rest)| rest)
            .collect();
        assert_eq!(
            said,
            [
                r#" WARN scheduler: discovery failed entries=1 error="no response in time""#,
                "ERROR hyper_util::client: broken",
            ]
        );
    }
}
