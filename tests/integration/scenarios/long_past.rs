//! Projects that had hundreds of thousands of pipelines: nothing is lost, and no list reads their past.

use gitlab_simulator::World;
use gitlab_simulator::faults::{Fault, Rule};
use gitlab_simulator::time::HOUR;
use gitlab_simulator::world::{Finish, JobSpec, Past, PipelineSpec, ProjectId};

use super::{Story, main_pipeline, watch_everything};

const RUNS: &str = "age_pipeline_run_count";
const FINISHED: &str = "age_pipeline_duration_seconds";
const CHILD_RUNS: &str = "age_child_pipeline_run_count";

/// How GitLab is read.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    /// GraphQL that lists pipelines by ids.
    Ids,
    /// GraphQL before 19.2.
    Lists,
    Rest,
}

const WAYS: [Way; 3] = [Way::Ids, Way::Lists, Way::Rest];

fn long(world: &mut World, project: ProjectId) {
    let past = Past {
        pipelines: 300_000,
        child_pipelines: 75_000,
        merge_requests: 50_000,
        deployments: 200_000,
    };
    world.set_past(project, past).expect("it is there");
}

/// A story of a project with a long past, and with a pipeline that ended a day ago.
async fn story(way: Way) -> Story {
    let before = |world: &mut World, app| {
        if way == Way::Ids {
            world.version = "19.3.0-ee".to_owned();
        }
        long(world, app);
        let old = world.create_pipeline(app, &main_pipeline());
        let old = old.expect("a pipeline");
        let end = Finish::failed("script_failure");
        world.finish_pipeline(old, &end).expect("it ends");
        world.advance(24 * HOUR);
    };
    let mut story = Story::unseen(watch_everything(), before, |client| {
        client.use_graphql = way != Way::Rest;
    });
    story.look_now().await;
    story.look_for(60).await;
    story
}

fn finish(story: &Story, pipeline: u64) {
    let mut world = story.world();
    let done = world.finish_pipeline(pipeline, &Finish::success().after(5_000));
    done.expect("it ends");
}

fn newest(story: &Story) -> u64 {
    let world = story.world();
    let ids = world.pipelines_of(story.app).map(|pipeline| pipeline.id);
    ids.max().expect("a pipeline")
}

fn children(story: &Story) -> Vec<u64> {
    let world = story.world();
    let all = world.pipelines_of(story.app);
    all.filter(|pipeline| pipeline.is_child())
        .map(|pipeline| pipeline.id)
        .collect()
}

#[tokio::test]
async fn an_old_pipeline_that_was_retried_and_ended_between_two_polls_is_found() {
    for way in WAYS {
        let mut story = story(way).await;
        let old = newest(&story);
        let before = story.count(FINISHED, &[]);
        story.world().retry_pipeline(old).expect("it failed");
        finish(&story, old);
        story.look_for(630).await;
        assert_eq!(story.count(FINISHED, &[]) - before, 1.0, "{way:?}");
        let success = [("status", "success")];
        assert_eq!(story.count("age_job_run_count", &[]), 1.0, "{way:?}");
        assert_eq!(story.count(FINISHED, &success), 1.0, "{way:?}");
    }
}

#[tokio::test]
async fn five_hundred_pipelines_within_one_interval_are_all_counted() {
    for way in WAYS {
        let mut story = story(way).await;
        for _ in 0..500 {
            story.create(&PipelineSpec::branch("main").skipped());
        }
        story.look_for(1200).await;
        assert_eq!(story.count(RUNS, &[]), 500.0, "{way:?}");
    }
}

#[tokio::test]
async fn children_of_children_are_counted() {
    for way in WAYS {
        let mut story = story(way).await;
        let leaf = vec![JobSpec::new("test", "leaf")];
        let middle = vec![JobSpec::child_bridge("trigger", "inner", true, leaf)];
        let spec = main_pipeline().job(JobSpec::child_bridge("trigger", "outer", true, middle));
        let pipeline = story.create(&spec);
        story.look().await;
        finish(&story, pipeline);
        // The outer one starts the inner one.
        for _ in 0..2 {
            for child in children(&story) {
                finish(&story, child);
            }
        }
        story.look_for(630).await;
        assert_eq!(story.count(CHILD_RUNS, &[]), 2.0, "{way:?}");
    }
}

#[tokio::test]
async fn a_pipeline_whose_id_is_out_of_order_is_found() {
    for way in WAYS {
        let mut story = story(way).await;
        // Its transaction ends late: a newer one is shown before it.
        let late = story.create(&main_pipeline());
        let newer = story.create(&main_pipeline());
        story.world().uncommitted.insert(late);
        story.look().await;
        story.world().uncommitted.clear();
        story.look_for(630).await;
        assert_eq!(story.count(RUNS, &[]), 2.0, "{way:?}");
        for pipeline in [late, newer] {
            finish(&story, pipeline);
        }
        story.look_for(630).await;
        assert_eq!(story.count(FINISHED, &[]), 2.0, "{way:?}");
    }
}

#[tokio::test]
async fn a_pipeline_that_is_deleted_while_it_is_active_leaves() {
    for way in WAYS {
        let mut story = story(way).await;
        let pipeline = story.create(&PipelineSpec::branch("topic").stage("test", &["unit"]));
        let (main, topic) = ([("ref", "main")], [("ref", "topic")]);
        let states = |story: &Story, labels: &[(&str, &str)]| {
            let series = story.series();
            series.select("age_pipeline_id", labels).len()
        };
        story.look().await;
        assert_eq!(
            (states(&story, &main), states(&story, &topic)),
            (1, 1),
            "{way:?}"
        );
        story
            .world()
            .delete_pipeline(pipeline)
            .expect("it is there");
        story.look_for(90).await;
        assert_eq!(
            (states(&story, &main), states(&story, &topic)),
            (1, 0),
            "{way:?}"
        );
    }
}

/// What the first lists of a sweep brought is taken in; the next sweep begins where this one did.
#[tokio::test]
async fn a_sweep_that_fails_half_way_loses_nothing() {
    for way in [Way::Ids, Way::Lists] {
        let mut story = story(way).await;
        let old = newest(&story);
        story.world().retry_pipeline(old).expect("it failed");
        finish(&story, old);
        let fails = Rule::new(Fault::Status { status: 500 })
            .on("ProjectChanges")
            .skip(4);
        let fails = story.gitlab.faults().add(fails);
        story.look_for(900).await;
        assert!(story.gitlab.faults().hits(fails) > 0);
        story.gitlab.faults().clear();
        story.look_for(1800).await;
        assert_eq!(
            story.count(FINISHED, &[("status", "success")]),
            1.0,
            "{way:?}"
        );
    }
}

#[tokio::test]
async fn a_project_that_grows_past_two_thousand_pipelines_goes_on() {
    for way in WAYS {
        let mut story = story(way).await;
        let app = story.app;
        let past = Past {
            pipelines: 1_995,
            ..Past::default()
        };
        story.world().set_past(app, past).expect("it is there");
        story.restart();
        story.look_now().await;
        for number in 1..=20 {
            let pipeline = story.create(&main_pipeline());
            story.look().await;
            finish(&story, pipeline);
            story.look().await;
            assert_eq!(story.count(RUNS, &[]), f64::from(number), "{way:?}");
        }
        story.look_for(330).await;
        assert_eq!(story.count(FINISHED, &[]), 20.0, "{way:?}");
    }
}

/// Not one list of pipelines reads more than it shows.
#[tokio::test]
async fn no_list_of_pipelines_reads_the_past() {
    for way in WAYS {
        let mut story = story(way).await;
        for _ in 0..10 {
            let pipeline = story.create(&main_pipeline());
            story.look().await;
            finish(&story, pipeline);
            story.look().await;
        }
        story.look_for(4_000).await;
        // Another process begins, and one that remembers nothing.
        story.restart();
        story.look_for(900).await;
        let report = story.gitlab.costs().report();
        let lists: Vec<(&String, u64)> = report
            .operations
            .iter()
            .map(|(operation, cost)| (operation, cost.biggest_list))
            .collect();
        assert!(lists.len() > 2, "{lists:?}");
        assert!(
            lists.iter().all(|(_, biggest)| *biggest <= 100),
            "{way:?}: {lists:?}"
        );
    }
}
