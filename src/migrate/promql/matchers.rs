//! Matchers of selectors: `kind` and `ref` where a metric here has no `kind` or another `ref`.

use promql_parser::label::{MatchOp, Matcher};
use promql_parser::parser::token::{T_EQL, T_EQL_REGEX, T_NEQ, T_NEQ_REGEX};

use super::variables::has_variable;

/// Kinds of refs, the same there and here.
pub(super) const KINDS: [&str; 3] = ["branch", "tag", MERGE_REQUEST];
pub(super) const MERGE_REQUEST: &str = "merge-request";

/// What the `ref` of a merge request begins with here.
const OF_MERGE_REQUESTS: &str = "merge-requests/";
/// What the `ref` of a tag begins with in metrics without `kind`.
const OF_TAGS: &str = "tags/";

/// The operator of a new matcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Equal,
    NotEqual,
    Regex,
    NotRegex,
}

impl Op {
    pub fn of(matcher: &Matcher) -> Self {
        match matcher.op {
            MatchOp::Equal => Self::Equal,
            MatchOp::NotEqual => Self::NotEqual,
            MatchOp::Re(_) => Self::Regex,
            MatchOp::NotRe(_) => Self::NotRegex,
        }
    }

    fn is_negative(self) -> bool {
        matches!(self, Self::NotEqual | Self::NotRegex)
    }

    /// The operator for an expression instead of a text.
    fn regex(self) -> Self {
        match self.is_negative() {
            true => Self::NotRegex,
            false => Self::Regex,
        }
    }

    fn is_regex(self) -> bool {
        self == self.regex()
    }
}

/// Builds a matcher.
pub(super) fn matcher(name: &str, op: Op, value: &str) -> Result<Matcher, String> {
    let id = match op {
        Op::Equal => T_EQL,
        Op::NotEqual => T_NEQ,
        Op::Regex => T_EQL_REGEX,
        Op::NotRegex => T_NEQ_REGEX,
    };
    Matcher::new_matcher(id, name.to_owned(), value.to_owned())
}

/// Kinds that the matchers of `kind` allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kinds {
    /// These.
    Some(Vec<&'static str>),
    /// Those of a dashboard variable.
    Variable,
}

impl Kinds {
    pub fn of(matchers: &[Matcher]) -> Self {
        let mut kinds = KINDS.to_vec();
        for matcher in matchers.iter().filter(|matcher| matcher.name == "kind") {
            if has_variable(&matcher.value) {
                return Self::Variable;
            }
            kinds.retain(|kind| matcher.is_match(kind));
        }
        Self::Some(kinds)
    }

    fn includes(&self, kind: &str) -> bool {
        match self {
            Self::Some(kinds) => kinds.contains(&kind),
            Self::Variable => true,
        }
    }

    fn is_only(&self, kind: &str) -> bool {
        matches!(self, Self::Some(kinds) if kinds.as_slice() == [kind])
    }

    /// The matcher of `ref` that selects these kinds where a metric has no `kind`.
    pub fn as_ref_matcher(&self) -> Result<Option<Matcher>, String> {
        let Self::Some(kinds) = self else {
            return Err(
                "kind is a dashboard variable, and the metric here has no label kind: refs of tags begin with \
                 tags/, those of merge requests with merge-requests/"
                    .to_owned(),
            );
        };
        let has = |kind| kinds.contains(&kind);
        let (op, value) = match (has("branch"), has("tag"), has(MERGE_REQUEST)) {
            (true, true, true) => return Ok(None),
            (false, false, false) => {
                return Err("its matchers of kind match no kind of ref".to_owned());
            }
            (true, true, false) => (Op::NotRegex, "merge-requests/.*"),
            (true, false, true) => (Op::NotRegex, "tags/.*"),
            (true, false, false) => (Op::NotRegex, "(tags|merge-requests)/.*"),
            (false, true, true) => (Op::Regex, "(tags|merge-requests)/.*"),
            (false, true, false) => (Op::Regex, "tags/.*"),
            (false, false, true) => (Op::Regex, "merge-requests/.*"),
        };
        matcher("ref", op, value).map(Some)
    }
}

/// How a metric here names refs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refs {
    /// It has a label `kind`: then tags keep their names.
    pub has_kind: bool,
    /// The `ref` of a merge request is its target branch, not its number.
    pub counts: bool,
}

/// A matcher of `ref` in new words, and whether it selects a kind by itself.
pub(super) struct NewRef {
    pub matcher: Matcher,
    pub selects_kind: bool,
}

/// Rewrites a matcher of `ref`.
pub(super) fn of_ref(old: &Matcher, kinds: &Kinds, refs: Refs) -> Result<NewRef, String> {
    let op = Op::of(old);
    let keep = || {
        Ok(NewRef {
            matcher: old.clone(),
            selects_kind: false,
        })
    };
    if has_variable(&old.value) {
        // Its values are read from here, where merge requests have their prefix already.
        return match refs.has_kind {
            true => keep(),
            false => Ok(NewRef {
                matcher: matcher("ref", op.regex(), &optional(OF_TAGS, &old.value, op))?,
                selects_kind: false,
            }),
        };
    }
    let matches = |value: &str| old.is_match(value) != op.is_negative();
    let of_numbers = match op.is_regex() {
        true => {
            ["1", "42", "31337"].into_iter().all(matches) && !matches("main") && !matches("v1.0.0")
        }
        false => !old.value.is_empty() && old.value.chars().all(|c| c.is_ascii_digit()),
    };
    let all = ["", "1", "main", "v1.0.0", "a/b"].into_iter().all(matches);
    let is_merge_request =
        kinds.is_only(MERGE_REQUEST) || of_numbers && kinds.includes(MERGE_REQUEST);
    if is_merge_request {
        return of_merge_requests(old, op, of_numbers, all, refs);
    }
    if refs.has_kind || all {
        return keep();
    }
    if kinds.is_only("tag") {
        return Ok(NewRef {
            matcher: matcher("ref", op, &prefixed(OF_TAGS, &old.value, op))?,
            selects_kind: !op.is_negative(),
        });
    }
    match kinds.includes("tag") && op.is_regex() {
        true => Ok(NewRef {
            matcher: matcher("ref", op, &optional(OF_TAGS, &old.value, op))?,
            selects_kind: false,
        }),
        false => keep(),
    }
}

fn of_merge_requests(
    old: &Matcher,
    op: Op,
    of_numbers: bool,
    all: bool,
    refs: Refs,
) -> Result<NewRef, String> {
    let any_number =
        all || of_numbers && op.is_regex() && old.is_match("7") && old.is_match("123456");
    if any_number && !op.is_negative() {
        return Ok(NewRef {
            matcher: matcher("ref", Op::Regex, "merge-requests/.*")?,
            selects_kind: true,
        });
    }
    if refs.counts {
        return Err(
            "it selects single merge requests, and counters here have the target branch instead \
             (merge-requests/main): set refs.merge_requests.count_ref to iid and write merge-requests/ before \
             the number"
                .to_owned(),
        );
    }
    Ok(NewRef {
        matcher: matcher("ref", op, &prefixed(OF_MERGE_REQUESTS, &old.value, op))?,
        selects_kind: !op.is_negative(),
    })
}

fn prefixed(prefix: &str, value: &str, op: Op) -> String {
    match op.is_regex() {
        true => format!("{prefix}(?:{value})"),
        false => format!("{prefix}{value}"),
    }
}

/// An expression for a value with or without a prefix.
fn optional(prefix: &str, value: &str, op: Op) -> String {
    match op.is_regex() {
        true => format!("({prefix})?(?:{value})"),
        false => format!("({prefix})?{value}"),
    }
}
