//! How dashboards look before anything is asked: ranges, colours, widths, the wall.

use std::collections::BTreeSet;

use gitlab_dashboards::{Dashboard, Panel, Shape, fixed_colours};
use serde_json::Value;

/// Dashboards about figures of weeks, each with the reason that its range is not a day.
const LONGER: [(&str, &str); 3] = [
    ("dora-metrics", "figures are of 30 days"),
    ("merge-request-analytics", "few merge requests end in a day"),
    ("repository-analytics", "commits are shown by weeks"),
];
/// Pixels of a column of the grid in a window of 1600 pixels, without what stands between panels.
const PIXELS: usize = (1600 - 32) / 24;
/// Pixels of a panel's frame and its scroll bar.
const FRAME: usize = 32;

/// Every panel with its JSON.
fn panels(mut each: impl FnMut(&Dashboard, &Panel, &Value)) {
    for dashboard in gitlab_dashboards::all() {
        for panel in dashboard.panels() {
            let json = panel.json(&|expr| dashboard.written_out(expr));
            each(&dashboard, panel, &json);
        }
    }
}

#[test]
fn they_open_on_a_day_but_for_those_about_weeks() {
    for dashboard in gitlab_dashboards::all() {
        let is_longer = LONGER.iter().any(|(name, _)| *name == dashboard.name());
        let from = if is_longer { "now-30d" } else { "now-24h" };
        assert_eq!(
            dashboard.json()["time"]["from"],
            from,
            "{}",
            dashboard.name()
        );
    }
}

/// A branch `1.10` is not 1.1, and a commit `322e2723` is not infinite.
#[test]
fn columns_of_labels_are_text_whatever_they_look_like() {
    let labels = ["Project", "Ref", "Commit", "Job", "Environment", "Status"];
    let mut seen = BTreeSet::new();
    panels(|dashboard, panel, json| {
        let overrides = json["fieldConfig"]["overrides"].as_array();
        for label in labels {
            let of_label = overrides.into_iter().flatten();
            let of_label: Vec<&Value> = of_label
                .filter(|it| it["matcher"]["options"] == label)
                .collect();
            if of_label.is_empty() {
                continue;
            }
            let properties = of_label.iter().flat_map(|it| it["properties"].as_array());
            let mut units = properties.flatten().filter(|it| it["id"] == "unit");
            let name = format!("{}: {}: {label}", dashboard.name(), panel.title());
            assert!(units.any(|unit| unit["value"] == "string"), "{name}");
            seen.insert(label);
        }
    });
    assert_eq!(seen, labels.into());
}

#[test]
fn numbers_tables_and_bar_charts_ask_for_one_moment() {
    panels(|_, panel, json| {
        let of_one = matches!(
            panel.shape(),
            Shape::Stat | Shape::Pie | Shape::Distribution
        );
        let targets = json["targets"].as_array().expect("targets");
        let all = targets.iter().all(|target| target["instant"] == true);
        assert!(all || !of_one, "{}", panel.title());
    });
}

/// A bar for a day is empty on a dashboard of some hours: such panels have a time of their own, and say
/// what is needed where that does not hold.
#[test]
fn bars_of_days_and_weeks_stand_on_their_days_and_have_a_time_of_their_own() {
    let mut seen = 0;
    panels(|dashboard, panel, json| {
        let name = format!("{}: {}", dashboard.name(), panel.title());
        let period = json["interval"].as_str().unwrap_or_default();
        if panel.shape() != Shape::Bars || !period.ends_with('d') {
            return;
        }
        seen += 1;
        assert!(json["timeFrom"].is_string(), "{name}");
        let custom = &json["fieldConfig"]["defaults"]["custom"];
        assert_eq!(custom["barAlignment"], 1, "{name}");
        let empty = json["fieldConfig"]["defaults"]["noValue"].as_str();
        assert!(empty.is_some_and(|text| text.contains("choose")), "{name}");
        for query in panel.queries() {
            let ahead = format!("[{period}] offset -{period}");
            let counts = query.expr.contains("increase(") || query.expr.contains(":increase5m");
            assert!(
                !counts || query.expr.contains(&ahead),
                "{name}: {}",
                query.expr
            );
        }
    });
    assert!(seen > 5, "{seen}");
}

/// Without the rules such a panel is empty though something happened.
#[test]
fn panels_of_recorded_series_ask_for_the_rules_when_they_are_empty() {
    let mut seen = 0;
    panels(|_, panel, json| {
        let mut queries = panel.queries().iter();
        let reads_recorded = queries.any(|query| query.expr.contains("age:"));
        let sentence = json["fieldConfig"]["defaults"]["noValue"].as_str();
        let asks = sentence.is_some_and(|text| text.ends_with("Are the recording rules loaded?"));
        assert_eq!(asks, reads_recorded, "{}", panel.title());
        seen += usize::from(asks);
    });
    assert!(seen > 20, "{seen}");
}

#[test]
fn values_of_statuses_and_tiers_have_their_own_colour_wherever_they_are_shown() {
    let mut seen = BTreeSet::new();
    panels(|dashboard, panel, json| {
        let overrides = json["fieldConfig"]["overrides"]
            .as_array()
            .expect("overrides");
        let has = |name: &str, property: &str| {
            overrides.iter().any(|it| {
                let properties = it["properties"].as_array().into_iter().flatten();
                it["matcher"]["options"] == name
                    && properties.into_iter().any(|it| it["id"] == property)
            })
        };
        for query in panel
            .queries()
            .iter()
            .filter(|query| query.legend.contains("{{"))
        {
            for label in query.legend.split("{{").skip(1) {
                let label = label.split("}}").next().unwrap_or_default();
                let Some(colours) = fixed_colours(label) else {
                    continue;
                };
                seen.insert(label.to_owned());
                for (value, _) in colours {
                    let name = format!("{}: {}: {value}", dashboard.name(), panel.title());
                    assert!(has(value, "color"), "{name}");
                }
            }
        }
        for heading in [
            "Status",
            "Last status",
            "Result",
            "Tier",
            "Severity",
            "State",
            "Type",
        ] {
            let is_shown = panel.headings().any(|it| it == heading);
            assert!(
                !is_shown || has(heading, "mappings"),
                "{}: {heading}",
                panel.title()
            );
        }
    });
    assert!(
        seen.contains("status") && seen.contains("environment_tier"),
        "{seen:?}"
    );
}

#[test]
fn no_two_tiers_severities_or_types_have_one_colour_and_success_is_not_red() {
    for label in [
        "environment_tier",
        "tier",
        "outcome",
        "severity",
        "runner_type",
        "state",
    ] {
        let colours = fixed_colours(label).expect("it has colours");
        // Stopped and locked are both over.
        let names: BTreeSet<&str> = colours.iter().map(|(_, colour)| *colour).collect();
        let shared = if label == "state" { 2 } else { 0 };
        assert_eq!(names.len() + shared, colours.len(), "{label}");
    }
    for label in ["status", "outcome"] {
        let colours = fixed_colours(label).expect("it has colours");
        let of = |value: &str| {
            colours
                .iter()
                .find(|(it, _)| *it == value)
                .map(|(_, colour)| *colour)
        };
        assert_eq!(of("success"), Some("green"));
        assert!(of("error").is_some_and(|colour| colour.ends_with("red")));
    }
}

#[test]
fn series_without_a_fixed_colour_take_one_by_their_place() {
    panels(|_, panel, json| {
        let mode = &json["fieldConfig"]["defaults"]["color"]["mode"];
        assert!(mode != "palette-classic-by-name", "{}", panel.title());
    });
}

#[test]
fn axes_choose_their_decimals() {
    panels(|_, panel, json| {
        let has_axis = panel.shape().over_time() || panel.shape() == Shape::BarChart;
        let decimals = &json["fieldConfig"]["defaults"]["decimals"];
        assert_eq!(decimals.is_null(), has_axis, "{}", panel.title());
        let overrides = json["fieldConfig"]["overrides"]
            .as_array()
            .into_iter()
            .flatten();
        let properties = overrides.flat_map(|it| it["properties"].as_array().into_iter().flatten());
        let mut ids = properties.map(|property| &property["id"]);
        assert!(
            !has_axis || ids.all(|id| id != "decimals"),
            "{}",
            panel.title()
        );
    });
}

#[test]
fn columns_of_tables_fit_into_1600_pixels() {
    let mut wide = Vec::new();
    panels(|dashboard, panel, _| {
        if panel.shape() != Shape::Table {
            return;
        }
        let (width, _) = panel.size();
        let room = width as usize * PIXELS - FRAME;
        if panel.columns_width() > room {
            wide.push(format!(
                "{}: {} needs {} of {room}",
                dashboard.name(),
                panel.title(),
                panel.columns_width()
            ));
        }
    });
    assert!(wide.is_empty(), "{}", wide.join("\n"));
}

#[test]
fn the_wall_begins_with_tiles_and_what_is_red() {
    let all = gitlab_dashboards::all();
    let wall = all.first().expect("a dashboard");
    assert_eq!(wall.name(), "pipeline-overview");
    let mut panels = wall.panels();
    for title in [
        "Red default branches",
        "Success rate",
        "Running pipelines",
        "Waiting jobs",
        "Median duration",
        "P95 duration",
    ] {
        let tile = panels.next().expect("a tile");
        assert_eq!((tile.title(), tile.shape()), (title, Shape::Stat));
    }
    let json = wall.json();
    let places = json["panels"].as_array().expect("panels");
    let end = |title: &str| {
        let panel = places.iter().find(|panel| panel["title"] == title);
        let place = &panel.expect("it is there")["gridPos"];
        place["y"].as_u64().expect("a number") + place["h"].as_u64().expect("a number")
    };
    // 1080 pixels without Grafana's head hold some 24 units of 38 pixels.
    for title in ["Failed pipelines", "Failed jobs"] {
        assert!(end(title) <= 24, "{title} ends at {}", end(title));
    }
}
