//! Says once that sending fails, and once that it works again.

use std::sync::{Mutex, PoisonError};

use super::{Outcome, Signal};

/// Reasons that are remembered of one outage: a receiver of another protocol fails in a few ways by turns.
const REASONS: usize = 8;

/// What has been said about the state of one signal.
#[derive(Debug)]
pub(crate) struct Trouble {
    signal: Signal,
    /// The reasons since the last success.
    said: Mutex<Vec<String>>,
}

impl Trouble {
    pub(crate) fn new(signal: Signal) -> Self {
        Self {
            signal,
            said: Mutex::default(),
        }
    }

    /// Logs how an export ended where that is news: a receiver that is down for a night is one
    /// line, not one per push.
    pub(crate) fn note(&self, outcome: Outcome, message: &str) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let signal = self.signal.as_str();
        match outcome {
            Outcome::Success => {
                if !std::mem::take(&mut *said).is_empty() {
                    tracing::info!(signal, "OTLP export recovered");
                }
            }
            Outcome::Partial | Outcome::Error
                if said.len() >= REASONS || said.iter().any(|known| known == message) =>
            {
                tracing::debug!(signal, reason = message, "OTLP export still fails");
            }
            Outcome::Partial => {
                tracing::warn!(
                    signal,
                    reason = message,
                    "OTLP receiver rejected part of an export"
                );
                said.push(message.to_owned());
            }
            Outcome::Error => {
                tracing::warn!(signal, reason = message, "OTLP export failed");
                said.push(message.to_owned());
            }
        }
    }
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::telemetry::testing::Lines;

    #[test]
    fn each_state_is_said_once() {
        let lines = Lines::default();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(lines.clone())
            .with_ansi(false)
            .without_time()
            .with_target(false)
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let trouble = Trouble::new(Signal::Metrics);
            trouble.note(Outcome::Success, "");
            for _ in 0..3 {
                trouble.note(Outcome::Error, "connection refused");
            }
            for _ in 0..3 {
                trouble.note(Outcome::Error, "unauthenticated");
                trouble.note(Outcome::Error, "connection refused");
            }
            trouble.note(Outcome::Success, "");
            trouble.note(Outcome::Success, "");
            trouble.note(Outcome::Partial, "too old");
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let said: Vec<&str> = text.lines().map(str::trim).collect();
        assert_eq!(
            said,
            [
                r#"WARN OTLP export failed signal="metrics" reason="connection refused""#,
                r#"WARN OTLP export failed signal="metrics" reason="unauthenticated""#,
                r#"INFO OTLP export recovered signal="metrics""#,
                r#"WARN OTLP receiver rejected part of an export signal="metrics" reason="too old""#,
            ]
        );
    }
}
