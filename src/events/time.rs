//! The times in events: GitLab writes them in five forms, all in one server.

use std::time::Duration;

use jiff::Timestamp;

/// A point in time in milliseconds since the Unix epoch (UTC).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixMillis(pub i64);

impl UnixMillis {
    /// Parses a time with its offset in any of GitLab's forms: `2026-11-30T07:57:08.401Z`,
    /// `2026-11-30 08:00:52 UTC`, `2026-11-30 09:00:52 +0100`, `2026-11-30T08:01:11.000+00:00`. A date
    /// alone is no point in time.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let time = match text.parse::<Timestamp>() {
            Ok(time) => Some(time),
            Err(_) => match text.strip_suffix(" UTC") {
                Some(time) => format!("{time}Z").parse().ok(),
                None => jiff::fmt::strtime::parse("%Y-%m-%d %H:%M:%S%.f %z", text)
                    .and_then(|time| time.to_timestamp())
                    .ok(),
            },
        };
        time.map(|time| Self(time.as_millisecond()))
    }

    /// How long after `earlier` this is; zero when it is not after.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// From whole seconds, as the header `webhook-timestamp` has them.
    #[must_use]
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_time_is_read() {
        let expected = Some(UnixMillis(1_796_025_652_000));
        for text in [
            "2026-11-30T08:00:52Z",
            "2026-11-30T08:00:52.000Z",
            "2026-11-30 08:00:52 UTC",
            "2026-11-30T08:00:52.000+00:00",
            "2026-11-30T09:00:52+01:00",
            "2026-11-30 09:00:52 +0100",
        ] {
            assert_eq!(UnixMillis::parse(text), expected, "{text}");
        }
        assert_eq!(
            UnixMillis::parse("2026-11-30T07:57:08.401Z"),
            Some(UnixMillis(1_796_025_428_401))
        );
        for text in [
            "",
            "2026-11-30",
            "yesterday",
            "2026-11-30 08:00:52",
            "9999999999",
        ] {
            assert_eq!(UnixMillis::parse(text), None, "{text}");
        }
    }
}
