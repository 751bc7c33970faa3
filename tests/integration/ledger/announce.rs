//! GitLab announces what moves in the random world, and a part of it is lost on the way.

use std::collections::BTreeMap;

use amazing_gitlab_exporter::clock::UnixSeconds;
use amazing_gitlab_exporter::events::{Mark, Trigger};
use amazing_gitlab_exporter::facts::Reading;
use amazing_gitlab_exporter::types::ProjectId;
use gitlab_simulator::World;
use gitlab_simulator::world::Status;
use rand::RngExt;
use rand::rngs::StdRng;
use tokio::time::Instant;

use crate::support::core::Core;

/// What was announced last of each thing, whether it arrived or not.
#[derive(Default)]
pub struct Announcements {
    known: BTreeMap<(u64, Reading, u64), (String, i64)>,
    /// Events that arrived.
    pub arrived: usize,
    /// Events that were lost.
    pub lost: usize,
}

impl Announcements {
    /// Announces what moved since the last call; one of `lost` events does not arrive.
    pub fn step(
        &mut self,
        world: &World,
        exporter: &Core,
        random: &mut StdRng,
        lost: u32,
        now: UnixSeconds,
    ) {
        let mut events = Vec::new();
        for project in world.projects() {
            for pipeline in world.pipelines_of(project.id) {
                let state = (format!("{:?}", pipeline.status), pipeline.updated_at);
                // The first status is announced by the second.
                if pipeline.status != Status::Created {
                    events.push(((project.id, Reading::ChangeFeed, pipeline.id), state));
                }
            }
            for request in project.merge_requests.values() {
                let state = (format!("{:?}", request.state), request.updated_at);
                events.push(((project.id, Reading::MergeRequests, request.iid), state));
            }
        }
        let registry = exporter.registry();
        for (key, state) in events {
            if self.known.get(&key) == Some(&state) {
                continue;
            }
            self.known.insert(key, state);
            if random.random_ratio(1, lost) {
                self.lost += 1;
                continue;
            }
            self.arrived += 1;
            let (project, reading, subject) = key;
            let mark = Mark {
                trigger: Trigger::Webhook,
                subject: Some(subject),
                at: None,
                arrived: Instant::now(),
                is_job: false,
                origin: None,
            };
            let mut projects = registry.lock();
            projects.hint(ProjectId(project), reading, vec![mark], now);
        }
    }
}
