//! What is known of deployments by their numbers.

use super::numbers::Seen;
use crate::clock::UnixSeconds;
use crate::gitlab::model::Deployment;
use crate::memory::environments::EnvironmentsProgress;

const NOW: UnixSeconds = UnixSeconds(1_767_614_400);
const DAY: i64 = 86_400;

fn deployment(number: u64, status: &str, age: i64) -> Deployment {
    Deployment {
        id: 1_000 + number,
        iid: Some(number),
        environment: 1,
        environment_name: "production".into(),
        sha: "a".into(),
        status: status.into(),
        created_at: UnixSeconds(NOW.0 - age),
        updated_at: UnixSeconds(NOW.0 - age),
        started_at: None,
        finished_at: None,
        duration: None,
        origin: Default::default(),
    }
}

#[test]
fn a_time_of_tomorrow_moves_the_watermark_to_now_at_most() {
    let mut progress = EnvironmentsProgress::default();
    let at = |seconds: i64| UnixSeconds(NOW.0 + seconds);
    for (newest, now, watermark) in [(-600, 0, -600), (DAY, 0, 0), (-60, 10, 0), (25, 30, 25)] {
        progress.read_until(at(newest), at(now));
        assert_eq!(progress.watermark, at(watermark), "{newest}");
    }
}

fn begun(deployments: &[Deployment]) -> Seen {
    let mut seen = Seen::default();
    seen.begin(deployments, NOW);
    seen
}

#[test]
fn what_has_not_ended_is_asked_for_and_what_comes_next() {
    let all = [
        deployment(3, "success", 60),
        deployment(5, "running", 60),
        deployment(4, "blocked", 9 * DAY),
    ];
    let mut seen = begun(&all);
    // As many as have a place.
    assert_eq!(seen.numbers(), Some(vec![4, 5, 6]));
    seen.take(&[deployment(5, "failed", 60)], NOW);
    assert_eq!(seen.more(&[4, 5, 6]), None, "it is not there yet");
    assert_eq!(seen.numbers(), Some(vec![4, 6, 7]));
    // 6 was left out, or shows later.
    seen.take(&[deployment(7, "created", 0)], NOW);
    seen.absent(6, NOW);
    assert_eq!(seen.more(&[4, 6, 7]), Some(vec![8, 9, 10]));
    for number in 8..=10 {
        seen.absent(number, NOW);
    }
    assert_eq!(seen.more(&[8, 9, 10]), None);
    seen.absent(6, NOW);
    seen.take(&[], UnixSeconds(NOW.0 + 599));
    assert_eq!(seen.numbers().unwrap()[..2], [4, 6]);
    seen.take(&[], UnixSeconds(NOW.0 + 600));
    assert_eq!(seen.numbers().unwrap()[..2], [4, 7], "it was left out");
    assert_eq!(begun(&[]).numbers(), Some(vec![1, 2, 3]), "the first ever");
}

#[test]
fn where_one_that_goes_on_is_not_there_any_more_the_list_is_read() {
    let mut seen = begun(&[deployment(1, "running", 60)]);
    seen.absent(1, NOW);
    assert_eq!(seen.numbers(), None, "it may be hidden, and end meanwhile");
}

#[test]
fn what_was_skipped_may_come_back_for_a_day() {
    let seen = begun(&[
        deployment(1, "skipped", DAY - 60),
        deployment(2, "skipped", DAY),
    ]);
    assert_eq!(seen.numbers(), Some(vec![1, 3, 4]), "one of two");
}

#[test]
fn the_list_is_read_where_it_costs_less_and_where_numbers_are_missing() {
    assert_eq!(Seen::default().numbers(), None, "nothing is known");
    let waiting: Vec<_> = (1..=6)
        .map(|number| deployment(number, "blocked", 0))
        .collect();
    assert_eq!(begun(&waiting).numbers(), None, "nobody plays them");
    assert!(begun(&waiting[1..]).numbers().is_some());
    let nameless = Deployment {
        iid: None,
        ..deployment(1, "success", 0)
    };
    assert!(!begun(&[nameless]).is_known());
}
