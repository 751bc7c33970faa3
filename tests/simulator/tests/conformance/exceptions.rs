//! What may differ, and why.

use gitlab_simulator::World;
use gitlab_simulator::world::Tier;

/// An edition of GitLab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edition {
    Community,
    Enterprise,
}

impl Edition {
    /// The folder of its records.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Community => "19.3-ce",
            Self::Enterprise => "19.3-ee",
        }
    }
}

/// Makes the recorded instance one of the Enterprise Edition with everything licensed.
pub fn license(world: &mut World) {
    world.enterprise = true;
    "19.3.0-pre".clone_into(&mut world.version);
    let groups: Vec<String> = world
        .groups()
        .filter(|group| group.parent_id.is_none())
        .map(|group| group.full_path.to_string())
        .collect();
    for group in groups {
        world.set_tier(&group, Tier::Ultimate).expect("a group");
    }
}

/// Records that are answered otherwise for one reason.
pub struct Class {
    pub api: &'static str,
    pub reason: &'static str,
    pub ids: &'static [u32],
}

/// The exceptions of an edition.
pub fn classes(edition: Edition) -> &'static [Class] {
    match edition {
        Edition::Community => COMMUNITY,
        Edition::Enterprise => ENTERPRISE,
    }
}

const COMMUNITY: &[Class] = &[];

const ENTERPRISE: &[Class] = &[];
