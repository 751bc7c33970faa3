//! Says once that sending fails, and once that it works again.

use std::sync::{Mutex, PoisonError};

use super::{Outcome, Signal};

/// What has been said about the state of one signal.
#[derive(Debug)]
pub(in crate::telemetry) struct Trouble {
    signal: Signal,
    said: Mutex<Option<String>>,
}

impl Trouble {
    pub(in crate::telemetry) fn new(signal: Signal) -> Self {
        Self {
            signal,
            said: Mutex::new(None),
        }
    }

    /// Logs how an export ended where that is news: a receiver that is down for a night is one
    /// line, not one per push.
    pub(in crate::telemetry) fn note(&self, outcome: Outcome, message: &str) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let signal = self.signal.as_str();
        match outcome {
            Outcome::Success => {
                if said.take().is_some() {
                    tracing::info!(signal, "OTLP export works again");
                }
            }
            Outcome::Partial | Outcome::Error if said.as_deref() == Some(message) => {
                tracing::debug!(signal, message, "OTLP export still fails");
            }
            Outcome::Partial => {
                tracing::warn!(signal, message, "the OTLP receiver rejected a part");
                *said = Some(message.to_owned());
            }
            Outcome::Error => {
                tracing::warn!(signal, message, "OTLP export failed");
                *said = Some(message.to_owned());
            }
        }
    }
}
