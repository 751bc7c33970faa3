//! What replicas write for each other, as JSON: read by other versions, which ignore what they do not know.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::clock::UnixSeconds;
use crate::config::{ProjectSettings, Settings};
use crate::discovery::Selected;
use crate::events::{Mark, Trigger, UnixMillis};
use crate::facts::Reading;
use crate::gitlab::model::{Attributes, Features, Known, Project};
use crate::memory::removed_refs::RemovedRefs;
use crate::registry::{Note, Reason};
use crate::shards::{Shard, ShardSet};
use crate::types::{ProjectId, Text};

/// A project that discovery found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Listed {
    path: Text,
    /// None for an empty repository; left out where it was not read.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "double")]
    default_branch: Option<Option<Text>>,
    #[serde(default)]
    archived: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    active_at: Option<i64>,
    settings: ProjectSettings,
}

/// `null` is not the same as left out.
mod double {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<T: Serialize, S: Serializer>(
        value: &Option<Option<T>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        value
            .as_ref()
            .and_then(Option::as_ref)
            .serialize(serializer)
    }

    pub(super) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Option<T>>, D::Error> {
        Option::deserialize(deserializer).map(Some)
    }
}

impl Listed {
    pub(super) fn of(project: &Project, settings: &ProjectSettings) -> Self {
        let default_branch = match &project.default_branch {
            Known::Value(branch) => Some(Some(branch.clone())),
            Known::Nothing => Some(None),
            _ => None,
        };
        Self {
            path: project.full_path.clone(),
            default_branch,
            archived: project.archived,
            active_at: project.last_activity_at.map(|at| at.0),
            settings: settings.clone(),
        }
    }

    /// The project, with its settings as this replica works them out.
    pub(super) fn into_selected(self, id: ProjectId, settings: &Settings) -> Selected {
        let project = Project {
            id,
            full_path: self.path,
            default_branch: match self.default_branch {
                Some(Some(branch)) => Known::Value(branch),
                Some(None) => Known::Nothing,
                None => Known::Unread,
            },
            archived: self.archived,
            is_scheduled_for_deletion: false,
            last_activity_at: self.active_at.map(UnixSeconds),
            role: Known::Unread,
            features: Features::default(),
            attributes: Attributes::default(),
        };
        let mut own = self.settings;
        own.resolve(settings);
        (project, Arc::new(own))
    }
}

/// What discovery says of a project.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Entry {
    /// It is tracked.
    Listed(Box<Listed>),
    /// It is no longer tracked.
    Removed(Why),
}

/// [`Reason`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Why {
    Missing,
    ScheduledForDeletion,
    Archived,
    NotSelected,
}

impl From<Reason> for Why {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::Missing => Self::Missing,
            Reason::ScheduledForDeletion => Self::ScheduledForDeletion,
            Reason::Archived => Self::Archived,
            Reason::NotSelected => Self::NotSelected,
        }
    }
}

impl From<Why> for Reason {
    fn from(why: Why) -> Self {
        match why {
            Why::Missing => Self::Missing,
            Why::ScheduledForDeletion => Self::ScheduledForDeletion,
            Why::Archived => Self::Archived,
            Why::NotSelected => Self::NotSelected,
        }
    }
}

/// [`Note`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct WireNote {
    path: Text,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    removed_refs: BTreeMap<Text, i64>,
    read_to: i64,
}

impl From<Note> for WireNote {
    fn from(note: Note) -> Self {
        let removed = note.removed_refs.0.into_iter();
        Self {
            path: note.path,
            removed_refs: removed.map(|(name, at)| (name, at.0)).collect(),
            read_to: note.read_to.0,
        }
    }
}

impl From<WireNote> for Note {
    fn from(note: WireNote) -> Self {
        let removed = note.removed_refs.into_iter();
        Self {
            path: note.path,
            removed_refs: RemovedRefs(removed.map(|(name, at)| (name, UnixSeconds(at))).collect()),
            read_to: UnixSeconds(note.read_to),
        }
    }
}

/// A message to one replica.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Message {
    /// GitLab is to be asked for a project: a run did not find it.
    Doubt(u64),
    /// A project is not as it was: its entry is to be polled again.
    Changed(u64),
    /// The lists of projects are to be polled now.
    Lists,
    /// A project is to be read now.
    Hint(WireHint),
}

/// An event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct WireHint {
    project: u64,
    reading: String,
    marks: Vec<WireMark>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct WireMark {
    trigger: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<u64>,
    /// Milliseconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at: Option<i64>,
    /// How long ago it arrived, in milliseconds.
    age: u64,
    #[serde(default)]
    is_job: bool,
}

impl WireHint {
    pub(super) fn new(project: ProjectId, reading: Reading, marks: &[Mark]) -> Self {
        let marks = marks.iter().map(|mark| WireMark {
            trigger: mark.trigger.as_str().to_owned(),
            subject: mark.subject,
            at: mark.at.map(|at| at.0),
            age: u64::try_from(mark.arrived.elapsed().as_millis()).unwrap_or(u64::MAX),
            is_job: mark.is_job,
        });
        Self {
            project: project.0,
            reading: reading.as_str().to_owned(),
            marks: marks.collect(),
        }
    }

    /// What it says; none for a reading that this version does not know.
    pub(super) fn into_parts(self) -> Option<(ProjectId, Reading, Vec<Mark>)> {
        let reading = Reading::by_name(&self.reading)?;
        let now = Instant::now();
        let marks = self.marks.into_iter().filter_map(|mark| {
            let mut triggers = Trigger::ALL.into_iter();
            let age = std::time::Duration::from_millis(mark.age);
            Some(Mark {
                trigger: triggers.find(|trigger| trigger.as_str() == mark.trigger)?,
                subject: mark.subject,
                at: mark.at.map(UnixMillis),
                arrived: now.checked_sub(age).unwrap_or(now),
                is_job: mark.is_job,
                origin: None,
            })
        });
        Some((ProjectId(self.project), reading, marks.collect()))
    }
}

/// What a replica says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Info {
    /// Version of the exporter.
    pub(super) version: String,
    /// Its host.
    pub(super) host: String,
    /// When it started.
    pub(super) started_at: i64,
    /// The shards that it holds.
    pub(super) shards: Vec<usize>,
    /// Whether it refuses shards that a later version wrote.
    #[serde(default)]
    pub(super) refuses: bool,
    /// Projects that it reads.
    pub(super) projects: usize,
    /// How much later than due its latest project is, in seconds.
    #[serde(default)]
    pub(super) lag: u64,
}

impl Info {
    /// The shards that it holds.
    pub(super) fn shards(&self) -> ShardSet {
        let shards = self.shards.iter();
        shards.filter_map(|index| Shard::by_index(*index)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn config() -> Config {
        let text = "gitlab: {url: 'https://gitlab.example.com', token: 'glpat-0123456789abcdefghij'}\n\
            collectors: {jobs: {interval_seconds: 33}, environments: {enabled: true}}\n\
            projects:\n  - name: group/app\n    refs: {branches: {regexp: '^(main|release/.*)$', max_age_days: 30}}\n    \
            collectors: {jobs: {enabled: false}}\n    states: {by_source: true}\n";
        Config::from_yaml(text).unwrap()
    }

    #[test]
    fn the_settings_of_a_project_arrive_as_they_were_sent() {
        let config = config();
        let settings = &config.projects[0].settings;
        let project = Project {
            id: ProjectId(7),
            full_path: "group/app".into(),
            default_branch: Known::Value("main".into()),
            archived: false,
            is_scheduled_for_deletion: false,
            last_activity_at: Some(UnixSeconds(1_800_000_000)),
            role: Known::Unread,
            features: Features::default(),
            attributes: Attributes::default(),
        };
        for branch in [Known::Value("main".into()), Known::Nothing, Known::Unread] {
            let project = Project {
                default_branch: branch,
                ..project.clone()
            };
            let entry = Entry::Listed(Box::new(Listed::of(&project, settings)));
            let text = serde_json::to_string(&entry).unwrap();
            let Entry::Listed(read) = serde_json::from_str(&text).unwrap() else {
                panic!("{text}");
            };
            let (arrived, own) = read.into_selected(ProjectId(7), &config);
            assert_eq!(arrived, project, "{text}");
            assert_eq!(*own, *settings, "{text}");
        }
    }

    #[test]
    fn a_hint_arrives_with_the_age_that_it_has() {
        let mark = Mark {
            trigger: Trigger::Webhook,
            subject: Some(5),
            at: Some(UnixMillis(1_800_000_000_123)),
            arrived: Instant::now(),
            is_job: true,
            origin: None,
        };
        let hint = WireHint::new(ProjectId(7), Reading::ChangeFeed, &[mark]);
        let text = serde_json::to_string(&Message::Hint(hint)).unwrap();
        let Message::Hint(read) = serde_json::from_str(&text).unwrap() else {
            panic!("{text}");
        };
        let (project, reading, marks) = read.clone().into_parts().unwrap();
        assert_eq!((project, reading), (ProjectId(7), Reading::ChangeFeed));
        let arrived = marks[0].arrived;
        assert_eq!(marks, [Mark { arrived, ..mark }]);
        let unknown = WireHint {
            reading: "later".to_owned(),
            ..read
        };
        assert_eq!(unknown.into_parts(), None);
    }

    #[test]
    fn what_a_later_version_adds_is_ignored() {
        let text =
            r#"{"version":"9","host":"h","started_at":1,"shards":[1],"projects":2,"more":true}"#;
        let info: Info = serde_json::from_str(text).unwrap();
        assert_eq!((info.shards, info.lag), (vec![1], 0));
    }
}
