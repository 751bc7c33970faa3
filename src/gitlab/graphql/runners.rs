//! Runners, of the instance or of a batch of projects.

use super::changes::count;
use super::convert::{gid, maybe_time, project_gid};
use super::holes::{Partial, key};
use super::{Batch, Messages, queries};
use crate::gitlab::GitLab;
use crate::gitlab::error::GitLabError;
use crate::gitlab::model::{Page, Runner, RunnerManager, RunnerType};
use crate::types::ProjectId;
use queries::runners::{self, RunnerPageNodes as Node};

/// The runners that serve one project.
#[derive(Clone, Debug, PartialEq)]
pub struct ProjectRunners {
    /// The project.
    pub id: ProjectId,
    /// The runners; none when the role is too low. With a `next` there are more: REST lists them.
    pub runners: Option<Page<Runner>>,
}

impl Messages for ProjectRunners {
    fn messages(&mut self, edit: &mut dyn FnMut(&mut Vec<String>)) {
        if let Some(runners) = &mut self.runners {
            edit(&mut runners.skipped);
        }
    }
}

impl GitLab {
    /// Most projects in one query for runners.
    pub const RUNNER_PROJECTS: usize = 20;
    /// Most managers that a runner shows.
    pub const RUNNER_MANAGERS: u32 = 20;

    /// All runners of the instance, page after page; `None` for whoever is no administrator.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn instance_runners(&self) -> Result<Option<Page<Runner>>, GitLabError> {
        let mut all = Page::default();
        let mut after = None;
        loop {
            let mut variables = self.runner_variables();
            (variables.all, variables.after) = (true, after.clone());
            let answer = self.query::<queries::Runners>(variables).await?;
            let Some(page) = answer.data.runners else {
                let whole = answer.holes.whole();
                return whole
                    .map(|_| None)
                    .map_err(|why| self.query_error("Runners", &why));
            };
            let more = page.page_info.has_next_page;
            let next = page.page_info.end_cursor.filter(|_| more);
            for node in page.nodes.into_iter().flatten().flatten() {
                match convert(node) {
                    Ok(runner) => all.items.push(runner),
                    Err(why) => all.skipped.push(self.client().tidy(&why)),
                }
            }
            let skipped = answer.holes.whole();
            let skipped = skipped.map_err(|why| self.query_error("Runners", &why))?;
            all.skipped.extend(skipped);
            // A server that names the same page again would never end.
            if next.is_none() || next == after {
                return Ok(Some(all));
            }
            after = next;
        }
    }

    /// The runners of one type that serve each of up to [`Self::RUNNER_PROJECTS`] projects.
    ///
    /// # Errors
    /// When nothing at all could be read; single projects that could not are in the batch.
    pub async fn project_runners(
        &self,
        ids: &[ProjectId],
        runner_type: RunnerType,
    ) -> Result<Batch<ProjectRunners>, GitLabError> {
        let mut variables = self.runner_variables();
        variables.some = true;
        variables.ids = Some(ids.iter().copied().map(project_gid).collect());
        variables.projects = Some(count(ids.len()));
        variables.type_ = Some(format!("{}_TYPE", runner_type.as_str().to_uppercase()));
        let answer = self.query::<queries::Runners>(variables).await?;
        batch(ids, answer)
            .map_err(|why| self.query_error("Runners", &why))
            .map(|batch| self.tidy("Runners", batch))
    }

    fn runner_variables(&self) -> runners::Variables {
        runners::Variables {
            all: false,
            after: None,
            some: false,
            ids: None,
            projects: None,
            type_: None,
            runners: self.page_size(100),
            managers: self.page_size(Self::RUNNER_MANAGERS),
        }
    }
}

pub(super) fn batch(
    ids: &[ProjectId],
    answer: Partial<runners::ResponseData>,
) -> Result<Batch<ProjectRunners>, String> {
    let nodes = answer.data.projects.and_then(|projects| projects.nodes);
    answer.holes.split(
        ids,
        nodes.unwrap_or_default(),
        |node| &node.id,
        |node, mut holes| {
            let id = ProjectId(gid("id", &node.id)?);
            let runners = node.runners.map(|page| {
                let more = page.page_info.has_next_page;
                let next = page.page_info.end_cursor.filter(|_| more);
                holes.page(&[key("runners")], page.nodes, next, |node, _, _| {
                    convert(node)
                })
            });
            Ok(ProjectRunners { id, runners })
        },
    )
}

fn convert(node: Node) -> Result<Runner, String> {
    let managers = node.managers.and_then(|page| page.nodes);
    let managers = managers.into_iter().flatten().flatten();
    Ok(Runner {
        id: gid("id", &node.id)?,
        description: node.description.unwrap_or_default().into(),
        runner_type: RunnerType::from(&*node.runner_type),
        paused: node.paused,
        online: node.status.eq_ignore_ascii_case("online"),
        contacted_at: maybe_time("contactedAt", node.contacted_at.as_deref())?,
        managers: managers
            .map(|manager| RunnerManager {
                version: manager.version.unwrap_or_default().into(),
                platform: manager.platform_name.unwrap_or_default().into(),
                architecture: manager.architecture_name.unwrap_or_default().into(),
            })
            .collect(),
    })
}
