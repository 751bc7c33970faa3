//! GitLab's subscriptions: keeps connections open, and turns what comes on them into hints. What is to be
//! done is decided by [`board`]; here it is carried out.

mod board;
mod link;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::events::queue::HintQueue;
use crate::events::{Hint, Mark, Trigger};
use crate::facts::Reading;
use crate::gitlab::{CableMessage, Cables, GitLab};
use crate::locks::lock;
use crate::observer::Observer;
use crate::registry::Registry;
use crate::types::{PipelineId, ProjectId};
use board::{Act, Board, Link};
use link::{Command, Report};

pub use board::Standing;

/// The first release of GitLab that has them.
const SINCE: (u32, u32) = (18, 6);
/// How often the projects are chosen.
const CHOOSE: Duration = Duration::from_secs(15);
/// The same until there are any.
const CHOOSE_FIRST: Duration = Duration::from_secs(1);
/// Messages that wait; what is beyond waits in the sockets.
const WAITING: usize = 256;
/// How long connections may take to close.
const CLOSING: Duration = Duration::from_secs(1);

/// Keeps subscriptions.
pub struct Subscriptions {
    cables: Cables,
    gitlab: GitLab,
    registry: Arc<Registry>,
    hints: Arc<HintQueue>,
    observer: Arc<dyn Observer>,
    clock: Clock,
    board: Board,
    standing: Arc<Mutex<Standing>>,
    links: BTreeMap<Link, mpsc::UnboundedSender<Command>>,
    tasks: JoinSet<()>,
    reports: mpsc::Sender<(Link, Report)>,
    received: mpsc::Receiver<(Link, Report)>,
    choose_at: Instant,
    token_revision: u64,
    /// The release that is too old.
    too_old: Option<(u32, u32)>,
}

impl Subscriptions {
    /// For at most so many tracked projects, whose hints go to this queue.
    #[must_use]
    pub fn new(
        most: usize,
        cables: Cables,
        gitlab: &GitLab,
        (registry, hints): (Arc<Registry>, Arc<HintQueue>),
        observer: Arc<dyn Observer>,
        clock: Clock,
    ) -> Self {
        let (reports, received) = mpsc::channel(WAITING);
        let now = Instant::now();
        Self {
            token_revision: gitlab.token_revision(),
            gitlab: gitlab.clone(),
            cables,
            registry,
            hints,
            observer,
            clock,
            board: Board::new(most, now),
            standing: Arc::default(),
            links: BTreeMap::new(),
            tasks: JoinSet::new(),
            reports,
            received,
            choose_at: now,
            too_old: None,
        }
    }

    /// How many there are, as it is now.
    #[must_use]
    pub fn standing(&self) -> Arc<Mutex<Standing>> {
        Arc::clone(&self.standing)
    }

    /// Keeps them until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            self.act();
            let pause = self.board.pause(Instant::now());
            tokio::select! {
                () = stop.cancelled() => break,
                Some(came) = self.received.recv() => self.take_all(came),
                Some(_) = self.tasks.join_next() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        // Nobody to send to is the order to close.
        self.links.clear();
        self.received.close();
        let closed = async { while self.tasks.join_next().await.is_some() {} };
        // What is not closed by then is cut.
        let _ = tokio::time::timeout(CLOSING, closed).await;
        self.tasks.shutdown().await;
    }

    fn act(&mut self) {
        let now = Instant::now();
        self.follow_token(now);
        self.follow_version(now);
        if self.choose_at <= now {
            let activity = self.registry.lock().activity();
            self.choose_at = now
                + match activity.is_empty() {
                    true => CHOOSE_FIRST,
                    false => CHOOSE,
                };
            self.board.choose(&activity, now);
        }
        let is_known = self.registry.lock().instance().is_some();
        let may_connect = is_known && self.gitlab.token_refusal().is_none();
        for act in self.board.next(may_connect, now) {
            self.carry_out(act);
        }
        let standing = self.board.standing();
        self.observer
            .subscriptions(standing.standing, standing.pending, standing.refused);
        *lock(&self.standing) = standing;
    }

    /// A new token may do more, one that is refused no longer does what its connections still do.
    fn follow_token(&mut self, now: Instant) {
        let revision = self.gitlab.token_revision();
        if std::mem::replace(&mut self.token_revision, revision) != revision {
            self.board.begin_again(now);
        }
    }

    fn follow_version(&mut self, now: Instant) {
        let Some(instance) = self.registry.lock().instance() else {
            return;
        };
        let release = instance.release;
        if release >= SINCE {
            if self.too_old.take().is_some() {
                self.board.begin_again(now);
            }
        } else if self.too_old != Some(release) || !self.board.is_halted() {
            self.too_old = Some(release);
            let (major, minor) = SINCE;
            let why = format!(
                "GitLab {} has no subscriptions to pipelines, {major}.{minor} is needed",
                instance.version
            );
            self.board.halt(&why, now);
        }
    }

    /// Takes in what came, and what came meanwhile.
    fn take_all(&mut self, (link, report): (Link, Report)) {
        self.take(link, report);
        for _ in 0..WAITING {
            let Ok((link, report)) = self.received.try_recv() else {
                return;
            };
            self.take(link, report);
        }
    }

    fn take(&mut self, link: Link, report: Report) {
        let now = Instant::now();
        match report {
            Report::Welcomed => {
                self.observer.subscriptions_connected("welcomed");
                self.board.welcomed(link, now);
            }
            Report::Refused(why) => {
                self.observer.subscriptions_connected("refused");
                self.links.remove(&link);
                self.board.refused(link, &why, now);
            }
            Report::NotConnected(why) => {
                self.observer.subscriptions_connected("failed");
                self.links.remove(&link);
                self.board.ended(link, &why, jitter(), now);
            }
            Report::Ended(end) => {
                self.links.remove(&link);
                self.board.ended(link, &end.to_string(), jitter(), now);
            }
            Report::Message(CableMessage::Rejected { subscription }) => {
                self.board.rejected(link, &subscription, now);
            }
            Report::Message(CableMessage::Data {
                subscription,
                pipeline,
                errors,
                more,
            }) => {
                self.board
                    .data(&subscription, (pipeline, &errors, more), now);
            }
        }
    }

    fn carry_out(&mut self, act: Act) {
        let now = self.clock.now();
        match act {
            Act::Open(link) => {
                let (commands, received) = mpsc::unbounded_channel();
                self.links.insert(link, commands);
                let (cables, reports) = (self.cables.clone(), self.reports.clone());
                self.tasks.spawn(link::run(link, cables, received, reports));
            }
            Act::Close(link) => {
                self.links.remove(&link);
            }
            Act::Subscribe(link, name) => self.command(link, Command::Subscribe(name)),
            Act::Unsubscribe(link, name) => self.command(link, Command::Unsubscribe(name)),
            Act::Moved(project, pipeline) => self.hint(project, pipeline),
            Act::Poll(projects) => {
                let mut registry = self.registry.lock();
                for project in projects {
                    registry.read_now(project, Reading::ChangeFeed, now);
                }
            }
            Act::AskRights(project) => {
                self.registry.lock().ask_permissions_again(project, now);
            }
            Act::EventsEnded(project) => {
                let mut registry = self.registry.lock();
                registry.events_ended(project, Reading::ChangeFeed, now);
            }
            Act::Crowded(project, crowded) => {
                let mut registry = self.registry.lock();
                registry.events_are_crowded(project, crowded, now);
            }
        }
    }

    fn command(&self, link: Link, command: Command) {
        if let Some(commands) = self.links.get(&link) {
            // A connection that has just ended reports that by itself.
            let _ = commands.send(command);
        }
    }

    fn hint(&self, project: ProjectId, pipeline: PipelineId) {
        if self.registry.lock().get(project).is_none() {
            return;
        }
        self.hints.push(Hint {
            project,
            reading: Reading::ChangeFeed,
            mark: Mark {
                trigger: Trigger::Subscription,
                subject: Some(pipeline.0),
                at: None,
                arrived: Instant::now(),
                is_job: false,
                origin: None,
            },
        });
    }
}

/// A random number from 0 to 1: so that many exporters do not come back at once.
fn jitter() -> f64 {
    let (random, _) = uuid::Uuid::new_v4().as_u64_pair();
    // The upper half has the bits of the version only in its last sixteen.
    f64::from((random >> 32) as u32) / f64::from(u32::MAX)
}
