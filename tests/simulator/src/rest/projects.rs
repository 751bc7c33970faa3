//! Projects and groups.

use serde_json::{Value, json};

use super::{Answer, ApiError, Call, ok};
use crate::auth::AccessLevel;
use crate::world::{Group, Project, World};

/// `GET /projects`
pub async fn list(call: Call) -> Answer {
    let world = call.state.world.read();
    call.granted_of_user("read_project", "Project")?;
    let membership =
        call.flag("membership")?.unwrap_or(false) || call.flag("owned")?.unwrap_or(false);
    let found = select(&call, &world, |project| {
        !membership || call.viewer.is_member(project)
    })?;
    answer(&call, &world, found, true)
}

/// `GET /groups/:id/projects`
pub async fn of_group(call: Call) -> Answer {
    let world = call.state.world.read();
    let group = find_group(&call, &world)?;
    let subgroups = call.flag("include_subgroups")?.unwrap_or(false);
    let below = format!("{}/", group.full_path.to_lowercase());
    let found = select(&call, &world, |project| {
        project.group_id == Some(group.id)
            || subgroups && project.namespace().to_lowercase().starts_with(&below)
    })?;
    // The groups' list is the only one without the viewer's roles.
    answer(&call, &world, found, false)
}

/// `GET /users/:id/projects`
pub async fn of_user(call: Call) -> Answer {
    let world = call.state.world.read();
    let id = call.segment("id");
    let user = world
        .user(&id)
        .ok_or(ApiError::NotFound("404 User Not Found"))?;
    let found = select(&call, &world, |project| {
        project.namespace().eq_ignore_ascii_case(user)
    })?;
    answer(&call, &world, found, true)
}

/// The group that `:id` names, by id or path, if it exists for the viewer.
pub(super) fn find_group<'w>(call: &Call, world: &'w World) -> Result<&'w Group, ApiError> {
    let id = call.segment("id");
    let by_id = id.parse().ok().and_then(|id| world.group(id));
    by_id
        .or_else(|| world.group_by_path(&id))
        .filter(|group| call.viewer.sees_group(world, group))
        .ok_or(ApiError::NotFound("404 Group Not Found"))
}

fn select<'w>(
    call: &Call,
    world: &'w World,
    keep: impl Fn(&Project) -> bool,
) -> Result<Vec<&'w Project>, ApiError> {
    let search = call.parameter("search").map(str::to_lowercase);
    let (archived, active) = (call.flag("archived")?, call.flag("active")?);
    let active_since = call.time("last_activity_after")?;
    let least = match call.parameter("min_access_level") {
        None => None,
        Some(text) => Some(
            text.parse()
                .map_err(|_| ApiError::InvalidParameter("min_access_level".to_owned()))?,
        ),
    };
    let least = least.map(AccessLevel::from_value);
    let visibility = call.parameter("visibility");
    Ok(world
        .projects()
        .filter(|project| call.viewer.sees(project) && keep(project))
        .filter(|project| call.within_grants(world, project).is_ok())
        .filter(|project| {
            let going = project.settings.deletion_asked_at.is_some();
            active.is_none_or(|active| active != (going || project.archived))
        })
        .filter(|project| {
            search
                .as_ref()
                .is_none_or(|text| is_found(&project.path().to_lowercase(), text))
        })
        .filter(|project| archived.is_none_or(|archived| project.archived == archived))
        .filter(|project| {
            visibility.is_none_or(|visibility| project.visibility.as_str() == visibility)
        })
        .filter(|project| active_since.is_none_or(|since| project.last_activity_at > since))
        .filter(|project| least.is_none_or(|least| call.viewer.role(project.id) >= least))
        .collect())
}

/// Whether a search finds a name. One or two characters are compared exactly.
pub(crate) fn is_found(name: &str, text: &str) -> bool {
    if text.chars().count() < 3 {
        return name == text;
    }
    name.contains(text)
}

fn answer(call: &Call, world: &World, mut found: Vec<&Project>, roles: bool) -> Answer {
    let ascending = match call.parameter("sort") {
        None | Some("desc") => false,
        Some("asc") => true,
        Some(_) => return Err(ApiError::InvalidParameter("sort".to_owned())),
    };
    let order = call.parameter("order_by").unwrap_or("created_at");
    match order {
        "id" | "created_at" => found.sort_by_key(|project| project.id),
        "last_activity_at" | "updated_at" => {
            found.sort_by_key(|project| (project.last_activity_at, project.id))
        }
        "name" | "path" => found.sort_by(|a, b| a.path().cmp(b.path())),
        _ => return Err(ApiError::InvalidParameter("order_by".to_owned())),
    }
    if !ascending {
        found.reverse();
    }
    let simple = call.flag("simple")?.unwrap_or(false);
    let view = call.view(world);
    let roles = roles && !simple && call.viewer.token.is_some();
    let write = |project: &&Project| {
        let mut value = view.project(project, simple);
        if roles {
            value["permissions"] = view.permissions(project);
        }
        value
    };
    if call.parameter("pagination") == Some("keyset") {
        if order != "id" && call.quirks.keyset_order_checked {
            return Err(ApiError::NotAllowed(
                "Keyset pagination is not yet available for this type of request",
            ));
        }
        let rows: Vec<(u64, &Project)> = found
            .into_iter()
            .map(|project| (project.id, project))
            .collect();
        return call.keyset_page(&rows, ascending, true, write);
    }
    call.offset_page(&found, true, write)
}

/// `GET /projects/:id`
pub async fn show(call: Call) -> Answer {
    let world = call.state.world.read();
    let project = call.project(&world)?;
    let view = call.view(&world);
    // Without a token only the basic facts are shown.
    let mut value = view.project(project, call.viewer.token.is_none());
    if call.viewer.token.is_some() {
        value["permissions"] = view.permissions(project);
    }
    super::code::complete(&call, &world, project, &mut value)?;
    ok(&value)
}

/// `GET /projects/:id/members/all/:user_id`
pub async fn member(call: Call) -> Answer {
    let world = call.state.world.read();
    let project = call.project(&world)?;
    let token = call.signed_in()?;
    let role = call.viewer.role(project.id);
    if call.number("user_id")? != token.user_id || role == AccessLevel::None {
        return Err(ApiError::NotFound("404 Not found"));
    }
    let mut user = call.view(&world).user(None);
    user["id"] = token.user_id.into();
    user["access_level"] = role.value().into();
    user["expires_at"] = Value::Null;
    user["membership_state"] = "active".into();
    ok(&user)
}

/// `GET /groups/:id`
pub async fn group(call: Call) -> Answer {
    let world = call.state.world.read();
    let group = find_group(&call, &world)?;
    ok(&json!({
        "id": group.id,
        "name": group.name.as_deref().or(group.full_path.rsplit('/').next()),
        "path": group.full_path.rsplit('/').next(),
        "full_name": group.full_path.replace('/', " / "),
        "full_path": &*group.full_path,
        "visibility": group.visibility.unwrap_or_default().as_str(),
        "parent_id": group.parent_id,
        "web_url": format!("{}/groups/{}", call.base_url(), group.full_path),
    }))
}
