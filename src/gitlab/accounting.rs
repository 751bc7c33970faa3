//! What the client reports about its calls, for the metrics `age_api_*`.

use std::borrow::Cow;
use std::time::Duration;

use crate::clock::UnixSeconds;

/// How one HTTP exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// GitLab answered with this status.
    Status(u16),
    /// GitLab answered that the token is not valid (401).
    TokenRefused,
    /// Something between here and GitLab answered with this status.
    NotGitLab(u16),
    /// There was no answer; the kind of failure is one of `GitLabError::kind`'s values.
    Failed(&'static str),
}

impl Outcome {
    /// The value of the label `status_code`: the status, or the kind of failure.
    #[must_use]
    pub fn label(self) -> Cow<'static, str> {
        match self {
            Self::Status(status) | Self::NotGitLab(status) => Cow::Owned(status.to_string()),
            Self::TokenRefused => Cow::Borrowed("401"),
            Self::Failed(kind) => Cow::Borrowed(kind),
        }
    }
}

/// Receives the accounts of every call. Methods are called on the calling task and must be quick.
///
/// `endpoint` is always a template such as `/projects/:id/pipelines`, so it is bounded.
pub trait Accounting: Send + Sync {
    /// One HTTP exchange, retries and redirects counted one by one; `seconds` without waiting for the
    /// limiter. Reported within the call's span.
    fn request(&self, method: &'static str, endpoint: &'static str, outcome: Outcome, seconds: f64);

    /// An answer of this endpoint was what GitLab's API describes. Only now it is known to be of use.
    fn understood(&self, _endpoint: &'static str) {}

    /// An answer of this endpoint had a good status, and made no sense.
    fn garbled(&self, _endpoint: &'static str) {}

    /// GitLab worked this long for one exchange: its header `X-Runtime`, or the exchange's duration where
    /// that is missing.
    fn server_time(&self, method: &'static str, endpoint: &'static str, seconds: f64);

    /// A call is about to be tried again.
    fn retry(&self, endpoint: &'static str);

    /// A call waited this long for its turn.
    fn throttled(&self, waited: Duration);

    /// GitLab's `RateLimit-Limit` (0 where it is missing), `RateLimit-Remaining` and `RateLimit-Reset`.
    fn rate_limit(&self, limit: u64, remaining: u64, reset: UnixSeconds);

    /// The complexity GitLab found for a GraphQL query, and the most it allows.
    fn complexity(&self, query: &'static str, score: u32, limit: u32);

    /// How many places under way the limiter allows now.
    fn concurrency(&self, places: u32);

    /// This token is used from now on: it may be shown nowhere.
    fn token_loaded(&self, _token: &str) {}
}

/// Keeps no account.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoAccounting;

impl Accounting for NoAccounting {
    fn request(&self, _: &'static str, _: &'static str, _: Outcome, _: f64) {}
    fn server_time(&self, _: &'static str, _: &'static str, _: f64) {}
    fn retry(&self, _: &'static str) {}
    fn throttled(&self, _: Duration) {}
    fn rate_limit(&self, _: u64, _: u64, _: UnixSeconds) {}
    fn complexity(&self, _: &'static str, _: u32, _: u32) {}
    fn concurrency(&self, _: u32) {}
}
