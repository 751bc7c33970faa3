//! Random changes with walks under way, held against a plain model, and walks concurrent with a writer.

use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;

use super::*;

/// One thing that happens.
#[derive(Clone, Debug)]
enum Step {
    /// Pipelines of a ref created.
    Count(u8, u8),
    /// The refs whose newest pipeline a project's block shows, and its id.
    Replace(u8, Vec<(u8, u8)>),
    Retire(u8),
    Sweep,
    Wait(u8),
    BeginWalk,
    /// A walk visits some more places.
    Go(u8),
    /// A walk is given up or finished and compared.
    EndWalk(u8, bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..6_u8, 1..4_u8).prop_map(|(git_ref, count)| Step::Count(git_ref, count)),
        4 => (0..3_u8, prop::collection::vec((0..6_u8, 0..3_u8), 0..5))
            .prop_map(|(project, refs)| Step::Replace(project, refs)),
        1 => (0..6_u8).prop_map(Step::Retire),
        1 => Just(Step::Sweep),
        1 => (0..250_u8).prop_map(Step::Wait),
        2 => Just(Step::BeginWalk),
        4 => (0..9_u8).prop_map(Step::Go),
        2 => (any::<u8>(), any::<bool>()).prop_map(|(walk, finish)| Step::EndWalk(walk, finish)),
    ]
}

/// A counter as the model has it.
struct Total {
    value: f64,
    initialized_at: i64,
    changed: i64,
    retiring: bool,
}

#[derive(Default)]
struct Model {
    totals: BTreeMap<String, Total>,
    /// Value and project of each gauge.
    gauges: BTreeMap<String, (f64, u8)>,
    now: i64,
}

impl Model {
    fn shown(&self) -> BTreeMap<String, String> {
        let shows_zero = |total: &Total| self.now - total.initialized_at < 120;
        let totals = self.totals.iter().map(|(key, total)| {
            (
                key.clone(),
                if shows_zero(total) { 0.0 } else { total.value }.to_string(),
            )
        });
        let gauges = self
            .gauges
            .iter()
            .map(|(key, (value, _))| (key.clone(), value.to_string()));
        totals.chain(gauges).collect()
    }

    fn count(&mut self, git_ref: &str, count: f64) {
        let total = self
            .totals
            .entry(format!("run_count p {git_ref}"))
            .or_insert(Total {
                value: 0.0,
                initialized_at: self.now,
                changed: 0,
                retiring: false,
            });
        total.value += count;
        total.changed = self.now;
        total.retiring = false;
    }

    fn replace(&mut self, project: u8, states: &BTreeMap<u8, u8>) {
        self.gauges.retain(|_, (_, owner)| *owner != project);
        for (git_ref, id) in states {
            let key = format!("id p r{git_ref}");
            self.gauges.insert(key, (f64::from(*id), project));
        }
    }

    fn sweep(&mut self) {
        let now = self.now;
        let is_due = |total: &Total| {
            total.retiring && total.changed.max(total.initialized_at + 120) + 120 <= now
        };
        self.totals.retain(|_, total| !is_due(total));
    }
}

/// A walk with what it has seen and what it must see.
struct Walking {
    walk: Walk,
    seen: BTreeMap<String, String>,
    expected: BTreeMap<String, String>,
}

impl Walking {
    fn go(&mut self, places: usize) -> bool {
        let seen = &mut self.seen;
        self.walk.next_chunk(places, |row| {
            let before = seen.insert(short(row), shown(&row.value));
            assert_eq!(before, None, "{} is seen twice", short(row));
            ControlFlow::Continue(())
        })
    }

    /// The same series; gauges with the same values, totals with the same or newer ones.
    fn finish(mut self) {
        while self.go(2) {}
        let keys = |map: &BTreeMap<String, String>| map.keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(&self.seen), keys(&self.expected));
        for (key, value) in &self.seen {
            let number = |text: &str| text.parse::<f64>().unwrap();
            if key.starts_with("run_count") {
                assert!(number(value) >= number(&self.expected[key]), "{key}");
            } else {
                assert_eq!(*value, self.expected[key], "{key}");
            }
        }
    }
}

fn play(steps: &[Step]) {
    let table = table(1000);
    let mut model = Model::default();
    let mut walks: Vec<Walking> = Vec::new();
    for step in steps {
        let now = at(model.now);
        match step {
            Step::Count(git_ref, n) => {
                let git_ref = format!("r{git_ref}");
                count(&table, &[runs("p", &git_ref, f64::from(*n))], now);
                model.count(&git_ref, f64::from(*n));
            }
            Step::Replace(project, states) => {
                let states: BTreeMap<u8, u8> = states.iter().copied().collect();
                let gauges = states
                    .iter()
                    .map(|(git_ref, id)| newest_id("p", &format!("r{git_ref}"), f64::from(*id)))
                    .collect();
                replace(&table, &[(block((*project).into()), gauges)], now);
                model.replace(*project, &states);
            }
            Step::Retire(git_ref) => {
                table.retire(vec![("ref", format!("r{git_ref}").into())], now);
                if let Some(total) = model.totals.get_mut(&format!("run_count p r{git_ref}")) {
                    total.retiring = true;
                }
            }
            Step::Sweep => {
                table.sweep(now);
                model.sweep();
            }
            Step::Wait(seconds) => model.now += i64::from(*seconds),
            Step::BeginWalk => walks.push(Walking {
                walk: table.walk(now),
                seen: BTreeMap::new(),
                expected: model.shown(),
            }),
            Step::Go(places) => {
                for walk in &mut walks {
                    walk.go((*places).into());
                }
            }
            Step::EndWalk(which, finish) => {
                if !walks.is_empty() {
                    let walk = walks.swap_remove(usize::from(*which) % walks.len());
                    if *finish {
                        walk.finish();
                    }
                }
            }
        }
        assert_eq!(scrape(&table, at(model.now)), model.shown());
    }
    walks.into_iter().for_each(Walking::finish);
    // Without walks, nothing is held but what is shown.
    table.apply(Update::default(), at(model.now));
    assert_eq!(table.size().rows, model.shown().len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn the_table_does_what_a_plain_model_does(steps in prop::collection::vec(step(), 1..80)) {
        play(&steps);
    }
}

#[test]
fn walks_concurrent_with_a_writer_see_exactly_one_status_of_each_ref() {
    let table = table(1000);
    let states = |flip: u32| -> Vec<Delta> {
        (0..20_u32)
            .map(|n| {
                let now = ["pending", "running", "success"][((flip + n) % 3) as usize];
                status("p", &format!("r{n}"), now, 1.0)
            })
            .collect()
    };
    replace(&table, &[(block(1), states(0))], at(0));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for chunk in [1, 3] {
            let (table, done) = (&table, &done);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    let seen = finish(table.walk(at(0)), chunk);
                    let mut refs: Vec<_> = seen
                        .keys()
                        .filter_map(|key| key.split(' ').nth(2))
                        .collect();
                    refs.dedup();
                    assert_eq!((seen.len(), refs.len()), (20, 20), "{seen:?}");
                }
            });
        }
        for flip in 1..3000 {
            replace(&table, &[(block(1), states(flip))], at(0));
        }
        done.store(true, Ordering::Relaxed);
    });
    table.apply(Update::default(), at(0));
    assert_eq!(table.size().rows, 20);
}
