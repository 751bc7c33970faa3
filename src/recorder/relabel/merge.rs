//! Gauges that are one.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::LabelRules;
use crate::catalogue::{LabelValues, Measurement, Merge};
use crate::types::Text;

/// Statuses of pipelines, jobs, deployments and test cases, the worst first. Others stand behind those that end
/// badly.
const WORST: [&str; 18] = [
    "failed",
    "error",
    "canceled",
    "canceling",
    "",
    "blocked",
    "waiting_for_callback",
    "waiting_for_resource",
    "preparing",
    "pending",
    "running",
    "created",
    "scheduled",
    "manual",
    "success_with_warnings",
    "success",
    "passed",
    "skipped",
];

fn rank(status: &str) -> usize {
    let place = |status: &str| WORST.iter().position(|known| *known == status);
    place(status).or_else(|| place("")).unwrap_or_default()
}

/// The states with those of the same labels merged, in the order of the first of each.
pub(super) fn merged(rules: &LabelRules, states: Vec<Measurement>) -> Vec<Measurement> {
    let mut places: HashMap<(&'static str, LabelValues), usize> = HashMap::new();
    let mut merged: Vec<Vec<Measurement>> = Vec::with_capacity(states.len());
    for state in states {
        if !rules.concerns(state.desc) {
            merged.push(vec![state]);
            continue;
        }
        let key = match state.desc.merge {
            Merge::Worst => subject(&state),
            _ => state.labels.clone(),
        };
        match places.entry((state.desc.name, key)) {
            Entry::Vacant(place) => {
                place.insert(merged.len());
                merged.push(vec![state]);
            }
            Entry::Occupied(place) => {
                if let Some(group) = merged.get_mut(*place.get()) {
                    group.push(state);
                }
            }
        }
    }
    merged.into_iter().flat_map(one).collect()
}

/// Labels that tell what has a status from others.
fn subject(state: &Measurement) -> LabelValues {
    let labels = state.desc.labels.iter().zip(&state.labels);
    let labels = labels.map(|(label, value)| match *label {
        "status" | "failure_reason" => Text::default(),
        _ => value.clone(),
    });
    labels.collect()
}

/// A group as one.
fn one(mut group: Vec<Measurement>) -> Vec<Measurement> {
    let Some(first) = group.first().map(|first| first.desc.merge) else {
        return group;
    };
    let by = match first {
        Merge::Worst => return worst(group),
        Merge::Sum => |one: f64, other: f64| one + other,
        Merge::Largest => f64::max,
        Merge::Smallest => f64::min,
        // None of the settings merges these.
        Merge::None => |one: f64, _| one,
    };
    let value = group.iter().map(|state| state.value).reduce(by);
    group.truncate(1);
    if let (Some(state), Some(value)) = (group.first_mut(), value) {
        state.value = value;
    }
    group
}

/// The worst of the statuses that are so, and where others are shown as 0, these.
fn worst(group: Vec<Measurement>) -> Vec<Measurement> {
    let text = |state: &Measurement, name: &str| {
        let mut labels = state.desc.labels.iter().zip(&state.labels);
        let found = labels.find(|(label, _)| **label == name);
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    };
    let order = |state: &Measurement| (rank(&text(state, "status")), state.labels.clone());
    let current = group.iter().filter(|state| state.value > 0.0);
    let Some(worst) = current.min_by_key(|state| order(state)).cloned() else {
        return group;
    };
    let shows_others = group.iter().any(|state| state.value <= 0.0);
    let mut said = vec![text(&worst, "status")];
    let mut merged = vec![worst];
    for mut state in group.into_iter().filter(|_| shows_others) {
        let status = text(&state, "status");
        if said.contains(&status) {
            continue;
        }
        said.push(status);
        state.value = 0.0;
        let labels = state.desc.labels.iter().zip(state.labels.iter_mut());
        for (label, value) in labels {
            if *label == "failure_reason" {
                *value = Text::default();
            }
        }
        merged.push(state);
    }
    merged
}
