//! What a project holds besides refs and pipelines: statistics, languages, releases, contributors, commits,
//! vulnerabilities.

use actix_web::web;
use serde_json::{Map, Value, json};

use super::paging::Counting;
use super::{Answer, ApiError, Call, ok};
use crate::access::Right;
use crate::auth::AccessLevel;
use crate::time;
use crate::world::{Code, Commit, Project, Release, Tier, World};

/// Routes below `/api/v4`.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/projects/{id}/languages", web::get().to(languages))
        .route("/projects/{id}/releases", web::get().to(releases))
        .route(
            "/projects/{id}/repository/contributors",
            web::get().to(contributors),
        )
        .route("/projects/{id}/repository/commits", web::get().to(commits))
        .route(
            "/projects/{id}/repository/commits/{sha}",
            web::get().to(commit),
        )
        .route(
            "/projects/{id}/vulnerabilities",
            web::get().to(vulnerabilities),
        );
}

/// The project's code, if the viewer may see this of it.
fn readable<'w>(
    call: &Call,
    world: &'w World,
    right: Right,
) -> Result<(&'w Project, &'w Code), ApiError> {
    let project = call.reading(world, right)?;
    let code = world
        .code(project.id)
        .ok_or(ApiError::NotFound("404 Project Not Found"))?;
    Ok((project, code))
}

/// Adds sizes to a single project, where they were asked for and the role allows it.
pub fn complete(
    call: &Call,
    world: &World,
    project: &Project,
    value: &mut Value,
) -> Result<(), ApiError> {
    let asked = call.flag("statistics")?.unwrap_or(false);
    let code = world.code(project.id);
    if let Some(code) = code.filter(|_| asked && call.viewer.may(project, Right::Statistics)) {
        value["statistics"] = statistics(code);
    }
    Ok(())
}

fn statistics(code: &Code) -> Value {
    let (sizes, others) = (&code.sizes, &code.other_sizes);
    json!({
        "commit_count": code.commit_count(),
        "storage_size": code.storage_size(),
        "repository_size": sizes.repository,
        "wiki_size": sizes.wiki,
        "lfs_objects_size": sizes.lfs_objects,
        "job_artifacts_size": sizes.job_artifacts,
        "pipeline_artifacts_size": others.pipeline_artifacts,
        "packages_size": sizes.packages,
        "snippets_size": others.snippets,
        "uploads_size": others.uploads,
        "container_registry_size": sizes.container_registry,
    })
}

/// `GET /projects/:id/languages`
pub async fn languages(call: Call) -> Answer {
    let world = call.state.world.read();
    let project = call.project(&world)?;
    let code = world
        .code(project.id)
        .ok_or(ApiError::NotFound("404 Project Not Found"))?;
    let shares: Map<String, Value> = code
        .languages
        .iter()
        .map(|(name, share)| (name.to_string(), (*share).into()))
        .collect();
    ok(&Value::Object(shares))
}

/// `GET /projects/:id/releases`
pub async fn releases(call: Call) -> Answer {
    let world = call.state.world.read();
    let (_, code) = readable(&call, &world, Right::Releases)?;
    let by_release = call.parameter("order_by") != Some("created_at");
    let mut found: Vec<Release> = code.releases.values().cloned().collect();
    found.sort_by_key(|release| {
        if by_release {
            release.released_at
        } else {
            release.created_at
        }
    });
    if call.parameter("sort") != Some("asc") {
        found.reverse();
    }
    let now = world.now();
    let view = call.view(&world);
    call.offset_page(&found, true, |release| {
        json!({
            "tag_name": &*release.tag,
            "name": release.name.as_deref().unwrap_or(&release.tag),
            "description": null,
            "created_at": time::milliseconds(release.created_at),
            "released_at": time::milliseconds(release.released_at),
            "upcoming_release": release.released_at > now,
            "author": view.user(release.author.as_deref()),
        })
    })
}

/// `GET /projects/:id/repository/contributors`
pub async fn contributors(call: Call) -> Answer {
    let world = call.state.world.read();
    let (project, code) = readable(&call, &world, Right::Code)?;
    if project.settings.repository_missing {
        return Err(ApiError::NotFound("404 Repository Not Found"));
    }
    let of = call.parameter("ref").unwrap_or_default();
    let branch = project.branches.get(of).map(|branch| branch.sha.clone());
    let mut found = code.contributors_up_to(branch.or(code.tip.clone()).as_deref());
    match call.parameter("order_by") {
        Some("name") => found.sort_by(|a, b| a.name.cmp(&b.name)),
        Some("email") => found.sort_by(|a, b| a.email.cmp(&b.email)),
        Some("commits") => found.sort_by_key(|one| one.commits),
        _ => {}
    }
    if call.parameter("sort") == Some("desc") {
        found.reverse();
    }
    drop(world);
    call.offset_page(&found, true, |one| {
        json!({
            "name": &*one.name,
            "email": &*one.email,
            "commits": one.commits,
            // GitLab never fills these.
            "additions": 0,
            "deletions": 0,
        })
    })
}

/// `GET /projects/:id/repository/commits`: a branch, or a range of commits.
pub async fn commits(call: Call) -> Answer {
    let world = call.state.world.read();
    let (project, code) = readable(&call, &world, Right::Code)?;
    if project.settings.repository_missing {
        return Err(ApiError::Internal);
    }
    let asked = call.parameter("ref_name").unwrap_or_default();
    let (without, to) = match asked.split_once("..") {
        Some((without, to)) => (Some(without), to),
        None => (None, asked),
    };
    let tip = |name: &str| {
        if name.is_empty() || project.default_branch.as_deref() == Some(name) {
            return code.tip.clone();
        }
        let branch = project.branches.get(name).map(|branch| branch.sha.clone());
        branch.or_else(|| code.commits.get(name).map(|commit| commit.sha.clone()))
    };
    const MISSING: ApiError = ApiError::NotFound("404 Reference Not Found");
    let left_out: Vec<&str> = match without {
        None => Vec::new(),
        Some(name) => {
            let from = tip(name).ok_or(MISSING)?;
            code.ancestors(Some(&from))
                .map(|commit| &*commit.sha)
                .collect()
        }
    };
    let Some(to) = tip(to) else {
        if to.is_empty() && code.tip.is_none() {
            return call.page_of(&[(); 0], Counting::Full, |()| Value::Null);
        }
        return Err(MISSING);
    };
    let since = call.time("since")?;
    let stats = call.flag("with_stats")?.unwrap_or(false);
    let found: Vec<&Commit> = code
        .ancestors(Some(&to))
        .filter(|commit| !left_out.contains(&&*commit.sha))
        .filter(|commit| since.is_none_or(|since| commit.committed_at >= since))
        .collect();
    call.page_of(&found, Counting::Full, |commit| {
        write(&call, &world, project, commit, stats)
    })
}

/// `GET /projects/:id/repository/commits/:sha`: a commit, on a branch or not.
pub async fn commit(call: Call) -> Answer {
    let world = call.state.world.read();
    let (project, code) = readable(&call, &world, Right::Code)?;
    let commit = code.commits.get(&*call.segment("sha"));
    let commit = commit.ok_or(ApiError::NotFound("404 Commit Not Found"))?;
    let stats = call.flag("stats")?.unwrap_or(true);
    ok(&write(&call, &world, project, commit, stats))
}

fn write(call: &Call, world: &World, project: &Project, commit: &Commit, stats: bool) -> Value {
    let mut value = call.view(world).commit(project, commit);
    if stats {
        value["stats"] = json!({
            "additions": commit.additions,
            "deletions": commit.deletions,
            "total": commit.additions + commit.deletions,
        });
    }
    value
}

/// `GET /projects/:id/vulnerabilities`
pub async fn vulnerabilities(call: Call) -> Answer {
    let world = call.state.world.read();
    super::delivery::enterprise_only(&world)?;
    call.signed_in()?;
    let project = call.project(&world)?;
    let code = world
        .code(project.id)
        .ok_or(ApiError::NotFound("404 Project Not Found"))?;
    let allowed = world.tier_of(project) >= Tier::Ultimate
        && (call.viewer.is_admin() || call.viewer.role(project.id) >= AccessLevel::Developer);
    if !allowed {
        return Err(ApiError::Forbidden);
    }
    let found: Vec<_> = code.vulnerabilities.iter().cloned().enumerate().collect();
    let project_id = project.id;
    drop(world);
    call.offset_page(&found, true, |(index, found)| {
        json!({
            "id": project_id * 10_000 + *index as u64,
            "title": format!("Vulnerability {index}"),
            "severity": &*found.severity,
            "state": &*found.state,
            "report_type": "sast",
            "project": {"id": project_id},
        })
    })
}
