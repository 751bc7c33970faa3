//! What people and proxies do to projects while an exporter follows them: roles go up and down, features
//! are switched off and on, projects are scheduled for deletion and restored, groups and projects are renamed,
//! and something in front of GitLab answers in its place. All of it ends, and then every counter equals the ledger.

use std::collections::BTreeSet;
use std::time::Duration;

use gitlab_simulator::auth::AccessLevel;
use gitlab_simulator::faults::{Fault, Rule};
use gitlab_simulator::time::{MINUTE, Millis};
use gitlab_simulator::world::{DEFAULT_TOKEN, Feature, Project, ProjectId};
use gitlab_simulator::{Simulator, World};
use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::json;

use super::expected::Counts;
use crate::support::core::Core;

/// How long a project must be missing until it is removed.
pub const GRACE: Duration = Duration::from_secs(240);
/// The longest of them.
const LONGEST: Millis = 40 * MINUTE;
/// How long it takes until everything that was refused is asked for again.
const RECOVERY: Duration = Duration::from_secs(2400);

/// Something that happened to a project, or to what is in front of GitLab.
#[derive(Clone, Copy, Debug)]
enum Accident {
    Role(AccessLevel),
    NoJobs,
    NoMergeRequests,
    Deletion,
}

/// What is wrong now, and until when.
#[derive(Debug, Default)]
pub struct Accidents {
    open: Vec<(ProjectId, Accident, Millis)>,
    /// How many there were.
    pub total: usize,
}

/// Makes the roles matter: nobody but members sees jobs.
pub fn prepare(world: &mut World) {
    for id in ids(world) {
        let done = world.change_settings(id, |settings| settings.public_jobs = false);
        done.expect("it is there");
    }
}

fn ids(world: &World) -> Vec<ProjectId> {
    world.projects().map(|project| project.id).collect()
}

impl Accidents {
    /// Ends what is over, and lets something happen now and then.
    pub fn step(&mut self, simulator: &Simulator, random: &mut StdRng) {
        let now = simulator.world().now();
        self.end(simulator, |until| until <= now);
        if random.random_ratio(1, 8) {
            self.happen(simulator, random);
        }
        if random.random_ratio(1, 20) {
            self.total += 1;
            let until = now + random.random_range(2 * MINUTE..20 * MINUTE);
            simulator.faults().add(in_front(random).until(until));
        }
    }

    fn happen(&mut self, simulator: &Simulator, random: &mut StdRng) {
        let mut world = simulator.world();
        let all = ids(&world);
        let id = all[random.random_range(0..all.len())];
        // One at a time for each.
        if self.open.iter().any(|(busy, ..)| *busy == id) {
            return;
        }
        let accident = match random.random_range(0..6) {
            0 => Accident::Role(AccessLevel::None),
            1 => Accident::Role(AccessLevel::Guest),
            2 => Accident::Role(AccessLevel::Planner),
            3 => Accident::NoJobs,
            4 => Accident::NoMergeRequests,
            _ => Accident::Deletion,
        };
        let done = match accident {
            Accident::Role(role) => world.set_role(DEFAULT_TOKEN, id, role),
            Accident::NoJobs => world.change_settings(id, |one| one.builds = Feature::Disabled),
            Accident::NoMergeRequests => {
                world.change_settings(id, |one| one.merge_requests = Feature::Disabled)
            }
            Accident::Deletion => world.schedule_deletion(id),
        };
        done.expect("it is there");
        let until = world.now() + random.random_range(MINUTE..LONGEST);
        self.open.push((id, accident, until));
        self.total += 1;
    }

    fn end(&mut self, simulator: &Simulator, is_over: impl Fn(Millis) -> bool) {
        let mut world = simulator.world();
        self.open.retain(|(id, accident, until)| {
            if !is_over(*until) {
                return true;
            }
            let done = match accident {
                Accident::Role(_) => world.set_role(DEFAULT_TOKEN, *id, AccessLevel::Maintainer),
                Accident::NoJobs => world.change_settings(*id, |one| one.builds = Feature::Enabled),
                Accident::NoMergeRequests => {
                    world.change_settings(*id, |one| one.merge_requests = Feature::Enabled)
                }
                Accident::Deletion => world.restore_project(*id),
            };
            done.expect("it is there");
            false
        });
    }

    /// Renames a project and all groups, so that every project has another path.
    pub fn rename(&mut self, world: &mut World, random: &mut StdRng) {
        let all = ids(world);
        self.total += 1;
        let number = self.total;
        let id = all[random.random_range(0..all.len())];
        let path = world
            .project(id)
            .expect("it is there")
            .full_path
            .to_string();
        let path = format!("{path}-{number}");
        world.move_project(id, &path).expect("the path is free");
        let group = |project: &Project| project.full_path.split('/').next().map(str::to_owned);
        let groups: BTreeSet<String> = world.projects().filter_map(group).collect();
        for group in groups {
            let path = format!("{group}-{number}");
            world.move_group(&group, &path).expect("the path is free");
        }
    }

    /// Ends everything, and gives the exporter the time to see it.
    pub async fn recover(&mut self, simulator: &Simulator, exporter: &mut Core) {
        simulator.faults().clear();
        self.end(simulator, |_| true);
        let step = Duration::from_secs(30);
        let mut waited = Duration::ZERO;
        while waited < RECOVERY {
            simulator.advance(step);
            exporter.round(simulator).await;
            waited += step;
        }
    }
}

/// Answers of something between here and GitLab.
fn in_front(random: &mut StdRng) -> Rule {
    let body = |status, content_type: &str, body: &str| {
        Rule::new(Fault::Body {
            status,
            content_type: content_type.to_owned(),
            body: body.as_bytes().to_vec(),
        })
    };
    match random.random_range(0..5) {
        0 => body(404, "text/html", "<html>Not Found</html>"),
        1 => body(403, "text/html", "<html>Request blocked</html>"),
        2 => body(404, "application/json", r#"{"status":"no such backend"}"#),
        3 => Rule::new(Fault::Html),
        _ => {
            let lists = [
                ("/data/projects/nodes", "ProjectList"),
                ("", "/api/v4/projects"),
            ];
            let (pointer, list) = lists[usize::from(random.random_bool(0.3))];
            let empty = Fault::Replace {
                pointer: pointer.to_owned(),
                value: json!([]),
            };
            Rule::new(empty).on(list)
        }
    }
}

/// What happened to a project while it was to be deleted is counted under the path that it has again.
pub fn under_own_paths(counts: Counts) -> Counts {
    let mut all = Counts::new();
    for ((metric, mut labels), count) in counts {
        for value in labels.values_mut() {
            if let Some((path, _)) = value.split_once("-deletion_scheduled-") {
                *value = path.to_owned();
            }
        }
        *all.entry((metric, labels)).or_default() += count;
    }
    all
}
