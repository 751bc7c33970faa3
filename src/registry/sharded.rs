//! Projects shared between replicas: each replica knows all of them, and reads those of the shards that it
//! holds. What others have to know is put into an outbox, and what they report is taken in here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Entry, Projects, Reason, Removed};
use crate::clock::UnixSeconds;
use crate::discovery::Found;
use crate::events::Mark;
use crate::facts::Reading;
use crate::memory::ProjectMemory;
use crate::memory::removed_refs::RemovedRefs;
use crate::shards::{Shard, ShardSet};
use crate::types::{ProjectId, Text};

/// What other replicas have to know of a project that one of them reads.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Note {
    /// The path that its series carry.
    pub path: Text,
    /// Refs that were removed, which series elsewhere may name.
    pub removed_refs: RemovedRefs,
    /// Up to when its pipelines have been read.
    pub read_to: UnixSeconds,
}

/// What other replicas have to know and were not sent yet.
#[derive(Debug, Default, PartialEq)]
pub struct Outbox {
    /// Discovery has polled: the list of projects may have changed.
    pub is_listed: bool,
    /// Projects that are no longer tracked.
    pub removed: Vec<(ProjectId, Reason)>,
    /// Projects of which [`Note`]s changed.
    pub noted: BTreeSet<ProjectId>,
    /// Projects that a run did not find, or that no list has: GitLab is to be asked for them.
    pub doubts: BTreeSet<ProjectId>,
    /// Projects whose entries discovery is to poll again.
    pub changed: BTreeSet<ProjectId>,
    /// Projects that events say are to be read now.
    pub hints: Vec<(ProjectId, Reading, Vec<Mark>)>,
    /// Whether the lists of projects are to be read now.
    pub lists: bool,
}

/// What a replica knows of the others.
#[derive(Debug, Default)]
pub(super) struct Sharing {
    /// The shards whose projects it reads.
    pub(super) shards: ShardSet,
    pub(super) outbox: Outbox,
    notes: BTreeMap<ProjectId, Note>,
}

/// Whether this replica reads a project for this. Runners are read for the whole instance.
pub(super) fn is_read_here(sharing: Option<&Sharing>, reading: Reading, id: ProjectId) -> bool {
    let shard = match reading {
        Reading::Runners => Shard::INSTANCE,
        _ => Shard::of(id),
    };
    sharing.is_none_or(|sharing| sharing.shards.contains(shard))
}

impl Projects {
    /// From now on, only projects of shards that are taken over are read.
    pub fn share(&mut self) {
        self.sharing = Some(Sharing::default());
    }

    /// Whether there may be other replicas.
    #[must_use]
    pub const fn is_shared(&self) -> bool {
        self.sharing.is_some()
    }

    /// Whether this replica looks for projects.
    #[must_use]
    pub fn leads(&self) -> bool {
        let sharing = self.sharing.as_ref();
        sharing.is_none_or(|sharing| sharing.shards.contains(Shard::INSTANCE))
    }

    /// Whether this replica reads a project.
    #[must_use]
    pub fn is_own(&self, id: ProjectId) -> bool {
        let sharing = self.sharing.as_ref();
        sharing.is_none_or(|sharing| sharing.shards.contains(Shard::of(id)))
    }

    /// The projects that this replica reads.
    pub fn own(&self) -> impl Iterator<Item = (ProjectId, &Entry)> {
        self.iter().filter(|(id, _)| self.is_own(*id))
    }

    /// The shards whose projects it reads.
    #[must_use]
    pub fn shards(&self) -> ShardSet {
        let sharing = self.sharing.as_ref();
        sharing.map_or(ShardSet::ALL, |sharing| sharing.shards)
    }

    /// Takes over a shard, with what is remembered of its projects.
    pub fn adopt_shard(
        &mut self,
        shard: Shard,
        memories: Vec<(ProjectId, Arc<ProjectMemory>)>,
        now: UnixSeconds,
    ) {
        let Some(sharing) = &mut self.sharing else {
            return;
        };
        sharing.shards.insert(shard);
        let memories = memories.into_iter();
        let (withdrawn, remembered): (Vec<_>, Vec<_>) =
            memories.partition(|(_, memory)| memory.withdrawn.removed_at.is_some());
        self.remembered.extend(remembered);
        self.withdrawn.extend(withdrawn);
        self.begin_again(|id| Shard::of(id) == shard, now);
    }

    /// Has GitLab asked for projects that are remembered and that no list has.
    pub fn doubt_unlisted(&mut self, now: UnixSeconds) {
        for id in self.remembered.keys().copied().collect::<Vec<_>>() {
            self.doubt(id, now);
        }
    }

    /// All that others know of this replica is to be published again.
    pub fn publish_everything(&mut self) {
        let own = self
            .own()
            .filter(|(_, entry)| !entry.memory.path.is_empty());
        let own: BTreeSet<ProjectId> = own.map(|(id, _)| id).collect();
        if let Some(outbox) = self.outbox() {
            outbox.is_listed = true;
            outbox.noted.extend(own);
        }
    }

    /// Gives shards away, with all that is remembered of their projects.
    pub fn release_shards(&mut self, shards: ShardSet, now: UnixSeconds) {
        let is_kept = |id: &ProjectId| !shards.contains(Shard::of(*id));
        self.remembered.retain(|id, _| is_kept(id));
        self.withdrawn.retain(|id, _| is_kept(id));
        self.to_remove.retain(|removed| is_kept(&removed.id));
        if let Some(sharing) = &mut self.sharing {
            shards.iter().for_each(|shard| sharing.shards.remove(shard));
        }
        self.begin_again(|id| shards.contains(Shard::of(id)), now);
    }

    /// Tracks projects anew: runs under way are not theirs, and nothing is known but what is remembered.
    fn begin_again(&mut self, of: impl Fn(ProjectId) -> bool, now: UnixSeconds) {
        let ids = self.entries.keys().copied().filter(|id| of(*id));
        for id in ids.collect::<Vec<_>>() {
            if let Some(entry) = self.entries.remove(&id) {
                self.track(id, (entry.project, entry.settings), now);
            }
        }
        self.index();
    }

    /// Takes in projects that another replica found.
    pub fn listed(&mut self, found: Found, now: UnixSeconds) {
        self.take_in(found, now);
    }

    /// Stops tracking a project that another replica removed. It is returned where its series are here.
    pub fn removed_elsewhere(
        &mut self,
        id: ProjectId,
        reason: Reason,
        now: UnixSeconds,
    ) -> Option<Removed> {
        let is_own = self.is_own(id);
        let removed = self.remove(id, reason, now);
        self.note(id, None);
        if !is_own {
            self.withdrawn.remove(&id);
        }
        removed.filter(|_| is_own)
    }

    /// Takes in what the replica that reads a project says of it.
    pub fn note(&mut self, id: ProjectId, note: Option<Note>) {
        let is_own = self.is_own(id);
        let Some(sharing) = &mut self.sharing else {
            return;
        };
        let Some(note) = note else {
            sharing.notes.remove(&id);
            return;
        };
        let refs_went = {
            let before = sharing.notes.get(&id);
            let before = before.map(|note| &note.removed_refs);
            note.removed_refs
                .adds_to(before.unwrap_or(&RemovedRefs::default()))
        };
        let path = note.path.clone();
        sharing.notes.insert(id, note);
        if is_own {
            return;
        }
        if let Some(entry) = self.entries.get_mut(&id)
            && !path.is_empty()
            && entry.project.full_path != path
        {
            entry.project.full_path = path;
            self.renamed();
        }
        if refs_went {
            self.refs_went(&[id].into_iter().collect());
        }
    }

    /// What others have to know of a project that this replica reads.
    #[must_use]
    pub fn note_of(&self, id: ProjectId) -> Option<Note> {
        let memory = &self.entries.get(&id)?.memory;
        Some(Note {
            path: memory.path.clone(),
            removed_refs: memory.removed_refs.clone(),
            read_to: memory.read_to(),
        })
    }

    /// Refs that were removed in a project, and up to when its pipelines have been read.
    #[must_use]
    pub fn removed_refs(&self, id: ProjectId) -> Option<(&RemovedRefs, UnixSeconds)> {
        match (&self.sharing, self.is_own(id)) {
            (Some(sharing), false) => {
                let note = sharing.notes.get(&id)?;
                Some((&note.removed_refs, note.read_to))
            }
            _ => {
                let memory = &self.entries.get(&id)?.memory;
                Some((&memory.removed_refs, memory.read_to()))
            }
        }
    }

    /// Whether a project has a ref of this name. Of one that another replica reads it is not known: yes.
    #[must_use]
    pub fn has_ref(&self, id: ProjectId, name: &Text) -> bool {
        let Some(entry) = self.entries.get(&id) else {
            return false;
        };
        let memory = &entry.memory;
        !self.is_own(id) || memory.has_ref(name) || memory.source_branches.names(name)
    }

    /// Takes what is to be sent to other replicas.
    pub fn take_outbox(&mut self) -> Outbox {
        let sharing = self.sharing.as_mut();
        sharing.map_or_else(Outbox::default, |sharing| {
            std::mem::take(&mut sharing.outbox)
        })
    }

    /// Keeps what could not be sent, for another try. Hints are too old then.
    pub fn put_back(&mut self, outbox: Outbox) {
        let Some(sharing) = &mut self.sharing else {
            return;
        };
        let kept = &mut sharing.outbox;
        kept.is_listed |= outbox.is_listed;
        kept.removed.extend(outbox.removed);
        kept.noted.extend(outbox.noted);
        kept.doubts.extend(outbox.doubts);
        kept.changed.extend(outbox.changed);
        kept.lists |= outbox.lists;
    }

    /// What is to be sent to other replicas; none where there are none.
    pub(super) fn outbox(&mut self) -> Option<&mut Outbox> {
        self.sharing.as_mut().map(|sharing| &mut sharing.outbox)
    }

    /// Leaves it to the replica that looks for projects to poll the lists now. False where this one does.
    pub fn leave_lists(&mut self) -> bool {
        let leads = self.leads();
        if !leads && let Some(outbox) = self.outbox() {
            outbox.lists = true;
        }
        !leads
    }

    /// Takes in that another replica did not find a project, or remembers one that no list has.
    pub fn doubted(&mut self, id: ProjectId, now: UnixSeconds) {
        if !self.entries.contains_key(&id) {
            self.remembered.entry(id).or_default();
        }
        self.doubt(id, now);
    }

    /// Takes in that a project is not as it was.
    pub fn changed_elsewhere(&mut self, id: ProjectId) {
        self.changed.insert(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::tests::{FREE_SLOTS, Idle, found, taken};
    use crate::source::Source;

    const NOW: UnixSeconds = UnixSeconds(1_000);

    fn shard(id: u64) -> Shard {
        Shard::of(ProjectId(id))
    }

    fn shards(all: &[u64]) -> ShardSet {
        all.iter().map(|id| shard(*id)).collect()
    }

    /// A replica that holds the shards of these projects and tracks three.
    fn replica(own: &[u64]) -> Projects {
        let mut projects = Projects::default();
        projects.share();
        projects.listed(found(1..=3), NOW);
        for id in own {
            projects.adopt_shard(shard(*id), Vec::new(), NOW);
        }
        projects.take_outbox();
        projects
    }

    fn memory(path: &str) -> Arc<ProjectMemory> {
        Arc::new(ProjectMemory {
            path: path.into(),
            ..ProjectMemory::default()
        })
    }

    fn own(projects: &Projects) -> Vec<u64> {
        projects.own().map(|(id, _)| id.0).collect()
    }

    #[test]
    fn what_a_shard_remembers_comes_and_goes_with_it() {
        let mut projects = replica(&[1]);
        assert_eq!(own(&projects), [1]);
        let before = projects.get(ProjectId(2)).unwrap().tracking();
        let memories = vec![(ProjectId(2), memory("group/two"))];
        projects.adopt_shard(shard(2), memories, NOW);
        let two = projects.get(ProjectId(2)).unwrap();
        assert_eq!(&*two.project().full_path, "group/two");
        assert_eq!(two.memory(), &memory("group/two"));
        assert_ne!(two.tracking(), before, "what ran before is not taken in");
        projects.release_shards(shards(&[2]), NOW);
        let two = projects.get(ProjectId(2)).unwrap();
        assert_eq!(two.memory(), &Arc::default());
        assert_eq!(&*two.project().full_path, "group/two", "it is known still");
        assert_eq!((own(&projects), projects.len()), (vec![1], 3));
    }

    #[test]
    fn only_projects_of_own_shards_are_read_and_runners_by_the_leader() {
        let mut projects = replica(&[1, 3]);
        assert_eq!(taken(&mut projects, NOW), [1, 3]);
        let runners: [Arc<dyn Source>; 1] = [Arc::new(Idle(Reading::Runners))];
        let read = |projects: &mut Projects| {
            let batches = projects.take(&runners, NOW, FREE_SLOTS).batches;
            batches
                .iter()
                .map(|batch| batch.targets.len())
                .sum::<usize>()
        };
        assert_eq!(read(&mut projects), 0);
        projects.adopt_shard(Shard::INSTANCE, Vec::new(), NOW);
        assert_eq!(read(&mut projects), 3, "whoever reads their pipelines");
    }

    #[test]
    fn a_remembered_project_that_no_list_has_is_doubted() {
        let mut projects = replica(&[]);
        let (known, unknown) = (ProjectId(2), ProjectId(900));
        projects.adopt_shard(shard(2), vec![(known, memory("two"))], NOW);
        projects.doubt_unlisted(NOW);
        assert_eq!(projects.take_outbox().doubts, BTreeSet::new());
        projects.adopt_shard(shard(900), vec![(unknown, memory("x"))], NOW);
        projects.doubt_unlisted(NOW);
        assert_eq!(projects.take_outbox().doubts, [unknown].into());
        // Who looks for projects asks GitLab for it.
        let mut leader = replica(&[1]);
        leader.adopt_shard(Shard::INSTANCE, Vec::new(), NOW);
        leader.doubted(unknown, NOW);
        let asked = leader.unconfirmed(&found(1..=3), NOW);
        assert_eq!(asked, [unknown]);
    }

    #[test]
    fn only_the_replica_with_its_series_takes_a_removed_project_away() {
        let one = ProjectId(1);
        for (own, expected) in [(&[1][..], 1), (&[2][..], 0)] {
            let mut projects = replica(own);
            let removed = projects.removed_elsewhere(one, Reason::Missing, NOW);
            assert_eq!(removed.iter().count(), expected);
            assert_eq!(projects.len(), 2);
        }
    }

    #[test]
    fn a_path_and_removed_refs_are_taken_from_the_replica_that_reads_the_project() {
        let mut projects = replica(&[1]);
        let two = ProjectId(2);
        let note = Note {
            path: "renamed/two".into(),
            removed_refs: RemovedRefs([("main".into(), UnixSeconds(5))].into()),
            read_to: UnixSeconds(7),
        };
        projects.note(two, Some(note.clone()));
        assert_eq!(projects.path(two).as_deref(), Some("renamed/two"));
        let (removed, read_to) = projects.removed_refs(two).unwrap();
        assert_eq!((removed, read_to), (&note.removed_refs, UnixSeconds(7)));
        // What is read here is known better here.
        projects.adopt_shard(shard(2), vec![(two, memory("own/two"))], NOW);
        projects.note(two, Some(note));
        assert_eq!(projects.path(two).as_deref(), Some("own/two"));
        assert_eq!(projects.removed_refs(two).unwrap().1, UnixSeconds(0));
    }

    #[test]
    fn hints_and_doubts_go_to_whom_they_concern() {
        let mut projects = replica(&[1]);
        for id in [1, 2] {
            projects.hint(ProjectId(id), Reading::ChangeFeed, Vec::new(), NOW);
            projects.doubt(ProjectId(id), NOW);
        }
        let outbox = projects.take_outbox();
        assert_eq!(outbox.hints, [(ProjectId(2), Reading::ChangeFeed, vec![])]);
        assert_eq!(outbox.doubts, [ProjectId(1), ProjectId(2)].into());
        projects.adopt_shard(Shard::INSTANCE, Vec::new(), NOW);
        projects.doubt(ProjectId(1), NOW);
        assert_eq!(projects.take_outbox(), Outbox::default());
        assert!(projects.has_doubts_due(std::time::Duration::ZERO, NOW));
    }

    #[test]
    fn what_could_not_be_sent_is_sent_later_but_for_hints() {
        let mut projects = replica(&[1]);
        projects.hint(ProjectId(2), Reading::ChangeFeed, Vec::new(), NOW);
        projects.doubt(ProjectId(1), NOW);
        let outbox = projects.take_outbox();
        projects.put_back(outbox);
        let outbox = projects.take_outbox();
        assert!(outbox.hints.is_empty());
        assert_eq!(outbox.doubts, [ProjectId(1)].into());
    }
}
