//! The catalogue for readers: a table for terminals, JSON for programs, Markdown for people.

use std::fmt::Write as _;

use serde::Serialize;

use super::{Buckets, Collector, Desc, Kind, Merge, all};
use crate::types::Tier;

/// The text around the tables of `docs/metrics.md`.
const GUIDE: &str = include_str!("guide.md");

/// An entry as JSON has it.
#[derive(Serialize)]
struct Entry {
    name: &'static str,
    r#type: &'static str,
    labels: &'static [&'static str],
    unit: &'static str,
    help: &'static str,
    collector: &'static str,
    tier: &'static str,
    plan: bool,
    implemented: bool,
}

impl From<&Desc> for Entry {
    fn from(desc: &Desc) -> Self {
        Self {
            name: desc.name,
            r#type: desc.kind.as_str(),
            labels: desc.labels,
            unit: desc.unit,
            help: desc.help,
            collector: desc.collector.as_str(),
            tier: desc.tier.as_str(),
            plan: desc.plan,
            implemented: desc.implemented,
        }
    }
}

/// Every entry as a JSON list of objects with `name`, `type`, `labels`, `unit` (UCUM), `help`,
/// `collector`, `tier`, `plan` and `implemented`.
#[must_use]
pub fn json() -> String {
    let entries = all().map(Entry::from);
    let entries: Vec<_> = entries.map(|entry| serde_json::json!(entry)).collect();
    format!("{:#}\n", serde_json::Value::Array(entries))
}

/// Every entry as one line of an aligned table, without its help.
#[must_use]
pub fn table() -> String {
    let head = ["NAME", "TYPE", "COLLECTOR", "TIER", "BUILT", "LABELS"].map(str::to_owned);
    let rows = all().map(|desc| {
        [
            desc.name.to_owned(),
            desc.kind.as_str().to_owned(),
            desc.collector.as_str().to_owned(),
            desc.tier.as_str().to_owned(),
            if desc.implemented { "yes" } else { "not yet" }.to_owned(),
            desc.labels.join(","),
        ]
    });
    let rows: Vec<_> = std::iter::once(head).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: [usize; 6] = std::array::from_fn(width);
    let mut out = String::new();
    for row in &rows {
        let cells = row.iter().zip(widths);
        let line: String = cells
            .map(|(cell, width)| format!("{cell:width$}  "))
            .collect();
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// The place of the collectors' sections in the guide.
const COLLECTORS: &str = "<!-- collectors -->";
/// The place of the table of the exporter's own metrics there.
const EXPORTER: &str = "<!-- exporter -->";

/// `docs/metrics.md`: the guide with a section for each collector.
#[must_use]
pub fn markdown() -> String {
    let sections: Vec<String> = Collector::ALL.into_iter().map(section).collect();
    GUIDE
        .replace(COLLECTORS, sections.join("\n").trim_end())
        .replace(EXPORTER, markdown_table(Collector::Exporter).trim_end())
}

/// Heading, meaning and table of a collector's metrics.
fn section(collector: Collector) -> String {
    let table = markdown_table(collector);
    match collector.desc() {
        None => table,
        Some(desc) if desc.about.is_empty() => format!("## {}\n\n{table}", desc.title),
        Some(desc) => format!("## {}\n\n{}\n\n{table}", desc.title, desc.about),
    }
}

fn markdown_table(collector: Collector) -> String {
    let mut out = String::from("| Metric | Type | Labels | Meaning |\n|---|---|---|---|\n");
    for desc in collector.entries() {
        let labels: Vec<_> = desc
            .labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        // Writing into memory cannot fail.
        let _ = writeln!(
            out,
            "| `{}` | {} | {} | {} |",
            desc.name,
            desc.kind.as_str(),
            labels.join(", "),
            meaning(desc),
        );
    }
    out
}

/// The help, and behind it what else is to be known.
fn meaning(desc: &Desc) -> String {
    let mut out = desc.help.replace('|', "\\|");
    match (desc.buckets, desc.collector) {
        (Buckets::None, _) => {}
        (Buckets::Configured, Collector::ChildPipelines) => {
            out.push_str(" Buckets: `collectors.pipelines.histogram_buckets`.");
        }
        (Buckets::Configured, collector) => {
            let key = collector.as_str();
            let _ = write!(out, " Buckets: `collectors.{key}.histogram_buckets`.");
        }
        (Buckets::Fixed(bounds), _) => {
            let bounds: Vec<_> = bounds.iter().map(f64::to_string).collect();
            let _ = write!(out, " Buckets: {}.", bounds.join(", "));
        }
    }
    if desc.kind == Kind::Gauge && desc.merge != Merge::None {
        let _ = write!(out, " Merged: {}.", desc.merge.as_str());
    }
    match desc.tier {
        Tier::Free => {}
        Tier::Premium => out.push_str(" *GitLab: Premium.*"),
        Tier::Ultimate => out.push_str(" *GitLab: Ultimate.*"),
    }
    if !desc.implemented {
        out.push_str(" *Not built.*");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_a_list_of_objects_with_the_promised_keys() {
        let list: serde_json::Value = serde_json::from_str(&json()).unwrap();
        let list = list.as_array().unwrap();
        assert_eq!(list.len(), all().len());
        let keys = [
            "name",
            "type",
            "labels",
            "unit",
            "help",
            "collector",
            "tier",
            "plan",
            "implemented",
        ];
        for entry in list {
            let entry = entry.as_object().unwrap();
            assert_eq!(entry.keys().collect::<Vec<_>>(), keys);
        }
        let find = |name: &str| list.iter().find(|entry| entry["name"] == name).unwrap();
        let expected = serde_json::json!({
            "name": "age_pipeline_queued_duration_seconds",
            "type": "histogram",
            "labels": ["kind", "project", "ref", "source"],
            "unit": "s",
            "help": super::super::pipelines::QUEUED_DURATION.desc.help,
            "collector": "pipelines",
            "tier": "free",
            "plan": true,
            "implemented": true,
        });
        assert_eq!(*find("age_pipeline_queued_duration_seconds"), expected);
        assert_eq!(find("age_vulnerability_count")["tier"], "ultimate");
        assert_eq!(find("age_vulnerability_count")["implemented"], true);
        assert_eq!(find("age_cluster_members")["implemented"], true);
        assert_eq!(find("age_api_requests_total")["implemented"], true);
    }

    #[test]
    fn the_table_has_a_line_per_metric_and_straight_columns() {
        let table = table();
        let mut lines = table.lines();
        let head = lines.next().unwrap();
        let place = |line: &str, cell: &str| line.find(cell).unwrap();
        for (line, desc) in lines.zip(all()) {
            assert!(line.starts_with(desc.name));
            let kind = place(head, "TYPE");
            assert!(line[kind..].starts_with(desc.kind.as_str()), "{line}");
            let labels = desc.labels.join(",");
            assert!(line.ends_with(labels.as_str()), "{line}");
        }
        assert_eq!(table.lines().count(), 1 + all().len());
    }

    #[test]
    fn every_metric_has_a_row_in_the_section_of_its_collector() {
        for place in [COLLECTORS, EXPORTER] {
            assert_eq!(GUIDE.matches(place).count(), 1, "{place}");
        }
        let markdown = markdown();
        for desc in all() {
            let row = format!("| `{}` | {} |", desc.name, desc.kind.as_str());
            assert_eq!(markdown.matches(&row).count(), 1, "{}", desc.name);
        }
        for collector in Collector::ALL {
            let heading = format!("\n## {}\n\n", collector.desc().unwrap().title);
            assert_eq!(markdown.matches(&heading).count(), 1, "{collector:?}");
            for desc in collector.entries() {
                assert_eq!(desc.collector, collector, "{}", desc.name);
            }
        }
    }

    #[test]
    fn docs_metrics_md_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, markdown()).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            written == markdown(),
            "docs/metrics.md is old: UPDATE_DOCS=1 cargo test writes it"
        );
    }
}
