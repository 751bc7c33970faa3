//! What one commit has that another has not.

use std::collections::{BTreeMap, BTreeSet};

use crate::types::Text;

/// The commits that one has and another, the base, has not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// How many there are.
    pub count: u64,
    /// Their parents.
    pub parents: BTreeMap<Text, Vec<Text>>,
}

impl Comparison {
    /// How many commits are missing in one of these, if that follows: the base must be in its past, for then
    /// it has whatever the base has.
    #[must_use]
    pub fn missing_in(&self, sha: &str, base: &str) -> Option<u64> {
        let mut has: BTreeSet<&str> = BTreeSet::new();
        let mut open = vec![sha];
        let mut has_base = false;
        while let Some(commit) = open.pop() {
            has_base |= commit == base;
            if let Some((commit, parents)) = self.parents.get_key_value(commit)
                && has.insert(commit)
            {
                open.extend(parents.iter().map(|parent| &**parent));
            }
        }
        let has = u64::try_from(has.len()).ok().filter(|has| *has > 0)?;
        has_base.then(|| self.count.saturating_sub(has))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `b` to `f` come after the base `a`; `f` merges `e`, which began before `a`.
    fn comparison() -> Comparison {
        let parents = [
            ("b", vec!["a"]),
            ("c", vec!["b"]),
            ("d", vec!["0"]),
            ("e", vec!["d"]),
            ("f", vec!["c", "e"]),
        ];
        let parents = parents.map(|(sha, parents)| {
            let parents = parents.into_iter().map(Text::from);
            (Text::from(sha), parents.collect())
        });
        Comparison {
            count: 5,
            parents: parents.into(),
        }
    }

    #[test]
    fn what_follows_from_one_comparison_is_not_asked_for() {
        let found = comparison();
        assert_eq!(found.missing_in("f", "a"), Some(0));
        assert_eq!(found.missing_in("c", "a"), Some(3), "d, e and f");
        assert_eq!(found.missing_in("b", "a"), Some(4));
        assert_eq!(
            found.missing_in("e", "a"),
            None,
            "it has not all of the base"
        );
        assert_eq!(found.missing_in("x", "a"), None, "it is none of them");
        assert_eq!(found.missing_in("a", "a"), None);
        assert_eq!(Comparison::default().missing_in("b", "a"), None);
    }
}
