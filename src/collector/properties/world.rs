//! A random world of pipelines: what GitLab shows of it at any time, and what has happened in it.

use proptest::prelude::*;

use super::super::testing::{PROJECT, job, pipeline};
use crate::clock::UnixSeconds;
use crate::facts::feed::PipelineFacts;
use crate::gitlab::model::{Job, Known, Status};
use crate::types::JobId;

/// The names of jobs.
pub const NAMES: [&str; 2] = ["unit", "lint"];

/// One run of a job.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub id: u64,
    pub created: i64,
    pub started: i64,
    pub ended: i64,
    /// When its labels can be read.
    pub known: i64,
    pub status: Status,
    /// When a newer run took its place.
    pub replaced: Option<i64>,
    /// The first success of a newer run.
    pub bettered: Option<i64>,
}

/// A time of running, up to an end or a block.
#[derive(Clone, Debug)]
pub struct Run {
    pub started: i64,
    pub ended: i64,
    pub status: Status,
    /// A single job is retried: the end of the run before stays while this one runs.
    pub keeps_end: bool,
}

/// A pipeline from its creation on.
#[derive(Clone, Debug)]
pub struct Life {
    pub id: u64,
    pub created: i64,
    pub place: Place,
    /// Started by a pipeline of the same project, which is known from this time on.
    pub parent: Option<i64>,
    pub runs: Vec<Run>,
    pub jobs: [Vec<Attempt>; 2],
    /// When a pipeline that it started in a project that is not tracked was created and ended.
    pub foreign: Option<(i64, i64)>,
}

/// What it runs for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Main,
    Unwatched,
    Tag,
    MergeRequest,
}

impl Place {
    /// The label `ref` of counters; none when the rules leave it out.
    pub fn counted(self) -> Option<&'static str> {
        match self {
            Self::Main => Some("main"),
            Self::Unwatched => None,
            Self::Tag => Some("v1"),
            Self::MergeRequest => Some("merge-requests/main"),
        }
    }
}

/// The shape of a run, before times are laid out: gap before it, jobs (wait, time, outcome, delay
/// of labels), and how it ends.
type Shape = (i64, [Vec<(i64, i64, bool, i64)>; 2], Status, bool);

fn shape() -> impl Strategy<Value = Shape> {
    let attempt = (
        0..20_i64,
        0..90_i64,
        any::<bool>(),
        prop_oneof![Just(0), 1..2000_i64],
    );
    let attempts = move || prop::collection::vec(attempt.clone(), 0..3);
    let gap = prop_oneof![1..30_i64, 1..5000_i64];
    let end = prop_oneof![
        4 => Just(Status::Success),
        3 => Just(Status::Failed),
        1 => Just(Status::Canceled),
        2 => Just(Status::Manual),
    ];
    (gap, [attempts(), attempts()], end, any::<bool>())
}

/// Some pipelines in the order of their ids.
pub fn world() -> impl Strategy<Value = Vec<Life>> {
    let place = prop_oneof![
        3 => Just(Place::Main),
        1 => Just(Place::Unwatched),
        1 => Just(Place::Tag),
        2 => Just(Place::MergeRequest),
    ];
    let shapes = prop::collection::vec(shape(), 0..4);
    let parent = prop::option::of(prop_oneof![Just(0), 0..500_i64]);
    let foreign = prop::option::of((0..300_i64, 0..3000_i64));
    let life = (0..4000_i64, place, parent, shapes, foreign);
    prop::collection::vec(life, 1..8).prop_map(|mut lives| {
        lives.sort_by_key(|life| life.0);
        let ids = 1..;
        ids.zip(lives)
            .map(|(id, (created, place, parent, shapes, foreign))| {
                let parent = parent.map(|delay| created + delay);
                lay_out(id, created, place, parent, shapes, foreign)
            })
            .collect()
    })
}

fn lay_out(
    id: u64,
    created: i64,
    place: Place,
    parent: Option<i64>,
    shapes: Vec<Shape>,
    foreign: Option<(i64, i64)>,
) -> Life {
    let mut jobs: [Vec<Attempt>; 2] = Default::default();
    let mut runs = Vec::new();
    let mut now = created;
    for (gap, shapes, status, keeps_end) in shapes {
        let started = now + gap;
        let mut ended = started;
        for (nth, (attempts, shapes)) in jobs.iter_mut().zip(shapes).enumerate() {
            let mut at = started;
            for (wait, time, success, delay) in shapes {
                let number = u64::try_from(attempts.len() * 2 + nth).unwrap_or_default();
                let status = if success {
                    Status::Success
                } else {
                    Status::Failed
                };
                let end = at + wait + time;
                attempts.push(Attempt {
                    id: id * 1000 + number,
                    created: at,
                    started: at + wait,
                    ended: end,
                    known: end + delay,
                    status,
                    replaced: None,
                    bettered: None,
                });
                ended = ended.max(end);
                at = end + 1;
            }
        }
        ended += 1;
        runs.push(Run {
            started,
            ended,
            status,
            keeps_end,
        });
        now = ended;
    }
    for attempts in &mut jobs {
        let mut next: Option<i64> = None;
        let mut success: Option<i64> = None;
        for attempt in attempts.iter_mut().rev() {
            attempt.replaced = next;
            attempt.bettered = success.filter(|_| attempt.status == Status::Failed);
            next = Some(attempt.created);
            if attempt.status == Status::Success {
                success = Some(attempt.ended);
            }
        }
    }
    // A bridge is a job of its pipeline: it starts something only while that runs.
    let foreign = foreign
        .zip(runs.first())
        .map(|((wait, time), run): (_, &Run)| {
            let created = (run.started + wait).min(run.ended - 1);
            (created, created + time)
        });
    Life {
        id,
        created,
        place,
        parent,
        runs,
        jobs,
        foreign,
    }
}

impl Life {
    /// When nothing more happens.
    pub fn end(&self) -> i64 {
        let runs = self.runs.iter().map(|run| run.ended);
        let labels = self.jobs.iter().flatten().map(|attempt| attempt.known);
        let foreign = self.foreign.iter().map(|(_, ended)| *ended);
        let all = runs.chain(labels).chain(foreign).chain(self.parent);
        all.fold(self.created, i64::max)
    }

    /// What GitLab shows of it at a time.
    pub fn at(&self, now: i64) -> Option<PipelineFacts> {
        if self.created > now {
            return None;
        }
        let mut facts = pipeline(self.id, self.created);
        facts = match self.place {
            Place::Main => facts,
            Place::Unwatched => facts.on_branch("topic"),
            Place::Tag => facts.on_tag("v1"),
            Place::MergeRequest => facts.on_merge_request(42, "merge"),
        };
        if let Some(known) = self.parent {
            let parent = facts.clone();
            facts = facts.child_of(&parent, "deploy");
            if known > now {
                facts = facts.upstream_unread();
            }
        }
        for run in &self.runs {
            if run.started <= now {
                let keeps = run.keeps_end;
                facts = if keeps {
                    facts.runs(run.started)
                } else {
                    facts.is_retried(run.started)
                };
            }
            if run.ended <= now {
                let status = run.status.clone();
                let blocks = status == Status::Manual;
                facts = if blocks {
                    facts.turns(status, run.ended)
                } else {
                    facts.ends(status, run.ended)
                };
            }
        }
        let jobs = self.jobs.iter().zip(NAMES);
        let jobs = jobs.flat_map(|(attempts, name)| attempts.iter().map(move |one| (one, name)));
        facts = facts.with_jobs(jobs.filter_map(|(one, name)| one.at(name, now)));
        if let Some((created, ended)) = self.foreign.filter(|(created, _)| *created <= now) {
            let id = self.id + 500;
            let mut run = pipeline(id, created)
                .started_by(PROJECT, &facts, "to-b")
                .runs(created);
            if ended <= now {
                run = run.ends(Status::Success, ended);
            }
            facts = facts.leads_to("b", &run);
        }
        Some(facts)
    }
}

impl Attempt {
    fn at(&self, name: &str, now: i64) -> Option<Job> {
        if self.created > now {
            return None;
        }
        let mut job = job(self.id, name, self.created);
        if self.started <= now {
            job = job.runs(self.started);
        }
        if self.ended <= now {
            job = match self.status {
                Status::Failed => job.fails("script_failure", self.ended),
                _ => job.succeeds(self.ended),
            };
        }
        if self.known > now {
            job.runner_type = Known::Hidden;
            job.failure_reason = Known::Unread;
        }
        if self.replaced.is_some_and(|at| at <= now) {
            job = job.replaced();
        }
        debug_assert_eq!(
            (job.id, job.created_at),
            (JobId(self.id), UnixSeconds(self.created))
        );
        Some(job)
    }
}
