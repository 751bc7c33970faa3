//! Old and new GitLabs, and tokens that read less: what is sent to each, what is missing, and how many
//! requests that takes.

mod double;
mod schemas;
mod tokens;

use std::collections::BTreeSet;

use super::*;
use crate::gitlab::graphql::schema_tests::QUERIES;

/// A gap by what it is called.
fn gap(name: &str) -> &'static Gap {
    let mut known = GAPS.iter();
    known
        .find(|gap| gap.to_string() == name)
        .unwrap_or_else(|| panic!("no gap {name}"))
}

fn text(document: &'static str, missing: &[&str]) -> String {
    let missing: Vec<_> = missing.iter().map(|name| gap(name)).collect();
    match strip(document, &missing) {
        Stripped::Text(text) => text,
        Stripped::NotSent(gap) => panic!("not sent without {gap}"),
    }
}

#[test]
fn what_is_missing_is_cut_out_with_all_that_only_it_uses() {
    let document = "query Q($ids: [ID!], $first: Int, $since: Time) { projects(ids: $ids) { nodes { id \
        languages { name share } pipelines(updatedAfter: $since) { nodes { type refPath \
        jobs(jobKind: BUILD, first: $first) { nodes { artifacts { nodes { size } } } } } } } } }";
    let flat = |missing: &[&str]| {
        let text = text(document, missing);
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let whole = flat(&[]);
    assert!(whole.contains("{ type jobs(jobKind: BUILD"), "{whole}");
    assert!(
        !whole.contains("refPath"),
        "only in place of the type: {whole}"
    );
    let old = flat(&[
        "Pipeline.type",
        "Pipeline.jobs(jobKind:)",
        "Project.languages",
    ]);
    assert!(old.contains("{ refPath jobs(first: $first)"), "{old}");
    assert!(!old.contains("languages"), "{old}");
    let bare = flat(&["CiJobArtifact.size"]);
    assert!(
        !bare.contains("artifacts") && !bare.contains("jobs"),
        "{bare}"
    );
    assert!(
        !bare.contains("$first"),
        "a variable that nothing uses is refused: {bare}"
    );
    assert!(bare.contains("$since: Time"), "{bare}");
}

#[test]
fn fragments_that_nothing_uses_go_too() {
    let document = "query Q { projects { nodes { id pipelines { nodes { ...F } } \
        runners { nodes { ...G } } } } } fragment F on Pipeline { id type } \
        fragment G on CiRunner { id managers { nodes { version } } }";
    let found = text(document, &["CiRunner.managers", "Pipeline.type"]);
    assert!(
        found.contains("fragment G") && !found.contains("managers"),
        "{found}"
    );
    let without = "query Q { projects { nodes { id languages { ...F } } } } \
        fragment F on RepositoryLanguage { name }";
    let found = text(without, &["Project.languages"]);
    assert!(!found.contains("fragment"), "{found}");
}

#[test]
fn a_document_that_is_of_no_use_is_not_sent() {
    let document = "query Q { projects { nodes { id valueStreams { nodes { id } } } } }";
    let missing = gap("Project.valueStreams");
    assert_eq!(strip(document, &[missing]), Stripped::NotSent(missing));
}

/// What stands in this program about fields is true: each gap is asked for by some document.
#[test]
fn every_gap_is_of_a_field_that_some_document_asks_for() {
    for gap in GAPS {
        let is_asked = QUERIES.iter().any(|(_, document)| match gap.without {
            Without::Null => document.contains(gap.field),
            _ => match strip(document, &[gap]) {
                Stripped::NotSent(_) => true,
                Stripped::Text(text) => Stripped::Text(text) != strip(document, &[]),
            },
        });
        assert!(is_asked, "{gap}");
    }
}

#[test]
fn what_is_lost_names_metrics_that_there_are() {
    let known: BTreeSet<&str> = crate::catalogue::all().map(|metric| metric.name).collect();
    for gap in GAPS {
        for word in gap.lost.split('`').filter(|word| word.starts_with("age_")) {
            assert!(known.contains(word), "{gap}: {word}");
        }
    }
}

#[test]
fn what_was_learned_is_forgotten_with_the_version_and_what_the_token_lacks_before() {
    const DOCUMENT: &str = "query Q { projects { nodes { id maxAccessLevel { integerValue } \
        pipelines { nodes { type } } } } }";
    let learned = Learned::default();
    let sent = |learned: &Learned| learned.text("Q", DOCUMENT).unwrap();
    learned.version_is("17.6.0-ee", (17, 6));
    learned.learn(&[gap("Pipeline.type")], Why::Schema);
    learned.learn(&[gap("Project.maxAccessLevel")], Why::Token);
    assert!(!sent(&learned).contains("type") && !sent(&learned).contains("maxAccessLevel"));
    learned.version_is("17.6.0-ee", (17, 6));
    assert!(!sent(&learned).contains("type") && sent(&learned).contains("maxAccessLevel"));
    learned.refuse("Q", "for some reason".into());
    assert_eq!(learned.text("Q", DOCUMENT), Err("for some reason".into()));
    learned.version_is("18.0.0-ee", (18, 0));
    assert!(sent(&learned).contains("type"));
    assert!(learned.losses().is_empty());
    assert!(learned.is_older_than((18, 1)) && !learned.is_older_than((18, 0)));
    assert!(
        !Learned::default().is_older_than((18, 1)),
        "unknown is not old"
    );
}

/// The table in the documentation.
fn table() -> String {
    let mut text = "| field | missing in | without it |\n|---|---|---|\n".to_owned();
    for gap in GAPS {
        let until = gap
            .until
            .map(|(major, minor)| format!("{major}.{minor} and before"));
        let community = gap.enterprise.then(|| "Community Edition".to_owned());
        let token = gap.fine_grained.then(|| "fine-grained tokens".to_owned());
        let missing: Vec<String> = [until, community, token].into_iter().flatten().collect();
        let row = format!("| `{gap}` | {} | {} |\n", missing.join("; "), gap.lost);
        text.push_str(&row);
    }
    text
}

#[test]
fn the_table_of_versions_is_up_to_date() {
    const BEGIN: &str = "<!-- gaps: written by UPDATE_DOCS=1 cargo test --lib -->\n\n";
    const END: &str = "\n<!-- end of gaps -->";
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/gitlab-versions.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (written, after) = rest.split_once(END).unwrap();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, format!("{before}{BEGIN}{}{END}{after}", table())).unwrap();
        return;
    }
    assert!(
        written == table(),
        "docs/gitlab-versions.md is old: UPDATE_DOCS=1 cargo test --lib writes it"
    );
}
