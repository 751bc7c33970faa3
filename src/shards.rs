//! Shards: the parts into which projects are divided between replicas, and which of them this one holds.
//!
//! A single instance holds all of them, permanently. With replicas, a shard is held under a lease: what
//! is of it is shown and committed only until the lease ends. Ends are compared with two clocks, as the
//! monotonic one stands still while a machine is suspended.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::clock::Clock;
use crate::locks::lock;
use crate::types::ProjectId;

/// A part of what is exported, held by one replica at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shard(u8);

impl Shard {
    /// Shards of projects.
    pub const OF_PROJECTS: usize = 64;
    /// All shards.
    pub const COUNT: usize = Self::OF_PROJECTS + 1;
    /// What belongs to no project: discovery, runners.
    pub const INSTANCE: Self = Self(Self::OF_PROJECTS as u8);

    /// The shard of a project. It never changes, as what is stored is found by it.
    #[must_use]
    pub const fn of(project: ProjectId) -> Self {
        // Ids of one group lie together: the multiplication spreads them.
        let spread = project.0.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        Self((spread >> (u64::BITS - Self::OF_PROJECTS.ilog2())) as u8)
    }

    /// The shard of this number.
    #[must_use]
    pub const fn by_index(index: usize) -> Option<Self> {
        match index < Self::COUNT {
            true => Some(Self(index as u8)),
            false => None,
        }
    }

    /// Its number.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// All shards.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..Self::COUNT).filter_map(Self::by_index)
    }
}

/// Some shards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShardSet(u128);

impl ShardSet {
    /// All shards.
    pub const ALL: Self = Self((1 << Shard::COUNT) - 1);
    /// None.
    pub const NONE: Self = Self(0);

    /// Whether a shard is among them.
    #[must_use]
    pub const fn contains(self, shard: Shard) -> bool {
        self.0 >> shard.0 & 1 == 1
    }

    /// Adds a shard.
    pub const fn insert(&mut self, shard: Shard) {
        self.0 |= 1 << shard.0;
    }

    /// Removes a shard.
    pub const fn remove(&mut self, shard: Shard) {
        self.0 &= !(1 << shard.0);
    }

    /// Those that are also among others.
    #[must_use]
    pub const fn and(self, others: Self) -> Self {
        Self(self.0 & others.0)
    }

    /// Those, and others.
    #[must_use]
    pub const fn or(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// How many they are.
    #[must_use]
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = Shard> {
        Shard::all().filter(move |shard| self.contains(*shard))
    }
}

impl FromIterator<Shard> for ShardSet {
    fn from_iter<T: IntoIterator<Item = Shard>>(shards: T) -> Self {
        let mut set = Self::NONE;
        shards.into_iter().for_each(|shard| set.insert(shard));
        set
    }
}

/// A moment by both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    monotonic: Instant,
    /// Since the Unix epoch.
    wall: Duration,
}

impl Moment {
    /// Now.
    #[must_use]
    pub fn now() -> Self {
        Self {
            monotonic: Instant::now(),
            wall: Duration::from_nanos(Clock::System.unix_nanos()),
        }
    }

    /// So much later.
    #[must_use]
    pub fn plus(self, time: Duration) -> Self {
        Self {
            monotonic: self.monotonic + time,
            wall: self.wall + time,
        }
    }

    /// Whether it has come by either clock. A clock that is set forward ends a lease too soon, which is
    /// harmless: it is extended again.
    #[must_use]
    pub fn is_over(self, now: Self) -> bool {
        self.monotonic <= now.monotonic || self.wall <= now.wall
    }
}

/// A lease of a shard.
#[derive(Clone, Copy, Debug)]
struct Lease {
    /// The fencing token; higher for each lease of a shard.
    fence: u64,
    /// When it ends; none for one that never does.
    until: Option<Moment>,
    /// How much longer the shard is shown.
    grace: Duration,
}

/// The leases of this process.
#[derive(Debug)]
pub struct Leases(Mutex<[Option<Lease>; Shard::COUNT]>);

impl Leases {
    /// All shards, permanently: a single instance.
    #[must_use]
    pub fn single() -> Self {
        let lease = Lease {
            fence: 0,
            until: None,
            grace: Duration::ZERO,
        };
        Self(Mutex::new([Some(lease); Shard::COUNT]))
    }

    /// Drops all leases: from now on each shard has to be leased.
    pub fn clear(&self) {
        *lock(&self.0) = [None; Shard::COUNT];
    }

    /// A lease was taken or extended. What is of it is shown `grace` longer than it is committed.
    pub fn extend(&self, shard: Shard, fence: u64, until: Moment, grace: Duration) {
        lock(&self.0)[shard.index()] = Some(Lease {
            fence,
            until: Some(until),
            grace,
        });
    }

    /// A lease was given back, or taken by another replica.
    pub fn end(&self, shard: Shard) {
        lock(&self.0)[shard.index()] = None;
    }

    /// The fencing token of a lease that is in force.
    #[must_use]
    pub fn fence(&self, shard: Shard) -> Option<u64> {
        let now = Moment::now();
        let lease = lock(&self.0)[shard.index()]?;
        let is_over = lease.until.is_some_and(|until| until.is_over(now));
        (!is_over).then_some(lease.fence)
    }

    /// The shards whose leases are in force.
    #[must_use]
    pub fn in_force(&self) -> ShardSet {
        self.filter(|_| Duration::ZERO)
    }

    /// The shards that may be shown.
    #[must_use]
    pub fn shown(&self) -> ShardSet {
        self.filter(|lease| lease.grace)
    }

    fn filter(&self, longer: impl Fn(&Lease) -> Duration) -> ShardSet {
        let now = Moment::now();
        let leases = lock(&self.0);
        let in_force = leases.iter().enumerate().filter(|(_, lease)| {
            lease.is_some_and(|lease| match lease.until {
                None => true,
                Some(until) => !until.plus(longer(&lease)).is_over(now),
            })
        });
        in_force
            .filter_map(|(index, _)| Shard::by_index(index))
            .collect()
    }
}

impl Default for Leases {
    fn default() -> Self {
        Self::single()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_ids_are_spread_over_all_shards() {
        for first in [1_u64, 278_964, 50_000_000] {
            let mut counts = [0; Shard::COUNT];
            for id in first..first + 6400 {
                counts[Shard::of(ProjectId(id)).index()] += 1;
            }
            assert_eq!(counts[Shard::INSTANCE.index()], 0);
            let (least, most) = (counts[..64].iter().min(), counts[..64].iter().max());
            assert!(least >= Some(&90) && most <= Some(&110), "{counts:?}");
        }
    }

    /// Stored states are found by it: it must never change.
    #[test]
    fn the_shard_of_a_project_stays() {
        let of = |id| Shard::of(ProjectId(id)).index();
        assert_eq!([of(1), of(2), of(278_964)], [39, 15, 14]);
    }

    #[test]
    fn a_single_instance_holds_everything() {
        let leases = Leases::single();
        assert_eq!(leases.in_force(), ShardSet::ALL);
        leases.clear();
        assert!(leases.shown().is_empty());
    }

    #[test]
    fn a_lease_ends_by_itself_and_is_shown_for_the_grace_longer() {
        let leases = Leases::single();
        leases.clear();
        let shard = Shard::of(ProjectId(7));
        let hour = Duration::from_secs(3600);
        let now = Moment::now();
        leases.extend(shard, 5, now.plus(hour), Duration::ZERO);
        assert_eq!(leases.fence(shard), Some(5));
        leases.extend(shard, 5, now, hour);
        assert_eq!(leases.fence(shard), None, "nothing is committed");
        assert_eq!((leases.in_force().len(), leases.shown().len()), (0, 1));
        leases.extend(shard, 5, now, Duration::ZERO);
        assert!(leases.shown().is_empty());
    }

    #[test]
    fn either_clock_ends_a_lease() {
        let (start, second) = (Moment::now(), Duration::from_secs(1));
        let end = start.plus(10 * second);
        let suspended = Moment {
            wall: start.wall + 11 * second,
            ..start
        };
        let set_back = Moment {
            wall: start.wall - 3600 * second,
            monotonic: start.monotonic + 11 * second,
        };
        assert!(!end.is_over(start));
        assert!(end.is_over(suspended) && end.is_over(set_back));
    }
}
