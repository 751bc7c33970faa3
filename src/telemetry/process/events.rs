//! GitLab's events: what came of them, and how fresh what they announced was shown.

use std::time::Duration;

use super::instruments::{Counter, Histogram, Meters};
use super::{OwnMetrics, number};
use crate::catalogue::exporter;
use crate::catalogue::labels::{CollectorLabels, CollectorTriggerLabels, WebhookLabels};

/// The instruments.
pub(super) struct Events {
    webhooks: Counter<WebhookLabels>,
    missed: Counter<CollectorLabels>,
    freshness: Histogram<CollectorTriggerLabels>,
    handling: Histogram<CollectorTriggerLabels>,
}

impl Events {
    pub(super) fn new(meters: &Meters) -> Self {
        Self {
            webhooks: meters.counter(&exporter::WEBHOOK_EVENTS),
            missed: meters.counter(&exporter::WEBHOOK_MISSED),
            freshness: meters.histogram(&exporter::EVENT_FRESHNESS),
            handling: meters.histogram(&exporter::EVENT_HANDLING),
        }
    }
}

impl OwnMetrics {
    /// So many webhooks of a kind came and ended like this; 0 makes the series appear.
    pub fn webhook(&self, event: &'static str, outcome: &'static str, count: f64) {
        let labels = WebhookLabels {
            event: event.into(),
            outcome: outcome.into(),
        };
        self.events.webhooks.add(labels, count);
    }

    /// Changes were found that should have been announced; 0 makes the series appear.
    pub fn events_missed(&self, collector: &'static str, changes: usize) {
        let collector_type = collector.into();
        self.events
            .missed
            .add(CollectorLabels { collector_type }, number(changes));
    }

    /// Something that moved is shown.
    pub fn event_shown(
        &self,
        collector: &'static str,
        trigger: &'static str,
        age: Option<Duration>,
        handling: Option<Duration>,
    ) {
        let labels = || CollectorTriggerLabels {
            collector_type: collector.into(),
            trigger: trigger.into(),
        };
        if let Some(age) = age {
            self.events.freshness.observe(labels(), age.as_secs_f64());
        }
        if let Some(handling) = handling {
            self.events
                .handling
                .observe(labels(), handling.as_secs_f64());
        }
    }
}
