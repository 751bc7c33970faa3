//! 365,000 series: what 1,000 projects with many jobs would show.

use amazing_gitlab_exporter::catalogue::labels::{JobLabels, JobRunLabels, JobStatusLabels};
use amazing_gitlab_exporter::catalogue::{Measurement, jobs};

const HISTOGRAMS: f64 = 115_000.0;
const COUNTERS: f64 = 50_000.0;
const GAUGES: f64 = 200_000.0;
const PROJECTS: usize = 1000;

/// Jobs of many projects; a project's measurements are made when they are asked for, as a run of
/// the exporter does, and not kept.
pub struct World {
    histograms: usize,
    counters: usize,
    /// Jobs with five gauges each.
    jobs: usize,
}

/// What is measured of a project.
pub struct Project {
    /// Histograms and counters.
    pub events: Vec<Measurement>,
    /// Gauges.
    pub states: Vec<Measurement>,
}

impl World {
    /// The world at `AGE_BENCH_SCALE` of its size, 1 where that is not set.
    pub fn new() -> Self {
        let scale = std::env::var("AGE_BENCH_SCALE").unwrap_or_default();
        let scale = scale.parse().unwrap_or(1.0);
        let per_project = |series: f64| (series * scale / PROJECTS as f64).ceil() as usize;
        Self {
            histograms: per_project(HISTOGRAMS),
            counters: per_project(COUNTERS),
            jobs: per_project(GAUGES / 5.0),
        }
    }

    /// How many series that is.
    pub fn series(&self) -> usize {
        (self.histograms + self.counters + 5 * self.jobs) * PROJECTS
    }

    /// Everything, project by project.
    pub fn projects(&self) -> impl Iterator<Item = Project> {
        (0..PROJECTS).map(|number| self.project(number))
    }

    fn project(&self, number: usize) -> Project {
        let path = format!("group-{}/subgroup/project-{number}", number % 20);
        let job = |n: usize| JobLabels {
            job_name: format!("job-{n}").into(),
            project: path.as_str().into(),
            git_ref: "main".into(),
            stage: "test".into(),
        };
        let run = |n: usize| JobRunLabels {
            job_name: format!("job-{}", n / 2).into(),
            project: path.as_str().into(),
            git_ref: "main".into(),
            runner_type: "instance".into(),
            stage: "test".into(),
            status: ["success", "failed"][n % 2].into(),
        };
        let status = |n: usize| JobStatusLabels {
            failure_reason: "".into(),
            job_name: format!("job-{n}").into(),
            project: path.as_str().into(),
            git_ref: "main".into(),
            stage: "test".into(),
            status: "success".into(),
        };
        let runs = (0..self.histograms).map(|n| jobs::DURATION.observe(run(n), n as f64 + 0.25));
        let counts = (0..self.counters).map(|n| jobs::RUN_COUNT.add(job(n), 1.0));
        let states = (0..self.jobs).flat_map(|n| {
            [
                jobs::STATUS.set(status(n), 1.0),
                jobs::ID.set(job(n), (number * 1000 + n) as f64),
                jobs::CREATED_TIMESTAMP.set(job(n), 1.8e9),
                jobs::LAST_RUN_DURATION.set(job(n), n as f64 * 1.5),
                jobs::LAST_RUN_QUEUED_DURATION.set(job(n), 0.75),
            ]
        });
        Project {
            events: runs.chain(counts).collect(),
            states: states.collect(),
        }
    }
}
