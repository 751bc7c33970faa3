//! What reading a large configuration costs.

use std::time::Duration;

use amazing_gitlab_exporter::config::Config;

use crate::report::{figure, longest, note};
use crate::role::Outcome;

const PROJECTS: usize = 50_000;
const TIMES: usize = 5;

/// Projects named one by one, as short and with settings of their own.
pub fn measure() -> Outcome {
    note(&format!("{PROJECTS} projects"));
    for (what, settings) in [
        ("", ""),
        (
            ", each with settings of its own",
            ", refs: {branches: {regexp: ^main$}}",
        ),
    ] {
        let mut text = "gitlab: {token: t}\nprojects:\n".to_owned();
        for number in 0..PROJECTS {
            text.push_str(&format!(
                "- {{name: group-{}/project-{number}{settings}}}\n",
                number % 100
            ));
        }
        let mut read = Ok(0);
        let (time, _): (Duration, u64) = longest(TIMES, || {
            read = Config::from_yaml(&text).map(|config| config.projects.len());
        });
        if read? != PROJECTS {
            return Err("projects are missing".into());
        }
        figure(
            &format!("the configuration is read{what}"),
            time.as_secs_f64(),
            "s",
            Some(2.0),
        );
        note(&format!("{} KiB", text.len() >> 10));
    }
    Ok(())
}
