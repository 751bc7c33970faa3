//! The newest pipelines of each ref, remembered for states.

use std::collections::{BTreeMap, BTreeSet};

use super::Subject;
use super::refs::{self, Candidate, RefName};
use crate::clock::UnixSeconds;
use crate::types::PipelineId;

/// What is remembered of the newest pipelines of each ref, newest first; skipped ones come last.
#[derive(Clone, Debug, PartialEq)]
pub struct RefHistory<T> {
    pub(crate) refs: BTreeMap<RefName, Ref<T>>,
}

/// A ref. It stays when its pipelines were deleted: its counters continue.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ref<T> {
    /// When its newest pipeline was created.
    pub(crate) newest: UnixSeconds,
    /// Its newest pipelines that were not deleted, newest first, and after them those that were skipped.
    pub(crate) entries: Vec<Remembered<T>>,
}

impl<T> Default for RefHistory<T> {
    fn default() -> Self {
        Self {
            refs: BTreeMap::new(),
        }
    }
}

/// A remembered pipeline.
#[derive(Clone, Debug, PartialEq)]
pub struct Remembered<T> {
    /// The pipeline's id: the higher, the newer.
    pub id: PipelineId,
    /// When it was created.
    pub created_at: UnixSeconds,
    /// It was skipped: it gives no state where another can.
    pub skipped: bool,
    /// What is remembered of it.
    pub value: T,
}

impl<T> RefHistory<T> {
    /// Remembers a pipeline, in place of what was remembered of it before. How many stay,
    /// [`Self::retain_of`] says.
    pub fn put(&mut self, name: RefName, entry: Remembered<T>) {
        let Ref { newest, entries } = self.refs.entry(name).or_insert_with(|| Ref {
            newest: entry.created_at,
            entries: Vec::new(),
        });
        *newest = entry.created_at.max(*newest);
        entries.retain(|other| other.id != entry.id);
        let order = |one: &Remembered<T>| (one.skipped, std::cmp::Reverse(one.id));
        let place = entries.partition_point(|other| order(other) < order(&entry));
        entries.insert(place, entry);
    }

    /// Forgets the pipelines of a ref that `keep` refuses by their place, from 0; the first stays.
    pub fn retain_of(
        &mut self,
        name: &RefName,
        mut keep: impl FnMut(usize, &Remembered<T>) -> bool,
    ) {
        if let Some(known) = self.refs.get_mut(name) {
            let mut place = 0;
            known.entries.retain(|entry| {
                let stays = keep(place, entry) || place == 0;
                place += 1;
                stays
            });
        }
    }

    /// Whether something is remembered of a ref.
    #[must_use]
    pub fn knows(&self, name: &RefName) -> bool {
        self.refs.contains_key(name)
    }

    /// What is remembered of a pipeline.
    #[must_use]
    pub fn find(&self, name: &RefName, id: PipelineId) -> Option<&Remembered<T>> {
        let entries = &self.refs.get(name)?.entries;
        entries.iter().find(|entry| entry.id == id)
    }

    /// The pipeline that gives the states of a ref.
    #[must_use]
    pub fn newest(&self, name: &RefName) -> Option<&Remembered<T>> {
        self.refs.get(name)?.entries.first()
    }

    /// Forgets deleted pipelines; the next newest takes their place.
    pub fn forget_pipelines(&mut self, deleted: &[PipelineId]) {
        if deleted.is_empty() {
            return;
        }
        for known in self.refs.values_mut() {
            known.entries.retain(|entry| !deleted.contains(&entry.id));
        }
    }

    /// Forgets what `keep` refuses, and refs that nothing is left of.
    pub fn retain(&mut self, mut keep: impl FnMut(&mut Remembered<T>) -> bool) {
        self.refs.retain(|_, known| {
            known.entries.retain_mut(&mut keep);
            !known.entries.is_empty()
        });
    }

    /// Forgets refs that their rule leaves out, as deleted ones if it says so, and those far outside
    /// their windows if `may_forget` allows it: of the others the newest pipeline stays.
    pub fn forget_refs(&mut self, subject: Subject<'_>, may_forget: impl Fn(&RefName) -> bool) {
        let Subject {
            settings,
            refs: seen,
            now,
            ..
        } = subject;
        self.refs
            .retain(|name, _| refs::is_ruled_in(name, settings));
        let kept: BTreeSet<RefName> = refs::kept(self.candidates(), settings, seen, now)
            .into_iter()
            .cloned()
            .collect();
        self.refs.retain(|name, known| {
            if kept.contains(name) {
                return true;
            }
            known.entries.truncate(1);
            let newest = known.newest;
            let candidate = Candidate { name, newest };
            !refs::is_excluded(candidate, settings, seen) && !may_forget(name)
        });
    }

    fn candidates(&self) -> impl Iterator<Item = Candidate<'_>> {
        self.refs.iter().map(|(name, known)| Candidate {
            name,
            newest: known.newest,
        })
    }

    /// The pipeline that gives the states of each ref that is inside its window, in order of refs.
    pub fn shown<'a>(
        &'a self,
        subject: Subject<'a>,
    ) -> impl Iterator<Item = (&'a RefName, &'a Remembered<T>)> {
        let with_state = self
            .candidates()
            .filter(|candidate| self.newest(candidate.name).is_some());
        let shown = refs::shown(with_state, subject.settings, subject.refs, subject.now);
        self.refs
            .iter()
            .filter(move |(name, _)| shown.contains(name))
            .filter_map(|(name, known)| Some((name, known.entries.first()?)))
    }

    /// The pipelines remembered of each ref that is inside its window, newest first.
    pub fn shown_entries<'a>(
        &'a self,
        subject: Subject<'a>,
    ) -> impl Iterator<Item = (&'a RefName, &'a [Remembered<T>])> {
        self.shown(subject)
            .filter_map(|(name, _)| Some((name, self.refs.get(name)?.entries.as_slice())))
    }

    /// Every ref that something is remembered of, and when its newest pipeline was created.
    pub fn latest(&self) -> impl Iterator<Item = (&RefName, UnixSeconds)> {
        self.refs.iter().map(|(name, known)| (name, known.newest))
    }

    /// Everything remembered.
    pub fn iter(&self) -> impl Iterator<Item = (&RefName, &[Remembered<T>])> {
        self.refs
            .iter()
            .map(|(name, known)| (name, known.entries.as_slice()))
    }
}
