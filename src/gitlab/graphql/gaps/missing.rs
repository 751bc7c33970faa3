//! Reads from GitLab's errors what is missing.

use serde_json::Value;

use super::{GAPS, Gap};

/// How GraphQL says that a field is null that cannot be.
const NULL: &str = "Cannot return null for non-nullable field ";

/// The gaps that a refusal of a document names.
pub(in crate::gitlab::graphql) fn refused(body: &[u8]) -> Vec<&'static Gap> {
    let Ok(answer) = serde_json::from_slice::<Value>(body) else {
        return Vec::new();
    };
    let errors = answer["errors"].as_array().into_iter().flatten();
    errors.flat_map(gaps_of).collect()
}

/// The gaps for which one error of a refusal stands.
fn gaps_of(error: &Value) -> Vec<&'static Gap> {
    let text = |key: &str| error["extensions"][key].as_str();
    let message = error["message"].as_str().unwrap_or_default();
    let quoted: Vec<&str> = message.split('\'').skip(1).step_by(2).collect();
    match text("code") {
        Some("argumentNotAccepted") => {
            let field = text("name").or(quoted.first().copied());
            let argument = text("argumentName").or(quoted.get(1).copied());
            let is_it = |gap: &&Gap| {
                argument.is_some() && Some(gap.field) == field && gap.argument == argument
            };
            GAPS.iter().filter(is_it).collect()
        }
        Some("undefinedField") | None => {
            let field = text("fieldName").or(quoted.first().copied());
            let on = text("typeName").or(quoted.get(1).copied());
            let is_it = |gap: &&Gap| Some(gap.on) == on && Some(gap.field) == field;
            fields().filter(is_it).collect()
        }
        // A fragment on a type that is not there: whatever of it is asked for is missing.
        Some("undefinedType") => {
            let on = text("typeName");
            fields().filter(|gap| Some(gap.on) == on).collect()
        }
        Some(_) => Vec::new(),
    }
}

/// The gaps that are whole fields.
fn fields() -> impl Iterator<Item = &'static Gap> {
    GAPS.iter().filter(|gap| gap.argument.is_none())
}

/// The gaps that errors beside data name: what the token cannot read anywhere. A field that some object
/// of the same answer shows is not one: something is wrong with the other object.
pub(in crate::gitlab::graphql) fn unreadable<'a>(
    errors: impl Iterator<Item = &'a str>,
    body: &[u8],
) -> Vec<&'static Gap> {
    let named = errors.filter_map(|error| error.strip_prefix(NULL)?.split_once('.'));
    let mut gaps: Vec<&'static Gap> = Vec::new();
    for (on, field) in named {
        let mut known = fields().filter(|gap| gap.fine_grained);
        let gap = known.find(|gap| gap.on == on && gap.field == field.trim());
        gaps.extend(gap.filter(|gap| !gaps.contains(gap)));
    }
    if !gaps.is_empty() {
        let answer: Value = serde_json::from_slice(body).unwrap_or_default();
        gaps.retain(|gap| !shows(&answer["data"], gap.field));
    }
    gaps
}

/// Whether some object has a value for the field.
fn shows(answer: &Value, field: &str) -> bool {
    match answer {
        Value::Object(fields) => fields
            .iter()
            .any(|(key, value)| (key == field && !value.is_null()) || shows(value, field)),
        Value::Array(items) => items.iter().any(|item| shows(item, field)),
        _ => false,
    }
}
