//! The whole exporter over a GitLab that lives on, its clock and tokio's time moved by the test:
//! hours pass in seconds.

use std::time::Duration;

use amazing_gitlab_exporter::clock::{Clock, UnixSeconds};
use gitlab_simulator::time::{HOUR, Millis};
use gitlab_simulator::{Options, Simulator, World, WorldConfig};

use super::says::WELL;
use crate::ledger::{all_counted, all_counts, commits, difference, events, reviews};
use crate::support::core::now;
use crate::support::door::Door;
use crate::support::exporter::Exporter;
use crate::support::hurry::Hurry;
use crate::support::samples::Samples;

/// One step of time.
pub const STEP: u64 = 10;
/// At most so many moments are given to what is asked of GitLab in one step.
const MOMENTS: usize = 1000;
/// The same where GitLab does not answer.
pub const FEW_MOMENTS: usize = 20;
/// Moments without a request after which a step ends: on a busy machine a run thinks that long between two.
const PAUSE: usize = 12;
/// Seconds since the last success that say that all is well: a look, and as much again as time runs
/// on while a busy machine is slow to answer.
pub const FRESH: f64 = 120.0;
/// Projects of the GitLab.
const PROJECTS: usize = 4;
/// A metric of each slow collector that has it for every project once it has read it; merge requests
/// first.
const SLOW: [&str; 3] = [
    "age_review_pending_count",
    "age_environment_info",
    "age_repository_info",
];
/// Commits have no states: when they were last read.
const COMMITS: (&str, [(&str, &str); 1]) = (
    "age_collection_last_success_timestamp",
    [("collector_type", "contributors")],
);
/// Between two looks at GitLab.
pub const LOOK: u64 = 30;

/// How an exporter is set up.
pub struct Plan {
    /// What comes before the simulator's address.
    pub scheme: &'static str,
    /// Lines of the section `gitlab`.
    pub gitlab: String,
    /// Further sections.
    pub more: String,
    /// Whether GitLab is up when the exporter starts.
    pub up: bool,
    /// Whether deployments and commits are read, too, beside pipelines, jobs and merge requests.
    pub all: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            scheme: "http",
            // Time is quick here; who wants to see a time-out asks for it.
            gitlab: "timeout: 20m".to_owned(),
            more: String::new(),
            up: true,
            all: false,
        }
    }
}

/// Settings with which deployments and commits are read in minutes.
const ALL: &str = "
  environments: {enabled: true, interval_seconds: 120, exclude_stopped: false}
  repository: {interval_seconds: 120}
  contributors: {enabled: true, interval_seconds: 120}";

/// Seconds after which what failed again and again is read once more at the latest: the longest
/// interval of a collector, and a look.
const LONGEST_BACK_OFF: u64 = 3600 + 300;

/// An exporter and its GitLab.
pub struct Rig {
    pub gitlab: Simulator,
    pub door: Door,
    pub clock: Clock,
    pub exporter: Exporter,
    pub hurry: Hurry,
    /// How long a step waits for answers.
    pub moments: usize,
    /// What the exporter's clock shows more than GitLab's.
    pub ahead: i64,
    /// What happened before is history.
    first_look: Millis,
    /// Metrics that are held against the ledger.
    counted: Vec<&'static str>,
}

impl Rig {
    /// A lively GitLab that has been looked at.
    pub async fn start() -> Self {
        Self::by(Plan::default()).await
    }

    /// The same, and everything that counts is read.
    pub async fn of_all() -> Self {
        Self::by(Plan {
            all: true,
            ..Plan::default()
        })
        .await
    }

    /// The same with another token than the simulator's own, or other settings.
    pub async fn by(plan: Plan) -> Self {
        let gitlab = gitlab();
        let door = Door::shut_before(gitlab.address());
        Self::behind(plan, gitlab, door).await
    }

    /// The same with a door of the test's choice.
    pub async fn behind(plan: Plan, gitlab: Simulator, mut door: Door) -> Self {
        let hurry = Hurry::new();
        if plan.up {
            door.open();
        }
        let clock = Clock::manual(now(&gitlab));
        let token = match plan.gitlab.contains("token_file") {
            true => String::new(),
            false => format!("  token: {}\n", gitlab.token()),
        };
        // A world that goes on while calls wait for each other would end what nobody saw begin.
        // Nor does backfill wait for its share of GitLab's time: here it passes in steps of seconds.
        let yaml = format!(
            "gitlab:
  url: {}://{}
{token}  max_concurrent_requests: 48
  max_server_share: 0
  {}
collectors:
  pipelines: {{interval_seconds: {LOOK}, quiet_interval: {{after_1h: 0, after_24h: 0}}}}
  jobs: {{interval_seconds: {LOOK}}}{}
project_defaults:
  refs:
    branches: {{regexp: '.*', exclude_deleted: false}}
    tags: {{regexp: '.*', exclude_deleted: false}}
wildcards: [{{}}]
{}",
            plan.scheme,
            door.address(),
            plan.gitlab.replace('\n', "\n  "),
            if plan.all { ALL } else { "" },
            plan.more,
        );
        let exporter = Exporter::start(&clock, &yaml).await;
        let first_look = gitlab.world().now();
        let rig = Self {
            gitlab,
            door,
            clock,
            exporter,
            hurry,
            moments: MOMENTS,
            ahead: 0,
            first_look,
            counted: counted(plan.all),
        };
        if plan.up {
            // All of it has been read before anything else happens.
            rig.wait_until(60, "the first look", |samples| {
                samples.sum("age_initial_sync_progress_ratio", &[]) == Some(1.0)
            })
            .await;
            let slow: &[&str] = match plan.all {
                true => &SLOW,
                false => &SLOW[..1],
            };
            rig.wait_until(300, "what moves slowly", |samples| {
                let read = |metric: &&str| samples.projects(metric) == PROJECTS;
                let commits = samples.sum(COMMITS.0, &COMMITS.1).is_some();
                slow.iter().all(read) && (commits || !plan.all)
            })
            .await;
            let (_, ready) = rig.ready().await;
            let lag = ready["lag_seconds"].as_f64().expect("a number");
            assert!(lag <= FRESH, "the first look was {lag} s late");
        }
        rig
    }

    /// The exporter's first look is yet to come: all that has happened is history.
    pub fn looks_first_now(&mut self) {
        self.first_look = self.gitlab.world().now();
    }

    /// Lets time pass for everybody.
    pub async fn pass(&self, seconds: u64) {
        for _ in 0..seconds.div_ceil(STEP) {
            self.gitlab.advance(Duration::from_secs(STEP));
            let ours = now(&self.gitlab).0 + self.ahead;
            self.clock.set(UnixSeconds(ours));
            self.step(Duration::from_secs(STEP)).await;
        }
    }

    /// Lets time pass for the exporter alone: GitLab stands still.
    pub async fn wait(&self, seconds: u64) {
        for _ in 0..seconds.div_ceil(STEP) {
            let ours = self.clock.now().plus(Duration::from_secs(STEP));
            self.clock.set(ours);
            self.step(Duration::from_secs(STEP)).await;
        }
    }

    /// Moves tokio's time, and gives what is asked of GitLab a while to be answered.
    async fn step(&self, step: Duration) {
        self.hurry.step(step).await;
        let mut quiet = 0;
        for _ in 0..self.moments {
            quiet = if self.door.is_busy() { 0 } else { quiet + 1 };
            if quiet == PAUSE {
                return;
            }
            self.hurry.breathe().await;
        }
    }

    /// Waits until what was read is shown: on a busy machine that takes a while after the last call.
    pub async fn rests(&self) {
        for _ in 0..self.moments {
            if self.metrics().await.sum("age_tasks_running", &[]) == Some(0.0) {
                return;
            }
            self.hurry.breathe().await;
        }
    }

    /// Waits, GitLab standing still, until `/metrics` shows something; for `seconds` at most.
    pub async fn wait_until(&self, seconds: u64, what: &str, is_so: impl Fn(&Samples) -> bool) {
        for _ in 0..seconds.div_ceil(STEP) {
            if is_so(&self.metrics().await) {
                return;
            }
            self.wait(STEP).await;
        }
        let text = self.exporter.metrics().await;
        assert!(is_so(&Samples::of_plain_text(&text)), "{what}\n{text}");
    }

    /// `/metrics`.
    pub async fn metrics(&self) -> Samples {
        Samples::of_plain_text(&self.exporter.metrics().await)
    }

    /// What `/metrics` says of GitLab's pipelines and jobs.
    pub async fn facts(&self) -> Samples {
        let mut samples = self.metrics().await;
        let is_fact = |name: &str| {
            let prefixes = ["age_pipeline", "age_child_pipeline", "age_job"];
            prefixes.iter().any(|prefix| name.starts_with(prefix))
        };
        samples.0.retain(|(name, _), _| is_fact(name));
        samples
    }

    /// `age_collection_last_success_timestamp` of pipelines; 0 before the first.
    pub async fn last_success(&self) -> f64 {
        self.success_of("pipelines").await
    }

    /// `age_collection_last_success_timestamp` of a collector; 0 before the first.
    pub async fn success_of(&self, collector: &str) -> f64 {
        let labels = [("collector_type", collector)];
        let name = "age_collection_last_success_timestamp";
        let text = self.exporter.metrics().await;
        let lines: Vec<&str> = text.lines().filter(|line| line.starts_with(name)).collect();
        let samples = Samples::of_plain_text(&lines.join("\n"));
        samples.sum(name, &labels).unwrap_or(0.0)
    }

    /// Holds that all is well and every counter equal to GitLab's ledger, after a while in which
    /// GitLab stands still.
    pub async fn recovers(&self) -> f64 {
        let events = self.equals_the_ledger().await;
        // What is read seldom is tried again later than that.
        for _ in 0..LONGEST_BACK_OFF / LOOK {
            if self.failing().await == 0 {
                break;
            }
            self.wait(LOOK).await;
        }
        self.is_fresh().await;
        self.says(&WELL).await;
        events
    }

    /// Waits for every counter to be equal to GitLab's ledger, and gives the number of events.
    pub async fn equals_the_ledger(&self) -> f64 {
        let want = {
            let world = self.gitlab.world();
            let mut want = all_counts(world.ledger().entries(), self.first_look);
            want.retain(|(metric, _), _| self.counted.contains(&metric.as_str()));
            want
        };
        let events = events(&want);
        let mut last = None;
        for _ in 0..30 {
            self.wait(2 * LOOK).await;
            last = difference(&self.metrics().await.counts(&self.counted), &want);
            if last.is_none() {
                break;
            }
        }
        assert_eq!(last, None, "{}", self.exporter.metrics().await);
        events
    }
}

/// A lively GitLab of a few projects.
pub fn gitlab() -> Simulator {
    let world = World::generate(WorldConfig {
        seed: 11,
        projects: PROJECTS,
        pipelines_per_project: 4,
        active_ratio: 1.0,
        pushes_per_hour: 12.0,
        // Two ends of one pipeline within an outage look like one.
        min_refinish_gap: 4 * HOUR,
        ..WorldConfig::default()
    });
    Simulator::start(world, &Options::default()).expect("a simulator")
}

/// What is held against the ledger: of merge requests nothing that only GraphQL tells, since REST stands
/// in where that fails.
fn counted(all: bool) -> Vec<&'static str> {
    let left_out = |metric: &str| {
        let slow = [reviews::DEPLOYMENTS, commits::COUNTED];
        reviews::GRAPHQL_ONLY.contains(&metric)
            || !all && slow.into_iter().flatten().any(|slow| *slow == metric)
    };
    all_counted().filter(|metric| !left_out(metric)).collect()
}
