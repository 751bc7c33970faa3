//! `migrate`: from gitlab-ci-pipelines-exporter.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;

use super::CliError;
use crate::config::Sources;
use crate::files;
use crate::migrate::{self, MigrateError, Names, Report};

/// Most bytes of a file: large dashboards.
const MAX_FILE: u64 = 16 << 20;
/// The file that the old program reads if none is named.
const OLD_DEFAULT: &str = "gitlab-ci-pipelines-exporter.yml";
/// The name of the new configuration in the folder of `--output`.
const NEW_NAME: &str = "amazing-gitlab-exporter.yml";

/// What to migrate.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Configuration of gitlab-ci-pipelines-exporter (v0.5 or v0.6); without it and without --rules and
    /// --dashboard, the file that GCPE_CONFIG names
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Rule files of Prometheus whose expressions are rewritten
    #[arg(long, value_name = "FILE", num_args = 1..)]
    rules: Vec<PathBuf>,
    /// Grafana dashboards whose expressions are rewritten
    #[arg(long, value_name = "FILE", num_args = 1..)]
    dashboard: Vec<PathBuf>,
    /// Folder to write the new files to; existing files are never overwritten. Without it the new file is
    /// printed
    #[arg(long, short, value_name = "FOLDER")]
    output: Option<PathBuf>,
}

/// A new file.
struct New {
    name: PathBuf,
    from: String,
    text: String,
    report: Report,
    is_configuration: bool,
}

/// Migrates the files; the new ones are printed or written, the report goes to `notes`.
pub(super) fn run(
    arguments: &Arguments,
    sources: &Sources,
    out: &mut dyn Write,
    notes: &mut dyn Write,
) -> Result<(), CliError> {
    let new = all(arguments, sources)?;
    if arguments.output.is_none() && new.len() > 1 {
        return Err(CliError::Migrate(
            "several files cannot be printed at once; name a folder with --output".to_owned(),
        ));
    }
    let mut names = BTreeSet::new();
    if let Some(twice) = new.iter().find(|one| !names.insert(one.name.clone())) {
        return Err(CliError::Migrate(format!(
            "two files are called {}; migrate one of them by itself",
            twice.name.display()
        )));
    }
    for one in &new {
        match &arguments.output {
            None => out.write_all(one.text.as_bytes())?,
            Some(folder) => write(folder, one, out)?,
        }
        write!(notes, "{}", summary(one))?;
    }
    Ok(())
}

fn all(arguments: &Arguments, sources: &Sources) -> Result<Vec<New>, CliError> {
    let environment = &sources.environment;
    let mut new = Vec::new();
    let is_asked = arguments.rules.is_empty() && arguments.dashboard.is_empty();
    let named = environment.predecessors_file().map(PathBuf::from);
    // As the old program is started: `--config` names its file there.
    let file = match arguments.file.as_ref().or(sources.file.as_ref()) {
        None if is_asked => Some(named.unwrap_or_else(|| PathBuf::from(OLD_DEFAULT))),
        other => other.cloned(),
    };
    if let Some(path) = file {
        let (from, text) = read(&path)?;
        let variables: Vec<&str> = environment.predecessors_variables().collect();
        let done = migrate::configuration(&from, &text, &variables).map_err(migrated)?;
        new.push(New {
            name: PathBuf::from(NEW_NAME),
            from,
            text: done.text,
            report: done.report,
            is_configuration: true,
        });
    }
    let mut names = Names::default();
    let rules = arguments.rules.iter().map(|path| Ok((path, read(path)?)));
    let rules: Vec<_> = rules.collect::<Result<_, CliError>>()?;
    for (_, (from, text)) in &rules {
        let recorded = migrate::recorded_names(from, text).map_err(migrated)?;
        names.recorded.extend(recorded);
    }
    for (path, (from, text)) in rules {
        let done = migrate::rules(&from, &text, &names).map_err(migrated)?;
        new.push(file_of(path, from, done));
    }
    for path in &arguments.dashboard {
        let (from, text) = read(path)?;
        let done = migrate::dashboard(&from, &text, &names).map_err(migrated)?;
        new.push(file_of(path, from, done));
    }
    Ok(new)
}

fn migrated(error: MigrateError) -> CliError {
    CliError::Migrate(error.to_string())
}

fn file_of(path: &Path, from: String, (text, report): (String, Report)) -> New {
    let name = path.file_name().map(PathBuf::from);
    New {
        name: name.unwrap_or_else(|| path.to_owned()),
        from,
        text,
        report,
        is_configuration: false,
    }
}

fn read(path: &Path) -> Result<(String, String), CliError> {
    let name = path.display().to_string();
    match files::read_text(path, MAX_FILE) {
        Ok(text) => Ok((name, text)),
        Err(reason) => Err(CliError::Migrate(format!(
            "the file {name:?} cannot be read ({reason})"
        ))),
    }
}

/// Writes a new file.
fn write(folder: &Path, new: &New, out: &mut dyn Write) -> Result<(), CliError> {
    let path = folder.join(&new.name);
    let failed = |error: std::io::Error| {
        CliError::Migrate(format!(
            "{} cannot be written ({error}); existing files are never overwritten",
            path.display()
        ))
    };
    std::fs::create_dir_all(folder).map_err(failed)?;
    let file = OpenOptions::new().write(true).create_new(true).open(&path);
    let mut file = file.map_err(failed)?;
    file.write_all(new.text.as_bytes()).map_err(failed)?;
    writeln!(out, "{}", path.display())?;
    Ok(())
}

fn summary(new: &New) -> String {
    let what = match new.is_configuration {
        true => "settings taken over",
        false => "expressions rewritten",
    };
    let count = |kind| new.report.of(kind).count();
    use migrate::NoteKind::{Changed, Left, ToDo};
    format!(
        "{}: {} {what}, {} changed, {} not migrated, {} to do\n{}",
        new.from,
        new.report.migrated,
        count(Changed),
        count(Left),
        count(ToDo),
        new.report
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;

    struct Done {
        out: String,
        notes: String,
    }

    fn migrate(arguments: Arguments, environment: &Environment) -> Result<Done, CliError> {
        let (mut out, mut notes) = (Vec::new(), Vec::new());
        let sources = Sources {
            environment: environment.clone(),
            ..Sources::default()
        };
        run(&arguments, &sources, &mut out, &mut notes)?;
        Ok(Done {
            out: String::from_utf8(out).unwrap(),
            notes: String::from_utf8(notes).unwrap(),
        })
    }

    fn arguments(file: Option<&Path>) -> Arguments {
        Arguments {
            file: file.map(Path::to_owned),
            rules: Vec::new(),
            dashboard: Vec::new(),
            output: None,
        }
    }

    const OLD: &str = "gitlab: {token: hunter2}\npull: {metrics: {interval_seconds: 9}}\nprojects: [{name: a/b}]\n";

    #[test]
    fn one_file_is_printed_and_several_are_written_but_never_over_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("gcpe.yml"), OLD).unwrap();
        let rules = "groups: [{rules: [{alert: a, expr: gitlab_ci_pipeline_id > 0}]}]";
        std::fs::write(path("r.yml"), rules).unwrap();
        let board = r#"{"panels": [{"title": "p", "gridPos": {}, "targets": [{"expr": "gitlab_ci_pipeline_id"}]}]}"#;
        std::fs::write(path("d.json"), board).unwrap();

        let done = migrate(arguments(Some(&path("gcpe.yml"))), &Environment::default()).unwrap();
        assert!(
            done.out.contains("    interval_seconds: 9 # pull.metrics"),
            "{}",
            done.out
        );
        assert!(
            done.notes
                .contains("3 settings taken over, 1 changed, 0 not migrated, 1 to do\nTo do:"),
            "{}",
            done.notes
        );
        assert!(!done.out.contains("hunter2") && !done.notes.contains("hunter2"));

        let all = || Arguments {
            rules: vec![path("r.yml")],
            dashboard: vec![path("d.json")],
            ..arguments(Some(&path("gcpe.yml")))
        };
        let error = migrate(all(), &Environment::default()).err().unwrap();
        assert!(
            error.to_string().contains("name a folder with --output"),
            "{error}"
        );
        let into = || Arguments {
            output: Some(path("new")),
            ..all()
        };
        let done = migrate(into(), &Environment::default()).unwrap();
        assert_eq!(done.out.lines().count(), 3, "{}", done.out);
        let written = |name: &str| std::fs::read_to_string(path("new").join(name)).unwrap();
        assert!(written(NEW_NAME).contains("name: a/b"));
        assert_eq!(
            written("r.yml"),
            rules.replace("gitlab_ci_pipeline_id > 0", "'age_pipeline_id > 0'")
        );
        assert!(written("d.json").contains("\"expr\": \"age_pipeline_id\""));
        let error = migrate(into(), &Environment::default()).err().unwrap();
        assert!(
            error
                .to_string()
                .contains("existing files are never overwritten"),
            "{error}"
        );
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn the_old_variable_names_the_file_and_a_missing_one_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gcpe.yml");
        std::fs::write(&path, OLD).unwrap();
        let environment = Environment::from_pairs([
            ("GCPE_CONFIG", path.as_os_str()),
            ("GCPE_GITLAB_TOKEN", "hunter2".as_ref()),
        ]);
        let done = migrate(arguments(None), &environment).unwrap();
        assert!(
            done.notes
                .contains("the variable GCPE_GITLAB_TOKEN: set AGE_GITLAB_TOKEN"),
            "{}",
            done.notes
        );
        assert!(!done.notes.contains("hunter2"));
        let missing = folder.path().join("nothing.yml");
        let error = migrate(arguments(Some(&missing)), &environment)
            .err()
            .unwrap();
        assert!(
            error.to_string().contains("nothing.yml\" cannot be read ("),
            "{error}"
        );
    }
}
