//! The dashboards, one file each.

pub mod ci_cd_analytics;
pub mod dora_metrics;
pub mod environments_and_deployments;
pub mod exporter_health;
pub mod job_performance;
pub mod merge_request_analytics;
pub mod pipeline_overview;
pub mod repository_analytics;

use crate::recorded::increase;
use crate::{Panel, Shape};

/// What a panel with a bar for each day says on a time in which there is none.
const NO_DAY: &str = "Nothing yet. A bar stands for a whole day: choose two days or more";
/// A day from a bar on.
const THAT_DAY: &str = "1d] offset -1d";
/// How many points a line has of which each looks back over the whole time range.
const POINTS: u32 = 60;

/// The default branches of the chosen projects, with the labels of refs.
const DEFAULT_BRANCHES: &str = "max by (project, ref, kind) (label_replace(label_replace(age_repository_info{project=~\"$project\"}, \
     \"ref\", \"$1\", \"default_branch\", \"(.+)\"), \"kind\", \"branch\", \"\", \"\"))";

fn lines(title: &'static str, description: &'static str) -> Panel {
    Panel::new(Shape::Lines, title, description)
}

fn areas(title: &'static str, description: &'static str) -> Panel {
    Panel::new(Shape::Areas, title, description)
}

fn bars(title: &'static str, description: &'static str) -> Panel {
    Panel::new(Shape::Bars, title, description)
}

fn stat(title: &'static str, description: &'static str) -> Panel {
    Panel::new(Shape::Stat, title, description).sized(6, 4)
}

fn bar_chart(title: &'static str, description: &'static str) -> Panel {
    Panel::new(Shape::BarChart, title, description)
}

fn table(title: &'static str, description: &'static str) -> Panel {
    Panel::new(Shape::Table, title, description)
}

fn matrix(title: &'static str, description: &'static str) -> Panel {
    Panel::new(Shape::Matrix, title, description)
}

fn pie(title: &'static str, description: &'static str) -> Panel {
    Panel::new(Shape::Pie, title, description)
}

/// A bar for each bucket of a histogram, over the whole time range.
fn distribution(title: &'static str, description: &'static str, histogram: &str) -> Panel {
    let buckets = increase(&format!("{histogram}_bucket"), "..", "$__range");
    Panel::new(Shape::Distribution, title, description)
        .query(format!("sum by (le) ({buckets})"), "{{le}}")
}

/// A quantile of a histogram over the whole time range before each point, by labels. `..` stands for the
/// selector.
fn quantile(share: &str, histogram: &str, by: &[&str]) -> String {
    let mut labels = vec!["le"];
    labels.extend(by);
    let buckets = increase(&format!("{histogram}_bucket"), "..", "$__range");
    format!(
        "histogram_quantile({share}, sum by ({}) ({buckets})) >= 0",
        labels.join(", ")
    )
}

/// Finished pipelines with these statuses.
fn finished(statuses: &str, window: &str) -> String {
    let matchers = format!(".., status=~\"{statuses}\"");
    increase("age_pipeline_finished_total", &matchers, window)
}

/// The share of a status in the pipelines that succeeded or failed; 0 where there are others alone.
/// Canceled and skipped ones are left out.
fn share_of(status: &str, window: &str) -> String {
    let both = finished("success|failed", window);
    format!(
        "(sum({}) or 0 * sum({both})) / (sum({both}) > 0)",
        finished(status, window)
    )
}
