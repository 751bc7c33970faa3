//! How each type of panel looks: what is the same on every dashboard.

use serde_json::{Value, json};

use crate::Shape;

/// Values of a label, each with its colour.
pub(crate) type Colours = &'static [(&'static str, &'static str)];

const GREY: &str = "#8e8e99";
const LIGHT_GREY: &str = "#c4c4cd";

/// Statuses of pipelines, jobs, deployments and test cases, in GitLab's colours.
const STATUSES: Colours = &[
    ("success", "green"),
    ("failed", "red"),
    ("error", "dark-red"),
    ("canceled", GREY),
    ("canceling", GREY),
    ("skipped", LIGHT_GREY),
    ("running", "blue"),
    ("pending", "orange"),
    ("waiting_for_resource", "light-orange"),
    ("waiting_for_callback", "light-orange"),
    ("preparing", "light-blue"),
    ("created", "#a7b5c9"),
    ("manual", "purple"),
    ("scheduled", "light-purple"),
    ("blocked", "dark-orange"),
];

/// Tiers of environments.
const TIERS: Colours = &[
    ("production", "purple"),
    ("staging", "blue"),
    ("testing", "yellow"),
    ("development", "#1f9e89"),
    ("other", GREY),
];

/// Labels whose values have the same colour on every dashboard.
const FIXED: &[(&str, Colours)] = &[
    ("status", STATUSES),
    ("environment_tier", TIERS),
    ("tier", TIERS),
    (
        "outcome",
        &[
            ("success", "green"),
            ("partial", "orange"),
            ("error", "red"),
        ],
    ),
    (
        "severity",
        &[
            ("critical", "dark-red"),
            ("high", "red"),
            ("medium", "orange"),
            ("low", "yellow"),
            ("info", "blue"),
            ("unknown", GREY),
        ],
    ),
    (
        "runner_type",
        &[
            ("instance", "blue"),
            ("group", "purple"),
            ("project", "orange"),
            ("unknown", GREY),
        ],
    ),
    (
        "state",
        &[
            ("opened", "green"),
            ("merged", "purple"),
            ("closed", "red"),
            ("locked", GREY),
            ("available", "green"),
            ("stopping", "orange"),
            ("stopped", GREY),
        ],
    ),
];

/// The fixed colours of a label's values.
pub fn fixed_colours(label: &str) -> Option<Colours> {
    let (_, colours) = FIXED.iter().find(|(name, _)| *name == label)?;
    Some(colours)
}

/// How values are coloured that have no fixed colour: series by their place in the panel, for colours
/// by name collide.
pub(crate) fn colour_mode(shape: Shape) -> &'static str {
    match shape {
        Shape::Stat | Shape::Table => "thresholds",
        Shape::Matrix | Shape::Distribution => "continuous-BlPu",
        _ => "palette-classic",
    }
}

/// What only this type of panel knows of its fields.
pub(crate) fn custom(shape: Shape, bars_begin: bool) -> Option<Value> {
    let stacking = if shape == Shape::Lines {
        "none"
    } else {
        "normal"
    };
    let over_time = |style: &str, fill: u32| {
        json!({
            "drawStyle": style, "lineWidth": 1, "fillOpacity": fill, "showPoints": "auto",
            "pointSize": 4, "spanNulls": 21_600_000, "axisPlacement": "auto",
            "stacking": {"mode": stacking, "group": "A"},
            // After its time, or around it.
            "barAlignment": i32::from(bars_begin),
        })
    };
    match shape {
        Shape::Lines => Some(over_time("line", 5)),
        Shape::Areas => Some(over_time("line", 40)),
        Shape::Bars => Some(over_time("bars", 80)),
        Shape::BarChart => Some(json!({"lineWidth": 1, "fillOpacity": 80})),
        Shape::Table => Some(json!({
            "align": "auto", "inspect": false, "filterable": true,
            "cellOptions": {"type": "auto"},
        })),
        Shape::Matrix => Some(json!({
            "align": "center", "inspect": false, "filterable": false, "minWidth": 30,
            "cellOptions": {"type": "color-background", "mode": "basic"},
        })),
        _ => None,
    }
}

/// The panel's own settings.
pub(crate) fn options(shape: Shape, beside: bool) -> Value {
    let legend =
        json!({"displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": []});
    let tooltip = json!({"mode": "multi", "sort": "desc"});
    let last = json!({"calcs": ["lastNotNull"], "fields": "", "values": false});
    match shape {
        Shape::Lines | Shape::Areas | Shape::Bars => {
            json!({"legend": legend, "tooltip": tooltip})
        }
        Shape::Stat => json!({
            "reduceOptions": last, "colorMode": "value", "graphMode": "none",
            "justifyMode": "auto", "textMode": "auto", "orientation": "auto",
            "wideLayout": true, "showPercentChange": false,
            "percentChangeColorMode": "standard",
        }),
        Shape::BarChart => json!({
            "legend": legend, "tooltip": tooltip,
            "orientation": if beside { "horizontal" } else { "auto" },
            "stacking": if beside { "none" } else { "normal" },
            "showValue": if beside { "auto" } else { "never" },
            "barWidth": 0.8, "groupWidth": 0.7, "fullHighlight": false,
            "xTickLabelRotation": 0, "xTickLabelMaxLength": 40, "xTickLabelSpacing": 0,
        }),
        Shape::Distribution => json!({
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": false, "calcs": []},
            "reduceOptions": last, "orientation": "vertical", "displayMode": "gradient",
            "valueMode": "text", "namePlacement": "auto", "showUnfilled": false,
            "sizing": "auto", "minVizHeight": 16, "minVizWidth": 8, "maxVizHeight": 300,
        }),
        Shape::Pie => json!({
            "legend": {"displayMode": "table", "placement": "right", "showLegend": true,
                       "calcs": [], "values": ["value", "percent"]},
            "tooltip": tooltip, "reduceOptions": last, "pieType": "donut", "sort": "desc",
            "displayLabels": [],
        }),
        Shape::Table | Shape::Matrix => {
            json!({"showHeader": true, "cellHeight": "sm", "frameIndex": 0})
        }
    }
}
