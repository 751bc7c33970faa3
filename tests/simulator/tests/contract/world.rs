//! The rules by which the world changes, at the seam that tests use.

use gitlab_simulator::time::{DAY, HOUR, MINUTE, SECOND};
use gitlab_simulator::world::{Event, Finish, JobSpec, PipelineSpec, Status, When, World};
use gitlab_simulator::{Quirks, WorldConfig};

fn world() -> (World, u64) {
    let mut world = World::new(WorldConfig::default());
    let project = world.add_project("group/app").expect("free path");
    (world, project)
}

fn status(world: &World, pipeline: u64) -> Status {
    world.pipeline(pipeline).expect("exists").status.clone()
}

#[test]
fn a_pipeline_follows_its_jobs_through_stages() {
    let (mut world, project) = world();
    let spec = PipelineSpec::branch("main")
        .stage("build", &["compile"])
        .stage("test", &["unit", "lint"]);
    let pipeline = world.create_pipeline(project, &spec).expect("made");
    assert_eq!(status(&world, pipeline), Status::Pending);
    let compile = world.job_named(pipeline, "compile").expect("job").id;
    world.advance(10 * SECOND);
    world.start_job(compile, Some(1)).expect("pending");
    assert_eq!(status(&world, pipeline), Status::Running);
    world.advance(30 * SECOND);
    world
        .finish_job(compile, &Finish::success())
        .expect("running");
    assert_eq!(status(&world, pipeline), Status::Running);
    world.advance(5 * SECOND);
    world
        .finish_pipeline(pipeline, &Finish::success().after(2 * SECOND))
        .expect("finishes");
    let done = world.pipeline(pipeline).expect("exists").clone();
    assert_eq!(done.status, Status::Success);
    assert_eq!(done.queued_seconds(), Some(10));
    // 30 s of compile; the two tests are said to have taken the last 2 s, at the same time.
    assert_eq!(done.duration, Some(32));
    assert_eq!(done.finished_at, Some(world.now()));
}

#[test]
fn updated_at_moves_with_the_pipelines_own_status_only() {
    let (mut world, project) = world();
    let spec = PipelineSpec::branch("main").stage("test", &["a", "b"]);
    let pipeline = world.create_pipeline(project, &spec).expect("made");
    let a = world.job_named(pipeline, "a").expect("job").id;
    let b = world.job_named(pipeline, "b").expect("job").id;
    world.start_job(a, None).expect("pending");
    let running_since = world.pipeline(pipeline).expect("exists").updated_at;
    world.advance(MINUTE);
    world.start_job(b, None).expect("pending");
    world.finish_job(a, &Finish::success()).expect("running");
    assert_eq!(
        world.pipeline(pipeline).expect("exists").updated_at,
        running_since
    );
    assert!(
        world
            .pipelines_updated_since(project, running_since + 1)
            .is_empty()
    );
    world.finish_job(b, &Finish::success()).expect("running");
    assert_eq!(
        world.pipeline(pipeline).expect("exists").updated_at,
        world.now()
    );
    assert_eq!(world.pipelines_updated_since(project, world.now()).len(), 1);
}

#[test]
fn without_the_quirk_every_change_of_a_job_moves_updated_at() {
    let (mut world, project) = world();
    world.quirks = Quirks {
        updated_at_on_own_transitions: false,
        ..Quirks::default()
    };
    let pipeline = world
        .create_pipeline(
            project,
            &PipelineSpec::branch("main").stage("test", &["a", "b"]),
        )
        .expect("made");
    let a = world.job_named(pipeline, "a").expect("job").id;
    let b = world.job_named(pipeline, "b").expect("job").id;
    world.start_job(a, None).expect("pending");
    world.advance(MINUTE);
    world.start_job(b, None).expect("pending");
    assert_eq!(
        world.pipeline(pipeline).expect("exists").updated_at,
        world.now()
    );
}

#[test]
fn a_retried_job_is_a_new_job_and_keeps_the_old_finish_until_the_next() {
    let (mut world, project) = world();
    let spec = PipelineSpec::branch("main")
        .stage("test", &["unit"])
        .stage("deploy", &["ship"]);
    let pipeline = world.create_pipeline(project, &spec).expect("made");
    let first = world.job_named(pipeline, "unit").expect("job").id;
    world.advance(MINUTE);
    world
        .finish_job(first, &Finish::failed("script_failure").after(20 * SECOND))
        .expect("pending");
    assert_eq!(status(&world, pipeline), Status::Failed);
    assert_eq!(
        world.job_named(pipeline, "ship").expect("job").status,
        Status::Skipped
    );
    let finished = world.pipeline(pipeline).expect("exists").finished_at;
    world.advance(HOUR);
    let second = world.retry_job(first).expect("failed");
    assert_ne!(first, second);
    assert!(world.job(first).expect("kept").retried);
    assert_eq!(status(&world, pipeline), Status::Pending);
    assert_eq!(
        world.pipeline(pipeline).expect("exists").finished_at,
        finished
    );
    world
        .finish_pipeline(pipeline, &Finish::success())
        .expect("finishes");
    assert_eq!(status(&world, pipeline), Status::Success);
    assert_eq!(
        world.pipeline(pipeline).expect("exists").finished_at,
        Some(world.now())
    );
    let flaky = world.ledger().entries().iter().any(
        |entry| matches!(&entry.event, Event::JobFlaky { job, failed_ids } if job.id == second && *failed_ids == [first]),
    );
    assert!(flaky, "{:#?}", world.ledger().entries());
    // Another success after the first makes no failure flaky again.
    world.retry_job(second).expect("a success can be retried");
    world
        .finish_pipeline(pipeline, &Finish::success())
        .expect("finishes");
    let entries = world.ledger().entries().iter();
    let flaky = entries.filter(|entry| matches!(&entry.event, Event::JobFlaky { .. }));
    assert_eq!(flaky.count(), 1, "{:#?}", world.ledger().entries());
}

#[test]
fn a_retried_pipeline_keeps_its_id_and_start_and_loses_its_finish() {
    let (mut world, project) = world();
    let pipeline = world
        .create_pipeline(
            project,
            &PipelineSpec::branch("main").stage("test", &["unit"]),
        )
        .expect("made");
    world.advance(MINUTE);
    world
        .finish_pipeline(pipeline, &Finish::failed("script_failure").after(SECOND))
        .expect("finishes");
    let started = world.pipeline(pipeline).expect("exists").started_at;
    world.advance(HOUR);
    world.retry_pipeline(pipeline).expect("failed");
    let again = world.pipeline(pipeline).expect("exists").clone();
    assert_eq!((again.finished_at, again.started_at), (None, started));
    world.advance(MINUTE);
    world
        .finish_pipeline(pipeline, &Finish::success().after(SECOND))
        .expect("finishes");
    let finishes = world
        .ledger()
        .entries()
        .iter()
        .filter(|entry| matches!(entry.event, Event::PipelineFinished { .. }))
        .count();
    assert_eq!(finishes, 2);
}

#[test]
fn a_blocked_pipeline_waits_for_days_and_goes_on_when_played() {
    let (mut world, project) = world();
    let spec = PipelineSpec::branch("main")
        .stage("test", &["unit"])
        .job(JobSpec::new("approve", "approve").manual())
        .stage("deploy", &["ship"]);
    let pipeline = world.create_pipeline(project, &spec).expect("made");
    world
        .finish_pipeline(pipeline, &Finish::success())
        .expect("goes up to the manual job");
    assert_eq!(status(&world, pipeline), Status::Manual);
    assert_eq!(world.pipeline(pipeline).expect("exists").finished_at, None);
    world.advance(3 * DAY);
    let approve = world.job_named(pipeline, "approve").expect("job").id;
    world.play_manual(approve).expect("manual");
    world
        .finish_pipeline(pipeline, &Finish::success())
        .expect("finishes");
    assert_eq!(status(&world, pipeline), Status::Success);
}

#[test]
fn config_errors_and_skips_have_no_jobs() {
    let (mut world, project) = world();
    let broken = world
        .create_pipeline(project, &PipelineSpec::branch("main").config_error("oh no"))
        .expect("made");
    let skipped = world
        .create_pipeline(project, &PipelineSpec::branch("main").skipped())
        .expect("made");
    let broken = world.pipeline(broken).expect("exists");
    assert_eq!((&broken.status, broken.started_at), (&Status::Failed, None));
    assert!(broken.finished_at.is_some() && broken.jobs.is_empty() && broken.duration.is_none());
    let skipped = world.pipeline(skipped).expect("exists");
    assert_eq!(
        (&skipped.status, skipped.finished_at),
        (&Status::Skipped, None)
    );
}

#[test]
fn bridges_trigger_and_mirror_and_durations_reach_downstream() {
    let (mut world, project) = world();
    let other = world.add_project("group/library").expect("free path");
    let child = vec![JobSpec::new("test", "inner")];
    let spec = PipelineSpec::branch("main")
        .job(JobSpec::child_bridge(
            "trigger",
            "child",
            true,
            child.clone(),
        ))
        .job(JobSpec::multi_project_bridge(
            "trigger", "library", other, false, child,
        ));
    let parent = world.create_pipeline(project, &spec).expect("made");
    let bridge = world.job_named(parent, "child").expect("bridge").id;
    let library = world.job_named(parent, "library").expect("bridge").id;
    let child = world.trigger_bridge(bridge).expect("pending");
    let downstream = world.trigger_bridge(library).expect("pending");
    assert_eq!(
        &*world.pipeline(child).expect("exists").source,
        "parent_pipeline"
    );
    assert_eq!(
        world.pipeline(downstream).expect("exists").project_id,
        other
    );
    assert_eq!(
        &*world.pipeline(downstream).expect("exists").source,
        "pipeline"
    );
    assert_eq!(status(&world, parent), Status::Running);
    world.advance(MINUTE);
    world
        .finish_pipeline(child, &Finish::success().after(40 * SECOND))
        .expect("finishes");
    let parent = world.pipeline(parent).expect("exists");
    assert_eq!(parent.status, Status::Success);
    assert_eq!(parent.duration, Some(40));
}

#[test]
fn the_same_seed_gives_the_same_world_and_another_seed_another() {
    let live = |seed| {
        let config = WorldConfig {
            seed,
            projects: 4,
            pipelines_per_project: 2,
            active_ratio: 1.0,
            ..WorldConfig::default()
        };
        let mut world = World::generate(config);
        world.advance(12 * HOUR);
        serde_json::to_string(world.ledger().entries()).expect("serializes")
    };
    let first = live(7);
    assert_eq!(first, live(7));
    assert_ne!(first, live(8));
}

#[test]
fn a_living_world_holds_every_case_and_refinishes_with_a_gap() {
    let config = WorldConfig {
        seed: 3,
        projects: 9,
        pipelines_per_project: 3,
        active_ratio: 1.0,
        pushes_per_hour: 4.0,
        ..WorldConfig::default()
    };
    let gap = config.min_refinish_gap;
    let mut world = World::generate(config);
    assert!(
        world.ledger().entries().is_empty(),
        "history is not in the ledger"
    );
    world.advance(2 * DAY);
    let mut last = std::collections::HashMap::new();
    let mut refinished = 0;
    let mut seen = std::collections::BTreeSet::new();
    for entry in world.ledger().entries() {
        match &entry.event {
            Event::PipelineCreated { pipeline, .. } => {
                seen.insert(format!("source {}", pipeline.source));
                seen.insert(format!("kind {}", pipeline.kind.as_str()));
                if pipeline
                    .upstream
                    .as_ref()
                    .is_some_and(|up| up.pipeline.upstream.is_some())
                {
                    seen.insert(format!("third level {}", pipeline.source));
                }
            }
            Event::PipelineFinished {
                pipeline,
                status,
                finished_at,
                started_at,
                ..
            } => {
                seen.insert(format!("finished {status}"));
                if started_at.is_none() {
                    seen.insert("finished without start".to_owned());
                }
                if let Some(before) = last.insert(pipeline.id, *finished_at) {
                    assert!(
                        finished_at - before >= gap,
                        "pipeline {} finished again too soon",
                        pipeline.id
                    );
                    refinished += 1;
                }
            }
            Event::PipelineStatusChanged { to, .. } => {
                seen.insert(format!("status {to}"));
            }
            Event::JobRetried { .. } => {
                seen.insert("retried job".to_owned());
            }
            Event::JobFlaky { .. } => {
                seen.insert("flaky".to_owned());
            }
            Event::BranchDeleted { .. } => {
                seen.insert("branch deleted".to_owned());
            }
            _ => {}
        }
    }
    assert!(refinished > 5, "only {refinished} pipelines finished twice");
    for wanted in [
        "source push",
        "source schedule",
        "source merge_request_event",
        "source parent_pipeline",
        "source pipeline",
        "kind branch",
        "kind tag",
        "kind merge_request",
        "kind merged_result",
        "kind merge_train",
        "third level parent_pipeline",
        "third level pipeline",
        "finished success",
        "finished failed",
        "finished canceled",
        "finished without start",
        "status manual",
        "status scheduled",
        "status canceling",
        "status skipped",
        "retried job",
        "flaky",
        "branch deleted",
    ] {
        assert!(seen.contains(wanted), "never saw {wanted}; saw {seen:#?}");
    }
}

#[test]
fn a_running_job_is_canceling_before_it_is_canceled() {
    let (mut world, project) = world();
    let spec = PipelineSpec::branch("main").stage("test", &["unit"]);
    let pipeline = world.create_pipeline(project, &spec).expect("made");
    let unit = world.job_named(pipeline, "unit").expect("job").id;
    assert!(world.request_cancel(unit).is_err(), "it does not run yet");
    world.start_job(unit, None).expect("pending");
    world.request_cancel(unit).expect("running");
    assert_eq!(status(&world, pipeline), Status::Canceling);
    world.cancel_job(unit).expect("canceling");
    assert_eq!(status(&world, pipeline), Status::Canceled);
}

#[test]
fn a_delayed_job_blocks_as_scheduled_until_its_time() {
    let (mut world, project) = world();
    let spec = PipelineSpec::branch("main")
        .stage("test", &["unit"])
        .job(JobSpec::new("rollout", "slowly").when(When::Delayed));
    let pipeline = world.create_pipeline(project, &spec).expect("made");
    world
        .finish_pipeline(pipeline, &Finish::success())
        .expect("goes up to the delayed job");
    assert_eq!(status(&world, pipeline), Status::Scheduled);
    world.advance(HOUR);
    let slowly = world.job_named(pipeline, "slowly").expect("job").id;
    world.play_manual(slowly).expect("scheduled");
    world
        .finish_pipeline(pipeline, &Finish::success())
        .expect("finishes");
    assert_eq!(status(&world, pipeline), Status::Success);
}

#[test]
fn canceling_a_pipeline_cancels_its_children() {
    let (mut world, project) = world();
    let inner = vec![JobSpec::new("test", "inner")];
    let spec =
        PipelineSpec::branch("main").job(JobSpec::child_bridge("trigger", "child", true, inner));
    let parent = world.create_pipeline(project, &spec).expect("made");
    let bridge = world.job_named(parent, "child").expect("bridge").id;
    let child = world.trigger_bridge(bridge).expect("pending");
    world.cancel_pipeline(parent).expect("runs");
    assert_eq!(
        (status(&world, parent), status(&world, child)),
        (Status::Canceled, Status::Canceled)
    );
    assert!(world.cancel_pipeline(parent).is_err(), "it is over");
}

#[test]
fn a_child_that_is_retried_takes_its_depending_parent_along() {
    let (mut world, project) = world();
    let inner = vec![JobSpec::new("test", "inner")];
    let spec = PipelineSpec::branch("main")
        .job(JobSpec::child_bridge("trigger", "child", true, inner))
        .stage("deploy", &["ship"]);
    let parent = world.create_pipeline(project, &spec).expect("made");
    let bridge = world.job_named(parent, "child").expect("bridge").id;
    let child = world.trigger_bridge(bridge).expect("pending");
    world
        .finish_pipeline(child, &Finish::failed("script_failure"))
        .expect("finishes");
    assert_eq!(status(&world, parent), Status::Failed);
    world.advance(HOUR);
    world.retry_pipeline(child).expect("failed");
    assert_eq!(status(&world, parent), Status::Running);
    world
        .finish_pipeline(child, &Finish::success())
        .expect("finishes");
    world
        .finish_pipeline(parent, &Finish::success())
        .expect("finishes");
    assert_eq!(status(&world, parent), Status::Success);
}

#[test]
fn allowed_failures_warn_and_optional_manual_jobs_do_not_block() {
    let (mut world, project) = world();
    let spec = PipelineSpec::branch("main")
        .job(JobSpec::new("test", "flappy").allow_failure())
        .job(JobSpec::new("review", "deploy").manual().allow_failure())
        .job(JobSpec::new("cleanup", "on failure").when(When::OnFailure))
        .job(JobSpec::new("cleanup", "always").when(When::Always));
    let pipeline = world.create_pipeline(project, &spec).expect("made");
    let flappy = world.job_named(pipeline, "flappy").expect("job").id;
    world
        .finish_job(flappy, &Finish::failed("script_failure"))
        .expect("pending");
    let statuses: Vec<String> = world
        .jobs_of(pipeline)
        .map(|job| job.status.to_string())
        .collect();
    assert_eq!(statuses, ["failed", "manual", "skipped", "pending"]);
    world
        .finish_pipeline(pipeline, &Finish::success())
        .expect("finishes");
    assert_eq!(status(&world, pipeline), Status::Success);
}
