//! The last line of defence for secrets: whatever is about to be printed or sent as telemetry is
//! searched for the values registered here.
//!
//! The first line is that a secret is a type that cannot print.

use std::borrow::Cow;
use std::sync::{Arc, PoisonError, RwLock};

/// The replacement of a secret.
pub const REDACTED: &str = "[redacted]";

/// Shorter values are not searched for: replacing every `42` would hide more than it protects.
const MIN_LENGTH: usize = 6;

/// The secrets of this process, shared by everything that prints; clones share one list.
#[derive(Clone, Default)]
pub struct Secrets(Arc<RwLock<Vec<String>>>);

impl Secrets {
    /// An empty list.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `secret` in every spelling in which it could be printed: as it is, escaped as in JSON
    /// or by `Debug`, and percent-encoded. Of a header value such as `Bearer abcdef` the
    /// credentials alone are added too. Values of fewer than six characters are ignored.
    pub fn register(&self, secret: &str) {
        let credentials = secret.rsplit(' ').next().unwrap_or(secret);
        let mut list = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for value in [secret, credentials] {
            if value.chars().count() < MIN_LENGTH {
                continue;
            }
            for spelling in spellings(value) {
                if !list.contains(&spelling) {
                    list.push(spelling);
                }
            }
        }
        // The longest first, so that no secret is cut by another that is part of it.
        list.sort_by_key(|value| std::cmp::Reverse(value.len()));
    }

    /// `text` with every registered secret replaced by [`REDACTED`].
    #[must_use]
    pub fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let list = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut text = Cow::Borrowed(text);
        for secret in list.iter() {
            if text.contains(secret.as_str()) {
                text = Cow::Owned(text.replace(secret.as_str(), REDACTED));
            }
        }
        text
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let list = self.0.read().unwrap_or_else(PoisonError::into_inner);
        write!(f, "Secrets({} spellings)", list.len())
    }
}

fn spellings(value: &str) -> [String; 4] {
    let quoted = serde_json::Value::from(value).to_string();
    [
        value.to_owned(),
        quoted.trim_matches('"').to_owned(),
        value.escape_debug().to_string(),
        url::form_urlencoded::byte_serialize(value.as_bytes()).collect(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_is_redacted() {
        let secrets = Secrets::new();
        secrets.register("glpat-\"quote\" and/slash");
        for text in [
            r#"token glpat-"quote" and/slash end"#.to_owned(),
            serde_json::json!({"a": "glpat-\"quote\" and/slash"}).to_string(),
            format!("{:?}", "glpat-\"quote\" and/slash"),
            "?private_token=glpat-%22quote%22+and%2Fslash&x=1".to_owned(),
        ] {
            let redacted = secrets.redact(&text);
            assert!(redacted.contains(REDACTED), "{text} -> {redacted}");
            assert!(!redacted.contains("quote"), "{text} -> {redacted}");
        }
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
