//! The table of what may use what in docs/architecture.md, against the code.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::markdown::{cells, read, root};

/// Folders and files of `src` that only tests build.
const TEST_FOLDERS: [&str; 3] = ["tests", "testing", "properties"];
const TEST_FILES: [&str; 8] = [
    "tests.rs",
    "testing.rs",
    "conformance.rs",
    "mutation.rs",
    "bodies.rs",
    "sample.rs",
    "sample_tests.rs",
    "schema_tests.rs",
];

/// What each module may use, as the table has it: modules, or one of their modules or items.
fn table() -> BTreeMap<String, BTreeSet<String>> {
    let text = read("docs/architecture.md");
    let lines = text.lines();
    let rows = lines.skip_while(|line| !line.starts_with("| module | may use |"));
    let rows = rows.skip(2).take_while(|line| line.starts_with('|'));
    let row = |line: &str| {
        let cells = cells(line);
        let [module, uses, ..] = cells.as_slice() else {
            panic!("a row of two cells: {line}")
        };
        let uses = uses.split(',').map(|name| name.trim().trim_matches('`'));
        let uses = uses.filter(|name| !name.is_empty());
        let module = module.trim_matches('`').to_owned();
        (module, uses.map(str::to_owned).collect())
    };
    rows.map(row).collect()
}

/// The files of a folder that the program is built from, and their text without comments and tests.
fn sources(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
    let entries = fs::read_dir(folder).expect("a folder of src");
    for entry in entries.map(|entry| entry.expect("an entry").path()) {
        let name = entry.file_name().unwrap_or_default().to_string_lossy();
        if entry.is_dir() {
            if !TEST_FOLDERS.contains(&&*name) {
                sources(&entry, found);
            }
        } else if name.ends_with(".rs") && !TEST_FILES.contains(&&*name) {
            let text = fs::read_to_string(&entry).expect("a source file");
            let (program, _) = text
                .split_once("#[cfg(test)]\nmod tests {")
                .unwrap_or((&text, ""));
            let lines = program.lines();
            let lines = lines.map(|line| line.split("//").next().unwrap_or_default());
            found.push((entry, lines.collect::<Vec<_>>().join("\n")));
        }
    }
}

/// The first names of what stands behind `crate::module::`: one, or all of a list in braces.
fn items(rest: &str) -> Vec<&str> {
    let word = |text: &str| {
        let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
        end.unwrap_or(text.len())
    };
    let Some(list) = rest.strip_prefix('{') else {
        return vec![&rest[..word(rest)]];
    };
    let mut items = Vec::new();
    let (mut depth, mut start) = (1, 0);
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 || (depth == 1 && c == ',') {
            let item = list[start..at].trim();
            items.push(&item[..word(item)]);
            start = at + 1;
        }
        if depth == 0 {
            break;
        }
    }
    items.retain(|item| !item.is_empty());
    items
}

/// What a text uses of the program: module and item.
fn uses(text: &str) -> BTreeSet<(&str, &str)> {
    let places = text.match_indices("crate::");
    let all = places.flat_map(|(at, prefix)| {
        let rest = &text[at + prefix.len()..];
        let module = items(rest).first().copied().unwrap_or_default();
        let behind = rest[module.len()..].strip_prefix("::");
        let items = behind.map(items).unwrap_or_else(|| vec![""]);
        items.into_iter().map(move |item| (module, item))
    });
    all.collect()
}

#[test]
fn no_module_uses_what_the_table_does_not_let_it_use() {
    let table = table();
    let src = root().join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    assert!(files.len() > 200, "{} files", files.len());
    let mut forbidden = Vec::new();
    let mut seen = BTreeSet::new();
    for (path, text) in &files {
        let within = path.strip_prefix(&src).expect("a file of src");
        let first = within.iter().next().expect("a name").to_string_lossy();
        let module = first.trim_end_matches(".rs");
        if matches!(module, "main" | "lib" | "app" | "cli") {
            continue;
        }
        seen.insert(module.to_owned());
        let Some(allowed) = table.get(module) else {
            forbidden.push(format!("{module} is not in the table"));
            continue;
        };
        for (used, item) in uses(text) {
            let is_allowed = used == module
                || allowed.contains(used)
                || allowed.contains(&format!("{used}::{item}"));
            if !is_allowed {
                let within = within.display();
                forbidden.push(format!("src/{within}: {module} may not use {used}::{item}"));
            }
        }
    }
    let rows: BTreeSet<String> = table.keys().cloned().collect();
    let missing: Vec<&String> = rows.difference(&seen).collect();
    assert!(missing.is_empty(), "no such modules: {missing:?}");
    super::assert_none(forbidden);
}

/// What the table itself must never allow.
#[test]
fn the_table_keeps_the_layers_apart() {
    let table = table();
    let never = [
        ("collector", ["gitlab", "source", "telemetry"].as_slice()),
        ("source", &["collector", "series", "store"]),
        ("series", &["gitlab", "source", "config"]),
        ("store", &["collector", "source"]),
        ("delivery", &["scheduler", "source"]),
        ("server", &["scheduler", "source"]),
        ("catalogue", &["series", "config", "gitlab", "collector"]),
    ];
    for (module, never) in never {
        let allowed = table.get(module).expect("a row");
        for used in never {
            assert!(!allowed.contains(*used), "{module} must not use {used}");
        }
    }
}
