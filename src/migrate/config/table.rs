//! Every setting of the old program with its counterpart, as a table for the documents.

use super::super::keys::{GLOBAL, PROJECT, PROJECT_ENTRY, WILDCARD_ENTRY};
use super::{global, projects};

/// What a setting is here, and what is different.
struct Here {
    new: String,
    different: String,
}

impl Here {
    fn new(new: &str, different: &str) -> Self {
        Self {
            new: format!("`{new}`"),
            different: different.to_owned(),
        }
    }

    fn none(why: &str) -> Self {
        Self {
            new: "—".to_owned(),
            different: why.to_owned(),
        }
    }
}

/// The table in Markdown.
#[must_use]
pub fn settings_table() -> String {
    let mut text =
        String::from("| gitlab-ci-pipelines-exporter | here | different |\n|---|---|---|\n");
    let mut row = |old: &str, here: &Here| {
        let different = here.different.replace('|', "\\|");
        text.push_str(&format!("| `{old}` | {} | {different} |\n", here.new));
    };
    for (old, _) in GLOBAL {
        row(old, &of_all(old));
    }
    for (old, _) in PROJECT {
        row(&format!("project_defaults.{old}"), &of_project(old));
    }
    for (old, _) in PROJECT_ENTRY {
        row(
            &format!("projects[].{old}"),
            &Here::new(&format!("projects[].{old}"), ""),
        );
    }
    for (old, _) in WILDCARD_ENTRY {
        let different = match *old {
            "owner.include_subgroups" => "default true, not false",
            "owner.kind" => {
                "default `group`; without it the old exporter searches all visible projects"
            }
            _ => "",
        };
        row(
            &format!("wildcards[].{old}"),
            &Here::new(&format!("wildcards[].{old}"), different),
        );
    }
    text
}

fn of_all(old: &str) -> Here {
    let same = global::SAME.iter().find(|(known, _)| *known == old);
    let left = global::LEFT.iter().find(|(known, _)| *known == old);
    match (old, same, left) {
        ("log.level", ..) => Here::new("log.level", "`warning` is `warn`"),
        ("gitlab.token", ..) => Here::new(
            "AGE_GITLAB_TOKEN",
            "never copied: set the variable, or `gitlab.token_file`; the scope `read_api` is enough",
        ),
        ("server.webhook.secret_token", ..) => Here::new(
            "AGE_SERVER_WEBHOOK_SECRET_TOKEN",
            "never copied: set the variable",
        ),
        ("opentelemetry.grpc_endpoint" | "otlp.grpc_endpoint", ..) => {
            Here::new("otel.traces.endpoint", "with `http://` before it")
        }
        ("pull.metrics.interval_seconds", ..) => Here::new(
            "collectors.pipelines.interval_seconds",
            "also of jobs, test reports, variables and environments; quiet projects are polled less often",
        ),
        ("pull.environments_from_projects.interval_seconds", ..) => Here::new(
            "collectors.environments.interval_seconds",
            "the shorter of this and `pull.metrics.interval_seconds`",
        ),
        ("gitlab.maximum_requests_per_second", Some((_, new)), _) => {
            Here::new(new, "default 10, not 1")
        }
        ("gitlab.burstable_requests_per_second", Some((_, new)), _) => {
            Here::new(new, "default 20, not 5")
        }
        ("pull.projects_from_wildcards.interval_seconds", Some((_, new)), _) => {
            Here::new(new, "default 5 minutes, not 30")
        }
        (_, Some((_, new)), _) => Here::new(new, ""),
        (_, None, Some((_, why))) => Here::none(why),
        ("server.enable_pprof", ..) => Here::none("not available; use an external profiler"),
        ("server.metrics.enabled", ..) => Here::none("always on"),
        _ => Here::none(
            "polling cannot be switched off; with webhooks, reliable projects are polled less often",
        ),
    }
}

fn of_project(old: &str) -> Here {
    let of = |table: &[(&'static str, &'static str)]| {
        let found = table.iter().find(|(known, _)| *known == old);
        found.map(|(_, new)| *new)
    };
    let default = projects::DEFAULTS.iter().find(|(known, ..)| *known == old);
    let default = default.map_or_else(String::new, |(_, _, value)| {
        format!(
            "another default, so `migrate` writes `{}`",
            value.replace('|', "\\|")
        )
    });
    if let Some(new) = of(&projects::SAME) {
        return Here::new(
            &format!("project_defaults.{new}"),
            &default.replace("\\|", "|"),
        );
    }
    if let Some(new) = of(&projects::AGES) {
        return Here::new(&format!("project_defaults.{new}"), "in days");
    }
    if let Some(new) = of(&projects::FOR_ALL) {
        return Here::new(new, "for all projects");
    }
    match (old, of(&projects::LEFT)) {
        ("pull.refs.merge_requests.exclude_non_opened", _) => Here::new(
            "project_defaults.refs.merge_requests.states",
            "`true` is `[opened]`, `false` is `[all]`",
        ),
        ("pull.pipeline.variables.enabled", _) => {
            Here::new("project_defaults.collectors.variables.enabled", "")
        }
        ("pull.pipeline.variables.regexp", _) => Here::new(
            "collectors.variables.regexp",
            "for all projects; no default, since values may be secrets",
        ),
        ("pull.pipeline.jobs.runner_description.enabled", _) => Here::new(
            "collectors.jobs.runner_description_regexp",
            "for all projects; empty = off; a label of `age_job_runner_info`, with the tags",
        ),
        (projects::AGGREGATION, _) => Here::new(
            "collectors.jobs.runner_description_regexp",
            "for all projects; the label is what the expression matches, not the expression",
        ),
        (_, Some(why)) => Here::none(why),
        (_, None) => Here::none(""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::json_schema;
    use crate::migrate::mapping_table;

    #[test]
    fn every_row_says_something_and_names_settings_that_exist() {
        let schema = json_schema();
        for line in settings_table().lines().skip(2) {
            let cells: Vec<&str> = line.split(" | ").collect();
            let [old, new, different] = cells.as_slice() else {
                panic!("{line}")
            };
            assert!(*new != "—" || different.len() > 5, "{old} has no reason");
            let path = new.trim_matches('`');
            if path.contains('.') {
                let pointer = path.replace("[]", ".items").replace('.', "/properties/");
                let pointer =
                    format!("/properties/{pointer}").replace("/properties/items", "/items");
                let found =
                    schema.pointer(&pointer).is_some() || path.starts_with("wildcards[].owner");
                assert!(found, "{path} is not a setting");
            }
        }
    }

    #[test]
    fn the_document_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/migration.md");
        let mut document = std::fs::read_to_string(path).unwrap();
        let before = document.clone();
        for (name, table) in [("settings", settings_table()), ("metrics", mapping_table())] {
            let begin = format!("<!-- {name}: written by UPDATE_DOCS=1 cargo test --lib -->\n\n");
            let end = format!("\n<!-- end of {name} -->");
            let start = document.find(&begin).unwrap() + begin.len();
            let stop = document.find(&end).unwrap();
            document.replace_range(start..stop, &table);
        }
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, &document).unwrap();
        } else {
            assert_eq!(
                document, before,
                "docs/migration.md is old: UPDATE_DOCS=1 cargo test --lib writes it"
            );
        }
    }
}
