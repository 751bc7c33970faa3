//! Writes the JSON of every dashboard into `grafana/dashboards`, and the recording rules that they need
//! into `otel/prometheus/rules`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let rules = folder.join("../otel/prometheus/rules/dashboards.yml");
    let dashboards = gitlab_dashboards::all().into_iter().map(|dashboard| {
        let path = folder.join("dashboards").join(dashboard.file_name());
        (path, dashboard.text())
    });
    let files = dashboards.chain([(rules, gitlab_dashboards::recorded::rules())]);
    let written: Result<Vec<()>, String> = files.map(write).collect();
    match written {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn write((path, text): (PathBuf, String)) -> Result<(), String> {
    std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
}
