//! Documents, dashboards, alerts, help texts, log messages and errors use the terms of the field.

use std::sync::LazyLock;

use regex::Regex;

use super::markdown::{documents, read, root};
use super::{assert_none, source};

/// Words that are no terms of Prometheus, OpenTelemetry or GitLab, each with a better one.
const WORDS: &[(&str, &str)] = &[
    ("anew", "again"),
    ("at work", "running, enabled"),
    ("beside", "next to, in addition to"),
    ("born|reborn", "initialized"),
    ("by and by", "gradually"),
    ("cures?", "fix"),
    ("fall-back", "fallback"),
    ("for ever", "permanently"),
    ("(?:is|are|was|were) gone", "removed"),
    ("hastens?|hastened", "prioritize"),
    ("looked at|looks at|a look", "polled, checked"),
    ("makes? no sense", "invalid"),
    ("mend|mends|mended", "fix"),
    ("nothing is lost", "no data is missing"),
    ("reckons?|reckoned", "compute"),
    ("respectively", "or"),
    ("stands? for now|for now", "until then"),
    ("something moved|nothing moves?", "changed, active"),
    ("tells|told", "report, show"),
    ("time-outs?", "timeout"),
    ("tracked no more|no more tracked", "no longer tracked"),
    ("whoever", "anyone who"),
];

/// The patterns of [`WORDS`], each with what to write instead.
static PATTERNS: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    let pattern = |word| Regex::new(&format!(r"(?i)\b(?:{word})\b")).expect("a pattern");
    let words = WORDS.iter();
    words
        .map(|(word, better)| (pattern(word), *better))
        .collect()
});

/// The words of a text that are among [`WORDS`], each with what to write instead.
fn dialect(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (pattern, better) in &*PATTERNS {
        for hit in pattern.find_iter(text) {
            let line = text[..hit.start()].lines().count();
            found.push(format!("{line}: {:?}: better {better}", hit.as_str()));
        }
    }
    found
}

/// The texts in quotes of whatever `pattern` finds in the source.
fn texts(source: &str, pattern: &str) -> Vec<String> {
    let pattern = Regex::new(pattern).expect("a pattern");
    let quoted = Regex::new(r#""((?:[^"\\]|\\.)*)""#).expect("a pattern");
    let mut texts = Vec::new();
    for found in pattern.find_iter(source) {
        let parts = quoted.captures_iter(found.as_str());
        texts.extend(parts.map(|part| part[1].to_owned()));
    }
    texts
}

#[test]
fn documents_dashboards_and_alerts_use_plain_words() {
    let mut names: Vec<String> = documents().into_iter().map(|one| one.name).collect();
    names.push("otel/prometheus/rules/alerts.yml".to_owned());
    names.push("config/example.yml".to_owned());
    let boards = root().join("grafana/dashboards");
    for board in std::fs::read_dir(boards).expect("a folder") {
        let name = board.expect("an entry").file_name();
        names.push(format!("grafana/dashboards/{}", name.to_string_lossy()));
    }
    assert!(names.len() > 25, "{names:?}");
    let mut broken = Vec::new();
    for name in names {
        let found = dialect(&read(&name));
        broken.extend(found.into_iter().map(|found| format!("{name}:{found}")));
    }
    assert_none(broken);
}

#[test]
fn log_messages_and_errors_use_plain_words() {
    let source = source();
    let logged = texts(&source, r"(?s)tracing::(?:error|warn|info)!\(.*?\);");
    let errors = texts(&source, r#"(?s)#\[error\(\s*".*?"\s*[,)]"#);
    assert!(
        logged.len() > 60 && errors.len() > 60,
        "{} {}",
        logged.len(),
        errors.len()
    );
    let mut broken = Vec::new();
    for text in logged.iter().chain(&errors) {
        let found = dialect(text);
        broken.extend(found.into_iter().map(|found| format!("{text}: {found}")));
        let ends_as_a_sentence = text.ends_with('.') && !text.ends_with("..");
        if ends_as_a_sentence {
            broken.push(format!("{text}: no full stop at the end"));
        }
    }
    assert_none(broken);
}

#[test]
fn the_dialect_is_recognized() {
    for text in [
        "series start anew",
        "The branch is gone.",
        "what GitLab tells",
        "as a Fall-back",
    ] {
        assert_eq!(dialect(text).len(), 1, "{text}");
    }
    for text in [
        "besides",
        "the ref was removed",
        "amended",
        "newborn",
        "secure",
    ] {
        assert_eq!(dialect(text), Vec::<String>::new(), "{text}");
    }
}
