//! Writes the JSON of every dashboard into `grafana/dashboards`.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboards");
    for dashboard in gitlab_dashboards::all() {
        let path = folder.join(dashboard.file_name());
        if let Err(error) = std::fs::write(&path, dashboard.text()) {
            eprintln!("{}: {error}", path.display());
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
