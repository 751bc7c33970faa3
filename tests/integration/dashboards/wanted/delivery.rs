use super::super::facts::{Answer, Facts, above_zero, counted, fewer, greatest, joined, times};
use super::Want::{self, Living, Near, Nothing};
use super::{among, most, number_of, one, summed, total};

/// The middle of values, as `quantile(0.5, …)` gives it.
fn median(answer: &Answer) -> f64 {
    let mut values: Vec<f64> = answer.values().copied().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        0 => f64::midpoint(values[middle - 1], values[middle]),
        _ => values[middle],
    }
}

/// How many of three bounds a figure keeps.
fn level(value: f64, bounds: [f64; 3], keeps: impl Fn(f64, f64) -> bool) -> f64 {
    let kept = bounds.into_iter().filter(|bound| keeps(value, *bound));
    kept.map(|_| 1.0).sum()
}

pub fn dora(f: &Facts, panel: &str) -> Option<Vec<Want>> {
    let tier = ["project", "environment_tier"];
    let per_day = f.max("age_dora_deployment_frequency", &tier);
    let frequency: f64 = per_day.values().sum();
    let lead_time = median(&f.max("age_dora_lead_time_for_changes_seconds", &tier));
    let restore = median(&f.max("age_dora_time_to_restore_service_seconds", &tier));
    let rates = f.max("age_dora_change_failure_rate", &tier);
    let failures: f64 = joined(rates.clone(), &per_day, |rate, per_day| rate * per_day)
        .values()
        .sum();
    let deployments: f64 = joined(rates, &per_day, |_, per_day| per_day).values().sum();
    let failure_rate = failures / deployments;
    Some(match panel {
        "Deployment frequency" => vec![one(frequency)],
        "Lead time for changes" => vec![one(lead_time / 3600.0)],
        "Time to restore service" => vec![one(restore / 3600.0)],
        "Change failure rate" => vec![one(failure_rate)],
        "DORA level" => {
            let at_least = |value: f64, bound: f64| value >= bound;
            let at_most = |value: f64, bound: f64| value <= bound;
            let levels = [
                level(frequency, [1.0, 1.0 / 7.0, 1.0 / 30.0], at_least),
                level(lead_time, [86_400.0, 604_800.0, 2_592_000.0], at_most),
                level(restore, [3600.0, 86_400.0, 604_800.0], at_most),
                level(failure_rate, [0.05, 0.1, 0.15], at_most),
            ];
            vec![one(levels.iter().sum::<f64>() / 4.0)]
        }
        "Deployment frequency over time"
        | "Lead time over time"
        | "Time to restore over time"
        | "Change failure rate over time" => vec![Living],
        "Month by month" => {
            let most = |name, scale| {
                let by_tier = f.max(name, &["project"]);
                Near(times(by_tier, scale))
            };
            let mut all_day = Answer::new();
            for (labels, value) in per_day {
                let labels = fewer(&labels, &["project"]);
                *all_day.entry(labels).or_default() += value;
            }
            // Every second one looks 30 days back.
            vec![
                Near(all_day),
                Nothing,
                most("age_dora_lead_time_for_changes_seconds", 1.0 / 3600.0),
                Nothing,
                most("age_dora_time_to_restore_service_seconds", 1.0 / 3600.0),
                Nothing,
                most("age_dora_change_failure_rate", 1.0),
                Nothing,
            ]
        }
        "Source of the figures" => {
            let sources = f.max("age_dora_source", &["project", "source"]);
            vec![Near(counted(&sources, &["source"]))]
        }
        "Time by stage" => {
            let all = f.max(
                "age_value_stream_stage_duration_seconds",
                &["project", "stage_name"],
            );
            let stages = counted(&all, &["stage_name"]).into_keys();
            let medians = stages.map(|stage| {
                let of_stage = all
                    .iter()
                    .filter(|(labels, _)| labels["stage_name"] == stage["stage_name"]);
                let of_stage = of_stage
                    .map(|(labels, value)| (labels.clone(), *value))
                    .collect();
                (stage, median(&of_stage))
            });
            vec![Near(medians.collect())]
        }
        "Cycle time" => vec![most(f, "age_value_stream_cycle_time_seconds", &["project"])],
        "Lead time of issues" => vec![most(f, "age_value_stream_lead_time_seconds", &["project"])],
        "Deployment frequency by environment tier" => {
            let mut by_tier = Answer::new();
            for (labels, value) in per_day {
                let labels = fewer(&labels, &["environment_tier"]);
                *by_tier.entry(labels).or_default() += value;
            }
            vec![Near(by_tier)]
        }
        _ => return None,
    })
}

const ENVIRONMENT: [&str; 2] = ["project", "environment"];

/// Environments that are not stopped, by these labels.
fn open_environments(f: &Facts, labels: &[&str]) -> Answer {
    let stopped = f.sum_of("age_environment_info", &[("state", "stopped")], labels);
    let mut all = f.max("age_environment_info", labels);
    all.retain(|labels, _| !stopped.contains_key(labels));
    all
}

pub fn environments(f: &Facts, panel: &str) -> Option<Vec<Want>> {
    let all = open_environments(f, &["project", "environment", "tier"]);
    let version = ["project", "environment", "tier", "ref", "commit"];
    let chosen = |answer| among(answer, &all, &ENVIRONMENT);
    let of = |name| chosen(f.max(name, &ENVIRONMENT));
    let with_status = |name| f.max(name, &["project", "environment", "status"]);
    let in_status = |status| {
        let only = [("status", status)];
        let found = chosen(f.sum_of("age_environment_deployment_status", &only, &ENVIRONMENT));
        one(counted(&found, &[]).values().sum())
    };
    let deployments = || chosen(f.sum("age_environment_deployment_count", &ENVIRONMENT));
    let with_tier = |answer: Answer| {
        let tiers = all.keys().filter_map(|labels| {
            let value = *answer.get(&fewer(labels, &ENVIRONMENT))?;
            Some((labels.clone(), value))
        });
        Near(summed(&tiers.collect(), &["tier"]))
    };
    Some(match panel {
        "Failed" => vec![in_status("failed")],
        "Running" => vec![in_status("running")],
        "Behind" => {
            let behind = above_zero(of("age_environment_behind_commits"));
            vec![one(counted(&behind, &[]).values().sum())]
        }
        "Deployments" => vec![total(&deployments())],
        "Number of environments" => vec![number_of(&all)],
        // Of environments that were not stopped meanwhile.
        "Median duration" | "Duration of deployments" => vec![Living],
        "Environments" => vec![
            Near(times(
                of("age_environment_last_deployment_timestamp"),
                1000.0,
            )),
            Near(of("age_environment_last_deployment_duration_seconds")),
            Near(of("age_environment_behind_commits")),
            Living,
            Near(open_environments(f, &version)),
            Near(chosen(with_status("age_environment_deployment_status"))),
        ],
        "Deployments that wait" => {
            let waiting = with_status("age_environment_deployments_waiting");
            vec![Near(above_zero(chosen(waiting)))]
        }
        "Deployments per day" => vec![with_tier(
            f.sum("age_environment_deployment_count", &ENVIRONMENT),
        )],
        "Deployments by project" => {
            vec![Near(greatest(
                above_zero(summed(&deployments(), &["project"])),
                20,
            ))]
        }
        "Commits behind by tier" => {
            vec![with_tier(
                f.max("age_environment_behind_commits", &ENVIRONMENT),
            )]
        }
        _ => return None,
    })
}
