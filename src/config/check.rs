//! Holds a tree against the known keys: unknown keys, missing keys, wrong types, values out of range
//! and values that break their format. What is wrong is reported and left out, so that the rest can
//! still be checked.

use super::format::{Format, show};
use super::keys::{self, Key, Kind, Value, join};
use super::problem::{MOST_SHOWN, Problem, nearest, or_list};
use super::tree::{Data, Entry, Node, Origin};
use super::values::Secret;

/// Whether a part of a key's name is long enough to suggest the key.
fn is_telling(part: &&str) -> bool {
    part.len() >= 5
}

/// Checks one layer; returns what is right of it.
pub(super) fn check(layer: Node, problems: &mut Vec<Problem>) -> Option<Node> {
    check_by(keys::root(), layer, problems)
}

/// The same for a file with keys of its own.
pub(super) fn check_by(root: &Key, layer: Node, problems: &mut Vec<Problem>) -> Option<Node> {
    Check { root, problems }.node(root, layer, "")
}

struct Check<'a> {
    /// Where an unknown key may have been meant for.
    root: &'a Key,
    problems: &'a mut Vec<Problem>,
}

impl Check<'_> {
    /// The node without what is wrong in it; `None` when nothing of it can be used.
    fn node(&mut self, key: &Key, node: Node, path: &str) -> Option<Node> {
        let Node { data, origin } = node;
        let checked = match (&key.kind, data) {
            (_, Data::Null) => return key.nullable.then(|| Node::new(Data::Null, &origin)),
            (Kind::Section { required, .. }, Data::Map(entries)) => {
                self.section(key, required, entries, &origin, path)?
            }
            (Kind::Map(value), Data::Map(entries)) => self.map(value, entries, path),
            (Kind::List { item, may_be_empty }, Data::List(items)) => {
                if items.is_empty() && !may_be_empty {
                    self.report(&origin, path, format!("{path} must not be empty"));
                    return None;
                }
                self.list(item, items, path)?
            }
            (Kind::Value(value), data) if value.accepts(&data) => data,
            (_, data) => {
                self.report(&origin, path, wrong_type(key, &data, path));
                return None;
            }
        };
        if let Some(Err(clause)) = key.format.map(|format| format.check(&checked)) {
            self.report(&origin, path, format!("{path} {clause}"));
            return None;
        }
        let data = match (key.format, checked) {
            (Some(Format::Secret), Data::Text(text)) => Data::Secret(Secret::from(text)),
            (_, data) => data,
        };
        Some(Node { data, origin })
    }

    fn section(
        &mut self,
        section: &Key,
        required: &[String],
        entries: Vec<Entry>,
        origin: &Origin,
        path: &str,
    ) -> Option<Data> {
        let mut missing: Vec<&String> = required.iter().collect();
        let mut known = Vec::new();
        for Entry { key, origin, node } in entries {
            missing.retain(|name| **name != key);
            let inner_path = join(path, &key);
            let Some(rule) = section.child(&key) else {
                // The nearest setting is looked for as long as it is said.
                if self.is_full() {
                    continue;
                }
                let sentence = format!(
                    "{inner_path} is not a setting; {}",
                    suggestion(self.root, section, path, &key)
                );
                self.report(&origin, &inner_path, sentence);
                continue;
            };
            let is_required = required.contains(&key);
            match self.node(rule, node, &inner_path) {
                Some(node) => known.push(Entry { key, origin, node }),
                // Null where a value is needed is the same as nothing.
                None if is_required && !self.has_problem(&inner_path) => {
                    self.report(&origin, &inner_path, format!("{inner_path} is missing"));
                    return None;
                }
                None if is_required => return None,
                None => {}
            }
        }
        for name in &missing {
            let inner_path = join(path, name);
            self.report(origin, &inner_path, format!("{inner_path} is missing"));
        }
        missing.is_empty().then_some(Data::Map(known))
    }

    fn map(&mut self, value: &Key, entries: Vec<Entry>, path: &str) -> Data {
        let checked = entries
            .into_iter()
            .filter_map(|Entry { key, origin, node }| {
                let node = self.item(value, node, &join(path, &key))?;
                Some(Entry { key, origin, node })
            });
        Data::Map(checked.collect())
    }

    /// A list of values is right as a whole or not at all; of a list of sections the right ones stay.
    fn list(&mut self, item: &Key, items: Vec<Node>, path: &str) -> Option<Data> {
        let count = items.len();
        let mut checked = Vec::with_capacity(count);
        for (index, node) in items.into_iter().enumerate() {
            // An entry without anything is an entry all the same: `- ` means `- {}`.
            let node = match (&item.kind, &node.data) {
                (Kind::Section { .. }, Data::Null) => {
                    Node::new(Data::Map(Vec::new()), &node.origin)
                }
                _ => node,
            };
            checked.extend(self.item(item, node, &format!("{path}[{index}]")));
        }
        let whole = checked.len() == count || matches!(item.kind, Kind::Section { .. });
        whole.then_some(Data::List(checked))
    }

    /// One of several: here nothing does not mean the default, as there is none.
    fn item(&mut self, key: &Key, node: Node, path: &str) -> Option<Node> {
        if node.data == Data::Null && !key.nullable {
            self.report(&node.origin, path, wrong_type(key, &Data::Null, path));
            return None;
        }
        self.node(key, node, path)
    }

    fn report(&mut self, origin: &Origin, path: &str, sentence: String) {
        if !self.is_full() {
            self.problems
                .push(Problem::new(Some(origin), path, sentence));
        }
    }

    /// Whether there are more problems already than are shown.
    fn is_full(&self) -> bool {
        self.problems.len() > MOST_SHOWN
    }

    fn has_problem(&self, path: &str) -> bool {
        let probe = Problem::new(None, path, String::new());
        self.problems.iter().any(|problem| problem.overlaps(&probe))
    }
}

impl Value {
    fn accepts(&self, data: &Data) -> bool {
        if !self.choices.is_empty() {
            return self.choices.iter().any(|(choice, _)| match data {
                Data::Text(text) => choice.as_str() == Some(text),
                Data::Bool(value) => choice.as_bool() == Some(*value),
                _ => false,
            });
        }
        match data {
            Data::Bool(_) => self.bool,
            Data::Int(value) => (self.integer || self.number) && self.in_range(*value as f64),
            Data::Float(value) => self.number && self.in_range(*value),
            Data::Text(_) => self.text,
            _ => false,
        }
    }

    fn in_range(&self, value: f64) -> bool {
        // NaN fails every comparison, so it is let through only where nothing is asked: in lists
        // of bucket bounds, whose own rule refuses it.
        self.minimum.is_none_or(|minimum| value >= minimum)
            && self.maximum.is_none_or(|maximum| value <= maximum)
    }

    /// What is allowed, in words.
    fn expectation(&self, format: Option<Format>) -> String {
        if !self.choices.is_empty() {
            let words: Vec<String> = self
                .choices
                .iter()
                .map(|(choice, _)| word(choice))
                .collect();
            return or_list(&words);
        }
        match format {
            Some(Format::Seconds) => {
                return "a whole number of seconds or a duration like 30s".to_owned();
            }
            Some(Format::Duration) => return "a duration like 30s, 5m, 2h or 1d".to_owned(),
            Some(Format::DurationOrAuto) => {
                return "auto, or a duration like 30s, 5m, 2h or 1d".to_owned();
            }
            _ => {}
        }
        let kind = match () {
            () if self.bool => return "true or false".to_owned(),
            () if self.integer => "a whole number",
            () if self.number => "a number",
            () => return "text".to_owned(),
        };
        match (self.minimum, self.maximum) {
            (Some(minimum), Some(maximum)) => format!("{kind} from {minimum} to {maximum}"),
            (Some(minimum), None) => format!("{kind} of at least {minimum}"),
            (None, Some(maximum)) => format!("{kind} of at most {maximum}"),
            (None, None) => kind.to_owned(),
        }
    }
}

/// A choice as it is written in YAML.
fn word(choice: &serde_json::Value) -> String {
    choice
        .as_str()
        .map_or_else(|| choice.to_string(), str::to_owned)
}

/// The sentence about a value of the wrong type or outside its range.
fn wrong_type(key: &Key, data: &Data, path: &str) -> String {
    let expected = match &key.kind {
        Kind::Section { keys, .. } => {
            let names: Vec<String> = keys.iter().take(2).map(|(name, _)| name.clone()).collect();
            format!("a section with keys like {}", names.join(" and "))
        }
        Kind::Map(_) => "a map like {key: value}".to_owned(),
        Kind::List { .. } => "a list like [a, b]".to_owned(),
        Kind::Value(value) => value.expectation(key.format),
    };
    let shown = match data {
        Data::Text(_) if key.is_secret() => "text".to_owned(),
        Data::Int(_) | Data::Float(_) if key.is_secret() => "a number".to_owned(),
        data => show(data),
    };
    let hint = match (&key.kind, data) {
        (Kind::Value(value), Data::Text(text)) => hint(value, text),
        (Kind::Value(value), Data::Int(_) | Data::Float(_) | Data::Bool(_))
            if value.is_text() && value.choices.is_empty() =>
        {
            match key.format {
                Some(Format::Duration | Format::DurationOrAuto) => {
                    "; the unit is missing".to_owned()
                }
                _ => "; put it in quotes".to_owned(),
            }
        }
        _ => String::new(),
    };
    format!("{path} must be {expected}, not {shown}{hint}")
}

/// The value that was probably meant.
fn hint(value: &Value, text: &str) -> String {
    let meant = match text.to_lowercase().as_str() {
        "yes" | "on" if value.bool => Some("true".to_owned()),
        "no" | "off" if value.bool => Some("false".to_owned()),
        _ => {
            let words: Vec<String> = value
                .choices
                .iter()
                .map(|(choice, _)| word(choice))
                .collect();
            nearest(text, words.iter().map(String::as_str)).map(str::to_owned)
        }
    };
    meant
        .map(|meant| format!("; did you mean {meant}?"))
        .unwrap_or_default()
}

/// The same for a whole path, which is unknown as such.
pub(super) fn suggestion_for(path: &str) -> String {
    let (mut section, mut known) = (keys::root(), "");
    for (end, _) in path.match_indices('.').chain([(path.len(), "")]) {
        let name = path[known.len()..end].trim_start_matches('.');
        match section.child(name) {
            Some(inner) if !inner.children().is_empty() => (section, known) = (inner, &path[..end]),
            _ => return suggestion(keys::root(), section, known, name),
        }
    }
    suggestion(keys::root(), section, known, "")
}

/// The nearest known key to `name`, which is unknown in the section at `path`. What is elsewhere is
/// suggested only where it is likely meant: for a name without a section, or in a section of one name.
fn suggestion(root: &Key, section: &Key, path: &str, name: &str) -> String {
    let names = section.children().iter().map(|(name, _)| name.as_str());
    if let Some(sibling) = nearest(name, names) {
        return format!("did you mean {}?", join(path, sibling));
    }
    let mut siblings = section.children().iter().map(|(known, _)| known);
    let has_part = |known: &&String| nearest(name, known.split('_').filter(is_telling)).is_some();
    if is_telling(&name)
        && let Some(sibling) = siblings.find(has_part)
    {
        return format!("did you mean {}?", join(path, sibling));
    }
    // It may be in the wrong section: first those inside this one, then all.
    let is_name = |known: &str| known.rsplit('.').next() == Some(name);
    let inside = keys::inside(section)
        .into_iter()
        .map(|(known, _)| join(path, &known));
    if let Some(known) = inside.into_iter().find(|known| is_name(known)) {
        return format!("did you mean {known}?");
    }
    let likeness = |known: &str| strsim::jaro_winkler(known, &join(path, name));
    let elsewhere = keys::inside(root)
        .into_iter()
        .map(|(known, _)| known)
        .filter(|known| {
            is_name(known)
                && (path.is_empty() || section_of(known) == section_of(&join(path, name)))
        });
    if let Some(known) = elsewhere.max_by(|a, b| likeness(a).total_cmp(&likeness(b))) {
        return format!("did you mean {known}?");
    }
    let names: Vec<String> = section
        .children()
        .iter()
        .map(|(name, _)| name.clone())
        .collect();
    format!("known here: {}", names.join(", "))
}

/// The name of the section that a key is in.
fn section_of(path: &str) -> Option<&str> {
    path.rsplit('.').nth(1)
}
