//! docs/ as a static site, by mdBook.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use regex::Regex;

use super::markdown::{documents, read, root};
use super::{assert_none, plain};
use crate::support::tools::tool;

/// The pages that docs/SUMMARY.md names.
fn summary() -> Vec<String> {
    let link = Regex::new(r"\]\(([^)]+)\)").expect("a pattern");
    let text = read("docs/SUMMARY.md");
    let named = link.captures_iter(&text);
    named.map(|found| found[1].to_owned()).collect()
}

#[test]
fn the_summary_names_every_page_once() {
    let named = summary();
    let pages: BTreeSet<String> = documents()
        .iter()
        .filter_map(|document| document.name.strip_prefix("docs/"))
        .filter(|name| *name != "SUMMARY.md")
        .map(str::to_owned)
        .collect();
    let unique: BTreeSet<String> = named.iter().cloned().collect();
    assert_eq!(unique.len(), named.len(), "{named:?}");
    assert_eq!(unique, pages);
}

/// The values of an attribute in a page.
fn values(page: &str, attribute: &str) -> Vec<String> {
    let pattern = Regex::new(&format!(r#"\s{attribute}="([^"]*)""#)).expect("a pattern");
    let found = pattern.captures_iter(page);
    found.map(|value| value[1].to_owned()).collect()
}

#[test]
fn every_link_of_the_site_leads_somewhere() {
    let Some(mdbook) = tool("packaging/bin/mdbook") else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let built = Command::new(root().join(".ci/site"))
        .arg(folder.path())
        .env("MDBOOK", mdbook)
        .env(
            "REPOSITORY_URL",
            "https://gitlab.example.com/group/exporter",
        )
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "{said}");
    let page = |name: &str| std::fs::read_to_string(folder.path().join(name));
    let mut pages = BTreeMap::new();
    for name in summary() {
        let html = match name.as_str() {
            "README.md" => "index.html".to_owned(),
            name => name.replace(".md", ".html"),
        };
        let text = page(&html).unwrap_or_else(|error| panic!("{html}: {error}"));
        // What a phone needs to show it in its own width.
        assert!(text.contains("content=\"width=device-width"), "{html}");
        pages.insert(html, text);
    }
    let mut broken = Vec::new();
    for (name, text) in &pages {
        let links = values(text, "href").into_iter().chain(values(text, "src"));
        for link in links {
            if link.contains("://") {
                let is_ours =
                    link.starts_with("https://gitlab.example.com/group/exporter/blob/main/");
                let path = link.rsplit("/blob/main/").next().unwrap_or_default();
                let path = path.split('#').next().unwrap_or_default();
                if is_ours && !root().join(path).exists() {
                    broken.push(format!("{name}: {link}"));
                }
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = match path {
                "" => name.clone(),
                path => plain(Path::new(path)).display().to_string(),
            };
            let has_anchor = anchor.is_empty()
                || pages
                    .get(&target)
                    .is_some_and(|page| values(page, "id").iter().any(|id| id == anchor));
            if !folder.path().join(&target).exists() || !has_anchor {
                broken.push(format!("{name}: {link}"));
            }
        }
    }
    assert!(pages.len() > 20, "{}", pages.len());
    assert_none(broken);
}
