//! The layers, each put on top of the last: defaults < file < environment < flags.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::check::{check, suggestion_for};
use super::environment::Environment;
use super::keys::{self, Key, Kind};
use super::model::Settings;
use super::predecessor::{self, predecessors_settings};
use super::problem::{Problem, nearest};
use super::tree::{Data, Node, Origin};
use super::values::Secret;
use super::yaml;
use crate::files;

/// The variable that names the configuration file, as `--config` does.
const FILE_VARIABLE: &str = "AGE_CONFIG";
/// The variable that holds the token of the command `webhooks`: no setting, for `run` never needs it.
const WEBHOOKS_VARIABLE: &str = "AGE_WEBHOOKS_TOKEN";
/// Most bytes of the configuration file: tens of thousands of projects named one by one.
const MAX_FILE: u64 = 1 << 20;

/// Where the configuration is read from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The configuration file; without one, `AGE_CONFIG` names it, or there is none.
    pub file: Option<PathBuf>,
    /// The environment variables.
    pub environment: Environment,
    /// The flags; a later one wins over an earlier one.
    pub flags: Vec<Flag>,
}

impl Sources {
    /// Whether a configuration file is named, by `--config` or by `AGE_CONFIG`.
    #[must_use]
    pub fn names_a_file(&self) -> bool {
        self.file.is_some() || self.environment.get(FILE_VARIABLE).is_some()
    }

    /// The token of the command `webhooks`, by its variable.
    #[must_use]
    pub fn webhooks_token(&self) -> Option<Secret> {
        self.environment.get(WEBHOOKS_VARIABLE).map(Secret::from)
    }
}

/// A command-line flag that sets one setting.
#[derive(Clone, Debug)]
pub struct Flag {
    /// The flag as the user wrote it, without the value, such as `--gitlab-url`.
    pub name: String,
    /// The path of the setting, such as `gitlab.url`.
    pub path: String,
    /// The value; secret, as it may be a token.
    pub value: Secret,
}

/// The merged layers.
pub(super) struct Layers {
    pub tree: Node,
    pub problems: Vec<Problem>,
    /// Whether a layer could not be read at all, so that what is missing may be there.
    pub incomplete: bool,
}

impl Layers {
    /// Reads and checks all layers and merges what is right of them.
    pub fn read(sources: &Sources) -> Self {
        let mut layers = Self {
            tree: defaults().clone(),
            problems: Vec::new(),
            incomplete: false,
        };
        layers.file(sources);
        layers.environment(&sources.environment);
        for flag in &sources.flags {
            layers.flag(flag);
        }
        layers
    }

    /// Reads and checks one YAML text called `name`, and flags, without any other source.
    pub fn of_text(name: &str, text: &str, flags: &[Flag]) -> Self {
        let mut layers = Self {
            tree: defaults().clone(),
            problems: Vec::new(),
            incomplete: false,
        };
        layers.text(name, text);
        for flag in flags {
            layers.flag(flag);
        }
        layers
    }

    fn file(&mut self, sources: &Sources) {
        let variable = sources.environment.get(FILE_VARIABLE);
        let (path, origin) = match (&sources.file, variable) {
            (Some(path), _) => (path.as_path(), Origin::Flag("--config".into())),
            (None, Some(path)) => (Path::new(path), Origin::Variable(FILE_VARIABLE.into())),
            (None, None) => return,
        };
        let name = path.display().to_string();
        match files::read_text(path, MAX_FILE) {
            Ok(text) => self.text(&name, &text),
            Err(reason) => self.unreadable(
                &origin,
                format!("the file {name:?} cannot be read ({reason})"),
            ),
        }
    }

    fn text(&mut self, name: &str, text: &str) {
        let path: Arc<str> = name.into();
        let origin = |line| Origin::File {
            path: path.clone(),
            line,
        };
        match yaml::parse(text, origin) {
            Ok(node) => match node.data {
                // All keys may be commented out.
                Data::Null => {}
                Data::Map(_) if !predecessors_settings(&node).is_empty() => {
                    self.unreadable(&origin(1), predecessor::sentence(name));
                }
                Data::Map(_) => self.put(node),
                _ => self.unreadable(
                    &origin(1),
                    "the file must hold settings like gitlab: {url: …}".to_owned(),
                ),
            },
            Err(error) => self.unreadable(
                &origin(error.line),
                format!("not valid YAML ({})", error.reason),
            ),
        }
    }

    fn unreadable(&mut self, origin: &Origin, sentence: String) {
        self.incomplete = true;
        self.problems.push(Problem::new(Some(origin), "", sentence));
    }

    fn environment(&mut self, environment: &Environment) {
        let known: Vec<(String, String, &Key)> = keys::all()
            .into_iter()
            .map(|(path, key)| (keys::variable(&path), path, key))
            .collect();
        let mut found = Vec::new();
        for (name, value) in environment.settings() {
            let origin = Origin::Variable(name.into());
            let setting = known.iter().find(|(variable, ..)| variable == name);
            match (setting, value) {
                (_, Err(_)) => {
                    let sentence = "the value is not UTF-8 text".to_owned();
                    self.problems
                        .push(Problem::new(Some(&origin), "", sentence));
                }
                (Some((_, path, key)), Ok(value)) => found.push((path, *key, value, origin)),
                (None, Ok(_)) if [FILE_VARIABLE, WEBHOOKS_VARIABLE].contains(&name) => {}
                (None, Ok(_)) => {
                    let hint = nearest_variable(name, &known);
                    let hint =
                        hint.map_or_else(all_settings, |near| format!("did you mean {near}?"));
                    let sentence = format!("no setting has this variable; {hint}");
                    self.problems
                        .push(Problem::new(Some(&origin), "", sentence));
                }
            }
        }
        // A variable for a single key wins over one for the section around it.
        found.sort_by_key(|(path, ..)| path.matches('.').count());
        for (path, key, value, origin) in found {
            self.value(path, key, value, &origin);
        }
    }

    fn flag(&mut self, flag: &Flag) {
        let origin = Origin::Flag(flag.name.as_str().into());
        let all = keys::all();
        match all.iter().find(|(path, _)| *path == flag.path) {
            Some((path, key)) => self.value(path, key, flag.value.expose(), &origin),
            None => {
                let hint = suggestion_for(&flag.path);
                let sentence = format!("{} is not a setting; {hint}", flag.path);
                self.problems
                    .push(Problem::new(Some(&origin), &flag.path, sentence));
            }
        }
    }

    /// Puts the text of a variable or a flag under `path`.
    fn value(&mut self, path: &str, key: &Key, text: &str, origin: &Origin) {
        let node = match &key.kind {
            Kind::Value(value) if value.is_text() => Node::new(Data::Text(text.to_owned()), origin),
            Kind::Value(_) => Node::new(yaml::scalar(text.trim()), origin),
            _ => match yaml::parse(text, |_| origin.clone()) {
                Ok(node) => node,
                Err(error) => {
                    let sentence = format!("{path} is not valid YAML ({})", error.reason);
                    self.problems
                        .push(Problem::new(Some(origin), path, sentence));
                    return;
                }
            },
        };
        self.put(node.wrapped(path));
    }

    fn put(&mut self, layer: Node) {
        if let Some(layer) = check(layer, &mut self.problems) {
            self.tree.merge(layer);
        }
    }
}

/// What distinguishes variables.
fn bare(variable: &str) -> &str {
    variable.strip_prefix("AGE_").unwrap_or(variable)
}

/// The known variable most like `name`: one of the same section, else any.
fn nearest_variable<'a>(name: &str, known: &'a [(String, String, &Key)]) -> Option<&'a str> {
    let sections = known.iter().filter(|(variable, _, key)| {
        let rest = name.strip_prefix(variable.as_str());
        !key.children().is_empty() && rest.is_some_and(|rest| rest.starts_with('_'))
    });
    let section = sections.max_by_key(|(variable, ..)| variable.len());
    let prefix = section.map_or("AGE_", |(variable, ..)| variable.as_str());
    let (below, all) = known.iter().partition::<Vec<_>, _>(|(variable, path, _)| {
        let is_below = section.is_none_or(|(_, outer, _)| {
            path.rsplit_once('.')
                .is_some_and(|(section, _)| section == outer)
        });
        is_below && variable.len() > prefix.len()
    });
    let rest = |variable: &'a str| variable[prefix.len()..].trim_start_matches('_');
    let names = below.iter().map(|(variable, ..)| rest(variable));
    let near = nearest(name[prefix.len()..].trim_start_matches('_'), names);
    let found = near.and_then(|near| below.iter().find(|(variable, ..)| rest(variable) == near));
    if let Some((variable, ..)) = found {
        return Some(variable);
    }
    let near = nearest(bare(name), all.iter().map(|(variable, ..)| bare(variable)));
    let is_inside = |variable: &&&&'a (String, String, &Key)| {
        Some(bare(&variable.0)) == near && !name.starts_with(variable.0.as_str())
    };
    all.iter()
        .find(|one| is_inside(&one))
        .map(|(variable, ..)| variable.as_str())
}

/// The hint when nothing known is like what was given.
fn all_settings() -> String {
    "`config --example` shows every setting".to_owned()
}

/// The defaults of the model as a tree.
pub(super) fn defaults() -> &'static Node {
    static DEFAULTS: OnceLock<Node> = OnceLock::new();
    DEFAULTS.get_or_init(|| {
        let json = serde_json::to_value(Settings::default()).unwrap_or_default();
        Node::from_json(&json, &Origin::Default)
    })
}
