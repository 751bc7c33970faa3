//! A tracked project: what is known of it, and when it is read for what.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::failures::Failures;
use super::hints::{EventPolling, Events};
use super::timer::{Slot, Timer, shown_lag};
use crate::catalogue::{Collector, FamilyId};
use crate::clock::UnixSeconds;
use crate::config::ProjectSettings;
use crate::facts::{Problem, Reading, Unavailable};
use crate::gitlab::capability::Instance;
use crate::gitlab::model::{Known, Permissions, Project};
use crate::memory::ProjectMemory;
use crate::memory::feed::{Depth, FeedProgress};
use crate::source::{Needs, Source, Target, Wants};
use crate::types::{ProjectId, Tier};

/// How urgently a project is to be read for something, the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// A user or an event awaits it.
    Urgent,
    /// What moves now: the change feed, and states whose interval is over.
    Current,
    /// What happened before: first readings and history.
    Backfill,
}

impl Priority {
    /// All of them, the most urgent first.
    pub const ALL: [Self; 3] = [Self::Urgent, Self::Current, Self::Backfill];

    /// The value of the label `priority`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Urgent => "urgent",
            Self::Current => "current",
            Self::Backfill => "backfill",
        }
    }
}

/// Whether something is read less often of a project in which nothing moves: it hardly changes without a
/// pipeline or an activity.
const fn is_slowed(reading: Reading) -> bool {
    matches!(
        reading,
        Reading::MergeRequests
            | Reading::Environments
            | Reading::TestReports
            | Reading::Dora
            | Reading::ValueStream
            | Reading::Repository
            | Reading::Contributors
            | Reading::Schedules
            | Reading::Security
    )
}

/// A tracked project.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Number of this tracking, for [`Target::tracking`].
    pub(super) tracking: u64,
    /// Where in each interval it is read.
    pub(super) slot: Slot,
    pub(super) project: Project,
    pub(super) settings: Arc<ProjectSettings>,
    pub(super) memory: Arc<ProjectMemory>,
    /// Collectors that are off and that may have series of it.
    pub(super) switched_off: Vec<Collector>,
    /// When it is read, for each source that it has been due for.
    pub(super) timers: BTreeMap<Reading, Timer>,
    /// Its tier, as far as it could be found out; none before it was asked for.
    pub(super) tier: Option<Known<Tier>>,
    /// When its tier is to be asked for.
    pub(super) tier_due: UnixSeconds,
    /// What the token may read of it, as far as GitLab said.
    pub(super) permissions: Permissions,
    /// When GitLab is to be asked for that.
    pub(super) permissions_due: UnixSeconds,
    /// When GitLab last said that its pipelines may be read.
    pub(super) permitted_at: UnixSeconds,
    /// Why collectors have nothing of it.
    pub(super) unavailable: BTreeMap<Collector, Unavailable>,
    /// Since when, without one reading in between that had something.
    pub(super) unavailable_since: BTreeMap<Collector, UnixSeconds>,
    /// Since when GitLab hides what a metric counts, though it answers the rest.
    pub(super) hidden_since: BTreeMap<FamilyId, UnixSeconds>,
    /// Why the last run of a source failed as a whole.
    pub(super) errors: BTreeMap<Reading, String>,
    /// Calls that failed in the last run and left the rest of it whole.
    pub(super) failures: Failures,
    /// When states of its pipelines were last measured.
    pub(super) measured_at: Option<UnixSeconds>,
    /// The last successful run of the change feed.
    pub(super) succeeded_at: Option<UnixSeconds>,
    /// Whether GitLab says when a job begins in it.
    pub(super) is_announced: bool,
    /// What GitLab's events say of it.
    pub(super) events: Events,
    /// How it is polled while they can be relied on; none where no events are received.
    pub(super) event_polling: Option<EventPolling>,
    /// First reads, once all are done.
    pub(super) first_reads: Option<usize>,
}

impl Entry {
    /// A project that was just found; due for its change feed at once.
    pub(super) fn new(
        tracking: u64,
        project: Project,
        settings: Arc<ProjectSettings>,
        memory: Arc<ProjectMemory>,
        now: UnixSeconds,
    ) -> Self {
        let is_restored = !memory.path.is_empty();
        let off = Collector::ALL.into_iter();
        let off = off.filter(|one| is_restored && settings.interval(*one).is_none());
        Self {
            tracking,
            switched_off: off.collect(),
            slot: Slot::default(),
            project,
            settings,
            memory,
            // Its history ends with its first poll, which is therefore awaited.
            timers: BTreeMap::from([(
                Reading::ChangeFeed,
                Timer {
                    is_urgent: true,
                    ..Timer::starting(now)
                },
            )]),
            tier: None,
            tier_due: UnixSeconds::default(),
            permissions: Permissions::default(),
            permissions_due: UnixSeconds::default(),
            permitted_at: UnixSeconds::default(),
            unavailable: BTreeMap::new(),
            is_announced: false,
            events: Events::default(),
            event_polling: None,
            unavailable_since: BTreeMap::new(),
            hidden_since: BTreeMap::new(),
            errors: BTreeMap::new(),
            failures: Failures::default(),
            measured_at: None,
            succeeded_at: None,
            first_reads: None,
        }
    }

    /// Takes other settings in: what is off now takes its series away, what is on now is read at once.
    pub(super) fn set_settings(&mut self, settings: Arc<ProjectSettings>, now: UnixSeconds) {
        let before = std::mem::replace(&mut self.settings, settings);
        for collector in Collector::ALL {
            let (was, is) = (
                before.interval(collector),
                self.settings.interval(collector),
            );
            match (was, is) {
                (Some(_), None) => self.switched_off.push(collector),
                (None, Some(_)) => {
                    self.switched_off.retain(|off| *off != collector);
                    for timer in self.timers.values_mut() {
                        timer.due = timer.due.min(now);
                    }
                }
                _ => {}
            }
        }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> ProjectId {
        self.project.id
    }

    /// Number of this tracking: it changes when the project is removed and added again.
    #[must_use]
    pub fn tracking(&self) -> u64 {
        self.tracking
    }

    /// How many of its first reads are done, and how many there are: one for each source that reads it.
    /// What is refused is done, what failed is not.
    pub(super) fn first_reads(
        &mut self,
        sources: &[Arc<dyn Source>],
        now: UnixSeconds,
    ) -> (usize, usize) {
        if let Some(all) = self.first_reads {
            return (all, all);
        }
        let (mut done, mut due) = (0, 0);
        for source in sources {
            // Which refs exist is asked when some may have been deleted.
            let is_off = source.interval(&self.settings).is_none();
            if is_off || source.reading() == Reading::Refs {
                continue;
            }
            let is_done = match source.reading() {
                Reading::ChangeFeed => self.is_answered(),
                Reading::Backfill => self.is_answered() && self.is_settled(),
                reading => {
                    self.timer(reading).has_succeeded || self.is_unavailable_to(source.as_ref())
                }
            };
            let is_wanted = source.wants(&self.project, &self.memory, now) == Wants::Now;
            due += usize::from(is_done || is_wanted);
            done += usize::from(is_done);
        }
        if done == due && due > 0 {
            self.first_reads = Some(due);
        }
        (done, due)
    }

    /// Whether no collector of a source has something of it.
    fn is_unavailable_to(&self, source: &dyn Source) -> bool {
        let mut collectors = source.collectors().iter().peekable();
        let is_measured = collectors.peek().is_some();
        is_measured && collectors.all(|collector| self.unavailable.contains_key(collector))
    }

    /// As GitLab last gave it.
    #[must_use]
    pub fn project(&self) -> &Project {
        &self.project
    }

    /// Its settings.
    #[must_use]
    pub fn settings(&self) -> &ProjectSettings {
        &self.settings
    }

    /// What is remembered of it.
    #[must_use]
    pub fn memory(&self) -> &Arc<ProjectMemory> {
        &self.memory
    }

    /// Its tier, as far as it could be found out; none before it was asked for.
    #[must_use]
    pub fn tier(&self) -> Option<Known<Tier>> {
        self.tier
    }

    /// Why collectors have nothing of it.
    #[must_use]
    pub fn unavailable(&self) -> &BTreeMap<Collector, Unavailable> {
        &self.unavailable
    }

    /// Since when a collector has nothing of it.
    #[must_use]
    pub fn unavailable_since(&self, collector: Collector) -> Option<UnixSeconds> {
        self.unavailable_since.get(&collector).copied()
    }

    /// The metrics of which GitLab hides what they count, though it answers the rest, and since when.
    #[must_use]
    pub fn hidden_since(&self) -> &BTreeMap<FamilyId, UnixSeconds> {
        &self.hidden_since
    }

    /// Whether GitLab has answered for it since the start, be it with a refusal.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        self.succeeded_at.is_some() || self.unavailable.contains_key(&Collector::Pipelines)
    }

    /// Whether every collector that is on for it has nothing of it.
    #[must_use]
    pub fn reads_nothing(&self) -> bool {
        let on = Collector::ALL.into_iter();
        let mut on = on
            .filter(|collector| self.settings.interval(*collector).is_some())
            .peekable();
        on.peek().is_some() && on.all(|collector| self.unavailable.contains_key(&collector))
    }

    /// When states of its pipelines were last measured.
    #[must_use]
    pub fn measured_at(&self) -> Option<UnixSeconds> {
        self.measured_at
    }

    /// The last successful run of the change feed.
    #[must_use]
    pub fn succeeded_at(&self) -> Option<UnixSeconds> {
        self.succeeded_at
    }

    /// Whether the last run of its change feed failed.
    #[must_use]
    pub fn feed_fails(&self) -> bool {
        self.errors.contains_key(&Reading::ChangeFeed)
    }

    /// Why something could not be read of it the last time: pipelines above all.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        let whole = self.errors.values().map(String::as_str);
        whole.chain(self.failures.sentence()).next()
    }

    /// How much later than due its change feed is, where it is late.
    #[must_use]
    pub fn feed_lag(&self, now: UnixSeconds) -> Duration {
        let lag = now.since(self.timer(Reading::ChangeFeed).due);
        shown_lag(lag, self.feed_interval(now).unwrap_or_default())
    }

    /// How often it is read for this, where the settings say `interval`: less often the longer nothing has
    /// moved in it, and still less where events are relied on.
    #[must_use]
    pub(super) fn interval(
        &self,
        reading: Reading,
        interval: Duration,
        now: UnixSeconds,
    ) -> Duration {
        let usual = self.quiet_for(now).map_or(interval, |quiet| {
            let settings = self.settings.quiet_interval();
            match reading {
                Reading::ChangeFeed if self.is_announced => settings.announced(interval, quiet),
                Reading::ChangeFeed => settings.of(interval, quiet),
                reading if is_slowed(reading) => settings.of_others(interval, quiet),
                _ => interval,
            }
        });
        self.relaxed(reading, usual, now)
    }

    /// The interval where GitLab's events announce what moves: longer, unless something runs of which they
    /// do not tell.
    fn relaxed(&self, reading: Reading, interval: Duration, now: UnixSeconds) -> Duration {
        match self.event_polling {
            Some(polling) if self.events.are_proven(reading) => {
                let runs = reading == Reading::ChangeFeed && self.has_active();
                if runs && !self.events.tell_of_jobs(now) {
                    return interval;
                }
                polling.interval(interval)
            }
            _ => interval,
        }
    }

    /// Whether a pipeline of it goes on.
    fn has_active(&self) -> bool {
        let feed = self.memory.feed.as_ref();
        feed.is_some_and(FeedProgress::has_active)
    }

    /// What GitLab's events say of it.
    #[must_use]
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// How often its pipelines are polled now; none where they are not.
    #[must_use]
    pub fn feed_interval(&self, now: UnixSeconds) -> Option<Duration> {
        let interval = self.feed_setting()?;
        Some(self.interval(Reading::ChangeFeed, interval, now))
    }

    /// The same if GitLab does not say when a job begins in it.
    pub(super) fn usual_feed_interval(&self, now: UnixSeconds) -> Duration {
        let interval = self.feed_setting().unwrap_or(Duration::ZERO);
        let quiet = self.quiet_for(now).unwrap_or(Duration::ZERO);
        self.settings.quiet_interval().of(interval, quiet)
    }

    /// How often its pipelines are polled by the settings.
    pub(super) fn feed_setting(&self) -> Option<Duration> {
        self.settings.shortest_interval(&[
            Collector::Pipelines,
            Collector::Jobs,
            Collector::ChildPipelines,
        ])
    }

    /// Whether its pipelines are polled less often than that, for nothing moves in it.
    pub(super) fn is_polled_slowly(&self) -> bool {
        self.timer(Reading::ChangeFeed).is_slowed
    }

    /// For how long nothing has moved in it; none while something may.
    fn quiet_for(&self, now: UnixSeconds) -> Option<Duration> {
        let feed = self.memory.feed.as_ref()?;
        // A push announces pipelines.
        let activity = self.project.last_activity_at.unwrap_or_default();
        let is_quiet = match feed.is_whole() {
            true => feed.is_settled(),
            // The jobs of what had come to rest are read by the backfill.
            false => !feed.has_active(),
        };
        is_quiet.then(|| now.since(feed.last_moved().max(activity)))
    }

    /// Has what waits longer, because nothing moved, read again now.
    pub(super) fn wake(&mut self, now: UnixSeconds) {
        for (reading, timer) in &mut self.timers {
            if is_slowed(*reading) {
                timer.wake(now);
            }
        }
    }

    /// Whether the same problem was reported when it was last read for this.
    #[must_use]
    pub fn has_problem(&self, reading: Reading, problem: &Problem) -> bool {
        self.failures.has(reading, problem)
    }

    /// When it is read for this.
    #[must_use]
    pub(super) fn timer(&self, reading: Reading) -> Timer {
        self.timers.get(&reading).copied().unwrap_or_default()
    }

    pub(super) fn timer_mut(&mut self, reading: Reading) -> &mut Timer {
        self.timers.entry(reading).or_default()
    }

    /// The same, due now if it was never read for this: its lag does not begin in 1970.
    pub(super) fn begin(&mut self, reading: Reading, now: UnixSeconds) -> Timer {
        let starting = || Timer::starting(now);
        *self.timers.entry(reading).or_insert_with(starting)
    }

    /// Has everything read again at once.
    pub(super) fn read_at_once(&mut self, now: UnixSeconds) {
        for (reading, timer) in &mut self.timers {
            // What lies back is read once.
            if *reading != Reading::Backfill {
                timer.ask(now);
            }
        }
    }

    /// Has everything beside the change feed read again at once.
    pub(super) fn read_others_at_once(&mut self, now: UnixSeconds) {
        for (reading, timer) in &mut self.timers {
            let others = [Reading::ChangeFeed, Reading::Refs, Reading::Backfill];
            if !others.contains(reading) {
                timer.ask(now);
            }
        }
    }

    /// Whether a source may read it.
    pub(super) fn is_ready_for(&self, needs: Needs) -> bool {
        // Pipelines that cannot be read keep nothing else waiting.
        let is_without = self.depth().is_none() && !self.unavailable.is_empty();
        let is_whole = self.depth() == Some(Depth::Everything) || is_without;
        match needs {
            Needs::Nothing => true,
            Needs::FirstRead => self.memory.feed.is_some(),
            Needs::Pipelines => is_whole,
            Needs::Tier => is_whole && self.tier.is_some(),
        }
    }

    /// How urgently it is to be read for this, once it is due.
    pub(super) fn priority(&self, source: &dyn Source) -> Priority {
        let timer = self.timer(source.reading());
        if timer.is_urgent {
            Priority::Urgent
        } else if source.needs() == Needs::Nothing
            || (timer.has_succeeded && source.needs() != Needs::FirstRead)
        {
            Priority::Current
        } else {
            Priority::Backfill
        }
    }

    /// How deep its pipelines have been read; nothing before the first run.
    fn depth(&self) -> Option<Depth> {
        self.memory.feed.as_ref().map(|feed| feed.depth)
    }

    /// Whether its pipelines have been read whole; if not, the next run is to follow at once.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.depth().is_none_or(|depth| depth == Depth::Everything)
    }

    /// The project as a source reads it.
    #[must_use]
    pub fn target(&self, instance: Option<&Arc<Instance>>) -> Target {
        Target {
            tracking: self.tracking,
            project: self.project.clone(),
            settings: Arc::clone(&self.settings),
            memory: Arc::clone(&self.memory),
            tier: self.tier.unwrap_or_default(),
            permissions: self.permissions,
            permitted_at: self.permitted_at,
            instance: instance.cloned(),
            is_asked_for: false,
        }
    }

    /// Moves all times with a clock that was set back by `back`.
    pub(super) fn clock_was_set_back(&mut self, back: Duration) {
        for timer in self.timers.values_mut() {
            timer.due = timer.due.minus(back);
        }
        self.tier_due = self.tier_due.minus(back);
        self.permissions_due = self.permissions_due.minus(back);
        self.permitted_at = self.permitted_at.minus(back);
        for at in [&mut self.measured_at, &mut self.succeeded_at] {
            *at = at.map(|at| at.minus(back));
        }
        let hidden = self.hidden_since.values_mut();
        for since in self.unavailable_since.values_mut().chain(hidden) {
            *since = since.minus(back);
        }
        self.events.clock_was_set_back(back);
    }
}
