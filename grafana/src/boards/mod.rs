//! The dashboards, one file each.

pub mod ci_cd_analytics;
pub mod dora_metrics;
pub mod exporter_health;
pub mod job_performance;
pub mod merge_request_analytics;
pub mod pipeline_overview;
pub mod repository_analytics;

use crate::{Panel, Shape};

/// Where a day of bars is asked for.
const DAY: &str = "1d";

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
    Panel::new(Shape::Stat, title, description).sized(6, 5)
}

fn gauge(title: &'static str, description: &'static str) -> Panel {
    Panel::new(Shape::Gauge, title, description).sized(6, 7)
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
    Panel::new(Shape::Distribution, title, description).query(
        format!("sum by (le) (increase({histogram}_bucket{{..}}[$__range]))"),
        "{{le}}",
    )
}
