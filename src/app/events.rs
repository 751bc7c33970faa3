//! Where GitLab's events go: to the queue of hints, if their project is tracked.

use std::sync::Arc;

use crate::events::payload::{Event, Meaning};
use crate::events::queue::HintQueue;
use crate::events::{Hint, Mark};
use crate::registry::Registry;
use crate::server::webhook::{EventSink, Outcome};
use crate::telemetry::process::OwnMetrics;

/// Takes events.
pub(super) struct EventIntake {
    pub(super) registry: Arc<Registry>,
    pub(super) hints: Arc<HintQueue>,
    pub(super) own: Arc<OwnMetrics>,
}

impl EventSink for EventIntake {
    fn take(&self, event: Event, mark: Mark) -> Outcome {
        match event.meaning {
            Meaning::Moved {
                project, readings, ..
            } => {
                if self.registry.lock().get(project).is_none() {
                    return Outcome::Untracked;
                }
                for reading in readings {
                    self.hints.push(Hint {
                        project,
                        reading: *reading,
                        mark,
                    });
                }
                Outcome::Accepted
            }
            Meaning::Listed => {
                self.hints.push_lists(mark.arrived);
                Outcome::Accepted
            }
            Meaning::Nothing => Outcome::Ignored,
        }
    }

    fn count(&self, kind: &'static str, outcome: Outcome, requests: u32) {
        self.own
            .webhook(kind, outcome.as_str(), f64::from(requests));
    }
}
