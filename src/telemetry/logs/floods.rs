//! What outside input can repeat does not fill the log: of each message in the code so many lines are
//! shown a minute, and the next line says how many were left out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The time in which lines are counted.
const WINDOW: Duration = Duration::from_secs(60);
/// Lines of one message that are shown in it.
const LINES: u32 = 60;

/// Counts lines, by the name that `tracing` gives the place in the code that says them.
#[derive(Clone, Default)]
pub(super) struct Floods(Arc<Mutex<HashMap<&'static str, Place>>>);

struct Place {
    since: Instant,
    shown: u32,
    left_out: u64,
}

impl Floods {
    /// How many lines of a message were left out before the one that is shown now; nothing where it is
    /// left out, too.
    pub(super) fn admit(&self, name: &'static str, now: Instant) -> Option<u64> {
        let mut places = self.places();
        let place = places.entry(name).or_insert(Place {
            since: now,
            shown: 0,
            left_out: 0,
        });
        if now.saturating_duration_since(place.since) >= WINDOW {
            place.since = now;
            place.shown = 0;
        }
        if place.shown == LINES {
            place.left_out += 1;
            return None;
        }
        place.shown += 1;
        Some(std::mem::take(&mut place.left_out))
    }

    fn places(&self) -> MutexGuard<'_, HashMap<&'static str, Place>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use tracing::Level;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;
    use crate::telemetry::logs::{LogFormat, LogSettings, stderr_layer};
    use crate::telemetry::secrets::Secrets;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Lines {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    /// What the log has of what `say` says.
    fn logged(format: LogFormat, level: Level, say: impl FnOnce()) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let settings = LogSettings {
            level,
            format,
            otlp: None,
        };
        let (layer, _) = stderr_layer(&settings, &Secrets::new(), move || writer.clone());
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, say);
        lines.text()
    }

    #[test]
    fn a_message_that_repeats_is_shown_so_often_and_no_other_suffers() {
        for (format, level) in [
            (LogFormat::Text, Level::INFO),
            (LogFormat::Json, Level::DEBUG),
        ] {
            let text = logged(format, level, || {
                for number in 0..10_000 {
                    tracing::error!(number, "again and again");
                }
                tracing::error!("once");
                for number in 0..100 {
                    tracing::debug!(number, "a detail");
                }
            });
            let count = |what: &str| text.matches(what).count();
            assert_eq!(count("again and again"), LINES as usize);
            assert_eq!(count("once"), 1);
            let details = if level == Level::DEBUG { 100 } else { 0 };
            assert_eq!(count("a detail"), details);
        }
    }

    #[test]
    fn the_next_line_says_how_many_were_left_out() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let lines = Lines::default();
            let writer = lines.clone();
            let settings = LogSettings {
                format,
                ..LogSettings::default()
            };
            let floods = Floods::default();
            let (layer, _) = crate::telemetry::logs::layer(
                &settings,
                &Secrets::new(),
                move || writer.clone(),
                floods.clone(),
            );
            let subscriber = tracing_subscriber::registry().with(layer);
            tracing::subscriber::with_default(subscriber, || {
                for _ in 0..100 {
                    // A minute passes before the last one.
                    let mut places = floods.places();
                    for place in places.values_mut() {
                        if place.left_out == 39 {
                            place.since -= WINDOW;
                        }
                    }
                    drop(places);
                    tracing::warn!("again");
                }
            });
            let text = lines.text();
            let last = text.lines().last().unwrap();
            assert_eq!(text.lines().count(), LINES as usize + 1, "{text}");
            let said = match format {
                LogFormat::Text => "left_out=39",
                LogFormat::Json => r#""left_out":39"#,
            };
            assert!(last.contains(said), "{last}");
        }
    }

    #[test]
    fn what_actix_says_of_each_bad_request_is_left_out() {
        let text = logged(LogFormat::Text, Level::DEBUG, || {
            tracing::error!(target: "actix_http::h1::dispatcher", "stream error: bad");
            tracing::error!(target: "actix_server::accept", "error accepting connection");
        });
        assert!(!text.contains("stream error"), "{text}");
        assert!(text.contains("error accepting"), "{text}");
    }
}
