//! Branches and tags.

use super::{Answer, Call, entities};
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
    let project = call.ci_project(&world)?;
    let search = call.parameter("search").map(str::to_owned);
    let refs = if branches {
        &project.branches
    } else {
        &project.tags
    };
    let mut found: Vec<GitRef> = refs
        .values()
        .filter(|found| {
            search
                .as_ref()
                .is_none_or(|text| found.name.contains(text.trim_start_matches('^')))
        })
        .cloned()
        .collect();
    // Branches come by name, tags the newest first.
    if !branches {
        found.sort_by_key(|tag| std::cmp::Reverse(tag.committed_at));
    }
    let project = project.clone();
    drop(world);
    call.offset_page(&found, true, |found| {
        if branches {
            entities::branch(&project, found, call.base_url())
        } else {
            entities::tag(&project, found, call.base_url())
        }
    })
}
