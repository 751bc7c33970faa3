//! A document without what is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use graphql_parser::query::{Definition, Document, Field, OperationDefinition, Selection};
use graphql_parser::query::{SelectionSet, TypeCondition, Value, parse_query};
use graphql_parser::schema::{Definition as SchemaDefinition, Type, TypeDefinition, parse_schema};

use super::{GAPS, Gap, Without};

/// A part of a document's text.
type Part = &'static str;

/// The type of every field of the part of the schema that the queries use.
static FIELDS: LazyLock<BTreeMap<(String, String), String>> = LazyLock::new(|| {
    let schema = parse_schema::<String>(include_str!("../schema.graphql"));
    let definitions = schema.map(|schema| schema.definitions).unwrap_or_default();
    let objects = definitions
        .into_iter()
        .filter_map(|definition| match definition {
            SchemaDefinition::TypeDefinition(TypeDefinition::Object(object)) => Some(object),
            _ => None,
        });
    let fields = objects.flat_map(|object| {
        let on = object.name;
        let fields = object.fields.into_iter();
        fields.map(move |field| ((on.clone(), field.name), named(field.field_type)))
    });
    fields.collect()
});

fn named(of: Type<'_, String>) -> String {
    match of {
        Type::NamedType(name) => name,
        Type::ListType(inner) | Type::NonNullType(inner) => named(*inner),
    }
}

/// What becomes of a document where something is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::gitlab::graphql) enum Stripped {
    /// This is sent.
    Text(String),
    /// It has no use without this.
    NotSent(&'static Gap),
}

/// The document without what is missing, and without what is only asked for in place of something
/// missing. Variables and fragments that nothing uses any more go with it, for GitLab refuses them.
pub(in crate::gitlab::graphql) fn strip(document: Part, missing: &[&'static Gap]) -> Stripped {
    // A test parses every document.
    let Ok(mut parsed) = parse_query::<Part>(document) else {
        return Stripped::Text(document.to_owned());
    };
    let mut strip = Strip {
        missing,
        changed: false,
        not_sent: None,
    };
    for definition in &mut parsed.definitions {
        match definition {
            Definition::Operation(OperationDefinition::Query(query)) => {
                strip.set(&mut query.selection_set, "Query");
            }
            Definition::Operation(_) => {}
            Definition::Fragment(fragment) => {
                let TypeCondition::On(on) = fragment.type_condition;
                strip.set(&mut fragment.selection_set, on);
            }
        }
    }
    if let Some(gap) = strip.not_sent {
        return Stripped::NotSent(gap);
    }
    if !strip.changed {
        return Stripped::Text(document.to_owned());
    }
    leave_out_unused(&mut parsed);
    Stripped::Text(parsed.to_string())
}

struct Strip<'a> {
    missing: &'a [&'static Gap],
    changed: bool,
    not_sent: Option<&'static Gap>,
}

impl Strip<'_> {
    fn set(&mut self, set: &mut SelectionSet<'static, Part>, on: &str) {
        set.items.retain_mut(|selection| match selection {
            Selection::Field(field) => {
                let keep = self.field(field, on);
                self.changed |= !keep;
                keep
            }
            Selection::FragmentSpread(_) | Selection::InlineFragment(_) => true,
        });
    }

    /// Whether the field stays, its arguments and what is below it stripped.
    fn field(&mut self, field: &mut Field<'static, Part>, on: &str) -> bool {
        if let Some(gap) = self.missing_field(on, field.name) {
            if gap.without == Without::NotSent {
                self.not_sent = Some(gap);
            }
            return false;
        }
        if let Some(gap) = in_place_of(on, field.name)
            && !self.missing.contains(&gap)
        {
            return false;
        }
        let arguments = field.arguments.len();
        let (missing, not_sent) = (self.missing, &mut self.not_sent);
        field.arguments.retain(|(argument, _)| {
            let gap = missing.iter().find(|gap| {
                gap.on == on && gap.field == field.name && gap.argument == Some(*argument)
            });
            if let Some(gap) = gap.filter(|gap| gap.without == Without::NotSent) {
                *not_sent = Some(gap);
            }
            gap.is_none()
        });
        self.changed |= field.arguments.len() < arguments;
        if field.selection_set.items.is_empty() {
            return true;
        }
        let inner = FIELDS.get(&(on.to_owned(), field.name.to_owned()));
        self.set(&mut field.selection_set, inner.map_or("", String::as_str));
        // A field whose every part is missing is of no use.
        !field.selection_set.items.is_empty()
    }

    fn missing_field(&self, on: &str, field: &str) -> Option<&'static Gap> {
        let mut missing = self.missing.iter().copied();
        missing.find(|gap| {
            let whole = gap.argument.is_none() && gap.without != Without::Null;
            whole && gap.on == on && (gap.field == field || gap.along.contains(&field))
        })
    }
}

/// The gap that this field replaces, if it does.
fn in_place_of(on: &str, field: &str) -> Option<&'static Gap> {
    GAPS.iter().find(|gap| match gap.without {
        Without::Instead(fields) => gap.on == on && fields.contains(&field),
        _ => false,
    })
}

/// What a document uses.
#[derive(Default)]
struct Used {
    variables: BTreeSet<Part>,
    fragments: BTreeSet<Part>,
}

impl Used {
    fn set(&mut self, set: &SelectionSet<'static, Part>) {
        for selection in &set.items {
            match selection {
                Selection::Field(field) => {
                    let directives = field.directives.iter();
                    let directives = directives.flat_map(|directive| &directive.arguments);
                    for (_, value) in field.arguments.iter().chain(directives) {
                        self.value(value);
                    }
                    self.set(&field.selection_set);
                }
                Selection::FragmentSpread(spread) => {
                    self.fragments.insert(spread.fragment_name);
                }
                Selection::InlineFragment(fragment) => self.set(&fragment.selection_set),
            }
        }
    }

    fn value(&mut self, value: &Value<'static, Part>) {
        match value {
            Value::Variable(name) => {
                self.variables.insert(name);
            }
            Value::List(items) => items.iter().for_each(|item| self.value(item)),
            Value::Object(fields) => fields.values().for_each(|item| self.value(item)),
            _ => {}
        }
    }
}

fn leave_out_unused(document: &mut Document<'static, Part>) {
    let mut used = Used::default();
    for definition in &document.definitions {
        match definition {
            Definition::Operation(OperationDefinition::Query(query)) => {
                used.set(&query.selection_set);
            }
            Definition::Operation(_) => {}
            Definition::Fragment(fragment) => used.set(&fragment.selection_set),
        }
    }
    document
        .definitions
        .retain_mut(|definition| match definition {
            Definition::Operation(OperationDefinition::Query(query)) => {
                let variables = &mut query.variable_definitions;
                variables.retain(|variable| used.variables.contains(variable.name));
                true
            }
            Definition::Operation(_) => true,
            Definition::Fragment(fragment) => used.fragments.contains(fragment.name),
        });
}
