//! Fields that a client marks as newer than the GitLab that it asks: `@gl_introduced(version: "18.1.0")`. An
//! older GitLab answers null instead of refusing the query.

use std::collections::HashMap;

use async_graphql::Name;
use async_graphql::parser::types::{
    Directive, ExecutableDocument, Field, FragmentDefinition, Selection, SelectionSet,
};
use async_graphql::{Positioned, Value};
use serde_json::Value as Json;

const DIRECTIVE: &str = "gl_introduced";

/// Response keys down to a field.
pub(super) type Keys = Vec<String>;

/// Takes marks out of a document, and with them the fields that this release does not have. Returns where
/// these would be in the answer.
pub(super) fn take_out(document: &mut ExecutableDocument, release: (u32, u32)) -> Vec<Keys> {
    let mut absent = Vec::new();
    let fragments = document.fragments.clone();
    for (_, operation) in document.operations.iter() {
        let set = &operation.node.selection_set.node;
        find(set, &fragments, release, &mut Vec::new(), &mut absent);
    }
    let operations = match &mut document.operations {
        async_graphql::parser::types::DocumentOperations::Single(one) => vec![one],
        async_graphql::parser::types::DocumentOperations::Multiple(all) => {
            all.values_mut().collect()
        }
    };
    for operation in operations {
        remove(&mut operation.node.selection_set.node, release);
    }
    for fragment in document.fragments.values_mut() {
        remove(&mut fragment.node.selection_set.node, release);
    }
    absent
}

/// Shows them as null.
pub(super) fn show(data: &mut Json, keys: &[String]) {
    match (data, keys) {
        (Json::Array(items), _) => items.iter_mut().for_each(|item| show(item, keys)),
        (Json::Object(fields), [last]) => drop(fields.entry(last.clone()).or_insert(Json::Null)),
        (Json::Object(fields), [key, below @ ..]) => {
            if let Some(value) = fields.get_mut(key) {
                show(value, below);
            }
        }
        _ => {}
    }
}

fn find(
    set: &SelectionSet,
    fragments: &HashMap<Name, Positioned<FragmentDefinition>>,
    release: (u32, u32),
    above: &mut Keys,
    absent: &mut Vec<Keys>,
) {
    for selection in &set.items {
        match &selection.node {
            Selection::Field(field) => {
                above.push(field.node.response_key().node.to_string());
                match is_newer(&field.node, release) {
                    true => absent.push(above.clone()),
                    false => {
                        let below = &field.node.selection_set.node;
                        find(below, fragments, release, above, absent);
                    }
                }
                above.pop();
            }
            Selection::InlineFragment(inline) => {
                let below = &inline.node.selection_set.node;
                find(below, fragments, release, above, absent);
            }
            Selection::FragmentSpread(spread) => {
                if let Some(fragment) = fragments.get(&spread.node.fragment_name.node) {
                    let below = &fragment.node.selection_set.node;
                    find(below, fragments, release, above, absent);
                }
            }
        }
    }
}

fn remove(set: &mut SelectionSet, release: (u32, u32)) {
    set.items.retain(|selection| match &selection.node {
        Selection::Field(field) => !is_newer(&field.node, release),
        _ => true,
    });
    for selection in &mut set.items {
        match &mut selection.node {
            Selection::Field(field) => {
                let directives = &mut field.node.directives;
                directives.retain(|directive| !is_mark(&directive.node));
                remove(&mut field.node.selection_set.node, release);
            }
            Selection::InlineFragment(inline) => {
                remove(&mut inline.node.selection_set.node, release);
            }
            Selection::FragmentSpread(_) => {}
        }
    }
}

fn is_mark(directive: &Directive) -> bool {
    directive.name.node == DIRECTIVE
}

fn is_newer(field: &Field, release: (u32, u32)) -> bool {
    let mut marks = field.directives.iter().map(|directive| &directive.node);
    let mark = marks.find(|directive| is_mark(directive));
    let version = mark.and_then(|mark| mark.get_argument("version"));
    let Some(Value::String(version)) = version.and_then(|version| {
        let fixed = version.node.clone().into_const()?;
        Some(fixed)
    }) else {
        return false;
    };
    let mut numbers = version.split('.').map(|part| part.parse().unwrap_or(0));
    let wanted: (u32, u32) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    wanted > release
}
