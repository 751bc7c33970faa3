//! How what an earlier version wrote becomes what this one reads: every upgrade step is here.
//!
//! What is stored of a project is stored in parts ([`super::stored::PARTS`]), and each counter or
//! histogram in a row. Each kind has a version of its own: 1, and 1 more for each step. A step reads
//! the content of one version and returns that of the next.
//!
//! To change the shape of a stored type: keep the old type next to the new one (as `v1`), and append
//! a step from the old to the new here. To rename a metric or change its labels: append a step to
//! [`ROWS`] that rewrites its rows, or returns `None` for those that cannot be rewritten; they are
//! dropped, and a log line says so.

use crate::gitlab::model::RefKind;
use crate::memory::ProjectMemory;
use crate::memory::refs::{RefName, without_kind};
use crate::types::Text;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::stored::{
    Invalid, Row, StoredChildPipelines, StoredCompat, StoredEnvironments, StoredJobs,
    StoredPipelines, StoredTestReports, compat_v1, decode, encode, environments_v1,
    environments_v2, pipelines_v1, pipelines_v2, pipelines_v3, test_reports_v1, v1, v2,
};

/// Content of one version to that of the next.
pub(super) type PartStep = fn(&[u8]) -> Result<Vec<u8>, Invalid>;
/// The same for a row of a project of which this is remembered; `None` where the series cannot continue.
pub(super) type RowStep = fn(&[u8], &ProjectMemory) -> Result<Option<Vec<u8>>, Invalid>;

/// All upgrade steps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Steps {
    /// Of parts by their names, each from version 1 on.
    pub(super) parts: &'static [(&'static str, &'static [PartStep])],
    /// Of rows, from version 1 on.
    pub(super) rows: &'static [RowStep],
    /// Parts of earlier versions that are stored no more: what is there of them is dropped.
    pub(super) dropped: &'static [&'static str],
}

/// The steps to this version of the program.
pub(super) const STEPS: Steps = Steps {
    parts: &[
        (
            "environments",
            &[
                deployments_by_creation,
                without_details::<environments_v2::Environments, StoredEnvironments>,
            ],
        ),
        (
            "pipelines",
            &[
                without_skipped::<pipelines_v1::Pipelines, pipelines_v2::Pipelines>,
                without_details::<pipelines_v2::Pipelines, StoredPipelines>,
            ],
        ),
        (
            "test_reports",
            &[without_details::<test_reports_v1::TestReports, StoredTestReports>],
        ),
        (
            "compat",
            &[without_details::<compat_v1::Compat, StoredCompat>],
        ),
        (
            "jobs",
            &[
                without_skipped::<pipelines_v1::Jobs, pipelines_v2::Jobs>,
                without_bridges::<pipelines_v2::Jobs, pipelines_v3::Jobs>,
                without_details::<pipelines_v3::Jobs, StoredJobs>,
            ],
        ),
        (
            "child_pipelines",
            &[
                without_skipped::<pipelines_v1::ChildPipelines, pipelines_v2::ChildPipelines>,
                without_bridges::<pipelines_v2::ChildPipelines, pipelines_v3::ChildPipelines>,
                without_details::<pipelines_v3::ChildPipelines, StoredChildPipelines>,
            ],
        ),
    ],
    rows: &[without_withdrawal, tags_by_name_alone],
    // The role said what may be read; GitLab's answers do.
    dropped: &["role"],
};

/// Version 1 knew no series that wait for the access to come back.
fn without_withdrawal(content: &[u8], _: &ProjectMemory) -> Result<Option<Vec<u8>>, Invalid> {
    let row: v1::Row = decode(content)?;
    encode(&v2::Row::from(row)).map(Some)
}

/// Version 2 wrote tags as branches where there is no label `kind`. Where both have a name, the series is the
/// branch's.
fn tags_by_name_alone(content: &[u8], memory: &ProjectMemory) -> Result<Option<Vec<u8>>, Invalid> {
    let mut row = Row::from(decode::<v2::Row>(content)?);
    let is_known = |kind, name: &Text| {
        let name = name.clone();
        memory.knows(&RefName { kind, name })
    };
    if !row.labels.iter().any(|(label, _)| label == "kind")
        && let Some((_, name)) = row.labels.iter_mut().find(|(label, _)| label == "ref")
        && is_known(RefKind::Tag, name)
        && !is_known(RefKind::Branch, name)
    {
        *name = without_kind(RefKind::Tag, name);
    }
    encode(&row).map(Some)
}

/// Version 1 counted deployments when they were created: what it counted is not counted again.
fn deployments_by_creation(content: &[u8]) -> Result<Vec<u8>, Invalid> {
    let stored: environments_v1::Environments = decode(content)?;
    encode(&environments_v2::Environments::from(stored))
}

/// An earlier version did not note all that is shown now: it comes with what is read next.
fn without_details<Before: DeserializeOwned, Now: From<Before> + Serialize>(
    content: &[u8],
) -> Result<Vec<u8>, Invalid> {
    encode(&Now::from(decode::<Before>(content)?))
}

/// Version 1 did not tell skipped pipelines from others.
fn without_skipped<V1: DeserializeOwned, V2: From<V1> + Serialize>(
    content: &[u8],
) -> Result<Vec<u8>, Invalid> {
    encode(&V2::from(decode::<V1>(content)?))
}

/// Version 2 knew no trigger jobs, and no jobs of child pipelines: they come with the next pipelines.
fn without_bridges<V2: DeserializeOwned, V3: From<V2> + Serialize>(
    content: &[u8],
) -> Result<Vec<u8>, Invalid> {
    encode(&V3::from(decode::<V2>(content)?))
}

/// The version that so many steps lead to.
pub(super) const fn version(steps: usize) -> u16 {
    steps as u16 + 1
}

impl Steps {
    /// The steps of a part.
    pub(super) fn of_part(&self, name: &str) -> &'static [PartStep] {
        let known = self.parts.iter().find(|(part, _)| *part == name);
        known.map_or(&[], |(_, steps)| steps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::UnixSeconds;
    use crate::memory::history::Remembered;
    use crate::memory::jobs::JobsOfRef;
    use crate::store::stored::Value;
    use crate::types::PipelineId;

    fn memory(refs: &[(RefKind, &str)]) -> ProjectMemory {
        let mut memory = ProjectMemory::default();
        for (kind, name) in refs {
            let name = (*name).into();
            let entry = Remembered {
                id: PipelineId(1),
                created_at: UnixSeconds(1),
                skipped: false,
                value: JobsOfRef::default(),
            };
            memory.jobs.newest.put(RefName { kind: *kind, name }, entry);
        }
        memory
    }

    /// The label `ref` of a row of version 2 in version 3.
    fn upgraded(labels: &[(&'static str, &str)], memory: &ProjectMemory) -> Text {
        let labels = labels.iter();
        let row = v2::Row {
            name: "age_job_run_count".into(),
            labels: labels
                .map(|(name, value)| ((*name).into(), (*value).into()))
                .collect(),
            start: 0,
            changed: 0,
            value: Value::Counter(1.0),
            retiring: false,
            withdrawn: false,
        };
        let content = tags_by_name_alone(&encode(&row).unwrap(), memory).unwrap();
        let row: Row = decode(&content.unwrap()).unwrap();
        let found = row.labels.into_iter().find(|(name, _)| name == "ref");
        found.unwrap().1
    }

    #[test]
    fn rows_of_tags_are_found_by_what_is_remembered() {
        let memory = memory(&[
            (RefKind::Tag, "v1"),
            (RefKind::Branch, "main"),
            (RefKind::Tag, "both"),
            (RefKind::Branch, "both"),
        ]);
        for (name, expected) in [
            ("v1", "tags/v1"),
            ("main", "main"),
            ("both", "both"),
            ("gone", "gone"),
        ] {
            assert_eq!(&*upgraded(&[("ref", name)], &memory), expected);
        }
        let with_kind = [("kind", "tag"), ("ref", "v1")];
        assert_eq!(&*upgraded(&with_kind, &memory), "v1");
    }

    /// What a child pipeline of a tag was called in version 1: `ref` as GitLab writes it.
    #[test]
    fn downstream_pipelines_of_tags_are_called_as_new_ones_are() {
        let bridge = |git_ref: &str| ("deploy", 7_u64, "v1", 7_u64, git_ref.to_owned());
        let newest = (3_u64, "success", 2_u64, 20_i64, "group/p", "group/p");
        // Kinds by their places: a branch and a tag of one name.
        let refs: Vec<_> = [0_u32, 1]
            .into_iter()
            .map(|kind| {
                let entry = (2_u64, 20_i64, vec![(bridge("v1"), newest)]);
                ((kind, "v1"), (20_i64, vec![entry]))
            })
            .collect();
        type ById<Value> = Vec<(u64, Value)>;
        let claims: ById<(Option<i64>,)> = Vec::new();
        let foreign: ById<ById<(Option<i64>,)>> = Vec::new();
        let content = encode(&(claims, foreign, refs)).unwrap();
        let content =
            without_skipped::<pipelines_v1::ChildPipelines, pipelines_v2::ChildPipelines>(&content);
        let content = without_bridges::<pipelines_v2::ChildPipelines, pipelines_v3::ChildPipelines>(
            &content.unwrap(),
        );
        let content = without_details::<pipelines_v3::ChildPipelines, StoredChildPipelines>(
            &content.unwrap(),
        );
        let mut memory = ProjectMemory::default();
        let part = crate::store::stored::Part::by_name("child_pipelines").unwrap();
        (part.decode)(&content.unwrap(), &mut memory).unwrap();
        let entries = memory.child_pipelines.newest.iter();
        let bridges = entries.flat_map(|(_, entries)| &entries[0].value);
        let refs: Vec<&str> = bridges.map(|(bridge, _)| &*bridge.git_ref).collect();
        assert_eq!(refs, ["v1", "tags/v1"]);
    }
}
