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
    let alike = |_| ", refs: {branches: {regexp: ^main$}}".to_owned();
    let different = |number| format!(", refs: {{tags: {{most_recent: {number}}}}}");
    for (what, settings) in [
        ("", &(|_| String::new()) as &dyn Fn(usize) -> String),
        (", each with the same settings of its own", &alike),
        (", each with different settings", &different),
    ] {
        let mut text = "gitlab: {token: t}\nprojects:\n".to_owned();
        for number in 0..PROJECTS {
            text.push_str(&format!(
                "- {{name: group-{}/project-{number}{}}}\n",
                number % 100,
                settings(number)
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
