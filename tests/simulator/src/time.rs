//! Times as GitLab writes them. The world counts Unix milliseconds; GraphQL shows whole seconds, REST
//! milliseconds.

use jiff::tz::Offset;
use jiff::{Span, Timestamp};

/// Milliseconds since the Unix epoch, or a span of them.
pub type Millis = i64;

/// One second in [`Millis`].
pub const SECOND: Millis = 1_000;
/// One minute in [`Millis`].
pub const MINUTE: Millis = 60 * SECOND;
/// One hour in [`Millis`].
pub const HOUR: Millis = 60 * MINUTE;
/// One day in [`Millis`].
pub const DAY: Millis = 24 * HOUR;

fn timestamp(at: Millis) -> Timestamp {
    Timestamp::from_millisecond(at).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// `2026-01-05T08:00:00Z`: GraphQL's `Time`, the fraction cut off.
#[must_use]
pub fn whole_seconds(at: Millis) -> String {
    timestamp(at).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// `2026-01-05T08:00:00.123Z`: how REST writes times.
#[must_use]
pub fn milliseconds(at: Millis) -> String {
    timestamp(at).strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

/// `2026-01-05`: GitLab's dates.
#[must_use]
pub fn date(at: Millis) -> String {
    timestamp(at).strftime("%Y-%m-%d").to_string()
}

/// `Tue, 05 Jan 2026 11:00:00 GMT`: the HTTP date of `RateLimit-ResetTime`.
#[must_use]
pub fn http_date(at: Millis) -> String {
    timestamp(at)
        .strftime("%a, %d %b %Y %H:%M:%S GMT")
        .to_string()
}

/// The same day some months before.
#[must_use]
pub fn months_before(at: Millis, months: i64) -> Millis {
    let day = Offset::UTC.to_datetime(timestamp(at));
    let before = day.checked_sub(Span::new().months(months));
    before
        .and_then(|before| Offset::UTC.to_timestamp(before))
        .map_or(at, |before| before.as_millisecond())
}

/// Reads an ISO 8601 time or date, as filters accept them. `None` where it is neither.
#[must_use]
pub fn parse(text: &str) -> Option<Millis> {
    let at = text
        .parse::<Timestamp>()
        .or_else(|_| format!("{text}T00:00:00Z").parse::<Timestamp>())
        .ok()?;
    Some(at.as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_and_reads_both_precisions() {
        let at = parse("2026-01-05T08:00:00.123Z").expect("a time");
        assert_eq!(whole_seconds(at), "2026-01-05T08:00:00Z");
        assert_eq!(milliseconds(at), "2026-01-05T08:00:00.123Z");
        assert_eq!(parse("2026-01-05T09:00:00.123+01:00"), Some(at));
        assert_eq!(
            parse("2026-01-05").map(milliseconds).as_deref(),
            Some("2026-01-05T00:00:00.000Z")
        );
        assert_eq!(parse("yesterday"), None);
        assert_eq!(http_date(at), "Mon, 05 Jan 2026 08:00:00 GMT");
    }
}
