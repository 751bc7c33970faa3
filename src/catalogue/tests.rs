//! What holds for every entry.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::PathBuf;

use super::*;

#[test]
fn names_are_unique_prefixed_and_valid_everywhere() {
    let mut names = HashSet::new();
    for desc in all() {
        let name = desc.name;
        assert!(names.insert(name), "{name} stands twice");
        let own_process = name.starts_with("process_") && desc.collector == Collector::Exporter;
        assert!(name.starts_with("age_") || own_process, "{name}");
        let valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        assert!(name.chars().all(valid) && !name.contains("__"), "{name}");
        assert!(name.len() < 255);
    }
    assert!(names.len() >= 100, "{} metrics", names.len());
    let ids: Vec<_> = FamilyId::all().collect();
    let others = Collector::Compat.entries();
    assert_eq!(ids.len(), all().len() + others.len());
    for (desc, id) in others.iter().zip(&ids[all().len()..]) {
        assert!(desc.name.starts_with("gitlab_ci_"), "{}", desc.name);
        assert_eq!((FamilyId::of(desc), id.desc()), (Some(*id), *desc));
        assert!(desc.labels.is_sorted_by(|a, b| a < b), "{}", desc.name);
    }
    for (desc, id) in all().zip(ids) {
        assert_eq!(
            (FamilyId::of(desc), FamilyId::by_name(desc.name)),
            (Some(id), Some(id))
        );
        assert_eq!(id.desc(), desc);
    }
}

#[test]
fn labels_are_sorted_few_and_not_reserved() {
    for desc in all() {
        let labels = desc.labels;
        assert!(labels.is_sorted_by(|a, b| a < b), "{}", desc.name);
        let most = if desc.name.ends_with("_info") {
            MAX_LABELS
        } else {
            8
        };
        assert!(labels.len() <= most, "{}", desc.name);
        for label in labels {
            assert!(
                !["le", "quantile", "job", "instance"].contains(label),
                "{}",
                desc.name
            );
            assert!(
                !label.starts_with("__") && !label.starts_with("otel"),
                "{}",
                desc.name
            );
        }
    }
}

/// What is rewritten (`labels.job_name`, `labels.ref`) may be one with others: then it is to be known what it means.
#[test]
fn gauges_that_may_be_merged_have_a_rule() {
    for desc in all().filter(|desc| desc.kind == Kind::Gauge) {
        let name = desc.name;
        let rewritten = ["job_name", "bridge_name", "ref", "parent_ref"];
        if desc.labels.iter().any(|label| rewritten.contains(label)) {
            assert_ne!(desc.merge, Merge::None, "{name}");
        }
        let has_status = desc.labels.contains(&"status");
        let is_number = matches!(desc.merge, Merge::Sum | Merge::None);
        assert_eq!(
            has_status && !is_number,
            desc.merge == Merge::Worst,
            "{name}"
        );
    }
    for desc in all().filter(|desc| desc.kind != Kind::Gauge) {
        assert_eq!(desc.merge, Merge::Sum, "{}", desc.name);
    }
}

/// A metric in no list would be measured and never shown.
#[test]
fn what_is_declared_is_listed() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/catalogue");
    let mut declared = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let Some((entries, list)) = text.split_once("pub static ENTRIES") else {
            continue;
        };
        let names = entries.lines().filter_map(|line| {
            let (name, kind) = line.strip_prefix("pub static ")?.split_once(": ")?;
            let kinds = ["Counter<", "Gauge<", "Histogram<"];
            kinds
                .iter()
                .any(|known| kind.starts_with(known))
                .then_some(name)
        });
        for name in names {
            let listed = list.contains(&format!("&{name}.desc"));
            assert!(listed, "{name} is not in ENTRIES of {}", path.display());
            declared += 1;
        }
    }
    assert_eq!(declared, all().len());
}

/// Names of samples and of OpenMetrics families: two metrics that shared one would break a scrape.
#[test]
fn no_two_metrics_share_the_name_of_a_sample() {
    let mut owners: BTreeMap<String, &str> = BTreeMap::new();
    let mut families = HashSet::new();
    for desc in all() {
        let suffixes: &[&str] = match desc.kind {
            Kind::Histogram => &["", "_bucket", "_sum", "_count"],
            Kind::Counter | Kind::Gauge => &[""],
        };
        for suffix in suffixes {
            let owner = owners.insert(format!("{}{suffix}", desc.name), desc.name);
            assert_eq!(owner, None, "{}{suffix}", desc.name);
        }
        let family = match desc.kind {
            Kind::Counter => desc.name.trim_end_matches("_total"),
            Kind::Gauge | Kind::Histogram => desc.name,
        };
        assert!(families.insert(family), "{family}");
    }
}

#[test]
fn units_are_those_that_names_end_with() {
    for desc in all() {
        let name = desc.name.trim_end_matches("_total");
        let expected = match desc.unit {
            "s" => name.ends_with("_seconds") || name.ends_with("_timestamp"),
            "By" => name.ends_with("_bytes"),
            "%" => name.ends_with("_percentage") || name.ends_with("_coverage"),
            "" => !["_seconds", "_bytes", "_timestamp", "_percentage"]
                .iter()
                .any(|unit| name.ends_with(unit)),
            _ => false,
        };
        assert!(
            expected,
            "{} has the unit {:?}, and its name says another",
            desc.name, desc.unit
        );
        let is_total = desc.name.ends_with("_total");
        match desc.kind {
            Kind::Counter => assert!(
                is_total || desc.plan,
                "{} is a counter and does not end in _total",
                desc.name
            ),
            _ => assert!(!is_total, "{} ends in _total and is no counter", desc.name),
        }
    }
}

#[test]
fn helps_are_sentences() {
    for desc in all() {
        let name = desc.name;
        assert!(
            desc.help.ends_with('.'),
            "{name}: the help ends without a full stop"
        );
        assert!(
            !desc.help.contains("  ") && !desc.help.contains('\n'),
            "{name}: the help has two spaces or a line break in it"
        );
        assert!(
            desc.help.starts_with(|c: char| c.is_uppercase()),
            "{name}: the help begins in lower case"
        );
    }
}

#[test]
fn histograms_and_only_they_have_buckets() {
    for desc in all() {
        match desc.buckets {
            Buckets::None => assert_ne!(desc.kind, Kind::Histogram, "{}", desc.name),
            Buckets::Fixed(bounds) => {
                assert_eq!(desc.kind, Kind::Histogram, "{}", desc.name);
                assert!(!bounds.is_empty() && bounds.iter().all(|bound| bound.is_finite()));
                assert!(bounds.is_sorted_by(|a, b| a < b), "{}", desc.name);
            }
            Buckets::Configured => {
                assert_eq!(desc.kind, Kind::Histogram, "{}", desc.name);
                let has_key = matches!(
                    desc.collector,
                    Collector::Pipelines
                        | Collector::ChildPipelines
                        | Collector::Jobs
                        | Collector::MergeRequests
                );
                assert!(has_key && desc.unit == "s", "{}", desc.name);
            }
        }
    }
}

#[test]
fn every_collector_has_metrics_and_records_them_all() {
    for collector in Collector::ALL {
        let mut entries = all().filter(|desc| desc.collector == collector).peekable();
        assert!(entries.peek().is_some(), "{collector:?}");
        assert!(entries.all(|desc| desc.implemented), "{collector:?}");
    }
}

/// The contract outside the repository: name, type and labels of each metric of the plan.
#[test]
fn the_plan_is_kept_to_the_letter() {
    let root = std::env::var_os("AGE_SHARED_DIR").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared")),
        PathBuf::from,
    );
    let path = root.join("facts/plan-metrics.txt");
    let Ok(plan) = std::fs::read_to_string(&path) else {
        println!("skipped: {} is absent", path.display());
        return;
    };
    let line = |name: &str, kind: &str, labels: BTreeSet<&str>| {
        let labels: Vec<_> = labels.into_iter().collect();
        format!("{name}|{kind}|{}", labels.join(","))
    };
    let planned: BTreeSet<_> = plan
        .lines()
        .filter(|line| !line.is_empty())
        .map(|text| {
            let parts: Vec<_> = text.split('|').collect();
            let labels = parts[2].split(',').filter(|label| !label.is_empty());
            line(parts[0], parts[1], labels.collect())
        })
        .collect();
    let ours: BTreeSet<_> = all()
        .filter(|desc| desc.plan)
        .map(|desc| {
            line(
                desc.name,
                desc.kind.as_str(),
                desc.labels.iter().copied().collect(),
            )
        })
        .collect();
    assert_eq!(ours, planned);
    assert_eq!(ours.len(), 66);
}
