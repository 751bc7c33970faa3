//! What the exporter says while something is wrong: on `/metrics`, on `/ready` and on its page.

use serde_json::Value;

use super::rig::{FRESH, Rig};
use crate::support::http::Answer;
use crate::support::samples::Samples;

/// What `/ready` and the status page say.
pub struct Says<'a> {
    /// Why GitLab cannot be read; none when it answers.
    pub error: Option<&'a str>,
    /// Projects whose last look failed.
    pub failing: u64,
    /// Parts of the page.
    pub page: &'a [&'a str],
}

/// All is well.
pub const WELL: Says<'static> = Says {
    error: None,
    failing: 0,
    page: &["All is well"],
};

/// What was on `/metrics` before something went wrong.
pub struct Before {
    all: Samples,
    facts: Samples,
    last_success: f64,
}

impl Rig {
    /// What is on `/metrics` now.
    pub async fn before(&self) -> Before {
        self.rests().await;
        Before {
            all: self.metrics().await,
            facts: self.facts().await,
            last_success: self.last_success().await,
        }
    }

    /// Holds what `/ready` and the status page say. Once the first round was attempted there is
    /// something to be scraped, however old.
    pub async fn says(&self, want: &Says<'_>) {
        let (status, ready) = self.ready().await;
        assert_eq!(status, 200, "{ready}");
        assert_eq!(ready["status"], "ready", "{ready}");
        let refused = want
            .error
            .is_some_and(|error| error.starts_with("GitLab refused"));
        let reachable = want.error.is_none() || refused;
        assert_eq!(ready["gitlab"]["reachable"], reachable, "{ready}");
        assert_eq!(ready["gitlab"]["error"].as_str(), want.error, "{ready}");
        assert_eq!(ready["projects"]["failing"], want.failing, "{ready}");
        let page = self.page().await;
        for part in want.page {
            assert!(page.contains(part), "no {part:?} in {page}");
        }
    }

    /// Holds that nothing of GitLab was read: what was shown stays, is seen to be old, and only
    /// these errors were counted.
    pub async fn stands_still(&self, before: &Before, errors: &[&str]) {
        assert_eq!(self.last_success().await, before.last_success);
        assert_eq!(before.facts.differences(&self.facts().await), "");
        assert_eq!(self.errors_since(before).await, errors);
    }

    /// Holds that reading went on: what was counted stays and more was counted, the last look is
    /// not old, and only these errors were counted.
    pub async fn goes_on(&self, before: &Before, errors: &[&str]) {
        self.is_fresh().await;
        self.counted_more(before).await;
        assert_eq!(self.errors_since(before).await, errors);
    }

    /// Holds that no counter fell, and that pipelines were counted.
    pub async fn counted_more(&self, before: &Before) {
        let after = self.facts().await;
        for ((name, labels), value) in &before.facts.0 {
            let counts = name.ends_with("_count") || name.ends_with("_total");
            let now = after.0.get(&(name.clone(), labels.clone()));
            let fell = counts && now.is_none_or(|now| now < value);
            assert!(!fell, "{name}{labels:?} fell from {value} to {now:?}");
        }
        let runs = |samples: &Samples| samples.sum("age_pipeline_run_count", &[]);
        assert!(runs(&after) > runs(&before.facts), "pipelines go on");
    }

    /// Holds that the last look that ended well is not old.
    pub async fn is_fresh(&self) {
        let age = self.clock.now().as_f64() - self.last_success().await;
        assert!(
            (0.0..=FRESH).contains(&age),
            "the last success is {age} s old"
        );
    }

    /// `age_scrape_errors_total` by `error_type`, those that moved since `before`.
    pub async fn errors_since(&self, before: &Before) -> Vec<String> {
        let moved = self.collectors_errors_since(before).await;
        let mut types: Vec<String> = moved.into_iter().map(|(_, error)| error).collect();
        types.sort();
        types.dedup();
        types
    }

    /// The same with the `collector_type` before each `error_type`.
    pub async fn collectors_errors_since(&self, before: &Before) -> Vec<(String, String)> {
        let now = self.metrics().await;
        let mut moved = Vec::new();
        for ((name, labels), value) in &now.0 {
            let key = (name.clone(), labels.clone());
            let is_more = *value > before.all.0.get(&key).copied().unwrap_or(0.0);
            if name == "age_scrape_errors_total" && is_more {
                let label = |key: &str| labels[key].clone();
                moved.push((label("collector_type"), label("error_type")));
            }
        }
        moved
    }

    /// Projects that fail by `/ready`.
    pub async fn failing(&self) -> u64 {
        let (_, ready) = self.ready().await;
        ready["projects"]["failing"].as_u64().expect("a number")
    }

    /// Status and body of `/ready`.
    pub async fn ready(&self) -> (u16, Value) {
        let Answer { status, body, .. } = self.exporter.get("/ready").await;
        (status, serde_json::from_str(&body).expect("JSON"))
    }

    /// The status page.
    pub async fn page(&self) -> String {
        let answer = self.exporter.get("/").await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body
    }
}

impl Before {
    /// The same without what is about a project.
    pub fn without(mut self, project: &str) -> Self {
        let is_other = |labels: &std::collections::BTreeMap<String, String>| {
            labels.values().all(|value| value != project)
        };
        self.facts.0.retain(|(_, labels), _| is_other(labels));
        self
    }

    /// What there was of metrics whose names begin so.
    pub fn of(&self, beginnings: &[&str]) -> Samples {
        of(&self.all, beginnings)
    }

    /// What GitLab's facts were.
    pub fn facts(&self) -> &Samples {
        &self.facts
    }
}

/// Samples of metrics whose names begin so.
pub fn of(samples: &Samples, beginnings: &[&str]) -> Samples {
    let mut samples = samples.clone();
    let begins = |name: &str| beginnings.iter().any(|begin| name.starts_with(begin));
    samples.0.retain(|(name, _), _| begins(name));
    samples
}
