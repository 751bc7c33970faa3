//! Runners, of the instance or of a batch of projects.

use super::convert::{gid, maybe_time};
use super::holes::{Holes, ProjectHoles, key};
use super::projects::{Messages, count, gids, over_projects};
use super::{Batch, Unread, queries};
use crate::gitlab::error::{GRAPHQL, GitLabError};
use crate::gitlab::model::{Page, Runner, RunnerManager, RunnerType};
use crate::gitlab::pager::{Bounds, MAX_PAGE};
use crate::gitlab::{Excess, GitLab};
use crate::types::ProjectId;
use queries::runners::{self, RunnerPageNodes as Node, RunnersProjectsNodes as ProjectNode};

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

    /// All runners of the instance, page after page; `None` for a token that is not an
    /// administrator's.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn instance_runners(&self) -> Result<Option<Page<Runner>>, GitLabError> {
        let Some(first) = self.runner_page(None).await? else {
            return Ok(None);
        };
        let more = async |after: String| self.runner_page(Some(after)).await;
        let list = format!("{GRAPHQL} {}", runners::OPERATION_NAME);
        self.all_pages(&list, Bounds::INSTANCE, first, more)
            .await
            .map(Some)
    }

    /// One page of the instance's runners, and the bytes that it came in.
    async fn runner_page(
        &self,
        after: Option<String>,
    ) -> Result<Option<(Page<Runner>, usize)>, GitLabError> {
        let mut variables = self.runner_variables();
        (variables.all, variables.after) = (true, after);
        let answer = self.query::<queries::Runners>(variables, 0).await?;
        let name = runners::OPERATION_NAME;
        let read = page(answer.data, answer.holes).map_err(|why| self.unread(name, why))?;
        Ok(read.map(|mut page| {
            for text in &mut page.skipped {
                *text = self.tidied(text);
            }
            (page, answer.bytes)
        }))
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
        variables.ids = Some(gids(ids));
        variables.projects = Some(count(ids.len()));
        variables.type_ = Some(format!("{}_TYPE", runner_type.as_str().to_uppercase()));
        self.over_projects::<queries::Runners>(ids, variables).await
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

over_projects!(queries::Runners, runners, ProjectNode => ProjectRunners, project);

fn project(node: ProjectNode, mut holes: ProjectHoles<'_>) -> Result<ProjectRunners, String> {
    let id = ProjectId(gid("id", &node.id)?);
    let runners = node.runners.map(|page| {
        let more = page.page_info.has_next_page;
        let next = page.page_info.end_cursor.filter(|_| more);
        holes.page(&[key("runners")], page.nodes, next, |node, _, _| {
            convert(node)
        })
    });
    Ok(ProjectRunners { id, runners })
}

/// The runners of the instance in an answer; none for a token that is not an administrator's.
///
/// # Errors
/// Where some were lost, or there are too many.
pub(super) fn page(
    data: runners::ResponseData,
    holes: Holes,
) -> Result<Option<Page<Runner>>, Unread> {
    let skipped = holes.whole()?;
    let Some(page) = data.runners else {
        return Ok(None);
    };
    let nodes = page.nodes.unwrap_or_default();
    if nodes.len() > MAX_PAGE {
        return Err(Unread::TooMuch(Excess::PageItems(MAX_PAGE)));
    }
    let more = page.page_info.has_next_page;
    let mut read = Page {
        items: Vec::new(),
        next: page.page_info.end_cursor.filter(|_| more),
        skipped: Vec::new(),
    };
    for node in nodes.into_iter().flatten() {
        match convert(node) {
            Ok(runner) => read.items.push(runner),
            Err(why) => read.skipped.push(why),
        }
    }
    read.skipped.extend(skipped);
    Ok(Some(read))
}

fn convert(node: Node) -> Result<Runner, String> {
    let manager =
        |version: Option<String>, platform: Option<String>, architecture: Option<String>| {
            RunnerManager {
                version: version.unwrap_or_default().into(),
                platform: platform.unwrap_or_default().into(),
                architecture: architecture.unwrap_or_default().into(),
            }
        };
    let managers = match node.managers {
        Some(page) => {
            let nodes = page.nodes.into_iter().flatten().flatten();
            nodes
                .map(|node| manager(node.version, node.platform_name, node.architecture_name))
                .collect()
        }
        // Older runners have no managers: what they run on is their own.
        None if node.version.is_some() => {
            vec![manager(
                node.version,
                node.platform_name,
                node.architecture_name,
            )]
        }
        None => Vec::new(),
    };
    Ok(Runner {
        id: gid("id", &node.id)?,
        description: node.description.unwrap_or_default().into(),
        runner_type: RunnerType::from(&*node.runner_type),
        paused: node.paused,
        online: node.status.eq_ignore_ascii_case("online"),
        contacted_at: maybe_time("contactedAt", node.contacted_at.as_deref())?,
        managers,
    })
}
