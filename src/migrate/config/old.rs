//! The old file: its settings by path with their lines, and what is wrong with them.

use std::collections::BTreeMap;

use crate::config::tree::{Data, Node, Origin};
use crate::config::{own_settings, predecessors_settings, yaml};
use crate::migrate::keys::{self, GLOBAL, PROJECT, PROJECT_ENTRY, Type, WILDCARD_ENTRY};
use crate::migrate::{MigrateError, NoteKind, OLD, Report};

/// A value of the old file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Bool(bool),
    Whole(i64),
    Text(String),
    /// Set to something that is never copied.
    Secret,
}

/// A setting of the old file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Set {
    pub value: Value,
    pub line: usize,
}

/// Settings by path, of the whole file or of one entry.
pub(super) type Settings = BTreeMap<&'static str, Set>;

/// The old file.
#[derive(Debug, Default)]
pub(super) struct OldFile {
    pub global: Settings,
    pub defaults: Settings,
    pub projects: Vec<Settings>,
    pub wildcards: Vec<Settings>,
}

/// Sections whose names are settings of the old program.
const SECTIONS: [&str; 9] = [
    "log",
    "server",
    "gitlab",
    "redis",
    "pull",
    "garbage_collect",
    "project_defaults",
    "projects",
    "wildcards",
];

/// Reads the old file; what is unknown or has a wrong type goes to the report.
pub(super) fn read(file: &str, text: &str, report: &mut Report) -> Result<OldFile, MigrateError> {
    let origin = |line| Origin::File {
        path: file.into(),
        line,
    };
    let tree = yaml::parse(text, origin).map_err(|error| MigrateError::Syntax {
        file: format!("{file}:{}", error.line),
        format: "YAML",
        reason: error.reason,
    })?;
    recognize(file, &tree)?;
    let mut reader = Reader { report };
    let mut old = OldFile::default();
    let mut others = Vec::new();
    for (key, node) in entries(&tree) {
        match key {
            "project_defaults" => {
                old.defaults = reader.settings(node, key, &[PROJECT]);
            }
            "projects" => old.projects = reader.list(node, key, &[PROJECT, PROJECT_ENTRY]),
            "wildcards" => old.wildcards = reader.list(node, key, &[PROJECT, WILDCARD_ENTRY]),
            _ => others.push((key, node)),
        }
    }
    for (key, node) in others {
        reader.node(node, key, key, &[GLOBAL], &mut old.global);
    }
    Ok(old)
}

fn recognize(file: &str, tree: &Node) -> Result<(), MigrateError> {
    let other = |reason: &str| {
        Err(MigrateError::Other {
            file: file.to_owned(),
            reason: reason.to_owned(),
        })
    };
    if !matches!(tree.data, Data::Map(_)) {
        return other("it does not hold settings like gitlab: {url: …}");
    }
    if !predecessors_settings(tree).is_empty() {
        return Ok(());
    }
    if !own_settings(tree).is_empty() {
        return Err(MigrateError::Ours(file.to_owned()));
    }
    // A short file may be right for both.
    match SECTIONS.iter().any(|section| tree.get(section).is_some()) {
        true => Ok(()),
        false => other(&format!("none of its keys is a setting of {OLD}")),
    }
}

fn entries(node: &Node) -> impl Iterator<Item = (&str, &Node)> {
    let entries = match &node.data {
        Data::Map(entries) => entries.as_slice(),
        _ => &[],
    };
    entries
        .iter()
        .map(|entry| (entry.key.as_str(), &entry.node))
}

fn line(node: &Node) -> usize {
    match node.origin {
        Origin::File { line, .. } => line,
        _ => 0,
    }
}

/// Where a setting stands, for a note.
pub(super) fn place(path: &str, line: usize) -> String {
    format!("{path} (line {line})")
}

type Known = [&'static [(&'static str, Type)]];

struct Reader<'a> {
    report: &'a mut Report,
}

impl Reader<'_> {
    fn settings(&mut self, node: &Node, shown: &str, known: &Known) -> Settings {
        let mut found = Settings::new();
        self.node(node, "", shown, known, &mut found);
        found
    }

    fn list(&mut self, node: &Node, key: &str, known: &Known) -> Vec<Settings> {
        let items = match &node.data {
            Data::List(items) => items,
            Data::Null => return Vec::new(),
            _ => {
                self.wrong(node, key, "a list");
                return Vec::new();
            }
        };
        let one = |(index, item)| self.settings(item, &format!("{key}[{index}]"), known);
        items.iter().enumerate().map(one).collect()
    }

    /// Takes what stands at `path` (within the file or an entry), which notes call `shown`.
    fn node(&mut self, node: &Node, path: &str, shown: &str, known: &Known, found: &mut Settings) {
        let all = || known.iter().copied().flatten();
        let begins = |name: &str| {
            path.is_empty()
                || name
                    .strip_prefix(path)
                    .is_some_and(|rest| rest.starts_with('.'))
        };
        let setting = all().find(|(name, _)| *name == path);
        match (setting, &node.data) {
            (_, Data::Null) => {}
            (Some((name, kind)), data) => match value(*kind, data) {
                Some(value) => {
                    let set = Set {
                        value,
                        line: line(node),
                    };
                    found.insert(name, set);
                }
                None => self.wrong(node, shown, kind.words()),
            },
            (None, Data::Map(_)) if all().any(|(name, _)| begins(name)) => {
                for (key, inner) in entries(node) {
                    let path = match path {
                        "" => key.to_owned(),
                        path => format!("{path}.{key}"),
                    };
                    self.node(inner, &path, &format!("{shown}.{key}"), known, found);
                }
            }
            (None, _) if all().any(|(name, _)| begins(name)) => {
                self.wrong(node, shown, "a section")
            }
            (None, _) => self.unknown(node, shown),
        }
    }

    /// Names every value of what is unknown.
    fn unknown(&mut self, node: &Node, shown: &str) {
        let mut inner = entries(node).peekable();
        if inner.peek().is_none() {
            let place = place(shown, line(node));
            self.report.add(NoteKind::Left, place, keys::unknown(shown));
        }
        for (key, node) in inner {
            self.unknown(node, &format!("{shown}.{key}"));
        }
    }

    fn wrong(&mut self, node: &Node, shown: &str, expected: &str) {
        let sentence = format!(
            "it is not {expected}, which {OLD} refuses as well; correct it and migrate again"
        );
        let place = place(shown, line(node));
        self.report.add(NoteKind::Left, place, sentence);
    }
}

/// A value as the old program's reader of YAML takes it.
fn value(kind: Type, data: &Data) -> Option<Value> {
    Some(match (kind, data) {
        (Type::Bool, Data::Bool(value)) => Value::Bool(*value),
        (Type::Bool, Data::Text(text)) => match text.to_lowercase().as_str() {
            "yes" | "on" | "y" => Value::Bool(true),
            "no" | "off" | "n" => Value::Bool(false),
            _ => return None,
        },
        (Type::Whole, Data::Int(value)) => Value::Whole(*value),
        (Type::Text, Data::Text(text)) => Value::Text(text.clone()),
        (Type::Text, Data::Int(value)) => Value::Text(value.to_string()),
        (Type::Text, Data::Bool(value)) => Value::Text(value.to_string()),
        (Type::Secret, Data::Text(text)) if text.is_empty() => {
            return Some(Value::Text(String::new()));
        }
        (Type::Secret, Data::Text(_) | Data::Int(_) | Data::Float(_)) => Value::Secret,
        _ => return None,
    })
}

/// What a setting is, by its path.
pub(super) trait Read {
    fn bool(&self, path: &str) -> Option<bool>;
    fn whole(&self, path: &str) -> Option<i64>;
    fn text(&self, path: &str) -> Option<&str>;
    fn is_secret(&self, path: &str) -> bool;
    fn line(&self, path: &str) -> usize;
}

impl Read for Settings {
    fn bool(&self, path: &str) -> Option<bool> {
        match self.get(path)?.value {
            Value::Bool(value) => Some(value),
            _ => None,
        }
    }

    fn whole(&self, path: &str) -> Option<i64> {
        match self.get(path)?.value {
            Value::Whole(value) => Some(value),
            _ => None,
        }
    }

    fn text(&self, path: &str) -> Option<&str> {
        match &self.get(path)?.value {
            Value::Text(value) => Some(value),
            _ => None,
        }
    }

    fn is_secret(&self, path: &str) -> bool {
        self.get(path).is_some_and(|set| set.value == Value::Secret)
    }

    fn line(&self, path: &str) -> usize {
        self.get(path).map_or(0, |set| set.line)
    }
}
