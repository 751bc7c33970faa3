//! GraphQL's validation of our queries against a schema, with errors as GitLab writes them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use graphql_parser::query::{
    self, Definition, Field, OperationDefinition, Selection, SelectionSet, VariableDefinition,
};
use graphql_parser::schema::{
    self, Definition as SchemaDefinition, InputValue, Type, TypeDefinition, parse_schema,
};
use serde_json::{Value, json};

/// Errors that GitLab reports of one document.
const MOST_ERRORS: usize = 5;

/// The types of a schema by name.
pub(super) struct Types(pub(super) HashMap<String, TypeDefinition<'static, String>>);

impl Types {
    pub(super) fn parse(text: &str) -> Self {
        let document = parse_schema::<String>(text).unwrap().into_static();
        Self(
            document
                .definitions
                .into_iter()
                .filter_map(|definition| match definition {
                    SchemaDefinition::TypeDefinition(definition) => {
                        Some((name(&definition).to_owned(), definition))
                    }
                    _ => None,
                })
                .collect(),
        )
    }

    pub(super) fn fields(&self, name: &str) -> Option<&[schema::Field<'static, String>]> {
        match self.0.get(name)? {
            TypeDefinition::Object(object) => Some(&object.fields),
            TypeDefinition::Interface(interface) => Some(&interface.fields),
            _ => None,
        }
    }
}

pub(super) fn name<'a>(definition: &'a TypeDefinition<'static, String>) -> &'a str {
    match definition {
        TypeDefinition::Scalar(scalar) => &scalar.name,
        TypeDefinition::Object(object) => &object.name,
        TypeDefinition::Interface(interface) => &interface.name,
        TypeDefinition::Union(union) => &union.name,
        TypeDefinition::Enum(names) => &names.name,
        TypeDefinition::InputObject(input) => &input.name,
    }
}

/// The rules of GraphQL's validation that our queries could break.
pub(super) struct Validation<'a> {
    document: query::Document<'a, String>,
    types: &'a Types,
    newer: &'a BTreeSet<(String, String)>,
    variables: BTreeMap<String, Type<'a, String>>,
    used_variables: BTreeSet<String>,
    used_fragments: BTreeSet<String>,
    wrong: Vec<String>,
    /// The same as GitLab says it.
    errors: Vec<Value>,
}

impl<'a> Validation<'a> {
    pub(super) fn new(
        text: &'a str,
        types: &'a Types,
        newer: &'a BTreeSet<(String, String)>,
    ) -> Self {
        Self {
            document: query::parse_query(text).unwrap(),
            types,
            newer,
            variables: BTreeMap::new(),
            used_variables: BTreeSet::new(),
            used_fragments: BTreeSet::new(),
            wrong: Vec::new(),
            errors: Vec::new(),
        }
    }

    /// What is wrong, in words.
    pub(super) fn run(mut self) -> Vec<String> {
        self.check();
        self.wrong
    }

    /// What is wrong, as GitLab answers it.
    pub(super) fn errors(mut self) -> Vec<Value> {
        self.check();
        self.errors.truncate(MOST_ERRORS);
        self.errors
    }

    fn wrong(&mut self, text: String, message: &str, extensions: Value) {
        self.wrong.push(text);
        self.errors
            .push(json!({"message": message, "extensions": extensions}));
    }

    fn check(&mut self) {
        for definition in self.document.definitions.clone() {
            if let Definition::Operation(OperationDefinition::Query(query)) = definition {
                self.variables = declared(&query.variable_definitions);
                self.set(&query.selection_set, "Query");
            }
        }
        for variable in self.variables.clone().into_keys() {
            if !self.used_variables.contains(&variable) {
                self.wrong(
                    format!("${variable} is not used"),
                    &format!("Variable ${variable} is declared by Query but not used"),
                    json!({"code": "variableNotUsed", "variableName": variable}),
                );
            }
        }
        for definition in self.document.definitions.clone() {
            if let Definition::Fragment(fragment) = definition
                && !self.used_fragments.contains(&fragment.name)
            {
                let name = &fragment.name;
                self.wrong(
                    format!("fragment {name} is not used"),
                    &format!("Fragment {name} was defined, but not used"),
                    json!({"code": "useAndDefineFragment", "fragmentName": name}),
                );
            }
        }
    }

    fn set(&mut self, set: &SelectionSet<'a, String>, on: &str) {
        for selection in &set.items {
            match selection {
                Selection::Field(field) => self.field(field, on),
                Selection::FragmentSpread(spread) => self.fragment(&spread.fragment_name, on),
                Selection::InlineFragment(_) => {
                    self.wrong("inline fragment".into(), "", Value::Null);
                }
            }
        }
    }

    fn fragment(&mut self, name: &str, on: &str) {
        let is_new = self.used_fragments.insert(name.to_owned());
        let fragment = self
            .document
            .definitions
            .iter()
            .find_map(|definition| match definition {
                Definition::Fragment(fragment) if fragment.name == name => Some(fragment.clone()),
                _ => None,
            });
        let Some(fragment) = fragment else {
            return self.wrong(format!("no fragment {name}"), "", Value::Null);
        };
        let query::TypeCondition::On(condition) = &fragment.type_condition;
        if condition != on {
            let text = format!("{name} is on {condition}, not {on}");
            self.wrong(text, "", Value::Null);
        }
        if !self.types.0.contains_key(condition) {
            self.wrong(
                format!("no type {condition}"),
                &format!("No such type {condition}, so it can't be a fragment condition"),
                json!({"code": "undefinedType", "typeName": condition}),
            );
        } else if is_new {
            self.set(&fragment.selection_set, condition);
        }
    }

    fn field(&mut self, field: &Field<'a, String>, on: &str) {
        let known = self.types.fields(on).unwrap_or_default();
        let Some(definition) = known.iter().find(|known| known.name == field.name) else {
            // What lies below a newer field is not in the collected schema either.
            if !self.newer.contains(&(on.to_owned(), field.name.clone())) {
                let name = &field.name;
                self.wrong(
                    format!("{on} has no field {name}"),
                    &format!("Field '{name}' doesn't exist on type '{on}'"),
                    json!({"code": "undefinedField", "typeName": on, "fieldName": name}),
                );
            }
            return;
        };
        let definition = definition.clone();
        for directive in &field.directives {
            let condition = Type::NonNullType(Box::new(Type::NamedType("Boolean".into())));
            match (directive.name.as_str(), directive.arguments.as_slice()) {
                ("include" | "skip", [(name, value)]) if name == "if" => {
                    self.value(value, &condition, &directive.name);
                }
                _ => self.wrong(format!("@{}", directive.name), "", Value::Null),
            }
        }
        self.arguments(field, &definition.arguments);
        let inner = named(&definition.field_type);
        match (
            self.types.fields(inner).is_some(),
            field.selection_set.items.is_empty(),
        ) {
            (true, true) => {
                let text = format!("{} needs a selection", field.name);
                self.wrong(text, "", json!({"code": "selectionMismatch"}));
            }
            (false, false) => {
                let text = format!("{} has no selection", field.name);
                self.wrong(text, "", json!({"code": "selectionMismatch"}));
            }
            _ => self.set(&field.selection_set, inner),
        }
    }

    fn arguments(&mut self, field: &Field<'a, String>, known: &[InputValue<'static, String>]) {
        for (name, value) in &field.arguments {
            match known.iter().find(|argument| argument.name == *name) {
                Some(argument) => self.value(value, &argument.value_type.clone(), name),
                None => self.wrong(
                    format!("{} has no argument {name}", field.name),
                    &format!("Field '{}' doesn't accept argument '{name}'", field.name),
                    json!({"code": "argumentNotAccepted", "name": field.name,
                        "typeName": "Field", "argumentName": name}),
                ),
            }
        }
        for argument in known {
            let needed = matches!(argument.value_type, Type::NonNullType(_))
                && argument.default_value.is_none();
            if needed
                && !field
                    .arguments
                    .iter()
                    .any(|(name, _)| *name == argument.name)
            {
                let (field, argument) = (&field.name, &argument.name);
                self.wrong(
                    format!("{field} needs {argument}"),
                    &format!("Field '{field}' is missing required arguments: {argument}"),
                    json!({"code": "missingRequiredArguments", "className": "Field",
                        "name": field, "arguments": argument}),
                );
            }
        }
    }

    fn value(&mut self, value: &query::Value<'a, String>, wanted: &Type<'_, String>, place: &str) {
        if let query::Value::Variable(name) = value {
            self.used_variables.insert(name.clone());
            match self.variables.get(name) {
                None => self.wrong(format!("${name} is not declared"), "", Value::Null),
                Some(declared) if !fits(declared, wanted) => {
                    let text = format!("${name} is {declared}, {place} takes {wanted}");
                    self.wrong(text, "", json!({"code": "variableMismatch"}));
                }
                Some(_) => {}
            }
            return;
        }
        if !self.literal_fits(value, wanted) {
            let text = format!("{place} takes {wanted}");
            self.wrong(text, "", json!({"code": "argumentLiteralsIncompatible"}));
        }
    }

    fn literal_fits(&self, value: &query::Value<'a, String>, wanted: &Type<'_, String>) -> bool {
        match (value, wanted) {
            (query::Value::Null, wanted) => !matches!(wanted, Type::NonNullType(_)),
            (value, Type::NonNullType(wanted)) => self.literal_fits(value, wanted),
            (query::Value::List(items), Type::ListType(wanted)) => {
                items.iter().all(|item| self.literal_fits(item, wanted))
            }
            (query::Value::Enum(value), Type::NamedType(name)) => matches!(
                self.types.0.get(name),
                Some(TypeDefinition::Enum(known)) if known.values.iter().any(|v| v.name == *value)
            ),
            (query::Value::Int(_), Type::NamedType(name)) => name == "Int" || name == "Float",
            (query::Value::String(_), Type::NamedType(name)) => name == "String" || name == "ID",
            (query::Value::Boolean(_), Type::NamedType(name)) => name == "Boolean",
            _ => false,
        }
    }
}

fn declared<'a>(
    definitions: &[VariableDefinition<'a, String>],
) -> BTreeMap<String, Type<'a, String>> {
    definitions
        .iter()
        .map(|definition| (definition.name.clone(), definition.var_type.clone()))
        .collect()
}

pub(super) fn named<'a>(of: &'a Type<'_, String>) -> &'a str {
    match of {
        Type::NamedType(name) => name,
        Type::ListType(inner) | Type::NonNullType(inner) => named(inner),
    }
}

/// Whether a variable of type `declared` may stand where `wanted` is taken.
fn fits(declared: &Type<'_, String>, wanted: &Type<'_, String>) -> bool {
    match (declared, wanted) {
        (Type::NonNullType(declared), Type::NonNullType(wanted))
        | (Type::ListType(declared), Type::ListType(wanted)) => fits(declared, wanted),
        (_, Type::NonNullType(_)) => false,
        (Type::NonNullType(declared), wanted) => fits(declared, wanted),
        (Type::NamedType(declared), Type::NamedType(wanted)) => declared == wanted,
        _ => false,
    }
}
