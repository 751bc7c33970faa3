//! Who holds which shard: as many each, with as few moves as possible. Every replica works it out for
//! itself from the same list, and leases decide where two want the same.

use crate::shards::{Shard, ShardSet};

/// A replica that is alive, as it says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Replica {
    /// Its instance id.
    pub(super) instance: String,
    /// The shards that it holds.
    pub(super) shards: ShardSet,
    /// Whether it refuses shards that a later version wrote.
    pub(super) refuses: bool,
}

/// What a replica does next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Shards to be given to others.
    pub(super) release: Vec<Shard>,
    /// Shards that nobody holds, to be taken in this order.
    pub(super) take: Vec<Shard>,
    /// How many of them.
    pub(super) wanted: usize,
}

/// Works out what the replica `me` does. `all` holds every live replica, `me` included; `orphans` are shards
/// that nobody has held for long: they are taken beyond the fair share.
pub(super) fn plan(me: &str, all: &[Replica], orphans: ShardSet) -> Plan {
    let mut order: Vec<&Replica> = all.iter().collect();
    // Who holds more keeps more: an even spread with the fewest moves.
    order.sort_by(|one, other| {
        let held = other.shards.len().cmp(&one.shards.len());
        held.then_with(|| one.instance.cmp(&other.instance))
    });
    let Some(rank) = order.iter().position(|replica| replica.instance == me) else {
        return Plan::default();
    };
    let share = |rank: usize| {
        let (each, more) = (Shard::COUNT / order.len(), Shard::COUNT % order.len());
        each + usize::from(rank < more)
    };
    let own = order[rank].shards;
    let mut held = ShardSet::NONE;
    for replica in &order {
        replica.shards.iter().for_each(|shard| held.insert(shard));
    }
    let free: Vec<Shard> = Shard::all()
        .filter(|shard| !held.contains(*shard))
        .collect();
    let missing = |(rank, replica): (usize, &&Replica)| match replica.refuses {
        true => 0,
        false => share(rank).saturating_sub(replica.shards.len()),
    };
    let others = order.iter().enumerate();
    let others = others.filter(|(_, replica)| replica.instance != me);
    let wanted_by_others: usize = others.map(missing).sum();
    let surplus = own.len().saturating_sub(share(rank));
    let release = surplus.min(wanted_by_others.saturating_sub(free.len()));
    let missing = share(rank).saturating_sub(own.len());
    let orphaned = free
        .iter()
        .filter(|shard| orphans.contains(**shard))
        .count();
    let wanted = missing.max(orphaned);
    // Each begins elsewhere, so that two seldom try the same.
    let first = free.len() * rank / order.len();
    let mut take = free;
    take.rotate_left(first);
    take.sort_by_key(|shard| !orphans.contains(*shard));
    Plan {
        // The shard of the instance goes last: its next holder lists all projects.
        release: own.iter().take(release).collect(),
        wanted,
        take: if wanted == 0 { Vec::new() } else { take },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replica(instance: &str, shards: ShardSet) -> Replica {
        Replica {
            instance: instance.to_owned(),
            shards,
            refuses: false,
        }
    }

    fn shards(range: std::ops::Range<usize>) -> ShardSet {
        range.filter_map(Shard::by_index).collect()
    }

    /// Lets all replicas act until none does; counts the moves.
    fn settle(all: &mut Vec<Replica>) -> usize {
        let mut moves = 0;
        for _ in 0..10 {
            let before = all.clone();
            for place in 0..all.len() {
                let me = all[place].instance.clone();
                let Plan {
                    release,
                    take,
                    wanted,
                } = plan(&me, &before, ShardSet::NONE);
                for shard in release {
                    all[place].shards.remove(shard);
                }
                let mut left = wanted;
                for shard in take {
                    let is_free = all.iter().all(|other| !other.shards.contains(shard));
                    if left > 0 && is_free {
                        all[place].shards.insert(shard);
                        left -= 1;
                        moves += 1;
                    }
                }
            }
            if before == *all {
                return moves;
            }
        }
        panic!("it goes on and on: {all:?}");
    }

    fn counts(all: &[Replica]) -> Vec<usize> {
        let mut counts: Vec<usize> = all.iter().map(|replica| replica.shards.len()).collect();
        counts.sort_unstable();
        counts
    }

    #[test]
    fn a_single_replica_takes_everything() {
        let mut all = vec![replica("a", ShardSet::NONE)];
        assert_eq!(settle(&mut all), 65);
        assert_eq!(all[0].shards, ShardSet::ALL);
    }

    #[test]
    fn shards_are_spread_evenly_and_only_those_move_that_have_to() {
        let mut all = vec![replica("a", ShardSet::ALL)];
        for (name, expected, moved) in [
            ("b", vec![32, 33], 32),
            ("c", vec![21, 22, 22], 21),
            ("d", vec![16, 16, 16, 17], 16),
        ] {
            all.push(replica(name, ShardSet::NONE));
            assert_eq!((settle(&mut all), counts(&all)), (moved, expected));
        }
        // One dies: only its shards move.
        let gone = all.remove(1).shards.len();
        assert_eq!((settle(&mut all), counts(&all)), (gone, vec![21, 22, 22]));
        let union = all.iter().flat_map(|replica| replica.shards.iter());
        assert_eq!(union.collect::<ShardSet>(), ShardSet::ALL);
    }

    #[test]
    fn nothing_is_released_while_shards_are_free() {
        let all = [replica("a", shards(0..40)), replica("b", shards(40..50))];
        let plan = plan("a", &all, ShardSet::NONE);
        assert_eq!((plan.release.len(), plan.wanted), (7, 0));
        let all = [replica("a", shards(0..40)), replica("b", shards(40..42))];
        assert_eq!(super::plan("a", &all, ShardSet::NONE).release.len(), 7);
        let all = [replica("a", shards(0..36)), replica("b", ShardSet::NONE)];
        assert_eq!(super::plan("a", &all, ShardSet::NONE).release.len(), 3);
    }

    #[test]
    fn what_an_older_version_refuses_is_taken_by_others_beyond_their_share() {
        let mut old = replica("old", ShardSet::NONE);
        old.refuses = true;
        let all = [old, replica("new", shards(0..33))];
        assert_eq!(plan("new", &all, ShardSet::NONE), Plan::default());
        let orphans = shards(33..65);
        let taken = plan("new", &all, orphans);
        assert_eq!((taken.wanted, taken.take.len()), (32, 32));
        let all = [all[0].clone(), replica("new", ShardSet::ALL)];
        assert_eq!(plan("new", &all, ShardSet::NONE).release, []);
    }

    #[test]
    fn who_is_not_listed_does_nothing() {
        let all = [replica("a", ShardSet::NONE)];
        assert_eq!(plan("b", &all, ShardSet::NONE), Plan::default());
    }
}
