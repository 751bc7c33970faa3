//! The catalogue's order, and each metric's place in it.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::{Collector, Desc};

struct Order {
    families: Vec<&'static Desc>,
    by_name: HashMap<&'static str, FamilyId>,
}

static ORDER: LazyLock<Order> = LazyLock::new(|| {
    let families: Vec<_> = Collector::ALL
        .into_iter()
        .chain([Collector::Exporter])
        .flat_map(|collector| collector.entries().iter().copied())
        .collect();
    let by_name = (0..)
        .zip(&families)
        .map(|(place, desc)| (desc.name, FamilyId(place)))
        .collect();
    Order { families, by_name }
});

/// Every entry, in the order of `/metrics`.
pub fn all() -> impl ExactSizeIterator<Item = &'static Desc> {
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

    /// Every place, in order.
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
