//! The records, as they are written down.

use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// A request that follows another: where its page or cursor comes from.
#[derive(Debug, Deserialize)]
pub struct Chain {
    pub after: u32,
    pub header: Option<String>,
    pub variable: Option<String>,
    pub at: Option<String>,
}

#[derive(Debug, Deserialize)]
pub struct Rest {
    pub id: u32,
    #[serde(rename = "as")]
    pub identity: String,
    pub path: String,
    pub status: u16,
    pub headers: Map<String, Value>,
    pub body: Value,
    #[serde(default)]
    pub request_headers: Map<String, Value>,
    pub chain: Option<Chain>,
}

impl Rest {
    /// The endpoint: the path with names for its changing parts.
    pub fn subject(&self) -> String {
        let path = self.path.split('?').next().unwrap_or_default();
        let path = path.strip_prefix("/api/v4").unwrap_or(path);
        let mut parts: Vec<String> = path.split('/').map(str::to_owned).collect();
        for place in 1..parts.len() {
            let named = matches!(parts[place - 1].as_str(), "projects" | "groups" | "users");
            let is_id = parts[place].parse::<u64>().is_ok() || parts[place].len() == 40;
            if named && place == 2 || is_id {
                parts[place] = ":id".to_owned();
            }
        }
        parts.join("/")
    }

    /// A parameter of the query string, decoded where it is plain.
    pub fn names_an_order(&self) -> bool {
        ["order_by=", "sort=", "pagination="]
            .iter()
            .any(|name| self.path.contains(name))
    }
}

#[derive(Debug, Deserialize)]
pub struct Graphql {
    pub id: u32,
    #[serde(rename = "as")]
    pub identity: String,
    pub operation: Option<String>,
    pub query: Option<String>,
    pub variables: Option<Value>,
    pub status: u16,
    pub body: Value,
    pub method: Option<String>,
    pub path: Option<String>,
    pub request_body: Option<String>,
    pub chain: Option<Chain>,
    /// The document's text.
    #[serde(skip)]
    pub document: Option<String>,
}

impl Graphql {
    pub fn subject(&self) -> String {
        self.operation
            .clone()
            .unwrap_or_else(|| "posted by hand".to_owned())
    }
}

fn lines<T: DeserializeOwned>(file: &Path) -> Vec<T> {
    let text = std::fs::read_to_string(file).expect("records");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a record"))
        .collect()
}

pub fn rest(folder: &Path) -> Vec<Rest> {
    lines(&folder.join("rest.jsonl"))
}

pub fn graphql(folder: &Path) -> Vec<Graphql> {
    let mut records: Vec<Graphql> = lines(&folder.join("graphql.jsonl"));
    for record in &mut records {
        let name = record.query.as_ref();
        record.document = name.map(|name| {
            let file = folder.join("queries").join(name);
            std::fs::read_to_string(file).expect("a document")
        });
    }
    records
}
