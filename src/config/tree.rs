//! The located tree: configuration before it has types. Every value knows where it came from, so
//! that an error can name the place and `config` can show the origin.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use serde_json::Value as Json;

use super::values::Secret;

/// Where a value came from. Shown as `default`, `config.yml:12`, `AGE_GITLAB_URL` or `--log-level`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The model.
    Default,
    /// A configuration file.
    File {
        /// The path as it was given.
        path: Arc<str>,
        /// The line, from 1.
        line: usize,
    },
    /// An environment variable.
    Variable(Arc<str>),
    /// A command-line flag.
    Flag(Arc<str>),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{path}:{line}"),
            Self::Variable(name) | Self::Flag(name) => f.write_str(name),
        }
    }
}

/// Maps of more keys are merged by an index.
const MANY: usize = 16;

fn merge_many(base: &mut Vec<Entry>, entries: Vec<Entry>) {
    let places = base.iter().enumerate();
    let mut places: HashMap<String, usize> = places
        .map(|(place, entry)| (entry.key.clone(), place))
        .collect();
    for entry in entries {
        match places.get(&entry.key) {
            Some(place) => base[*place].node.merge(entry.node),
            None => {
                places.insert(entry.key.clone(), base.len());
                base.push(entry);
            }
        }
    }
}

/// A value and where it came from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub data: Data,
    pub origin: Origin,
}

/// A value without a type of ours.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Data {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    /// What the check has found to be a secret setting.
    Secret(Secret),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One key of a map with its value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub key: String,
    /// Where the key stands; its value may start on a later line.
    pub origin: Origin,
    pub node: Node,
}

impl Node {
    pub fn new(data: Data, origin: &Origin) -> Self {
        Self {
            data,
            origin: origin.clone(),
        }
    }

    /// The value under `key`, if this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.data {
            Data::Map(entries) => entries
                .iter()
                .find(|entry| entry.key == key)
                .map(|entry| &entry.node),
            _ => None,
        }
    }

    /// The value at a path such as `projects[1].refs.branches.regexp`.
    pub fn at(&self, path: &str) -> Option<&Node> {
        path.split('.').try_fold(self, |node, segment| {
            let (key, index) = match segment
                .strip_suffix(']')
                .and_then(|rest| rest.split_once('['))
            {
                Some((key, index)) => (key, Some(index.parse::<usize>().ok()?)),
                None => (segment, None),
            };
            let node = node.get(key)?;
            match (index, &node.data) {
                (None, _) => Some(node),
                (Some(index), Data::List(items)) => items.get(index),
                (Some(_), _) => None,
            }
        })
    }

    /// Puts `over` on top: maps merge key by key, everything else is replaced.
    pub fn merge(&mut self, over: Node) {
        match (&mut self.data, over.data) {
            (Data::Map(base), Data::Map(entries)) => {
                if entries.len() > MANY {
                    return merge_many(base, entries);
                }
                for entry in entries {
                    match base.iter_mut().find(|known| known.key == entry.key) {
                        Some(known) => known.node.merge(entry.node),
                        None => base.push(entry),
                    }
                }
            }
            (data, over_data) => {
                *data = over_data;
                self.origin = over.origin;
            }
        }
    }

    /// Puts this value under `path` (keys only), with maps around it.
    pub fn wrapped(self, path: &str) -> Node {
        path.rsplit('.').fold(self, |node, key| {
            let origin = node.origin.clone();
            let entry = Entry {
                key: key.to_owned(),
                origin: origin.clone(),
                node,
            };
            Node {
                data: Data::Map(vec![entry]),
                origin,
            }
        })
    }

    /// The JSON that the model is read from. It holds secrets in the clear.
    pub fn to_json(&self) -> Json {
        match &self.data {
            Data::Null => Json::Null,
            Data::Bool(value) => Json::Bool(*value),
            Data::Int(value) => Json::from(*value),
            Data::Float(value) => Json::from(*value),
            Data::Text(text) => Json::from(text.as_str()),
            Data::Secret(secret) => Json::from(secret.expose()),
            Data::List(items) => items.iter().map(Node::to_json).collect(),
            Data::Map(entries) => entries
                .iter()
                .map(|entry| (entry.key.clone(), entry.node.to_json()))
                .collect(),
        }
    }

    /// The tree of a JSON value that came from one place.
    pub fn from_json(json: &Json, origin: &Origin) -> Node {
        let data = match json {
            Json::Null => Data::Null,
            Json::Bool(value) => Data::Bool(*value),
            Json::Number(number) => match number.as_i64() {
                Some(value) => Data::Int(value),
                None => Data::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(text) => Data::Text(text.clone()),
            Json::Array(items) => Data::List(
                items
                    .iter()
                    .map(|item| Node::from_json(item, origin))
                    .collect(),
            ),
            Json::Object(members) => Data::Map(
                members
                    .iter()
                    .map(|(key, value)| Entry {
                        key: key.clone(),
                        origin: origin.clone(),
                        node: Node::from_json(value, origin),
                    })
                    .collect(),
            ),
        };
        Node::new(data, origin)
    }
}
