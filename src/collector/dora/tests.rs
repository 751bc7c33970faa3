use super::*;
use crate::clock::UnixSeconds;
use crate::gitlab::model::DoraFigures;
use crate::gitlab::model::{Deployment, Environment, Incident};
use crate::memory::dora::computed::{
    PERIOD_DAYS, Period, add_incidents, median, median_of_medians, of_deployments,
};
use crate::memory::dora::{Deployed, Life, Shipped, tiers_of};
use crate::store::{content, read};
use std::collections::BTreeSet;

const DAY: i64 = 86_400;
const HOUR: i64 = 3_600;
/// The middle of a day.
const NOW: UnixSeconds = UnixSeconds(20_000 * DAY + 12 * HOUR);

fn period() -> Period {
    Period::ending(NOW)
}

/// So many days before today, at this hour.
fn ago(days: i64, hour: i64) -> UnixSeconds {
    UnixSeconds((20_000 - days) * DAY + hour * HOUR)
}

fn deployed(environment: u64, finished_at: UnixSeconds, leads: &[u32]) -> Deployed {
    Deployed {
        environment,
        finished_at,
        shipped: Shipped::Known(leads.to_vec()),
    }
}

fn life(created_at: UnixSeconds, closed_at: Option<UnixSeconds>) -> Life {
    Life {
        created_at,
        closed_at,
        duplicate: false,
    }
}

fn with_incidents(deployments: &[Deployed], incidents: &[Life]) -> DoraFigures {
    let mut figures = of_deployments(deployments.iter(), period());
    add_incidents(&mut figures, incidents.iter(), period());
    figures
}

#[test]
fn a_period_is_made_of_whole_days_and_ends_today() {
    let period = period();
    assert_eq!(period.start(), ago(PERIOD_DAYS - 1, 0));
    assert_eq!(period.days().count(), PERIOD_DAYS);
    assert!(period.has(ago(PERIOD_DAYS - 1, 0)) && period.has(ago(0, 23)));
    assert!(!period.has(UnixSeconds(ago(PERIOD_DAYS - 1, 0).0 - 1)));
    assert!(!period.has(ago(-1, 0)));
}

#[test]
fn the_median_is_continuous() {
    assert_eq!(median(Vec::new()), None);
    assert_eq!(median(vec![5.0]), Some(5.0));
    assert_eq!(median(vec![4.0, 1.0]), Some(2.5));
    assert_eq!(median(vec![9.0, 1.0, 4.0]), Some(4.0));
    assert_eq!(median(vec![9.0, 1.0, 4.0, 5.0]), Some(4.5));
    let rows = [(1, 1.0), (1, 3.0), (2, 10.0), (3, 100.0)];
    assert_eq!(median_of_medians(rows.into_iter()), Some(10.0));
}

#[test]
fn frequency_counts_all_days_and_nothing_is_no_rate() {
    let none = with_incidents(&[], &[]);
    assert_eq!(none.deployment_frequency, Some(0.0));
    assert_eq!(none.lead_time, None);
    assert_eq!(none.time_to_restore, None);
    assert_eq!(none.change_failure_rate, None);
    let three = [ago(0, 1), ago(29, 0), ago(3, 5)].map(|at| deployed(1, at, &[]));
    assert_eq!(with_incidents(&three, &[]).deployment_frequency, Some(0.1));
    assert_eq!(
        with_incidents(&three, &[]).change_failure_rate,
        Some(0.0),
        "nothing failed"
    );
    let old = [deployed(1, ago(30, 23), &[7])];
    assert_eq!(with_incidents(&old, &[]), none);
}

#[test]
fn lead_time_is_the_median_of_the_medians_of_environments_days() {
    let all = [
        deployed(1, ago(5, 1), &[10, 30]),
        deployed(1, ago(5, 20), &[50]),
        deployed(2, ago(5, 2), &[100]),
        deployed(1, ago(4, 2), &[1_000]),
        deployed(1, ago(3, 2), &[]),
    ];
    // 30 and 100 and 1000; pooled over environments it would be (40 + 1000) / 2.
    let figures = of_deployments(all.iter(), period());
    assert_eq!(figures.lead_time, Some(100.0));
}

#[test]
fn lead_time_waits_until_every_deployment_was_asked_for() {
    let mut all = [deployed(1, ago(5, 1), &[10]), deployed(1, ago(4, 1), &[20])];
    all[1].shipped = Shipped::Unasked;
    assert_eq!(of_deployments(all.iter(), period()).lead_time, None);
    all[1].shipped = Shipped::Failed;
    assert_eq!(of_deployments(all.iter(), period()).lead_time, Some(10.0));
    all[1].shipped = Shipped::Early(vec![30]);
    assert_eq!(of_deployments(all.iter(), period()).lead_time, Some(20.0));
}

#[test]
fn incidents_count_when_created_and_are_restored_when_closed() {
    let deployments = [deployed(1, ago(5, 1), &[]), deployed(2, ago(5, 1), &[])];
    let mut duplicate = life(ago(1, 1), Some(ago(1, 2)));
    duplicate.duplicate = true;
    let incidents = [
        life(ago(40, 0), Some(ago(2, 0))),
        life(ago(2, 1), Some(ago(2, 3))),
        life(ago(40, 0), Some(ago(35, 0))),
        life(ago(3, 0), None),
        duplicate,
    ];
    let figures = with_incidents(&deployments, &incidents);
    assert_eq!(figures.change_failure_rate, Some(1.0), "2 of 2");
    // Day 2: 38 days and 2 hours; day 1: 1 hour.
    let (long, short) = ((38 * DAY) as f64, (2 * HOUR) as f64);
    let day = f64::midpoint(long, short);
    let wanted = f64::midpoint(day, HOUR as f64);
    assert_eq!(figures.time_to_restore, Some(wanted));
    let without = with_incidents(&[], &incidents);
    assert_eq!(without.change_failure_rate, Some(2.0), "of one at least");
}

fn environment(id: u64, tier: &str) -> Environment {
    Environment {
        id,
        name: tier.into(),
        tier: tier.into(),
        state: "available".into(),
        external_url: None,
    }
}

fn deployment(id: u64, environment: u64, end: UnixSeconds) -> Deployment {
    Deployment {
        id,
        environment,
        environment_name: "somewhere".into(),
        iid: None,
        sha: "sha".into(),
        status: "success".into(),
        created_at: end,
        updated_at: end,
        started_at: Some(end),
        finished_at: Some(end),
        duration: None,
        origin: Default::default(),
    }
}

fn incident(iid: u64, created_at: UnixSeconds, closed_at: Option<UnixSeconds>) -> Incident {
    Incident {
        iid,
        created_at,
        updated_at: created_at,
        closed_at,
        duplicate: false,
    }
}

fn memory() -> DoraMemory {
    let tiers = BTreeSet::from([DeploymentTier::Production, DeploymentTier::Staging]);
    let mut memory = DoraMemory::new(tiers);
    let places = [
        environment(1, "production"),
        environment(2, "staging"),
        environment(3, "development"),
    ];
    memory.place(tiers_of(&places));
    memory
}

#[test]
fn only_deployments_of_interest_are_kept_and_only_while_they_count() {
    let mut memory = memory();
    let mut failed = deployment(13, 1, ago(1, 0));
    failed.status = "failed".into();
    let read = [
        deployment(10, 1, ago(29, 0)),
        deployment(11, 2, ago(1, 0)),
        deployment(12, 3, ago(1, 0)),
        failed,
        deployment(14, 9, ago(1, 0)),
        deployment(15, 1, ago(30, 23)),
    ];
    memory.deployed(&read, period());
    assert_eq!(memory.to_ask(NOW), [11, 10]);
    memory.forget(Period::ending(
        NOW.plus(std::time::Duration::from_secs(86_400)),
    ));
    assert_eq!(memory.to_ask(NOW), [11]);
    memory.place(tiers_of(&[environment(1, "production")]));
    assert_eq!(memory.to_ask(NOW), [0_u64; 0], "its environment is gone");
}

#[test]
fn the_first_end_that_was_read_stays() {
    let mut memory = memory();
    memory.deployed(&[deployment(10, 1, ago(2, 0))], period());
    memory.shipped(10, &[ago(2, -1)], NOW);
    memory.deployed(&[deployment(10, 1, ago(1, 0))], period());
    let figures = memory.figures(period());
    assert_eq!(
        figures[&DeploymentTier::Production].lead_time,
        Some(HOUR as f64)
    );
}

#[test]
fn each_deployment_is_asked_for_until_the_answer_stands() {
    let mut memory = memory();
    let end = UnixSeconds(NOW.0 - 60);
    let read = [
        deployment(10, 1, ago(1, 0)),
        deployment(11, 1, end),
        deployment(12, 1, ago(1, 0)),
    ];
    memory.deployed(&read, period());
    memory.shipped(10, &[], NOW);
    memory.shipped(11, &[UnixSeconds(end.0 + 5)], NOW);
    memory.not_shipped(12);
    assert_eq!(memory.to_ask(NOW), [12], "it failed");
    let later = UnixSeconds(NOW.0 + 600);
    assert_eq!(memory.to_ask(later), [11, 12], "it was early");
    memory.shipped(11, &[UnixSeconds(end.0 + 5)], later);
    memory.deleted(12);
    assert_eq!(memory.to_ask(later), [0_u64; 0]);
    let figures = memory.figures(period());
    assert_eq!(
        figures[&DeploymentTier::Production].lead_time,
        Some(0.0),
        "merged after it was deployed"
    );
}

#[test]
fn review_apps_are_not_asked_for() {
    let mut memory = memory();
    let mut review = deployment(10, 2, ago(1, 0));
    review.environment_name = "review/one".into();
    memory.deployed(&[review], period());
    assert_eq!(memory.to_ask(NOW), [0_u64; 0]);
}

#[test]
fn an_environment_that_comes_into_a_tier_of_interest_is_read_again() {
    let memory = memory();
    let same = tiers_of(&[environment(1, "production"), environment(3, "development")]);
    assert!(!memory.has_missed(&same));
    assert!(memory.has_missed(&tiers_of(&[environment(3, "staging")])));
    let new = tiers_of(&[environment(4, "production")]);
    assert!(!memory.has_missed(&new), "it has no deployments yet");
}

#[test]
fn incidents_belong_to_production_alone() {
    let mut memory = memory();
    memory.incidents(&[incident(1, ago(1, 0), Some(ago(1, 2)))], true);
    let figures = memory.figures(period());
    let production = figures[&DeploymentTier::Production];
    assert_eq!(production.time_to_restore, Some((2 * HOUR) as f64));
    assert_eq!(production.change_failure_rate, Some(1.0));
    let staging = figures[&DeploymentTier::Staging];
    assert_eq!(
        (staging.time_to_restore, staging.change_failure_rate),
        (None, None)
    );
    memory.incidents(&[incident(1, ago(1, 0), None)], false);
    let production = memory.figures(period())[&DeploymentTier::Production];
    assert_eq!(production.time_to_restore, None, "it was reopened");
    memory.incidents(&[], true);
    let production = memory.figures(period())[&DeploymentTier::Production];
    assert_eq!(production.change_failure_rate, None, "it was deleted");
    memory.incidents(&[incident(2, ago(1, 0), None)], false);
    memory.place(tiers_of(&[environment(2, "staging")]));
    let production = memory.figures(period())[&DeploymentTier::Production];
    assert_eq!(
        production.change_failure_rate, None,
        "nothing is production"
    );
}

#[test]
fn a_second_production_environment_does_not_count_an_incident_twice() {
    let mut memory = memory();
    memory.place(tiers_of(&[
        environment(1, "production"),
        environment(2, "production"),
    ]));
    memory.deployed(
        &[deployment(10, 1, ago(1, 0)), deployment(11, 2, ago(1, 0))],
        period(),
    );
    memory.incidents(&[incident(1, ago(1, 0), None)], true);
    let production = memory.figures(period())[&DeploymentTier::Production];
    assert_eq!(production.change_failure_rate, Some(0.5));
}

#[test]
fn what_has_no_value_is_not_shown_but_a_frequency_of_0() {
    let settings = crate::config::ProjectSettings::default();
    let subject = Subject {
        id: crate::types::ProjectId(1),
        project: &"group/project".into(),
        paths: &std::collections::BTreeMap::new(),
        settings: &settings,
        max_pipelines_per_ref: 1,
        refs: &Default::default(),
        tier: crate::gitlab::model::Known::Unread,
        now: NOW,
    };
    let figures = DoraByTier::from([(DeploymentTier::Staging, DoraFigures::default())]);
    let measured = measure(subject, GITLAB, &figures);
    assert!(measured.events.is_empty() && measured.initializations.is_empty());
    let shown: Vec<_> = measured
        .states
        .iter()
        .map(|state| (state.desc.name, state.value))
        .collect();
    let wanted = [
        ("age_dora_deployment_frequency", 0.0),
        ("age_dora_source", 1.0),
    ];
    assert_eq!(shown, wanted);
}

#[test]
fn a_memory_survives_its_way_through_a_store() {
    let mut memory = memory();
    memory.deployed(&[deployment(10, 1, ago(1, 0))], period());
    memory.shipped(10, &[ago(2, 0)], NOW);
    memory.incidents(&[incident(1, ago(1, 0), None)], true);
    assert_eq!(read::<DoraMemory>(&content(&memory)), memory);
}
