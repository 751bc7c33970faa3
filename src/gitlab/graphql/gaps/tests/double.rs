//! A GitLab of some version: it validates documents against that version's schema, refuses what it does
//! not know as GitLab does, and answers the rest with projects in which nothing is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use graphql_parser::query::{
    Definition, Document, Field, OperationDefinition, Selection, SelectionSet, Value as Argument,
    parse_query,
};
use graphql_parser::schema::{Type, TypeDefinition};
use serde_json::{Map, Value, json};

use crate::gitlab::graphql::schema_tests::schema_of;
use crate::gitlab::graphql::validation::{Types, Validation};
use crate::gitlab::testing::{Fake, Reply, Request};

/// What such a GitLab was asked.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    /// Requests by operation.
    pub(super) requests: BTreeMap<String, usize>,
    /// The document that was answered last, by operation.
    pub(super) answered: BTreeMap<String, String>,
}

impl Asked {
    /// All requests.
    pub(super) fn count(&self) -> usize {
        self.requests.values().sum()
    }
}

/// A GitLab of the version whose schema is in `file`, and what it was asked; `None` where that is absent.
pub(super) async fn gitlab(file: &str) -> Option<(Fake, Arc<Mutex<Asked>>)> {
    let types = schema_of(file)?;
    let asked = Arc::new(Mutex::new(Asked::default()));
    let noted = Arc::clone(&asked);
    let fake = Fake::start(move |request, _| reply(types, request, &noted)).await;
    Some((fake, asked))
}

fn reply(types: &Types, request: &Request, asked: &Mutex<Asked>) -> Reply {
    if !request.target.ends_with("/graphql") {
        return Reply::status(404, r#"{"message":"404 Not Found"}"#);
    }
    let body: Value = serde_json::from_str(&request.body).unwrap();
    let (document, operation) = (
        body["query"].as_str().unwrap(),
        body["operationName"].as_str().unwrap(),
    );
    let mut asked = asked.lock().unwrap();
    *asked.requests.entry(operation.to_owned()).or_default() += 1;
    let errors = Validation::new(document, types, &BTreeSet::new()).errors();
    if !errors.is_empty() {
        return Reply::json(json!({"errors": errors}).to_string());
    }
    asked
        .answered
        .insert(operation.to_owned(), document.to_owned());
    Reply::json(json!({"data": answer(types, document, &body["variables"])}).to_string())
}

/// An answer in which every list is empty and whatever may be null is null.
pub(super) fn answer(types: &Types, document: &str, variables: &Value) -> Value {
    let document = parse_query::<String>(document).unwrap();
    let query = document.definitions.iter().find_map(|one| match one {
        Definition::Operation(OperationDefinition::Query(query)) => Some(query),
        _ => None,
    });
    let answering = Answering {
        types,
        document: &document,
        variables,
    };
    answering.object("Query", &query.unwrap().selection_set)
}

struct Answering<'a> {
    types: &'a Types,
    document: &'a Document<'a, String>,
    variables: &'a Value,
}

impl Answering<'_> {
    fn object(&self, on: &str, set: &SelectionSet<'_, String>) -> Value {
        let mut object = Map::new();
        self.fill(&mut object, on, set);
        Value::Object(object)
    }

    fn fill(&self, object: &mut Map<String, Value>, on: &str, set: &SelectionSet<'_, String>) {
        for selection in &set.items {
            match selection {
                Selection::Field(field) if self.is_included(field) => {
                    let name = field.alias.as_ref().unwrap_or(&field.name);
                    object.insert(name.clone(), self.field(on, field));
                }
                Selection::FragmentSpread(spread) => {
                    let fragment = self.document.definitions.iter().find_map(|one| match one {
                        Definition::Fragment(fragment) if fragment.name == spread.fragment_name => {
                            Some(fragment)
                        }
                        _ => None,
                    });
                    self.fill(object, on, &fragment.unwrap().selection_set);
                }
                _ => {}
            }
        }
    }

    fn is_included(&self, field: &Field<'_, String>) -> bool {
        let mut values = field.directives.iter().map(|one| &one.arguments[0].1);
        values.all(|value| match value {
            Argument::Variable(name) => self.variables[name.as_str()] == true,
            _ => false,
        })
    }

    fn field(&self, on: &str, field: &Field<'_, String>) -> Value {
        if (on, &*field.name) == ("Query", "projects") {
            let ids = self.variables["ids"].as_array().unwrap();
            let nodes = field.selection_set.items.iter().find_map(|one| match one {
                Selection::Field(nodes) => Some(nodes),
                _ => None,
            });
            let nodes: Vec<Value> = ids
                .iter()
                .map(|id| {
                    let mut node = self.object("Project", &nodes.unwrap().selection_set);
                    node["id"] = id.clone();
                    node
                })
                .collect();
            return json!({"nodes": nodes});
        }
        let known = self.types.fields(on).unwrap_or_default();
        let known = known.iter().find(|known| known.name == field.name);
        match &known.unwrap().field_type {
            Type::NonNullType(inner) => self.value(inner, field),
            Type::NamedType(name) if name.ends_with("Connection") => {
                self.object(name, &field.selection_set)
            }
            Type::ListType(_) if field.name == "nodes" => json!([]),
            _ => Value::Null,
        }
    }

    fn value(&self, of: &Type<'_, String>, field: &Field<'_, String>) -> Value {
        let name = match of {
            Type::NamedType(name) => name,
            Type::ListType(_) | Type::NonNullType(_) => return json!([]),
        };
        if self.types.fields(name).is_some() {
            return self.object(name, &field.selection_set);
        }
        match self.types.0.get(name) {
            Some(TypeDefinition::Enum(names)) => json!(names.values[0].name),
            _ => match name.as_str() {
                "Int" | "Float" | "BigInt" => json!(0),
                "Boolean" => json!(false),
                "Time" => json!("2026-01-05T12:00:00Z"),
                _ => json!("gid://gitlab/Thing/1"),
            },
        }
    }
}
