//! What time it is for GitLab, by its answers.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{DATE, HeaderMap};
use tokio::time::Instant;
use tracing::warn;

use crate::clock::{Clock, UnixSeconds};
use crate::gitlab::answer;

/// A difference between GitLab's clock and ours that is no drift.
const FAR: Duration = Duration::from_secs(3600);
/// A time so far ahead of ours is believed when as many answers in a row have one: history would end then,
/// and what happens until that time would be taken for history.
const AGREED: u64 = 3;

/// GitLab's clock.
pub(super) struct ServerTime {
    clock: Clock,
    /// GitLab's time in the latest answer, in Unix seconds; 0 before the first.
    latest: AtomicI64,
    /// The newest time that answers without a header had, and when it came: GitLab's time is no earlier.
    newest: Mutex<Option<(UnixSeconds, Instant)>>,
    /// Latest answers in a row whose time was far ahead of ours.
    ahead: AtomicU64,
    /// Whether GitLab's time was far from ours at the latest answer.
    is_off: AtomicBool,
}

impl ServerTime {
    /// Unknown; differences are to `clock`.
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            latest: AtomicI64::new(0),
            newest: Mutex::default(),
            ahead: AtomicU64::new(0),
            is_off: AtomicBool::new(false),
        }
    }

    /// Our own clock.
    pub(super) fn own(&self) -> UnixSeconds {
        self.clock.now()
    }

    /// GitLab's time by the latest header `Date`; without one, by the newest time in its answers.
    pub(super) fn now(&self) -> Option<UnixSeconds> {
        Some(self.latest.load(Ordering::Relaxed))
            .filter(|seconds| *seconds > 0)
            .map(UnixSeconds)
            .or_else(|| self.newest())
    }

    fn newest(&self) -> Option<UnixSeconds> {
        let newest = self.newest_times();
        newest.map(|(time, at)| time.plus(at.elapsed()))
    }

    fn newest_times(&self) -> MutexGuard<'_, Option<(UnixSeconds, Instant)>> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a header may be right; of one that is far ahead the answers before it decide.
    fn is_believed(&self, time: UnixSeconds, now: UnixSeconds) -> bool {
        if time.since(now) < FAR {
            self.ahead.store(0, Ordering::Relaxed);
            return true;
        }
        self.ahead.fetch_add(1, Ordering::Relaxed) + 1 >= AGREED
    }

    /// Takes in the time that an answer shows.
    pub(super) fn note(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) {
        let Some(time) = answer::http_date(headers, &DATE) else {
            if status.is_success()
                && let Some(found) = answer::newest_time(body)
                && found.since(self.clock.now()) < FAR
                && self.newest().is_none_or(|known| found > known)
            {
                *self.newest_times() = Some((found, Instant::now()));
            }
            return;
        };
        let now = self.clock.now();
        if self.is_believed(time, now) {
            self.latest.store(time.0, Ordering::Relaxed);
        }
        let difference = time.since(now).max(now.since(time));
        let is_off = difference >= FAR;
        if is_off != self.is_off.swap(is_off, Ordering::Relaxed) && is_off {
            warn!(
                seconds = time.0 - now.0,
                "GitLab's clock (response header Date) differs from this machine's by more than an \
                 hour; if the header is wrong, such as set by a proxy, events around the start of the \
                 exporter are counted incorrectly"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use reqwest::header::HeaderValue;

    use super::*;

    /// What was logged.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    const NOW: UnixSeconds = UnixSeconds(1_767_600_000);

    /// Takes an answer in.
    fn answered(time: &ServerTime, date: Option<&'static str>, body: &str) {
        let headers = date.map(|date| (DATE, HeaderValue::from_static(date)));
        let headers = headers.into_iter().collect();
        time.note(StatusCode::OK, &headers, body.as_bytes());
    }

    #[test]
    fn one_date_of_tomorrow_is_not_believed() {
        let time = ServerTime::new(Clock::manual(NOW));
        let (today, tomorrow) = (
            "Mon, 05 Jan 2026 08:00:10 GMT",
            "Tue, 06 Jan 2026 08:00:00 GMT",
        );
        answered(&time, Some(tomorrow), "");
        assert_eq!(time.now(), None);
        answered(&time, Some(today), "");
        for _ in 0..2 {
            answered(&time, Some(tomorrow), "");
            assert_eq!(time.now(), Some(NOW.plus(Duration::from_secs(10))));
        }
        // It is our clock that is wrong.
        answered(&time, Some(tomorrow), "");
        assert_eq!(time.now(), Some(NOW.plus(Duration::from_secs(24 * 3600))));
        answered(&time, Some(today), "");
        answered(&time, Some(tomorrow), "");
        assert_eq!(time.now(), Some(NOW.plus(Duration::from_secs(10))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_time_of_tomorrow_in_an_answer_is_not_gitlabs() {
        let time = ServerTime::new(Clock::manual(NOW));
        answered(&time, None, r#"{"updated_at":"2026-01-06T08:00:00Z"}"#);
        assert_eq!(time.now(), None);
        answered(&time, None, r#"{"updated_at":"2026-01-05T08:30:00Z"}"#);
        assert_eq!(time.now(), Some(NOW.plus(Duration::from_secs(1800))));
    }

    #[test]
    fn a_date_that_is_hours_off_is_warned_of_once() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone());
        let time = ServerTime::new(Clock::manual(UnixSeconds(1_767_600_000)));
        let dates = [
            ("Mon, 05 Jan 2026 08:00:10 GMT", 0),
            ("Mon, 05 Jan 2026 10:00:00 GMT", 1),
            ("Mon, 05 Jan 2026 10:00:10 GMT", 1),
            ("Mon, 05 Jan 2026 08:00:20 GMT", 1),
            ("Mon, 05 Jan 2026 05:00:00 GMT", 2),
        ];
        tracing::subscriber::with_default(subscriber.finish(), || {
            for (date, warnings) in dates {
                let headers = [(DATE, HeaderValue::from_static(date))];
                time.note(StatusCode::OK, &headers.into_iter().collect(), b"");
                let written = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
                assert_eq!(written.matches("header Date").count(), warnings, "{date}");
            }
        });
    }
}
