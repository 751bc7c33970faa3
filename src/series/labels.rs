//! Label sets, each kept once and counted by the rows that have it.
//!
//! A set is a list of ids of interned texts, so a project's path or a ref's name is kept once,
//! however many series carry it.

use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::family::reserve;
use crate::catalogue::{LabelValues, MAX_LABELS};
use crate::types::Text;

/// Sorted label names.
type Keys = &'static [&'static str];

/// Takes out of a text what no series may show; nothing where it may show all of it.
type Redact = dyn Fn(&str) -> Option<String> + Send + Sync;

/// What no label may show. Label values come from outside, and could echo a token.
#[derive(Clone, Default)]
pub struct Redaction(Option<Arc<Redact>>);

impl Redaction {
    /// Has `redact` yield the text that is shown in the place of one that may not be.
    pub fn new(redact: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(redact)))
    }

    fn apply(&self, text: &str) -> Option<String> {
        self.0.as_ref()?(text)
    }
}

impl fmt::Debug for Redaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redaction")
    }
}

/// Entries that are counted by their users and found by content.
#[derive(Debug)]
struct Pool<T> {
    entries: Vec<Option<(T, u32)>>,
    free: Vec<u32>,
    index: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            free: Vec::new(),
            index: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
        }
    }
}

impl<T> Pool<T> {
    fn get(&self, id: u32) -> Option<&T> {
        let (content, _) = self.entries.get(id as usize)?.as_ref()?;
        Some(content)
    }

    fn find<K: Hash + ?Sized>(&self, key: &K, is: impl Fn(&T) -> bool) -> Option<u32> {
        self.index
            .find(self.hasher.hash_one(key), |id| {
                self.get(*id).is_some_and(&is)
            })
            .copied()
    }

    fn retain(&mut self, id: u32) {
        if let Some(Some((_, users))) = self.entries.get_mut(id as usize) {
            *users += 1;
        }
    }

    /// Adds what [`Pool::find`] did not find, with one user. `key` gives the hash of any content.
    fn insert<K: Hash + ?Sized>(&mut self, content: T, key: impl Fn(&T) -> &K) -> u32 {
        let hash = self.hasher.hash_one(key(&content));
        let entry = Some((content, 1));
        let id = match self.free.pop() {
            Some(id) => {
                self.entries[id as usize] = entry;
                id
            }
            None => {
                reserve(&mut self.entries, 1);
                self.entries.push(entry);
                u32::try_from(self.entries.len() - 1).unwrap_or(u32::MAX)
            }
        };
        let Self {
            entries,
            index,
            hasher,
            ..
        } = self;
        index.insert_unique(hash, id, |id| match &entries[*id as usize] {
            Some((content, _)) => hasher.hash_one(key(content)),
            None => 0,
        });
        id
    }

    /// Takes one user away; yields the content when that was the last.
    fn release<K: Hash + ?Sized>(&mut self, id: u32, key: impl Fn(&T) -> &K) -> Option<T> {
        let slot = self.entries.get_mut(id as usize)?;
        let (content, users) = slot.as_mut()?;
        *users -= 1;
        if *users > 0 {
            return None;
        }
        let hash = self.hasher.hash_one(key(content));
        if let Ok(found) = self.index.find_entry(hash, |found| *found == id) {
            found.remove();
        }
        let (content, _) = slot.take()?;
        self.free.push(id);
        Some(content)
    }

    /// Gives memory back after a peak: free entries at the end are removed.
    fn shrink<K: Hash + ?Sized>(&mut self, key: impl Fn(&T) -> &K) {
        if self.free.len() < 1024 || self.free.len() * 2 < self.entries.len() {
            return;
        }
        while matches!(self.entries.last(), Some(None)) {
            self.entries.pop();
        }
        let len = self.entries.len();
        self.free.retain(|id| (*id as usize) < len);
        self.free.shrink_to_fit();
        self.entries.shrink_to(2 * len);
        let Self {
            entries,
            index,
            hasher,
            ..
        } = self;
        index.shrink_to(2 * len, |id| match &entries[*id as usize] {
            Some((content, _)) => hasher.hash_one(key(content)),
            None => 0,
        });
    }

    fn len(&self) -> usize {
        self.index.len()
    }
}

/// Labels whose ids are stored inline: no metric of this program has more, only those of `compat` do.
const INLINE: usize = 7;

/// A set: which label names, in [`LabelSets::keys`], and ids of texts in the order of the labels. They are
/// stored inline, since there are many sets.
#[derive(Debug)]
enum Set {
    Inline {
        keys: u8,
        len: u8,
        ids: [u32; INLINE],
    },
    Heap {
        keys: u8,
        ids: Box<[u32]>,
    },
}

impl Set {
    fn new(keys: u8, ids: Vec<u32>) -> Self {
        let mut inline = [0; INLINE];
        match (inline.get_mut(..ids.len()), u8::try_from(ids.len())) {
            (Some(place), Ok(len)) => {
                place.copy_from_slice(&ids);
                Self::Inline {
                    keys,
                    len,
                    ids: inline,
                }
            }
            _ => Self::Heap {
                keys,
                ids: ids.into(),
            },
        }
    }

    fn keys(&self) -> u8 {
        match self {
            Self::Inline { keys, .. } | Self::Heap { keys, .. } => *keys,
        }
    }

    fn values(&self) -> &[u32] {
        match self {
            Self::Inline { len, ids, .. } => &ids[..usize::from(*len)],
            Self::Heap { ids, .. } => ids,
        }
    }
}

/// All label sets of the table.
#[derive(Debug, Default)]
pub(super) struct LabelSets {
    texts: Pool<Text>,
    sets: Pool<Set>,
    /// The different lists of label names: some dozens.
    keys: Vec<Keys>,
    redaction: Redaction,
}

impl LabelSets {
    /// None yet; texts are searched as they come in.
    pub(super) fn new(redaction: Redaction) -> Self {
        Self {
            redaction,
            ..Self::default()
        }
    }

    /// Values as they are shown. Known texts have been searched.
    pub(super) fn redacted(&self, values: &LabelValues) -> LabelValues {
        let shown = values.iter().map(|value| match self.exact_id(value) {
            Some(_) => value.clone(),
            None => self.shown(value),
        });
        shown.collect()
    }

    fn shown(&self, value: &Text) -> Text {
        match self.redaction.apply(value) {
            Some(redacted) => redacted.into(),
            None => value.clone(),
        }
    }

    /// The set's id, when a row has it.
    pub(super) fn find(&self, keys: Keys, values: &[Text]) -> Option<u32> {
        let mut ids = [0; MAX_LABELS];
        for (id, value) in ids.iter_mut().zip(values) {
            *id = self.text_id(value)?;
        }
        self.find_ids(keys, &ids[..values.len().min(MAX_LABELS)])
    }

    fn find_ids(&self, keys: Keys, ids: &[u32]) -> Option<u32> {
        self.sets.find(ids, |set| {
            set.values() == ids && {
                let known = self.keys_of(set);
                std::ptr::eq(known, keys) || known == keys
            }
        })
    }

    fn keys_of(&self, set: &Set) -> Keys {
        self.keys
            .get(usize::from(set.keys()))
            .copied()
            .unwrap_or(&[])
    }

    /// The number of a list of label names.
    fn number(&mut self, keys: Keys) -> u8 {
        let known = self.keys.iter().position(|known| *known == keys);
        let place = known.unwrap_or_else(|| {
            self.keys.push(keys);
            self.keys.len() - 1
        });
        // There are fewer metrics than that.
        u8::try_from(place).unwrap_or(u8::MAX)
    }

    /// The set's id, with one user more.
    pub(super) fn acquire(&mut self, keys: Keys, values: &[Text]) -> u32 {
        if let Some(id) = self.find(keys, values) {
            self.sets.retain(id);
            return id;
        }
        let keys = self.number(keys);
        let ids = values.iter().map(|value| {
            if let Some(id) = self.text_id(value) {
                self.texts.retain(id);
                return id;
            }
            let value = self.shown(value);
            self.texts.insert(value, |text| &**text)
        });
        let ids: Vec<u32> = ids.collect();
        self.sets.insert(Set::new(keys, ids), Set::values)
    }

    /// One user more of a set that is in use.
    pub(super) fn retain(&mut self, set: u32) {
        self.sets.retain(set);
    }

    /// One user less; the last one takes the set with it, and texts that only it bore.
    pub(super) fn release(&mut self, set: u32) {
        if let Some(set) = self.sets.release(set, |set| set.values()) {
            for text in set.values() {
                self.texts.release(*text, |text| &**text);
            }
        }
    }

    /// The id of a text as it is shown, when a set has it. One that is not known is searched first.
    pub(super) fn text_id(&self, text: &str) -> Option<u32> {
        self.exact_id(text)
            .or_else(|| self.exact_id(&self.redaction.apply(text)?))
    }

    fn exact_id(&self, text: &str) -> Option<u32> {
        self.texts.find(text, |known| **known == *text)
    }

    /// Ids of a set's values.
    pub(super) fn value_ids(&self, set: u32) -> &[u32] {
        self.sets.get(set).map_or(&[], |set| set.values())
    }

    /// A set's values, shared.
    pub(super) fn values(&self, set: u32) -> Box<[Text]> {
        let ids = self.value_ids(set).iter();
        ids.filter_map(|id| self.texts.get(*id).cloned()).collect()
    }

    /// A set to find.
    pub(super) fn view(&self, set: u32) -> LabelsView<'_> {
        let (keys, values) = match self.sets.get(set) {
            Some(set) => (self.keys_of(set), set.values()),
            None => (&[][..], &[][..]),
        };
        LabelsView {
            texts: &self.texts,
            keys,
            values,
        }
    }

    /// Gives memory back after a peak.
    pub(super) fn shrink(&mut self) {
        self.sets.shrink(|set| set.values());
        self.texts.shrink(|text| &**text);
    }

    /// How many sets and how many texts there are.
    pub(super) fn len(&self) -> (usize, usize) {
        (self.sets.len(), self.texts.len())
    }
}

/// The labels of one series.
#[derive(Clone, Copy, Debug)]
pub struct LabelsView<'a> {
    texts: &'a Pool<Text>,
    keys: Keys,
    values: &'a [u32],
}

impl<'a> LabelsView<'a> {
    /// Names and values, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &'a str)> + use<'a> {
        let texts = self.texts;
        let values = self.values.iter();
        let values = values.map(move |id| texts.get(*id).map_or("", |text| &**text));
        self.keys.iter().copied().zip(values)
    }
}
