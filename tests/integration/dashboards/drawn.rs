//! The panels as Grafana's own library makes them of real answers: headings and names of bars, cells
//! without a value, links. `drawn.mjs` beside this file does it.

use std::path::Path;
use std::process::Command;

use gitlab_dashboards::{Dashboard, Panel, Shape};
use serde_json::{Value, json};

use super::filled;
use crate::support::exporter::{real_time, write};
use crate::support::promql::PromQl;
use crate::support::tools::tool;
use crate::support::until;

/// Seconds that are asked for, and from point to point.
const LAST: i64 = 600;
const STEP: i64 = 15;

/// Gives every panel with its answers to Grafana's library, and fails on what is wrong with them.
pub async fn all_panels(promql: &PromQl, range: &str) {
    let Some(modules) = tool("node/node_modules") else {
        return;
    };
    let modules = modules.canonicalize().expect("a folder");
    // A scrape that comes too late takes all states away until the next one.
    until("all panels are as they are meant", async || {
        let mut panels = Vec::new();
        for dashboard in gitlab_dashboards::all() {
            for panel in dashboard.panels() {
                panels.push(answered(&dashboard, panel, promql, range).await);
            }
        }
        let said = drawn(&modules, &json!(panels).to_string());
        let all_is_well = said == format!("{} panels drawn\n", panels.len());
        all_is_well.then_some(()).ok_or(said)
    })
    .await;
}

#[test]
fn without_data_every_panel_shows_its_sentence() {
    let Some(modules) = tool("node/node_modules") else {
        return;
    };
    let modules = modules.canonicalize().expect("a folder");
    let mut panels = Vec::new();
    for dashboard in gitlab_dashboards::all() {
        for panel in dashboard.panels() {
            let answers = vec![Vec::new(); panel.queries().len()];
            panels.push(with_answers(&dashboard, panel, &answers, Vec::new()));
        }
    }
    let said = drawn(&modules, &json!(panels).to_string());
    assert_eq!(said, format!("{} panels drawn\n", panels.len()));
}

/// What `drawn.mjs` says of panels.
fn drawn(modules: &Path, panels: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    #[cfg(unix)]
    std::os::unix::fs::symlink(modules, folder.path().join("node_modules")).expect("a link");
    write(&folder, "drawn.mjs", include_str!("drawn.mjs"));
    write(&folder, "panels.json", panels);
    let ran = Command::new("node")
        .args(["drawn.mjs", "panels.json"])
        .current_dir(folder.path())
        .output()
        .expect("node runs");
    let errors = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{errors}");
    String::from_utf8_lossy(&ran.stdout).into_owned()
}

/// A panel, what Prometheus answers to its queries, and what may be missing then.
async fn answered(dashboard: &Dashboard, panel: &Panel, promql: &PromQl, range: &str) -> Value {
    let mut answers = Vec::new();
    let mut without_data = Vec::new();
    for query in panel.queries() {
        let text = filled(dashboard, &query.expr, range);
        let data = if query.over_time {
            let end = real_time() / 1000;
            let [start, end, step] = [end - LAST, end, STEP].map(|it| it.to_string());
            let parameters = [
                ("query", text.as_str()),
                ("start", &start),
                ("end", &end),
                ("step", &step),
            ];
            promql.api("/api/v1/query_range", &parameters).await
        } else {
            promql.api("/api/v1/query", &[("query", &text)]).await
        };
        let result = data["result"].as_array().cloned().unwrap_or_default();
        if result.is_empty() {
            without_data.push(query.legend.clone());
        }
        answers.push(result);
    }
    with_answers(dashboard, panel, &answers, without_data)
}

/// A panel and its answers, as `drawn.mjs` takes them.
fn with_answers(
    dashboard: &Dashboard,
    panel: &Panel,
    answers: &[Vec<Value>],
    without_data: Vec<String>,
) -> Value {
    let json = panel.json(&|expr| dashboard.written_out(expr));
    // Statuses and buckets have names of which not each must be there.
    let has_rows = matches!(
        panel.shape(),
        Shape::Table | Shape::BarChart | Shape::Matrix
    );
    let optional = if has_rows {
        without_data
    } else {
        let overrides = json["fieldConfig"]["overrides"].as_array();
        let names = overrides.into_iter().flatten();
        names
            .filter_map(|it| it["matcher"]["options"].as_str())
            .map(str::to_owned)
            .collect()
    };
    json!({
        "name": format!("{}: {}", dashboard.name(), panel.title()),
        "panel": json,
        "headings": panel.headings().collect::<Vec<_>>(),
        "optional": optional,
        "answers": answers,
    })
}
