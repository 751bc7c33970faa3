//! One HTTP exchange: the limiter before it, the accounts after it.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use tokio::time::Instant;
use tracing::{Span, debug, trace};
use url::Url;

use super::{Active, Call, Client};
use crate::gitlab::accounting::Outcome;
use crate::gitlab::answer::{self, Body};
use crate::gitlab::error::Cause;
use crate::gitlab::limiter::{Demand, Lane, Load, Observation, Throttle, Turn, observation};

/// Waits for the limiter below this are the cost of asking it.
const MIN_REPORTED_WAIT: Duration = Duration::from_millis(1);

/// An answer as it came.
type Exchanged = (StatusCode, HeaderMap, Body);

impl Client {
    /// One HTTP exchange. It is under way until what its end says about the limits is known, too.
    pub(super) async fn exchange(
        &self,
        lane: Lane,
        call: &Call,
        url: Url,
        active: &Active,
    ) -> Result<Exchanged, Cause> {
        let turn = self.turn(call.demand(lane)).await?;
        let begun = Instant::now();
        let result = self.transfer(call, url).await;
        let took = begun.elapsed();
        active.add(took);
        self.account(call, &result, took);
        let server_time = server_time(&result, took);
        if let Some(time) = server_time {
            let seconds = time.as_secs_f64();
            Span::current().record("gitlab.server_time", seconds);
            self.accounting
                .server_time(call.method_name(), call.endpoint, seconds);
        }
        let seen = Observation {
            server_time: server_time.unwrap_or_default(),
            ..self.learn(call, &result)
        };
        self.limiter.observe(&turn, &seen).await;
        self.accounting.concurrency(self.limiter.pace().concurrency);
        drop(turn);
        result
    }

    /// Waits for the limiter.
    pub(crate) async fn turn(&self, demand: Demand) -> Result<Turn, Cause> {
        let turn = self.limiter.acquire(demand).await;
        let turn = turn.map_err(|exhausted| Cause::RateLimited {
            wait: Some(exhausted.wait),
        })?;
        if turn.waited >= MIN_REPORTED_WAIT {
            self.accounting.throttled(turn.waited);
        }
        Ok(turn)
    }

    /// The value of the header `Authorization`.
    pub(crate) fn authorization(&self) -> HeaderValue {
        let (token, is_new) = self.token.header();
        if is_new {
            self.refusal().take();
            self.token_changed();
        }
        token
    }

    async fn transfer(&self, call: &Call, url: Url) -> Result<Exchanged, Cause> {
        let mut request = self
            .http
            .request(call.method.clone(), url)
            .header(AUTHORIZATION, self.authorization());
        let graphql = call.graphql.as_ref().map(|query| &query.body);
        if let Some(body) = graphql.or(call.body.as_ref()) {
            request = request
                .body(body.clone())
                .header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let response = request.send().await.map_err(answer::transport)?;
        let status = response.status();
        let headers = response.headers().clone();
        let span = Span::current();
        span.record("http.response.status_code", status.as_u16());
        if let Some(id) = headers.get("x-request-id").and_then(|id| id.to_str().ok()) {
            span.record("gitlab.correlation_id", self.tidy(id));
        }
        let body = answer::body(response, &self.bodies).await?;
        Ok((status, headers, body))
    }

    /// Counts the request and its duration.
    fn account(&self, call: &Call, result: &Result<Exchanged, Cause>, took: Duration) {
        let outcome = match result {
            Ok((status, headers, body)) => match answer::failure(*status, headers, body) {
                Some(Cause::NotGitLab(status, _) | Cause::Html(status)) => {
                    Outcome::NotGitLab(status)
                }
                Some(Cause::Auth(_)) => Outcome::TokenRefused,
                _ => Outcome::Status(status.as_u16()),
            },
            Err(cause) => Outcome::Failed(cause.kind()),
        };
        trace!(call = call.name(), outcome = %outcome.label(), ?took, "called GitLab");
        self.accounting.request(
            call.method_name(),
            call.endpoint,
            outcome,
            took.as_secs_f64(),
        );
    }

    /// What the end of an exchange says about GitLab's limits and its time.
    fn learn(&self, call: &Call, result: &Result<Exchanged, Cause>) -> Observation {
        let (status, headers, body) = match result {
            Ok(exchanged) => exchanged,
            Err(cause) => {
                let load = match cause {
                    Cause::Timeout => Load::TooBusy,
                    _ => Load::Unknown,
                };
                return Observation {
                    load,
                    ..Observation::default()
                };
            }
        };
        self.time.note(*status, headers, body);
        let seen = observation(*status, headers, body, self.time.own());
        if let Some(limit) = seen.rate_limit {
            Span::current().record("gitlab.rate_limit.remaining", limit.remaining);
            self.accounting
                .rate_limit(limit.limit, limit.remaining, limit.reset);
        }
        if let Some(throttle) = seen.throttled {
            debug!(
                endpoint = call.endpoint,
                all = throttle == Throttle::All,
                "GitLab answered 429"
            );
        }
        seen
    }
}

/// How long GitLab worked for a request: `X-Runtime`, or as long as the request took where there is no
/// such header. Nothing where it cannot have reached GitLab.
fn server_time(result: &Result<Exchanged, Cause>, took: Duration) -> Option<Duration> {
    match result {
        Ok((_, headers, _)) => Some(answer::runtime(headers).unwrap_or(took)),
        Err(Cause::Connect(_) | Cause::Tls(_)) => None,
        Err(_) => Some(took),
    }
}
