//! Reads JSON that may hold anything: one bad item of a list is left out, the rest is kept.

use std::borrow::Cow;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::answer::shorten;

/// Bad items that one answer may have before it is refused as a whole.
const MAX_FLAWS: usize = 200;

/// A step on the way to a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Key(String),
    Index(usize),
}

/// Something in an answer that made no sense, or that GitLab could not give.
#[derive(Clone, Debug)]
pub(crate) struct Flaw {
    /// Where; for a bad item of a list the item.
    pub(crate) path: Vec<Step>,
    /// A sentence without the place.
    pub(crate) why: String,
    /// The item's `id`, where it could be read.
    pub(crate) id: Option<String>,
}

/// `path` as people write it: `projects.nodes[3].moved`.
pub(crate) fn display(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Key(key) if text.is_empty() => text.push_str(key),
            Step::Key(key) => text.push_str(&format!(".{key}")),
            Step::Index(index) => text.push_str(&format!("[{index}]")),
        }
    }
    shorten(&text)
}

/// One object.
pub(crate) fn one<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    let (value, broken) = parse(body)?;
    if broken && has_broken_text(&value) {
        return Err("it is not UTF-8".to_owned());
    }
    typed(value)
}

/// A list whose bad items are left out, each with a sentence.
pub(crate) fn list<T: DeserializeOwned>(body: &[u8]) -> Result<(Vec<T>, Vec<String>), String> {
    let (value, broken) = parse(body)?;
    let Value::Array(values) = value else {
        return Err(format!("a list was expected, {} came", name(&value)));
    };
    let mut items = Vec::with_capacity(values.len());
    let mut skipped = Vec::new();
    for (index, value) in values.into_iter().enumerate() {
        let id = value.get("id").and_then(Value::as_u64);
        let read = if broken && has_broken_text(&value) {
            Err("it is not UTF-8".to_owned())
        } else {
            typed(value)
        };
        match read {
            Ok(item) => items.push(item),
            Err(why) if skipped.len() == MAX_FLAWS => {
                return Err(format!("more than {MAX_FLAWS} items are invalid: {why}"));
            }
            Err(why) => skipped.push(match id {
                Some(id) => format!("item {index} (id {id}): {why}"),
                None => format!("item {index}: {why}"),
            }),
        }
    }
    Ok((items, skipped))
}

/// An object with lists somewhere inside, whose bad items become null.
pub(crate) fn tree<T: DeserializeOwned>(body: &[u8]) -> Result<(T, Vec<Flaw>), String> {
    if let Ok(value) = serde_json::from_slice(body) {
        return Ok((value, Vec::new()));
    }
    let (mut value, broken) = parse(body)?;
    let mut flaws = Vec::new();
    if broken {
        while let Some(path) = broken_text(&value) {
            cut(&mut value, path, "it is not UTF-8".to_owned(), &mut flaws)?;
        }
    }
    loop {
        match serde_path_to_error::deserialize(&value) {
            Ok(tree) => return Ok((tree, flaws)),
            Err(error) => {
                let path = steps(error.path());
                cut(&mut value, path, error.inner().to_string(), &mut flaws)?;
            }
        }
    }
}

/// Parses JSON; true when the text was not UTF-8. What is no JSON, or holds what no reader of it can (a
/// number beyond a float, half of a surrogate pair, a hundred levels), is refused as a whole: GitLab
/// writes none of it, and a query over several projects is halved until the one is found.
fn parse(body: &[u8]) -> Result<(Value, bool), String> {
    let text = String::from_utf8_lossy(body);
    let broken = matches!(text, Cow::Owned(_));
    match serde_json::from_str(&text) {
        Ok(value) => Ok((value, broken)),
        Err(error) => Err(describe(&error, body)),
    }
}

fn describe(error: &serde_json::Error, body: &[u8]) -> String {
    if body.trim_ascii().is_empty() {
        return "it is empty".to_owned();
    }
    match error.classify() {
        serde_json::error::Category::Eof => {
            format!("the JSON ends too early, after {} bytes", body.len())
        }
        _ => format!("it is no JSON: {error}"),
    }
}

fn typed<T: DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        if path == "." {
            error.inner().to_string()
        } else {
            format!("{}: {}", shorten(&path), error.inner())
        }
    })
}

fn steps(path: &serde_path_to_error::Path) -> Vec<Step> {
    use serde_path_to_error::Segment;
    path.iter()
        .map_while(|segment| match segment {
            Segment::Seq { index } => Some(Step::Index(*index)),
            Segment::Map { key } => Some(Step::Key(key.clone())),
            Segment::Enum { .. } | Segment::Unknown => None,
        })
        .collect()
}

/// Replaces the innermost list item on the way by null and notes it; the next one outwards where
/// that is null already and still is invalid.
fn cut(
    value: &mut Value,
    mut path: Vec<Step>,
    why: String,
    flaws: &mut Vec<Flaw>,
) -> Result<(), String> {
    let place = display(&path);
    while let Some(item) = path.iter().rposition(|step| matches!(step, Step::Index(_))) {
        let field = display(&path[item + 1..]);
        path.truncate(item + 1);
        let Some(bad) = at(value, &path).filter(|bad| !bad.is_null()) else {
            path.truncate(item);
            continue;
        };
        if flaws.len() == MAX_FLAWS {
            break;
        }
        let id = bad.get("id").and_then(Value::as_str).map(str::to_owned);
        *bad = Value::Null;
        let why = if field.is_empty() {
            why
        } else {
            format!("{field}: {why}")
        };
        flaws.retain(|flaw| !flaw.path.starts_with(&path));
        flaws.push(Flaw { path, why, id });
        return Ok(());
    }
    Err(format!("{place}: {why}"))
}

fn at<'a>(value: &'a mut Value, path: &[Step]) -> Option<&'a mut Value> {
    path.iter().try_fold(value, |value, step| match step {
        Step::Key(key) => value.get_mut(key),
        Step::Index(index) => value.get_mut(index),
    })
}

fn has_broken_text(value: &Value) -> bool {
    broken_text(value).is_some()
}

/// Where the first text is that lost bytes when it was made UTF-8.
fn broken_text(value: &Value) -> Option<Vec<Step>> {
    match value {
        Value::String(text) => text.contains(char::REPLACEMENT_CHARACTER).then(Vec::new),
        Value::Array(items) => items.iter().enumerate().find_map(|(index, item)| {
            let mut path = broken_text(item)?;
            path.insert(0, Step::Index(index));
            Some(path)
        }),
        Value::Object(fields) => fields.iter().find_map(|(key, field)| {
            let mut path = broken_text(field)?;
            path.insert(0, Step::Key(key.clone()));
            Some(path)
        }),
        _ => None,
    }
}

const fn name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_bad_items_is_refused_as_a_whole() {
        let of_bad = |bad: usize| {
            let items = [vec!["1"; 3], vec!["\"x\""; bad]].concat();
            list::<u64>(format!("[{}]", items.join(",")).as_bytes())
        };
        let (items, skipped) = of_bad(MAX_FLAWS).unwrap();
        assert_eq!((items.len(), skipped.len()), (3, MAX_FLAWS));
        let error = of_bad(MAX_FLAWS + 1).unwrap_err();
        assert!(
            error.starts_with("more than 200 items are invalid: "),
            "{error}"
        );
    }
}
