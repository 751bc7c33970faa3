//! Every case of the change feed, in the order in which one world lives through them.

use gitlab_simulator::auth::AccessLevel;
use gitlab_simulator::time::SECOND;
use gitlab_simulator::world::DEFAULT_TOKEN;
use gitlab_simulator::{World, WorldConfig};

use super::world::*;

/// A case: its steps, between which both exporters look.
pub struct Case {
    pub name: &'static str,
    pub steps: &'static [fn(&mut World)],
}

pub const CASES: &[Case] = &[
    Case {
        name: "runs on every runner",
        steps: &[every_runner, finish_newest],
    },
    Case {
        name: "a retried job",
        steps: &[fail_newest, retry_failed_jobs, finish_newest],
    },
    Case {
        name: "a retried pipeline",
        steps: &[fail_newest, wait_an_hour, retry_pipeline, finish_newest],
    },
    Case {
        name: "a job retried in an ended pipeline",
        steps: &[
            create_main,
            finish_newest,
            wait_an_hour,
            retry_good_job,
            finish_newest,
        ],
    },
    Case {
        name: "blocked for days, then played",
        steps: &[
            create_blocked,
            finish_newest,
            wait_days,
            play,
            finish_newest,
        ],
    },
    Case {
        name: "skipped, broken and canceled",
        steps: &[skip, misconfigure, create_main, cancel, start_and_cancel],
    },
    Case {
        name: "never started",
        steps: &[on_failure_and_manual, finish_newest],
    },
    Case {
        name: "null duration, null queue time, nothing covered",
        steps: &[create_main, finish_newest, without_duration],
    },
    Case {
        name: "a wait in the queue, coverage, files",
        steps: &[create_rich, finish_newest],
    },
    Case {
        name: "a job that may fail",
        steps: &[allowed_failure, end_newest],
    },
    Case {
        name: "statuses and sources of a newer GitLab",
        steps: &[unknown_source, unknown_status],
    },
    Case {
        name: "merge requests",
        steps: &[
            merge_requests,
            finish_newest,
            merge_train,
            finish_newest,
            close_one,
        ],
    },
    Case {
        name: "a branch and a tag of one name",
        steps: &[
            branch_v1,
            finish_newest,
            tag_v1,
            fail_newest_running,
            branch_v1,
        ],
    },
    Case {
        name: "a branch 42 beside merge request 42",
        steps: &[branch_42, finish_newest, merge_request_42, finish_newest],
    },
    Case {
        name: "children and grandchildren",
        steps: &[family, finish_all, finish_all, finish_all],
    },
    Case {
        name: "a child of a merge request",
        steps: &[merge_request_child, finish_all, finish_all],
    },
    Case {
        name: "a chain of projects, one of them hidden",
        steps: &[
            chain, finish_all, finish_all, finish_all, hidden, finish_all, finish_all,
        ],
    },
    Case {
        name: "a cycle of projects",
        steps: &[cycle, finish_all, finish_all, finish_all, finish_all],
    },
    Case {
        name: "deleted pipelines and branches",
        steps: &[
            feature_branch,
            finish_newest,
            delete_feature,
            delete_newest,
            wait_days,
        ],
    },
    Case {
        name: "a rename",
        steps: &[
            family,
            rename,
            wait_five_minutes,
            finish_all,
            finish_all,
            create_main,
            finish_newest,
        ],
    },
];

/// The projects, and what happened before the first look.
pub fn begin() -> World {
    let mut world = World::new(WorldConfig::default());
    for path in ["group/app", "group/lib", "other/tool", "secret/vault"] {
        world.add_project(path).expect("a project");
    }
    let vault = project(&world, "secret/vault");
    world
        .set_default_role(DEFAULT_TOKEN, AccessLevel::Reporter)
        .expect("a token");
    world
        .set_role(DEFAULT_TOKEN, vault, AccessLevel::None)
        .expect("a token");
    let history: [fn(&mut World); 10] = [
        create_main,
        finish_newest,
        fail_newest,
        retry_failed_jobs,
        finish_newest,
        merge_requests,
        finish_newest,
        create_blocked,
        finish_newest,
        create_main,
    ];
    for step in history {
        step(&mut world);
        world.advance(600 * SECOND);
    }
    world
}
