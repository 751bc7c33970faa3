//! What GitLab looks at before it runs a query: unknown names, depth, recursion and above all the price.
//!
//! The price of a plain field is 1 and what is below it. A field with a resolver pays 1 more for a sort
//! order and 5 for a search; if it is a connection, 1 % for each row that may come, then the fraction is
//! cut off. Asking Gitaly costs 1. A few fields have prices of their own.

use std::collections::HashSet;

use async_graphql::Variables;
use async_graphql::indexmap::IndexMap;
use async_graphql::parser::types::{
    Directive, ExecutableDocument, Field, OperationDefinition, Selection, SelectionSet,
};
use async_graphql::{Name, Pos, Positioned, Value};
use serde_json::{Value as Json, json};

use super::page::PAGE_SIZE;
use super::types::FieldShape;
pub use super::types::Types;

/// How a field is priced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Price {
    /// 1 and what is below.
    Plain,
    /// 2 and what is below: it asks Gitaly.
    Gitaly,
    /// So much and what is below.
    Fixed(i32),
    /// By GitLab's rule for resolvers; the number is added on top.
    Resolver(i32),
    /// The same, and it always has a sort order.
    SortedResolver,
}

fn price(parent: &str, field: &str) -> Price {
    match (parent, field) {
        ("Query", "project" | "group" | "metadata" | "projects" | "runners" | "jobs")
        | ("Project", "mergeRequest" | "jobs" | "environments" | "runners" | "deployment")
        | ("Project", "valueStreams" | "vulnerabilitySeveritiesCount")
        | ("ValueStream", "stages")
        | ("ValueStreamStage", "metrics")
        | ("Pipeline", "jobs" | "testReportSummary")
        | ("MergeRequest", "notes")
        | ("CiRunner", "managers") => Price::Resolver(0),
        ("Project", "pipelines" | "pipelineSchedules") => Price::Resolver(1),
        ("Project" | "Group", "mergeRequests") | ("Project", "issues" | "releases") => {
            Price::SortedResolver
        }
        ("Project", "pipeline") => Price::Resolver(-9),
        ("Group", "projects") => Price::Resolver(10),
        // Both ask Gitaly by a resolver; what GitLab takes for the commit is its own.
        ("Repository", "tree") => Price::Resolver(1),
        ("Tree", "lastCommit") => Price::Fixed(11),
        ("Dora", "metrics") => Price::Resolver(0),
        ("ProjectValueStreamAnalyticsFlowMetrics", _) => Price::Resolver(0),
        ("MergeRequest", "reviewers" | "assignees" | "labels") => Price::Fixed(5),
        ("MergeRequest", "diffStatsSummary" | "approved") => Price::Gitaly,
        ("Pipeline", "latest")
        | ("Project", "forksCount" | "languages")
        | ("Repository", "rootRef" | "exists" | "empty" | "branchCount" | "tagCount") => {
            Price::Gitaly
        }
        ("MergeRequest", "mergedAt" | "closedAt") => Price::Fixed(5),
        _ => Price::Plain,
    }
}

/// Fields that only the Enterprise Edition has.
const ENTERPRISE: &[(&str, &str)] = &[
    ("Project", "dora"),
    ("Project", "licensedFeatureAvailability"),
    ("Project", "vulnerabilitySeveritiesCount"),
    ("Pipeline", "computeMinutes"),
    ("ProjectValueStreamAnalyticsFlowMetrics", "leadTime"),
    ("ProjectValueStreamAnalyticsFlowMetrics", "cycleTime"),
];

/// Fields that came with a release.
const NEWER: &[(&str, &str, (u32, u32))] = &[
    ("Project", "licensedFeatureAvailability", (18, 11)),
    // Between 15.3 and 15.8, and between 16.3 and 17.6.
    ("Project", "deployment", (15, 8)),
    ("Deployment", "webPath", (17, 0)),
    ("Repository", "branchCount", (18, 6)),
    ("Repository", "tagCount", (18, 6)),
];

/// Arguments that came with a release.
const NEWER_ARGUMENTS: &[(&str, &str, &str, (u32, u32))] = &[
    ("Project", "pipelines", "ids", (19, 2)),
    // Between 16.3 and 17.6.
    ("Project", "pipeline", "id", (17, 0)),
    ("Project", "mergeRequests", "deploymentId", (17, 0)),
];

/// What the look at an operation gave.
#[derive(Clone, Debug, Default)]
pub struct Analysis {
    /// Validation errors in GitLab's shape, at most 5. With any of them the query does not run.
    pub errors: Vec<Json>,
    /// The price.
    pub complexity: f64,
    /// Fields on the longest way down.
    pub depth: usize,
    /// A composite field that is nested too often in one branch.
    pub recursive_field: Option<String>,
}

impl Analysis {
    /// The price as GitLab prints it.
    #[must_use]
    pub fn score(&self) -> i32 {
        self.complexity as i32
    }
}

/// Nesting of the same composite field that still passes.
const RECURSION_THRESHOLD: usize = 2;
const MAX_VALIDATION_ERRORS: usize = 5;

struct Walk<'a> {
    types: &'a Types,
    document: &'a ExecutableDocument,
    variables: &'a Variables,
    enterprise: bool,
    release: (u32, u32),
    introspection: bool,
    found: Analysis,
    /// Response keys down to here, as errors name them.
    path: Vec<String>,
    /// Field names down to here, aliases undone.
    names: Vec<&'a str>,
    /// Variables that are used somewhere.
    used: HashSet<String>,
    /// Everything is looked at, whatever directives say of it: so GitLab validates.
    validating: bool,
}

/// What decides about a query besides its text.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Enterprise fields exist.
    pub enterprise: bool,
    /// Major and minor number of the version.
    pub release: (u32, u32),
    /// `__schema` and `__type` may be asked for.
    pub introspection: bool,
}

/// Looks at one operation of a document.
#[must_use]
pub fn analyse(
    types: &Types,
    document: &ExecutableDocument,
    operation: &OperationDefinition,
    name: Option<&str>,
    variables: &Variables,
    rules: Rules,
) -> Analysis {
    let root = name.map_or_else(|| "query".to_owned(), |name| format!("query {name}"));
    let Rules {
        enterprise,
        release,
        introspection,
    } = rules;
    let found = Analysis::default();
    let (path, names) = (vec![root], Vec::new());
    let mut walk = Walk {
        types,
        document,
        variables,
        enterprise,
        release,
        introspection,
        found,
        path,
        names,
        used: HashSet::new(),
        validating: true,
    };
    walk.set("Query", &[&operation.selection_set.node], 0);
    walk.check_variables(operation, name);
    let mut errors = std::mem::take(&mut walk.found.errors);
    errors.truncate(MAX_VALIDATION_ERRORS);
    walk.found = Analysis::default();
    walk.validating = false;
    let complexity = walk.set("Query", &[&operation.selection_set.node], 0);
    Analysis {
        complexity,
        errors,
        ..walk.found
    }
}

impl<'a> Walk<'a> {
    /// The price of the fields below a parent; fields of one response key are one field.
    fn set(&mut self, parent: &str, sets: &[&'a SelectionSet], depth: usize) -> f64 {
        let mut fields: IndexMap<&str, Vec<&'a Positioned<Field>>> = IndexMap::new();
        for set in sets {
            self.collect(set, &mut fields);
        }
        fields
            .into_iter()
            .map(|(_, same)| self.field(parent, &same, depth + 1))
            .sum()
    }

    fn collect(
        &self,
        set: &'a SelectionSet,
        fields: &mut IndexMap<&'a str, Vec<&'a Positioned<Field>>>,
    ) {
        for selection in &set.items {
            match &selection.node {
                Selection::Field(field) => {
                    if self.included(&field.node.directives) {
                        fields
                            .entry(field.node.response_key().node.as_str())
                            .or_default()
                            .push(field);
                    }
                }
                Selection::FragmentSpread(spread) => {
                    let fragment = self.document.fragments.get(&spread.node.fragment_name.node);
                    if let Some(fragment) =
                        fragment.filter(|_| self.included(&spread.node.directives))
                    {
                        self.collect(&fragment.node.selection_set.node, fields);
                    }
                }
                Selection::InlineFragment(fragment) => {
                    if self.included(&fragment.node.directives) {
                        self.collect(&fragment.node.selection_set.node, fields);
                    }
                }
            }
        }
    }

    fn included(&self, directives: &[Positioned<Directive>]) -> bool {
        if self.validating {
            return true;
        }
        let condition = |directive: &Positioned<Directive>| {
            let condition = directive.node.get_argument("if")?;
            let condition = condition
                .node
                .clone()
                .into_const_with(|name| self.variable(&name))
                .ok()?;
            match (directive.node.name.node.as_str(), condition) {
                ("skip", Value::Boolean(skip)) => Some(!skip),
                ("include", Value::Boolean(include)) => Some(include),
                _ => None,
            }
        };
        directives
            .iter()
            .filter_map(condition)
            .all(|included| included)
    }

    fn variable(&self, name: &Name) -> Result<Value, ()> {
        self.variables.get(name).cloned().ok_or(())
    }

    fn argument(&self, field: &Field, name: &str) -> Option<Value> {
        let value = field.get_argument(name)?.node.clone();
        value.into_const_with(|name| self.variable(&name)).ok()
    }

    fn field(&mut self, parent: &str, same: &[&'a Positioned<Field>], depth: usize) -> f64 {
        let Some(first) = same.first() else {
            return 0.0;
        };
        let (field, position) = (&first.node, first.pos);
        let name = field.name.node.as_str();
        let key = field.response_key().node.as_str();
        match name {
            "__schema" | "__type" if !self.introspection => {
                self.undefined(parent, (name, key), position);
                return 0.0;
            }
            "__schema" | "__type" => return 1.0,
            "__typename" => return 0.2,
            _ => {}
        }
        self.found.depth = self.found.depth.max(depth);
        let shape = self
            .types
            .fields
            .get(parent)
            .and_then(|fields| fields.get(name))
            .cloned();
        let hidden = !self.enterprise && ENTERPRISE.contains(&(parent, name))
            || NEWER.iter().any(|(class, field, since)| {
                (*class, *field) == (parent, name) && self.release < *since
            });
        let Some(shape) = shape.filter(|_| !hidden) else {
            self.undefined(parent, (name, key), position);
            return 1.0;
        };
        self.path.push(field.response_key().node.to_string());
        self.names.push(name);
        for same in same {
            let directives = same.node.directives.iter();
            let directives = directives.flat_map(|directive| &directive.node.arguments);
            for (_, value) in same.node.arguments.iter().chain(directives) {
                let used = &mut self.used;
                let note = |name: Name| {
                    used.insert(name.to_string());
                    Ok::<_, ()>(Value::Null)
                };
                value.node.clone().into_const_with(note).ok();
            }
        }
        self.check_arguments(parent, field, &shape);
        let below: Vec<&SelectionSet> = same
            .iter()
            .map(|field| &field.node.selection_set.node)
            .collect();
        let composite = self.types.is_composite(&shape.type_name);
        if composite {
            self.check_recursion(name);
            if below.iter().all(|set| set.items.is_empty()) {
                self.mismatch(name, &shape.type_name, position);
            }
        }
        let children = self.set(&shape.type_name, &below, depth);
        self.path.pop();
        self.names.pop();
        self.cost(price(parent, name), field, &shape, children)
    }

    fn cost(&self, price: Price, field: &Field, shape: &FieldShape, children: f64) -> f64 {
        let extra = match price {
            Price::Plain => return children + 1.0,
            Price::Gitaly => return children + 2.0,
            Price::Fixed(own) => return children + f64::from(own),
            Price::Resolver(extra) => extra,
            Price::SortedResolver => 1,
        };
        let given = |name: &str| {
            self.argument(field, name)
                .is_some_and(|value| value != Value::Null)
        };
        let mut own = children + 1.0 + f64::from(extra);
        if given("sort") && price != Price::SortedResolver {
            own += 1.0;
        }
        if given("search") {
            own += 5.0;
        }
        if shape.type_name == "PipelineConnection" {
            own += if given("ref") { 2.0 } else { 0.0 };
            own += if given("sha") { 2.0 } else { 0.0 };
        }
        if shape.type_name.ends_with("Connection") && !given("iid") {
            let rows = |name: &str| match self.argument(field, name) {
                Some(Value::Number(number)) => number.as_f64().unwrap_or(PAGE_SIZE as f64),
                _ => PAGE_SIZE as f64,
            };
            own += own * 0.01 * rows("first").min(rows("last")).min(PAGE_SIZE as f64);
        }
        own.trunc()
    }

    fn check_arguments(&mut self, parent: &str, field: &Field, shape: &FieldShape) {
        for (argument, _) in &field.arguments {
            let argument_name = argument.node.as_str();
            let name = field.name.node.as_str();
            let hidden = NEWER_ARGUMENTS.iter().any(|(class, of, argument, since)| {
                (*class, *of, *argument) == (parent, name, argument_name) && self.release < *since
            });
            if !hidden && shape.arguments.iter().any(|known| known == argument_name) {
                continue;
            }
            let mut path = self.path.clone();
            path.push(argument_name.to_owned());
            self.found.errors.push(json!({
                "message": format!("Field '{name}' doesn't accept argument '{argument_name}'"),
                "locations": [location(argument.pos)],
                "path": path,
                "extensions": {
                    "code": "argumentNotAccepted",
                    "name": name,
                    "typeName": "Field",
                    "argumentName": argument_name,
                },
            }));
        }
    }

    /// Every variable that is declared must be used by something that there is.
    fn check_variables(&mut self, operation: &OperationDefinition, name: Option<&str>) {
        let operation_name = name.unwrap_or("anonymous query");
        let location = self
            .document
            .operations
            .iter()
            .find(|(found, _)| found.map(Name::as_str) == name)
            .map(|(_, found)| json!([{"line": found.pos.line, "column": found.pos.column}]));
        for definition in &operation.variable_definitions {
            let variable = definition.node.name.node.as_str();
            if self.used.contains(variable) {
                continue;
            }
            self.found.errors.push(json!({
                "message": format!(
                    "Variable ${variable} is declared by {operation_name} but not used"
                ),
                "locations": location,
                "path": self.path,
                "extensions": {"code": "variableNotUsed", "variableName": variable},
            }));
        }
    }

    fn check_recursion(&mut self, name: &str) {
        if matches!(name, "nodes" | "edges" | "node") {
            return;
        }
        let times = self.names.iter().filter(|other| **other == name).count();
        if times > RECURSION_THRESHOLD {
            self.found
                .recursive_field
                .get_or_insert_with(|| name.to_owned());
        }
    }

    fn undefined(&mut self, parent: &str, (name, key): (&str, &str), position: Pos) {
        let mut path = self.path.clone();
        path.push(key.to_owned());
        self.found.errors.push(json!({
            "message": format!("Field '{name}' doesn't exist on type '{parent}'"),
            "locations": [location(position)],
            "path": path,
            "extensions": {"code": "undefinedField", "typeName": parent, "fieldName": name},
        }));
    }

    fn mismatch(&mut self, name: &str, type_name: &str, position: Pos) {
        self.found.errors.push(json!({
            "message": format!(
                "Field must have selections (field '{name}' returns {type_name} but has no selections. \
                 Did you mean '{name} {{ ... }}'?)"
            ),
            "locations": [location(position)],
            "path": self.path,
            "extensions": {
                "code": "selectionMismatch",
                "nodeName": format!("field '{name}'"),
                "typeName": type_name,
            },
        }));
    }
}

fn location(position: Pos) -> Json {
    json!({"line": position.line, "column": position.column})
}

/// The operation to run: the named one, or the only one.
#[must_use]
pub fn operation<'d>(
    document: &'d ExecutableDocument,
    name: Option<&str>,
) -> Option<(Option<&'d Name>, &'d Positioned<OperationDefinition>)> {
    match name {
        Some(wanted) => document
            .operations
            .iter()
            .find(|(name, _)| name.is_some_and(|name| name.as_str() == wanted)),
        None => document.operations.iter().next(),
    }
}
