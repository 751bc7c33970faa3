//! The last line of defence for secrets: whatever is about to be printed or sent as telemetry is
//! searched for the values registered here.
//!
//! The first line is that a secret is a type that cannot print.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};

use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::series::Redaction;

/// The replacement of a secret.
pub const REDACTED: &str = "[redacted]";

/// Shorter values are not searched for: replacing every `42` would hide more than it protects.
const MIN_LENGTH: usize = 6;
/// Characters of a base64 text that tell enough.
const MIN_BASE64: usize = 8;
/// Tokens that were replaced by others and are still searched for: answers may echo them for a while.
const RETIRED: usize = 8;

/// The secrets of this process, shared by everything that prints; clones share one list.
#[derive(Clone, Default)]
pub struct Secrets(Arc<RwLock<Known>>);

#[derive(Default)]
struct Known {
    /// Spellings of what holds for the life of the process.
    fixed: Vec<String>,
    /// Spellings of the tokens that were loaded, the newest last.
    tokens: VecDeque<(String, Vec<String>)>,
    search: Search,
}

/// Finds all spellings in one pass.
#[derive(Default)]
enum Search {
    /// There is nothing to find.
    #[default]
    Nothing,
    Spellings(AhoCorasick),
    /// There is too much to find: no text may pass.
    Everything,
}

impl Secrets {
    /// An empty list.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `secret` in every spelling in which it could be printed: as it is, escaped as in JSON or HTML
    /// or by `Debug`, percent-encoded, and within base64. Of a header value such as `Bearer abcdef` the
    /// credentials alone are added too. Values of fewer than six characters are ignored.
    pub fn register(&self, secret: &str) {
        let credentials = secret.rsplit(' ').next().unwrap_or(secret);
        self.change(|known| {
            for value in [secret, credentials] {
                known.fixed.extend(spellings(value));
            }
        });
    }

    /// Adds the token that is used from now on. The one before stays for some changes more.
    pub fn register_token(&self, token: &str) {
        self.change(|known| {
            known.tokens.retain(|(earlier, _)| earlier != token);
            let spellings = spellings(token);
            known.tokens.push_back((token.to_owned(), spellings));
            if known.tokens.len() > RETIRED + 1 {
                known.tokens.pop_front();
            }
        });
    }

    /// What no label of a series may show: the same.
    #[must_use]
    pub fn redaction(&self) -> Redaction {
        let secrets = self.clone();
        Redaction::new(move |text| match secrets.redact(text) {
            Cow::Owned(redacted) => Some(redacted),
            Cow::Borrowed(_) => None,
        })
    }

    fn change(&self, change: impl FnOnce(&mut Known)) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        change(&mut known);
        known.fixed.sort_unstable();
        known.fixed.dedup();
        known.search = Search::new(known.all());
    }

    /// `text` with every registered secret replaced by [`REDACTED`].
    #[must_use]
    pub fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        match &known.search {
            Search::Nothing => Cow::Borrowed(text),
            Search::Spellings(search) if !search.is_match(text) => Cow::Borrowed(text),
            Search::Spellings(search) => {
                let mut redacted = String::with_capacity(text.len());
                search.replace_all_with(text, &mut redacted, |_, _, redacted| {
                    redacted.push_str(REDACTED);
                    true
                });
                Cow::Owned(redacted)
            }
            Search::Everything => Cow::Owned(REDACTED.to_owned()),
        }
    }
}

impl Known {
    fn all(&self) -> impl Iterator<Item = &String> {
        let tokens = self.tokens.iter();
        self.fixed
            .iter()
            .chain(tokens.flat_map(|(_, spellings)| spellings))
    }
}

impl Search {
    fn new<'a>(spellings: impl Iterator<Item = &'a String>) -> Self {
        let mut spellings = spellings.peekable();
        if spellings.peek().is_none() {
            return Self::Nothing;
        }
        // The longest, so that no secret is cut by another that it begins with.
        let search = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(spellings);
        search.map_or(Self::Everything, Self::Spellings)
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        write!(f, "Secrets({} spellings)", known.all().count())
    }
}

/// Every spelling of a value; none of a short one.
fn spellings(value: &str) -> Vec<String> {
    if value.chars().count() < MIN_LENGTH {
        return Vec::new();
    }
    let json = serde_json::Value::from(value).to_string();
    let json = json.trim_matches('"').to_owned();
    let form: String = url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
    let percent = utf8_percent_encode(value, NON_ALPHANUMERIC).to_string();
    let mut all = vec![
        value.to_owned(),
        json.replace('/', "\\/"),
        json,
        value.escape_debug().to_string(),
        html(value, ["&#38;", "&#60;", "&#62;", "&#34;", "&#39;"]),
        html(value, ["&amp;", "&lt;", "&gt;", "&quot;", "&#x27;"]),
        form.replace('+', "%20"),
        lower_hex(&form),
        form,
        lower_hex(&percent),
        percent,
    ];
    all.extend(base64s(value));
    all.sort_unstable();
    all.dedup();
    all
}

/// Escaped as in HTML.
fn html(value: &str, escapes: [&str; 5]) -> String {
    let mut escaped = String::with_capacity(value.len());
    for c in value.chars() {
        match "&<>\"'".find(c) {
            Some(place) => escaped.push_str(escapes[place]),
            None => escaped.push(c),
        }
    }
    escaped
}

/// Percent-encoded text with lower-case digits.
fn lower_hex(encoded: &str) -> String {
    let mut parts = encoded.split('%');
    let mut lower = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (digits, rest) = part.split_at(part.len().min(2));
        lower.push('%');
        lower.push_str(&digits.to_lowercase());
        lower.push_str(rest);
    }
    lower
}

/// What is the same in base64 whatever stands before and behind, such as the user in `user:token`.
fn base64s(value: &str) -> Vec<String> {
    let mut found = Vec::new();
    for before in 0..3 {
        let mut bytes = vec![0; before];
        bytes.extend(value.as_bytes());
        // Characters of six bits; the first and the last may share bits with something else.
        let from = (before * 8).div_ceil(6);
        let to = bytes.len() * 8 / 6;
        for encoded in [
            BASE64_STANDARD_NO_PAD.encode(&bytes),
            BASE64_URL_SAFE_NO_PAD.encode(&bytes),
        ] {
            let inner = &encoded[from..to];
            if inner.len() >= MIN_BASE64 {
                found.push(inner.to_owned());
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_registered_again_takes_no_more_room() {
        let secrets = Secrets::new();
        let known = || secrets.0.read().unwrap().fixed.len();
        secrets.register("read-from-a-file");
        let once = known();
        secrets.register("read-from-a-file");
        assert_eq!((known(), once > 0), (once, true));
    }

    #[test]
    fn every_spelling_is_redacted() {
        let secrets = Secrets::new();
        secrets.register("glpat-\"quote\" and/slash");
        for text in [
            r#"token glpat-"quote" and/slash end"#.to_owned(),
            serde_json::json!({"a": "glpat-\"quote\" and/slash"}).to_string(),
            format!("{:?}", "glpat-\"quote\" and/slash"),
            "?private_token=glpat-%22quote%22+and%2Fslash&x=1".to_owned(),
            "?private_token=glpat-%22quote%22+and%2fslash&x=1".to_owned(),
            "/glpat-%22quote%22%20and%2Fslash/x".to_owned(),
            "/glpat%2d%22quote%22%20and%2fslash/x".to_owned(),
            r#"{"a":"glpat-\"quote\" and\/slash"}"#.to_owned(),
            "<td>glpat-&#34;quote&#34; and/slash</td>".to_owned(),
            "<td>glpat-&quot;quote&quot; and/slash</td>".to_owned(),
        ] {
            let redacted = secrets.redact(&text);
            assert!(redacted.contains(REDACTED), "{text} -> {redacted}");
            assert!(!redacted.contains("quote"), "{text} -> {redacted}");
        }
    }

    #[test]
    fn basic_credentials_are_redacted_whoever_the_user_is() {
        let secrets = Secrets::new();
        secrets.register("glpat-0123456789>>>???");
        for user in ["", "a", "ab", "abc", "oauth2"] {
            for engine in [BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD] {
                let text = engine.encode(format!("{user}:glpat-0123456789>>>???:x"));
                let redacted = secrets.redact(&text);
                let rest = redacted.replacen(REDACTED, "", 1);
                assert!(redacted.contains(REDACTED), "{text} -> {redacted}");
                assert!(rest.len() <= user.len() * 2 + 9, "{text} -> {redacted}");
            }
        }
    }

    #[test]
    fn tokens_that_were_replaced_are_searched_for_a_while() {
        let secrets = Secrets::new();
        secrets.register("fixed-secret");
        for number in 0..20 {
            secrets.register_token(&format!("glpat-number-{number:02}"));
        }
        for (number, hidden) in [(19, true), (18, true), (11, true), (10, false), (0, false)] {
            let text = format!("glpat-number-{number:02}");
            assert_eq!(secrets.redact(&text) == REDACTED, hidden, "{text}");
        }
        assert_eq!(secrets.redact("fixed-secret"), REDACTED);
    }

    #[test]
    fn credentials_of_a_header_are_redacted_alone_too() {
        let secrets = Secrets::new();
        secrets.register("Bearer abcdef-0123");
        assert_eq!(
            secrets.redact("got abcdef-0123 back"),
            "got [redacted] back"
        );
        assert_eq!(secrets.redact("Bearer abcdef-0123"), REDACTED);
    }

    #[test]
    fn a_secret_within_a_secret_leaves_no_remainder() {
        let secrets = Secrets::new();
        secrets.register("secret-a");
        secrets.register("secret-a-and-more");
        assert_eq!(secrets.redact("x secret-a-and-more y"), "x [redacted] y");
    }

    #[test]
    fn short_values_and_other_text_stay() {
        let secrets = Secrets::new();
        secrets.register("42");
        assert!(matches!(
            secrets.redact("42 pipelines"),
            Cow::Borrowed("42 pipelines")
        ));
        assert!(!format!("{secrets:?}").contains("42"));
    }
}
