//! A day of branches and merge requests that come and go: what is left in memory, in the table and
//! in the state file.

use std::sync::Arc;
use std::time::Duration;

use amazing_gitlab_exporter::clock::{Clock, UnixSeconds};
use gitlab_simulator::time::{MINUTE, Millis};
use gitlab_simulator::world::{Finish, MergeRequestState, PipelineSpec};
use gitlab_simulator::{Options, Simulator, World, WorldConfig};

use crate::durable;
use crate::report::{figure, megabytes, memory, note};
use crate::role::{self, Outcome, Role};

const PROJECTS: usize = 20;
/// Every project begins a topic that often: a branch with a pipeline, and a merge request with one.
const TOPIC_EVERY: u64 = 10;
/// Then it is merged, and its branch deleted.
const TOPIC_LIVES: u64 = 60;
const JOBS: [&str; 5] = ["build", "lint", "unit", "integration", "package"];
/// Hours until as much is forgotten as comes: of merge requests, more than the 20 that are shown are
/// remembered, and GitLab tells of activity once an hour.
const WARM_UP: u64 = 10;
const HOURS: u64 = 24;
/// Seconds between two looks, as by default.
const STEP: u64 = 30;

/// What there is at its most within an hour.
#[derive(Clone, Copy, Debug, Default)]
struct Size {
    memory: u64,
    series: usize,
    file: u64,
}

impl Size {
    fn max(self, other: Self) -> Self {
        Self {
            memory: self.memory.max(other.memory),
            series: self.series.max(other.series),
            file: self.file.max(other.file),
        }
    }
}

/// The day, hour by hour.
pub fn measure() -> Outcome {
    let mut gitlab = Role::start(&["topics"])?;
    let runtime = tokio::runtime::Runtime::new()?;
    let sizes = runtime.block_on(day(&mut gitlab))?;
    for (hour, size) in sizes.iter().enumerate() {
        note(&format!(
            "hour {:2}: {:6.1} MB of memory, {:6} series, {:6.2} MB of state",
            hour + 1,
            megabytes(size.memory),
            size.series,
            megabytes(size.file)
        ));
    }
    let (Some(first), Some(last)) = (sizes.first(), sizes.last()) else {
        return Err("no hour has passed".into());
    };
    let growth = |first: f64, last: f64| (last / first - 1.0) * 100.0;
    let target = Some(5.0);
    for (name, first, last) in [
        ("memory", first.memory as f64, last.memory as f64),
        ("series", first.series as f64, last.series as f64),
        ("state file", first.file as f64, last.file as f64),
    ] {
        let name = format!("{HOURS} hours, {name}: growth since the first hour");
        figure(&name, growth(first, last), "%", target);
    }
    Ok(())
}

/// An exporter with a state file over [`serve`]'s world, on its clock.
async fn day(gitlab: &mut Role) -> Outcome<Vec<Size>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("state.redb");
    let (address, rest) = gitlab.line.split_once(' ').ok_or("no GitLab")?;
    let (token, now) = rest.split_once(' ').ok_or("no time")?;
    let clock = Clock::manual(UnixSeconds(now.parse()?));
    let store = Arc::new(durable::open(&path, &clock)?);
    let (mut scheduler, table) = durable::exporter(address, token, store, &clock).await?;
    scheduler.round().await;
    let mut hours = Vec::new();
    for hour in 0..WARM_UP + HOURS {
        let mut size = Size::default();
        for minute in 0..60 {
            let now = gitlab.ask("minute")?.parse()?;
            for later in (0..60).step_by(STEP as usize) {
                clock.set(UnixSeconds(now).minus(Duration::from_secs(60 - STEP - later)));
                scheduler.round().await;
            }
            if minute % 10 == 9 {
                size = size.max(Size {
                    memory: memory().0,
                    series: table.size().rows,
                    file: std::fs::metadata(&path)?.len(),
                });
            }
        }
        if hour >= WARM_UP {
            hours.push(size);
        }
    }
    Ok(hours)
}

/// Serves a world in which topics come and go; every line of input is a minute.
pub fn serve() -> Outcome {
    let world = World::generate(WorldConfig {
        projects: PROJECTS,
        pipelines_per_project: 2,
        ..WorldConfig::default()
    });
    let simulator = Simulator::start(world, &Options::default())?;
    let seconds = |at: Millis| at.div_euclid(1000);
    let start = seconds(simulator.world().now());
    let mut minute = 0;
    let mut topics = Topics::default();
    let greeting = format!("{} {} {start}", simulator.url(), simulator.token());
    role::serve(&greeting, |_| {
        let mut world = simulator.world();
        topics.minute(&mut world, minute)?;
        world.advance(MINUTE);
        minute += 1;
        Ok(seconds(world.now()).to_string())
    })
}

/// What is going on.
#[derive(Default)]
struct Topics(Vec<Topic>);

struct Topic {
    project: u64,
    branch: String,
    merge_request: u64,
    ends: u64,
}

impl Topics {
    fn minute(&mut self, world: &mut World, minute: u64) -> Outcome {
        let projects: Vec<u64> = world.projects().map(|project| project.id).collect();
        for project in projects {
            if (minute + project).is_multiple_of(TOPIC_EVERY) {
                self.0.push(begin(world, project, minute)?);
            }
        }
        let (over, going): (Vec<_>, Vec<_>) = std::mem::take(&mut self.0)
            .into_iter()
            .partition(|topic| topic.ends <= minute);
        self.0 = going;
        for topic in over {
            world.set_merge_request_state(
                topic.project,
                topic.merge_request,
                MergeRequestState::Merged,
            )?;
            world.delete_branch(topic.project, &topic.branch)?;
        }
        Ok(())
    }
}

fn begin(world: &mut World, project: u64, minute: u64) -> Outcome<Topic> {
    let branch = format!("topic-{minute}");
    world.push(project, &branch)?;
    let merge_request = world.create_merge_request(project, &branch, "main")?;
    let specs = [
        PipelineSpec::branch(&branch),
        PipelineSpec::merge_request(merge_request),
    ];
    for spec in specs {
        let pipeline = world.create_pipeline(project, &spec.stage("test", &JOBS))?;
        world.finish_pipeline(pipeline, &Finish::success())?;
    }
    Ok(Topic {
        project,
        branch,
        merge_request,
        ends: minute + TOPIC_LIVES,
    })
}
