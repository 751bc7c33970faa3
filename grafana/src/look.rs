//! How each type of panel looks: what is the same on every dashboard.

use serde_json::{Value, json};

use crate::Shape;

/// Statuses of pipelines and jobs, in GitLab's colours.
pub(crate) const STATUSES: [(&str, &str); 7] = [
    ("success", "green"),
    ("failed", "red"),
    ("canceled", "#8e8e99"),
    ("skipped", "#c4c4cd"),
    ("running", "blue"),
    ("pending", "orange"),
    ("manual", "purple"),
];

/// How values are coloured.
pub(crate) fn colour_mode(shape: Shape) -> &'static str {
    match shape {
        Shape::Stat | Shape::Gauge | Shape::Table => "thresholds",
        Shape::Matrix | Shape::Distribution => "continuous-BlPu",
        // The parts of a pie have a name only once they are drawn.
        Shape::Pie => "palette-classic",
        _ => "palette-classic-by-name",
    }
}

/// What only this type of panel knows of its fields.
pub(crate) fn custom(shape: Shape) -> Option<Value> {
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
            "reduceOptions": last, "colorMode": "value", "graphMode": "area",
            "justifyMode": "auto", "textMode": "auto", "orientation": "auto",
            "wideLayout": true, "showPercentChange": false,
            "percentChangeColorMode": "standard",
        }),
        Shape::Gauge => json!({
            "reduceOptions": last, "orientation": "auto", "sizing": "auto",
            "minVizHeight": 75, "minVizWidth": 75,
            "showThresholdLabels": false, "showThresholdMarkers": true,
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
