//! `project_defaults`, `projects` and `wildcards`: what is watched.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Settings;
use super::collectors::{CollectorOverrides, QuietInterval, Resolved};
use super::environments::EnvironmentSelection;
use super::exclude::Exclude;
use crate::catalogue::Collector;
use crate::config::values::{Pattern, optional_text};

/// Settings of a project.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ProjectSettings {
    /// Export only the current status, as 1; `false` exports every status, as 0 or 1.
    pub output_sparse_status_metrics: bool,
    /// Which pipeline sets the states of a ref.
    pub states: States,
    /// Selection of refs.
    pub refs: Refs,
    /// Overrides of `collectors`; unset values are inherited. Collectors that read together (pipelines
    /// and jobs, merge requests and reviews) use the shortest interval of those enabled.
    pub collectors: CollectorOverrides,
    #[serde(skip)]
    resolved: Resolved,
}

impl Default for ProjectSettings {
    fn default() -> Self {
        Self {
            output_sparse_status_metrics: true,
            states: States::default(),
            refs: Refs::default(),
            collectors: CollectorOverrides::default(),
            resolved: Resolved::default(),
        }
    }
}

impl ProjectSettings {
    /// How often a collector polls the project; none where it is off.
    pub fn interval(&self, collector: Collector) -> Option<Duration> {
        self.resolved.get(collector)
    }

    /// Whether a collector is on that compares with the default branch, and does not read it itself.
    pub fn needs_default_branch(&self) -> bool {
        let compare = [Collector::Environments, Collector::Contributors];
        self.shortest_interval(&compare).is_some()
    }

    /// Works out intervals and selections, where the settings did not come with the others.
    pub fn resolve(&mut self, settings: &Settings) {
        self.resolved = Resolved::new(&settings.collectors, &self.collectors);
    }

    /// How often several collectors that are read together poll the project: at the shortest of
    /// their intervals; none where all are off.
    pub fn shortest_interval(&self, collectors: &[Collector]) -> Option<Duration> {
        let on = collectors.iter().filter_map(|one| self.interval(*one));
        on.min()
    }
}

impl ProjectSettings {
    /// How often its pipelines are polled when nothing has moved for long.
    pub fn quiet_interval(&self) -> QuietInterval {
        self.resolved.quiet()
    }

    /// Which environments are watched.
    pub fn environments(&self) -> &EnvironmentSelection {
        self.resolved.environments()
    }
}

impl Settings {
    /// Works out the intervals and selections of every entry from its own settings and those under `collectors`.
    /// Validation does; code that changes settings afterwards does it again.
    pub fn resolve(&mut self) {
        let entries = self.projects.iter_mut().map(|entry| &mut entry.settings);
        let wildcards = self.wildcards.iter_mut().map(|entry| &mut entry.settings);
        let all = entries.chain(wildcards).chain([&mut self.project_defaults]);
        for settings in all {
            settings.resolved = Resolved::new(&self.collectors, &settings.collectors);
        }
    }

    /// The collectors that are on for some entry.
    pub fn enabled_collectors(&self) -> impl Iterator<Item = Collector> {
        let all = Collector::ALL.into_iter();
        all.filter(|collector| self.enabled_anywhere(*collector))
    }

    /// Whether a collector is on for some entry.
    pub fn enabled_anywhere(&self, collector: Collector) -> bool {
        self.shortest_interval(collector).is_some()
    }

    /// How often a collector polls where it does most often; none where it is off everywhere.
    pub fn shortest_interval(&self, collector: Collector) -> Option<Duration> {
        let entries = self.projects.iter().map(|entry| &entry.settings);
        let wildcards = self.wildcards.iter().map(|entry| &entry.settings);
        let on = entries
            .chain(wildcards)
            .filter_map(|settings| settings.interval(collector));
        on.min()
    }
}

/// Which pipeline of a ref its states describe: the newest that was not skipped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct States {
    /// Use the newest pipeline even if it was skipped (`[skip ci]`, or no jobs to run); `false` ignores
    /// skipped pipelines if there is another.
    pub include_skipped: bool,
    /// Export pipeline status, and duration and queued time of the last run, per source (`push`,
    /// `schedule`, …); `false` exports those of the newest pipeline only.
    pub by_source: bool,
}

/// Which refs of a project are watched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Refs {
    /// Branches.
    pub branches: RefRule,
    /// Tags.
    pub tags: RefRule,
    /// Merge requests, whose pipelines run on refs of their own.
    pub merge_requests: MergeRequestRule,
}

impl Default for Refs {
    fn default() -> Self {
        Self {
            branches: RefRule::default(),
            tags: RefRule {
                regexp: pattern("^v.*"),
                most_recent: 10,
                max_age_days: 90,
                ..RefRule::default()
            },
            merge_requests: MergeRequestRule::default(),
        }
    }
}

/// Which branches or tags are watched. `enabled` and `regexp` decide what is counted and what has a
/// state; the others what has a state, and of tags how long counters stay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RefRule {
    /// Include them.
    pub enabled: bool,
    /// Regular expression that the name must match.
    pub regexp: Pattern,
    /// Maximum number with a state, newest first; 0 = all.
    #[schemars(range(max = 1_000_000))]
    pub most_recent: u32,
    /// Maximum age of the newest pipeline for a state, in days; 0 = no limit.
    #[schemars(range(max = 36_500))]
    pub max_age_days: u32,
    /// Remove the state when the branch or tag is deleted.
    pub exclude_deleted: bool,
}

impl Default for RefRule {
    fn default() -> Self {
        Self {
            enabled: true,
            regexp: pattern("^(main|master|develop|release/.*)$"),
            most_recent: 0,
            max_age_days: 0,
            exclude_deleted: true,
        }
    }
}

fn pattern(text: &str) -> Pattern {
    #[expect(
        clippy::unwrap_used,
        reason = "constant expressions that a test compiles"
    )]
    text.parse().unwrap()
}

/// Selection of merge requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct MergeRequestRule {
    /// Include them.
    pub enabled: bool,
    /// States of the merge requests whose pipelines have a state.
    #[schemars(length(min = 1))]
    pub states: Vec<MergeRequestState>,
    /// Maximum number with a state, newest first; 0 = all.
    #[schemars(range(max = 1_000_000))]
    pub most_recent: u32,
    /// Maximum age of the newest pipeline for a state, in days; 0 = no limit.
    #[schemars(range(max = 36_500))]
    pub max_age_days: u32,
    /// The ref label of merge request pipelines in counters and histograms.
    pub count_ref: CountRef,
}

impl Default for MergeRequestRule {
    fn default() -> Self {
        Self {
            enabled: true,
            states: vec![MergeRequestState::Opened, MergeRequestState::Merged],
            most_recent: 20,
            max_age_days: 30,
            count_ref: CountRef::TargetBranch,
        }
    }
}

impl MergeRequestRule {
    /// Whether merge requests in GitLab's lower-case `state` (`opened`, `merged`, …) are watched.
    pub fn includes_state(&self, state: &str) -> bool {
        self.states.iter().any(|wanted| match wanted {
            MergeRequestState::All => true,
            MergeRequestState::Opened => state == "opened",
            MergeRequestState::Closed => state == "closed",
            MergeRequestState::Merged => state == "merged",
        })
    }
}

/// A state of merge requests, as GitLab says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MergeRequestState {
    /// Open.
    Opened,
    /// Closed without a merge.
    Closed,
    /// Merged.
    Merged,
    /// Every state.
    All,
}

/// The ref label of counters and histograms of merge request pipelines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CountRef {
    /// `merge-requests/main`: the target branch; few series.
    #[default]
    TargetBranch,
    /// `merge-requests/42`: the number of the merge request; new series for each.
    Iid,
    /// `merge-requests/my-feature`: the source branch; new series for each, removed with its last merge
    /// request.
    SourceBranch,
}

/// A project named by its path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProjectEntry {
    /// Full path of the project, such as `group/subgroup/project`.
    #[schemars(extend("format" = "project-path"), example = "group/project")]
    pub name: String,
    /// The settings of this project: `project_defaults` with what the entry overrides.
    #[serde(flatten)]
    pub settings: ProjectSettings,
}

/// Projects found by group, user or search.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Wildcard {
    /// Owner of the projects; unset = every project visible to the token.
    pub owner: Option<Owner>,
    /// Only projects that the token's user is a member of; cannot be combined with `owner`.
    pub membership: bool,
    /// Only projects whose name or path contains this text; empty = all.
    #[serde(with = "optional_text")]
    #[schemars(with = "String")]
    pub search: Option<String>,
    /// Include archived projects.
    pub archived: bool,
    /// Projects that are not selected. An entry of `projects` selects a project nevertheless.
    pub exclude: Exclude,
    /// The settings of these projects: `project_defaults` with what the entry overrides.
    #[serde(flatten)]
    pub settings: ProjectSettings,
}

/// The owner of projects.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Owner {
    /// Full path of the group, or name of the user.
    #[schemars(extend("format" = "owner-path"), example = "my-group")]
    pub name: String,
    /// Type of the owner.
    #[serde(default)]
    pub kind: OwnerKind,
    /// Include projects of subgroups.
    #[serde(default = "yes")]
    pub include_subgroups: bool,
}

fn yes() -> bool {
    true
}

/// What an owner is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OwnerKind {
    /// A group.
    #[default]
    Group,
    /// A user.
    User,
}
