//! Reads what an answer says about GitLab's limits.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

use super::{Load, Observation, RateLimit, Throttle};
use crate::clock::UnixSeconds;
use crate::gitlab::answer::{self, http_date};

/// What status, headers and body of an answer say about the budget.
///
/// `now` is our clock; where the answer has a `Date`, times are taken relative to that instead, so
/// that a wrong clock on either side does not matter.
pub(crate) fn observation(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    now: UnixSeconds,
) -> Observation {
    let now = http_date(headers, &DATE).unwrap_or(now);
    // Redirects may carry the header as well, and mean something else by it.
    let busy = matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
    );
    Observation {
        rate_limit: rate_limit(headers, now),
        throttled: (status == StatusCode::TOO_MANY_REQUESTS).then(|| throttle(headers, body)),
        retry_after: busy.then(|| retry_after(headers, now)).flatten(),
        load: load(status, body),
        server_time: Duration::ZERO,
    }
}

/// A gateway in front of GitLab gives up with 502, 504 or 524; GraphQL with 200 and errors beside null.
fn load(status: StatusCode, body: &[u8]) -> Load {
    match status.as_u16() {
        502..=504 | 524 => Load::TooBusy,
        200..=299 if answer::has_timed_out(body) => Load::TooBusy,
        200..=299 => Load::Answered,
        _ => Load::Unknown,
    }
}

fn rate_limit(headers: &HeaderMap, now: UnixSeconds) -> Option<RateLimit> {
    let remaining = number(headers, "ratelimit-remaining")?;
    let reset = UnixSeconds(i64::try_from(number(headers, "ratelimit-reset")?).ok()?);
    Some(RateLimit {
        limit: number(headers, "ratelimit-limit").unwrap_or(0),
        remaining,
        reset,
        reset_in: reset.since(now),
    })
}

/// The application's limits answer JSON and know no `RateLimit-*` headers of their own.
fn throttle(headers: &HeaderMap, body: &[u8]) -> Throttle {
    let spent = number(headers, "ratelimit-remaining") == Some(0);
    let json = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(body).is_ok();
    if json && !spent {
        Throttle::Endpoint
    } else {
        Throttle::All
    }
}

fn retry_after(headers: &HeaderMap, now: UnixSeconds) -> Option<Duration> {
    number(headers, RETRY_AFTER.as_str())
        .map(Duration::from_secs)
        .or_else(|| Some(http_date(headers, &RETRY_AFTER)?.since(now)))
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    const NOON: UnixSeconds = UnixSeconds(1_767_614_400); // 2026-01-05T12:00:00Z

    #[test]
    fn the_servers_date_counts_not_our_clock() {
        let headers = headers(&[
            ("date", "Mon, 05 Jan 2026 12:00:00 GMT"),
            ("ratelimit-limit", "2000"),
            ("ratelimit-remaining", "7"),
            ("ratelimit-reset", "1767614460"),
        ]);
        let ours = UnixSeconds(NOON.0 - 3600);
        let seen = observation(StatusCode::OK, &headers, b"", ours)
            .rate_limit
            .unwrap();
        assert_eq!(seen.reset_in, Duration::from_secs(60));
        assert_eq!((seen.limit, seen.remaining), (2000, 7));
    }

    #[test]
    fn the_two_kinds_of_429_are_distinguished() {
        let rack = headers(&[("ratelimit-remaining", "0"), ("retry-after", "12")]);
        let seen = observation(StatusCode::TOO_MANY_REQUESTS, &rack, b"Retry later\n", NOON);
        assert_eq!(seen.throttled, Some(Throttle::All));
        assert_eq!(seen.retry_after, Some(Duration::from_secs(12)));

        let body = br#"{"message":{"error":"This endpoint has been requested too many times."}}"#;
        let seen = observation(
            StatusCode::TOO_MANY_REQUESTS,
            &headers(&[("retry-after", "60")]),
            body,
            NOON,
        );
        assert_eq!(seen.throttled, Some(Throttle::Endpoint));
    }

    #[test]
    fn retry_after_may_be_a_date() {
        let headers = headers(&[("retry-after", "Mon, 05 Jan 2026 12:00:30 GMT")]);
        let seen = observation(StatusCode::SERVICE_UNAVAILABLE, &headers, b"", NOON);
        assert_eq!(seen.retry_after, Some(Duration::from_secs(30)));
        assert_eq!(seen.throttled, None);
    }

    #[test]
    fn time_outs_of_gitlab_and_its_gateways_are_a_load() {
        let partial =
            br#"{"data":{"projects":null},"errors":[{"message":"Timeout on Query.projects"}]}"#;
        let text = br#"{"data":{"title":"\"message\":\"Timeout on Query.projects\""}}"#;
        for (status, body, load) in [
            (200, &b"[]"[..], Load::Answered),
            (200, text, Load::Answered),
            (200, partial, Load::TooBusy),
            (502, b"", Load::TooBusy),
            (503, b"", Load::TooBusy),
            (504, b"", Load::TooBusy),
            (524, b"", Load::TooBusy),
            (500, b"", Load::Unknown),
            (429, b"", Load::Unknown),
            (403, b"", Load::Unknown),
            (302, b"", Load::Unknown),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let seen = observation(status, &HeaderMap::new(), body, NOON);
            assert_eq!(
                seen.load,
                load,
                "{status} {}",
                String::from_utf8_lossy(body)
            );
        }
    }

    #[test]
    fn nonsense_in_the_headers_is_as_good_as_none() {
        let headers = headers(&[
            ("ratelimit-remaining", "-4"),
            ("ratelimit-reset", "99999999999999999999"),
            ("retry-after", "soon"),
        ]);
        let seen = observation(StatusCode::OK, &headers, b"", NOON);
        let nothing = Observation {
            load: Load::Answered,
            ..Observation::default()
        };
        assert_eq!(seen, nothing);
    }
}
