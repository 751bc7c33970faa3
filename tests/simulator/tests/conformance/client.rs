//! Sends what was sent then.

use std::collections::HashMap;

use gitlab_simulator::Simulator;
use gitlab_simulator::world::recorded::token_of;
use reqwest::header::HeaderMap;
use reqwest::redirect::Policy;
use serde_json::{Value, json};

use crate::records::{Chain, Graphql, Rest};

/// What the simulator answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

pub struct Client {
    http: reqwest::Client,
    address: String,
    /// The page and the next link of earlier answers, by record.
    rest: HashMap<u32, (Option<String>, Option<String>)>,
    graphql: HashMap<u32, Value>,
}

impl Client {
    pub fn new(simulator: &Simulator) -> Self {
        rustls::crypto::ring::default_provider()
            .install_default()
            .ok();
        let http = reqwest::Client::builder()
            .redirect(Policy::none())
            .build()
            .expect("a client");
        Self {
            http,
            address: format!("http://{}", simulator.address()),
            rest: HashMap::new(),
            graphql: HashMap::new(),
        }
    }

    fn signed(&self, request: reqwest::RequestBuilder, identity: &str) -> reqwest::RequestBuilder {
        match identity {
            "anonymous" => request,
            _ => request.header("private-token", token_of(identity)),
        }
    }

    /// Where a request goes; one that follows another goes where that one's answer says.
    fn target(&self, record: &Rest) -> String {
        let Some(Chain { after, header, .. }) = &record.chain else {
            return record.path.clone();
        };
        let Some((page, link)) = self.rest.get(after) else {
            return record.path.clone();
        };
        match (header.as_deref(), page, link) {
            (Some("x-next-page"), Some(page), _) => {
                let (path, query) = record.path.split_once('?').unwrap_or((&record.path, ""));
                let kept = query.split('&').filter(|part| !part.starts_with("page="));
                let mut parts: Vec<String> = kept.map(str::to_owned).collect();
                parts.push(format!("page={page}"));
                format!("{path}?{}", parts.join("&"))
            }
            (Some("link"), _, Some(link)) => link.clone(),
            _ => record.path.clone(),
        }
    }

    pub async fn rest(&mut self, record: &Rest) -> Answer {
        let url = format!("{}{}", self.address, self.target(record));
        let mut request = self.signed(self.http.get(url), &record.identity);
        for (name, value) in &record.request_headers {
            let value = match name.to_lowercase().as_str() {
                // Hashes of bodies before they were cleaned up: what ours was is asked for again.
                "if-none-match" => self.etag(record).await,
                _ => value.as_str().unwrap_or_default().to_owned(),
            };
            request = request.header(name, value);
        }
        let answer = read(request).await;
        let page = answer.header("x-next-page").filter(|page| !page.is_empty());
        let next = answer.header("link").and_then(|links| {
            let next = links
                .split(", ")
                .find(|link| link.contains("rel=\"next\""))?;
            let url = next.split(['<', '>']).nth(1)?;
            url.strip_prefix("https://gitlab.example.com")
                .map(str::to_owned)
        });
        let page = page.map(str::to_owned);
        self.rest.insert(record.id, (page, next));
        answer
    }

    async fn etag(&self, record: &Rest) -> String {
        let url = format!("{}{}", self.address, record.path);
        let answer = read(self.signed(self.http.get(url), &record.identity)).await;
        answer.header("etag").unwrap_or_default().to_owned()
    }

    pub async fn graphql(&mut self, record: &Graphql) -> Answer {
        let path = record.path.as_deref().unwrap_or("/api/graphql");
        let url = format!("{}{path}", self.address);
        let request = match (record.method.as_deref(), &record.document) {
            (Some("GET"), _) => self.http.get(url),
            (_, None) => {
                let body = record.request_body.clone().unwrap_or_default();
                let request = self.http.post(url).body(body);
                request.header("content-type", "application/json")
            }
            (_, Some(document)) => {
                let mut variables = record.variables.clone().unwrap_or_default();
                if let Some(Chain {
                    after,
                    variable: Some(variable),
                    at: Some(at),
                    ..
                }) = &record.chain
                {
                    let pointer = format!("/{}", at.replace('.', "/"));
                    let found = self
                        .graphql
                        .get(after)
                        .and_then(|body| body.pointer(&pointer));
                    variables[variable] = found.cloned().unwrap_or_default();
                }
                self.http.post(url).json(&json!({
                    "query": document,
                    "operationName": record.operation,
                    "variables": variables,
                }))
            }
        };
        let answer = read(self.signed(request, &record.identity)).await;
        self.graphql.insert(record.id, answer.body.clone());
        answer
    }
}

async fn read(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.expect("an answer");
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let bytes = response.bytes().await.expect("a whole answer");
    let body = if bytes.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into_owned().into())
    };
    Answer {
        status,
        headers,
        body,
    }
}
