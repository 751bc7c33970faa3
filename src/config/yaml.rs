//! YAML text → located tree. Aliases and merge keys (`<<`) are followed, a key given twice is an
//! error, scalars follow the YAML 1.2 core schema.
//!
//! A parser of events reads it, not a deserializer of serde. The file is only one layer: it becomes a
//! tree that is merged with variables and flags before anything has a type, so each value and each key
//! keeps its own line until the whole is checked. That gives all problems at once, each with its line,
//! also for unknown keys, and `config` can show where a value came from. A deserializer fills
//! types in one pass, ends at the first error and forgets where keys stood. Events also leave the
//! bounds here: depth, and what aliases copy.

use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use super::tree::{Data, Entry, Node, Origin};

/// Deeper nesting than any setting needs; bounds recursion.
const DEEPEST: usize = 32;
/// More values than any configuration copies by aliases: aliases of aliases grow without end.
const MOST_COPIED: usize = 100_000;

/// What is wrong with a YAML text, and where.
#[derive(Debug, PartialEq)]
pub(crate) struct YamlError {
    /// The line, from 1.
    pub line: usize,
    pub reason: String,
}

/// Reads one YAML document; an empty one is null. `origin` makes the origin of a line.
pub(crate) fn parse(text: &str, origin: impl Fn(usize) -> Origin) -> Result<Node, YamlError> {
    let mut builder = Builder {
        origin,
        stack: Vec::new(),
        anchors: HashMap::new(),
        copied: 0,
        root: None,
    };
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| YamlError {
            line: error.marker().line(),
            reason: error.info().to_owned(),
        })?;
        builder.event(event, span)?;
    }
    let first_line = (builder.origin)(1);
    Ok(builder.root.unwrap_or(Node {
        data: Data::Null,
        origin: first_line,
    }))
}

struct Builder<F> {
    origin: F,
    stack: Vec<Open>,
    anchors: HashMap<usize, Node>,
    /// Values that came by aliases.
    copied: usize,
    root: Option<Node>,
}

/// A list or map whose end has not been seen.
struct Open {
    node: Node,
    anchor: usize,
    /// In a map: the key whose value comes next.
    key: Option<(String, Origin)>,
    /// The keys of a map that has many.
    keys: HashSet<String>,
}

/// A map of more keys is searched by an index.
const MANY: usize = 16;

impl Open {
    /// Takes note of a key of a map with these entries; false where it has it already.
    fn is_new(keys: &mut HashSet<String>, entries: &[Entry], key: &str) -> bool {
        if entries.len() < MANY {
            return !entries.iter().any(|entry| entry.key == key);
        }
        if keys.is_empty() {
            keys.extend(entries.iter().map(|entry| entry.key.clone()));
        }
        keys.insert(key.to_owned())
    }
}

impl<F: Fn(usize) -> Origin> Builder<F> {
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), YamlError> {
        let line = span.start.line();
        match event {
            Event::DocumentStart(_) if self.root.is_some() => Err(YamlError {
                line,
                reason: "a second document starts here; only one is read".into(),
            }),
            Event::SequenceStart(anchor, _) => self.open(Data::List(Vec::new()), anchor, line),
            Event::MappingStart(anchor, _) => self.open(Data::Map(Vec::new()), anchor, line),
            Event::SequenceEnd | Event::MappingEnd => match self.stack.pop() {
                Some(open) => {
                    let node =
                        merge_keys(open.node).map_err(|reason| YamlError { line, reason })?;
                    self.insert(node, open.anchor, line)
                }
                None => Ok(()),
            },
            Event::Scalar(text, style, anchor, tag) => {
                let tagged =
                    tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str");
                let data = if style != ScalarStyle::Plain || tagged || self.expects_key() {
                    Data::Text(text.into_owned())
                } else {
                    scalar(&text)
                };
                let origin = (self.origin)(line);
                self.insert(Node { data, origin }, anchor, line)
            }
            Event::Alias(id) => {
                let node = self.copy(id).map_err(|reason| YamlError { line, reason })?;
                self.insert(node, 0, line)
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => Ok(()),
        }
    }

    /// What an alias stands for.
    fn copy(&mut self, anchor: usize) -> Result<Node, String> {
        let Some(node) = self.anchors.get(&anchor) else {
            return Err("an alias stands inside its own anchor".to_owned());
        };
        let (values, levels) = extent(node);
        self.copied += values;
        if self.copied > MOST_COPIED {
            return Err(format!("aliases copy more than {MOST_COPIED} values"));
        }
        if self.stack.len() + levels > DEEPEST {
            return Err(format!("nested deeper than {DEEPEST} levels"));
        }
        Ok(node.clone())
    }

    fn open(&mut self, data: Data, anchor: usize, line: usize) -> Result<(), YamlError> {
        if self.stack.len() == DEEPEST {
            return Err(YamlError {
                line,
                reason: format!("nested deeper than {DEEPEST} levels"),
            });
        }
        let origin = (self.origin)(line);
        self.stack.push(Open {
            node: Node { data, origin },
            anchor,
            key: None,
            keys: HashSet::new(),
        });
        Ok(())
    }

    /// Whether the next node is the key of a map.
    fn expects_key(&self) -> bool {
        let open = self.stack.last();
        open.is_some_and(|open| open.key.is_none() && matches!(open.node.data, Data::Map(_)))
    }

    /// Puts a finished node where it belongs.
    fn insert(&mut self, node: Node, anchor: usize, line: usize) -> Result<(), YamlError> {
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(open) = self.stack.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut open.node.data {
            Data::List(items) => items.push(node),
            Data::Map(entries) => match (open.key.take(), node.data) {
                (Some((key, origin)), data) => {
                    let node = Node {
                        data,
                        origin: node.origin,
                    };
                    entries.push(Entry { key, origin, node });
                }
                (None, Data::Text(key))
                    if key == MERGE || Open::is_new(&mut open.keys, entries, &key) =>
                {
                    open.key = Some((key, node.origin));
                }
                (None, Data::Text(key)) => {
                    let reason = format!("the key \"{key}\" is given twice");
                    return Err(YamlError { line, reason });
                }
                (None, _) => {
                    return Err(YamlError {
                        line,
                        reason: "a key must be plain text".into(),
                    });
                }
            },
            _ => {}
        }
        Ok(())
    }
}

/// Values and levels in a node.
fn extent(node: &Node) -> (usize, usize) {
    let nodes: Vec<&Node> = match &node.data {
        Data::List(items) => items.iter().collect(),
        Data::Map(entries) => entries.iter().map(|entry| &entry.node).collect(),
        _ => return (1, 0),
    };
    let start = (1, 1);
    nodes.into_iter().fold(start, |(values, levels), node| {
        let (more, below) = extent(node);
        (values + more, levels.max(below + 1))
    })
}

/// The key whose value is merged into the map around it.
const MERGE: &str = "<<";

/// Replaces `<<: *alias` and `<<: [*one, *two]` by the entries they stand for; the map's own entries
/// win, then earlier maps.
fn merge_keys(mut node: Node) -> Result<Node, String> {
    let Data::Map(entries) = &mut node.data else {
        return Ok(node);
    };
    if !entries.iter().any(|entry| entry.key == MERGE) {
        return Ok(node);
    }
    let (merges, mut own): (Vec<_>, Vec<_>) = std::mem::take(entries)
        .into_iter()
        .partition(|entry| entry.key == MERGE);
    let mut keys: HashSet<String> = own.iter().map(|entry| entry.key.clone()).collect();
    let maps = merges.into_iter().flat_map(|entry| match entry.node.data {
        Data::List(items) => items,
        _ => vec![entry.node],
    });
    for map in maps {
        let Data::Map(merged) = map.data else {
            return Err("<< takes a map or a list of maps".to_owned());
        };
        for entry in merged {
            if keys.insert(entry.key.clone()) {
                own.push(entry);
            }
        }
    }
    *entries = own;
    Ok(node)
}

/// The type of a plain scalar by the YAML 1.2 core schema.
pub(crate) fn scalar(text: &str) -> Data {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Data::Null,
        "true" | "True" | "TRUE" => return Data::Bool(true),
        "false" | "False" | "FALSE" => return Data::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Data::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => {
            return Data::Float(f64::INFINITY);
        }
        "-.inf" | "-.Inf" | "-.INF" => return Data::Float(f64::NEG_INFINITY),
        _ => {}
    }
    let radix = |prefix, radix| i64::from_str_radix(text.strip_prefix(prefix)?, radix).ok();
    if let Some(value) = text
        .parse()
        .ok()
        .or_else(|| radix("0x", 16))
        .or_else(|| radix("0o", 8))
    {
        return Data::Int(value);
    }
    // Rust also reads words like "infinity" as numbers; YAML does not.
    let numeric = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.'))
        && text.contains(|c: char| c.is_ascii_digit());
    match text.parse() {
        Ok(value) if numeric => Data::Float(value),
        _ => Data::Text(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<serde_json::Value, YamlError> {
        parse(text, |_| Origin::Default).map(|node| node.to_json())
    }

    #[test]
    fn scalars_follow_the_core_schema() {
        let cases = [
            ("~", Data::Null),
            ("true", Data::Bool(true)),
            ("yes", Data::Text("yes".into())),
            ("42", Data::Int(42)),
            ("-7", Data::Int(-7)),
            ("0x1f", Data::Int(31)),
            ("0o17", Data::Int(15)),
            ("0.5", Data::Float(0.5)),
            (".5", Data::Float(0.5)),
            ("1e3", Data::Float(1000.0)),
            (".inf", Data::Float(f64::INFINITY)),
            ("inf", Data::Text("inf".into())),
            ("30s", Data::Text("30s".into())),
            ("1.2.3", Data::Text("1.2.3".into())),
        ];
        for (text, expected) in cases {
            assert_eq!(scalar(text), expected, "{text}");
        }
    }

    #[test]
    fn quoted_scalars_and_keys_are_text() {
        let json = read("{1: \"2\", true: '3', x: !!str 4}").unwrap();
        assert_eq!(json, serde_json::json!({ "1": "2", "true": "3", "x": "4" }));
    }

    #[test]
    fn every_value_knows_its_line() {
        let text = "a:\n  b: 1\n  c:\n    - x\n    - y\n";
        let tree = parse(text, |line| Origin::File {
            path: "f.yml".into(),
            line,
        })
        .unwrap();
        let place = |path: &str| tree.at(path).unwrap().origin.to_string();
        assert_eq!(place("a.b"), "f.yml:2");
        assert_eq!(place("a.c[1]"), "f.yml:5");
    }

    #[test]
    fn aliases_and_merge_keys_are_followed() {
        let json = read("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: *a\n").unwrap();
        assert_eq!(json["b"], serde_json::json!({ "y": 3, "x": 1 }));
        assert_eq!(json["c"], json["a"]);
        assert_eq!(
            read("a: {<<: 1}").unwrap_err().reason,
            "<< takes a map or a list of maps"
        );
    }

    #[test]
    fn broken_documents_name_the_line() {
        let cases = [
            ("a: 1\na: 2\n", 2, "the key \"a\" is given twice"),
            (
                "a: 1\n---\nb: 2\n",
                2,
                "a second document starts here; only one is read",
            ),
            ("[a]: 1\n", 1, "a key must be plain text"),
            ("a: &x [*x]\n", 1, "an alias stands inside its own anchor"),
        ];
        for (text, line, reason) in cases {
            assert_eq!(
                read(text).unwrap_err(),
                YamlError {
                    line,
                    reason: reason.into()
                },
                "{text}"
            );
        }
        let deep = "[".repeat(100);
        assert_eq!(
            read(&deep).unwrap_err().reason,
            "nested deeper than 32 levels"
        );
        assert_eq!(read("a: 1\n b: 2\n").unwrap_err().line, 2);
        assert!(read("a: [1,\n").is_err());
        assert!(read("a: \"x\n").is_err());
    }

    #[test]
    fn aliases_of_aliases_grow_neither_deep_nor_large() {
        let nested = |open: usize| {
            let lists = ["[".repeat(open), "]".repeat(open)];
            let mut text = format!("a0: &a0 {}{}\n", lists[0], lists[1]);
            for n in 1..2_000 {
                let (before, [open, close]) = (n - 1, &lists);
                text.push_str(&format!("a{n}: &a{n} {open}*a{before}{close}\n"));
            }
            text
        };
        let error = read(&nested(20)).unwrap_err();
        assert_eq!(error.reason, "nested deeper than 32 levels");
        let mut text = "a0: &a0 [1]\n".to_owned();
        for n in 1..30 {
            let all = vec![format!("*a{}", n - 1); 10].join(", ");
            text.push_str(&format!("a{n}: &a{n} [{all}]\n"));
        }
        let error = read(&text).unwrap_err();
        assert_eq!(error.reason, "aliases copy more than 100000 values");
    }

    #[test]
    fn an_empty_document_is_null() {
        assert_eq!(read("").unwrap(), serde_json::Value::Null);
        assert_eq!(read("# nothing\n").unwrap(), serde_json::Value::Null);
    }
}
