use std::collections::BTreeMap;

use super::*;
use crate::collector::testing::{PROJECT, pipeline, project_id};
use crate::collector::{FeedCollector, pipelines::Pipelines};
use crate::config::ProjectSettings;
use crate::facts::feed::{Feed, PipelineFacts};
use crate::gitlab::model::{Known, TestCounts, TestSuite};
use crate::memory::refs::RefsSeen;
use crate::memory::test_reports::{Wanted, wanted};

struct Watch {
    settings: ProjectSettings,
    refs: RefsSeen,
    paths: BTreeMap<crate::types::ProjectId, Text>,
    path: Text,
    known: PipelinesMemory,
    memory: TestReportsMemory,
    collector: TestReports,
}

impl Watch {
    fn new(include_cases: bool) -> Self {
        Self {
            settings: ProjectSettings::default(),
            refs: RefsSeen::default(),
            paths: BTreeMap::new(),
            path: PROJECT.into(),
            known: PipelinesMemory::default(),
            memory: TestReportsMemory::default(),
            collector: TestReports { include_cases },
        }
    }

    fn subject(&self) -> Subject<'_> {
        Subject {
            id: project_id(PROJECT),
            project: &self.path,
            paths: &self.paths,
            settings: &self.settings,
            max_pipelines_per_ref: 10,
            refs: &self.refs,
            tier: Known::Unread,
            now: UnixSeconds(1_000),
        }
    }

    fn sees(&mut self, facts: PipelineFacts) {
        let mut known = self.known.clone();
        let feed = Feed {
            pipelines: vec![facts],
            ..Feed::default()
        };
        let collector = Pipelines {
            include_children: true,
        };
        collector.absorb(self.subject(), &feed, &mut known, &mut Measured::default());
        self.known = known;
    }

    fn wanted(&self, at: i64) -> Vec<u64> {
        let at = UnixSeconds(at);
        let cases = self.collector.include_cases;
        let wanted = wanted(self.subject(), &self.known, &self.memory, cases, at);
        wanted.into_iter().map(|one| one.end.id.0).collect()
    }

    /// Reads all that is wanted: each pipeline has one case, `adds`.
    fn reads(&mut self, at: i64) -> Measured {
        let at = UnixSeconds(at);
        let cases = self.collector.include_cases;
        let wanted = wanted(self.subject(), &self.known, &self.memory, cases, at);
        let read: Vec<ReportFacts> = wanted.into_iter().map(|one| facts(one, at)).collect();
        let mut memory = self.memory.clone();
        let measured = self
            .collector
            .measure(self.subject(), &self.known, &read, at, &mut memory);
        self.memory = memory;
        measured
    }
}

fn facts(wanted: Wanted, read_at: UnixSeconds) -> ReportFacts {
    let counts = TestCounts {
        seconds: 2.0,
        total: 1.0,
        success: 1.0,
        ..TestCounts::default()
    };
    let suites = vec![TestSuite {
        name: "unit".into(),
        counts,
    }];
    let cases = vec![TestCase {
        suite: "unit".into(),
        class: "Math".into(),
        name: "Math.adds".into(),
        status: "success".into(),
        seconds: 2.0,
    }];
    ReportFacts {
        report: wanted.summary.then_some(TestReport {
            total: counts,
            suites,
        }),
        cases: wanted.cases.then_some(cases),
        end: wanted.end,
        read_at,
    }
}

#[test]
fn a_report_is_read_at_the_end_and_once_more_when_it_has_settled() {
    let mut watch = Watch::new(false);
    watch.sees(pipeline(1, 10).runs(11));
    assert!(watch.wanted(20).is_empty(), "it runs");
    watch.sees(pipeline(1, 10).runs(11).ends("success", 30));
    assert_eq!(watch.wanted(31), [1]);
    let measured = watch.reads(31);
    assert_eq!(measured.states.len(), 12, "a report and a suite");
    assert!(watch.wanted(100).is_empty(), "not yet");
    assert_eq!(watch.wanted(300), [1]);
    watch.reads(300);
    assert!(watch.wanted(10_000).is_empty());
}

#[test]
fn a_retry_is_another_end() {
    let mut watch = Watch::new(true);
    watch.sees(pipeline(1, 10).runs(11).ends("failed", 30));
    let first = watch.reads(40);
    assert!(first.events.is_empty(), "history");
    watch.sees(pipeline(1, 10).runs(11).is_retried(50));
    assert!(watch.wanted(55).is_empty());
    watch.sees(pipeline(1, 10).runs(11).ends("success", 60));
    assert_eq!(watch.reads(61).events.len(), 1);
    assert_eq!(watch.reads(62).events.len(), 0, "once");
    assert_eq!(watch.reads(400).events.len(), 0, "nor when it has settled");
}

#[test]
fn ends_between_two_polls_all_count_and_those_before_the_first_do_not() {
    let mut watch = Watch::new(true);
    for id in 1..4 {
        let at = 10 * i64::try_from(id).unwrap();
        watch.sees(pipeline(id, at).runs(at).ends("success", at + 1));
    }
    assert_eq!(watch.wanted(100), [3], "of history only the newest");
    watch.reads(100);
    for id in 4..7 {
        let at = 100 + 10 * i64::try_from(id).unwrap();
        watch.sees(pipeline(id, at).runs(at).ends("success", at + 1));
    }
    assert_eq!(watch.reads(200).events.len(), 3);
    assert_eq!(watch.reads(230).events.len(), 0);
}

#[test]
fn of_two_cases_of_one_name_the_one_that_failed_is_shown() {
    let case = |name: &str, status: &str| TestCase {
        suite: "unit".into(),
        class: "".into(),
        name: name.into(),
        status: status.into(),
        seconds: 1.0,
    };
    let cases = [
        case("adds", "failed"),
        case("adds", "success"),
        case("divides", "success"),
        case("divides", "skipped"),
        case("waits", "failed"),
        case("waits", "error"),
    ];
    let worst = worst_of_each(&cases);
    let worst: Vec<_> = worst
        .iter()
        .map(|case| (&*case.name, &*case.status))
        .collect();
    assert_eq!(
        worst,
        [
            ("adds", "failed"),
            ("divides", "success"),
            ("waits", "error")
        ]
    );
}

#[test]
fn a_case_shows_how_long_it_took_last_unless_it_was_left_out() {
    let mut watch = Watch::new(true);
    watch.sees(pipeline(1, 10).runs(11).ends("failed", 30));
    let measured = watch.reads(40);
    let last = measured.states.iter();
    let last: Vec<f64> = last
        .filter(|state| state.desc.name == "age_test_case_last_duration_seconds")
        .map(|state| state.value)
        .collect();
    assert_eq!(last, [2.0]);
    let skipped = TestCase {
        suite: "unit".into(),
        class: "Math".into(),
        name: "Math.adds".into(),
        status: "skipped".into(),
        seconds: 0.0,
    };
    let kept = worst_of_each(&[skipped]).remove(0);
    assert_eq!((kept.seconds, &*kept.short_name()), (None, "adds"));
}
