//! Whether the OTLP receivers take what is sent to them.

use super::{Level, Report};
use crate::app::part_settings;
use crate::config::{Config, Signal};
use crate::delivery::push;
use crate::telemetry::otlp;

/// An OTLP receiver that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Receiver {
    pub(super) signal: otlp::Signal,
    /// Where to, without secrets.
    pub(super) target: String,
    /// Why it does not take an empty message.
    pub(super) result: Result<(), String>,
}

impl Report {
    /// Sends an empty message for each signal that is pushed.
    pub(super) async fn try_receivers(&mut self, config: &Config) {
        let secrets = part_settings::secrets(config);
        for (signal, name) in [
            (Signal::Metrics, otlp::Signal::Metrics),
            (Signal::Traces, otlp::Signal::Traces),
            (Signal::Logs, otlp::Signal::Logs),
        ] {
            let Some(target) = config.otlp(signal) else {
                continue;
            };
            let result = push::try_receiver(name, &part_settings::otlp(target)).await;
            let result = result.map_err(|error| secrets.redact(&error).into_owned());
            if let Err(error) = &result {
                let text = format!("{name} cannot be pushed to {target}: {error}");
                self.problem(Level::Warning, text);
            }
            self.receivers.push(Receiver {
                signal: name,
                target: target.to_string(),
                result,
            });
        }
    }
}
