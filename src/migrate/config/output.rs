//! The new configuration while it is built: values with the comment that stands behind each.

/// A part of the new configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// A value as YAML on one line, and its comment.
    Value(String, String),
    /// Settings by name, in order.
    Section(Vec<(String, Part)>),
    /// Entries.
    List(Vec<Part>),
}

impl Part {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::Section(Vec::new())
    }

    /// Sets `path` (names alone) to a value.
    pub fn set(&mut self, path: &str, value: Part) {
        let (name, rest) = path.split_once('.').unwrap_or((path, ""));
        let Self::Section(entries) = self else { return };
        let place = match entries.iter().position(|(known, _)| known == name) {
            Some(place) => place,
            None => {
                entries.push((name.to_owned(), Self::new()));
                entries.len() - 1
            }
        };
        let Some((_, inner)) = entries.get_mut(place) else {
            return;
        };
        match rest {
            "" => *inner = value,
            rest => inner.set(rest, value),
        }
    }

    /// Removes what stands at a path such as `projects[1].refs.tags.regexp`, or the entry whose name it is;
    /// returns what was removed, as a person finds it.
    pub fn remove(&mut self, path: &str) -> Option<String> {
        let (step, rest) = path.split_once('.').unwrap_or((path, ""));
        let (name, index) = match step.strip_suffix(']').and_then(|step| step.split_once('[')) {
            Some((name, index)) => (name, index.parse::<usize>().ok()),
            None => (step, None),
        };
        let Self::Section(entries) = self else {
            return None;
        };
        let place = entries.iter().position(|(known, _)| known == name)?;
        let (_, inner) = entries.get_mut(place)?;
        let removed = match (index, &mut *inner) {
            // An entry without its name is none.
            (Some(index), Self::List(items)) if rest.is_empty() || rest == "name" => {
                let item = (index < items.len()).then(|| items.remove(index))?;
                let line = item.comment("name").unwrap_or_default();
                return Some(format!("{step} ({line})"));
            }
            (Some(index), Self::List(items)) => items.get_mut(index)?.remove(rest)?,
            (None, Self::Section(_)) if !rest.is_empty() => inner.remove(rest)?,
            (Some(_), _) => return None,
            (None, _) => {
                let (_, part) = entries.remove(place);
                return Some(match part {
                    Self::Value(_, comment) if comment.contains("(line ") => comment,
                    _ => step.to_owned(),
                });
            }
        };
        // A comment says it all.
        match removed.contains("(line ") {
            true => Some(removed),
            false => Some(format!("{step}.{removed}")),
        }
    }

    /// The comment of a value of this section.
    fn comment(&self, name: &str) -> Option<&str> {
        let Self::Section(entries) = self else {
            return None;
        };
        match entries.iter().find(|(known, _)| known == name) {
            Some((_, Self::Value(_, comment))) => Some(comment),
            _ => None,
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Value(..) => false,
            Self::Section(entries) => entries.iter().all(|(_, part)| part.is_empty()),
            // `wildcards: [{}]` has an entry that says nothing and means all projects.
            Self::List(items) => items.is_empty(),
        }
    }

    /// As YAML.
    pub fn to_yaml(&self) -> String {
        let mut text = String::new();
        self.write(0, &mut text);
        text
    }

    fn write(&self, depth: usize, out: &mut String) {
        let Self::Section(entries) = self else { return };
        for (name, part) in entries.iter().filter(|(_, part)| !part.is_empty()) {
            if depth == 0 {
                out.push('\n');
            }
            let indent = "  ".repeat(depth);
            match part {
                Self::Value(value, comment) => {
                    out.push_str(&format!("{indent}{name}: {value}"));
                    out.push_str(&behind(comment));
                }
                Self::Section(_) => {
                    out.push_str(&format!("{indent}{name}:\n"));
                    part.write(depth + 1, out);
                }
                Self::List(items) => {
                    out.push_str(&format!("{indent}{name}:\n"));
                    for item in items {
                        item.write_item(depth + 1, out);
                    }
                }
            }
        }
    }

    /// An entry of a list: its first line begins with a dash.
    fn write_item(&self, depth: usize, out: &mut String) {
        let mut text = String::new();
        self.write(depth + 1, &mut text);
        let indent = "  ".repeat(depth);
        match text.strip_prefix(&format!("{indent}  ")) {
            Some(rest) => out.push_str(&format!("{indent}- {rest}")),
            None => out.push_str(&format!("{indent}- {{}}\n")),
        }
    }
}

fn behind(comment: &str) -> String {
    match comment {
        "" => "\n".to_owned(),
        comment => format!(" # {comment}\n"),
    }
}

/// Text as a YAML scalar: plain where it cannot be taken for anything else.
pub(super) fn text(value: &str) -> String {
    let is_plain = value.starts_with(|c: char| c.is_ascii_alphabetic())
        && value
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c));
    let is_word = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    match is_plain && !is_word.contains(&value.to_lowercase().as_str()) {
        true => value.to_owned(),
        false => serde_json::Value::from(value).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Part {
        Part::Value(text.to_owned(), String::new())
    }

    #[test]
    fn sections_lists_and_entries_without_settings_are_written() {
        let mut whole = Part::new();
        whole.set(
            "log.level",
            Part::Value("warn".to_owned(), "line 2".to_owned()),
        );
        whole.set("log.empty.section", Part::new());
        let mut entry = Part::new();
        entry.set("owner.name", value("g"));
        entry.set("search", value("x"));
        whole.set("wildcards", Part::List(vec![entry, Part::new()]));
        assert_eq!(
            whole.to_yaml(),
            "\nlog:\n  level: warn # line 2\n\nwildcards:\n  - owner:\n      name: g\n    search: x\n  - {}\n"
        );
        assert_eq!(
            whole.remove("wildcards[0].search").as_deref(),
            Some("wildcards[0].search")
        );
        assert_eq!(whole.remove("wildcards[1].owner.name"), None);
        assert_eq!(
            whole.remove("wildcards[0]").as_deref(),
            Some("wildcards[0] ()")
        );
        assert_eq!(whole.remove("log.level").as_deref(), Some("log.level"));
        assert_eq!(whole.to_yaml(), "\nwildcards:\n  - {}\n");
    }

    #[test]
    fn text_that_means_something_else_is_quoted() {
        for (plain, written) in [
            ("group/project", "group/project"),
            ("yes", "\"yes\""),
            ("1.5", "\"1.5\""),
            ("^(a|b)$", "\"^(a|b)$\""),
            ("a: b # c", "\"a: b # c\""),
            ("a\"\\\n", "\"a\\\"\\\\\\n\""),
            ("", "\"\""),
        ] {
            assert_eq!(text(plain), written);
        }
    }
}
