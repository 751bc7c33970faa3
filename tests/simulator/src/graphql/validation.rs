//! What GitLab says about variables before it runs a query.

use async_graphql::parser::types::{BaseType, OperationDefinition, Type, VariableDefinition};
use serde_json::{Value, json};

use super::analysis::Types;
use crate::time;

/// The variables of an operation whose values do not fit, in GitLab's shape.
pub(super) fn variables(
    types: &Types,
    operation: &OperationDefinition,
    given: &Value,
) -> Vec<Value> {
    let definitions = operation.variable_definitions.iter();
    definitions
        .filter_map(|definition| {
            let position = definition.pos;
            let definition = &definition.node;
            let value = &given[definition.name.node.as_str()];
            let problem = problem(types, definition, value)?;
            Some(json!({
                "message": format!(
                    "Variable ${} of type {} was provided invalid value",
                    definition.name.node, definition.var_type.node
                ),
                "locations": [{"line": position.line, "column": position.column}],
                "extensions": {"value": value, "problems": [problem]},
            }))
        })
        .collect()
}

fn problem(types: &Types, definition: &VariableDefinition, value: &Value) -> Option<Value> {
    let wanted = &definition.var_type.node;
    if value.is_null() {
        let missing = !wanted.nullable && definition.default_value.is_none();
        let why = "Expected value to not be null";
        return missing.then(|| json!({"path": [], "explanation": why}));
    }
    unfit(types, wanted, value)
}

/// Why a value is none of a type.
fn unfit(types: &Types, wanted: &Type, value: &Value) -> Option<Value> {
    let name = match &wanted.base {
        BaseType::Named(name) => name.as_str(),
        BaseType::List(_) => return None,
    };
    let text = value.as_str();
    if name == "Time" && text.is_none_or(|text| time::parse(text).is_none()) {
        let why = format!("no time information in {value}");
        return Some(json!({"path": [], "explanation": why, "message": why}));
    }
    let values = types.values_of(name)?;
    let known = text.is_some_and(|text| values.iter().any(|one| one == text));
    let why = format!("Expected {value} to be one of: {}", values.join(", "));
    (!known).then(|| json!({"path": [], "explanation": why}))
}
