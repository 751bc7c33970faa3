use super::*;
use crate::clock::UnixSeconds;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// A board, and what a test knows of the other side.
struct Play {
    board: Board,
    now: Instant,
    /// What was asked for and not answered.
    asked: Vec<(Link, Arc<str>)>,
    acts: Vec<Act>,
}

fn busy(id: u64, moved_at: i64) -> ProjectActivity {
    ProjectActivity {
        id: ProjectId(id),
        is_active: false,
        moved_at: UnixSeconds(moved_at),
    }
}

fn projects(number: u64) -> Vec<ProjectActivity> {
    (1..=number).map(|id| busy(id, 0)).collect()
}

impl Play {
    fn new(most: usize, candidates: &[ProjectActivity]) -> Self {
        let now = Instant::now();
        let mut play = Self {
            board: Board::new(most, now),
            now,
            asked: Vec::new(),
            acts: Vec::new(),
        };
        play.board.choose(candidates, now);
        play
    }

    /// The same, all of them standing.
    fn standing(number: u64) -> Self {
        let mut play = Self::new(1000, &projects(number));
        play.stand_up();
        play
    }

    fn next(&mut self) -> Vec<Act> {
        let acts = self.board.next(true, self.now);
        for act in &acts {
            if let Act::Subscribe(link, name) = act {
                self.asked.push((*link, Arc::clone(name)));
            }
        }
        self.acts.extend(acts.clone());
        acts
    }

    fn pass(&mut self, time: Duration) -> Vec<Act> {
        self.now += time;
        self.next()
    }

    fn say(&mut self, name: &str, pipeline: Option<u64>, errors: &[&str], more: bool) {
        let errors: Vec<String> = errors.iter().map(|&why| why.to_owned()).collect();
        let pipeline = pipeline.map(PipelineId);
        self.board.data(name, (pipeline, &errors, more), self.now);
    }

    /// Welcomes every connection and answers every subscribe.
    fn stand_up(&mut self) {
        for _ in 0..10_000 {
            for act in self.pass(APART) {
                if let Act::Open(link) = act {
                    self.board.welcomed(link, self.now);
                }
            }
            for (_, name) in std::mem::take(&mut self.asked) {
                self.say(&name, None, &[], true);
            }
            if self.board.standing().pending == 0 {
                self.next();
                return;
            }
        }
        panic!("{:?}", self.board.standing());
    }

    fn name_of(&self, id: u64) -> Arc<str> {
        self.board.slots[&ProjectId(id)]
            .name
            .clone()
            .expect("asked for")
    }

    fn counts(&self) -> (usize, usize, usize) {
        let counts = self.board.standing();
        (counts.standing, counts.pending, counts.refused)
    }

    fn opened(&self) -> usize {
        let opened = |act: &&Act| matches!(act, Act::Open(_));
        self.acts.iter().filter(opened).count()
    }
}

#[test]
fn what_is_confirmed_does_not_stand_before_its_first_data() {
    let mut play = Play::new(10, &projects(1));
    assert_eq!(play.next(), [Act::Open(1)]);
    play.board.welcomed(1, play.now);
    let acts = play.next();
    assert!(matches!(&acts[..], [Act::Subscribe(1, _)]), "{acts:?}");
    assert_eq!(play.counts(), (0, 1, 0));
    let name = play.name_of(1);
    play.say(&name, None, &[], true);
    assert_eq!(play.counts(), (1, 0, 0));
    assert_eq!(play.next(), [], "the first data are no event");
    play.say(&name, Some(7), &[], true);
    assert_eq!(play.next(), [Act::Moved(ProjectId(1), PipelineId(7))]);
}

#[test]
fn four_are_unanswered_at_most_and_ten_a_second_are_asked_for() {
    let mut play = Play::new(1000, &projects(100));
    play.next();
    play.board.welcomed(1, play.now);
    for _ in 0..50 {
        play.pass(Duration::from_millis(10));
    }
    assert_eq!(play.asked.len(), UNANSWERED, "no more without an answer");
    let start = play.now;
    let mut answered = 0;
    while answered < 40 {
        play.pass(Duration::from_millis(10));
        for (_, name) in std::mem::take(&mut play.asked) {
            play.say(&name, None, &[], true);
            answered += 1;
        }
    }
    let took = play.now - start;
    assert!(took >= Duration::from_millis(3500), "{took:?} for 40");
    assert!(took <= Duration::from_millis(4500), "{took:?} for 40");
}

#[test]
fn a_connection_has_250_subscriptions_at_most() {
    let play = Play::standing(600);
    assert_eq!((play.counts(), play.opened()), ((600, 0, 0), 3));
    let mut load: Vec<usize> = play.board.load().into_values().collect();
    load.sort_unstable();
    assert_eq!(load, [100, 250, 250]);
}

#[test]
fn the_busiest_come_first_and_stay_unless_others_are_much_busier() {
    let hour = 3600;
    let mut candidates = vec![busy(1, 10 * hour), busy(2, 9 * hour), busy(3, 8 * hour)];
    candidates[2].is_active = true;
    let mut play = Play::new(2, &candidates);
    let chosen = |play: &Play| play.board.slots.keys().map(|id| id.0).collect::<Vec<_>>();
    assert_eq!(chosen(&play), [1, 3], "what runs, then what moved last");
    play.stand_up();
    candidates[1].moved_at = UnixSeconds(10 * hour + 100);
    play.board.choose(&candidates, play.now);
    assert_eq!(chosen(&play), [1, 3], "a little later is not enough");
    candidates[1].moved_at = UnixSeconds(11 * hour);
    let name = play.name_of(1);
    play.board.choose(&candidates, play.now);
    assert_eq!(chosen(&play), [2, 3]);
    let acts = play.next();
    assert!(acts.contains(&Act::Unsubscribe(1, name)), "{acts:?}");
    assert!(acts.contains(&Act::EventsEnded(ProjectId(1))), "{acts:?}");
}

#[test]
fn a_refused_connection_is_tried_again_in_an_hour() {
    let mut play = Play::new(10, &projects(3));
    play.next();
    play.board.refused(1, "not found (404)", play.now);
    play.next();
    assert_eq!(play.counts(), (0, 0, 3));
    assert_eq!(
        play.board.standing().why.as_deref(),
        Some("not found (404)")
    );
    play.pass(HOUR - SECOND);
    assert_eq!(play.opened(), 1);
    play.pass(SECOND);
    assert_eq!((play.opened(), play.counts()), (2, (0, 3, 0)));
}

#[test]
fn a_rejected_subscribe_ends_all_and_another_token_begins_again() {
    let mut play = Play::standing(2);
    play.board.choose(&projects(3), play.now);
    play.pass(APART);
    let (link, name) = play.asked.pop().expect("asked for");
    play.board.rejected(link, &name, play.now);
    let acts = play.next();
    assert!(acts.contains(&Act::Close(1)), "{acts:?}");
    assert!(acts.contains(&Act::EventsEnded(ProjectId(2))), "{acts:?}");
    assert_eq!(play.counts(), (0, 0, 3));
    play.board.begin_again(play.now);
    assert_eq!(play.next(), [Act::Open(2)]);
    assert_eq!(play.counts(), (0, 3, 0));
}

#[test]
fn a_project_that_is_refused_is_asked_for_again_in_an_hour() {
    let mut play = Play::new(10, &projects(1));
    play.next();
    play.board.welcomed(1, play.now);
    play.next();
    let (_, name) = play.asked.pop().expect("asked for");
    play.say(&name, None, &["no permission"], true);
    assert_eq!(play.next(), [Act::Unsubscribe(1, name)]);
    assert_eq!(play.counts(), (0, 0, 1));
    play.pass(HOUR - SECOND);
    assert!(play.asked.is_empty());
    play.pass(SECOND);
    assert_eq!(play.asked.len(), 1);
}

#[test]
fn a_field_that_gitlab_does_not_have_is_refused_for_all() {
    let mut play = Play::new(10, &projects(5));
    play.next();
    play.board.welcomed(1, play.now);
    play.next();
    let (_, name) = play.asked.pop().expect("asked for");
    let why = "Field 'ciPipelineStatusesUpdated' doesn't exist on type 'Subscription'";
    play.say(&name, None, &[why], true);
    play.next();
    assert_eq!(play.counts(), (0, 0, 5));
}

#[test]
fn a_bare_end_is_followed_by_a_new_connection_and_one_poll() {
    let mut play = Play::standing(3);
    assert!(!play.acts.iter().any(|act| matches!(act, Act::Poll(_))));
    play.board.ended(1, "closed", 1.0, play.now);
    assert_eq!(play.next(), [], "not at once");
    assert_eq!(play.counts(), (0, 3, 0));
    play.pass(Duration::from_secs(2));
    assert_eq!(play.opened(), 2);
    play.acts.clear();
    play.board.welcomed(2, play.now);
    play.stand_up();
    let all = (1..=3).map(ProjectId).collect();
    let polls = play.acts.iter().filter(|act| matches!(act, Act::Poll(_)));
    assert_eq!(polls.collect::<Vec<_>>(), [&Act::Poll(all)]);
    let ended = play
        .acts
        .iter()
        .any(|act| matches!(act, Act::EventsEnded(_)));
    assert!(!ended, "they are back in time");
}

#[test]
fn connections_that_fail_are_tried_less_and_less_often() {
    let mut play = Play::new(10, &projects(1));
    let mut waits = Vec::new();
    for _ in 0..12 {
        let start = play.now;
        while !play.next().iter().any(|act| matches!(act, Act::Open(_))) {
            play.now += Duration::from_millis(500);
        }
        waits.push((play.now - start).as_secs());
        let link = play.board.last_link;
        play.board.ended(link, "cannot connect", 1.0, play.now);
    }
    assert_eq!(waits, [0, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
    assert_eq!(play.counts(), (0, 1, 0), "a failure is no refusal");
    // One that is welcomed and ends at once is none that works.
    play.pass(FAILED_MOST);
    play.board.welcomed(play.board.last_link, play.now);
    play.board
        .ended(play.board.last_link, "closed", 1.0, play.now);
    play.pass(Duration::from_secs(10));
    assert!(play.board.links.is_empty());
}

#[test]
fn events_that_stay_away_are_relied_on_no_more() {
    let mut play = Play::standing(1);
    play.board.ended(1, "closed", 1.0, play.now);
    let before = play.board.next(false, play.now + MINUTE - SECOND);
    assert_eq!(before, []);
    let after = play.board.next(false, play.now + MINUTE);
    assert_eq!(after, [Act::EventsEnded(ProjectId(1))]);
    assert_eq!(play.board.next(false, play.now + 2 * MINUTE), [], "once");
}

#[test]
fn a_subscription_that_gitlab_ends_is_asked_for_again_later() {
    let mut play = Play::standing(2);
    let mut waits = Vec::new();
    for _ in 0..3 {
        let name = play.name_of(1);
        play.say(&name, None, &[], false);
        let acts = play.next();
        assert!(acts.contains(&Act::AskRights(ProjectId(1))), "{acts:?}");
        assert!(acts.contains(&Act::Poll(vec![ProjectId(1)])), "{acts:?}");
        assert_eq!(play.counts(), (1, 1, 0));
        let start = play.now;
        while play.asked.is_empty() {
            play.pass(SECOND);
        }
        waits.push((play.now - start).as_secs());
        let (_, name) = play.asked.pop().expect("asked for");
        play.say(&name, None, &[], true);
    }
    assert_eq!(waits, [60, 120, 240]);
}

#[test]
fn silence_is_no_answer() {
    let mut play = Play::new(10, &projects(1));
    play.next();
    play.board.welcomed(1, play.now);
    play.next();
    let (_, name) = play.asked.pop().expect("asked for");
    assert_eq!(play.pass(MINUTE), [Act::Unsubscribe(1, Arc::clone(&name))]);
    // What comes too late is nothing.
    play.say(&name, None, &[], true);
    assert_eq!(play.counts(), (0, 1, 0));
    play.pass(ENDED);
    assert_eq!(play.asked.len(), 1);
}

#[test]
fn a_project_near_gitlabs_limit_is_polled_as_usual() {
    let mut play = Play::standing(1);
    let name = play.name_of(1);
    for event in 1..=39 {
        play.say(&name, Some(event), &[], true);
        play.pass(SECOND);
    }
    let crowded = |acts: &[Act], crowded: bool| acts.contains(&Act::Crowded(ProjectId(1), crowded));
    assert!(!crowded(&play.acts, true));
    play.say(&name, Some(40), &[], true);
    assert!(crowded(&play.next(), true));
    assert!(!crowded(&play.pass(Duration::from_secs(20)), false));
    assert!(
        crowded(&play.pass(Duration::from_secs(30)), false),
        "{:?}",
        play.acts
    );
}

#[test]
fn a_bad_token_opens_nothing() {
    let mut play = Play::new(10, &projects(1));
    assert_eq!(play.board.next(false, play.now), []);
    assert_eq!(play.next(), [Act::Open(1)]);
}

#[test]
fn another_connection_that_is_refused_leaves_what_stands() {
    let mut play = Play::standing(250);
    play.board.choose(&projects(251), play.now);
    assert_eq!(play.pass(APART), [Act::Open(2)]);
    play.board.refused(2, "too many", play.now);
    play.pass(HOUR - SECOND);
    assert_eq!((play.counts(), play.opened()), ((250, 1, 0), 2));
    play.pass(SECOND);
    assert_eq!(play.opened(), 3);
}
