//! `config/example.yml`: every setting with its meaning and default, made from the model.

use serde_json::Value as Json;

use super::keys::{self, Key, Kind};
use super::render;
use super::tree::{Node, Origin};

const WIDTH: usize = 96;

const HEADER: &str = "\
# Every setting of amazing-gitlab-exporter, with its meaning and its default. Made by
# `amazing-gitlab-exporter config --example`. Set only what you change.
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
        if key.is_unset() {
            let keys = key.children().iter();
            let keys: Vec<String> = keys.map(|(name, _)| format!("{name}: null")).collect();
            return self.line(&format!("{name}: {{{}}}", keys.join(", ")));
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::layers::Layers;
    use crate::config::{Config, Settings, yaml};

    fn checked_in(name: &str) -> String {
        let path = format!("{}/config/{name}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn config_example_yml_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/example.yml");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, example()).unwrap();
        }
        assert!(
            checked_in("example.yml") == example(),
            "config/example.yml is old: UPDATE_DOCS=1 cargo test --lib writes it"
        );
    }

    #[test]
    fn the_example_holds_every_setting_with_its_default() {
        let layers = Layers::of_text("example.yml", &example(), &[]);
        assert_eq!(layers.problems, []);
        let settings: Settings = serde_json::from_value(layers.tree.to_json()).unwrap();
        assert_eq!(settings, Settings::default());
        let example = yaml::parse(&example(), |_| Origin::Default).unwrap();
        for (path, _) in keys::all() {
            assert!(example.at(&path).is_some(), "{path}");
        }
    }

    #[test]
    fn the_commented_entries_are_right_and_whole() {
        // What a user gets who takes the comment signs away.
        let text = example();
        let entries = text
            .lines()
            .skip_while(|line| !line.starts_with("projects: []"));
        let entries = entries.take_while(|line| !line.starts_with("state:"));
        let entries: Vec<&str> = entries.filter_map(|line| line.strip_prefix("# ")).collect();
        let entries = entries
            .iter()
            .filter(|line| line.starts_with(' ') || line.ends_with("s:"));
        let entries: String = entries.map(|line| format!("{line}\n")).collect();
        let config = Config::from_yaml(&format!("gitlab: {{token: t}}\n{entries}")).unwrap();
        assert_eq!(config.projects[0].name, "group/project");
        assert_eq!(
            config.projects[0].settings.refs.branches.regexp.as_str(),
            "^main$"
        );
        assert_eq!(config.wildcards[0].owner.as_ref().unwrap().name, "my-group");
        let written = yaml::parse(&entries, |_| Origin::Default).unwrap();
        let item = keys::root().child("wildcards").map(|key| &key.kind);
        let Some(Kind::List { item, .. }) = item else {
            panic!("wildcards is no list")
        };
        let own = item.children().iter().filter(|(_, key)| has_own_value(key));
        for (name, _) in own {
            assert!(
                written.at(&format!("wildcards[0].{name}")).is_some(),
                "{name}"
            );
        }
    }

    #[test]
    fn the_minimal_configuration_needs_a_token_and_nothing_else() {
        let text = checked_in("minimal.yml");
        let problems = Config::from_yaml(&text).unwrap_err();
        assert!(
            problems.to_string().starts_with("gitlab.token is missing"),
            "{problems}"
        );
        assert_eq!(problems.problems().len(), 1);
        let with_token =
            Config::from_yaml(&text.replace("gitlab:", "gitlab:\n  token: t")).unwrap();
        assert!(!with_token.wildcards.is_empty());
    }
}
