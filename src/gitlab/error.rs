//! What can go wrong between the exporter and GitLab.

use std::time::Duration;

use super::pager::Excess;

/// How GitLab refuses whatever is asked of a project that it does not show.
const PROJECT_NOT_FOUND: &str = "404 Project Not Found";

/// A call to GitLab that failed.
///
/// Its text names the endpoint (a template, without ids) and what to check; texts that came from the
/// server are shortened, and the token is cut out of them.
#[derive(Debug, thiserror::Error)]
#[error("{endpoint}: {cause}")]
pub struct GitLabError {
    /// Method and endpoint template, or `GraphQL` and the operation's name.
    pub endpoint: String,
    /// What happened.
    pub cause: Cause,
}

/// What happened to a call.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// 401: no valid token.
    #[error("GitLab refused the token (401{})", detail(.0))]
    Auth(String),
    /// 403: the token's scope or role is too low, or its user is blocked.
    #[error("access denied by GitLab (403{})", detail(.0))]
    Forbidden(String),
    /// 404 or 410: it does not exist, or the token may not see it.
    #[error("not found, or not visible to the token ({0}{detail})", detail = detail(.1))]
    NotFound(u16, String),
    /// 429, or the budget is used up for longer than a call waits.
    #[error("rate limit reached{}", wait.map_or_else(String::new, |wait| format!(", next request in {} s", wait.as_secs())))]
    RateLimited {
        /// How long until the next call is allowed, where known.
        wait: Option<Duration>,
    },
    /// Another 4xx.
    #[error("GitLab rejected the request ({0}{detail})", detail = detail(.1))]
    Refused(u16, String),
    /// 5xx, or a proxy's error in front of GitLab.
    #[error("GitLab failed ({0}{detail})", detail = detail(.1))]
    Server(u16, String),
    /// No answer in time.
    #[error("no response in time")]
    Timeout,
    /// No connection.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// The TLS handshake failed.
    #[error("TLS failed: {0}")]
    Tls(String),
    /// The connection broke before the answer was complete.
    #[error("connection failed: {0}")]
    Interrupted(String),
    /// 401, 403, 404 or 410 in a form that GitLab does not use: something else refused.
    #[error(
        "the response is not from GitLab ({0}{detail}): a proxy, load balancer or firewall answered; \
         check gitlab.url and the network path to GitLab",
        detail = detail(.1)
    )]
    NotGitLab(u16, String),
    /// The same below a path that is not GitLab's own address.
    #[error(
        "there is no GitLab at the path of gitlab.url ({status}); set gitlab.url to {root}, without \
         the path of a group or project"
    )]
    WrongPath {
        /// The HTTP status.
        status: u16,
        /// The address without the path.
        root: String,
    },
    /// A web page came instead of JSON.
    #[error(
        "the response is a web page instead of JSON (status {0}), from a login page or a proxy; check \
         gitlab.url and the token"
    )]
    Html(u16),
    /// The answer is not what the API describes.
    #[error("invalid response: {0}")]
    Decode(String),
    /// The answer is larger than the client reads.
    #[error("the response is larger than {} MiB", limit >> 20)]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// A list has more than is read of one.
    #[error("the list is too long: {0}")]
    TooMuch(Excess),
    /// GitLab redirects the call.
    #[error(
        "GitLab redirects to {to}, but the token is only sent to gitlab.url; set gitlab.url to the \
         new address if it is correct"
    )]
    Redirected {
        /// Origin of the redirect, or why it could not be followed.
        to: String,
    },
    /// GraphQL refused or lost the whole answer.
    #[error("GraphQL error: {0}")]
    GraphQl(String),
    /// The query asks for more than GitLab allows at once.
    #[error("GraphQL query too complex: {0}")]
    GraphQlComplexity(String),
    /// The query took too long on the server.
    #[error("GraphQL query too slow: {0}")]
    GraphQlTimeout(String),
    /// The server's schema lacks something the query asks for.
    #[error("the query is not supported by GraphQL of this GitLab: {0}")]
    GraphQlSchema(String),
    /// The query is not sent, for this GitLab or this token is known to lack what it is for.
    #[error("GraphQL query skipped: {0}")]
    GraphQlLacks(String),
    /// The token file cannot be read.
    #[error("{0}")]
    Token(String),
}

fn detail(text: &str) -> String {
    if text.is_empty() {
        String::new()
    } else {
        format!(": {text}")
    }
}

impl Cause {
    /// Every value of [`Self::kind`].
    pub const KINDS: [&'static str; 20] = [
        "auth",
        "forbidden",
        "not_found",
        "rate_limited",
        "refused",
        "server",
        "timeout",
        "connect",
        "tls",
        "interrupted",
        "not_gitlab",
        "html",
        "decode",
        "too_large",
        "redirected",
        "graphql",
        "graphql_complexity",
        "graphql_timeout",
        "graphql_schema",
        "token",
    ];

    /// A short, bounded name for labels and log fields.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Auth(_) => "auth",
            Self::Forbidden(_) => "forbidden",
            Self::NotFound(..) => "not_found",
            Self::RateLimited { .. } => "rate_limited",
            Self::Refused(..) => "refused",
            Self::Server(..) => "server",
            Self::Timeout => "timeout",
            Self::Connect(_) => "connect",
            Self::Tls(_) => "tls",
            Self::Interrupted(_) => "interrupted",
            Self::NotGitLab(..) | Self::WrongPath { .. } => "not_gitlab",
            Self::Html(_) => "html",
            Self::Decode(_) => "decode",
            Self::TooLarge { .. } | Self::TooMuch(_) => "too_large",
            Self::Redirected { .. } => "redirected",
            Self::GraphQl(_) => "graphql",
            Self::GraphQlComplexity(_) => "graphql_complexity",
            Self::GraphQlTimeout(_) => "graphql_timeout",
            Self::GraphQlSchema(_) | Self::GraphQlLacks(_) => "graphql_schema",
            Self::Token(_) => "token",
        }
    }
}

impl Cause {
    /// Whether the same call may succeed in a moment.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::RateLimited { .. }
                | Self::Server(..)
                | Self::Timeout
                | Self::Connect(_)
                | Self::Interrupted(_)
        )
    }

    /// The same with every text changed by `edit`.
    pub(crate) fn map_text(self, edit: impl Fn(String) -> String) -> Self {
        match self {
            Self::Auth(text) => Self::Auth(edit(text)),
            Self::Forbidden(text) => Self::Forbidden(edit(text)),
            Self::NotFound(status, text) => Self::NotFound(status, edit(text)),
            Self::Refused(status, text) => Self::Refused(status, edit(text)),
            Self::Server(status, text) => Self::Server(status, edit(text)),
            Self::NotGitLab(status, text) => Self::NotGitLab(status, edit(text)),
            Self::Connect(text) => Self::Connect(edit(text)),
            Self::Tls(text) => Self::Tls(edit(text)),
            Self::Interrupted(text) => Self::Interrupted(edit(text)),
            Self::Decode(text) => Self::Decode(edit(text)),
            Self::Redirected { to } => Self::Redirected { to: edit(to) },
            Self::GraphQl(text) => Self::GraphQl(edit(text)),
            Self::GraphQlComplexity(text) => Self::GraphQlComplexity(edit(text)),
            Self::GraphQlTimeout(text) => Self::GraphQlTimeout(edit(text)),
            Self::GraphQlSchema(text) => Self::GraphQlSchema(edit(text)),
            Self::GraphQlLacks(text) => Self::GraphQlLacks(edit(text)),
            Self::Token(text) => Self::Token(edit(text)),
            Self::RateLimited { .. }
            | Self::Timeout
            | Self::Html(_)
            | Self::WrongPath { .. }
            | Self::TooLarge { .. }
            | Self::TooMuch(_) => self,
        }
    }
}

impl GitLabError {
    /// A short, bounded name of what happened, for labels and log fields.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        self.cause.kind()
    }

    /// The HTTP status, where GitLab's answer was the failure.
    #[must_use]
    pub const fn status(&self) -> Option<u16> {
        match &self.cause {
            Cause::Auth(_) => Some(401),
            Cause::Forbidden(_) => Some(403),
            Cause::RateLimited { .. } => Some(429),
            Cause::NotFound(status, _)
            | Cause::Refused(status, _)
            | Cause::Server(status, _)
            | Cause::Html(status)
            | Cause::WrongPath { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether the thing asked for does not exist, or not for this token.
    #[must_use]
    pub const fn is_not_found(&self) -> bool {
        matches!(self.cause, Cause::NotFound(..))
    }

    /// Whether a thing of a project does not exist, while the project itself is there for the token: one
    /// that is hidden answers 404 for all that is in it.
    #[must_use]
    pub fn is_object_not_found(&self) -> bool {
        matches!(&self.cause, Cause::NotFound(_, detail) if !detail.contains(PROJECT_NOT_FOUND))
    }

    /// Whether GitLab refuses the token as such. The client reports that once for all calls.
    #[must_use]
    pub const fn is_token_refused(&self) -> bool {
        matches!(self.cause, Cause::Auth(_))
    }

    /// Whether the token may not do this here.
    #[must_use]
    pub const fn is_forbidden(&self) -> bool {
        matches!(self.cause, Cause::Forbidden(_))
    }

    /// Whether a limit of GitLab's, or ours, is reached.
    #[must_use]
    pub const fn is_rate_limited(&self) -> bool {
        matches!(self.cause, Cause::RateLimited { .. })
    }

    /// Whether GitLab understood what was asked, and cannot do it.
    #[must_use]
    pub const fn is_unprocessable(&self) -> bool {
        matches!(self.cause, Cause::Refused(422, _))
    }

    /// Whether one item of a batch may have spoilt the answer for the others, so that asking for
    /// fewer at once is worth the calls. What every call would meet alike is no item's fault.
    #[must_use]
    pub const fn may_be_one_items_fault(&self) -> bool {
        self.batch_too_heavy()
            || matches!(
                self.cause,
                Cause::Server(..) | Cause::Decode(_) | Cause::GraphQl(_) | Cause::Interrupted(_)
            )
    }

    /// Whether GraphQL will not answer this while REST may: it is off, refused, too old or failing.
    ///
    /// False for what would hit REST alike (no connection, rate limit) and for a batch that is
    /// only too heavy, except a failing server: ask [`Self::batch_too_heavy`] first. Nor for a list that
    /// never ends: it is the project's.
    #[must_use]
    pub fn graphql_unavailable(&self) -> bool {
        self.endpoint.starts_with(GRAPHQL)
            && !matches!(
                self.cause,
                Cause::Auth(_)
                    | Cause::RateLimited { .. }
                    | Cause::Timeout
                    | Cause::Connect(_)
                    | Cause::Tls(_)
                    | Cause::Interrupted(_)
                    | Cause::GraphQlComplexity(_)
                    | Cause::GraphQlTimeout(_)
                    | Cause::TooMuch(_)
                    | Cause::Token(_)
            )
    }

    /// Whether a smaller batch may succeed: too complex, too slow, too large, or a 503.
    #[must_use]
    pub const fn batch_too_heavy(&self) -> bool {
        matches!(
            self.cause,
            Cause::GraphQlComplexity(_)
                | Cause::GraphQlTimeout(_)
                | Cause::Timeout
                | Cause::TooLarge { .. }
                | Cause::Server(502..=504 | 524, _)
        )
    }
}

/// How the endpoint of a GraphQL call begins.
pub(crate) const GRAPHQL: &str = "GraphQL";
