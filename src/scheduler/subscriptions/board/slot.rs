//! A project among those that are subscribed to.

use std::sync::Arc;

use tokio::time::Instant;

use super::Link;
use super::recent::Recent;

/// How many subscriptions there are, by state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// GitLab announces what moves.
    pub standing: usize,
    /// Not yet, or not now.
    pub pending: usize,
    /// GitLab refuses them.
    pub refused: usize,
    /// Why.
    pub why: Option<String>,
}

/// A project that is to be subscribed to.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) phase: Phase,
    pub(super) name: Option<Arc<str>>,
    /// Since when it does not stand although it did.
    pub(super) down_since: Option<Instant>,
    /// Whether it ever stood.
    pub(super) has_stood: bool,
    /// Times that it ended in a row.
    pub(super) ended: u32,
    pub(super) recent: Recent,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Waiting { from: Instant },
    Asked { link: Link, at: Instant },
    Standing { link: Link },
    Refused { until: Instant, why: String },
}

impl Slot {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            phase: Phase::Waiting { from: now },
            name: None,
            down_since: None,
            has_stood: false,
            ended: 0,
            recent: Recent::default(),
        }
    }

    pub(super) fn link(&self) -> Option<Link> {
        match self.phase {
            Phase::Asked { link, .. } | Phase::Standing { link } => Some(link),
            Phase::Waiting { .. } | Phase::Refused { .. } => None,
        }
    }

    pub(super) fn is_ready(&self, now: Instant) -> bool {
        match self.phase {
            Phase::Waiting { from } => from <= now,
            Phase::Refused { until, .. } => until <= now,
            Phase::Asked { .. } | Phase::Standing { .. } => false,
        }
    }

    /// It no longer stands, or is no longer asked for.
    pub(super) fn leave(&mut self, phase: Phase, now: Instant) -> Option<Arc<str>> {
        if matches!(self.phase, Phase::Standing { .. }) {
            self.down_since.get_or_insert(now);
        }
        self.phase = phase;
        self.name.take()
    }
}
