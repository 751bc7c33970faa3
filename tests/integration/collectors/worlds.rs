//! Five GitLabs, with every collector on: each shows exactly what its edition, version and licence
//! allow, says why the rest is missing, and gives no error.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use amazing_gitlab_exporter::catalogue::{self, Collector};
use amazing_gitlab_exporter::config::{Config, Settings};
use amazing_gitlab_exporter::gitlab::{self, JobFields};
use amazing_gitlab_exporter::types;
use gitlab_simulator::world::{PipelineSpec, Tier, Variable};
use gitlab_simulator::{Options, Simulator, World, WorldConfig};

use crate::support::core::{Core, client_settings, watch_everything};

/// Top-level groups of each world.
const GROUPS: usize = 3;
/// Projects of each world.
const PROJECTS: usize = 6;
/// Looks at each world, and how far they are apart.
const LOOKS: usize = 24;
const APART: Duration = Duration::from_secs(300);

/// A kind of GitLab.
struct Kind {
    name: &'static str,
    version: &'static str,
    enterprise: bool,
    /// Licences of the top-level groups.
    tiers: [Tier; GROUPS],
}

const KINDS: [Kind; 5] = [
    Kind {
        name: "CE, older",
        version: "17.11.0",
        enterprise: false,
        tiers: [Tier::Free; GROUPS],
    },
    Kind {
        name: "Free",
        version: "19.3.0-ee",
        enterprise: true,
        tiers: [Tier::Free; GROUPS],
    },
    Kind {
        name: "Premium, older",
        version: "18.4.1-ee",
        enterprise: true,
        tiers: [Tier::Premium; GROUPS],
    },
    Kind {
        name: "Ultimate",
        version: "19.3.0-ee",
        enterprise: true,
        tiers: [Tier::Ultimate; GROUPS],
    },
    Kind {
        name: "mixed",
        version: "19.3.0-ee",
        enterprise: true,
        tiers: [Tier::Free, Tier::Premium, Tier::Ultimate],
    },
];

/// Nothing waits in these worlds: deployments start when they are made.
const WAITING: &str = "age_environment_deployments_waiting";

/// Every collector, on, over everything.
fn everything() -> Settings {
    let mut yaml = "gitlab: {token: t}\nwildcards: [{}]\ncollectors:\n".to_owned();
    for collector in Collector::ALL {
        let more = match collector {
            Collector::ChildPipelines => continue,
            Collector::Jobs => ", runner_description_regexp: '.*', tags_regexp: '.*'",
            Collector::TestReports => ", include_test_cases: true",
            Collector::Variables => ", regexp: '^DEPLOY_'",
            _ => "",
        };
        let name = collector.as_str();
        yaml.push_str(&format!("  {name}: {{enabled: true{more}}}\n"));
    }
    let config = Config::from_yaml(&yaml).expect("a configuration");
    Settings {
        collectors: config.collectors.clone(),
        ..watch_everything()
    }
}

fn world(kind: &Kind) -> World {
    let mut world = World::generate(WorldConfig {
        seed: 5,
        groups: GROUPS,
        projects: PROJECTS,
        pipelines_per_project: 6,
        tests_per_job: 2,
        active_ratio: 1.0,
        pushes_per_hour: 12.0,
        ..WorldConfig::default()
    });
    // Nobody works there, so that what its newest pipeline was started with stays.
    let projects: Vec<_> = world.projects().map(|project| project.id).collect();
    for project in projects {
        let spec = PipelineSpec::branch("release").stage("test", &["unit"]);
        let id = world.create_pipeline(project, &spec).expect("a pipeline");
        world.set_variables(id, vec![Variable::new("DEPLOY_TARGET", "staging")]);
    }
    (world.version, world.enterprise) = (kind.version.to_owned(), kind.enterprise);
    world.quirks.tier_by_top_level_group = true;
    for (group, tier) in kind.tiers.iter().enumerate() {
        let group = format!("group-{group}");
        world.set_tier(&group, *tier).expect("a group");
    }
    world
}

/// Whether a licence has a metric.
fn allows(tier: Tier, needs: types::Tier) -> bool {
    match needs {
        types::Tier::Free => true,
        types::Tier::Premium => tier >= Tier::Premium,
        types::Tier::Ultimate => tier >= Tier::Ultimate,
    }
}

/// The metrics of a project with this licence.
fn allowed(tier: Tier) -> BTreeSet<&'static str> {
    catalogue::all()
        .filter(|desc| desc.implemented && desc.collector != Collector::Exporter)
        .filter(|desc| allows(tier, desc.tier))
        .map(|desc| desc.name)
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_gitlab_shows_exactly_what_it_has() {
    for kind in &KINDS {
        let gitlab = Simulator::start(world(kind), &Options::default()).expect("a simulator");
        let client = gitlab::Settings {
            job_fields: JobFields {
                runners: true,
                tags: true,
            },
            ..client_settings(&gitlab)
        };
        let mut exporter = Core::with_client(&gitlab, &everything(), &client);
        for _ in 0..4 {
            exporter.round(&gitlab).await;
        }
        for _ in 0..LOOKS {
            gitlab.advance(APART);
            exporter.round(&gitlab).await;
        }
        let failures = exporter.heard.all_failures();
        assert!(failures.is_empty(), "{}: {failures:?}", kind.name);
        let series = exporter.series();
        let mut all: BTreeSet<String> = BTreeSet::new();
        for (group, tier) in kind.tiers.iter().enumerate() {
            let beginning = format!("group-{group}/");
            // Runners belong to no project.
            let mine = series.0.keys().filter(|(metric, labels)| {
                let project = labels.get("project").or(labels.get("parent_project"));
                project.is_some_and(|path| path.starts_with(&beginning))
                    || metric.starts_with("age_runner_")
            });
            let shown: BTreeSet<&str> = mine.map(|(metric, _)| metric.as_str()).collect();
            let more: Vec<_> = shown.difference(&allowed(*tier)).copied().collect();
            assert!(more.is_empty(), "{} {tier:?}: {more:?}", kind.name);
            all.extend(shown.into_iter().map(ToOwned::to_owned));
        }
        // What needs luck, such as a merge that was deployed, happened somewhere.
        let best = kind.tiers.into_iter().max().unwrap_or_default();
        let missing: Vec<_> = allowed(best)
            .into_iter()
            .filter(|name| !all.contains(*name) && *name != WAITING)
            .collect();
        assert!(missing.is_empty(), "{}: {missing:?}", kind.name);
        tell(kind, &exporter);
    }
}

/// What a world showed: families, series, and why collectors had nothing.
fn tell(kind: &Kind, exporter: &Core) {
    let series = exporter.series();
    let families: BTreeSet<&String> = series.0.keys().map(|(metric, _)| metric).collect();
    let (families, series) = (families.len(), series.0.len());
    println!(
        "{} {}: {families} families, {series} series",
        kind.name, kind.version
    );
    let registry = exporter.registry();
    let registry = registry.lock();
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    for (_, entry) in registry.iter() {
        for (collector, why) in entry.unavailable() {
            let sentence = format!("{}: {why}", collector.as_str());
            *reasons.entry(sentence).or_default() += 1;
        }
    }
    for (reason, projects) in reasons {
        println!("  {projects} projects: {reason}");
    }
}
