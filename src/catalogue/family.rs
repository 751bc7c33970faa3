//! The catalogue's order, and each metric's place in it.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::{Collector, Desc};

struct Order {
    /// All, those of other programs last.
    families: Vec<&'static Desc>,
    /// How many are ours.
    own: usize,
    by_name: HashMap<&'static str, FamilyId>,
}

static ORDER: LazyLock<Order> = LazyLock::new(|| {
    let own = Collector::ALL.into_iter().chain([Collector::Exporter]);
    let mut families: Vec<_> = own
        .flat_map(|collector| collector.entries().iter().copied())
        .collect();
    let own = families.len();
    families.extend(Collector::Compat.entries());
    let by_name = (0..)
        .zip(&families)
        .map(|(place, desc)| (desc.name, FamilyId(place)))
        .collect();
    Order {
        families,
        own,
        by_name,
    }
});

/// Every entry of this program, in the order of `/metrics`.
pub fn all() -> impl ExactSizeIterator<Item = &'static Desc> {
    ORDER.families.iter().take(ORDER.own).copied()
}

/// The same, and after them those of the program whose metrics `compat` shows.
pub(super) fn all_with_compat() -> impl ExactSizeIterator<Item = &'static Desc> {
    ORDER.families.iter().copied()
}

/// A metric's place in the order of `/metrics`; exists for entries of the catalogue only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FamilyId(u16);

impl FamilyId {
    /// The place of the metric called `name`.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        ORDER.by_name.get(name).copied()
    }

    /// The place of `desc`; `None` when it is no entry of the catalogue.
    #[must_use]
    pub fn of(desc: &Desc) -> Option<Self> {
        Self::by_name(desc.name)
    }

    /// Every place, in order; those of `compat` too.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..).take(ORDER.families.len()).map(Self)
    }

    /// The entry.
    #[must_use]
    pub fn desc(self) -> &'static Desc {
        ORDER.families[self.index()]
    }

    /// Position, from 0.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}
