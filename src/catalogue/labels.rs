//! Label sets as types: a wrong or missing label does not compile.

use crate::types::Text;

/// Label values in the order of the sorted label names of their metric.
pub type LabelValues = Box<[Text]>;

/// A set of labels with fixed, sorted names.
pub trait Labels {
    /// The names, sorted.
    const KEYS: &'static [&'static str];

    /// The values, in the order of [`Labels::KEYS`].
    fn into_values(self) -> LabelValues;
}

/// Whether names are in ascending order without repeats.
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
    /// A job of a child pipeline, which runs in the project and ref of its parent, by the bridge that started
    /// the pipeline, status and reason of failure.
    ChildJobStatusLabels {
        bridge_name = "bridge_name", failure_reason = "failure_reason", job_name = "job_name",
        project = "project", git_ref = "ref", stage = "stage", status = "status",
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
    /// Runner and tags of a job of a ref.
    JobRunnerInfoLabels {
        job_name = "job_name", project = "project", git_ref = "ref",
        runner_description = "runner_description", stage = "stage", tags = "tags",
    }
    /// Failures of a job by reason.
    JobFailureLabels {
        failure_reason = "failure_reason", job_name = "job_name", project = "project",
        git_ref = "ref", stage = "stage",
    }
    /// Time on a kind of runner.
    RunnerTypeLabels { project = "project", runner_type = "runner_type" }
    /// A ref, whatever its kind.
    ProjectRefLabels { project = "project", git_ref = "ref" }
    /// A test suite of a ref.
    SuiteLabels { project = "project", git_ref = "ref", suite_name = "suite_name" }
    /// A test case of a ref.
    CaseLabels { case_name = "case_name", project = "project", git_ref = "ref", suite = "suite" }
    /// A test case of a ref by its result.
    CaseStatusLabels {
        case_name = "case_name", project = "project", git_ref = "ref", status = "status",
        suite = "suite",
    }
    /// An environment.
    EnvironmentLabels { environment = "environment", project = "project" }
    /// An environment by status of its newest deployment.
    EnvironmentStatusLabels { environment = "environment", project = "project", status = "status" }
    /// What GitLab knows about an environment.
    EnvironmentInfoLabels {
        commit = "commit", environment = "environment", environment_id = "environment_id",
        external_url = "external_url", job_id = "job_id", kind = "kind",
        latest_commit = "latest_commit", project = "project", git_ref = "ref", state = "state",
        tier = "tier", user = "user",
    }
    /// Merge requests into a branch.
    TargetBranchLabels { project = "project", target_branch = "target_branch" }
    /// Merge requests into a branch by state.
    MergeRequestStateLabels {
        project = "project", state = "state", target_branch = "target_branch",
    }
    /// A reviewer, by user name.
    ReviewerLabels { project = "project", reviewer = "reviewer" }
    /// Environments of a tier.
    EnvironmentTierLabels { environment_tier = "environment_tier", project = "project" }
    /// A project's figures by where they come from.
    ProjectSourceLabels { project = "project", source = "source" }
    /// A stage of a value stream.
    StageLabels { project = "project", stage_name = "stage_name" }
    /// A programming language.
    LanguageLabels { language = "language", project = "project" }
    /// What GitLab knows about a repository.
    RepositoryInfoLabels {
        archived = "archived", default_branch = "default_branch", project = "project",
        topics = "topics", visibility = "visibility",
    }
    /// An author of commits.
    AuthorLabels { author = "author", project = "project" }
    /// A pipeline schedule, by description.
    ScheduleLabels { project = "project", git_ref = "ref", schedule = "schedule" }
    /// A pipeline schedule by status of its newest pipeline.
    ScheduleStatusLabels {
        project = "project", git_ref = "ref", schedule = "schedule", status = "status",
    }
    /// A runner.
    RunnerLabels {
        description = "description", runner_id = "runner_id", runner_type = "runner_type",
    }
    /// What GitLab knows about a runner.
    RunnerInfoLabels {
        architecture = "architecture", description = "description", platform = "platform",
        runner_id = "runner_id", runner_type = "runner_type", version = "version",
    }
    /// Vulnerabilities by severity.
    SeverityLabels { project = "project", severity = "severity" }
    /// A variable of the newest pipeline of a ref.
    VariableLabels {
        key = "key", kind = "kind", project = "project", git_ref = "ref", value = "value",
    }
    /// A pipeline as gitlab-ci-pipelines-exporter labels it.
    OldPipelineLabels {
        kind = "kind", project = "project", git_ref = "ref", source = "source", topics = "topics",
        variables = "variables",
    }
    /// The same by status.
    OldPipelineStatusLabels {
        kind = "kind", project = "project", git_ref = "ref", source = "source", status = "status",
        topics = "topics", variables = "variables",
    }
    /// A job as gitlab-ci-pipelines-exporter labels it.
    OldJobLabels {
        failure_reason = "failure_reason", job_name = "job_name", kind = "kind", project = "project",
        git_ref = "ref", runner_description = "runner_description", source = "source", stage = "stage",
        tag_list = "tag_list", topics = "topics", variables = "variables",
    }
    /// The same by status.
    OldJobStatusLabels {
        failure_reason = "failure_reason", job_name = "job_name", kind = "kind", project = "project",
        git_ref = "ref", runner_description = "runner_description", source = "source", stage = "stage",
        status = "status", tag_list = "tag_list", topics = "topics", variables = "variables",
    }
    /// A test suite as gitlab-ci-pipelines-exporter labels it.
    OldSuiteLabels {
        kind = "kind", project = "project", git_ref = "ref", source = "source",
        suite = "test_suite_name", topics = "topics", variables = "variables",
    }
    /// A test case as gitlab-ci-pipelines-exporter labels it.
    OldCaseLabels {
        kind = "kind", project = "project", git_ref = "ref", source = "source",
        class = "test_case_classname", case = "test_case_name", suite = "test_suite_name",
        topics = "topics", variables = "variables",
    }
    /// The same by status.
    OldCaseStatusLabels {
        kind = "kind", project = "project", git_ref = "ref", source = "source", status = "status",
        class = "test_case_classname", case = "test_case_name", suite = "test_suite_name",
        topics = "topics", variables = "variables",
    }
    /// An environment as gitlab-ci-pipelines-exporter labels it.
    OldEnvironmentInfoLabels {
        available = "available", current_commit = "current_commit_short_id", environment = "environment",
        environment_id = "environment_id", external_url = "external_url", kind = "kind",
        latest_commit = "latest_commit_short_id", project = "project", git_ref = "ref",
        username = "username",
    }
    /// An endpoint of the GitLab API, as a template.
    ApiEndpointLabels { endpoint = "endpoint" }
    /// Requests to an endpoint by HTTP method.
    ApiRequestLabels { endpoint = "endpoint", method = "method" }
    /// Requests to an endpoint by HTTP method and outcome.
    ApiStatusLabels { endpoint = "endpoint", method = "method", status_code = "status_code" }
    /// This program.
    BuildLabels { version = "version" }
    /// A collector.
    CollectorLabels { collector_type = "collector_type" }
    /// Errors of a collector by kind.
    CollectorErrorLabels { collector_type = "collector_type", error_type = "error_type" }
    /// A collector, and what brought a read about.
    CollectorTriggerLabels { collector_type = "collector_type", trigger = "trigger" }
    /// A collector, and why it has nothing.
    CollectorReasonLabels { collector_type = "collector_type", reason = "reason" }
    /// The GitLab that answers; `url` is its address without a slash at the end.
    GitLabLabels { edition = "edition", url = "url", version = "version" }
    /// A metric, by name.
    MetricLabels { metric = "metric" }
    /// OTLP messages by signal and outcome.
    OtlpExportLabels { outcome = "outcome", signal = "signal" }
    /// How something ended.
    OutcomeLabels { outcome = "outcome" }
    /// A state of something.
    StateLabels { state = "state" }
    /// A priority of tasks.
    PriorityLabels { priority = "priority" }
    /// Why something was refused.
    ReasonLabels { reason = "reason" }
    /// A GraphQL query, by its document's name.
    QueryLabels { query = "query" }
    /// Webhook events by kind and outcome.
    WebhookLabels { event = "event", outcome = "outcome" }
}
