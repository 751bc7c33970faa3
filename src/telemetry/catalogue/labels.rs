//! Label sets as types: a wrong or missing label does not compile.

use crate::gitlab::model::Text;

/// Label values in the order of the sorted label names of their metric.
pub type LabelValues = Box<[Text]>;

/// A set of labels with fixed, sorted names.
pub trait Labels {
    /// The names, sorted.
    const KEYS: &'static [&'static str];

    /// The values, in the order of [`Labels::KEYS`].
    fn into_values(self) -> LabelValues;
}

/// Whether names stand in ascending order without repeats.
const fn is_sorted(keys: &[&str]) -> bool {
    let mut i = 1;
    while i < keys.len() {
        if !less(keys[i - 1].as_bytes(), keys[i].as_bytes()) {
            return false;
        }
        i += 1;
    }
    true
}

const fn less(a: &[u8], b: &[u8]) -> bool {
    let mut i = 0;
    while i < a.len() && i < b.len() {
        if a[i] != b[i] {
            return a[i] < b[i];
        }
        i += 1;
    }
    a.len() < b.len()
}

/// Declares label sets; the names must be written in ascending order, or it does not compile.
macro_rules! label_sets {
    ($($(#[$doc:meta])* $name:ident { $($field:ident = $key:literal),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "fields are named after their labels")]
        pub struct $name { $(pub $field: Text),* }

        impl Labels for $name {
            const KEYS: &'static [&'static str] = {
                const KEYS: &[&str] = &[$($key),*];
                assert!(is_sorted(KEYS), "label names must be sorted");
                KEYS
            };

            fn into_values(self) -> LabelValues {
                let Self { $($field),* } = self;
                Box::new([$($field),*])
            }
        }
    )*};
}

label_sets! {
    /// No labels.
    NoLabels {}
    /// A project.
    ProjectLabels { project = "project" }
    /// A project's number of pipelines or jobs by status.
    ProjectStatusLabels { project = "project", status = "status" }
    /// The newest pipeline of a ref.
    RefLabels { kind = "kind", project = "project", git_ref = "ref" }
    /// Pipelines of a ref by source.
    RefSourceLabels { kind = "kind", project = "project", git_ref = "ref", source = "source" }
    /// Pipelines of a ref by source and status.
    RefSourceStatusLabels {
        kind = "kind", project = "project", git_ref = "ref", source = "source", status = "status",
    }
    /// Downstream pipelines by what started them.
    ChildLabels {
        bridge_name = "bridge_name", parent_project = "parent_project", parent_ref = "parent_ref",
        project = "project", git_ref = "ref",
    }
    /// Downstream pipelines by what started them and by status.
    ChildStatusLabels {
        bridge_name = "bridge_name", parent_project = "parent_project", parent_ref = "parent_ref",
        project = "project", git_ref = "ref", status = "status",
    }
    /// A job of a ref.
    JobLabels { job_name = "job_name", project = "project", git_ref = "ref", stage = "stage" }
    /// A job of a ref, by status and reason of failure.
    JobStatusLabels {
        failure_reason = "failure_reason", job_name = "job_name", project = "project",
        git_ref = "ref", stage = "stage", status = "status",
    }
    /// Runs of a job by who ran it and how it ended.
    JobRunLabels {
        job_name = "job_name", project = "project", git_ref = "ref",
        runner_type = "runner_type", stage = "stage", status = "status",
    }
    /// Failures of a job by reason.
    JobFailureLabels {
        failure_reason = "failure_reason", job_name = "job_name", project = "project",
        git_ref = "ref", stage = "stage",
    }
    /// Time on a kind of runner.
    RunnerTypeLabels { project = "project", runner_type = "runner_type" }
    /// Calls of a GitLab endpoint.
    ApiEndpointLabels { endpoint = "endpoint" }
    /// Calls of a GitLab endpoint by method.
    ApiRequestLabels { endpoint = "endpoint", method = "method" }
    /// Calls of a GitLab endpoint by method and by how they ended.
    ApiStatusLabels { endpoint = "endpoint", method = "method", status_code = "status_code" }
    /// A collector.
    CollectorLabels { collector_type = "collector_type" }
    /// What goes wrong for a collector.
    CollectorErrorLabels { collector_type = "collector_type", error_type = "error_type" }
    /// A version of the exporter.
    BuildLabels { version = "version" }
    /// A version of GitLab.
    GitLabLabels { edition = "edition", version = "version" }
    /// A GraphQL query.
    QueryLabels { query = "query" }
    /// A metric.
    MetricLabels { metric = "metric" }
    /// How OTLP messages end.
    OtlpExportLabels { outcome = "outcome", signal = "signal" }
}
