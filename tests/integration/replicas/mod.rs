//! Several exporters that share the work by way of a real Redis.

mod faults;
mod handover;
mod rig;
mod seen;
mod start;
mod state_move;
mod store;
mod versions;

/// The lines of `docs/high-availability.md` that give GitLab's series one identity.
fn relabelling() -> String {
    let page = include_str!("../../../docs/high-availability.md");
    let (_, rest) = page
        .split_once("metric_relabel_configs:\n")
        .expect("it shows the relabelling");
    let lines = rest.lines().take_while(|line| !line.starts_with("```"));
    lines.map(|line| format!("{line}\n")).collect()
}
