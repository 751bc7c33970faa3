//! The GitLab client keeps its accounts here.

use std::time::Duration;

use tokio::time::Instant;

use super::OwnMetrics;
use crate::clock::UnixSeconds;
use crate::gitlab::{Accounting, Outcome};

impl Accounting for OwnMetrics {
    fn request(
        &self,
        method: &'static str,
        endpoint: &'static str,
        outcome: Outcome,
        seconds: f64,
    ) {
        self.api_request(method, endpoint, &outcome.label(), seconds);
    }

    fn server_time(&self, method: &'static str, endpoint: &'static str, seconds: f64) {
        self.api_server_time(method, endpoint, seconds);
    }

    fn retry(&self, endpoint: &'static str) {
        self.api_retry(endpoint);
    }

    fn throttled(&self, waited: Duration) {
        self.api_throttled(waited, Instant::now().into_std());
    }

    fn rate_limit(&self, limit: u64, remaining: u64, reset: UnixSeconds) {
        self.api_rate_limit(limit, remaining, reset);
    }

    fn complexity(&self, query: &'static str, score: u32, _limit: u32) {
        self.api_graphql_complexity(query, score);
    }

    fn concurrency(&self, places: u32) {
        self.api_concurrency_limit(places);
    }
}
