//! Expressions in PromQL: names and labels of the old program's metrics become ours.
//!
//! The parser knows no dashboard variables, so these are replaced by names, numbers and durations before
//! and put back after. An expression without old names is not touched, and one that cannot be written
//! with the same meaning is refused with the reason.

mod families;
mod labels;
mod matchers;
mod rewrite;
mod selector;
#[cfg(test)]
mod tests;
mod variables;

use std::collections::BTreeSet;

pub use families::{Family, families, mapping_table};

pub(super) use families::GONE;
pub(super) use labels::LabelNow;
pub(super) use rewrite::label_in;
#[cfg(test)]
pub(super) use tests::assert_ours;

/// What names mean besides the old program's metrics.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Names that recording rules make, which may begin like the old program's.
    pub recorded: BTreeSet<String>,
}

/// What became of an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It names no metric of the old program.
    Unchanged,
    /// The new expression, what is different about it, and the old metrics in it.
    Rewritten {
        text: String,
        changes: Vec<String>,
        families: Vec<&'static Family>,
    },
    /// Why it cannot be written.
    Refused(String),
}

/// Whether a text may name a metric of the old program.
pub(super) fn mentions_old(text: &str) -> bool {
    ["gitlab_ci_", "gcpe_"]
        .iter()
        .any(|begin| text.contains(begin))
}

/// Bytes of an expression, at most.
const LONGEST: usize = 10_000;

/// Bytes of the stack for one expression of that length: what is nested in another is a call in another.
const STACK: usize = 128 << 20;

/// Rewrites one expression.
pub(super) fn expression(text: &str, names: &Names) -> Outcome {
    if !mentions_old(text) {
        return Outcome::Unchanged;
    }
    if text.len() > LONGEST {
        return Outcome::Refused(format!("it is longer than {LONGEST} bytes"));
    }
    let done = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK);
        let thread = thread.spawn_scoped(scope, || rewrite(text, names));
        thread.ok()?.join().ok()
    });
    done.unwrap_or_else(|| Outcome::Refused("it cannot be parsed".to_owned()))
}

fn rewrite(text: &str, names: &Names) -> Outcome {
    let parsed = match variables::parse(text) {
        Ok(parsed) => parsed,
        Err(reason) => return Outcome::Refused(format!("it is not valid PromQL ({reason})")),
    };
    let mut rewriter = rewrite::Rewriter::new(names);
    match rewriter.expression(&parsed.expression) {
        Err(reason) => Outcome::Refused(reason),
        Ok(_) if rewriter.families.is_empty() => Outcome::Unchanged,
        Ok(new) => {
            let written = new.to_string();
            // What cannot be read back is not what was meant.
            let read = promql_parser::parser::parse(&written).map(|read| read.to_string());
            if read.as_ref() != Ok(&written) {
                return Outcome::Refused("the new expression cannot be written".to_owned());
            }
            Outcome::Rewritten {
                text: parsed.restore(&written),
                changes: rewriter.changes,
                families: rewriter.families,
            }
        }
    }
}
