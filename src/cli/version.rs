//! What `--version` shows: the version, and the commit and its date where the build names them.

use std::sync::LazyLock;

use jiff::Timestamp;

/// The commit that was built; releases set it.
const COMMIT: Option<&str> = option_env!("BUILD_COMMIT");
/// When it was made, in seconds; the variable of reproducible-builds.org.
const DATE: Option<&str> = option_env!("SOURCE_DATE_EPOCH");

/// Digits of a commit that are shown.
const DIGITS: usize = 12;

/// For `--version`: `0.1.0 (0123456789ab, 2026-12-01)`; the version alone if the build names no commit.
pub(super) fn long() -> &'static str {
    static LONG: LazyLock<String> = LazyLock::new(|| text(env!("CARGO_PKG_VERSION"), COMMIT, DATE));
    &LONG
}

fn text(version: &str, commit: Option<&str>, date: Option<&str>) -> String {
    let commit = commit.filter(|commit| !commit.is_empty());
    let commit = commit.map(|commit| commit.get(..DIGITS).unwrap_or(commit).to_owned());
    let date = date
        .and_then(|seconds| seconds.parse().ok())
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .map(|date| date.strftime("%Y-%m-%d").to_string());
    let parts: Vec<String> = commit.into_iter().chain(date).collect();
    match parts.is_empty() {
        true => version.to_owned(),
        false => format!("{version} ({})", parts.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_names_commit_and_date_where_the_build_does() {
        let commit = Some("0123456789abcdef0123456789abcdef01234567");
        let date = Some("1796083200");
        assert_eq!(
            text("1.2.3", commit, date),
            "1.2.3 (0123456789ab, 2026-12-01)"
        );
        assert_eq!(text("1.2.3", commit, None), "1.2.3 (0123456789ab)");
        // What a build without them passes on.
        assert_eq!(text("1.2.3", Some(""), Some("")), "1.2.3");
        assert_eq!(text("1.2.3", None, Some("yesterday")), "1.2.3");
        assert_eq!(text("1.2.3", Some("abc"), None), "1.2.3 (abc)");
    }
}
