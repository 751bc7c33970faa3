//! What is wrong with a configuration, one sentence each, and the nearest valid thing.

use std::fmt;

use super::tree::Origin;

/// More problems than a person reads at once are not shown.
pub(super) const MOST_SHOWN: usize = 100;

/// One thing that is wrong: a sentence that names the key, and the place where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    place: Option<Origin>,
    keys: Vec<String>,
    sentence: String,
}

impl Problem {
    pub(super) fn new(place: Option<&Origin>, key: &str, sentence: String) -> Self {
        // A default is no place where a person could correct something.
        let place = place.filter(|place| **place != Origin::Default).cloned();
        Self {
            place,
            keys: vec![key.to_owned()],
            sentence,
        }
    }

    /// Also about `key`: the problem is left out when something else is wrong with it.
    pub(super) fn and(mut self, key: &str) -> Self {
        self.keys.push(key.to_owned());
        self
    }

    /// The keys that it is about.
    pub(crate) fn keys(&self) -> &[String] {
        &self.keys
    }

    /// The sentence, without the place.
    pub(crate) fn sentence(&self) -> &str {
        &self.sentence
    }

    /// Whether this is about one of the keys that `other` is about, or a key inside or around it.
    pub(super) fn overlaps(&self, other: &Problem) -> bool {
        let inside = |outer: &str, inner: &str| {
            inner
                .strip_prefix(outer)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        let mut pairs = self
            .keys
            .iter()
            .flat_map(|a| other.keys.iter().map(move |b| (a, b)));
        pairs.any(|(a, b)| inside(a, b) || inside(b, a))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.sentence)
    }
}

/// A configuration that cannot be used: everything that is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines(.0))]
pub struct ConfigError(Vec<Problem>);

impl ConfigError {
    pub(super) fn new(mut problems: Vec<Problem>) -> Self {
        if problems.len() > MOST_SHOWN {
            problems.truncate(MOST_SHOWN);
            let sentence = "there are more problems, which are shown when these are solved";
            problems.push(Problem::new(None, "", sentence.to_owned()));
        }
        Self(problems)
    }

    /// The single problems: those of the file first, in its order.
    pub fn problems(&self) -> &[Problem] {
        &self.0
    }
}

fn lines(problems: &[Problem]) -> String {
    problems
        .iter()
        .map(Problem::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

/// The candidate most like `word`, if any is enough like it to be what was meant.
pub(super) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let scored = candidates
        .into_iter()
        .map(|known| (similarity(word, known), known));
    scored
        .filter(|(score, _)| *score >= 0.55)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}

fn similarity(a: &str, b: &str) -> f64 {
    strsim::normalized_damerau_levenshtein(&a.to_lowercase(), &b.to_lowercase())
}

/// "a, b or c".
pub(super) fn or_list(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}
