//! Jobs that come with the change feed itself: those of pipelines that go on, where a poll wants nothing else
//! of them. A query of their own costs GitLab as much as twenty of them.

use std::collections::BTreeMap;

use super::super::Target;
use super::known_jobs::KnownJobs;
use super::pasts::{Past, Pasts};
use super::state::ReadOptions;
use crate::clock::UnixSeconds;
use crate::facts::feed::PARENT_PIPELINE;
use crate::gitlab::GitLab;
use crate::gitlab::graphql::{Active, JobsPart};
use crate::types::{PipelineId, ProjectId};

/// The pipelines of one project.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct OfProject {
    others: Vec<PipelineId>,
    children: Vec<PipelineId>,
    /// Whether all jobs are listed of each, which is cheaper where there are few.
    all_jobs: bool,
}

impl OfProject {
    fn len(&self) -> usize {
        self.others.len() + self.children.len()
    }
}

/// Which pipelines' jobs come with the changes of their project.
#[derive(Clone, Debug, Default)]
pub(super) struct Ahead(BTreeMap<ProjectId, OfProject>);

impl Ahead {
    /// Notes the pipelines of a project that go on.
    pub(super) fn note(
        &mut self,
        target: &Target,
        options: ReadOptions,
        known_jobs: &KnownJobs,
        pasts: &Pasts,
        now: UnixSeconds,
    ) {
        let Some(feed) = &target.memory.feed else {
            return;
        };
        let is_long = pasts.get(target.id()).is_some_and(Past::is_long);
        // A long past is asked by other lists.
        if is_long || !options.jobs {
            return;
        }
        let mut of_project = OfProject {
            all_jobs: true,
            ..OfProject::default()
        };
        for followed in feed.followed.values() {
            let pipeline = &followed.pipeline;
            if !followed.details_due || !pipeline.status.is_active() {
                continue;
            }
            let jobs = known_jobs.jobs_alone(target.id(), pipeline, options, now);
            let list = match &*pipeline.source {
                PARENT_PIPELINE => &mut of_project.children,
                _ => &mut of_project.others,
            };
            match jobs {
                JobsPart::None => continue,
                JobsPart::Active => of_project.all_jobs = false,
                JobsPart::All => {}
            }
            list.push(pipeline.id);
        }
        if (1..=GitLab::PIPELINE_IDS).contains(&of_project.len()) {
            self.0.insert(target.id(), of_project);
        }
    }

    /// What is asked of these projects.
    pub(super) fn active(&self, projects: &[ProjectId]) -> Active {
        let mut active = Active {
            all_jobs: true,
            ..Active::default()
        };
        for of_project in projects.iter().filter_map(|id| self.0.get(id)) {
            active.others.extend(&of_project.others);
            active.children.extend(&of_project.children);
            active.all_jobs &= of_project.all_jobs;
        }
        active
    }

    /// Projects that are read together, with the jobs of theirs that go on; and those that are left. The first
    /// are filled up with projects in which nothing goes on.
    pub(super) fn packs<'t>(
        &self,
        targets: Vec<&'t Target>,
    ) -> (Vec<Vec<&'t Target>>, Vec<&'t Target>) {
        let (mut with, mut without): (Vec<_>, Vec<_>) = targets
            .into_iter()
            .partition(|target| self.0.contains_key(&target.id()));
        with.sort_by_key(|target| {
            self.0
                .get(&target.id())
                .map(|own| (own.all_jobs, own.len()))
        });
        let mut packs: Vec<Vec<&Target>> = Vec::new();
        let mut pipelines = 0;
        let mut kind = None;
        for target in with {
            let Some(own) = self.0.get(&target.id()) else {
                continue;
            };
            let fits = pipelines + own.len() <= GitLab::PIPELINE_IDS && kind == Some(own.all_jobs);
            match packs.last_mut() {
                Some(pack) if fits && pack.len() < GitLab::ACTIVE_PROJECTS => pack.push(target),
                _ => {
                    packs.push(vec![target]);
                    pipelines = 0;
                }
            }
            pipelines += own.len();
            kind = Some(own.all_jobs);
        }
        // Whole batches of the others stay whole.
        let mut few = without.len() % GitLab::CHANGES_PROJECTS;
        for pack in &mut packs {
            let room = few.min(GitLab::ACTIVE_PROJECTS - pack.len());
            pack.extend(without.drain(..room));
            few -= room;
        }
        (packs, without)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::target;
    use super::*;

    fn ahead(projects: impl IntoIterator<Item = (u64, usize, bool)>) -> Ahead {
        let of_project = |(id, pipelines, all_jobs)| {
            let ids = (0..pipelines as u64).map(|number| PipelineId(100 * id + number));
            let of_project = OfProject {
                others: ids.collect(),
                all_jobs,
                ..OfProject::default()
            };
            (ProjectId(id), of_project)
        };
        Ahead(projects.into_iter().map(of_project).collect())
    }

    /// The sizes of the packs, and how many projects are left.
    fn packed(ahead: &Ahead, projects: u64) -> (Vec<(usize, usize)>, usize) {
        let targets: Vec<Target> = (1..=projects).map(|id| target(id, false)).collect();
        let (packs, rest) = ahead.packs(targets.iter().collect());
        let sizes = packs.iter().map(|pack| {
            let ids: Vec<ProjectId> = pack.iter().map(|target| target.id()).collect();
            (pack.len(), ahead.active(&ids).others.len())
        });
        (sizes.collect(), rest.len())
    }

    #[test]
    fn a_query_has_as_many_projects_and_pipelines_as_gitlab_takes() {
        assert_eq!(packed(&ahead([]), 100), (vec![], 100));
        // Others share the query.
        assert_eq!(
            packed(&ahead([(1, 2, true), (2, 3, true)]), 8),
            (vec![(8, 5)], 0)
        );
        // What is left fills whole batches.
        assert_eq!(packed(&ahead([(1, 1, true)]), 201), (vec![(1, 1)], 200));
        assert_eq!(packed(&ahead([(1, 1, true)]), 231), (vec![(20, 1)], 211));
        let many = (1..=25).map(|id| (id, 1, true));
        assert_eq!(packed(&ahead(many), 25), (vec![(20, 20), (5, 5)], 0));
        let large = [(1, 15, true), (2, 15, true), (3, 5, true)];
        assert_eq!(packed(&ahead(large), 3), (vec![(2, 20), (1, 15)], 0));
    }

    #[test]
    fn pipelines_of_few_and_of_many_jobs_are_asked_for_apart() {
        let both = ahead([(1, 1, true), (2, 1, false), (3, 1, true)]);
        assert_eq!(packed(&both, 3), (vec![(1, 1), (2, 2)], 0));
        assert!(!both.active(&[ProjectId(2)]).all_jobs);
        assert!(both.active(&[ProjectId(1), ProjectId(3)]).all_jobs);
    }
}
