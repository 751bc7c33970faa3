//! GitLab's own figures and computed ones, over the same history.

use amazing_gitlab_exporter::config::EnvironmentTier;
use gitlab_simulator::time::{DAY, MINUTE};
use gitlab_simulator::world::{DoraInterval, EnvironmentTier as Place};
use gitlab_simulator::{Options, Simulator, WorldConfig};

use super::*;
use crate::support::core::{Core, client_settings, watch_everything};

const TIERS: [(&str, Place); 5] = [
    ("production", Place::Production),
    ("staging", Place::Staging),
    ("testing", Place::Testing),
    ("development", Place::Development),
    ("other", Place::Other),
];

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, below: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % below
    }

    fn span(&mut self, below: Millis) -> Millis {
        i64::try_from(self.throw(below.unsigned_abs())).expect("a span")
    }
}

/// A project that lives, and an exporter of each kind.
struct Contest {
    gitlab: Simulator,
    app: u64,
    exporters: [Core; 2],
    dice: Dice,
    places: Vec<u64>,
    open: Vec<u64>,
}

impl Contest {
    fn new(seed: u64, places: &[&str]) -> Self {
        let mut world = World::new(WorldConfig::default());
        let app = world.add_project("group/app").expect("a project");
        world.set_tier("group", Tier::Ultimate).expect("a group");
        let places = places.iter().map(|name| place(&mut world, app, name));
        let places = places.collect();
        let gitlab = Simulator::start(world, &Options::default()).expect("a simulator");
        let exporters = [DoraSource::Gitlab, DoraSource::Computed].map(|source| {
            let mut settings = watch_everything();
            on(&mut settings);
            let dora = &mut settings.collectors.dora;
            dora.source = source;
            dora.environment_tiers = vec![
                EnvironmentTier::Production,
                EnvironmentTier::Staging,
                EnvironmentTier::Testing,
                EnvironmentTier::Development,
                EnvironmentTier::Other,
            ];
            Core::with_client(&gitlab, &settings, &client_settings(&gitlab))
        });
        Self {
            gitlab,
            app,
            exporters,
            dice: Dice(seed),
            places,
            open: Vec::new(),
        }
    }

    /// Something happens.
    fn event(&mut self) {
        let mut world = self.gitlab.world();
        let (app, dice) = (self.app, &mut self.dice);
        world.advance(dice.span(3 * HOUR) + 1);
        match dice.throw(8) {
            0 | 1 => {
                merge(&mut world, app);
            }
            2..5 => {
                let number = usize::try_from(dice.throw(self.places.len() as u64)).expect("few");
                let span = dice.span(20 * MINUTE);
                world.deploy(app, self.places[number], span).expect("it");
                move_pipelines(&mut world, app);
            }
            5 => self.open.push(world.open_incident(app).expect("it")),
            _ => {
                let Some(incident) = self.open.pop() else {
                    return;
                };
                let duplicate = (dice.throw(3) == 0 && incident > 1).then_some(1);
                world
                    .set_incident(app, incident, true, duplicate)
                    .expect("it is closed");
                if dice.throw(4) == 0 {
                    world.advance(dice.span(HOUR) + 1);
                    world
                        .set_incident(app, incident, false, None)
                        .expect("it is opened again");
                    self.open.insert(0, incident);
                }
            }
        }
    }

    /// Lets everything that is due be read.
    async fn look(&mut self) {
        for _ in 0..2 {
            self.gitlab.advance(std::time::Duration::from_secs(3_700));
            for exporter in &mut self.exporters {
                for _ in 0..4 {
                    exporter.round(&self.gitlab).await;
                }
            }
        }
    }

    /// What both show: GitLab's, then ours.
    fn shown(&self, metric: &str, tier: &str) -> [Option<f64>; 2] {
        self.exporters.each_ref().map(|exporter| {
            let series = exporter.series();
            let value = series.value(metric, &[("environment_tier", tier)]);
            value.map(|value| value.count())
        })
    }

    /// What GitLab's aggregator says of a tier today.
    fn truth(&self, tier: Place) -> [Option<f64>; 4] {
        let world = self.gitlab.world();
        let now = world.now();
        let rows = world.dora(self.app, now - 29 * DAY, now, DoraInterval::All, &[tier]);
        let row = rows.into_iter().next().unwrap_or_default();
        let incidents = |value: Option<f64>| value.filter(|_| tier == Place::Production);
        [
            Some(row.deployment_frequency.unwrap_or(0.0)),
            row.lead_time_for_changes,
            incidents(row.time_to_restore_service),
            incidents(row.change_failure_rate),
        ]
    }
}

/// Times of REST are cut to whole seconds.
fn agree(one: Option<f64>, other: Option<f64>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => (one - other).abs() <= if one > 100.0 { 1.0 } else { 1e-9 },
        (one, other) => one == other,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_ways_agree_day_by_day_and_tier_by_tier() {
    let places = [
        "production",
        "staging",
        "staging-2",
        "qa",
        "review/one",
        "dev",
        "somewhere",
    ];
    let mut contest = Contest::new(7, &places);
    let mut compared = 0;
    for day in 0..45 {
        for _ in 0..5 {
            contest.event();
        }
        contest.look().await;
        for (tier, place) in TIERS {
            let truth = contest.truth(place);
            let metrics = [FREQUENCY, LEAD_TIME, RESTORE, FAILURE_RATE];
            for (metric, truth) in metrics.into_iter().zip(truth) {
                let [theirs, ours] = contest.shown(metric, tier);
                let what = format!("day {day}: {metric} of {tier}: {theirs:?}, {ours:?}");
                assert!(agree(theirs, truth), "{what}, really {truth:?}");
                assert!(agree(theirs, ours), "{what}");
                compared += usize::from(ours.is_some_and(|value| value > 0.0));
            }
        }
    }
    assert!(compared > 300, "{compared} figures were more than nothing");
}

/// The one figure that is not GitLab's: there an incident may count for each production environment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_two_production_environments_an_incident_counts_once() {
    let mut contest = Contest::new(3, &["production", "production-2", "staging"]);
    for _ in 0..60 {
        contest.event();
    }
    contest.look().await;
    for metric in [FREQUENCY, LEAD_TIME, RESTORE] {
        let [theirs, ours] = contest.shown(metric, "production");
        assert!(theirs.is_some() && agree(theirs, ours), "{metric}");
    }
    let [theirs, ours] = contest.shown(FAILURE_RATE, "production");
    assert_eq!(theirs, ours.map(|rate| 2.0 * rate));
}
