//! What reading a large configuration costs.

use std::time::Duration;

use amazing_gitlab_exporter::config::Config;

use crate::report::{figure, longest, note};
use crate::role::Outcome;

const PROJECTS: usize = 50_000;
const TIMES: usize = 5;

/// The largest file that is read.
const LARGEST: usize = 1 << 20;

/// Projects named one by one, as short and with settings of their own.
pub fn measure() -> Outcome {
    let alike = |_| ", refs: {branches: {regexp: ^main$}}".to_owned();
    let different = |number| format!(", refs: {{tags: {{most_recent: {number}}}}}");
    read("projects", &with(&|_| String::new(), usize::MAX))?;
    read("projects with the same settings", &with(&alike, usize::MAX))?;
    // Of these, as many as there can be.
    read(
        "projects with different settings",
        &with(&different, LARGEST),
    )
}

/// The lines of projects with these settings, up to so many bytes.
fn with(settings: &dyn Fn(usize) -> String, most: usize) -> Vec<String> {
    let mut size = 0;
    let lines = (0..PROJECTS).map(|number| {
        let (group, settings) = (number % 100, settings(number));
        format!("- {{name: group-{group}/project-{number}{settings}}}\n")
    });
    lines
        .take_while(|line| {
            size += line.len();
            size <= most
        })
        .collect()
}

fn read(what: &str, projects: &[String]) -> Outcome {
    let text = format!("gitlab: {{token: t}}\nprojects:\n{}", projects.concat());
    let mut read = Ok(0);
    let (time, _): (Duration, u64) = longest(TIMES, || {
        read = Config::from_yaml(&text).map(|config| config.projects.len());
    });
    if read? != projects.len() {
        return Err("projects are missing".into());
    }
    figure(
        &format!("a configuration of {} {what}", projects.len()),
        time.as_secs_f64(),
        "s",
        Some(2.0),
    );
    note(&format!("{} KiB", text.len() >> 10));
    Ok(())
}
