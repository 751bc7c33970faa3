//! One call: what is asked of GitLab, how it is named, and when it is worth another try.

use reqwest::Method;
use reqwest::header::HeaderMap;
use tracing::Span;
use url::Url;

use crate::gitlab::answer::Body;
use crate::gitlab::error::{Cause, GRAPHQL};
use crate::gitlab::limiter::{Demand, Lane, Weight};

/// Endpoints whose lists cost GitLab as much as a GraphQL query: 40 to 840 database queries.
const HEAVY_LISTS: [&str; 5] = [
    "/groups/:id/projects",
    "/projects",
    "/projects/:id/deployments/:deployment_id/merge_requests",
    "/projects/:id/pipelines/:pipeline_id/jobs",
    "/users/:id/projects",
];

/// One call, before it is sent.
pub(crate) struct Call {
    /// `GET` for REST, `POST` for GraphQL; others only in the command `webhooks`.
    pub(crate) method: Method,
    /// Endpoint template: the only name that spans, labels and errors see.
    pub(crate) endpoint: &'static str,
    /// The URL.
    pub(crate) url: Url,
    /// GraphQL's document and variables.
    pub(crate) graphql: Option<Query>,
    /// What a REST call carries, as JSON.
    pub(crate) body: Option<Vec<u8>>,
    /// Whether it waits while GitLab refuses its endpoint for a time; what can be asked for otherwise does not.
    pub(crate) waits: bool,
}

/// What a GraphQL call carries.
pub(crate) struct Query {
    /// Name of the operation.
    pub(crate) operation: &'static str,
    /// The JSON body.
    pub(crate) body: Vec<u8>,
    /// How many projects it is about.
    pub(crate) projects: usize,
    /// Which fields it asks for: [`Demand::variant`].
    pub(crate) variant: u64,
}

/// A successful answer.
pub(crate) struct Answer {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
    /// The call's span, still open.
    pub(crate) span: Span,
}

impl Call {
    /// The method's name.
    pub(super) fn method_name(&self) -> &'static str {
        match self.method {
            Method::POST => "POST",
            Method::PUT => "PUT",
            Method::DELETE => "DELETE",
            _ => "GET",
        }
    }

    /// Whether it changes something in GitLab: then it is sent once, whatever happens.
    fn writes(&self) -> bool {
        self.graphql.is_none() && self.method != Method::GET
    }

    /// What it asks of GitLab, in a lane.
    pub(super) fn demand(&self, lane: Lane) -> Demand {
        let (operation, projects, variant) = match &self.graphql {
            Some(query) => (query.operation, query.projects.max(1), query.variant),
            None => (self.endpoint, 1, 0),
        };
        let is_heavy = self.graphql.is_some() || HEAVY_LISTS.contains(&self.endpoint);
        Demand {
            lane,
            endpoint: self.endpoint,
            operation,
            variant,
            projects,
            weight: if is_heavy {
                Weight::Heavy
            } else {
                Weight::Light
            },
            waits: self.waits,
        }
    }

    /// How errors name the call.
    pub(crate) fn name(&self) -> String {
        match &self.graphql {
            Some(query) => format!("{GRAPHQL} {}", query.operation),
            None => format!("{} {}", self.method_name(), self.endpoint),
        }
    }

    /// The span of the call, with fields that are filled in later.
    pub(super) fn span(&self, root: &Url) -> Span {
        let name = format!("{} {}", self.method_name(), self.endpoint);
        // No url.full, which HTTP client spans usually have: it holds ids and query strings.
        let span = tracing::info_span!(
            "gitlab.call",
            otel.name = name,
            otel.kind = "client",
            otel.status_code = tracing::field::Empty,
            http.request.method = self.method_name(),
            http.request.resend_count = tracing::field::Empty,
            http.response.status_code = tracing::field::Empty,
            url.template = self.endpoint,
            server.address = root.host_str().unwrap_or_default(),
            server.port = root.port_or_known_default(),
            error.r#type = tracing::field::Empty,
            gitlab.correlation_id = tracing::field::Empty,
            gitlab.server_time = tracing::field::Empty,
            gitlab.rate_limit.remaining = tracing::field::Empty,
            gitlab.graphql.complexity = tracing::field::Empty,
            graphql.operation.name = tracing::field::Empty,
            graphql.operation.r#type = tracing::field::Empty,
        );
        if let Some(query) = &self.graphql {
            span.record("graphql.operation.name", query.operation);
            span.record("graphql.operation.type", "query");
        }
        span
    }
}

/// Marks the current or given span as failed.
pub(crate) fn record_failure(span: &Span, cause: &Cause) {
    span.record("otel.status_code", "ERROR");
    span.record("error.type", cause.kind());
}

/// How GitLab answers a GraphQL query that raised an exception.
const EXCEPTION: &str = "Internal server error";

/// Whether trying the same again makes sense. A GraphQL query that took too long will do so again, as will
/// one that raises an exception, and one over several projects that a server fails at may fail for one of
/// them: its caller asks for less instead. A call that the limiter turned away does not insist.
pub(super) fn retryable(call: &Call, cause: &Cause) -> bool {
    let is_batch = |query: &Query| query.projects > 1;
    if call.writes() && !matches!(cause, Cause::RateLimited { .. }) {
        return false;
    }
    match cause {
        Cause::Timeout => call.graphql.is_none(),
        Cause::Server(500, why) if call.graphql.is_some() && why == EXCEPTION => false,
        Cause::Server(..) if call.graphql.as_ref().is_some_and(is_batch) => false,
        Cause::RateLimited { wait } => wait.is_none() && call.waits,
        cause => cause.is_retryable(),
    }
}

/// GitLab's 503 for a query whose database statement timed out.
pub(super) fn heavy_query(call: &Call, cause: Cause) -> Cause {
    match cause {
        Cause::Server(503, detail) if call.graphql.is_some() && detail.contains("timed out") => {
            Cause::GraphQlTimeout(detail)
        }
        cause => cause,
    }
}
