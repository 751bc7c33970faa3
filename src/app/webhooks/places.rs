//! Where webhooks are: projects, groups, or the instance.

use std::fmt;

use super::{Scope, is_ours};
use crate::config::{Config, OwnerKind};
use crate::gitlab::GitLab;
use crate::gitlab::model::Project;
use crate::gitlab::rest::hooks::{HookOwner, HookSpec};
use crate::types::Text;

/// Something that has a webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// What GitLab is asked by.
    pub owner: HookOwner,
    /// What it is called.
    path: Text,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.owner {
            HookOwner::Project(_) => f.write_str(&self.path),
            HookOwner::Group(_) => write!(f, "{} (group)", self.path),
            HookOwner::Instance => f.write_str("instance"),
        }
    }
}

/// Places, and what is to be said of them.
pub(super) struct Found {
    pub(super) places: Vec<Place>,
    /// Entries of the configuration that could not be read.
    pub(super) errors: Vec<String>,
    pub(super) notices: Vec<String>,
}

impl Found {
    /// The instance alone.
    pub(super) fn instance() -> Self {
        let place = Place {
            owner: HookOwner::Instance,
            path: "".into(),
        };
        Self {
            places: vec![place],
            errors: Vec::new(),
            notices: Vec::new(),
        }
    }
}

/// A place for each project, or for each group that the configuration names, and for the projects that are
/// in none with group webhooks.
pub(super) async fn find(
    config: &Config,
    gitlab: &GitLab,
    scope: Scope,
    (projects, errors): (Vec<Project>, Vec<String>),
) -> Found {
    let (mut places, mut notices) = (Vec::new(), Vec::new());
    let groups = match scope {
        Scope::Groups => groups(config),
        Scope::Projects | Scope::Instance => Vec::new(),
    };
    let mut open = projects;
    for path in groups {
        let owner = HookOwner::Group(path.clone());
        match gitlab.hooks(&owner).await {
            // There are none with this tier, or not for this token.
            Err(error) if error.is_not_found() || error.is_forbidden() => {
                notices.push(format!(
                    "{path}: no group webhooks ({error}): they need GitLab Premium and the role Owner; its \
                     projects have webhooks of their own"
                ));
                continue;
            }
            // What else fails is said of the group.
            Ok(_) | Err(_) => {}
        }
        let below = format!("{path}/");
        open.retain(|project| !project.full_path.starts_with(&below));
        places.push(Place { owner, path });
    }
    places.extend(open.into_iter().map(|project| Place {
        owner: HookOwner::Project(project.id),
        path: project.full_path,
    }));
    Found {
        places,
        errors,
        notices,
    }
}

/// The groups that the configuration names and that are in no other of them.
fn groups(config: &Config) -> Vec<Text> {
    let owners = config.wildcards.iter().filter_map(|one| one.owner.as_ref());
    let groups = owners.filter(|owner| owner.kind == OwnerKind::Group);
    let mut names: Vec<&str> = groups.map(|owner| owner.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let is_below = |name: &str| {
        let mut names = names.iter();
        names.any(|other| {
            let rest = name.strip_prefix(other);
            rest.is_some_and(|rest| rest.starts_with('/'))
        })
    };
    let tops = names.iter().filter(|name| !is_below(name));
    tops.map(|name| (*name).into()).collect()
}

/// What an administrator could have besides.
pub(super) async fn offer(gitlab: &GitLab, spec: &HookSpec) -> Option<String> {
    let hooks = gitlab.hooks(&HookOwner::Instance).await.ok()?;
    let mut hooks = hooks.items.iter();
    (!hooks.any(|hook| is_ours(hook, spec))).then(|| {
        "this token is an administrator's: with --scope system, one system hook also reports new and removed \
         projects, all branches of a push and merge requests of the whole instance"
            .to_owned()
    })
}
