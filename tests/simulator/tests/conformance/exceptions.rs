//! What may differ, and why.

use gitlab_simulator::world::Tier;
use gitlab_simulator::{World, time};

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
    world.issues_aggregated = false;
    "19.3.0-pre".clone_into(&mut world.version);
    let groups: Vec<String> = world
        .groups()
        .filter(|group| group.parent_id.is_none())
        .map(|group| group.full_path.to_string())
        .collect();
    for group in groups {
        world.set_tier(&group, Tier::Ultimate).expect("a group");
    }
    // DORA figures had been aggregated for one group alone, from this day on.
    let since = time::parse("2026-10-20");
    let projects: Vec<(u64, bool)> = world
        .projects()
        .map(|project| (project.id, project.full_path.starts_with("dora2/")))
        .collect();
    for (project, aggregated) in projects {
        world
            .aggregate_dora(project, since.filter(|_| aggregated))
            .expect("a project");
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

const COMMUNITY: &[Class] = &[
    Class {
        api: "rest",
        reason: "the rows have neither the ids of tokens nor when they were made",
        ids: &[322, 329, 343, 350, 357, 406, 1742],
    },
    Class {
        api: "rest",
        reason: "pages that hold projects of which there are no rows",
        ids: &[516, 520, 521, 530, 1744],
    },
    Class {
        api: "rest",
        reason: "the rows have the counts of a test report, not its cases",
        ids: &[1645, 1647, 1805],
    },
    Class {
        api: "graphql",
        reason: "words of parser and type errors of documents that were written by hand",
        ids: &[256, 258],
    },
];

const ENTERPRISE: &[Class] = &[];
