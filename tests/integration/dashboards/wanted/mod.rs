//! What each query of each panel must come to, out of the facts.

mod delivery;
mod health;
mod jobs;
mod merge_requests;
mod pipelines;
mod repository;

use std::collections::BTreeMap;

use super::facts::{Answer, Bucket, Facts, fewer};
use crate::support::series::Labels;

/// What a query must come to.
#[derive(Debug)]
pub enum Want {
    /// Figures that Prometheus computes from scrapes: equal but for its extrapolation.
    Near(Answer),
    /// Values that lie in these buckets, for exactly these labels.
    In(BTreeMap<Labels, Bucket>),
    /// Something that changes between two polls; present and a number.
    Living,
    /// Nothing, because nothing of the kind happened.
    Nothing,
}

use Want::Near;

/// What the queries of a panel must come to, in their order.
pub fn wanted(f: &Facts, board: &str, panel: &str) -> Option<Vec<Want>> {
    match board {
        "pipeline-overview" => pipelines::overview(f, panel),
        "ci-cd-analytics" => pipelines::ci_cd(f, panel),
        "job-performance" => jobs::performance(f, panel),
        "merge-request-analytics" => merge_requests::analytics(f, panel),
        "dora-metrics" => delivery::dora(f, panel),
        "environments-and-deployments" => delivery::environments(f, panel),
        "repository-analytics" => repository::analytics(f, panel),
        "exporter-health" => health::health(f, panel),
        _ => None,
    }
}

/// A value without labels.
fn one(value: f64) -> Want {
    Near([(Labels::new(), value)].into())
}

/// A sum, as a value without labels.
fn total(answer: &Answer) -> Want {
    one(answer.values().sum())
}

/// A number, as a value without labels; nothing where there is nothing.
fn number_of(answer: &Answer) -> Want {
    #[expect(clippy::cast_precision_loss, reason = "a handful")]
    let number = answer.len() as f64;
    Near(
        (number > 0.0)
            .then(|| (Labels::new(), number))
            .into_iter()
            .collect(),
    )
}

/// The greatest value for these labels.
fn most(f: &Facts, name: &str, by: &[&str]) -> Want {
    Near(f.max(name, by))
}

/// The values whose labels, as far as the others have them, are among the others.
fn among(mut answer: Answer, others: &Answer, on: &[&str]) -> Answer {
    let others: Vec<Labels> = others.keys().map(|labels| fewer(labels, on)).collect();
    answer.retain(|labels, _| others.contains(&fewer(labels, on)));
    answer
}

/// The same values summed under fewer labels.
fn summed(answer: &Answer, by: &[&str]) -> Answer {
    let mut sums = Answer::new();
    for (labels, value) in answer {
        *sums.entry(fewer(labels, by)).or_default() += value;
    }
    sums
}

/// Shares of parts in the whole; 0 where there is no part.
fn shares_of(parts: &Answer, whole: &Answer) -> Answer {
    let whole = whole.iter().filter(|(_, value)| **value > 0.0);
    whole
        .map(|(labels, whole)| {
            let part = parts.get(labels).copied().unwrap_or_default();
            (labels.clone(), part / whole)
        })
        .collect()
}
