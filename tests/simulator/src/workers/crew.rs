//! The model of GitLab's workers, in modelled seconds and without a clock of its own.
//!
//! A worker is one Ruby process: the requests in its threads share one processor, and after each database
//! query a request waits for its turn. So a request of `c` seconds of processor time, `d` seconds of the
//! database's and `q` queries takes `c·n + d + q·(n − 1)·TURN` where `n` are at work in its worker; it
//! advances by that measure while `n` changes.

use std::collections::VecDeque;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// Threads of a worker (GitLab's default is 4 by 8 in its own set-ups; 8 here as measured).
pub const THREADS: usize = 8;

/// Seconds that a query costs for each other request in the worker. Ruby's turns last up to 100 ms, but
/// most end at the next query; this makes 16 first readings (862 queries, 2.2 s of processor time each)
/// on two workers take 30 s, as measured, where one alone takes 2.7 s.
pub const TURN: f64 = 0.002;

/// A page that other users open: queries and processor time of an ordinary request. Not measured.
const OTHERS: Work = Work {
    cpu: 0.2,
    database: 0.02,
    queries: 40.0,
};

/// What rounding leaves, in seconds and in parts of a request.
const NEARLY: f64 = 1e-9;

/// What a request has to do.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Work {
    /// Seconds of processor time.
    pub cpu: f64,
    /// Seconds that it waits for the database.
    pub database: f64,
    /// Database queries.
    pub queries: f64,
}

impl Work {
    /// Seconds that it takes where so many requests are at work in its worker.
    #[must_use]
    pub fn seconds(&self, active: usize) -> f64 {
        let active = active.max(1) as f64;
        let seconds = self.cpu * active + self.database + self.queries * TURN * (active - 1.0);
        seconds.max(1e-6)
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ended {
    /// Its number.
    pub id: u64,
    /// Seconds in a worker.
    pub seconds: f64,
    /// Seconds before a worker took it.
    pub queued: f64,
    /// Part of its work that was done, from 0 to 1; less than 1 where its time was over.
    pub done: f64,
}

#[derive(Clone, Copy, Debug)]
struct Request {
    /// `None`: of another user.
    id: Option<u64>,
    work: Work,
    /// Seconds in a worker after which it is broken off.
    limit: f64,
    came: f64,
    started: f64,
    done: f64,
}

/// What other users do.
#[derive(Clone, Debug)]
struct Others {
    /// Requests a second.
    rate: f64,
    next: f64,
    random: ChaCha8Rng,
}

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Tally {
    /// Requests that came to an end, without those of other users.
    pub requests: u64,
    /// Requests that were broken off.
    pub timeouts: u64,
    /// Seconds in workers of all of them together.
    pub seconds: f64,
    /// Most that were in workers at once.
    pub most_active: usize,
    /// Most that waited for a worker at once.
    pub most_queued: usize,
    /// Requests of other users.
    pub others: u64,
    /// Seconds that those took together, queueing included.
    pub others_seconds: f64,
}

impl Tally {
    /// Mean seconds of a request of other users.
    #[must_use]
    pub fn others_mean(&self) -> f64 {
        self.others_seconds / (self.others.max(1) as f64)
    }
}

/// All workers.
#[derive(Clone, Debug)]
pub struct Crew {
    workers: Vec<Vec<Request>>,
    queue: VecDeque<Request>,
    others: Option<Others>,
    now: f64,
    tally: Tally,
}

impl Crew {
    /// So many workers, of whose time other users take a share (0 to 1).
    #[must_use]
    pub fn new(workers: usize, load: f64, seed: u64) -> Self {
        let workers = workers.max(1);
        let rate = load * workers as f64 / OTHERS.cpu;
        let others = (rate > 0.0).then(|| Others {
            rate,
            next: 0.0,
            random: ChaCha8Rng::seed_from_u64(seed),
        });
        Self {
            workers: vec![Vec::new(); workers],
            queue: VecDeque::new(),
            others,
            now: 0.0,
            tally: Tally::default(),
        }
    }

    /// Mean seconds of a request of other users where they have the workers to themselves.
    #[must_use]
    pub fn undisturbed(workers: usize, load: f64, seed: u64) -> f64 {
        let mut crew = Self::new(workers, load, seed);
        crew.advance(3_600.0);
        crew.tally.others_mean()
    }

    /// What happened so far.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// Takes a request that is broken off after `limit` seconds in a worker.
    pub fn take(&mut self, id: u64, work: Work, limit: f64) {
        let request = self.request(Some(id), work, limit);
        self.place(request);
    }

    fn request(&self, id: Option<u64>, work: Work, limit: f64) -> Request {
        Request {
            id,
            work,
            limit,
            came: self.now,
            started: self.now,
            done: 0.0,
        }
    }

    /// Gives a request to the worker with the fewest, or lets it wait.
    fn place(&mut self, mut request: Request) {
        let free = self.workers.iter_mut().min_by_key(|worker| worker.len());
        match free.filter(|worker| worker.len() < THREADS) {
            Some(worker) => {
                request.started = self.now;
                worker.push(request);
            }
            None => self.queue.push_back(request),
        }
        self.tally.most_active = self.tally.most_active.max(self.active());
        self.tally.most_queued = self.tally.most_queued.max(self.queued());
    }

    /// Requests in workers, without those of other users.
    #[must_use]
    pub fn active(&self) -> usize {
        let all = self.workers.iter().flatten();
        all.filter(|request| request.id.is_some()).count()
    }

    /// Requests that wait for a worker, without those of other users.
    #[must_use]
    pub fn queued(&self) -> usize {
        let all = self.queue.iter();
        all.filter(|request| request.id.is_some()).count()
    }

    /// Seconds until something happens; `None` where nothing will.
    #[must_use]
    pub fn next(&self) -> Option<f64> {
        let ends = self.workers.iter().flat_map(|worker| {
            let active = worker.len();
            worker.iter().map(move |request| self.left(request, active))
        });
        let others = self.others.iter().map(|others| others.next - self.now);
        ends.chain(others)
            .min_by(f64::total_cmp)
            .map(|seconds| seconds.max(0.0))
    }

    /// Seconds until a request ends, or is broken off.
    fn left(&self, request: &Request, active: usize) -> f64 {
        let work = (1.0 - request.done) * request.work.seconds(active);
        work.min(request.limit - (self.now - request.started))
    }

    /// Lets time pass until `to`; gives what ended meanwhile.
    pub fn advance(&mut self, to: f64) -> Vec<Ended> {
        let mut ended = Vec::new();
        while let Some(next) = self.next().filter(|next| self.now + next <= to) {
            self.pass(next);
            self.collect(&mut ended);
            self.arrive();
        }
        self.pass((to - self.now).max(0.0));
        ended
    }

    fn pass(&mut self, seconds: f64) {
        self.now += seconds;
        for worker in &mut self.workers {
            let active = worker.len();
            for request in worker {
                request.done += seconds / request.work.seconds(active);
            }
        }
    }

    fn collect(&mut self, ended: &mut Vec<Ended>) {
        let now = self.now;
        for worker in &mut self.workers {
            worker.retain(|request| {
                let seconds = now - request.started;
                let over = request.done >= 1.0 - NEARLY || seconds >= request.limit - NEARLY;
                if over {
                    let one = Ended {
                        id: request.id.unwrap_or_default(),
                        seconds,
                        queued: request.started - request.came,
                        done: if request.done >= 1.0 - NEARLY {
                            1.0
                        } else {
                            request.done
                        },
                    };
                    note(&mut self.tally, request.id, &one);
                    ended.extend(request.id.map(|_| one));
                }
                !over
            });
        }
        while self.workers.iter().any(|worker| worker.len() < THREADS) {
            let Some(request) = self.queue.pop_front() else {
                break;
            };
            self.place(request);
        }
    }

    /// Lets other users come.
    fn arrive(&mut self) {
        let now = self.now;
        let Some(others) = self
            .others
            .as_mut()
            .filter(|others| others.next <= now + NEARLY)
        else {
            return;
        };
        let chance: f64 = others.random.random_range(f64::EPSILON..1.0);
        others.next = now - chance.ln() / others.rate;
        let request = self.request(None, OTHERS, f64::INFINITY);
        self.place(request);
    }
}

fn note(tally: &mut Tally, id: Option<u64>, ended: &Ended) {
    if id.is_none() {
        tally.others += 1;
        tally.others_seconds += ended.seconds + ended.queued;
        return;
    }
    tally.requests += 1;
    tally.seconds += ended.seconds;
    if ended.done < 1.0 {
        tally.timeouts += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A first reading of 20 projects with 32 pipelines each.
    const FIRST_READING: Work = Work {
        cpu: 2.2,
        database: 0.43,
        queries: 862.0,
    };

    fn crowd(workers: usize, requests: u64) -> Vec<Ended> {
        let mut crew = Crew::new(workers, 0.0, 1);
        for id in 0..requests {
            crew.take(id, FIRST_READING, 60.0);
        }
        crew.advance(1_000.0)
    }

    #[test]
    fn a_request_alone_takes_its_own_time() {
        let ended = crowd(2, 1);
        assert!((ended[0].seconds - 2.63).abs() < 0.01, "{ended:?}");
    }

    #[test]
    fn sixteen_at_once_take_thirty_seconds_each() {
        let ended = crowd(2, 16);
        assert_eq!(ended.len(), 16);
        assert!(
            ended.iter().all(|one| (29.0..31.0).contains(&one.seconds)),
            "{ended:?}"
        );
    }

    #[test]
    fn what_finds_no_thread_waits() {
        let ended = crowd(1, 9);
        let waited: Vec<_> = ended.iter().filter(|one| one.queued > 1.0).collect();
        assert_eq!(waited.len(), 1);
    }

    #[test]
    fn a_request_is_broken_off_with_part_of_its_work_done() {
        let mut crew = Crew::new(1, 0.0, 1);
        for id in 0..8 {
            crew.take(id, FIRST_READING, 15.0);
        }
        let ended = crew.advance(1_000.0);
        assert_eq!(crew.tally().timeouts, 8);
        assert!(
            ended.iter().all(|one| (0.4..0.6).contains(&one.done)),
            "{ended:?}"
        );
    }

    #[test]
    fn others_take_their_share_and_are_slowed_down() {
        let alone = Crew::undisturbed(2, 0.3, 1);
        assert!((0.22..0.4).contains(&alone), "{alone}");
        let mut crew = Crew::new(2, 0.3, 1);
        for id in 0..10 {
            crew.take(id, FIRST_READING, 60.0);
        }
        crew.advance(30.0);
        assert!(crew.tally().others > 20, "{:?}", crew.tally());
        assert!(
            crew.tally().others_mean() > 3.0 * alone,
            "{:?}",
            crew.tally()
        );
    }
}
