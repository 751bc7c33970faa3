//! Holds the schema subset and every query against GitLab's whole schema.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{LazyLock, Mutex, PoisonError};

use graphql_parser::schema::{self, TypeDefinition};

use super::gaps::{GAPS, Stripped, strip};
use super::validation::{Types, Validation};
use crate::gitlab::testing::truth;

const SUBSET: &str = include_str!("schema.graphql");

pub(super) const QUERIES: [(&str, &str); 23] = [
    (
        "merge_request_reviews",
        include_str!("queries/merge_request_reviews.graphql"),
    ),
    (
        "merge_request_census",
        include_str!("queries/merge_request_census.graphql"),
    ),
    ("test_reports", include_str!("queries/test_reports.graphql")),
    (
        "pipeline_schedules",
        include_str!("queries/pipeline_schedules.graphql"),
    ),
    ("runners", include_str!("queries/runners.graphql")),
    (
        "project_changes",
        include_str!("queries/project_changes.graphql"),
    ),
    (
        "project_permissions",
        include_str!("queries/project_permissions.graphql"),
    ),
    ("project_list", include_str!("queries/project_list.graphql")),
    (
        "instance_jobs",
        include_str!("queries/instance_jobs.graphql"),
    ),
    (
        "pipeline_jobs",
        include_str!("queries/pipeline_jobs.graphql"),
    ),
    (
        "licensed_features",
        include_str!("queries/licensed_features.graphql"),
    ),
    (
        "feature_probe",
        include_str!("queries/feature_probe.graphql"),
    ),
    ("repositories", include_str!("queries/repositories.graphql")),
    ("ref_counts", include_str!("queries/ref_counts.graphql")),
    (
        "value_streams",
        include_str!("queries/value_streams.graphql"),
    ),
    ("flow_times", include_str!("queries/flow_times.graphql")),
    ("dora_metrics", include_str!("queries/dora_metrics.graphql")),
    (
        "vulnerability_counts",
        include_str!("queries/vulnerability_counts.graphql"),
    ),
    ("branch_tips", include_str!("queries/branch_tips.graphql")),
    ("incidents", include_str!("queries/incidents.graphql")),
    ("deployments", include_str!("queries/deployments.graphql")),
    (
        "deployment_merge_requests",
        include_str!("queries/deployment_merge_requests.graphql"),
    ),
    (
        "pipeline_variables",
        include_str!("queries/pipeline_variables.graphql"),
    ),
];

/// Types that stand behind a field newer than the collected schema, which has only their fields'
/// names.
const NEWER_TYPES: [&str; 2] = ["LicensedFeature", "LicensedFeatureAvailability"];

/// GitLab's schema; `None` where it is absent.
static WHOLE: LazyLock<Option<&'static Types>> = LazyLock::new(|| schema_of("schema.graphql"));
/// That of an older GitLab, which has fields that went since.
static OLD: LazyLock<Option<&'static Types>> = LazyLock::new(|| schema_of("old/15.8-ee.graphql"));

/// One of GitLab's schemas, read once; `None` where it is absent.
pub(super) fn schema_of(file: &str) -> Option<&'static Types> {
    static READ: Mutex<BTreeMap<String, &'static Types>> = Mutex::new(BTreeMap::new());
    let path = truth(&format!("graphql/{file}"))?;
    let mut read = READ.lock().unwrap_or_else(PoisonError::into_inner);
    let types = read.entry(file.to_owned()).or_insert_with(|| {
        let text = std::fs::read_to_string(path).unwrap();
        Box::leak(Box::new(Types::parse(&text)))
    });
    Some(types)
}

/// A query as it is sent to a GitLab of the collected schema.
fn sent(query: &'static str) -> String {
    let newer = GAPS.iter();
    let newer = newer.filter(|gap| gap.argument.is_some() && gap.until >= Some((18, 4)));
    match strip(query, &newer.collect::<Vec<_>>()) {
        Stripped::Text(text) => text,
        Stripped::NotSent(gap) => panic!("{gap} is not missing"),
    }
}

/// Fields that GitLab has and the collected schema has not, as (type, field).
fn newer_fields() -> BTreeSet<(String, String)> {
    let Some(file) = truth("graphql/fields-added-18.4-to-19.3.tsv") else {
        return BTreeSet::new();
    };
    std::fs::read_to_string(file)
        .unwrap()
        .lines()
        .filter_map(|line| {
            let mut columns = line.split('\t');
            Some((columns.next()?.to_owned(), columns.next()?.to_owned()))
        })
        .collect()
}

#[test]
fn the_subset_is_a_true_subset_of_gitlabs_schema() {
    let (Some(whole), Some(old)) = (&*WHOLE, &*OLD) else {
        return;
    };
    let newer = newer_fields();
    let mut wrong = Vec::new();
    for (name, ours) in &Types::parse(SUBSET).0 {
        if NEWER_TYPES.contains(&name.as_str()) {
            continue;
        }
        let Some(theirs) = whole.0.get(name) else {
            wrong.push(format!("{name}: no such type"));
            continue;
        };
        match (ours, theirs) {
            (TypeDefinition::Scalar(_), TypeDefinition::Scalar(_)) => {}
            (TypeDefinition::Enum(ours), TypeDefinition::Enum(theirs)) => {
                let ours: BTreeSet<_> = ours.values.iter().map(|value| &value.name).collect();
                let theirs = theirs.values.iter().map(|value| &value.name).collect();
                if ours != theirs {
                    wrong.push(format!("{name}: {ours:?} is not {theirs:?}"));
                }
            }
            // Of an interface, only what all its types have is asked for.
            (
                TypeDefinition::Object(ours),
                TypeDefinition::Object(schema::ObjectType { fields: theirs, .. })
                | TypeDefinition::Interface(schema::InterfaceType { fields: theirs, .. }),
            ) => {
                for field in &ours.fields {
                    if newer.contains(&(name.clone(), field.name.clone())) {
                        continue;
                    }
                    let place = format!("{name}.{}", field.name);
                    let gone = old.fields(name).into_iter().flatten();
                    let mut known = theirs.iter().chain(gone);
                    match known.find(|theirs| theirs.name == field.name) {
                        None => wrong.push(format!("{place}: no such field")),
                        Some(theirs) => wrong.extend(same_field(&place, field, theirs)),
                    }
                }
            }
            (TypeDefinition::InputObject(ours), TypeDefinition::InputObject(theirs)) => {
                let fields = |input: &schema::InputObjectType<'static, String>| {
                    let fields = input.fields.iter();
                    let fields = fields.map(|field| (field.name.clone(), field.value_type.clone()));
                    fields.collect::<Vec<_>>()
                };
                if fields(ours) != fields(theirs) {
                    wrong.push(format!("{name}: other fields"));
                }
            }
            _ => wrong.push(format!("{name}: another kind of type")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn same_field(
    place: &str,
    ours: &schema::Field<'static, String>,
    theirs: &schema::Field<'static, String>,
) -> Vec<String> {
    let mut wrong = Vec::new();
    // What may be missing may be null.
    let is_gap = GAPS.iter().any(|gap| gap.to_string() == place);
    let nullable = match &theirs.field_type {
        schema::Type::NonNullType(inner) if is_gap => inner,
        theirs => theirs,
    };
    if ours.field_type != theirs.field_type && ours.field_type != *nullable {
        wrong.push(format!(
            "{place}: {} is not {}",
            ours.field_type, theirs.field_type
        ));
    }
    for argument in &ours.arguments {
        let theirs = theirs
            .arguments
            .iter()
            .find(|theirs| theirs.name == argument.name);
        let gap = format!("{place}({}:)", argument.name);
        if theirs.is_none() && GAPS.iter().any(|known| known.to_string() == gap) {
            continue;
        }
        if theirs.map(|theirs| &theirs.value_type) != Some(&argument.value_type) {
            wrong.push(format!("{place}({}): not so", argument.name));
        }
    }
    wrong
}

#[test]
fn every_query_validates_against_gitlabs_schema() {
    let Some(whole) = &*WHOLE else { return };
    let newer = newer_fields();
    for (name, text) in QUERIES {
        let wrong = Validation::new(&sent(text), whole, &newer).run();
        assert!(wrong.is_empty(), "{name}:\n{}", wrong.join("\n"));
    }
}

/// The validation itself must be able to fail.
#[test]
fn mistakes_in_a_query_are_seen() {
    let types = Types::parse(SUBSET);
    for (query, want) in [
        ("query { nothing }", "Query has no field nothing"),
        ("query { projects }", "projects needs a selection"),
        (
            "query { projects { nodes { id { x } } } }",
            "id has no selection",
        ),
        (
            "query { projects(last: 1) { nodes { id } } }",
            "projects has no argument last",
        ),
        (
            "query ($n: String) { projects(first: $n) { nodes { id } } }",
            "$n is String",
        ),
        (
            "query ($n: [ID]) { projects(ids: $n) { nodes { id } } }",
            "$n is [ID]",
        ),
        (
            "query { projects(first: $n) { nodes { id } } }",
            "$n is not declared",
        ),
        (
            "query ($n: Int) { projects { nodes { id } } }",
            "$n is not used",
        ),
        (
            "query { projects(first: \"1\") { nodes { id } } }",
            "first takes Int",
        ),
        (
            "query { projects { nodes { pipelines(status: DONE) { nodes { id } } } } }",
            "status takes PipelineStatusEnum",
        ),
        (
            "query { projects { nodes { flowMetrics { leadTime(from: null) { value } } } } }",
            "leadTime needs to",
        ),
        ("query { projects { nodes { ...No } } }", "no fragment No"),
        (
            "query { projects { nodes { ...F } } } fragment F on Pipeline { id }",
            "F is on Pipeline, not Project",
        ),
        (
            "query { projects { nodes { id } } } fragment F on Project { id }",
            "fragment F is not used",
        ),
        (
            "query { projects { nodes { id @include(if: 1) } } }",
            "include takes Boolean!",
        ),
    ] {
        let wrong = Validation::new(query, &types, &BTreeSet::new()).run();
        assert!(
            wrong.iter().any(|text| text.contains(want)),
            "{query}: {wrong:?}"
        );
    }
    for (_, query) in QUERIES {
        assert_eq!(
            Validation::new(query, &types, &BTreeSet::new()).run(),
            [""; 0]
        );
    }
}
