//! Scalars and enums of GitLab's schema. Enums hold their value as text, so that a status which this
//! simulator does not know goes out as a newer GitLab would send it.

use std::borrow::Cow;

use async_graphql::parser::types::Field;
use async_graphql::registry::{Deprecation, MetaEnumValue, MetaType, MetaTypeId, Registry};
use async_graphql::{
    ContextSelectionSet, InputType, InputValueError, InputValueResult, Name, OutputType,
    Positioned, Scalar, ScalarType, ServerResult, Value,
};

use crate::time::{self, Millis};

macro_rules! text_scalar {
    ($($name:ident = $text:literal),*) => {$(
        #[doc = concat!("GitLab's scalar `", $text, "`.")]
        #[derive(Clone, Debug)]
        pub struct $name(pub String);

        #[Scalar(name = $text)]
        impl ScalarType for $name {
            fn parse(value: Value) -> InputValueResult<Self> {
                match value {
                    Value::String(text) => Ok(Self(text)),
                    Value::Number(number) => Ok(Self(number.to_string())),
                    other => Err(InputValueError::expected_type(other)),
                }
            }

            fn to_value(&self) -> Value {
                Value::String(self.0.clone())
            }
        }
    )*};
}

text_scalar! {
    JobId = "JobID",
    CiRunnerId = "CiRunnerID",
    CiPipelineId = "CiPipelineID",
    CiJobArtifactId = "CiJobArtifactID",
    UserId = "UserID",
    BigInt = "BigInt",
    StreamId = "AnalyticsCycleAnalyticsValueStreamID",
    StageId = "AnalyticsCycleAnalyticsStageID",
    Date = "Date",
    NoteId = "NoteID",
    SystemNoteMetadataId = "SystemNoteMetadataID"
}

/// GitLab's `Time`: ISO 8601, whole seconds unless the quirk is off.
#[derive(Clone, Debug)]
pub struct Time {
    /// The moment.
    pub at: Millis,
    precise: bool,
}

impl Time {
    /// A time to show; `precise` keeps the milliseconds.
    #[must_use]
    pub fn new(at: Millis, precise: bool) -> Self {
        Self { at, precise }
    }
}

#[Scalar(name = "Time")]
impl ScalarType for Time {
    fn parse(value: Value) -> InputValueResult<Self> {
        let Value::String(text) = &value else {
            return Err(InputValueError::expected_type(value));
        };
        match time::parse(text) {
            Some(at) => Ok(Self { at, precise: true }),
            None => Err(InputValueError::custom(format!(
                "'{text}' is not a valid Time"
            ))),
        }
    }

    fn to_value(&self) -> Value {
        Value::String(if self.precise {
            time::milliseconds(self.at)
        } else {
            time::whole_seconds(self.at)
        })
    }
}

/// GitLab's `Duration`: seconds with fraction.
#[derive(Clone, Copy, Debug)]
pub struct Duration(pub f64);

#[Scalar(name = "Duration")]
impl ScalarType for Duration {
    fn parse(value: Value) -> InputValueResult<Self> {
        match value {
            Value::Number(number) => Ok(Self(number.as_f64().unwrap_or_default())),
            other => Err(InputValueError::expected_type(other)),
        }
    }

    fn to_value(&self) -> Value {
        serde_json::Number::from_f64(self.0).map_or(Value::Null, Value::Number)
    }
}

macro_rules! text_enum {
    ($($name:ident { $($value:literal)* })*) => {$(
        #[doc = concat!("GitLab's enum `", stringify!($name), "`.")]
        #[derive(Clone, Debug)]
        pub struct $name(pub Cow<'static, str>);

        impl $name {
            const VALUES: &[&str] = &[$($value),*];
        }

        impl From<&'static str> for $name {
            fn from(value: &'static str) -> Self {
                Self(Cow::Borrowed(value))
            }
        }

        impl From<String> for $name {
            fn from(value: String) -> Self {
                Self(Cow::Owned(value))
            }
        }

        impl InputType for $name {
            type RawValueType = Self;

            fn type_name() -> Cow<'static, str> {
                Cow::Borrowed(stringify!($name))
            }

            fn create_type_info(registry: &mut Registry) -> String {
                registry.create_input_type::<Self, _>(MetaTypeId::Enum, |_| enum_type(stringify!($name), Self::VALUES))
            }

            fn parse(value: Option<Value>) -> InputValueResult<Self> {
                match value.unwrap_or_default() {
                    Value::Enum(name) if Self::VALUES.contains(&name.as_str()) => Ok(Self(Cow::Owned(name.to_string()))),
                    Value::String(name) if Self::VALUES.contains(&name.as_str()) => Ok(Self(Cow::Owned(name))),
                    other => Err(InputValueError::custom(format!(
                        "Expected \"{other}\" to be one of: {}",
                        Self::VALUES.join(", ")
                    ))),
                }
            }

            fn to_value(&self) -> Value {
                Value::Enum(Name::new(&self.0))
            }

            fn as_raw_value(&self) -> Option<&Self::RawValueType> {
                Some(self)
            }
        }

        impl OutputType for $name {
            fn type_name() -> Cow<'static, str> {
                Cow::Borrowed(stringify!($name))
            }

            fn create_type_info(registry: &mut Registry) -> String {
                registry.create_output_type::<Self, _>(MetaTypeId::Enum, |_| enum_type(stringify!($name), Self::VALUES))
            }

            async fn resolve(&self, _: &ContextSelectionSet<'_>, _: &Positioned<Field>) -> ServerResult<Value> {
                Ok(Value::Enum(Name::new(&self.0)))
            }
        }
    )*};
}

fn enum_type(name: &str, values: &[&str]) -> MetaType {
    let value = |value: &&str| {
        let meta = MetaEnumValue {
            name: (*value).to_owned(),
            description: None,
            deprecation: Deprecation::NoDeprecated,
            visible: None,
            inaccessible: false,
            tags: Vec::new(),
            directive_invocations: Vec::new(),
        };
        ((*value).to_owned(), meta)
    };
    MetaType::Enum {
        name: name.to_owned(),
        description: None,
        enum_values: values.iter().map(value).collect(),
        visible: None,
        inaccessible: false,
        tags: Vec::new(),
        rust_typename: None,
        directive_invocations: Vec::new(),
        requires_scopes: Vec::new(),
    }
}

text_enum! {
    PipelineStatusEnum {
        "CREATED" "WAITING_FOR_RESOURCE" "PREPARING" "WAITING_FOR_CALLBACK" "PENDING" "RUNNING" "FAILED" "SUCCESS"
        "CANCELING" "CANCELED" "SKIPPED" "MANUAL" "SCHEDULED"
    }
    CiJobStatus {
        "CREATED" "WAITING_FOR_RESOURCE" "PREPARING" "WAITING_FOR_CALLBACK" "PENDING" "RUNNING" "SUCCESS" "FAILED"
        "CANCELING" "CANCELED" "SKIPPED" "MANUAL" "SCHEDULED"
    }
    CiJobKind { "BUILD" "BRIDGE" }
    CiRunnerStatus { "ONLINE" "OFFLINE" "STALE" "NEVER_CONTACTED" }
    PipelineScheduleStatus { "ACTIVE" "INACTIVE" }
    CiRunnerType { "INSTANCE_TYPE" "GROUP_TYPE" "PROJECT_TYPE" }
    PipelineScopeEnum { "RUNNING" "PENDING" "FINISHED" "BRANCHES" "TAGS" }
    PipelineMergeRequestEventType { "MERGED_RESULT" "DETACHED" "MERGE_TRAIN" }
    MergeRequestState { "merged" "opened" "closed" "locked" "all" }
    MergeRequestReviewState {
        "UNREVIEWED" "REVIEWED" "REQUESTED_CHANGES" "APPROVED" "UNAPPROVED" "REVIEW_STARTED"
    }
    NotesFilterType { "ALL_NOTES" "ONLY_COMMENTS" "ONLY_ACTIVITY" }
    ProjectArchived { "ONLY" "INCLUDE" "EXCLUDE" }
    AccessLevelEnum {
        "NO_ACCESS" "MINIMAL_ACCESS" "GUEST" "PLANNER" "REPORTER" "DEVELOPER" "MAINTAINER" "OWNER" "ADMIN"
    }
    JobArtifactFileType {
        "ARCHIVE" "METADATA" "TRACE" "JUNIT" "METRICS" "METRICS_REFEREE" "NETWORK_REFEREE" "DOTENV" "COBERTURA"
        "JACOCO" "CLUSTER_APPLICATIONS" "LSIF" "CYCLONEDX" "ANNOTATIONS" "REPOSITORY_XRAY" "SAST"
        "SECRET_DETECTION" "DEPENDENCY_SCANNING" "CONTAINER_SCANNING" "CLUSTER_IMAGE_SCANNING" "DAST"
        "LICENSE_SCANNING" "ACCESSIBILITY" "CODEQUALITY" "PERFORMANCE" "BROWSER_PERFORMANCE" "LOAD_PERFORMANCE"
        "TERRAFORM" "REQUIREMENTS" "REQUIREMENTS_V2" "COVERAGE_FUZZING" "API_FUZZING"
    }
    MergeRequestSort {
        "MERGED_AT_ASC" "MERGED_AT_DESC" "CLOSED_AT_ASC" "CLOSED_AT_DESC" "TITLE_ASC" "TITLE_DESC" "POPULARITY_ASC"
        "POPULARITY_DESC" "PRIORITY_ASC" "PRIORITY_DESC" "LABEL_PRIORITY_ASC" "LABEL_PRIORITY_DESC"
        "MILESTONE_DUE_ASC" "MILESTONE_DUE_DESC" "updated_desc" "updated_asc" "created_desc" "created_asc"
        "UPDATED_DESC" "UPDATED_ASC" "CREATED_DESC" "CREATED_ASC"
    }
    IssueSort {
        "DUE_DATE_ASC" "DUE_DATE_DESC" "RELATIVE_POSITION_ASC" "SEVERITY_ASC" "SEVERITY_DESC" "TITLE_ASC" "TITLE_DESC"
        "POPULARITY_ASC" "POPULARITY_DESC" "ESCALATION_STATUS_ASC" "ESCALATION_STATUS_DESC" "CLOSED_AT_ASC"
        "CLOSED_AT_DESC" "WEIGHT_ASC" "WEIGHT_DESC" "PUBLISHED_ASC" "PUBLISHED_DESC" "SLA_DUE_AT_ASC"
        "SLA_DUE_AT_DESC" "BLOCKING_ISSUES_ASC" "BLOCKING_ISSUES_DESC" "HEALTH_STATUS_ASC" "HEALTH_STATUS_DESC"
        "PRIORITY_ASC" "PRIORITY_DESC" "LABEL_PRIORITY_ASC" "LABEL_PRIORITY_DESC" "MILESTONE_DUE_ASC"
        "MILESTONE_DUE_DESC" "updated_desc" "updated_asc" "created_desc" "created_asc" "UPDATED_DESC" "UPDATED_ASC"
        "CREATED_DESC" "CREATED_ASC"
    }
    IssueState { "opened" "closed" "locked" "all" }
    IssueType { "ISSUE" "INCIDENT" "TEST_CASE" "REQUIREMENT" "TASK" "TICKET" "OBJECTIVE" "KEY_RESULT" "EPIC" }
    LicensedFeature { "DORA4_ANALYTICS" "CYCLE_ANALYTICS_FOR_PROJECTS" }
    DoraMetricBucketingInterval { "ALL" "MONTHLY" "DAILY" }
    DeploymentStatus { "CREATED" "RUNNING" "SUCCESS" "FAILED" "CANCELED" "SKIPPED" "BLOCKED" }
    SortDirectionEnum { "ASC" "DESC" }
    DeploymentTier { "PRODUCTION" "STAGING" "TESTING" "DEVELOPMENT" "OTHER" }
    ReleaseSort { "CREATED_DESC" "CREATED_ASC" "RELEASED_AT_DESC" "RELEASED_AT_ASC" }
    VulnerabilityState { "CONFIRMED" "DETECTED" "DISMISSED" "RESOLVED" }
    ShaFormat { "SHORT" "LONG" }
}
