//! Located tree → YAML that people read.

use super::tree::{Data, Node};
use super::values::REDACTED;
use super::yaml;

/// The tree as YAML, behind each value where it came from. Secrets are redacted.
pub(super) fn effective(tree: &Node) -> String {
    let mut out = String::new();
    block(tree, 0, &mut out);
    out
}

fn block(node: &Node, indent: usize, out: &mut String) {
    match &node.data {
        Data::Map(entries) => {
            for entry in entries {
                out.push_str(&" ".repeat(indent));
                out.push_str(&text(&entry.key));
                out.push(':');
                value(&entry.node, indent + 2, out);
            }
        }
        Data::List(items) => {
            for item in items {
                out.push_str(&" ".repeat(indent));
                out.push('-');
                // The first key of an entry stands behind the dash.
                let mut lines = String::new();
                value(item, indent + 2, &mut lines);
                match lines.strip_prefix('\n') {
                    Some(rest) => out.push_str(&rest[indent + 1..]),
                    None => out.push_str(&lines),
                }
            }
        }
        _ => value(node, indent, out),
    }
}

/// What stands behind `key:` or `-`: a value with its origin, or a block of its own.
fn value(node: &Node, indent: usize, out: &mut String) {
    match inline(node) {
        Some(inline) => out.push_str(&format!(" {inline} # {}\n", node.origin)),
        None => {
            out.push('\n');
            block(node, indent, out);
        }
    }
}

/// A value on one line; `None` when it needs a block.
pub(super) fn inline(node: &Node) -> Option<String> {
    Some(match &node.data {
        Data::Null => "null".to_owned(),
        Data::Bool(value) => value.to_string(),
        Data::Int(value) => value.to_string(),
        Data::Float(value) => value.to_string(),
        Data::Text(value) => text(value),
        // An empty secret is a setting that was emptied on purpose.
        Data::Secret(secret) if secret.expose().is_empty() => "\"\"".to_owned(),
        Data::Secret(_) => format!("{REDACTED:?}"),
        Data::List(items) if items.iter().any(|item| matches!(item.data, Data::Map(_))) => {
            return None;
        }
        Data::List(items) => {
            let items: Vec<String> = items.iter().filter_map(inline).collect();
            format!("[{}]", items.join(", "))
        }
        Data::Map(entries) if entries.is_empty() => "{}".to_owned(),
        Data::Map(_) => return None,
    })
}

/// Text as YAML: plain where that is the same, else in quotes.
fn text(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '/' | '.' | '-');
    let is_plain = value.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/')
        && value.chars().all(plain)
        && matches!(yaml::scalar(value), Data::Text(_));
    if is_plain || value.starts_with("http") && !value.contains([' ', '#', '"', '\'', '\\']) {
        return value.to_owned();
    }
    // JSON's strings are YAML's double-quoted ones.
    serde_json::Value::from(value).to_string()
}
