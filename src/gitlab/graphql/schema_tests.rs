//! Holds the schema subset and every query against GitLab's whole schema.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::LazyLock;

use graphql_parser::query::{
    self, Definition, Field, OperationDefinition, Selection, SelectionSet, VariableDefinition,
};
use graphql_parser::schema::{
    self, Definition as SchemaDefinition, InputValue, Type, TypeDefinition, parse_schema,
};

use crate::gitlab::testing::truth;

const SUBSET: &str = include_str!("schema.graphql");

const QUERIES: [(&str, &str); 13] = [
    ("test_reports", include_str!("queries/test_reports.graphql")),
    (
        "pipeline_schedules",
        include_str!("queries/pipeline_schedules.graphql"),
    ),
    ("runners", include_str!("queries/runners.graphql")),
    (
        "project_changes",
        include_str!("queries/project_changes.graphql"),
    ),
    (
        "pipeline_jobs",
        include_str!("queries/pipeline_jobs.graphql"),
    ),
    (
        "licensed_features",
        include_str!("queries/licensed_features.graphql"),
    ),
    (
        "feature_probe",
        include_str!("queries/feature_probe.graphql"),
    ),
    ("repositories", include_str!("queries/repositories.graphql")),
    ("ref_counts", include_str!("queries/ref_counts.graphql")),
    (
        "value_streams",
        include_str!("queries/value_streams.graphql"),
    ),
    ("flow_times", include_str!("queries/flow_times.graphql")),
    ("dora_metrics", include_str!("queries/dora_metrics.graphql")),
    (
        "vulnerability_counts",
        include_str!("queries/vulnerability_counts.graphql"),
    ),
];

/// Types that stand behind a field newer than the collected schema, which has only their fields'
/// names.
const NEWER_TYPES: [&str; 2] = ["LicensedFeature", "LicensedFeatureAvailability"];

/// The types of a schema by name.
struct Types(HashMap<String, TypeDefinition<'static, String>>);

impl Types {
    fn parse(text: &str) -> Self {
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

    fn fields(&self, name: &str) -> Option<&[schema::Field<'static, String>]> {
        match self.0.get(name)? {
            TypeDefinition::Object(object) => Some(&object.fields),
            TypeDefinition::Interface(interface) => Some(&interface.fields),
            _ => None,
        }
    }
}

/// GitLab's schema; `None` where it is absent.
static WHOLE: LazyLock<Option<Types>> = LazyLock::new(|| {
    let file = truth("graphql/schema.graphql")?;
    Some(Types::parse(&std::fs::read_to_string(file).unwrap()))
});

/// Fields that GitLab has and the collected schema has not, as (type, field).
fn newer_fields() -> BTreeSet<(String, String)> {
    let Some(file) = truth("graphql/fields-added-18.4-to-19.3.tsv") else {
        return BTreeSet::new();
    };
    std::fs::read_to_string(file)
        .unwrap()
        .lines()
        .filter_map(|line| {
            let mut columns = line.split('\t');
            Some((columns.next()?.to_owned(), columns.next()?.to_owned()))
        })
        .collect()
}

fn name<'a>(definition: &'a TypeDefinition<'static, String>) -> &'a str {
    match definition {
        TypeDefinition::Scalar(scalar) => &scalar.name,
        TypeDefinition::Object(object) => &object.name,
        TypeDefinition::Interface(interface) => &interface.name,
        TypeDefinition::Union(union) => &union.name,
        TypeDefinition::Enum(names) => &names.name,
        TypeDefinition::InputObject(input) => &input.name,
    }
}

#[test]
fn the_subset_is_a_true_subset_of_gitlabs_schema() {
    let Some(whole) = &*WHOLE else { return };
    let newer = newer_fields();
    let mut wrong = Vec::new();
    for (name, ours) in &Types::parse(SUBSET).0 {
        if NEWER_TYPES.contains(&name.as_str()) {
            continue;
        }
        let Some(theirs) = whole.0.get(name) else {
            wrong.push(format!("{name}: no such type"));
            continue;
        };
        match (ours, theirs) {
            (TypeDefinition::Scalar(_), TypeDefinition::Scalar(_)) => {}
            (TypeDefinition::Enum(ours), TypeDefinition::Enum(theirs)) => {
                let ours: BTreeSet<_> = ours.values.iter().map(|value| &value.name).collect();
                let theirs = theirs.values.iter().map(|value| &value.name).collect();
                if ours != theirs {
                    wrong.push(format!("{name}: {ours:?} is not {theirs:?}"));
                }
            }
            (TypeDefinition::Object(ours), TypeDefinition::Object(theirs)) => {
                for field in &ours.fields {
                    if newer.contains(&(name.clone(), field.name.clone())) {
                        continue;
                    }
                    let place = format!("{name}.{}", field.name);
                    match theirs
                        .fields
                        .iter()
                        .find(|theirs| theirs.name == field.name)
                    {
                        None => wrong.push(format!("{place}: no such field")),
                        Some(theirs) => wrong.extend(same_field(&place, field, theirs)),
                    }
                }
            }
            (TypeDefinition::InputObject(ours), TypeDefinition::InputObject(theirs)) => {
                let fields = |input: &schema::InputObjectType<'static, String>| {
                    let fields = input.fields.iter();
                    let fields = fields.map(|field| (field.name.clone(), field.value_type.clone()));
                    fields.collect::<Vec<_>>()
                };
                if fields(ours) != fields(theirs) {
                    wrong.push(format!("{name}: other fields"));
                }
            }
            _ => wrong.push(format!("{name}: another kind of type")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn same_field(
    place: &str,
    ours: &schema::Field<'static, String>,
    theirs: &schema::Field<'static, String>,
) -> Vec<String> {
    let mut wrong = Vec::new();
    if ours.field_type != theirs.field_type {
        wrong.push(format!(
            "{place}: {} is not {}",
            ours.field_type, theirs.field_type
        ));
    }
    for argument in &ours.arguments {
        let theirs = theirs
            .arguments
            .iter()
            .find(|theirs| theirs.name == argument.name);
        if theirs.map(|theirs| &theirs.value_type) != Some(&argument.value_type) {
            wrong.push(format!("{place}({}): not so", argument.name));
        }
    }
    wrong
}

#[test]
fn every_query_validates_against_gitlabs_schema() {
    let Some(whole) = &*WHOLE else { return };
    let newer = newer_fields();
    for (name, text) in QUERIES {
        let wrong = Validation::new(text, whole, &newer).run();
        assert!(wrong.is_empty(), "{name}:\n{}", wrong.join("\n"));
    }
}

/// The validation itself must be able to fail.
#[test]
fn mistakes_in_a_query_are_seen() {
    let types = Types::parse(SUBSET);
    for (query, want) in [
        ("query { nothing }", "Query has no field nothing"),
        ("query { projects }", "projects needs a selection"),
        (
            "query { projects { nodes { id { x } } } }",
            "id has no selection",
        ),
        (
            "query { projects(last: 1) { nodes { id } } }",
            "projects has no argument last",
        ),
        (
            "query ($n: String) { projects(first: $n) { nodes { id } } }",
            "$n is String",
        ),
        (
            "query ($n: [ID]) { projects(ids: $n) { nodes { id } } }",
            "$n is [ID]",
        ),
        (
            "query { projects(first: $n) { nodes { id } } }",
            "$n is not declared",
        ),
        (
            "query ($n: Int) { projects { nodes { id } } }",
            "$n is not used",
        ),
        (
            "query { projects(first: \"1\") { nodes { id } } }",
            "first takes Int",
        ),
        (
            "query { projects { nodes { pipelines(status: DONE) { nodes { id } } } } }",
            "status takes PipelineStatusEnum",
        ),
        (
            "query { projects { nodes { flowMetrics { leadTime(from: null) { value } } } } }",
            "leadTime needs to",
        ),
        ("query { projects { nodes { ...No } } }", "no fragment No"),
        (
            "query { projects { nodes { ...F } } } fragment F on Pipeline { id }",
            "F is on Pipeline, not Project",
        ),
        (
            "query { projects { nodes { id } } } fragment F on Project { id }",
            "fragment F is not used",
        ),
        (
            "query { projects { nodes { id @include(if: 1) } } }",
            "include takes Boolean!",
        ),
    ] {
        let wrong = Validation::new(query, &types, &BTreeSet::new()).run();
        assert!(
            wrong.iter().any(|text| text.contains(want)),
            "{query}: {wrong:?}"
        );
    }
    for (_, query) in QUERIES {
        assert_eq!(
            Validation::new(query, &types, &BTreeSet::new()).run(),
            [""; 0]
        );
    }
}

/// The rules of GraphQL's validation that our queries could break.
struct Validation<'a> {
    document: query::Document<'a, String>,
    types: &'a Types,
    newer: &'a BTreeSet<(String, String)>,
    variables: BTreeMap<String, Type<'a, String>>,
    used_variables: BTreeSet<String>,
    used_fragments: BTreeSet<String>,
    wrong: Vec<String>,
}

impl<'a> Validation<'a> {
    fn new(text: &'a str, types: &'a Types, newer: &'a BTreeSet<(String, String)>) -> Self {
        Self {
            document: query::parse_query(text).unwrap(),
            types,
            newer,
            variables: BTreeMap::new(),
            used_variables: BTreeSet::new(),
            used_fragments: BTreeSet::new(),
            wrong: Vec::new(),
        }
    }

    fn run(mut self) -> Vec<String> {
        for definition in self.document.definitions.clone() {
            if let Definition::Operation(OperationDefinition::Query(query)) = definition {
                self.variables = declared(&query.variable_definitions);
                self.set(&query.selection_set, "Query");
            }
        }
        for variable in self.variables.keys() {
            if !self.used_variables.contains(variable) {
                self.wrong.push(format!("${variable} is not used"));
            }
        }
        for definition in &self.document.definitions {
            if let Definition::Fragment(fragment) = definition
                && !self.used_fragments.contains(&fragment.name)
            {
                self.wrong
                    .push(format!("fragment {} is not used", fragment.name));
            }
        }
        self.wrong
    }

    fn set(&mut self, set: &SelectionSet<'a, String>, on: &str) {
        for selection in &set.items {
            match selection {
                Selection::Field(field) => self.field(field, on),
                Selection::FragmentSpread(spread) => self.fragment(&spread.fragment_name, on),
                Selection::InlineFragment(_) => self.wrong.push("inline fragment".into()),
            }
        }
    }

    fn fragment(&mut self, name: &str, on: &str) {
        self.used_fragments.insert(name.to_owned());
        let fragment = self
            .document
            .definitions
            .iter()
            .find_map(|definition| match definition {
                Definition::Fragment(fragment) if fragment.name == name => Some(fragment.clone()),
                _ => None,
            });
        let Some(fragment) = fragment else {
            return self.wrong.push(format!("no fragment {name}"));
        };
        let query::TypeCondition::On(condition) = &fragment.type_condition;
        if condition != on {
            self.wrong
                .push(format!("{name} is on {condition}, not {on}"));
        }
        self.set(&fragment.selection_set, condition);
    }

    fn field(&mut self, field: &Field<'a, String>, on: &str) {
        let known = self.types.fields(on).unwrap_or_default();
        let Some(definition) = known.iter().find(|known| known.name == field.name) else {
            // What lies below a newer field is not in the collected schema either.
            if !self.newer.contains(&(on.to_owned(), field.name.clone())) {
                self.wrong.push(format!("{on} has no field {}", field.name));
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
                _ => self.wrong.push(format!("@{}", directive.name)),
            }
        }
        self.arguments(field, &definition.arguments);
        let inner = named(&definition.field_type);
        match (
            self.types.fields(inner).is_some(),
            field.selection_set.items.is_empty(),
        ) {
            (true, true) => self.wrong.push(format!("{} needs a selection", field.name)),
            (false, false) => self.wrong.push(format!("{} has no selection", field.name)),
            _ => self.set(&field.selection_set, inner),
        }
    }

    fn arguments(&mut self, field: &Field<'a, String>, known: &[InputValue<'static, String>]) {
        for (name, value) in &field.arguments {
            match known.iter().find(|argument| argument.name == *name) {
                Some(argument) => self.value(value, &argument.value_type.clone(), name),
                None => self
                    .wrong
                    .push(format!("{} has no argument {name}", field.name)),
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
                self.wrong
                    .push(format!("{} needs {}", field.name, argument.name));
            }
        }
    }

    fn value(&mut self, value: &query::Value<'a, String>, wanted: &Type<'_, String>, place: &str) {
        if let query::Value::Variable(name) = value {
            self.used_variables.insert(name.clone());
            match self.variables.get(name) {
                None => self.wrong.push(format!("${name} is not declared")),
                Some(declared) if !fits(declared, wanted) => {
                    self.wrong
                        .push(format!("${name} is {declared}, {place} takes {wanted}"));
                }
                Some(_) => {}
            }
            return;
        }
        if !self.literal_fits(value, wanted) {
            self.wrong.push(format!("{place} takes {wanted}"));
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

fn named<'a>(of: &'a Type<'_, String>) -> &'a str {
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
