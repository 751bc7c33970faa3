//! One switch for each awkwardness of GitLab. All are on by default; a contract test asserts each
//! behaviour with its switch on and its absence with the switch off.

use serde::{Deserialize, Serialize};

macro_rules! quirks {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The awkward habits of GitLab, each of which can be switched off.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Quirks {
            $($(#[$doc])* pub $name: bool,)*
        }

        impl Default for Quirks {
            fn default() -> Self {
                Self { $($name: true,)* }
            }
        }

        impl Quirks {
            /// A GitLab without any of its habits.
            #[must_use]
            pub fn none() -> Self {
                Self { $($name: false,)* }
            }

            /// The switches by name, for the control API and for tests that walk all of them.
            pub const NAMES: &[&str] = &[$(stringify!($name)),*];
        }
    };
}

quirks! {
    /// A query over the complexity limit is refused.
    complexity_limit,
    /// A query over the depth limit is refused.
    depth_limit,
    /// The same composite field may be nested at most twice in one branch.
    recursion_limit,
    /// Query texts over 10,000 characters answer 422.
    query_size_limit,
    /// Some fields resolve for one parent object per operation.
    one_parent_fields,
    /// `projects(fullPaths:)` takes at most 50 paths.
    full_paths_limit,
    /// Pages of more than 100 are silently cut to 100.
    page_maximum,
    /// GraphQL cuts times to whole seconds.
    second_precision,
    /// A pipeline's `updated_at` moves on its own status transitions only; off: on each change of a job.
    updated_at_on_own_transitions,
    /// REST pipeline lists have no times of start and finish, duration, queue time, coverage, tag, user.
    list_without_details,
    /// REST writes a pipeline's coverage as a string.
    coverage_as_string,
    /// A pipeline's queue time is null where it is 0.
    null_instead_of_zero_queue,
    /// GraphQL has no `failureReason` for a job.
    no_failure_reason_in_graphql,
    /// Group and project runners are null below Maintainer in GraphQL.
    runners_hidden_below_maintainer,
    /// GraphQL answers with emptiness, without an error, where the role is too low.
    empty_below_reporter,
    /// Child pipelines are left out of pipeline lists unless asked for.
    children_left_out,
    /// Downstream pipelines of retried bridges are left out of `downstream`.
    retried_downstream_left_out,
    /// A downstream pipeline in a project the token may not read is a null node.
    inaccessible_downstream_null,
    /// `projects(ids:)` leaves out what is gone or forbidden, without an error.
    silent_omission,
    /// `last_activity_at` moves at most once an hour.
    activity_throttled,
    /// Enterprise fields are unknown on the Community Edition.
    enterprise_fields_missing_on_ce,
    /// Licensed features are null, without an error, where the licence is missing.
    unlicensed_null,
    /// Licences belong to top-level groups; off: the whole instance has the highest of them.
    tier_by_top_level_group,
    /// `x-total` and `x-total-pages` are missing over 10,000 rows and for jobs.
    totals_missing,
    /// REST lists the jobs of a pipeline without the retried ones unless asked for.
    retried_jobs_left_out,
    /// REST tells a failure reason of failed jobs only; other jobs do not have the key.
    failure_reason_key_only_if_failed,
    /// GET on an old path answers 301 to the project by id.
    moved_permanently,
    /// Retrying one job keeps the pipeline's `finished_at`; off: it is cleared as by a pipeline retry.
    job_retry_keeps_finished_at,
    /// Every keyset page of projects that has rows names a next one, the last and short one too.
    next_on_last_keyset_page,
    /// `projects` keyset paging refuses orders other than its own with 405.
    keyset_order_checked,
    /// Every answer tells in `X-Runtime` how many seconds it took inside GitLab.
    x_runtime,
    /// An introspection query is answered only in its standard form.
    no_introspection,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_on_by_default_and_addressable_by_name() {
        let on = serde_json::to_value(Quirks::default()).expect("serializes");
        let off = serde_json::to_value(Quirks::none()).expect("serializes");
        for name in Quirks::NAMES {
            assert_eq!(on[name], true, "{name}");
            assert_eq!(off[name], false, "{name}");
        }
    }
}
