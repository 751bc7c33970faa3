//! Storage for entities whose ids the world hands out one after the other: a lookup is an index.

use std::sync::Arc;

#[derive(Clone, Debug)]
pub(super) struct Slots<T> {
    base: u64,
    items: Vec<Option<Arc<T>>>,
}

impl<T: Clone> Slots<T> {
    /// An empty storage whose first id will be `base`.
    pub fn starting_at(base: u64) -> Self {
        Self {
            base,
            items: Vec::new(),
        }
    }

    /// The id that [`Self::push`] will store under.
    pub fn next_id(&self) -> u64 {
        self.base + self.items.len() as u64
    }

    /// Stores under the next id.
    pub fn push(&mut self, item: T) -> u64 {
        let id = self.next_id();
        self.items.push(Some(Arc::new(item)));
        id
    }

    /// Stores under an id of the caller's choice, with a gap before it where there is one.
    pub fn put(&mut self, id: u64, item: T) {
        let Some(index) = self.index(id) else {
            return;
        };
        if self.items.len() <= index {
            self.items.resize_with(index + 1, || None);
        }
        if let Some(slot) = self.items.get_mut(index) {
            *slot = Some(Arc::new(item));
        }
    }

    fn index(&self, id: u64) -> Option<usize> {
        usize::try_from(id.checked_sub(self.base)?).ok()
    }

    pub fn get(&self, id: u64) -> Option<&Arc<T>> {
        self.items.get(self.index(id)?)?.as_ref()
    }

    /// Everything, highest id first.
    pub fn newest(&self) -> impl Iterator<Item = &Arc<T>> {
        self.items.iter().rev().flatten()
    }

    /// For change; readers that hold the old value keep it.
    pub fn get_mut(&mut self, id: u64) -> Option<&mut T> {
        let index = self.index(id)?;
        self.items.get_mut(index)?.as_mut().map(Arc::make_mut)
    }

    pub fn remove(&mut self, id: u64) -> Option<Arc<T>> {
        let index = self.index(id)?;
        self.items.get_mut(index)?.take()
    }
}
