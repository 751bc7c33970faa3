//! Where an event was received, as a span: the run that follows is its child.

use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState,
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// The span in which an event was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    trace: TraceId,
    span: SpanId,
    flags: TraceFlags,
}

impl Origin {
    /// The current span; none where spans are not recorded.
    #[must_use]
    pub fn current() -> Option<Self> {
        let context = Span::current().context();
        let context = context.span().span_context().clone();
        context.is_valid().then_some(Self {
            trace: context.trace_id(),
            span: context.span_id(),
            flags: context.trace_flags(),
        })
    }

    fn context(self) -> SpanContext {
        SpanContext::new(self.trace, self.span, self.flags, false, TraceState::NONE)
    }

    /// Makes `span`, which has not begun, the child of the first of `origins`, and links it to the others.
    pub fn adopt(span: &Span, origins: &[Self]) {
        let Some((first, others)) = origins.split_first() else {
            return;
        };
        let parent = opentelemetry::Context::new().with_remote_span_context(first.context());
        // Where spans are not recorded there is nothing to be a child.
        let _ = span.set_parent(parent);
        for other in others {
            span.add_link(other.context());
        }
    }
}
