//! The JSON Schema of the configuration, made from the model: what editors read, and what the known
//! keys ([`super::keys`]) and the example ([`super::example`]) are made from.

use schemars::generate::SchemaSettings;
use schemars::transform::{Transform, transform_subschemas};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde_json::{Map, Value as Json};

use super::model::{ProjectSettings, Settings};

/// The JSON Schema (draft 2020-12) of the configuration file, with meanings and defaults.
pub fn json_schema() -> Json {
    let mut schema = generator().into_root_schema_for::<Settings>();
    Tidy.transform(&mut schema);
    schema.insert(
        "title".to_owned(),
        "Configuration of amazing-gitlab-exporter".into(),
    );
    let overrides = ProjectSettings::json_schema(&mut generator());
    let mut json = schema.to_value();
    // The defaults are those of the whole: one type may have two keys with two defaults.
    if let Ok(defaults) = serde_json::to_value(Settings::default()) {
        set_defaults(&mut json, &defaults);
    }
    for list in ["projects", "wildcards"] {
        let entry = json.pointer_mut(&format!("/properties/{list}/items/properties"));
        if let Some(Json::Object(entry)) = entry {
            inherit(entry, &overrides);
        }
    }
    json
}

/// The JSON Schema of another file, with the defaults of its model.
pub(super) fn schema_of<T: JsonSchema + Serialize + Default>() -> Json {
    let mut schema = generator().into_root_schema_for::<T>();
    Tidy.transform(&mut schema);
    let mut json = schema.to_value();
    if let Ok(defaults) = serde_json::to_value(T::default()) {
        set_defaults(&mut json, &defaults);
    }
    json
}

fn generator() -> SchemaGenerator {
    SchemaSettings::draft2020_12()
        .with(|settings| settings.inline_subschemas = true)
        .into_generator()
}

fn set_defaults(schema: &mut Json, default: &Json) {
    match (schema.get_mut("properties"), default) {
        (Some(Json::Object(properties)), Json::Object(defaults)) => {
            for (name, schema) in properties {
                set_defaults(schema, defaults.get(name).unwrap_or(&Json::Null));
            }
        }
        _ => schema["default"] = default.clone(),
    }
}

/// What an entry does not say is taken from `project_defaults`: its keys have no default of their own.
fn inherit(entry: &mut Map<String, Json>, overrides: &Schema) {
    let names = overrides.get("properties").and_then(Json::as_object);
    for name in names.into_iter().flat_map(Map::keys) {
        if let Some(key) = entry.get_mut(name) {
            remove_defaults(key);
        }
    }
}

fn remove_defaults(schema: &mut Json) {
    if let Json::Object(schema) = schema {
        schema.remove("default");
        if let Some(Json::Object(properties)) = schema.get_mut("properties") {
            properties.values_mut().for_each(remove_defaults);
        }
    }
}

/// Refuses unknown keys, joins the lines of docstrings, and leaves defaults to the single keys.
struct Tidy;

impl Transform for Tidy {
    fn transform(&mut self, schema: &mut Schema) {
        transform_subschemas(self, schema);
        if schema.get("properties").is_some() {
            schema.insert("additionalProperties".to_owned(), false.into());
            schema.remove("default");
        }
        if let Some(Json::String(text)) = schema.get_mut("description") {
            *text = text
                .split("\n\n")
                .map(|part| part.replace('\n', " "))
                .collect::<Vec<_>>()
                .join("\n\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_accepts_what_is_right_and_refuses_what_is_not() {
        let schema = json_schema();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let valid = |json: Json| validator.is_valid(&json);
        assert!(valid(serde_json::to_value(Settings::default()).unwrap()));
        assert!(valid(serde_json::json!({
            "wildcards": [{}, { "owner": { "name": "g" }, "refs": { "tags": { "enabled": false } } }],
            "collectors": { "jobs": { "interval_seconds": "5m" } },
            "otel": { "metrics": { "enabled": true, "headers": { "a": "b" } } },
        })));
        assert!(!valid(serde_json::json!({ "log": { "levl": "info" } })));
        assert!(!valid(serde_json::json!({ "projects": [{}] })));
        assert!(!valid(
            serde_json::json!({ "gitlab": { "rest_page_size": 101 } })
        ));
        assert!(!valid(
            serde_json::json!({ "gitlab": { "timeout": "soon" } })
        ));
    }

    #[test]
    fn defaults_stand_at_single_keys_and_not_in_overrides() {
        let schema = json_schema();
        let at = |path: &str| schema.pointer(path);
        let tags = "properties/refs/properties/tags/properties/most_recent/default";
        assert_eq!(
            at(&format!("/properties/project_defaults/{tags}")),
            Some(&Json::from(10))
        );
        assert_eq!(at(&format!("/properties/projects/items/{tags}")), None);
        assert_eq!(at("/properties/log/default"), None);
        assert_eq!(
            at("/properties/wildcards/items/properties/owner/properties/kind/default"),
            Some(&Json::from("group"))
        );
    }

    #[test]
    fn every_key_has_a_meaning_and_every_format_a_rule() {
        fn walk(path: &str, schema: &Json) {
            for (name, schema) in schema
                .get("properties")
                .and_then(Json::as_object)
                .into_iter()
                .flatten()
            {
                let path = format!("{path}/{name}");
                let meaning = schema["description"].as_str().unwrap_or_default();
                assert!(
                    meaning.ends_with('.') && !meaning.contains('\n'),
                    "{path}: {meaning:?}"
                );
                if let Some(format) = schema.get("format").and_then(Json::as_str) {
                    let is_number = matches!(format, "uint32" | "double");
                    let is_rule = crate::config::format::Format::from_name(format).is_some();
                    assert!(is_number || is_rule, "{path}: {format}");
                }
                walk(&path, schema);
                walk(&path, &schema["items"]);
            }
        }
        walk("", &json_schema());
    }
}
