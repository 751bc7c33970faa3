//! `security`: open vulnerabilities by severity.

use super::Measured;
use crate::catalogue::labels::SeverityLabels;
use crate::catalogue::security as metric;
use crate::gitlab::model::SEVERITIES;
use crate::memory::Subject;

/// Measures the numbers, which are in the order of [`SEVERITIES`].
#[must_use]
pub fn measure(subject: Subject<'_>, counts: [u64; 6]) -> Measured {
    let states = SEVERITIES.iter().zip(counts).map(|(&severity, count)| {
        let labels = SeverityLabels {
            project: subject.project.clone(),
            severity: severity.into(),
        };
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
        let value = count as f64;
        metric::VULNERABILITY_COUNT.set(labels, value)
    });
    Measured {
        states: states.collect(),
        ..Measured::default()
    }
}
