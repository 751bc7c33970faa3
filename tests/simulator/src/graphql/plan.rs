//! A document as it is executed: fragments and aliases resolved, what directives leave out left out, each
//! field with its type and its prices.

use async_graphql::indexmap::IndexMap;
use async_graphql::parser::types::{
    Directive, ExecutableDocument, Field, OperationDefinition, Selection, SelectionSet,
};
use async_graphql::{Name, Positioned, Value, Variables};

use super::types::Types;
use crate::cost::prices::{self, Item, Price};

/// A field, and those below it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    /// Its key in the answer.
    pub key: String,
    /// Type that has it.
    pub parent: String,
    /// Its name.
    pub name: String,
    /// What it costs to ask.
    pub price: Option<&'static Item>,
    /// What each object costs that it answers with.
    pub object: Option<&'static Item>,
    /// What each project costs, as the list has it that it comes from.
    pub row: Price,
    /// Type of the nodes, for a connection.
    pub node: String,
    /// Whether it is a page of a list.
    pub is_connection: bool,
    /// Whether it answers with the rows of such a page.
    pub in_list: bool,
    /// Whether it counts the rows of a connection.
    pub is_count: bool,
    /// Whether the connection that it belongs to leaves rows out.
    pub is_filtered: bool,
    /// Whether it answers with projects.
    pub is_project: bool,
    /// Path that a project is asked by.
    pub full_path: Option<String>,
    /// Keys of the id and the path of a project.
    pub id_key: Option<String>,
    /// See [`Self::id_key`].
    pub path_key: Option<String>,
    /// Scalars below it.
    pub scalars: usize,
    /// Fields below it, in order.
    pub below: Vec<Plan>,
}

/// What is known above a field.
#[derive(Clone, Copy, Default)]
struct Above {
    row: Price,
    is_filtered: bool,
}

/// Plans an operation.
pub(crate) fn plan(
    types: &Types,
    document: &ExecutableDocument,
    operation: &OperationDefinition,
    variables: &Variables,
) -> Plan {
    // Defaults of the operation stand where no variable is given.
    let mut values = variables.clone();
    for definition in &operation.variable_definitions {
        let name = &definition.node.name.node;
        if let (false, Some(default)) = (values.contains_key(name), &definition.node.default_value)
        {
            values.insert(name.clone(), default.node.clone());
        }
    }
    let planner = Planner {
        types,
        document,
        variables: &values,
    };
    let mut root = Plan::default();
    planner.below(
        &mut root,
        "Query",
        &[&operation.selection_set.node],
        Above::default(),
    );
    root
}

struct Planner<'a> {
    types: &'a Types,
    document: &'a ExecutableDocument,
    variables: &'a Variables,
}

impl<'a> Planner<'a> {
    fn below(&self, plan: &mut Plan, parent: &str, sets: &[&'a SelectionSet], above: Above) {
        let mut fields: IndexMap<&str, Vec<&'a Field>> = IndexMap::new();
        for set in sets {
            self.collect(set, &mut fields);
        }
        for (key, same) in fields {
            let Some(field) = same.first() else { continue };
            let name = field.name.node.as_str();
            if parent == "Project" && name == "id" {
                plan.id_key = Some(key.to_owned());
            }
            if parent == "Project" && name == "fullPath" {
                plan.path_key = Some(key.to_owned());
            }
            let planned = self.field(parent, key, &same, above);
            if planned.below.is_empty() && planned.price.is_none() {
                plan.scalars += 1;
            }
            plan.below.push(planned);
        }
    }

    fn field(&self, parent: &str, key: &str, same: &[&'a Field], above: Above) -> Plan {
        let mut plan = Plan {
            key: key.to_owned(),
            parent: parent.to_owned(),
            ..Plan::default()
        };
        let Some(field) = same.first() else {
            return plan;
        };
        let name = field.name.node.as_str();
        name.clone_into(&mut plan.name);
        let shapes = self.types.fields.get(parent);
        let Some(shape) = shapes.and_then(|fields| fields.get(name)) else {
            return plan;
        };
        let type_name = shape.type_name.as_str();
        // A field of an interface costs what it costs of the type behind.
        let of_type = parent.trim_end_matches("Interface");
        let price = |parent: &str| prices::field(&format!("{parent}.{name}"));
        plan.price = price(parent).or_else(|| price(of_type));
        plan.is_connection = type_name.ends_with("Connection");
        plan.in_list = parent.ends_with("Connection") || parent.ends_with("Edge");
        plan.is_count = parent.ends_with("Connection") && name == "count";
        plan.is_project = type_name == "Project";
        plan.object = prices::object(type_name);
        plan.is_filtered = above.is_filtered;
        let mut inside = Above::default();
        if plan.is_connection {
            type_name
                .trim_end_matches("Connection")
                .clone_into(&mut plan.node);
            inside.is_filtered = field.arguments.iter().any(|(name, _)| {
                !matches!(
                    name.node.as_str(),
                    "first" | "last" | "after" | "before" | "sort"
                )
            });
            inside.row = plan.price.map(|price| price.row).unwrap_or_default();
        } else if plan.in_list {
            inside = above;
        }
        if plan.is_project {
            plan.row = above.row;
            plan.full_path = match self.argument(field, "fullPath") {
                Some(Value::String(path)) => Some(path),
                _ => None,
            };
        }
        let sets: Vec<&'a SelectionSet> =
            same.iter().map(|field| &field.selection_set.node).collect();
        self.below(&mut plan, type_name, &sets, inside);
        plan
    }

    fn collect(&self, set: &'a SelectionSet, fields: &mut IndexMap<&'a str, Vec<&'a Field>>) {
        for selection in &set.items {
            match &selection.node {
                Selection::Field(field) => {
                    if self.included(&field.node.directives) {
                        let key = field.node.response_key().node.as_str();
                        fields.entry(key).or_default().push(&field.node);
                    }
                }
                Selection::FragmentSpread(spread) => {
                    let name = &spread.node.fragment_name.node;
                    let fragment = self.document.fragments.get(name);
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
        directives.iter().all(|directive| {
            let condition = directive.node.get_argument("if").and_then(|value| {
                let value = value.node.clone();
                value.into_const_with(|name| self.variable(&name)).ok()
            });
            match (directive.node.name.node.as_str(), condition) {
                ("skip", Some(Value::Boolean(skip))) => !skip,
                ("include", Some(Value::Boolean(include))) => include,
                _ => true,
            }
        })
    }

    fn argument(&self, field: &Field, name: &str) -> Option<Value> {
        let value = field.get_argument(name)?.node.clone();
        value.into_const_with(|name| self.variable(&name)).ok()
    }

    fn variable(&self, name: &Name) -> Result<Value, ()> {
        self.variables.get(name).cloned().ok_or(())
    }
}
