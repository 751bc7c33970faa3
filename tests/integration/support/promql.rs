//! PromQL over HTTP, as Prometheus and VictoriaMetrics answer it.

use serde::Deserialize;
use serde_json::Value;

use super::http;
use super::samples::Samples;
use super::series::Labels;

/// Where to ask.
pub struct PromQl {
    /// Scheme, host and port.
    pub url: String,
    /// A path that makes what was received searchable, asked for before each question.
    pub flush: Option<&'static str>,
}

#[derive(Deserialize)]
struct Vector {
    result: Vec<Element>,
}

#[derive(Deserialize)]
struct Element {
    metric: Labels,
    value: (f64, String),
}

/// A series with its samples: seconds since the epoch and values.
#[derive(Debug, Deserialize)]
pub struct RawSeries {
    /// Its labels, the name among them.
    pub metric: Labels,
    values: Vec<(f64, String)>,
}

impl RawSeries {
    /// When it was scraped, in seconds since the epoch.
    pub fn times(&self) -> impl Iterator<Item = f64> {
        self.values.iter().map(|(time, _)| *time)
    }

    /// Its values in the order of their times.
    pub fn values(&self) -> impl Iterator<Item = f64> {
        let values = self.values.iter();
        values.map(|(_, value)| value.parse().expect("a number"))
    }
}

#[derive(Deserialize)]
struct Matrix {
    result: Vec<RawSeries>,
}

impl PromQl {
    /// The samples that a selector with a range finds, as they were scraped.
    pub async fn raw(&self, selector: &str) -> Vec<RawSeries> {
        let data = self.api("/api/v1/query", &[("query", selector)]).await;
        let matrix: Matrix = serde_json::from_value(data).expect("a range vector");
        matrix.result
    }

    /// `data` of an answer of the API.
    pub async fn api(&self, path: &str, parameters: &[(&str, &str)]) -> Value {
        let answer = http::query(&format!("{}{path}", self.url), parameters).await;
        assert_eq!(answer.status, 200, "{path} {parameters:?}: {}", answer.body);
        let mut body: Value = serde_json::from_str(&answer.body).expect("the answer is JSON");
        assert_eq!(body["status"], "success", "{body}");
        body["data"].take()
    }

    /// What an expression comes to now, or at a time in seconds since the epoch.
    pub async fn query(&self, expression: &str, time: Option<f64>) -> Vec<(Labels, f64)> {
        let time = time.map(|time| format!("{time:.3}"));
        if let Some(path) = self.flush {
            http::get(&format!("{}{path}", self.url)).await;
        }
        let mut parameters = vec![("query", expression)];
        parameters.extend(time.as_deref().map(|time| ("time", time)));
        let data = self.api("/api/v1/query", &parameters).await;
        let vector: Vector = serde_json::from_value(data).expect("an instant vector");
        let elements = vector.result.into_iter();
        elements
            .map(|element| {
                let value = element.value.1.parse().expect("a number");
                (element.metric, value)
            })
            .collect()
    }

    /// The one value of an expression; none when there is no element.
    pub async fn value(&self, expression: &str, time: Option<f64>) -> Option<f64> {
        let elements = self.query(expression, time).await;
        assert!(elements.len() < 2, "{expression}: {elements:?}");
        elements.first().map(|(_, value)| *value)
    }

    /// The samples that a selector finds, without the labels that `is_foreign` names.
    pub async fn samples(&self, selector: &str, is_foreign: impl Fn(&str) -> bool) -> Samples {
        let mut samples = Samples::default();
        for (mut labels, value) in self.query(selector, None).await {
            let name = labels.remove("__name__").expect("a selector keeps names");
            labels.retain(|label, _| !is_foreign(label));
            samples.add(&name, labels, value);
        }
        samples
    }
}
