//! Which merge requests a project has: state and target branch of each, two bytes apiece, so that a
//! project with tens of thousands can be counted without asking for them again.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use crate::gitlab::model::CensusPage;
use crate::types::Text;

/// States of merge requests, as GitLab calls them.
pub const STATES: [&str; 4] = ["opened", "closed", "merged", "locked"];
/// Larger numbers are invalid: no project has so many.
pub(crate) const MOST: u64 = 2_000_000;

/// Numbers of merge requests up to which GitLab counts them for us.
const LONG: u64 = 2_000;

/// All merge requests of a project.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Census {
    pub(crate) branches: Vec<Text>,
    /// By number less one: 0 for none, else 1 + state + 4 × place of the branch.
    pub(crate) cells: Vec<u16>,
    /// Highest number that has been read.
    pub(crate) read: u64,
    /// Highest number that there is; none before anything was read.
    pub(crate) last: Option<u64>,
    /// All have been read once.
    pub(crate) known: bool,
    /// GitLab counted others than we did, the last time.
    pub(crate) doubted: bool,
    /// All have been read again because GitLab counted others. Not stored.
    pub(crate) read_again: bool,
    /// How many more GitLab counts than it shows. Not stored.
    pub(crate) hidden: i64,
}

impl Census {
    /// The numbers to read next, at most `most`; none when all have been read.
    #[must_use]
    pub fn wanted(&self, most: u64) -> Option<RangeInclusive<u64>> {
        let open = self.last.is_none_or(|last| self.read < last);
        open.then(|| self.read + 1..=self.read + most)
    }

    /// Whether all have been read.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.wanted(1).is_none()
    }

    /// Whether all have been read at least once: only then is a number of them true.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.known
    }

    /// Whether there are so many that GitLab is not asked to count them: it reads them all for it.
    #[must_use]
    pub fn is_long(&self) -> bool {
        self.numbers() > LONG
    }

    /// The highest number that there is.
    fn numbers(&self) -> u64 {
        self.last.unwrap_or(0).max(self.cells.len() as u64)
    }

    /// Of a long census, the numbers to read again in an hour (since 1970): `steps` times `size` of them,
    /// and all after some hours or days. What was deleted is found by them.
    pub fn again(
        &self,
        hour: u64,
        steps: u64,
        size: u64,
    ) -> impl Iterator<Item = RangeInclusive<u64>> + use<> {
        let all = self.numbers().div_ceil(size).max(1);
        (0..steps.min(all)).map(move |step| {
            let before = (hour * steps + step) % all * size;
            before + 1..=before + size
        })
    }

    /// Takes in what was read of `numbers`.
    pub fn take(&mut self, numbers: RangeInclusive<u64>, page: &CensusPage) {
        for iid in numbers.clone() {
            self.remove(iid);
        }
        for entry in &page.entries.items {
            self.set(entry.iid, &entry.state, &entry.target_branch);
        }
        self.read = self.read.max(*numbers.end());
        self.last = Some(page.last.min(MOST));
        self.known |= self.is_complete();
    }

    /// Compares with the number that GitLab counts. After two differences in a row everything is read
    /// again: a single one is a merge request created in between. A difference that is the same after that
    /// stays: GitLab counts what it does not show to everyone, too.
    pub fn compare(&mut self, page: &CensusPage) {
        let Some(count) = page.count.filter(|_| self.is_complete()) else {
            return;
        };
        let ours = self.cells.iter().filter(|cell| **cell != 0).count();
        let more = i64::try_from(count)
            .unwrap_or(i64::MAX)
            .saturating_sub_unsigned(ours as u64);
        let differs = more != self.hidden;
        match differs && self.doubted {
            true if self.read_again => {
                self.hidden = more;
                self.read_again = false;
            }
            true => {
                (self.read, self.last) = (0, None);
                self.read_again = true;
            }
            false => self.read_again &= differs,
        }
        self.doubted = differs && !self.doubted;
    }

    /// Takes a merge request in as it is now.
    pub fn set(&mut self, iid: u64, state: &str, branch: &Text) {
        let Some(place) = place(iid) else { return };
        let state = STATES.iter().position(|name| *name == state);
        let branch = self.branch(branch);
        let cell = state.zip(branch).and_then(|(state, branch)| {
            u16::try_from(branch.checked_mul(STATES.len())? + state + 1).ok()
        });
        if self.cells.len() <= place {
            self.cells.resize(place + 1, 0);
        }
        self.cells[place] = cell.unwrap_or(0);
    }

    /// Takes a merge request out: it was deleted.
    pub fn remove(&mut self, iid: u64) {
        let cell = place(iid).and_then(|place| self.cells.get_mut(place));
        if let Some(cell) = cell {
            *cell = 0;
        }
    }

    fn branch(&mut self, name: &Text) -> Option<usize> {
        let known = self.branches.iter().position(|branch| branch == name);
        known.or_else(|| {
            let place = self.branches.len();
            (place < usize::from(u16::MAX) / STATES.len()).then(|| {
                self.branches.push(name.clone());
                place
            })
        })
    }

    /// Merge requests by target branch, in the order of [`STATES`].
    #[must_use]
    pub fn counts(&self) -> BTreeMap<&Text, [u64; 4]> {
        let mut places = vec![[0_u64; 4]; self.branches.len()];
        for cell in self.cells.iter().filter(|cell| **cell != 0) {
            let code = usize::from(cell - 1);
            if let Some(counts) = places.get_mut(code / STATES.len()) {
                counts[code % STATES.len()] += 1;
            }
        }
        let used = self.branches.iter().zip(places);
        used.filter(|(_, counts)| counts.iter().any(|count| *count > 0))
            .collect()
    }
}

pub(crate) fn place(iid: u64) -> Option<usize> {
    let place = iid.checked_sub(1).filter(|_| iid <= MOST)?;
    usize::try_from(place).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gitlab::model::CensusEntry;
    use crate::gitlab::model::Page;
    use crate::types::ProjectId;

    fn page(last: u64, entries: &[(u64, &str, &str)]) -> CensusPage {
        let entries = entries.iter().map(|(iid, state, branch)| CensusEntry {
            iid: *iid,
            state: (*state).into(),
            target_branch: (*branch).into(),
        });
        CensusPage {
            project: ProjectId(1),
            count: None,
            last,
            entries: Page {
                items: entries.collect(),
                ..Page::default()
            },
        }
    }

    fn counts(census: &Census) -> Vec<(String, [u64; 4])> {
        let counts = census.counts().into_iter();
        counts
            .map(|(name, counts)| (name.to_string(), counts))
            .collect()
    }

    #[test]
    fn it_is_read_number_by_number_and_then_kept() {
        let mut census = Census::default();
        assert_eq!(census.wanted(2), Some(1..=2));
        census.take(
            1..=2,
            &page(3, &[(1, "merged", "main"), (2, "closed", "main")]),
        );
        assert!(!census.is_complete());
        census.take(3..=4, &page(3, &[(3, "opened", "dev")]));
        assert!(census.is_complete());
        census.set(3, "merged", &"main".into());
        census.set(4, "opened", &"main".into());
        assert_eq!(counts(&census), [("main".to_owned(), [1, 1, 2, 0])]);
    }

    #[test]
    fn an_empty_project_is_complete_at_once() {
        let mut census = Census::default();
        census.take(1..=100, &page(0, &[]));
        assert!(census.is_complete());
        assert_eq!(counts(&census), []);
    }

    #[test]
    fn what_was_deleted_is_found_by_two_counts_that_differ() {
        let mut census = Census::default();
        let both = [(1, "opened", "main"), (2, "opened", "main")];
        census.take(1..=100, &page(2, &both));
        let counted = |count| CensusPage {
            count: Some(count),
            ..page(2, &[])
        };
        census.compare(&counted(1));
        census.compare(&counted(2));
        assert!(census.is_complete(), "it was one made in between");
        census.compare(&counted(1));
        census.compare(&counted(1));
        assert_eq!(census.wanted(100), Some(1..=100));
        census.take(1..=100, &page(2, &[(2, "opened", "main")]));
        assert_eq!(counts(&census), [("main".to_owned(), [1, 0, 0, 0])]);
    }

    #[test]
    fn what_gitlab_counts_and_does_not_show_is_looked_for_once() {
        let mut census = Census::default();
        let shown = [(1, "opened", "main"), (2, "opened", "main")];
        let counted = |count| CensusPage {
            count: Some(count),
            ..page(3, &[])
        };
        let mut read_again = 0;
        let mut polls = |census: &mut Census, count, shown: &[(u64, &str, &str)]| {
            for _ in 0..6 {
                if !census.is_complete() {
                    census.take(1..=100, &page(3, shown));
                    read_again += 1;
                }
                census.compare(&counted(count));
            }
            read_again
        };
        assert_eq!(polls(&mut census, 3, &shown), 2, "at first, and once more");
        assert_eq!(polls(&mut census, 3, &shown), 2);
        assert_eq!(polls(&mut census, 2, &shown[1..]), 3, "one was deleted");
        assert_eq!(counts(&census), [("main".to_owned(), [1, 0, 0, 0])]);
        assert_eq!(polls(&mut census, 1, &shown[1..]), 4, "it is shown now");
        assert_eq!(polls(&mut census, 0, &[]), 5);
    }

    #[test]
    fn a_long_one_is_read_again_bit_by_bit() {
        let mut census = Census::default();
        let numbers: Vec<(u64, &str, &str)> =
            (1..=2_450).map(|iid| (iid, "merged", "main")).collect();
        for chunk in numbers.chunks(100) {
            assert!(!census.is_long() || census.wanted(100).is_some());
            census.take(chunk[0].0..=chunk[0].0 + 99, &page(2_450, chunk));
        }
        assert!(census.is_complete() && census.is_long());
        let again: Vec<_> = (0..5).flat_map(|hour| census.again(hour, 5, 100)).collect();
        let mut all: Vec<u64> = again.into_iter().flatten().collect();
        all.sort_unstable();
        assert!(all.into_iter().eq(1..=2_500), "25 steps are all");
        let left: Vec<_> = numbers[100..200]
            .iter()
            .copied()
            .filter(|one| one.0 != 150)
            .collect();
        census.take(101..=200, &page(2_450, &left));
        assert!(census.is_complete(), "it does not begin again");
        assert_eq!(counts(&census), [("main".to_owned(), [0, 0, 2_449, 0])]);
    }

    #[test]
    fn nonsense_takes_no_memory() {
        let mut census = Census::default();
        census.set(u64::MAX, "opened", &"main".into());
        census.set(0, "opened", &"main".into());
        census.set(1, "dissolved", &"main".into());
        assert_eq!(counts(&census), []);
        assert!(census.cells.len() <= 1);
    }
}
