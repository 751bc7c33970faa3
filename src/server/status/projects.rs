//! Tracked projects, in pages and in numbers.

use std::cmp::Ordering;
use std::time::Duration;

use crate::catalogue::Collector;
use crate::clock::UnixSeconds;
use crate::gitlab::model::Role;
use crate::types::{ProjectId, Text};

/// A tracked project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectStatus {
    /// Its id.
    pub id: ProjectId,
    /// Its full path.
    pub path: Text,
    /// The token's role in it, where known.
    pub role: Option<Role>,
    /// The latest poll that ended well.
    pub succeeded_at: Option<UnixSeconds>,
    /// Time between two polls: longer where nothing has moved for long.
    pub interval: Option<Duration>,
    /// How late the next poll is by now.
    pub lag: Duration,
    /// Why the latest poll failed, as a sentence.
    pub error: Option<String>,
    /// Pipelines that are neither ended nor blocked, where known.
    pub active_pipelines: Option<usize>,
    /// Collectors that have nothing of it, and why, as sentences.
    pub unavailable: Vec<(&'static str, String)>,
    /// Whether every collector that is on for it is among these.
    pub reads_nothing: bool,
    /// What caused the latest read of a change (`poll`, `webhook`, `subscription`), and the age of the change
    /// when it was shown.
    pub trigger: Option<(&'static str, Option<Duration>)>,
    /// Whether it is polled less often because its events are reliable.
    pub relies_on_events: bool,
}

impl ProjectStatus {
    /// Whether GitLab has answered for it since the start, be it with a refusal.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        let pipelines = Collector::Pipelines.as_str();
        let mut unavailable = self.unavailable.iter();
        self.succeeded_at.is_some() || unavailable.any(|(collector, _)| *collector == pipelines)
    }
}

/// Which projects are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectQuery {
    /// Part of the path, whatever the case; empty for all.
    pub search: String,
    /// Which page, from 1.
    pub page: usize,
    /// Projects per page.
    pub page_size: usize,
}

/// A page of projects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProjectPage {
    /// How many there are of each kind, whatever was asked for.
    pub counts: ProjectCounts,
    /// How many match the search.
    pub matching: usize,
    /// Which page this is, from 1; the last one when fewer exist than were asked for.
    pub page: usize,
    /// How many pages there are, at least 1.
    pub pages: usize,
    /// The projects of this page.
    pub rows: Vec<ProjectStatus>,
}

/// Projects in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProjectCounts {
    /// Tracked.
    pub tracked: usize,
    /// Polled since the start, successfully or not.
    pub polled: usize,
    /// Whose latest poll failed.
    pub failing: usize,
    /// How late by now the poll is that is most overdue.
    pub late: Duration,
    /// Of which no collector reads anything.
    pub unreadable: usize,
    /// That GitLab no longer shows and that are not removed yet.
    pub removals_pending: usize,
    /// How far the first sync is.
    pub first_sync: FirstSync,
}

/// How far the first sync is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FirstSync {
    /// First reads that are done: one for each project and source.
    pub done: usize,
    /// First reads in all.
    pub due: usize,
    /// Projects of which all are done.
    pub projects: usize,
}

impl FirstSync {
    /// Whether something that is due was not read yet.
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        self.done < self.due
    }

    /// What is done, in percent; 100 only where everything is.
    #[must_use]
    pub fn percent(&self) -> usize {
        100 * self.done / self.due.max(1)
    }

    /// About how long it takes still, at the pace so far; none right after the start.
    #[must_use]
    pub fn time_left(&self, elapsed: Duration) -> Option<Duration> {
        let (done, left) = (self.done, self.due.saturating_sub(self.done));
        (done > 0 && elapsed >= ENOUGH)
            .then(|| elapsed.mul_f64(left as f64 / done as f64))
            .map(|left| Duration::from_secs(left.as_secs().max(1)))
    }
}

/// Before this the pace of the first sync is unknown.
const ENOUGH: Duration = Duration::from_secs(10);

impl ProjectCounts {
    /// Counts a project whose next poll is `late` by now.
    pub fn add(&mut self, succeeded: bool, failing: bool, late: Duration) {
        self.tracked += 1;
        self.polled += usize::from(succeeded || failing);
        self.failing += usize::from(failing);
        self.late = self.late.max(late);
    }
}

impl Default for ProjectQuery {
    /// The first 50 of all projects.
    fn default() -> Self {
        Self {
            search: String::new(),
            page: 1,
            page_size: 50,
        }
    }
}

impl ProjectQuery {
    /// Of all tracked projects those that are asked for: what needs attention first, that is, failing
    /// ones, then those never read, then those read longest ago.
    #[must_use]
    pub fn select(&self, projects: impl IntoIterator<Item = ProjectStatus>) -> ProjectPage {
        let needle = self.search.trim().to_lowercase();
        let mut counts = ProjectCounts::default();
        let mut matching: Vec<ProjectStatus> = projects
            .into_iter()
            .inspect(|project| {
                counts.add(project.is_answered(), project.error.is_some(), project.lag);
                counts.unreadable += usize::from(project.reads_nothing);
            })
            .filter(|project| project.path.to_lowercase().contains(&needle))
            .collect();
        matching.sort_by(by_urgency);
        let page_size = self.page_size.max(1);
        let pages = matching.len().div_ceil(page_size).max(1);
        let page = self.page.clamp(1, pages);
        let total = matching.len();
        let rows = matching
            .into_iter()
            .skip((page - 1) * page_size)
            .take(page_size);
        ProjectPage {
            counts,
            matching: total,
            page,
            pages,
            rows: rows.collect(),
        }
    }
}

fn by_urgency(a: &ProjectStatus, b: &ProjectStatus) -> Ordering {
    let key = |project: &ProjectStatus| (project.error.is_none(), project.succeeded_at);
    key(a).cmp(&key(b)).then_with(|| a.path.cmp(&b.path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(path: &str, succeeded_at: Option<i64>, error: Option<&str>) -> ProjectStatus {
        ProjectStatus {
            id: ProjectId(1),
            path: path.into(),
            role: None,
            succeeded_at: succeeded_at.map(UnixSeconds),
            interval: None,
            lag: Duration::ZERO,
            error: error.map(Into::into),
            active_pipelines: None,
            unavailable: Vec::new(),
            reads_nothing: false,
            trigger: None,
            relies_on_events: false,
        }
    }

    fn query(search: &str, page: usize, page_size: usize) -> ProjectQuery {
        ProjectQuery {
            search: search.into(),
            page,
            page_size,
        }
    }

    fn paths(page: &ProjectPage) -> Vec<&str> {
        page.rows.iter().map(|row| &*row.path).collect()
    }

    fn world() -> Vec<ProjectStatus> {
        vec![
            project("team/fresh", Some(900), None),
            ProjectStatus {
                lag: Duration::from_secs(40),
                ..project("team/Stale", Some(100), None)
            },
            project("team/new", None, None),
            project("other/broken", Some(950), Some("GitLab answered 500")),
            project("other/also-fresh", Some(900), None),
        ]
    }

    #[test]
    fn what_needs_attention_comes_first() {
        let page = query("", 1, 10).select(world());
        assert_eq!(
            paths(&page),
            [
                "other/broken",
                "team/new",
                "team/Stale",
                "other/also-fresh",
                "team/fresh"
            ]
        );
        let counts = ProjectCounts {
            tracked: 5,
            polled: 4,
            failing: 1,
            late: Duration::from_secs(40),
            unreadable: 0,
            removals_pending: 0,
            first_sync: FirstSync::default(),
        };
        assert_eq!(page.counts, counts);
    }

    #[test]
    fn a_search_narrows_the_rows_and_not_the_counts() {
        let page = query(" stALE ", 1, 10).select(world());
        assert_eq!(paths(&page), ["team/Stale"]);
        assert_eq!((page.matching, page.counts.tracked), (1, 5));
    }

    #[test]
    fn a_page_beyond_the_last_is_the_last() {
        let page = query("", 99, 2).select(world());
        assert_eq!(paths(&page), ["team/fresh"]);
        assert_eq!((page.page, page.pages), (3, 3));
        let none = query("nowhere", 7, 0).select(world());
        assert_eq!((none.page, none.pages, none.rows.len()), (1, 1, 0));
    }
}
