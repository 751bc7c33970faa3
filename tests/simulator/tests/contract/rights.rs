//! Who may see what: what GitLab's policy answered for each setting of a project and each role. P pipelines,
//! S schedules, E environments, D deployments, M merge requests, C code, T statistics, R runners,
//! V variables, A analytics.

use gitlab_simulator::access::{Right, Viewer};
use gitlab_simulator::world::{Feature, ProjectSettings, Visibility};
use gitlab_simulator::{AccessLevel, Token, World, WorldConfig};

const LETTERS: [(char, Right); 10] = [
    ('P', Right::Pipelines),
    ('S', Right::Schedules),
    ('E', Right::Environments),
    ('D', Right::Deployments),
    ('M', Right::MergeRequests),
    ('C', Right::Code),
    ('T', Right::Statistics),
    ('R', Right::Runners),
    ('V', Right::Variables),
    ('A', Right::Analytics),
];

/// Not a member, Guest, Planner, Reporter, Developer, Security Manager, Maintainer.
const ROLES: [AccessLevel; 7] = [
    AccessLevel::None,
    AccessLevel::Guest,
    AccessLevel::Planner,
    AccessLevel::Reporter,
    AccessLevel::Developer,
    AccessLevel::SecurityManager,
    AccessLevel::Maintainer,
];

type Setting = fn(&mut ProjectSettings);

/// What the roles may see, in the order of [`ROLES`]; of Reporter and Developer there is one entry.
type Row = (Visibility, Setting, [&'static str; 6]);

const NOTHING_SET: Setting = |_| {};
const HIDDEN: Setting = |settings| settings.public_jobs = false;
const CI_OF_MEMBERS: Setting = |settings| settings.builds = Feature::Private;
const HIDDEN_CI_OF_MEMBERS: Setting = |settings| {
    settings.public_jobs = false;
    settings.builds = Feature::Private;
};
const CI_OFF: Setting = |settings| settings.builds = Feature::Disabled;
const MRS_OF_MEMBERS: Setting = |settings| settings.merge_requests = Feature::Private;
const MRS_OFF: Setting = |settings| settings.merge_requests = Feature::Disabled;
const CODE_OF_MEMBERS: Setting = |settings| {
    // GitLab then restricts these, too.
    settings.repository = Feature::Private;
    settings.builds = Feature::Private;
    settings.merge_requests = Feature::Private;
};
const CODE_OFF: Setting = |settings| settings.repository = Feature::Disabled;
const PLACES_OF_MEMBERS: Setting = |settings| settings.environments = Feature::Private;
const PLACES_OFF: Setting = |settings| settings.environments = Feature::Disabled;
const ANALYTICS_OFF: Setting = |settings| settings.analytics = Feature::Disabled;

const ALL: [&str; 3] = ["PSEDMCTA", "PSEDMCTRA", "PSEDMCTRVA"];

const fn row(low: [&'static str; 3], high: [&'static str; 3]) -> [&'static str; 6] {
    [low[0], low[1], low[2], high[0], high[1], high[2]]
}

const TABLE: &[Row] = &[
    (
        Visibility::Private,
        NOTHING_SET,
        row(["", "PSA", "PSMCA"], ALL),
    ),
    (Visibility::Private, HIDDEN, row(["", "A", "MCA"], ALL)),
    (
        Visibility::Private,
        CI_OF_MEMBERS,
        row(["", "PSA", "PSMCA"], ALL),
    ),
    (
        Visibility::Private,
        CI_OFF,
        row(["", "A", "MCA"], ["MCTA", "MCTRA", "MCTRA"]),
    ),
    (
        Visibility::Private,
        MRS_OF_MEMBERS,
        row(["", "PSA", "PSCA"], ALL),
    ),
    (
        Visibility::Private,
        MRS_OFF,
        row(["", "PSA", "PSCA"], ["PSEDCTA", "PSEDCTRA", "PSEDCTRVA"]),
    ),
    (
        Visibility::Private,
        CODE_OFF,
        row(["", "A", "A"], ["TA", "TRA", "TRA"]),
    ),
    (
        Visibility::Private,
        PLACES_OFF,
        row(["", "PSA", "PSMCA"], ["PSMCTA", "PSMCTRA", "PSMCTRVA"]),
    ),
    (
        Visibility::Private,
        ANALYTICS_OFF,
        row(["", "PS", "PSMC"], ["PSEDMCT", "PSEDMCTR", "PSEDMCTRV"]),
    ),
    (Visibility::Public, NOTHING_SET, row(["PSEDMCA"; 3], ALL)),
    (Visibility::Public, HIDDEN, row(["EDMCA"; 3], ALL)),
    (
        Visibility::Public,
        CI_OF_MEMBERS,
        row(["MCA", "PSEDMCA", "PSEDMCA"], ALL),
    ),
    (
        Visibility::Public,
        HIDDEN_CI_OF_MEMBERS,
        row(["MCA", "EDMCA", "EDMCA"], ALL),
    ),
    (
        Visibility::Public,
        CI_OFF,
        row(["MCA"; 3], ["MCTA", "MCTRA", "MCTRA"]),
    ),
    (Visibility::Public, MRS_OF_MEMBERS, row(["PSEDCA"; 3], ALL)),
    (
        Visibility::Public,
        CODE_OF_MEMBERS,
        row(["A", "PSEDCA", "PSEDCA"], ALL),
    ),
    (
        Visibility::Public,
        CODE_OFF,
        row(["A"; 3], ["TA", "TRA", "TRA"]),
    ),
    (
        Visibility::Public,
        PLACES_OF_MEMBERS,
        row(["PSMCA"; 3], ALL),
    ),
    (
        Visibility::Public,
        PLACES_OFF,
        row(["PSMCA"; 3], ["PSMCTA", "PSMCTRA", "PSMCTRVA"]),
    ),
];

/// The letters of what a viewer may see.
fn seen(world: &World, project: u64, role: AccessLevel) -> String {
    let viewer = Viewer::new(world, Some(Token::new("glpat").with_role(role)));
    let project = world.project(project).expect("a project");
    let letters = LETTERS.iter();
    let letters = letters.filter(|(_, right)| viewer.may(project, *right));
    letters.map(|(letter, _)| letter).collect()
}

fn in_order(letters: &str) -> String {
    let known = LETTERS.iter().map(|(letter, _)| *letter);
    known.filter(|letter| letters.contains(*letter)).collect()
}

#[test]
fn every_role_sees_what_gitlabs_policy_says() {
    for (number, (visibility, set, expected)) in TABLE.iter().enumerate() {
        let mut world = World::new(WorldConfig::default());
        let project = world.add_project("group/app").expect("free path");
        world.set_visibility(project, *visibility).expect("there");
        world.change_settings(project, set).expect("there");
        for role in ROLES {
            let place = match role {
                AccessLevel::None => 0,
                AccessLevel::Guest => 1,
                AccessLevel::Planner => 2,
                AccessLevel::SecurityManager => 4,
                AccessLevel::Maintainer => 5,
                _ => 3,
            };
            assert_eq!(
                seen(&world, project, role),
                in_order(expected[place]),
                "row {number}, {visibility:?}, {role:?}"
            );
        }
    }
}

#[test]
fn internal_projects_are_public_for_whoever_signed_in() {
    let mut world = World::new(WorldConfig::default());
    let project = world.add_project("group/app").expect("free path");
    world
        .set_visibility(project, Visibility::Internal)
        .expect("there");
    assert_eq!(
        seen(&world, project, AccessLevel::None),
        in_order("PSEDMCA")
    );
    let found = world.project(project).expect("a project");
    assert!(!Viewer::new(&world, None).sees(found));
}
