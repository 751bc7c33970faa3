//! Runners.

use serde::Deserialize;

use super::Get;
use crate::clock::UnixSeconds;
use crate::gitlab::GitLab;
use crate::gitlab::error::GitLabError;
use crate::gitlab::model::{Page, Runner, RunnerManager, RunnerType};
use crate::types::ProjectId;

#[derive(Deserialize)]
pub(super) struct RestListedRunner {
    id: u64,
    description: Option<String>,
    runner_type: Option<String>,
    #[serde(default)]
    is_shared: bool,
    paused: Option<bool>,
    active: Option<bool>,
    online: Option<bool>,
    contacted_at: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct RestManager {
    version: Option<String>,
    platform: Option<String>,
    architecture: Option<String>,
    contacted_at: Option<String>,
}

/// A runner's process, and when it was last in contact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Contact {
    manager: RunnerManager,
    contacted_at: Option<UnixSeconds>,
}

fn time(text: Option<&str>) -> Option<UnixSeconds> {
    UnixSeconds::parse(text?).ok()
}

impl TryFrom<RestListedRunner> for Runner {
    type Error = String;

    fn try_from(raw: RestListedRunner) -> Result<Self, String> {
        let runner_type = match (raw.runner_type.as_deref(), raw.is_shared) {
            (Some(kind), _) => RunnerType::from(kind),
            (None, true) => RunnerType::Instance,
            (None, false) => RunnerType::Other,
        };
        Ok(Self {
            id: raw.id,
            description: raw.description.unwrap_or_default().into(),
            runner_type,
            // `active` is the older name of its opposite.
            paused: raw.paused.unwrap_or(raw.active == Some(false)),
            online: raw.online.unwrap_or(false),
            contacted_at: time(raw.contacted_at.as_deref()),
            managers: Vec::new(),
        })
    }
}

impl TryFrom<RestManager> for Contact {
    type Error = String;

    fn try_from(raw: RestManager) -> Result<Self, String> {
        Ok(Self {
            manager: RunnerManager {
                version: raw.version.unwrap_or_default().into(),
                platform: raw.platform.unwrap_or_default().into(),
                architecture: raw.architecture.unwrap_or_default().into(),
            },
            contacted_at: time(raw.contacted_at.as_deref()),
        })
    }
}

impl GitLab {
    /// All runners of the instance, without their managers (`GET /runners/all`).
    ///
    /// # Errors
    /// Those of any call; 403 for tokens that are not an administrator's.
    pub async fn all_runners(&self) -> Result<Page<Runner>, GitLabError> {
        let get = Get::new("/runners/all", &["runners", "all"]).of_instance();
        self.get_all::<RestListedRunner, _>(&get).await
    }

    /// The runners that serve a project, without their managers; of one type if `only` says so
    /// (`GET /projects/:id/runners`).
    ///
    /// # Errors
    /// Those of any call; 403 below Maintainer.
    pub async fn runners_of(
        &self,
        project: ProjectId,
        only: Option<RunnerType>,
    ) -> Result<Page<Runner>, GitLabError> {
        let get = Get::new(
            "/projects/:id/runners",
            &["projects", &project.to_string(), "runners"],
        )
        .maybe("type", only.map(|only| format!("{}_type", only.as_str())));
        self.get_all::<RestListedRunner, _>(&get).await
    }

    /// The runner with its managers and the latest contact of one of them
    /// (`GET /runners/:id/managers`).
    ///
    /// # Errors
    /// Those of any call.
    pub async fn with_managers(&self, mut runner: Runner) -> Result<Runner, GitLabError> {
        let get = Get::new(
            "/runners/:id/managers",
            &["runners", &runner.id.to_string(), "managers"],
        )
        .in_one_page();
        let page: Page<Contact> = self.get_all::<RestManager, _>(&get).await?;
        let latest = page.items.iter().filter_map(|one| one.contacted_at).max();
        runner.contacted_at = runner.contacted_at.max(latest);
        let managers = page.items.into_iter().map(|one| one.manager);
        runner.managers = managers.collect();
        Ok(runner)
    }
}
