//! Answers with holes: what is lost with a project, with an item, or not at all.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use super::convert::gid;
use super::gaps::{self, Gap};
use super::{Batch, FailedProject};
use crate::gitlab::Excess;
use crate::gitlab::json::{Flaw, Step, display};
use crate::gitlab::model::Page;
use crate::gitlab::pager::MAX_PAGE;
use crate::types::ProjectId;

/// How GitLab says that the token may not see something: as good as null.
const NO_PERMISSION: &str = "does not exist or you don't have permission";

/// An answer that may have holes.
pub(super) struct Partial<D> {
    pub(super) data: D,
    pub(super) holes: Holes,
    /// Bytes that it came in.
    pub(super) bytes: usize,
    /// How long GitLab worked for it, where it says so.
    pub(super) server_time: Duration,
}

/// The holes of one answer.
#[derive(Debug, Default)]
pub(super) struct Holes {
    /// Items that made no sense: asking again will not help.
    bad: Vec<Flaw>,
    /// Places that the server could not fill now.
    lost: Vec<Flaw>,
    /// Where a list of the project that is being read has too much, and what.
    too_much: Option<(String, Excess)>,
}

/// The part of an answer that belongs to one project.
pub(super) struct ProjectHoles<'a> {
    holes: &'a mut Holes,
    index: usize,
}

impl Holes {
    pub(super) fn new(bad: Vec<Flaw>, errors: Vec<Flaw>) -> Self {
        let lost = errors
            .into_iter()
            .filter(|flaw| !flaw.why.contains(NO_PERMISSION))
            .collect();
        Self {
            bad,
            lost,
            too_much: None,
        }
    }

    /// Sorts the nodes of `projects(ids:)` into read and failed ones.
    ///
    /// # Errors
    /// A sentence when something outside the projects was lost.
    pub(super) fn split<N, T>(
        mut self,
        asked: &[ProjectId],
        nodes: Vec<Option<N>>,
        id: impl Fn(&N) -> &str,
        convert: impl Fn(N, ProjectHoles<'_>) -> Result<T, String>,
    ) -> Result<Batch<T>, String> {
        let lost = self.unreadable_projects()?;
        let mut batch = Batch {
            items: Vec::with_capacity(nodes.len()),
            failed: Vec::new(),
            bytes: 0,
            server_time: Duration::ZERO,
        };
        let mut known = HashSet::new();
        let mut nameless = None;
        for (index, node) in nodes.into_iter().enumerate() {
            let bad = self.bad_project(index);
            let number = match (&node, &bad) {
                (Some(node), _) => gid("id", id(node)),
                (None, Some((Some(id), _))) => gid("id", id),
                (None, Some((None, why))) => Err(why.clone()),
                (None, None) => match lost.get(&index) {
                    Some(why) => Err(why.clone()),
                    None => continue,
                },
            };
            let id = match number {
                Ok(id) => ProjectId(id),
                Err(why) => {
                    nameless = Some(why);
                    continue;
                }
            };
            known.insert(id);
            let read = match (node, bad, lost.get(&index)) {
                (_, _, Some(why)) => Err(why.clone()),
                (_, Some((_, why)), None) => Err(why),
                (Some(node), None, None) => {
                    let holes = ProjectHoles {
                        holes: &mut self,
                        index,
                    };
                    convert(node, holes)
                }
                (None, None, None) => continue,
            };
            let too_much = self.too_much.take();
            match (read, too_much) {
                (_, Some((place, excess))) => batch.failed.push(FailedProject {
                    id,
                    why: place,
                    too_much: Some(excess),
                }),
                (Ok(item), None) => batch.items.push(item),
                (Err(why), None) => batch.failed.push(FailedProject {
                    id,
                    why,
                    too_much: None,
                }),
            }
        }
        if let Some(why) = nameless {
            // One of those not named was not removed but not read, and it is unknown which.
            let unread = asked.iter().filter(|id| !known.contains(id));
            batch.failed.extend(unread.map(|&id| FailedProject {
                id,
                why: why.clone(),
                too_much: None,
            }));
        }
        Ok(batch)
    }

    /// Whether something on the way to a place, or below it, was lost.
    pub(super) fn has_lost(&self, place: &[&str]) -> bool {
        let mut flaws = self.lost.iter().chain(&self.bad);
        flaws.any(|flaw| {
            let mut steps = flaw.path.iter().zip(place);
            steps.all(|(step, name)| matches!(step, Step::Key(key) if key == name))
        })
    }

    /// What the token cannot read anywhere in the answer, whose bytes are `body`.
    pub(super) fn unreadable(&self, body: &[u8]) -> Vec<&'static Gap> {
        gaps::unreadable(self.lost.iter().map(|flaw| &*flaw.why), body)
    }

    /// The sentences about bad items of an answer that is not about projects.
    ///
    /// # Errors
    /// A sentence when something was lost.
    pub(super) fn whole(self) -> Result<Vec<String>, String> {
        match self.lost.first() {
            Some(lost) => Err(sentence(lost)),
            None => Ok(self.bad.iter().map(sentence).collect()),
        }
    }

    /// By index, why a project's part is incomplete.
    fn unreadable_projects(&self) -> Result<BTreeMap<usize, String>, String> {
        let mut lost = BTreeMap::new();
        for flaw in &self.lost {
            match flaw.path.as_slice() {
                [
                    Step::Key(projects),
                    Step::Key(nodes),
                    Step::Index(index),
                    ..,
                ] if projects == "projects" && nodes == "nodes" => {
                    lost.entry(*index).or_insert_with(|| sentence(flaw));
                }
                _ => return Err(sentence(flaw)),
            }
        }
        Ok(lost)
    }

    /// Id and reason of a project node that itself made no sense.
    fn bad_project(&self, index: usize) -> Option<(Option<String>, String)> {
        let prefix = project_path(index);
        let flaw = self.bad.iter().find(|flaw| flaw.path == prefix)?;
        Some((flaw.id.clone(), sentence(flaw)))
    }
}

impl ProjectHoles<'_> {
    /// A page of a connection; `place` is the way to it from the project.
    pub(super) fn page<N, T>(
        &mut self,
        place: &[Step],
        nodes: Option<Vec<Option<N>>>,
        next: Option<String>,
        convert: impl Fn(N, &[Step], &mut Self) -> Result<T, String>,
    ) -> Page<T> {
        let mut items = Vec::new();
        let mut skipped = Vec::new();
        if nodes.as_ref().is_some_and(|nodes| nodes.len() > MAX_PAGE) {
            let place = display(&self.path(place));
            self.holes.too_much = Some((place, Excess::PageItems(MAX_PAGE)));
            return Page::default();
        }
        for (index, node) in nodes.unwrap_or_default().into_iter().enumerate() {
            let Some(node) = node else { continue };
            let mut place = place.to_vec();
            place.extend([key("nodes"), Step::Index(index)]);
            if self.is_bad(&place) {
                continue;
            }
            match convert(node, &place, self) {
                Ok(item) => items.push(item),
                Err(why) => skipped.push(format!("{}: {why}", display(&self.path(&place)))),
            }
        }
        skipped.extend(self.take(place));
        Page {
            items,
            next,
            skipped,
        }
    }

    /// The way to `place` from the answer's root.
    fn path(&self, place: &[Step]) -> Vec<Step> {
        [&project_path(self.index), place].concat()
    }

    /// Whether the item at `place` was cut out.
    fn is_bad(&self, place: &[Step]) -> bool {
        let path = self.path(place);
        self.holes.bad.iter().any(|flaw| flaw.path == path)
    }

    /// The sentences about bad items below `place`, each given once.
    fn take(&mut self, place: &[Step]) -> Vec<String> {
        let prefix = self.path(place);
        self.holes
            .bad
            .extract_if(.., |flaw| flaw.path.starts_with(&prefix))
            .map(|flaw| sentence(&flaw))
            .collect()
    }
}

pub(super) fn key(name: &str) -> Step {
    Step::Key(name.to_owned())
}

fn project_path(index: usize) -> Vec<Step> {
    vec![key("projects"), key("nodes"), Step::Index(index)]
}

fn sentence(flaw: &Flaw) -> String {
    if flaw.path.is_empty() {
        flaw.why.clone()
    } else {
        format!("{}: {}", display(&flaw.path), flaw.why)
    }
}
