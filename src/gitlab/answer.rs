//! Reads an HTTP answer: bounded, and turned into an error that a person can act on.

use std::error::Error as _;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName};
use reqwest::{Response, StatusCode};
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::Cause;
use super::pager::Excess;
use crate::clock::UnixSeconds;

/// Most bytes read of one answer, after decompression.
pub(crate) const MAX_BODY: usize = 64 << 20;
/// Most bytes of a body that waits for no place.
const SMALL_BODY: usize = 1 << 20;
/// Larger bodies that are there at once.
const LARGE_BODIES: usize = 4;
/// Most values in one answer: GitLab's largest have a few hundred thousand.
const MAX_VALUES: usize = 1_000_000;
/// Values that an object counts for: however little is in it, it takes as much memory as a dozen texts.
const OBJECT: usize = 8;
/// Most bytes read of an answer that is an error anyway.
const MAX_ERROR_BODY: usize = 64 << 10;
/// Most characters of a server's text in one of our messages.
const MAX_DETAIL: usize = 300;
/// Longest time that is believed of GitLab, which ends what takes longer than minutes.
const MAX_RUNTIME: Duration = Duration::from_secs(3600);
/// What a 407 means: it is never GitLab's.
const PROXY_REFUSED: &str =
    "the proxy on the way wants other credentials; see HTTP_PROXY and HTTPS_PROXY";

/// Places for large bodies: those that are read or held beyond [`SMALL_BODY`] at once.
#[derive(Clone, Debug)]
pub(crate) struct LargeBodies(Arc<Semaphore>);

impl Default for LargeBodies {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(LARGE_BODIES)))
    }
}

impl LargeBodies {
    /// Waits for a place; none where there will be none.
    async fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0).acquire_owned().await.ok()
    }
}

/// The body of an answer. A large one holds its place as long as it is there.
#[derive(Debug, Default)]
pub(crate) struct Body {
    bytes: Vec<u8>,
    _place: Option<OwnedSemaphorePermit>,
}

impl Deref for Body {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The body, or why it could not be read. Of an error's body a bounded beginning is enough. Before more
/// than a little is read a place for it is waited for, within the time that the whole answer may take.
pub(crate) async fn body(mut response: Response, places: &LargeBodies) -> Result<Body, Cause> {
    let failed = !response.status().is_success();
    let limit = if failed { MAX_ERROR_BODY } else { MAX_BODY };
    let announced = response
        .content_length()
        .and_then(|n| usize::try_from(n).ok());
    if !failed && announced.is_some_and(|length| length > limit) {
        return Err(Cause::TooLarge { limit });
    }
    let mut bytes = Vec::with_capacity(announced.unwrap_or(0).min(SMALL_BODY));
    let mut place = None;
    while let Some(chunk) = response.chunk().await.map_err(transport)? {
        if bytes.len() + chunk.len() > limit {
            if failed {
                bytes.extend_from_slice(&chunk[..limit - bytes.len()]);
                break;
            }
            return Err(Cause::TooLarge { limit });
        }
        if place.is_none() && bytes.len() + chunk.len() > SMALL_BODY {
            place = places.place().await;
        }
        bytes.extend_from_slice(&chunk);
    }
    // Each takes many times its size once it is read.
    if place.is_some() && !failed && has_more_values(&bytes, MAX_VALUES) {
        return Err(Cause::TooMuch(Excess::Values(MAX_VALUES)));
    }
    Ok(Body {
        bytes,
        _place: place,
    })
}

/// Whether JSON has more values than `most`: what stands between them is counted, texts left out.
fn has_more_values(json: &[u8], most: usize) -> bool {
    let (mut values, mut in_text, mut is_escaped) = (0, false, false);
    for byte in json {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_text => is_escaped = true,
            b'"' => in_text = !in_text,
            b',' | b'[' | b'{' if !in_text => {
                values += if *byte == b'{' { OBJECT } else { 1 };
                if values > most {
                    return true;
                }
            }
            _ => {}
        }
    }
    false
}

/// Why there was no complete answer. The error's own text may hold the URL, so it is cut off.
pub(crate) fn transport(error: reqwest::Error) -> Cause {
    if error.is_timeout() {
        return Cause::Timeout;
    }
    let error = error.without_url();
    let mut reason = error.to_string();
    let mut tls = None;
    let mut source = error.source();
    while let Some(inner) = source {
        reason = inner.to_string();
        tls = tls.or_else(|| tls_error(inner));
        source = inner.source();
    }
    if let Some(tls) = tls {
        Cause::Tls(format!("{reason}; {}", tls_remedy(tls)))
    } else if reason.contains(NO_HTTP) {
        Cause::Connect(format!("{reason}; {USE_HTTPS}"))
    } else if error.is_connect() {
        Cause::Connect(reason)
    } else {
        Cause::Interrupted(reason)
    }
}

/// What an HTTP client says of bytes that are no HTTP, as those of TLS.
const NO_HTTP: &str = "invalid HTTP version";
/// What to do when the server expects TLS.
const USE_HTTPS: &str = "if the port is one of HTTPS, write https:// in gitlab.url";

/// The error of TLS, however often I/O errors are wrapped around it.
fn tls_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    error.downcast_ref().or_else(|| {
        let error = error.downcast_ref::<std::io::Error>()?;
        tls_error(error.get_ref()?)
    })
}

/// What to do about an error of TLS.
fn tls_remedy(error: &rustls::Error) -> &'static str {
    use rustls::CertificateError;
    match error {
        rustls::Error::InvalidMessage(_) => {
            "if the port is one of plain HTTP, write http:// in gitlab.url"
        }
        rustls::Error::InvalidCertificate(why) => match why {
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "use a host name of the certificate in gitlab.url"
            }
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => {
                "renew the certificate of GitLab, or set the clock of this machine"
            }
            _ => {
                "set gitlab.ca_cert_path to the certificate of GitLab's authority, or to GitLab's own if it \
                 is self-signed"
            }
        },
        rustls::Error::AlertReceived(alert) if is_about_the_client(*alert) => {
            "the server asks for a client certificate: set gitlab.client_cert_path to one that it accepts"
        }
        _ => "check gitlab.url, and what is between here and GitLab",
    }
}

/// Whether a server refuses the client's certificate, or that there is none.
const fn is_about_the_client(alert: rustls::AlertDescription) -> bool {
    use rustls::AlertDescription;
    matches!(
        alert,
        AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::HandshakeFailure
    )
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}

/// Why an answer with this status, or this content, is a failure; `None` for JSON with a 2xx.
pub(crate) fn failure(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Option<Cause> {
    let html = is_html(headers, body);
    let code = status.as_u16();
    if status.is_success() {
        return html.then_some(Cause::Html(code));
    }
    let detail = if html {
        "a web page".to_owned()
    } else {
        detail(body)
    };
    if matches!(code, 401 | 403 | 404 | 410) {
        return Some(match refusal(code, headers, body) {
            Refusal::NotGitLabs => Cause::NotGitLab(code, detail),
            Refusal::OfTheObject if code == 401 => Cause::Forbidden(detail),
            _ => match code {
                401 => Cause::Auth(detail),
                403 => Cause::Forbidden(detail),
                _ => Cause::NotFound(code, detail),
            },
        });
    }
    Some(match code {
        // nginx, which GitLab is behind.
        400 if html && contains(body, b"HTTP request was sent to HTTPS port") => {
            Cause::Refused(code, format!("the port is one of HTTPS; {USE_HTTPS}"))
        }
        407 => Cause::Refused(code, PROXY_REFUSED.to_owned()),
        429 => Cause::RateLimited { wait: None },
        500..=599 => Cause::Server(code, detail),
        _ => Cause::Refused(code, detail),
    })
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// Who refused, by the form of the refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// GitLab, in one of the forms of its API as a whole.
    GitLabs,
    /// GitLab, in the words of one endpoint.
    OfTheObject,
    /// Something between here and GitLab.
    NotGitLabs,
}

/// The codes of OAuth with which GitLab refuses a token or its scope.
const OAUTH_CODES: [&str; 3] = [
    "invalid_token",
    "insufficient_scope",
    "insufficient_granular_scope",
];

/// Who answered 401, 403, 404 or 410. A proxy, load balancer or firewall refuses with a page, a text,
/// or JSON of another form; nothing may be concluded about GitLab from that.
fn refusal(code: u16, headers: &HeaderMap, body: &[u8]) -> Refusal {
    let Ok(Value::Object(fields)) = serde_json::from_slice(body) else {
        return Refusal::NotGitLabs;
    };
    let text = |key: &str| fields.get(key).and_then(Value::as_str);
    let has_status = |text: &str| text.starts_with(&code.to_string());
    let is_of_the_api = text("message").is_some_and(has_status)
        || text("error").is_some_and(|error| has_status(error) || OAUTH_CODES.contains(&error))
        || fields.get("errors").is_some_and(Value::is_array);
    if is_of_the_api {
        Refusal::GitLabs
    } else if headers.contains_key("x-gitlab-meta") || (code == 401 && text("message").is_some()) {
        Refusal::OfTheObject
    } else {
        Refusal::NotGitLabs
    }
}

/// The time in a header such as `Date`.
pub(crate) fn http_date(headers: &HeaderMap, name: &HeaderName) -> Option<UnixSeconds> {
    let text = headers.get(name)?.to_str().ok()?;
    let time = jiff::fmt::rfc2822::DateTimeParser::new()
        .parse_timestamp(text)
        .ok()?;
    Some(UnixSeconds(time.as_second()))
}

/// The newest time in a JSON answer at which something was updated; GitLab sets these itself, and it is
/// no later than its clock.
pub(crate) fn newest_time(body: &[u8]) -> Option<UnixSeconds> {
    let text = std::str::from_utf8(body).ok()?;
    let times = text.match_indices("\"updated").filter_map(|(place, key)| {
        let rest = &text[place + key.len()..];
        let rest = rest
            .strip_prefix("_at")
            .or_else(|| rest.strip_prefix("At"))?;
        let (time, _) = rest.strip_prefix("\":\"")?.split_once('"')?;
        UnixSeconds::parse(time).ok()
    });
    times.max()
}

/// How the error of a field begins that GraphQL could not fill in time (`Timeout on Type.field`).
const TIMEOUT_ON: &str = "Timeout on ";

/// Whether a sentence is about a field that GraphQL could not fill in time.
pub(crate) fn is_timeout_of_field(why: &str) -> bool {
    why.contains(TIMEOUT_ON)
}

/// Whether a GraphQL answer has such errors: GitLab answers 200 after its 30 s, with what it has. Within
/// texts of the answer the quotes would be escaped.
pub(crate) fn has_timed_out(body: &[u8]) -> bool {
    std::str::from_utf8(body).is_ok_and(|body| {
        let mut messages = body.match_indices(TIMEOUT_ON);
        messages.any(|(place, _)| {
            let before = &body[..place];
            before.ends_with(r#""message":""#) || before.ends_with(r#""message": ""#)
        })
    })
}

/// Seconds that GitLab worked for an answer, by its header `X-Runtime`; nothing else may be in it.
pub(crate) fn runtime(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("x-runtime")?.to_str().ok()?;
    let time = Duration::try_from_secs_f64(text.trim().parse().ok()?).ok()?;
    (time <= MAX_RUNTIME).then_some(time)
}

fn is_html(headers: &HeaderMap, body: &[u8]) -> bool {
    let said = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| {
            value
                .trim_start()
                .to_ascii_lowercase()
                .starts_with("text/html")
        });
    said || body.trim_ascii_start().starts_with(b"<")
}

/// The sentence in an error's body, in any of the forms that GitLab uses.
fn detail(body: &[u8]) -> String {
    let text = match serde_json::from_slice::<Value>(body) {
        Ok(value) => sentence(&value),
        Err(_) => String::from_utf8_lossy(body).trim().to_owned(),
    };
    shorten(&text)
}

fn sentence(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(sentence).collect::<Vec<_>>().join("; "),
        Value::Object(fields) => ["error", "error_description", "message", "errors"]
            .iter()
            .filter_map(|key| fields.get(*key))
            .map(sentence)
            .filter(|text| !text.is_empty())
            .collect::<Vec<_>>()
            .join(": "),
        _ => String::new(),
    }
}

/// One line of bounded length.
pub(crate) fn shorten(text: &str) -> String {
    let mut line: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(MAX_DETAIL + 1)
        .collect();
    if line.chars().count() > MAX_DETAIL {
        line.pop();
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_gitlabs_errors_becomes_a_sentence() {
        for (body, want) in [
            (
                r#"{"message":"404 Project Not Found"}"#,
                "404 Project Not Found",
            ),
            (
                r#"{"error":"insufficient_scope","error_description":"Too low.","scope":"api"}"#,
                "insufficient_scope: Too low.",
            ),
            (r#"{"message":{"error":"Too many."}}"#, "Too many."),
            (
                r#"{"errors":[{"message":"Invalid token"}]}"#,
                "Invalid token",
            ),
            ("Retry later\n", "Retry later"),
            ("", ""),
            ("[1,null]", "; "),
        ] {
            assert_eq!(detail(body.as_bytes()), want, "{body}");
        }
    }

    #[test]
    fn objects_count_for_as_many_values_as_they_take_memory() {
        let nested = format!("{}1{}", r#"{"a":"#.repeat(100), "}".repeat(100));
        assert!(!has_more_values(nested.as_bytes(), 800));
        assert!(has_more_values(nested.as_bytes(), 799));
        assert!(!has_more_values(br#"[1,"{,{[",{"a":2}]"#, 11));
        assert!(has_more_values(br#"[1,"{,{[",{"a":2}]"#, 10));
    }

    #[test]
    fn the_runtime_is_seconds_and_nothing_else() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("x-runtime", text.parse().unwrap());
            runtime(&headers).map(|time| time.as_secs_f64())
        };
        assert_eq!(read("0.048120"), Some(0.04812));
        assert_eq!(read(" 12 "), Some(12.0));
        for text in [
            "", "soon", "-1", "NaN", "inf", "1e300", "3601", "0.1, 0.2", "0.1s",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(runtime(&HeaderMap::new()), None);
    }

    #[test]
    fn a_servers_text_is_one_short_line() {
        let line = shorten(&format!("a\nb\u{1b}{}", "é".repeat(10_000)));
        assert_eq!(line.chars().count(), MAX_DETAIL + 1);
        assert!(line.starts_with("a b é") && line.ends_with('…'));
    }

    #[test]
    fn only_gitlabs_own_refusals_say_something_about_gitlab() {
        let none = HeaderMap::new();
        let mut meta = HeaderMap::new();
        meta.insert("x-gitlab-meta", "{}".parse().unwrap());
        let kind = |headers: &HeaderMap, code: u16, body: &str| {
            let status = StatusCode::from_u16(code).unwrap();
            failure(status, headers, body.as_bytes()).unwrap().kind()
        };
        for (code, body, want) in [
            (404, r#"{"message":"404 Project Not Found"}"#, "not_found"),
            (404, r#"{"message":"404 Not found"}"#, "not_found"),
            (404, r#"{"error":"404 Not Found"}"#, "not_found"),
            (403, r#"{"message":"403 Forbidden"}"#, "forbidden"),
            (
                403,
                r#"{"message":"403 Forbidden - Your account has been blocked."}"#,
                "forbidden",
            ),
            (
                403,
                r#"{"error":"insufficient_granular_scope","error_description":"Access denied"}"#,
                "forbidden",
            ),
            (401, r#"{"message":"401 Unauthorized"}"#, "auth"),
            (401, r#"{"errors":[{"message":"Invalid token"}]}"#, "auth"),
            (404, "404 page not found\n", "not_gitlab"),
            (404, "<html><h1>404 Not Found</h1></html>", "not_gitlab"),
            (
                404,
                r#"{"message":"no Route matched with those values"}"#,
                "not_gitlab",
            ),
            (404, "", "not_gitlab"),
            (404, "[]", "not_gitlab"),
            (403, r#"{"message":"Forbidden"}"#, "not_gitlab"),
            (403, "<html>Access denied</html>", "not_gitlab"),
            (401, "Authorization Required", "not_gitlab"),
        ] {
            assert_eq!(kind(&none, code, body), want, "{code} {body}");
        }
        // The words of one endpoint: a 401 of the licence, or under a header that GitLab alone sets.
        let dora = r#"{"message":"You do not have permission to access dora metrics."}"#;
        assert_eq!(kind(&none, 401, dora), "forbidden");
        let own = r#"{"message":"Not here"}"#;
        assert_eq!(kind(&meta, 404, own), "not_found");
        assert_eq!(kind(&none, 404, own), "not_gitlab");
    }

    #[test]
    fn a_web_page_is_seen_with_or_without_its_content_type() {
        let none = HeaderMap::new();
        let page = b"\n <!DOCTYPE html><html></html>";
        assert!(matches!(
            failure(StatusCode::OK, &none, page),
            Some(Cause::Html(200))
        ));
        assert!(matches!(
            failure(StatusCode::BAD_GATEWAY, &none, page),
            Some(Cause::Server(502, text)) if text == "a web page"
        ));
        assert!(failure(StatusCode::OK, &none, b"[]").is_none());
    }
}
