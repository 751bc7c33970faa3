//! `docs/configuration.md`: every setting as a table for readers, made from the model.

use std::fmt::Write as _;

use serde_json::Value as Json;

use super::format::Format;
use super::keys::{self, Key, Kind, Value, join};
use super::reload;
use super::render;
use super::tree::{Node, Origin};

/// The text around the tables.
const GUIDE: &str = include_str!("guide.md");
/// The place of the tables in the guide.
const PLACE: &str = "<!-- settings -->";

/// The text of `docs/configuration.md`.
pub fn markdown() -> String {
    let mut out = String::new();
    for (name, key) in keys::root().children() {
        section(name, key, 3, &mut out);
    }
    GUIDE.replace(PLACE, out.trim_end())
}

/// A heading, the meaning of the section, a table of its values, and the sections inside it.
fn section(path: &str, key: &Key, level: usize, out: &mut String) {
    // Writing into memory cannot fail.
    let _ = writeln!(out, "{} {path}\n\n{}\n", "#".repeat(level), key.description);
    if let Kind::List { item, .. } = &key.kind {
        let _ = writeln!(
            out,
            "A list; as a variable `{}`, in YAML on one line. Its entries have:\n",
            keys::variable(path)
        );
        table(&entry(&format!("{path}[]"), item), false, out);
        let _ = writeln!(
            out,
            "Besides these, an entry can have every setting of `project_defaults`, for its projects only.\n"
        );
        return;
    }
    let children = key.children().iter();
    let (sections, mut values): (Vec<_>, Vec<_>) = children
        .map(|(name, key)| (join(path, name), key))
        .partition(|(_, key)| !key.children().is_empty());
    let (unset, sections): (Vec<_>, Vec<_>) =
        sections.into_iter().partition(|(_, key)| key.is_unset());
    for (path, section) in &unset {
        let keys = section.children().iter();
        values.extend(keys.map(|(name, key)| (join(path, name), key)));
    }
    if !values.is_empty() {
        table(&values, true, out);
    }
    for (path, key) in sections {
        section(&path, key, (level + 1).min(5), out);
    }
}

/// The keys of a list's entry that are its own: what it inherits has no default.
fn entry<'a>(path: &str, item: &'a Key) -> Vec<(String, &'a Key)> {
    let mut found = Vec::new();
    for (name, key) in item.children() {
        let path = join(path, name);
        if !key.children().is_empty() {
            found.extend(entry(&path, key));
        } else if key.default.is_some() || key.example.is_some() {
            found.push((path, key));
        }
    }
    found
}

fn table(rows: &[(String, &Key)], variables: bool, out: &mut String) {
    let head = match variables {
        true => {
            "| Setting | Type | Default | Variable | Reload | Meaning |\n|---|---|---|---|---|---|\n"
        }
        false => "| Setting | Type | Default | Meaning |\n|---|---|---|---|\n",
    };
    out.push_str(head);
    for (path, key) in rows {
        let variable = match variables {
            true => {
                let reload = match reload::is_reloaded(path) {
                    true => "yes",
                    false => "",
                };
                format!(" `{}` | {reload} |", keys::variable(path))
            }
            false => String::new(),
        };
        let _ = writeln!(
            out,
            "| `{path}` | {} | {} |{variable} {} |",
            kind(key),
            default(key),
            meaning(key)
        );
    }
    out.push('\n');
}

fn kind(key: &Key) -> String {
    match &key.kind {
        Kind::Section { .. } => "section".to_owned(),
        Kind::Map(value) => format!("map of {}", kind(value)),
        Kind::List { item, .. } => format!("list of {}s", kind(item)),
        Kind::Value(value) => single(value, key.format),
    }
}

fn single(value: &Value, format: Option<Format>) -> String {
    if !value.choices.is_empty() {
        return "choice".to_owned();
    }
    let name = match format {
        Some(Format::Secret) => "secret",
        Some(Format::Regex) => "regular expression",
        Some(Format::Duration) => "duration",
        Some(Format::Seconds) => "seconds, or a duration",
        Some(Format::DurationOrZero) => "duration, or 0",
        Some(Format::DurationOrAuto) => "duration, or `auto`",
        Some(Format::ListenAddresses | Format::OptionalListenAddresses) => "address",
        Some(Format::GitLabUrl | Format::HttpUrl) => "URL",
        Some(Format::Path | Format::CaFile) => "file",
        Some(Format::ProjectPath | Format::OwnerPath) => "path in GitLab",
        Some(Format::HistogramBuckets | Format::Headers) | None => match value {
            Value { bool: true, .. } => "true or false",
            Value { integer: true, .. } => "whole number",
            Value { number: true, .. } => "number",
            Value { .. } => "text",
        },
    };
    match (value.minimum, value.maximum) {
        (low, Some(high)) => format!("{name}, {} to {high}", low.unwrap_or(0.0)),
        (Some(low), None) => format!("{name}, {low} or more"),
        (None, None) => name.to_owned(),
    }
}

fn default(key: &Key) -> String {
    match &key.default {
        None => "required".to_owned(),
        Some(Json::Null) => "not set".to_owned(),
        Some(Json::String(text)) if text.is_empty() => "empty".to_owned(),
        Some(value) => code(&plain(value)),
    }
}

fn meaning(key: &Key) -> String {
    let mut out = escaped(&key.description);
    let item = match &key.kind {
        Kind::List { item, .. } => &item.kind,
        kind => kind,
    };
    if let Kind::Value(value) = item {
        for (choice, meaning) in &value.choices {
            let meaning = match meaning.as_str() {
                "" => String::new(),
                meaning => format!(": {}", escaped(meaning)),
            };
            let _ = write!(out, "<br>{}{meaning}", code(&plain(choice)));
        }
    }
    out
}

fn plain(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        value => render::inline(&Node::from_json(value, &Origin::Default)).unwrap_or_default(),
    }
}

fn code(text: &str) -> String {
    format!("`{}`", escaped(text))
}

/// A bar would end the cell, in code too.
fn escaped(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_has_a_row_with_its_variable() {
        let markdown = markdown();
        for (path, key) in keys::all() {
            let variable = keys::variable(&path);
            let has_row = match &key.kind {
                Kind::Section { .. } if key.is_unset() => true,
                Kind::Section { .. } => markdown.contains(&format!("# {path}\n")),
                Kind::List { item, .. } if !item.children().is_empty() => {
                    markdown.contains(&format!("## {path}\n"))
                        && markdown.contains(&format!("`{variable}`"))
                }
                _ => markdown.lines().any(|line| {
                    line.starts_with(&format!("| `{path}` | "))
                        && line.contains(&format!("| `{variable}` |"))
                }),
            };
            assert!(has_row, "{path}");
        }
    }

    #[test]
    fn rows_say_type_default_and_choices() {
        let markdown = markdown();
        for row in [
            "| `gitlab.timeout` | duration | `35s` | `AGE_GITLAB_TIMEOUT` |  | Timeout of one request. GitLab \
             itself times out after 30 seconds and returns a partial response: the 5 extra seconds let it \
             arrive. |",
            "| `gitlab.max_server_share` | number, 0 to 1000 | `0.5` | `AGE_GITLAB_MAX_SERVER_SHARE` |  |",
            "| `discovery.interval` | duration | `5m` | `AGE_DISCOVERY_INTERVAL` | yes | Discovery interval. |",
            "| `gitlab.rest_page_size` | whole number, 1 to 100 | `100` | `AGE_GITLAB_REST_PAGE_SIZE` \
             |  | Items per REST page. |",
            "| `projects[].name` | path in GitLab | required | Full path of the project, such as \
             `group/subgroup/project`. |",
            "| `wildcards[].owner.kind` | choice | `group` | Type of the owner.<br>`group`: A \
             group.<br>`user`: A user. |",
        ] {
            assert!(markdown.contains(row), "{row}");
        }
        assert!(markdown.contains("^(main\\|master\\|develop\\|release/.*)$"));
        assert!(markdown.contains("| `otel.metrics.endpoint` | URL | not set |"));
        assert!(markdown.contains("| `gitlab.token` | secret | empty |"));
    }

    #[test]
    fn docs_configuration_md_is_up_to_date() {
        assert_eq!(GUIDE.matches(PLACE).count(), 1);
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, markdown()).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            written == markdown(),
            "docs/configuration.md is old: UPDATE_DOCS=1 cargo test --lib writes it"
        );
    }
}
