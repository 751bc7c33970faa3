//! The documents say what is: links, commands, settings, metrics, sentences and examples in them
//! exist.

mod collectors;
mod dialect;
mod markdown;
mod modules;
mod prices;
mod site;

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use amazing_gitlab_exporter::catalogue::{self, Kind};
use amazing_gitlab_exporter::cli::Cli;
use amazing_gitlab_exporter::config::{Config, json_schema};
use amazing_gitlab_exporter::gitlab::Cause;
use amazing_gitlab_exporter::migrate::old_settings;
use clap::CommandFactory;
use serde_json::Value;

use markdown::{Document, documents, read, root, words};

/// Every block of code of a language in the documents, with the name of its document; without the indentation
/// of a list.
pub fn blocks(language: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for document in documents() {
        let blocks = document.blocks.iter().filter(|(of, _)| of == language);
        found.extend(blocks.map(|(_, text)| {
            let first = text.lines().next().unwrap_or_default();
            let indent = first.len() - first.trim_start().len();
            let lines = text
                .lines()
                .map(|line| line.get(indent..).unwrap_or_default());
            let lines: Vec<&str> = lines.collect();
            (document.name.clone(), lines.join("\n") + "\n")
        }));
    }
    found
}

/// What a document promises and does not keep.
fn assert_none(broken: Vec<String>) {
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// `path` without `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    plain
}

#[test]
fn every_link_leads_somewhere() {
    let documents = documents();
    let mut broken = Vec::new();
    for document in &documents {
        let folder = Path::new(&document.name).parent().expect("a file");
        for link in document.links().filter(|link| !link.contains("://")) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => PathBuf::from(&document.name),
                path => plain(&folder.join(path)),
            };
            let other = |other: &&Document| Path::new(&other.name) == target;
            let has_anchor = match documents.iter().find(other) {
                Some(other) => other.anchors().iter().any(|known| known == anchor),
                None => false,
            };
            if !root().join(&target).exists() || !(anchor.is_empty() || has_anchor) {
                broken.push(format!("{}: {link}", document.name));
            }
        }
    }
    assert_none(broken);
}

#[test]
fn the_index_names_every_document() {
    let index = read("docs/README.md");
    let documents = documents();
    let named = documents
        .iter()
        .filter_map(|document| document.name.strip_prefix("docs/"))
        .filter(|name| !["README.md", "SUMMARY.md"].contains(name))
        .filter(|name| !index.contains(&format!("]({name})")));
    assert_none(named.map(str::to_owned).collect());
}

#[test]
fn every_target_of_make_exists() {
    let makefile = read("Makefile");
    let mut broken = Vec::new();
    for document in documents() {
        for line in document.code() {
            let mut words = line.split_whitespace();
            while words.any(|word| word == "make") {
                let target = words.clone().next().unwrap_or_default();
                let is_name = target.chars().all(|c| c.is_ascii_lowercase());
                if is_name && !target.is_empty() && !makefile.contains(&format!("\n{target}:")) {
                    broken.push(format!("{}: make {target}", document.name));
                }
            }
        }
    }
    assert_none(broken);
}

/// Known settings: `gitlab.url`, sections included.
fn settings() -> BTreeSet<String> {
    fn walk(path: &str, schema: &Value, found: &mut BTreeSet<String>) {
        let keys = schema["properties"].as_object().into_iter().flatten();
        for (name, schema) in keys {
            let path = match path {
                "" => name.clone(),
                path => format!("{path}.{name}"),
            };
            walk(&path, schema, found);
            walk(&format!("{path}[]"), &schema["items"], found);
            found.insert(path);
        }
    }
    let mut found = BTreeSet::new();
    walk("", &json_schema(), &mut found);
    found
}

/// What is wrong with a command line of the exporter; nothing where it is none.
fn wrong_command(line: &str) -> Option<String> {
    // A chart of that name.
    if line.trim_start().starts_with("helm ") {
        return None;
    }
    let cli = Cli::command();
    let is_command = |word: &str| cli.find_subcommand(word).is_some();
    let mut words = line.split_whitespace().peekable();
    let names_it = line.contains("amazing-gitlab-exporter ") && {
        let found = words.any(|word| word.ends_with("amazing-gitlab-exporter"));
        found
            && words
                .peek()
                .is_some_and(|next| next.starts_with(|c: char| c == '-' || is_word(c)))
    };
    let begins_with_command = || {
        let mut words = line.split_whitespace();
        let first = words.next().is_some_and(is_command);
        first && words.next().is_some_and(|word| word.starts_with("--"))
    };
    if !names_it {
        if !begins_with_command() {
            return None;
        }
        words = line.split_whitespace().peekable();
    }
    let mut command = &cli;
    if let Some(word) = words.peek()
        && !word.starts_with('-')
    {
        match cli.find_subcommand(word) {
            Some(known) => command = known,
            // A sentence, an image or a service of that name.
            None => return None,
        }
        let second = words.clone().nth(1);
        if let Some(known) = second.and_then(|word| command.find_subcommand(word)) {
            command = known;
        }
    }
    let settings = settings();
    let ends = |word: &&str| matches!(*word, "|" | "&&" | ";" | ">" | "&" | "#");
    while let Some(word) = words.next() {
        if ends(&word) {
            break;
        }
        if word == "--set" {
            let setting = words.next().unwrap_or_default().trim_matches('\'');
            let (path, _) = setting.split_once('=').unwrap_or((setting, ""));
            if !settings.contains(path) && path != "PATH" {
                return Some(format!("{line}: {path}"));
            }
        } else if let Some(flag) = word.strip_prefix("--") {
            let flag = flag.split('=').next().unwrap_or(flag);
            let mut all = cli.get_arguments().chain(command.get_arguments());
            let known = all.any(|known| known.get_long() == Some(flag));
            if !known && !["help", "version"].contains(&flag) {
                return Some(format!("{line}: --{flag}"));
            }
        }
    }
    None
}

fn is_word(c: char) -> bool {
    c.is_ascii_lowercase()
}

#[test]
fn every_command_and_flag_exists() {
    let mut broken = Vec::new();
    for document in documents() {
        let wrong = document.code().filter_map(|line| wrong_command(&line));
        broken.extend(wrong.map(|wrong| format!("{}: {wrong}", document.name)));
    }
    assert_none(broken);
}

#[test]
fn a_command_that_does_not_exist_is_found() {
    for wrong in [
        "amazing-gitlab-exporter run --nonsense",
        "AGE_GITLAB_TOKEN=x target/release/amazing-gitlab-exporter check --formats json",
        "amazing-gitlab-exporter run --set collectors.jobs.enable=false",
        "run --reset",
    ] {
        assert!(wrong_command(wrong).is_some(), "{wrong}");
    }
    for right in [
        "amazing-gitlab-exporter config --example > config/example.yml",
        "amazing-gitlab-exporter run --set 'otel.metrics.endpoint=x' --config f | grep --color",
        "docker build --tag amazing-gitlab-exporter .",
    ] {
        assert_eq!(wrong_command(right), None);
    }
}

#[test]
fn every_setting_and_variable_exists() {
    let settings = settings();
    let variable = |path: &String| format!("AGE_{}", path.replace('.', "_").to_uppercase());
    let mut variables: BTreeSet<String> = settings.iter().map(variable).collect();
    // Of the command line, of the benches, and the beginning of all.
    let others = ["AGE_CONFIG", "AGE_WEBHOOKS_TOKEN", "AGE_"];
    let benches = [
        "AGE_BENCH_SCALE",
        "AGE_BENCH_COST",
        "AGE_BENCH_FIRST_MINUTES",
        "AGE_BENCH_GITLAB",
        "AGE_BENCH_LIVE",
        "AGE_BENCH_LIVE_BY",
        "AGE_BENCH_LIVE_ROLE",
    ];
    variables.extend(others.into_iter().chain(benches).map(str::to_owned));
    let sections: BTreeSet<&str> = settings
        .iter()
        .filter_map(|path| path.split('.').next())
        .filter(|name| !name.contains('['))
        .collect();
    let mut broken = Vec::new();
    for document in documents() {
        for line in document.code() {
            let mut unknown = words(&line, "AGE_", "_");
            unknown.retain(|word| !variables.contains(word));
            for section in &sections {
                let named = words(&line, &format!("{section}."), "_.");
                let is_old = |word: &String| is_old(&document.name, word);
                unknown.extend(
                    named
                        .into_iter()
                        .filter(|word| !is_known(word, &settings) && !is_old(word)),
                );
            }
            broken.extend(
                unknown
                    .iter()
                    .map(|word| format!("{}: {word}", document.name)),
            );
        }
    }
    assert_none(broken);
}

/// Whether a word is a setting of the exporter that a page is about.
fn is_old(document: &str, word: &str) -> bool {
    let word = word.trim_end_matches('.').replace("[]", "");
    let is_end = |old: &String| old.replace("[]", "").ends_with(&word);
    document == "docs/migration.md" && old_settings().iter().any(is_end)
}

/// Whether a word that begins like a setting is one, or the name of a file or host.
fn is_known(word: &str, settings: &BTreeSet<String>) -> bool {
    let word = word.trim_end_matches('.');
    let ends = [".com", ".md", ".redb", ".rs", ".yml"];
    settings.contains(word) || ends.iter().any(|end| word.ends_with(end))
}

#[test]
fn every_metric_exists() {
    let mut known = BTreeSet::new();
    for desc in catalogue::all() {
        known.insert(desc.name.to_owned());
        if desc.kind == Kind::Histogram {
            known.extend(["bucket", "count", "sum"].map(|part| format!("{}_{part}", desc.name)));
        }
    }
    let mut broken = Vec::new();
    for document in documents() {
        for word in document.code().flat_map(|line| words(&line, "age_", "_")) {
            // `age_api_*` stands for all that begin so.
            let begins = word.ends_with('_') && known.iter().any(|name| name.starts_with(&word));
            if !known.contains(&word) && !begins {
                broken.push(format!("{}: {word}", document.name));
            }
        }
    }
    assert_none(broken);
}

#[test]
fn every_example_of_a_configuration_is_right() {
    let schema = json_schema();
    let sections = schema["properties"].as_object().expect("sections");
    let (mut broken, mut checked) = (Vec::new(), 0);
    for (document, text) in blocks("yaml") {
        let mut keys = text.lines().filter_map(|line| line.split_once(':'));
        let is_ours = keys.all(|(key, _)| {
            let is_top = key.starts_with(is_word);
            !is_top || sections.contains_key(key)
        });
        if !is_ours || !text.contains(':') {
            continue;
        }
        checked += 1;
        let Err(error) = Config::from_yaml(&text) else {
            continue;
        };
        // An example shows a part, and names files of another machine.
        let beside = [
            "gitlab.token is missing",
            "projects and wildcards are both empty",
            "labels.people hash needs labels.people_hash_key",
            "does not hold ",
        ];
        let problems = error.problems().iter().map(ToString::to_string);
        let wrong = problems.filter(|said| !beside.iter().any(|part| said.contains(part)));
        broken.extend(wrong.map(|wrong| format!("{}: {wrong}\n{text}", document)));
    }
    assert_none(broken);
    assert!(checked > 8, "{checked} examples were found");
}

/// All text of the program, as it prints it: strings over several lines are joined.
fn source() -> String {
    fn collect(folder: &Path, text: &mut String) {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                collect(&path, text);
            } else if path.extension().is_some_and(|end| end == "rs") {
                text.push_str(&std::fs::read_to_string(&path).expect("readable"));
            }
        }
    }
    let mut text = String::new();
    collect(&root().join("src"), &mut text);
    let mut parts = text.split("\\\n");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |joined, part| joined + part.trim_start())
}

#[test]
fn every_sentence_of_troubleshooting_is_the_programs() {
    let documents = documents();
    let name = "docs/troubleshooting.md";
    let document = documents.iter().find(|document| document.name == name);
    let said = document.expect("it is there").column("it says");
    assert!(said.len() > 20, "{said:?}");
    let source = source();
    let mut broken = Vec::new();
    for cell in &said {
        let sentence = cell.split('`').nth(1).unwrap_or_default();
        let parts = sentence
            .split('…')
            .map(|part| part.trim_matches(['(', ')']));
        let long: Vec<&str> = parts.filter(|part| part.len() > 8).collect();
        if long.is_empty() || long.iter().any(|part| !source.contains(part)) {
            broken.push(cell.clone());
        }
    }
    assert_none(broken);
}

#[test]
fn every_kind_of_error_is_in_troubleshooting() {
    let text = read("docs/troubleshooting.md");
    let rows: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("| `"))
        .collect();
    let missing = Cause::KINDS.into_iter().filter(|kind| {
        let of_graphql = kind.starts_with("graphql_");
        let first = if of_graphql { "graphql_…" } else { kind };
        !rows.iter().any(|row| {
            let cell = row.split('|').nth(1).unwrap_or_default();
            cell.contains(&format!("`{first}`"))
        })
    });
    assert_none(missing.map(str::to_owned).collect());
}
