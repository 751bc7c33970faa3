//! Held against GitLab's own schemas, where they are at hand: in `$AGE_SHARED_DIR`, or in `../shared` beside the
//! checkout.

use std::path::PathBuf;

use gitlab_simulator::graphql;
use graphql_parser::schema::{Definition, Document, EnumType, Field, TypeDefinition, parse_schema};
use serde_json::Value;

use crate::support::Lab;

/// The folder with GitLab's own material, or `None` with a printed reason.
pub fn truth() -> Option<PathBuf> {
    let beside = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let shared = std::env::var_os("AGE_SHARED_DIR").map_or(beside, PathBuf::from);
    let truth = shared.join("truth");
    if truth.is_dir() {
        return Some(truth);
    }
    println!("skipped: GitLab's schemas are not at {}", truth.display());
    None
}

type Sdl = Document<'static, String>;

fn object<'d>(document: &'d Sdl, name: &str) -> Option<&'d [Field<'static, String>]> {
    document
        .definitions
        .iter()
        .find_map(|definition| match definition {
            Definition::TypeDefinition(TypeDefinition::Object(object)) if object.name == name => {
                Some(object.fields.as_slice())
            }
            _ => None,
        })
}

fn interface<'d>(document: &'d Sdl, name: &str) -> Option<&'d [Field<'static, String>]> {
    document
        .definitions
        .iter()
        .find_map(|definition| match definition {
            Definition::TypeDefinition(TypeDefinition::Interface(found)) if found.name == name => {
                Some(found.fields.as_slice())
            }
            _ => None,
        })
}

fn enumeration<'d>(document: &'d Sdl, name: &str) -> Option<&'d EnumType<'static, String>> {
    document
        .definitions
        .iter()
        .find_map(|definition| match definition {
            Definition::TypeDefinition(TypeDefinition::Enum(found)) if found.name == name => {
                Some(found)
            }
            _ => None,
        })
}

fn differences(ours: &Sdl, theirs: &Sdl) -> Vec<String> {
    let mut wrong = Vec::new();
    for definition in &ours.definitions {
        let Definition::TypeDefinition(definition) = definition else {
            continue;
        };
        let name = match definition {
            TypeDefinition::Object(found) => found.name.as_str(),
            TypeDefinition::Enum(found) => found.name.as_str(),
            _ => "",
        };
        if NEWER_TYPES.contains(&name) {
            continue;
        }
        match definition {
            TypeDefinition::Object(found) => match object(theirs, &found.name) {
                None => wrong.push(format!("type {} is not GitLab's", found.name)),
                Some(fields) => compare_fields(&found.name, &found.fields, fields, &mut wrong),
            },
            TypeDefinition::Interface(found) => match interface(theirs, &found.name) {
                None => wrong.push(format!("interface {} is not GitLab's", found.name)),
                Some(fields) => compare_fields(&found.name, &found.fields, fields, &mut wrong),
            },
            TypeDefinition::Enum(found) => {
                let values = |found: &EnumType<'static, String>| {
                    let mut names: Vec<String> = found
                        .values
                        .iter()
                        .map(|value| value.name.clone())
                        .collect();
                    names.sort();
                    names
                };
                if enumeration(theirs, &found.name).map(values) != Some(values(found)) {
                    wrong.push(format!("the values of {} are not GitLab's", found.name));
                }
            }
            TypeDefinition::Scalar(found) => {
                let known = theirs.definitions.iter().any(|definition| {
                    matches!(definition, Definition::TypeDefinition(TypeDefinition::Scalar(other)) if other.name == found.name)
                });
                if !known {
                    wrong.push(format!("scalar {} is not GitLab's", found.name));
                }
            }
            // Its fields are those of the argument it is given for, which is compared by type.
            TypeDefinition::InputObject(found) => {
                let known = theirs.definitions.iter().any(|definition| {
                    matches!(definition, Definition::TypeDefinition(TypeDefinition::InputObject(other))
                        if other.name == found.name && found.fields.iter().all(|field| {
                            other.fields.iter().any(|known| known.name == field.name
                                && known.value_type == field.value_type)
                        }))
                });
                if !known {
                    wrong.push(format!("input {} is not GitLab's", found.name));
                }
            }
            _ => wrong.push("a union that no one compared".to_owned()),
        }
    }
    wrong
}

/// Fields that GitLab has had since the schema was collected.
const NEWER_FIELDS: [(&str, &str); 3] = [
    ("Repository", "branchCount"),
    ("Repository", "tagCount"),
    ("Project", "licensedFeatureAvailability"),
];
/// Types and arguments that came with them.
const NEWER_TYPES: [&str; 2] = ["LicensedFeature", "LicensedFeatureAvailability"];
const NEWER_ARGUMENTS: [(&str, &str, &str); 1] = [("Project", "pipelines", "ids")];

fn compare_fields(
    parent: &str,
    ours: &[Field<'static, String>],
    theirs: &[Field<'static, String>],
    wrong: &mut Vec<String>,
) {
    for field in ours {
        let Some(other) = theirs.iter().find(|other| other.name == field.name) else {
            if NEWER_FIELDS.contains(&(parent, field.name.as_str())) {
                continue;
            }
            wrong.push(format!("{parent}.{} is not GitLab's", field.name));
            continue;
        };
        if field.field_type.to_string() != other.field_type.to_string() {
            wrong.push(format!(
                "{parent}.{} is {} and not {}",
                field.name, field.field_type, other.field_type
            ));
        }
        for argument in &field.arguments {
            if NEWER_ARGUMENTS.contains(&(parent, field.name.as_str(), argument.name.as_str())) {
                continue;
            }
            let known = other
                .arguments
                .iter()
                .find(|known| known.name == argument.name);
            if known.map(|known| known.value_type.to_string())
                != Some(argument.value_type.to_string())
            {
                wrong.push(format!(
                    "{parent}.{}({}: {}) is not GitLab's",
                    field.name, argument.name, argument.value_type
                ));
            }
        }
        for needed in other
            .arguments
            .iter()
            .filter(|argument| argument.value_type.to_string().ends_with('!'))
        {
            if field
                .arguments
                .iter()
                .all(|argument| argument.name != needed.name)
            {
                wrong.push(format!(
                    "{parent}.{} lacks the argument {} that it needs",
                    field.name, needed.name
                ));
            }
        }
    }
}

#[test]
fn the_schema_is_a_true_subset_of_gitlabs() {
    let Some(truth) = truth() else { return };
    let theirs = std::fs::read_to_string(truth.join("graphql/schema.graphql")).expect("readable");
    let theirs = parse_schema::<String>(&theirs).expect("SDL").into_static();
    let ours = parse_schema::<String>(&graphql::sdl())
        .expect("SDL")
        .into_static();
    assert!(
        object(&ours, "Pipeline").is_some_and(|fields| fields.len() > 20),
        "there is something to compare"
    );
    let wrong = differences(&ours, &theirs);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_comparison_sees_what_is_wrong() {
    let parse = |text: &str| parse_schema::<String>(text).expect("SDL").into_static();
    let theirs = parse("type A { x(n: Int!): String! y: Int } enum E { ONE TWO } scalar S");
    let ours = parse("type A { x: String z: Int } type B { x: Int } enum E { ONE } scalar T");
    assert_eq!(differences(&ours, &theirs).len(), 6);
    assert!(differences(&theirs, &theirs).is_empty());
}

/// What answers have beyond GitLab's schemas, because those were written for answers without it: the key
/// and the document that tells of it.
const NEWER_KEYS: &[(&str, &[&str])] = &[
    ("job", &["failure_reason"]),
    (
        "runner",
        &["paused", "runner_type", "created_at", "created_by"],
    ),
    ("project", &["visibility"]),
];

/// A running GitLab shows null where its schemas want a text.
fn texts_for_nulls(value: &mut Value, keys: &[&str]) {
    for key in keys {
        if value.get(*key).is_some_and(Value::is_null) {
            value[*key] = "".into();
        }
    }
}

fn without_newer(kind: &str, mut value: Value) -> Value {
    let newer = |kind: &str| {
        NEWER_KEYS
            .iter()
            .find(|(name, _)| *name == kind)
            .map_or(&[][..], |(_, keys)| keys)
    };
    let strip = |value: &mut Value, kind: &str| {
        if let Some(fields) = value.as_object_mut() {
            fields.retain(|key, _| !newer(kind).contains(&key.as_str()));
        }
    };
    let items = match &mut value {
        Value::Array(items) => items.iter_mut().collect(),
        one => vec![one],
    };
    for item in items {
        strip(item, kind);
        if item.get("runner").is_some() {
            strip(&mut item["runner"], "runner");
            texts_for_nulls(&mut item["runner"], &["ip_address", "name"]);
        }
        if let Some(files) = item.get_mut("artifacts").and_then(Value::as_array_mut) {
            for file in files {
                texts_for_nulls(file, &["file_format"]);
            }
        }
    }
    value
}

/// A validator for one of GitLab's JSON Schemas, its references resolved from the files around it.
fn validator(truth: &std::path::Path, name: &str) -> jsonschema::Validator {
    let root = truth.join("rest/schemas");
    let mut registry = jsonschema::Registry::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("readable") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("readable");
            let schema: Value = serde_json::from_str(&text).expect("JSON");
            let uri = format!(
                "json-schema:///{}",
                path.strip_prefix(&root).expect("below").display()
            );
            registry = registry.add(uri, schema).expect("a schema");
        }
    }
    let registry = registry.prepare().expect("references resolve");
    let uri = serde_json::json!({"$ref": format!("json-schema:///public_api/v4/{name}.json")});
    jsonschema::options()
        .with_draft(jsonschema::Draft::Draft4)
        .with_registry(&registry)
        .build(&uri)
        .expect("a validator")
}

#[tokio::test]
async fn rest_answers_validate_against_gitlabs_json_schemas() {
    let Some(truth) = truth() else { return };
    let lab = Lab::usual();
    let (app, flaky) = (lab.app, lab.flaky);
    let cases = [
        ("metadata", "metadata", "/metadata".to_owned()),
        ("projects", "project", "/projects?simple=true".to_owned()),
        (
            "pipelines",
            "pipeline",
            format!("/projects/{app}/pipelines"),
        ),
        (
            "pipeline",
            "pipeline",
            format!("/projects/{app}/pipelines/{flaky}"),
        ),
        (
            "pipeline/detail",
            "pipeline",
            format!("/projects/{app}/pipelines/{flaky}"),
        ),
        (
            "branches",
            "branch",
            format!("/projects/{app}/repository/branches"),
        ),
        ("tags", "tag", format!("/projects/{app}/repository/tags")),
        (
            "merge_requests",
            "merge_request",
            format!("/projects/{app}/merge_requests"),
        ),
        (
            "merge_request",
            "merge_request",
            format!("/projects/{app}/merge_requests/1"),
        ),
    ];
    lab.simulator.world().create_tag(app, "v1").expect("made");
    for (schema, kind, path) in cases {
        let body = without_newer(kind, lab.rest(&path).await.body);
        hold(&truth, schema, &body, &path);
    }
    let path = format!("/projects/{app}/pipelines/{flaky}/jobs?include_retried=true");
    let jobs = without_newer("job", lab.rest(&path).await.body);
    assert_eq!(jobs.as_array().map(Vec::len), Some(3));
    for job in jobs.as_array().expect("a list") {
        hold(&truth, "job", job, &path);
    }
}

fn hold(truth: &std::path::Path, schema: &str, body: &Value, path: &str) {
    let validator = validator(truth, schema);
    let errors: Vec<String> = validator
        .iter_errors(body)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(
        errors.is_empty(),
        "{path} against {schema}:\n{}\n{body:#}",
        errors.join("\n")
    );
}

#[test]
fn a_wrong_answer_does_not_validate() {
    let Some(truth) = truth() else { return };
    let wrong = serde_json::json!({"id": "1", "sha": "0", "ref": "main", "status": "success", "web_url": "http://x"});
    assert!(
        validator(&truth, "pipeline/basic")
            .iter_errors(&wrong)
            .next()
            .is_some()
    );
}
