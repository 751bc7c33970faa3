//! Time as the exporter sees it: whole UTC seconds, and an injected *now*.
//!
//! GraphQL answers carry seconds, REST answers milliseconds. Everything is cut to seconds as it
//! comes in, so that the same fact read both ways compares equal.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// A point in time, in whole seconds since the Unix epoch (UTC).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixSeconds(pub i64);

impl UnixSeconds {
    /// Parses an ISO 8601 time with any offset and cuts it to the second.
    ///
    /// # Errors
    /// When `text` is not a time with an offset, as GitLab's REST and GraphQL answers have it.
    pub fn parse(text: &str) -> Result<Self, jiff::Error> {
        // Floor, not truncation towards zero: both agree after 1970, and only floor is a cut.
        let time: jiff::Timestamp = text.parse()?;
        Ok(Self(time.as_millisecond().div_euclid(1000)))
    }

    /// Seconds since the epoch as a gauge value.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "exact up to the year 285 million"
    )]
    pub fn as_f64(self) -> f64 {
        self.0 as f64
    }

    /// This time moved back by `duration` (whole seconds).
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub_unsigned(duration.as_secs()))
    }

    /// This time moved forward by `duration` (whole seconds).
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add_unsigned(duration.as_secs()))
    }

    /// Number of its UTC day since 1 January 1970.
    #[must_use]
    pub const fn day(self) -> i64 {
        self.0.div_euclid(86_400)
    }

    /// How long after `earlier` this is; zero when it is not after.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_secs(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// RFC 3339 in UTC, the form that GitLab's `updated_after` and GraphQL's `Time` take.
impl fmt::Display for UnixSeconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_second(self.0) {
            Ok(time) => write!(f, "{time}"),
            Err(_) => write!(f, "@{}", self.0),
        }
    }
}

impl fmt::Debug for UnixSeconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where *now* comes from; the only place that asks the system, so that tests can set the time.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The system's clock.
    System,
    /// A clock that stands until it is set: tests and accelerated benches.
    Manual(Arc<ManualTime>),
}

/// The times of a manual clock.
#[derive(Debug)]
pub struct ManualTime {
    now: AtomicI64,
    steady: AtomicI64,
}

impl Clock {
    /// A clock that shows `start` until [`Clock::set`].
    #[must_use]
    pub fn manual(start: UnixSeconds) -> Self {
        Self::Manual(Arc::new(ManualTime {
            now: AtomicI64::new(start.0),
            steady: AtomicI64::new(start.0),
        }))
    }

    /// The current time.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that asks the system for the time"
    )]
    pub fn now(&self) -> UnixSeconds {
        match self {
            Self::System => UnixSeconds(jiff::Timestamp::now().as_second()),
            Self::Manual(time) => UnixSeconds(time.now.load(Ordering::SeqCst)),
        }
    }

    /// The current time in nanoseconds since the epoch, as OTLP has it: whole seconds on a manual
    /// clock.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that asks the system for the time"
    )]
    pub fn unix_nanos(&self) -> u64 {
        let nanos = match self {
            Self::System => jiff::Timestamp::now().as_nanosecond(),
            Self::Manual(_) => i128::from(self.now().0) * 1_000_000_000,
        };
        u64::try_from(nanos).unwrap_or(0)
    }

    /// The time as the clock had it at first, and that goes on evenly from there, whatever the clock is set to.
    /// Initial zeros end by it: it never leaps over one, and never comes to one again.
    #[must_use]
    pub fn steady(&self) -> UnixSeconds {
        static FIRST: LazyLock<(UnixSeconds, Instant)> =
            LazyLock::new(|| (Clock::System.now(), Instant::now()));
        match self {
            Self::System => {
                let (time, at) = *FIRST;
                time.plus(at.elapsed())
            }
            Self::Manual(time) => UnixSeconds(time.steady.load(Ordering::SeqCst)),
        }
    }

    /// Sets a manual clock as a time server sets a system's: the steady time goes on as it did.
    pub fn leap(&self, now: UnixSeconds) {
        if let Self::Manual(time) = self {
            time.now.store(now.0, Ordering::SeqCst);
        }
    }

    /// Lets time pass on a manual clock, or sets it back; the system's clock does not change.
    pub fn set(&self, now: UnixSeconds) {
        if let Self::Manual(time) = self {
            let before = time.now.swap(now.0, Ordering::SeqCst);
            let ahead = now.0.saturating_sub(before).max(0);
            time.steady.fetch_add(ahead, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_and_offsets_are_cut_to_the_same_second() {
        let whole = UnixSeconds::parse("2026-01-05T08:00:00Z").unwrap();
        assert_eq!(
            UnixSeconds::parse("2026-01-05T08:00:00.999Z").unwrap(),
            whole
        );
        assert_eq!(
            UnixSeconds::parse("2026-01-05T09:00:00.001+01:00").unwrap(),
            whole
        );
        assert_eq!(whole.to_string(), "2026-01-05T08:00:00Z");
        assert!(UnixSeconds::parse("yesterday").is_err());
    }

    #[test]
    fn the_steady_time_follows_no_clock_that_is_set() {
        let clock = Clock::manual(UnixSeconds(1_000));
        clock.set(UnixSeconds(1_010));
        clock.set(UnixSeconds(500));
        clock.leap(UnixSeconds(9_000));
        assert_eq!(clock.steady(), UnixSeconds(1_010));
        clock.set(UnixSeconds(9_005));
        assert_eq!(clock.steady(), UnixSeconds(1_015));
    }
}
