//! Branches and tags.

use super::paging::Counting;
use super::{Answer, ApiError, Call};
use crate::access::Right;
use crate::world::GitRef;

/// `GET /projects/:id/repository/branches`
pub async fn branches(call: Call) -> Answer {
    list(call, true)
}

/// `GET /projects/:id/repository/tags`
pub async fn tags(call: Call) -> Answer {
    list(call, false)
}

fn list(call: Call, branches: bool) -> Answer {
    let world = call.state.world.read();
    let project = call.reading(&world, Right::Code)?;
    if project.settings.repository_missing {
        return Err(if branches {
            ApiError::NotFound("404 Not Found")
        } else {
            ApiError::Internal
        });
    }
    let search = call.parameter("search");
    let refs = if branches {
        &project.branches
    } else {
        &project.tags
    };
    let mut found: Vec<&GitRef> = refs
        .values()
        .filter(|found| search.is_none_or(|text| found.name.contains(text.trim_start_matches('^'))))
        .collect();
    // Branches come by name, tags the newest first.
    if !branches {
        found.sort_by_key(|tag| std::cmp::Reverse(tag.committed_at));
    }
    let view = call.view(&world);
    call.page_of(&found, Counting::Refs, |found| {
        if branches {
            view.branch(project, found)
        } else {
            view.tag(project, found)
        }
    })
}
