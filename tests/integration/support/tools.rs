//! Where the programs are that `tests/install-tools.sh` installs, and what becomes of a test when
//! one is missing.

use std::io::Write as _;
use std::path::PathBuf;

/// A program of `tests/install-tools.sh`, such as `bin/prometheus`. Without it the test is to end,
/// and the reason is printed; where `CI=true` it fails, so that nothing turns green by being
/// skipped.
#[expect(
    clippy::disallowed_methods,
    reason = "the tests' own variables, none of the exporter's"
)]
pub fn tool(name: &str) -> Option<PathBuf> {
    let folder = match std::env::var_os("TEST_TOOLS") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/tools"),
    };
    let path = folder.join(name);
    if path.exists() {
        return Some(path);
    }
    skip(&format!(
        "{} is missing: run tests/install-tools.sh, which says why it could not be installed",
        path.display()
    ));
    None
}

/// Prints why this test ends without having tested; fails where `CI=true`.
#[expect(
    clippy::disallowed_methods,
    reason = "the tests' own variable, none of the exporter's"
)]
pub fn skip(reason: &str) {
    let is_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
    assert!(!is_ci, "{reason}");
    let test = std::thread::current();
    let test = test.name().unwrap_or("a test");
    // Not by a macro: a passing test's output is shown only so.
    let _ = writeln!(std::io::stderr(), "skipped {test}: {reason}");
}
