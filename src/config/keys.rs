//! The known keys: names, kinds and rules of all settings, read from the JSON Schema of the model.

use std::sync::OnceLock;

use serde_json::{Map, Value as Json};

use super::format::Format;

/// A setting, or a section of settings.
#[derive(Debug)]
pub(super) struct Key {
    pub kind: Kind,
    /// The rule of its own that a value has to follow.
    pub format: Option<Format>,
    /// Whether null is a value: "not set".
    pub nullable: bool,
    /// What it means.
    pub description: String,
    /// What it is when it is not set; sections and required keys have none.
    pub default: Option<Json>,
    /// A value to show where there is no default.
    pub example: Option<Json>,
}

/// The values that a key may have.
#[derive(Debug)]
pub(super) enum Kind {
    /// A map with known keys.
    Section {
        keys: Vec<(String, Key)>,
        required: Vec<String>,
    },
    /// A map with free keys.
    Map(Box<Key>),
    /// A list.
    List { item: Box<Key>, may_be_empty: bool },
    /// A single value.
    Value(Value),
}

/// The rules of a single value.
#[derive(Debug, Default)]
pub(super) struct Value {
    pub bool: bool,
    pub integer: bool,
    pub number: bool,
    pub text: bool,
    /// When not empty, the only values allowed, each with its meaning.
    pub choices: Vec<(Json, String)>,
    pub minimum: Option<f64>,
    pub maximum: Option<f64>,
}

/// The whole configuration as a key.
pub(super) fn root() -> &'static Key {
    static ROOT: OnceLock<Key> = OnceLock::new();
    ROOT.get_or_init(|| Key::from_schema(&super::schema::json_schema()))
}

/// All keys outside lists, sections included, as (path, key), in the order of the model.
pub(super) fn all() -> Vec<(String, &'static Key)> {
    inside(root())
}

/// The same for the keys inside `section`, with paths that begin there.
pub(super) fn inside(section: &Key) -> Vec<(String, &Key)> {
    fn walk<'a>(path: &str, key: &'a Key, found: &mut Vec<(String, &'a Key)>) {
        for (name, key) in key.children() {
            let path = join(path, name);
            found.push((path.clone(), key));
            walk(&path, key, found);
        }
    }
    let mut found = Vec::new();
    walk("", section, &mut found);
    found
}

/// The path of `name` inside `path`.
pub(super) fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

/// The environment variable of the key at `path`.
pub(super) fn variable(path: &str) -> String {
    format!("AGE_{}", path.replace('.', "_").to_uppercase())
}

impl Key {
    /// The known keys of a section; none for everything else.
    pub fn children(&self) -> &[(String, Key)] {
        match &self.kind {
            Kind::Section { keys, .. } => keys,
            _ => &[],
        }
    }

    /// The known key `name` of a section.
    pub fn child(&self, name: &str) -> Option<&Key> {
        self.children()
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, key)| key)
    }

    /// Whether this is a section of which nothing is set by default: it is shown on one line.
    pub fn is_unset(&self) -> bool {
        let is_null = |(_, key): &(String, Key)| key.default == Some(Json::Null);
        !self.children().is_empty() && self.children().iter().all(is_null)
    }

    /// Whether what stands here must never be shown.
    pub fn is_secret(&self) -> bool {
        match &self.kind {
            Kind::Map(value) => value.is_secret(),
            Kind::List { item, .. } => item.is_secret(),
            _ => self.format == Some(Format::Secret),
        }
    }

    /// The key that a schema describes.
    pub(super) fn from_schema(schema: &Json) -> Self {
        let description = text(schema, "description");
        let default = schema.get("default").cloned();
        let example = schema.pointer("/examples/0").cloned();
        // An optional value whose type is a type of its own: that type or null.
        if let Some(options) = schema.get("anyOf").and_then(Json::as_array) {
            let inner = options.iter().find(|option| text(option, "type") != "null");
            let inner = inner.map_or(&Json::Null, |inner| inner);
            let inner = Self::from_schema(inner);
            return Self {
                nullable: true,
                description,
                default,
                example,
                ..inner
            };
        }
        Self {
            kind: Kind::from_schema(schema),
            format: Format::from_name(&text(schema, "format")),
            nullable: types(schema).contains(&"null"),
            description,
            default,
            example,
        }
    }
}

impl Kind {
    fn from_schema(schema: &Json) -> Self {
        if let Some(properties) = schema.get("properties").and_then(Json::as_object) {
            let required = schema.get("required").and_then(Json::as_array);
            return Self::Section {
                keys: section(properties),
                required: required
                    .into_iter()
                    .flatten()
                    .filter_map(|name| name.as_str().map(str::to_owned))
                    .collect(),
            };
        }
        if let Some(values) = schema.get("additionalProperties") {
            return Self::Map(Box::new(Key::from_schema(values)));
        }
        if let Some(items) = schema.get("items") {
            let may_be_empty = schema.get("minItems").is_none();
            return Self::List {
                item: Box::new(Key::from_schema(items)),
                may_be_empty,
            };
        }
        Self::Value(Value::from_schema(schema))
    }
}

fn section(properties: &Map<String, Json>) -> Vec<(String, Key)> {
    properties
        .iter()
        .map(|(name, schema)| (name.clone(), Key::from_schema(schema)))
        .collect()
}

impl Value {
    fn from_schema(schema: &Json) -> Self {
        let types = types(schema);
        let number = |name| schema.get(name).and_then(Json::as_f64);
        let plain = schema
            .get("enum")
            .and_then(Json::as_array)
            .into_iter()
            .flatten();
        let described = schema
            .get("oneOf")
            .and_then(Json::as_array)
            .into_iter()
            .flatten();
        let choices = plain.map(|value| (value.clone(), String::new())).chain(
            described.filter_map(|one| Some((one.get("const")?.clone(), text(one, "description")))),
        );
        Self {
            bool: types.contains(&"boolean"),
            integer: types.contains(&"integer"),
            number: types.contains(&"number"),
            text: types.contains(&"string"),
            choices: choices.collect(),
            minimum: number("minimum"),
            maximum: number("maximum"),
        }
    }

    /// Whether the value is text and nothing else, so that a variable's text is the value.
    pub fn is_text(&self) -> bool {
        let choices_are_text = self.choices.iter().all(|(choice, _)| choice.is_string());
        choices_are_text && !self.bool && !self.integer && !self.number
    }
}

fn types(schema: &Json) -> Vec<&str> {
    match schema.get("type") {
        Some(Json::String(name)) => vec![name],
        Some(Json::Array(names)) => names.iter().filter_map(Json::as_str).collect(),
        _ => Vec::new(),
    }
}

fn text(schema: &Json, name: &str) -> String {
    schema
        .get(name)
        .and_then(Json::as_str)
        .unwrap_or_default()
        .to_owned()
}
