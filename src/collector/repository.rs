//! `repository`: sizes, languages, counts and releases of a project; commits by the rises of
//! GitLab's total.

use super::Measured;
use crate::catalogue::labels::{
    LanguageLabels, ProjectLabels, ProjectRefLabels, RepositoryInfoLabels,
};
use crate::catalogue::repository as metric;
use crate::catalogue::{Gauge, Measurement};
use crate::clock::UnixSeconds;
use crate::facts::RepositoryRead;
use crate::gitlab::model::{RepositoryInfo, Statistics};
use crate::memory::repository::{RepositoryMemory, RepositoryParts};
use crate::memory::{ProjectMemory, Subject};
use crate::types::Text;

/// Takes in what was read.
#[must_use]
pub fn collect(
    subject: Subject<'_>,
    read: &RepositoryRead,
    memory: &mut ProjectMemory,
) -> Measured {
    let info = &read.info;
    let branch: Option<Text> = info.default_branch.clone().value();
    let coverage = branch.and_then(|branch| memory.pipelines.coverage_of(&branch));
    let measured = measure(subject, info, coverage, &mut memory.repository);
    memory.repository_parts = RepositoryParts::of(info);
    // What failed is asked for again at the next poll, whether anything moves or not.
    if read.problems.is_empty() {
        memory.repository.read(subject.now, info.last_activity_at);
    }
    measured
}

/// Measures a repository; `coverage` is that of the default branch's newest pipeline with one.
pub fn measure(
    subject: Subject<'_>,
    info: &RepositoryInfo,
    coverage: Option<f64>,
    memory: &mut RepositoryMemory,
) -> Measured {
    let mut out = Measured::default();
    let statistics = info.statistics.value();
    if let (Some(statistics), Some(branch)) = (statistics, info.default_branch.clone().value()) {
        count_commits(subject, &branch, statistics.commits, memory, &mut out);
    }
    memory.refs = info.refs;
    let states = &mut out.states;
    if let Some(statistics) = statistics {
        sizes(subject, &statistics, states);
    }
    for language in info.languages.iter().flatten() {
        let labels = LanguageLabels {
            language: language.name.clone(),
            project: subject.project.clone(),
        };
        states.push(metric::LANGUAGE_PERCENTAGE.set(labels, language.share));
    }
    let mut number = |metric: &'static Gauge<ProjectLabels>, value: Option<f64>| {
        states.extend(value.map(|value| metric.set(project(subject), value)));
    };
    number(&metric::COVERAGE, coverage);
    number(
        &metric::BRANCH_COUNT,
        info.refs.map(|refs| float(refs.branches)),
    );
    number(&metric::TAG_COUNT, info.refs.map(|refs| float(refs.tags)));
    number(&metric::OPEN_ISSUES_COUNT, info.open_issues.map(float));
    number(&metric::STAR_COUNT, info.stars.map(float));
    number(&metric::FORK_COUNT, info.forks.map(float));
    number(
        &metric::LAST_ACTIVITY_TIMESTAMP,
        info.last_activity_at.map(at),
    );
    number(
        &metric::RELEASE_COUNT,
        info.releases.map(|releases| float(releases.count)),
    );
    let latest = info.releases.and_then(|releases| releases.latest);
    number(&metric::RELEASE_LATEST_TIMESTAMP, latest.map(at));
    states.push(about(subject, info));
    out
}

/// Counts the rise of the total. A fall, after a forced push, is none; nor is another branch.
fn count_commits(
    subject: Subject<'_>,
    branch: &Text,
    commits: u64,
    memory: &mut RepositoryMemory,
    out: &mut Measured,
) {
    let labels = |branch: &Text| ProjectRefLabels {
        project: subject.project.clone(),
        git_ref: branch.clone(),
    };
    let known = memory.commits.replace((branch.clone(), commits));
    if let Some((known, before)) = known
        && known == *branch
        && commits > before
    {
        let rise = float(commits - before);
        out.events
            .push(metric::COMMIT_COUNT.add(labels(branch), rise));
    }
}

fn sizes(subject: Subject<'_>, statistics: &Statistics, states: &mut Vec<Measurement>) {
    let all = [
        (&metric::SIZE, Some(statistics.repository)),
        (&metric::LFS_SIZE, Some(statistics.lfs)),
        (&metric::ARTIFACTS_SIZE, Some(statistics.artifacts)),
        (&metric::PACKAGES_SIZE, Some(statistics.packages)),
        (
            &metric::CONTAINER_REGISTRY_SIZE,
            statistics.container_registry,
        ),
        (&metric::WIKI_SIZE, statistics.wiki),
    ];
    for (metric, value) in all {
        states.extend(value.map(|value| metric.set(project(subject), value)));
    }
}

fn about(subject: Subject<'_>, info: &RepositoryInfo) -> Measurement {
    let labels = RepositoryInfoLabels {
        archived: if info.archived { "true" } else { "false" }.into(),
        default_branch: info.default_branch.clone().value().unwrap_or_default(),
        project: subject.project.clone(),
        topics: topics(info),
        visibility: info.visibility.clone().unwrap_or_default(),
    };
    metric::INFO.set(labels, 1.0)
}

/// Topics as a label.
fn topics(info: &RepositoryInfo) -> Text {
    let mut topics: Vec<&str> = info.topics.iter().map(|topic| &**topic).collect();
    topics.sort_unstable();
    topics.join(",").into()
}

fn project(subject: Subject<'_>) -> ProjectLabels {
    ProjectLabels {
        project: subject.project.clone(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn float(number: u64) -> f64 {
    number as f64
}

#[expect(clippy::cast_precision_loss, reason = "times are far below 2^53")]
fn at(time: UnixSeconds) -> f64 {
    time.0 as f64
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::ProjectSettings;
    use crate::gitlab::model::Known;
    use crate::memory::refs::RefsSeen;
    use crate::types::ProjectId;

    fn info(statistics: Known<Statistics>, branch: &str) -> RepositoryInfo {
        RepositoryInfo {
            id: ProjectId(1),
            statistics,
            languages: None,
            default_branch: Known::Value(branch.into()),
            visibility: None,
            archived: false,
            topics: vec!["web".into(), "go".into()],
            refs: None,
            open_issues: None,
            stars: Some(12),
            forks: None,
            last_activity_at: None,
            releases: None,
        }
    }

    fn poll(info: &RepositoryInfo, memory: &mut RepositoryMemory) -> Measured {
        let subject = Subject {
            id: ProjectId(1),
            project: &"group/app".into(),
            paths: &BTreeMap::new(),
            settings: &ProjectSettings::default(),
            max_pipelines_per_ref: 1,
            refs: &RefsSeen::default(),
            tier: Known::Unread,
            now: UnixSeconds(0),
        };
        measure(subject, info, None, memory)
    }

    fn commits(number: u64) -> Known<Statistics> {
        Known::Value(Statistics {
            commits: number,
            ..Statistics::default()
        })
    }

    #[test]
    fn what_a_role_hides_is_absent_and_not_zero() {
        let measured = poll(
            &info(Known::Hidden, "main"),
            &mut RepositoryMemory::default(),
        );
        assert!(measured.events.is_empty());
        let shown: Vec<_> = measured
            .states
            .iter()
            .map(|state| state.desc.name)
            .collect();
        assert_eq!(shown, ["age_repository_star_count", "age_repository_info"]);
    }

    #[test]
    fn another_default_branch_begins_again() {
        let mut memory = RepositoryMemory::default();
        poll(&info(commits(100), "master"), &mut memory);
        let moved = poll(&info(commits(900), "main"), &mut memory);
        assert!(moved.events.is_empty(), "{:?}", moved.events);
        let risen = poll(&info(commits(902), "main"), &mut memory);
        assert_eq!(risen.events.len(), 1);
        assert!((risen.events[0].value - 2.0).abs() < f64::EPSILON);
    }
}
