//! Child pipelines of GitLabs before 17.0, whose lists leave them out: found by the trigger jobs of their
//! parents.

use std::sync::Arc;

use super::{Started, Wanted};
use crate::facts::feed::PARENT_PIPELINE;
use crate::gitlab::model::Pipeline;
use crate::gitlab::{GitLab, GitLabError};

/// The child pipelines that a pipeline started; none where lists have them.
pub(super) async fn children(
    gitlab: &GitLab,
    wanted: &Wanted,
    started: &[Started],
) -> Result<Vec<Pipeline>, Arc<GitLabError>> {
    let mut children = Vec::new();
    if !wanted.options.children || gitlab.lists_children() {
        return Ok(children);
    }
    for started in started.iter().filter(|one| one.project == wanted.project) {
        let pipeline = match &started.target {
            Some(target) => target.pipeline.clone(),
            None => match gitlab.pipeline(started.project, started.pipeline).await {
                Err(error) if error.is_not_found() || error.is_forbidden() => continue,
                read => read?,
            },
        };
        // A pipeline can also start one of its own project as of another.
        if &*pipeline.source == PARENT_PIPELINE {
            children.push(pipeline);
        }
    }
    Ok(children)
}
