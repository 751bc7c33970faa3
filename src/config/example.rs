//! `config/example.yml`: every setting with its meaning and default, made from the model.

use serde_json::Value as Json;

use super::keys::{self, Key, Kind};
use super::render;
use super::tree::{Node, Origin};

const WIDTH: usize = 96;

const HEADER: &str = "\
# Every setting of amazing-gitlab-exporter, with its meaning and its default. Made by
# `amazing-gitlab-exporter config --example`. A configuration needs only what differs.
#
# Every setting can also be given by an environment variable: AGE_ and the path in upper case,
# such as AGE_GITLAB_URL or AGE_COLLECTORS_JOBS_ENABLED; lists and maps as YAML on one line, such as
# AGE_PROJECTS='[{name: group/project}]'. AGE_CONFIG names this file. On the command line:
# --set collectors.jobs.enabled=false. Flags win over variables, variables over this file.
";

const OVERRIDES: &str = "\
Every setting of project_defaults can stand here too, for these projects alone:
";

/// The text of the example.
pub fn example() -> String {
    let mut writer = Writer {
        out: HEADER.to_owned(),
        prefix: String::new(),
    };
    for (name, key) in keys::root().children() {
        writer.out.push('\n');
        writer.key(name, key);
    }
    writer.out
}

struct Writer {
    out: String,
    /// What every line begins with: the indentation, and `# ` inside commented entries.
    prefix: String,
}

impl Writer {
    fn key(&mut self, name: &str, key: &Key) {
        self.comment(&key.description);
        match &key.kind {
            Kind::Section { keys, .. } => {
                self.line(&format!("{name}:"));
                self.inside("  ", |writer| {
                    keys.iter().for_each(|(name, key)| writer.key(name, key))
                });
            }
            Kind::List { item, .. } if !item.children().is_empty() => {
                self.line(&format!("{name}: []"));
                self.inside("# ", |writer| writer.entry(name, item));
            }
            kind => {
                if let Kind::Value(value) = kind {
                    let described = value
                        .choices
                        .iter()
                        .filter(|(_, meaning)| !meaning.is_empty());
                    described.for_each(|(choice, meaning)| {
                        self.comment(&format!("  {}: {meaning}", plain(choice)))
                    });
                }
                let value = key
                    .example
                    .as_ref()
                    .or(key.default.as_ref())
                    .unwrap_or(&Json::Null);
                let value = render::inline(&Node::from_json(value, &Origin::Default));
                self.line(&format!("{name}: {}", value.unwrap_or_default()));
            }
        }
    }

    /// A commented entry of a list, with its own settings and a few that it can override.
    fn entry(&mut self, name: &str, item: &Key) {
        self.line(&format!("{name}:"));
        let start = self.out.len();
        self.inside("    ", |writer| {
            for (name, key) in item.children() {
                if has_own_value(key) {
                    writer.key(name, key);
                }
            }
            writer.comment(OVERRIDES);
            ["refs:", "  branches:", "    regexp: \"^main$\""]
                .iter()
                .for_each(|line| writer.line(line));
        });
        // The dash of the entry stands before its first line.
        let dash = start + self.prefix.len() + 2;
        self.out.replace_range(dash..=dash, "-");
    }

    fn inside(&mut self, more: &str, write: impl FnOnce(&mut Self)) {
        let length = self.prefix.len();
        self.prefix.push_str(more);
        write(self);
        self.prefix.truncate(length);
    }

    fn line(&mut self, text: &str) {
        self.out.push_str(&self.prefix);
        self.out.push_str(text);
        self.out.push('\n');
    }

    fn comment(&mut self, text: &str) {
        let width = WIDTH.saturating_sub(self.prefix.len() + 2);
        let indent = " ".repeat(text.len() - text.trim_start().len());
        let mut line = String::new();
        for word in text.split_whitespace() {
            if !line.is_empty() && indent.len() + line.len() + 1 + word.len() > width {
                self.line(&format!("# {indent}{line}"));
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        self.line(&format!("# {indent}{line}"));
    }
}

fn plain(choice: &Json) -> String {
    choice
        .as_str()
        .map_or_else(|| choice.to_string(), str::to_owned)
}

/// Whether a key of an entry is the entry's own: what it inherits has no default.
fn has_own_value(key: &Key) -> bool {
    let has_value = key.default.is_some() || key.example.is_some();
    has_value || key.children().iter().any(|(_, child)| has_own_value(child))
}
