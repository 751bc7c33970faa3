//! What the first reading of a project's pipelines left to others.

/// What is known since the first reading of a project.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FirstReading {
    /// Whether it read all pipelines that the project ever had: no ref has others.
    pub is_whole: bool,
    /// Whether the newest pipelines of the merge requests that were open were asked for, as far as it did not
    /// reach back to them.
    pub has_merge_requests: bool,
}
