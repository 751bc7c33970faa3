//! The queries as `graphql_client` generates them; the struct's name is the operation's.

// The generated code finds its scalars and enums here.
use super::scalars::*;
use super::scored;
use graphql_client::GraphQLQuery;

#[derive(GraphQLQuery)]
#[graphql(
    schema_path = "src/gitlab/graphql/schema.graphql",
    query_path = "src/gitlab/graphql/queries/project_changes.graphql",
    extern_enums("PipelineStatusEnum", "CiJobStatus", "CiRunnerType"),
    skip_serializing_none
)]
pub(super) struct ProjectChanges;
scored!(project_changes);

#[derive(GraphQLQuery)]
#[graphql(
    schema_path = "src/gitlab/graphql/schema.graphql",
    query_path = "src/gitlab/graphql/queries/pipeline_jobs.graphql",
    extern_enums(
        "PipelineStatusEnum",
        "CiJobStatus",
        "CiRunnerType",
        "JobArtifactFileType"
    ),
    skip_serializing_none
)]
pub(super) struct PipelineJobs;
scored!(pipeline_jobs);

#[derive(GraphQLQuery)]
#[graphql(
    schema_path = "src/gitlab/graphql/schema.graphql",
    query_path = "src/gitlab/graphql/queries/merge_request_reviews.graphql",
    extern_enums("MergeRequestState", "MergeRequestReviewState"),
    skip_serializing_none
)]
pub(super) struct MergeRequestReviews;
scored!(merge_request_reviews);

#[derive(GraphQLQuery)]
#[graphql(
    schema_path = "src/gitlab/graphql/schema.graphql",
    query_path = "src/gitlab/graphql/queries/merge_request_census.graphql",
    extern_enums("MergeRequestState"),
    skip_serializing_none
)]
pub(super) struct MergeRequestCensus;
scored!(merge_request_census);

#[derive(GraphQLQuery)]
#[graphql(
    schema_path = "src/gitlab/graphql/schema.graphql",
    query_path = "src/gitlab/graphql/queries/project_permissions.graphql",
    skip_serializing_none
)]
pub(super) struct ProjectPermissions;
scored!(project_permissions);

#[derive(GraphQLQuery)]
#[graphql(
    schema_path = "src/gitlab/graphql/schema.graphql",
    query_path = "src/gitlab/graphql/queries/project_list.graphql",
    skip_serializing_none
)]
pub(super) struct ProjectList;
scored!(project_list);

#[derive(GraphQLQuery)]
#[graphql(
    schema_path = "src/gitlab/graphql/schema.graphql",
    query_path = "src/gitlab/graphql/queries/instance_jobs.graphql",
    extern_enums("CiJobStatus"),
    skip_serializing_none
)]
pub(super) struct InstanceJobs;
scored!(instance_jobs);

#[derive(GraphQLQuery)]
#[graphql(
    schema_path = "src/gitlab/graphql/schema.graphql",
    query_path = "src/gitlab/graphql/queries/licensed_features.graphql",
    skip_serializing_none
)]
pub(super) struct LicensedFeatures;
scored!(licensed_features);

#[derive(GraphQLQuery)]
#[graphql(
    schema_path = "src/gitlab/graphql/schema.graphql",
    query_path = "src/gitlab/graphql/queries/feature_probe.graphql",
    skip_serializing_none
)]
pub(super) struct FeatureProbe;
scored!(feature_probe);

#[derive(GraphQLQuery)]
#[graphql(
    schema_path = "src/gitlab/graphql/schema.graphql",
    query_path = "src/gitlab/graphql/queries/test_reports.graphql",
    skip_serializing_none
)]
pub(super) struct TestReports;
scored!(test_reports);

#[derive(GraphQLQuery)]
#[graphql(
    schema_path = "src/gitlab/graphql/schema.graphql",
    query_path = "src/gitlab/graphql/queries/repositories.graphql",
    skip_serializing_none
)]
pub(super) struct Repositories;
scored!(repositories);

#[derive(GraphQLQuery)]
#[graphql(
    schema_path = "src/gitlab/graphql/schema.graphql",
    query_path = "src/gitlab/graphql/queries/pipeline_schedules.graphql",
    extern_enums("PipelineStatusEnum"),
    skip_serializing_none
)]
pub(super) struct PipelineSchedules;
scored!(pipeline_schedules);

#[derive(GraphQLQuery)]
#[graphql(
    schema_path = "src/gitlab/graphql/schema.graphql",
    query_path = "src/gitlab/graphql/queries/ref_counts.graphql",
    skip_serializing_none
)]
pub(super) struct RefCounts;
scored!(ref_counts);

#[derive(GraphQLQuery)]
#[graphql(
    schema_path = "src/gitlab/graphql/schema.graphql",
    query_path = "src/gitlab/graphql/queries/runners.graphql",
    extern_enums("CiRunnerType", "CiRunnerStatus"),
    skip_serializing_none
)]
pub(super) struct Runners;
scored!(runners);

#[derive(GraphQLQuery)]
#[graphql(
    schema_path = "src/gitlab/graphql/schema.graphql",
    query_path = "src/gitlab/graphql/queries/value_streams.graphql",
    skip_serializing_none
)]
pub(super) struct ValueStreams;
scored!(value_streams);

#[derive(GraphQLQuery)]
#[graphql(
    schema_path = "src/gitlab/graphql/schema.graphql",
    query_path = "src/gitlab/graphql/queries/flow_times.graphql",
    skip_serializing_none
)]
pub(super) struct FlowTimes;
scored!(flow_times);

#[derive(GraphQLQuery)]
#[graphql(
    schema_path = "src/gitlab/graphql/schema.graphql",
    query_path = "src/gitlab/graphql/queries/vulnerability_counts.graphql",
    skip_serializing_none
)]
pub(super) struct VulnerabilityCounts;
scored!(vulnerability_counts);

#[derive(GraphQLQuery)]
#[graphql(
    schema_path = "src/gitlab/graphql/schema.graphql",
    query_path = "src/gitlab/graphql/queries/dora_metrics.graphql",
    skip_serializing_none
)]
pub(super) struct DoraMetrics;
scored!(dora_metrics);

#[derive(GraphQLQuery)]
#[graphql(
    schema_path = "src/gitlab/graphql/schema.graphql",
    query_path = "src/gitlab/graphql/queries/branch_tips.graphql",
    skip_serializing_none
)]
pub(super) struct BranchTips;
scored!(branch_tips);

#[derive(GraphQLQuery)]
#[graphql(
    schema_path = "src/gitlab/graphql/schema.graphql",
    query_path = "src/gitlab/graphql/queries/incidents.graphql",
    skip_serializing_none
)]
pub(super) struct Incidents;
scored!(incidents);
