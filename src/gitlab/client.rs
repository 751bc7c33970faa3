//! All HTTP to GitLab: auth, TLS, time-outs, redirects, retries, one span per call, accounting.

mod call;
mod exchange;
mod setup;
mod time;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use reqwest::header::{HeaderMap, LOCATION};
use reqwest::{Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;
use tracing::{Instrument, Span, debug};
use url::Url;

use super::accounting::Accounting;
use super::answer::{self, Body, LargeBodies};
use super::error::{Cause, GitLabError};
use super::grants::Grants;
use super::limiter::{Lane, Limiter, Pace};
use super::settings::{RetryPolicy, Settings, SetupError};
use super::token::{ReadyToken, Token};
use crate::clock::{Clock, UnixSeconds};
pub(crate) use call::{Answer, Call, Query, record_failure};
use call::{heavy_query, retryable};
pub(crate) use setup::websocket_http;
use time::ServerTime;

/// Where REST is below GitLab's address.
const API: &str = "/api/v4/";

/// The call that is answered wherever there is a GitLab.
const VERSION: &str = "GET /version";

/// Shorter values of headers are no secrets: `1`, `true`.
const SHORTEST_SECRET: usize = 6;

/// Redirects within the instance that one call follows.
const MAX_REDIRECTS: u32 = 3;

/// Sends calls to one GitLab instance.
pub(crate) struct Client {
    http: reqwest::Client,
    root: Url,
    token: Token,
    limiter: Arc<dyn Limiter>,
    bodies: LargeBodies,
    /// Values of the settings' headers, which an answer may echo.
    header_values: Vec<SecretString>,
    accounting: Arc<dyn Accounting>,
    retry: RetryPolicy,
    /// What refusals said of the token's grants.
    grants: Grants,
    /// What time it is for GitLab.
    time: ServerTime,
    /// When GitLab last gave what was asked for.
    succeeded_at: Mutex<Option<Instant>>,
    /// Why GitLab refuses the token now.
    refusal: Mutex<Option<String>>,
    /// Moves with each other token and each refusal of one.
    token_revision: AtomicU64,
}

impl Client {
    /// Builds the client; makes no call.
    pub(crate) fn new(
        settings: &Settings,
        limiter: Arc<dyn Limiter>,
        accounting: Arc<dyn Accounting>,
        clock: Clock,
    ) -> Result<Self, SetupError> {
        Ok(Self {
            http: setup::http(settings)?,
            root: setup::root(&settings.url)?,
            token: Token::open(&settings.token, Arc::clone(&accounting))
                .map_err(SetupError::Token)?,
            limiter,
            bodies: LargeBodies::default(),
            header_values: settings.headers.values().cloned().collect(),
            accounting,
            retry: settings.retry,
            grants: Grants::default(),
            time: ServerTime::new(clock),
            succeeded_at: Mutex::default(),
            refusal: Mutex::default(),
            token_revision: AtomicU64::new(0),
        })
    }

    /// The instance's root, with a final slash.
    pub(crate) const fn root(&self) -> &Url {
        &self.root
    }

    /// What refusals said of the token's grants.
    pub(super) const fn grants(&self) -> &Grants {
        &self.grants
    }

    /// GitLab's clock by the latest answer; where its answers have no header `Date`, by the newest time
    /// in them.
    pub(crate) fn server_time(&self) -> Option<UnixSeconds> {
        self.time.now()
    }

    /// How calls are paced now.
    pub(super) fn pace(&self) -> Pace {
        self.limiter.pace()
    }

    /// Where the accounts go.
    pub(crate) fn accounting(&self) -> &dyn Accounting {
        &*self.accounting
    }

    /// An error of this call, the token cut out of all its texts.
    pub(crate) fn error(&self, endpoint: impl Into<String>, cause: Cause) -> GitLabError {
        let endpoint = endpoint.into();
        let cause = cause.map_text(|text| answer::shorten(&self.scrub(&text)));
        let cause = self.wrong_path(&endpoint, cause);
        GitLabError { endpoint, cause }
    }

    /// What is not GitLab's answer below a path is most likely one to the address of a group or project.
    fn wrong_path(&self, endpoint: &str, cause: Cause) -> Cause {
        let status = match &cause {
            Cause::Html(status) | Cause::NotGitLab(status, _) => *status,
            Cause::NotFound(status, _) if endpoint == VERSION => *status,
            _ => return cause,
        };
        if self.root.path() == "/" {
            return cause;
        }
        let root = self.root.origin().ascii_serialization();
        Cause::WrongPath { status, root }
    }

    /// `text` fit for a message: no token, one line, bounded.
    pub(crate) fn tidy(&self, text: &str) -> String {
        answer::shorten(&self.scrub(text))
    }

    /// `text` without the token and the values of the settings' headers.
    fn scrub(&self, text: &str) -> String {
        let mut text = self.token.scrub(text);
        for value in &self.header_values {
            let value = value.expose_secret();
            if value.len() >= SHORTEST_SECRET && text.contains(value) {
                text = text.replace(value, "[REDACTED]");
            }
        }
        text
    }

    /// Sends a call, again where that helps, and returns the successful answer.
    pub(crate) async fn send(&self, lane: Lane, call: &Call) -> Result<Answer, GitLabError> {
        let span = call.span(&self.root);
        let result = self.with_retries(lane, call).instrument(span.clone()).await;
        match result {
            Ok((headers, body)) => Ok(Answer {
                headers,
                body,
                span,
            }),
            Err(cause) => {
                record_failure(&span, &cause);
                self.grants.failed(&cause);
                Err(self.error(call.name(), cause))
            }
        }
    }

    async fn with_retries(&self, lane: Lane, call: &Call) -> Result<(HeaderMap, Body), Cause> {
        let resends = AtomicU32::new(0);
        let active = Active::default();
        let policy = ExponentialBuilder::default()
            .with_jitter()
            .with_min_delay(self.retry.min_delay)
            .with_max_delay(self.retry.max_delay)
            .with_max_times(self.retry.max_retries);
        let result = (|| self.attempt(lane, call, &active))
            .retry(policy)
            .when(|cause| retryable(call, cause) && active.get() < self.retry.total)
            // The limiter knows how long to wait after a 429, and makes every call wait.
            .adjust(|cause, pause| match cause {
                Cause::RateLimited { .. } => pause.map(|_| Duration::ZERO),
                _ => pause,
            })
            .notify(|cause, pause| {
                resends.fetch_add(1, Ordering::Relaxed);
                active.add(pause);
                self.accounting.retry(call.endpoint);
                debug!(
                    endpoint = call.endpoint,
                    reason = cause.kind(),
                    pause_seconds = pause.as_secs_f64(),
                    "trying again"
                );
            })
            .await;
        let resends = resends.into_inner();
        if resends > 0 {
            Span::current().record("http.request.resend_count", resends);
        }
        result
    }

    /// One try: the exchange, redirects within the instance, and a new token from the file.
    async fn attempt(
        &self,
        lane: Lane,
        call: &Call,
        active: &Active,
    ) -> Result<(HeaderMap, Body), Cause> {
        let mut url = call.url.clone();
        let mut redirects = 0;
        let mut new_token = false;
        loop {
            let (status, headers, body) = self.exchange(lane, call, url.clone(), active).await?;
            if status.is_redirection() {
                redirects += 1;
                url = self.follow(call, &url, &headers, redirects)?;
                continue;
            }
            if status == StatusCode::UNAUTHORIZED && !new_token {
                new_token = true;
                if self.token.reload().map_err(Cause::Token)? {
                    self.token_changed();
                    continue;
                }
            }
            return match answer::failure(status, &headers, &body) {
                None => {
                    *self.last_success() = Some(Instant::now());
                    self.token_accepted();
                    Ok((headers, body))
                }
                Some(cause) => {
                    if let Cause::Auth(why) = &cause {
                        self.token_refused(why);
                    }
                    Err(heavy_query(call, cause))
                }
            };
        }
    }

    /// A number that moves with each other token and each refusal of one: what was asked of the token
    /// is to be asked again.
    pub(crate) fn token_revision(&self) -> u64 {
        self.token_revision.load(Ordering::Relaxed)
    }

    /// Why GitLab refuses the token now.
    pub(crate) fn token_refusal(&self) -> Option<String> {
        self.refusal().clone()
    }

    fn refusal(&self) -> MutexGuard<'_, Option<String>> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes on with another token.
    pub(crate) fn set_token(&self, token: ReadyToken) {
        if self.token.replace(token) {
            self.refusal().take();
            self.token_changed();
        }
    }

    fn token_changed(&self) {
        self.token_revision.fetch_add(1, Ordering::Relaxed);
    }

    fn token_accepted(&self) {
        if self.refusal().take().is_some() {
            tracing::info!("token accepted again");
            self.token_changed();
        }
    }

    /// Reported once, whatever the number of calls that are refused. Of the reasons the longest is kept:
    /// GraphQL says less than REST.
    fn token_refused(&self, why: &str) {
        let why = self.tidy(why);
        let mut refusal = self.refusal();
        match &mut *refusal {
            Some(known) if known.len() >= why.len() => {}
            Some(known) => *known = why,
            None => {
                tracing::error!(reason = why, "GitLab refused the token");
                *refusal = Some(why);
                drop(refusal);
                self.token_changed();
            }
        }
    }

    /// Whether GitLab gave what was asked for so short a time ago.
    pub(crate) fn succeeded_within(&self, time: Duration) -> bool {
        self.last_success().is_some_and(|at| at.elapsed() < time)
    }

    fn last_success(&self) -> MutexGuard<'_, Option<Instant>> {
        self.succeeded_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a redirect leads, if the token may go there.
    fn follow(
        &self,
        call: &Call,
        from: &Url,
        headers: &HeaderMap,
        redirects: u32,
    ) -> Result<Url, Cause> {
        let stay = |why: &str| Cause::Redirected { to: why.to_owned() };
        let to = headers
            .get(LOCATION)
            .and_then(|location| location.to_str().ok())
            .and_then(|location| from.join(location).ok())
            .ok_or_else(|| stay("nowhere"))?;
        let is_here = to.origin() == self.root.origin();
        let to_here = match is_here {
            true => Some(to.clone()),
            // Where GitLab is asked at an internal address, it still names its external one.
            false => self.same_below_api(&to).filter(|here| here != from),
        };
        let Some(to) = to_here.filter(|_| call.method == Method::GET) else {
            return Err(stay(&to.origin().ascii_serialization()));
        };
        if redirects > MAX_REDIRECTS {
            return Err(stay("one address after another"));
        }
        Ok(to)
    }

    /// The same path and query of the API at the address that is asked: the token goes nowhere else.
    fn same_below_api(&self, to: &Url) -> Option<Url> {
        let (_, path) = to.path().split_once(API)?;
        let mut here = self.root.clone();
        let api = format!("{}{}", here.path().trim_end_matches('/'), API);
        here.set_path(&format!("{api}{path}"));
        here.set_query(to.query());
        here.path().starts_with(&api).then_some(here)
    }
}

/// Time spent on tries and pauses of one call, without waiting for the limiter.
#[derive(Default)]
struct Active(AtomicU32);

impl Active {
    fn add(&self, time: Duration) {
        let millis = u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        let _ = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |sum| {
                Some(sum.saturating_add(millis))
            });
    }

    fn get(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed).into())
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tls_tests;
