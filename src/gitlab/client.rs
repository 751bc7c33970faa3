//! All HTTP to GitLab: auth, TLS, time-outs, redirects, retries, one span per call, accounting.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, DATE, HeaderMap, HeaderValue, LOCATION,
};
use reqwest::{Method, StatusCode, redirect};
use tokio::time::Instant;
use tracing::{Instrument, Span, debug, trace, warn};
use url::Url;

use super::accounting::{Accounting, Outcome};
use super::answer;
use super::error::{Cause, GRAPHQL, GitLabError};
use super::grants::Grants;
use super::limiter::{Kind, Lane, Limiter, Throttle, observation};
use super::settings::{RetryPolicy, Settings, SetupError};
use super::token::Token;
use crate::clock::{Clock, UnixSeconds};
use crate::tls::{self, Certificates};

/// Where REST is below GitLab's address.
const API: &str = "/api/v4/";

/// Redirects within the instance that one call follows.
const MAX_REDIRECTS: u32 = 3;

/// A difference between GitLab's clock and ours that is no drift.
const FAR: Duration = Duration::from_secs(3600);

/// Waits for the limiter below this are the cost of asking it.
const MIN_REPORTED_WAIT: Duration = Duration::from_millis(1);

/// Sends calls to one GitLab instance.
pub(crate) struct Client {
    http: reqwest::Client,
    root: Url,
    token: Token,
    limiter: Arc<dyn Limiter>,
    accounting: Arc<dyn Accounting>,
    clock: Clock,
    retry: RetryPolicy,
    /// What refusals said of the token's grants.
    grants: Grants,
    /// GitLab's time in the latest answer, in Unix seconds; 0 before the first.
    server_time: AtomicI64,
    /// The newest time that answers without a header had, and when it came: GitLab's time is no earlier.
    newest_time: Mutex<Option<(UnixSeconds, Instant)>>,
    /// Whether GitLab's time was far from ours at the latest answer.
    is_time_off: AtomicBool,
    /// When GitLab last gave what was asked for.
    succeeded_at: Mutex<Option<Instant>>,
    /// Why GitLab refuses the token now.
    refusal: Mutex<Option<String>>,
    /// Moves with each other token and each refusal of one.
    token_revision: AtomicU64,
}

/// One call, before it is sent.
pub(crate) struct Call {
    /// `GET` for REST, `POST` for GraphQL.
    pub(crate) method: Method,
    /// Endpoint template: the only name that spans, labels and errors see.
    pub(crate) endpoint: &'static str,
    /// The URL.
    pub(crate) url: Url,
    /// GraphQL's document and variables.
    pub(crate) graphql: Option<Query>,
}

/// What a GraphQL call carries.
pub(crate) struct Query {
    /// Name of the operation.
    pub(crate) operation: &'static str,
    /// The JSON body.
    pub(crate) body: Vec<u8>,
    /// How many projects it is about.
    pub(crate) projects: usize,
}

/// A successful answer.
pub(crate) struct Answer {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    /// The call's span, still open.
    pub(crate) span: Span,
}

impl Call {
    fn method_name(&self) -> &'static str {
        if self.graphql.is_some() {
            "POST"
        } else {
            "GET"
        }
    }

    const fn kind(&self) -> Kind {
        match self.graphql {
            Some(_) => Kind::GraphQl,
            None => Kind::Rest,
        }
    }

    /// How errors name the call.
    pub(crate) fn name(&self) -> String {
        match &self.graphql {
            Some(query) => format!("{GRAPHQL} {}", query.operation),
            None => format!("{} {}", self.method_name(), self.endpoint),
        }
    }

    fn span(&self, root: &Url) -> Span {
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

impl Client {
    /// Builds the client; makes no call.
    pub(crate) fn new(
        settings: &Settings,
        limiter: Arc<dyn Limiter>,
        accounting: Arc<dyn Accounting>,
        clock: Clock,
    ) -> Result<Self, SetupError> {
        Ok(Self {
            http: http(settings)?,
            root: root(&settings.url)?,
            token: Token::open(&settings.token).map_err(SetupError::Token)?,
            limiter,
            accounting,
            clock,
            retry: settings.retry,
            grants: Grants::default(),
            server_time: AtomicI64::new(0),
            newest_time: Mutex::default(),
            is_time_off: AtomicBool::new(false),
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

    /// Where the accounts go.
    pub(crate) fn accounting(&self) -> &dyn Accounting {
        &*self.accounting
    }

    /// An error of this call, the token cut out of all its texts.
    pub(crate) fn error(&self, endpoint: impl Into<String>, cause: Cause) -> GitLabError {
        GitLabError {
            endpoint: endpoint.into(),
            cause: cause.map_text(|text| answer::shorten(&self.token.scrub(&text))),
        }
    }

    /// `text` fit for a message: no token, one line, bounded.
    pub(crate) fn tidy(&self, text: &str) -> String {
        answer::shorten(&self.token.scrub(text))
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

    async fn with_retries(&self, lane: Lane, call: &Call) -> Result<(HeaderMap, Vec<u8>), Cause> {
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
    ) -> Result<(HeaderMap, Vec<u8>), Cause> {
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

    /// One HTTP exchange: the limiter before it, the accounts after it. It is under way until what its
    /// answer says about the limits is known, too.
    async fn exchange(
        &self,
        lane: Lane,
        call: &Call,
        url: Url,
        active: &Active,
    ) -> Result<(StatusCode, HeaderMap, Vec<u8>), Cause> {
        let turn = self
            .limiter
            .acquire(lane, call.kind(), call.endpoint)
            .await
            .map_err(|exhausted| Cause::RateLimited {
                wait: Some(exhausted.wait),
            })?;
        if turn.waited >= MIN_REPORTED_WAIT {
            self.accounting.throttled(turn.waited.as_secs_f64());
        }
        let begun = Instant::now();
        let result = self.transfer(call, url).await;
        let took = begun.elapsed();
        active.add(took);
        let outcome = match &result {
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
        let (status, headers, body) = result?;
        self.observe(call, status, &headers, &body).await;
        drop(turn);
        Ok((status, headers, body))
    }

    async fn transfer(
        &self,
        call: &Call,
        url: Url,
    ) -> Result<(StatusCode, HeaderMap, Vec<u8>), Cause> {
        let (token, is_new) = self.token.header();
        if is_new {
            self.refusal().take();
            self.token_changed();
        }
        let mut request = self
            .http
            .request(call.method.clone(), url)
            .header(AUTHORIZATION, token);
        if let Some(query) = &call.graphql {
            request = request
                .body(query.body.clone())
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
        let body = answer::body(response).await?;
        Ok((status, headers, body))
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

    fn token_changed(&self) {
        self.token_revision.fetch_add(1, Ordering::Relaxed);
    }

    fn token_accepted(&self) {
        if self.refusal().take().is_some() {
            tracing::info!("GitLab accepts the token again");
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
                tracing::error!("GitLab refused the token: {why}");
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

    /// GitLab's clock by the latest answer; where its answers have no header `Date`, by the newest time
    /// in them.
    pub(crate) fn server_time(&self) -> Option<UnixSeconds> {
        Some(self.server_time.load(Ordering::Relaxed))
            .filter(|seconds| *seconds > 0)
            .map(UnixSeconds)
            .or_else(|| self.newest_time())
    }

    fn newest_time(&self) -> Option<UnixSeconds> {
        let newest = self.newest_times();
        newest.map(|(time, at)| time.plus(at.elapsed()))
    }

    fn newest_times(&self) -> MutexGuard<'_, Option<(UnixSeconds, Instant)>> {
        self.newest_time
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in the time that an answer shows.
    fn note_time(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) {
        let Some(time) = answer::http_date(headers, &DATE) else {
            if status.is_success()
                && let Some(found) = answer::newest_time(body)
                && self.newest_time().is_none_or(|known| found > known)
            {
                *self.newest_times() = Some((found, Instant::now()));
            }
            return;
        };
        self.server_time.store(time.0, Ordering::Relaxed);
        let now = self.clock.now();
        let difference = time.since(now).max(now.since(time));
        let is_off = difference >= FAR;
        if is_off != self.is_time_off.swap(is_off, Ordering::Relaxed) && is_off {
            warn!(
                seconds = time.0 - now.0,
                "GitLab's clock, by the header Date of its answers, is more than an hour from this \
                 machine's: if the header is wrong (a proxy sets it), events around the start of the \
                 exporter are counted too early or not at all"
            );
        }
    }

    async fn observe(&self, call: &Call, status: StatusCode, headers: &HeaderMap, body: &[u8]) {
        self.note_time(status, headers, body);
        let seen = observation(status, headers, body, self.clock.now());
        if let Some(limit) = seen.rate_limit {
            Span::current().record("gitlab.rate_limit.remaining", limit.remaining);
            self.accounting.rate_limit(limit.remaining, limit.reset);
        }
        if let Some(throttle) = seen.throttled {
            debug!(
                endpoint = call.endpoint,
                all = throttle == Throttle::All,
                "GitLab answered 429"
            );
        }
        self.limiter.observe(call.endpoint, &seen).await;
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

/// How GitLab answers a GraphQL query that raised an exception.
const EXCEPTION: &str = "Internal server error";

/// Whether trying the same again makes sense. A GraphQL query that took too long will do so again, as will
/// one that raises an exception, and one over several projects that a server fails at may fail for one of
/// them: its caller asks for less instead. A call that the limiter turned away does not insist.
fn retryable(call: &Call, cause: &Cause) -> bool {
    let is_batch = |query: &Query| query.projects > 1;
    match cause {
        Cause::Timeout => call.graphql.is_none(),
        Cause::Server(500, why) if call.graphql.is_some() && why == EXCEPTION => false,
        Cause::Server(..) if call.graphql.as_ref().is_some_and(is_batch) => false,
        Cause::RateLimited { wait } => wait.is_none(),
        cause => cause.is_retryable(),
    }
}

/// GitLab's 503 for a query whose database statement timed out.
fn heavy_query(call: &Call, cause: Cause) -> Cause {
    match cause {
        Cause::Server(503, detail) if call.graphql.is_some() && detail.contains("timed out") => {
            Cause::GraphQlTimeout(detail)
        }
        cause => cause,
    }
}

fn root(url: &Url) -> Result<Url, SetupError> {
    let refuse = |why| {
        let mut shown = url.clone();
        // Both fail only for URLs that cannot have them.
        let _ = shown.set_username("");
        let _ = shown.set_password(None);
        shown.set_query(None);
        shown.set_fragment(None);
        SetupError::Url {
            url: shown.into(),
            why,
        }
    };
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(refuse("an http or https address is needed"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refuse(
            "user name and password do not belong into the address; use gitlab.token",
        ));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(refuse("the address must end with its path"));
    }
    let mut root = url.clone();
    if !root.path().ends_with('/') {
        root.set_path(&format!("{}/", url.path()));
    }
    Ok(root)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one client that talks to GitLab"
)]
fn http(settings: &Settings) -> Result<reqwest::Client, SetupError> {
    tls::install_provider();
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    let mut builder = reqwest::Client::builder()
        .user_agent(&settings.user_agent)
        .default_headers(headers)
        .redirect(redirect::Policy::none())
        .timeout(settings.timeout)
        .connect_timeout(settings.timeout.min(Duration::from_secs(10)))
        .read_timeout(settings.timeout)
        .pool_idle_timeout(Duration::from_secs(90));
    if let Some(path) = &settings.ca_cert_path {
        let refuse = |why: String| SetupError::CaCertificate {
            path: path.clone(),
            why,
        };
        let certificates = Certificates::read(path).map_err(|error| refuse(error.to_string()))?;
        let certificates = certificates
            .for_http()
            .map_err(|error| refuse(error.to_string()))?;
        builder = builder.tls_certs_merge(certificates);
    }
    if !settings.enable_tls_verify {
        warn!(
            "gitlab.enable_tls_verify is off: anybody between here and GitLab can read the token \
             and change the answers"
        );
        builder = builder.tls_danger_accept_invalid_certs(true);
    }
    builder
        .build()
        .map_err(|error| SetupError::Http(answer::chain(&error)))
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tls_tests;
