//! The cards at the head of the status page: GitLab, token, requests, projects, series, delivery.

use std::time::Duration;

use super::view::{Badge, SeriesCounts, Tone};
use super::words::{Moment, clip, count, length, plural};
use crate::clock::UnixSeconds;
use crate::config::Config;

use crate::server::status::{
    ConfigStatus, PushStatus, Reachability, Reading, ReplicasStatus, ServerLoad, Status,
    SubscriptionsStatus, TokenExpiry,
};

const DAY: Duration = Duration::from_secs(86_400);
/// A token that expires so soon is a warning.
const EXPIRES_SOON: Duration = Duration::from_secs(30 * DAY.as_secs());
/// A token that expires so very soon is an alarm.
const EXPIRES_NOW: Duration = Duration::from_secs(7 * DAY.as_secs());

/// How the sentence about a missing field begins where other requests return the same data.
const NO_LOSS: &str = "no data is missing";

/// A replica that is so late is a warning.
const LATE: Duration = Duration::from_secs(60);

/// GitLab workers that are kept busy from which on it is too much.
const TOO_MUCH: f64 = 1.0;

/// A subject in a few lines.
pub(super) struct Card {
    pub(super) title: &'static str,
    pub(super) headline: String,
    /// Behind the headline, smaller.
    pub(super) detail: String,
    /// Done and whole, for a bar.
    pub(super) progress: Option<(usize, usize)>,
    pub(super) lines: Vec<Line>,
}

/// A line of a card.
pub(super) struct Line {
    pub(super) label: &'static str,
    pub(super) value: Badge,
    /// The exact time, when the value is one.
    pub(super) exact: Option<String>,
    /// Where it leads.
    pub(super) href: Option<String>,
    /// A sentence below.
    pub(super) note: Option<String>,
}

impl Line {
    fn new(label: &'static str, value: Badge) -> Self {
        Self {
            label,
            value,
            exact: None,
            href: None,
            note: None,
        }
    }

    fn plain(label: &'static str, value: impl Into<String>) -> Self {
        Self::new(label, Badge::new(Tone::Calm, value))
    }

    fn moment(label: &'static str, at: UnixSeconds, now: UnixSeconds) -> Self {
        let moment = Moment::new(at, now);
        Self {
            exact: Some(moment.exact),
            ..Self::plain(label, moment.relative)
        }
    }

    fn note(self, note: Option<&str>) -> Self {
        let note = note.map(clip);
        Self { note, ..self }
    }
}

/// All cards, in the order they are shown in.
pub(super) fn all(
    status: &Status,
    series: &SeriesCounts,
    config: &Config,
    now: UnixSeconds,
) -> Vec<Card> {
    let replicas = status.replicas.as_ref();
    let replicas = replicas.map(|status| replicas_card(status, now));
    let cards = [
        gitlab(status),
        token(status, now),
        requests(status, config, now),
        projects(status, now),
        series_card(series, config),
        delivery(status, now),
    ];
    cards.into_iter().chain(replicas).collect()
}

fn gitlab(status: &Status) -> Card {
    let gitlab = &status.gitlab;
    let (reachable, error) = match &gitlab.reachability {
        Reachability::Unknown => (Badge::new(Tone::Calm, "not contacted yet"), None),
        Reachability::Up => (Badge::new(Tone::Good, "reachable"), None),
        Reachability::Refused { why } => (
            Badge::new(Tone::Bad, "refused the token"),
            Some(why.as_str()),
        ),
        Reachability::Down { error } => {
            (Badge::new(Tone::Bad, "unreachable"), Some(error.as_str()))
        }
    };
    let (reading, reason) = match &gitlab.reading {
        Reading::GraphQl => (Badge::new(Tone::Calm, "GraphQL"), None),
        Reading::Rest => (Badge::new(Tone::Calm, "REST, as configured"), None),
        Reading::RestFallBack { reason } => (
            Badge::new(Tone::Warn, "REST as fallback"),
            Some(reason.as_str()),
        ),
    };
    let mut address = Line::plain("Address", clip(&gitlab.url));
    address.href = Some(gitlab.url.clone());
    let missing = gitlab.lost.iter().map(|sentence| {
        let (what, then) = sentence.split_once(": ").unwrap_or((sentence, ""));
        let tone = match then.starts_with(NO_LOSS) {
            true => Tone::Calm,
            false => Tone::Warn,
        };
        Line::new("Missing", Badge::new(tone, clip(what))).note(Some(then))
    });
    let tier = gitlab.tier.map_or("not known yet", |tier| tier.as_str());
    let subscriptions = gitlab.subscriptions.as_ref().map(subscriptions);
    Card {
        title: "GitLab",
        headline: gitlab
            .version
            .as_deref()
            .map_or("unknown version".to_owned(), clip),
        detail: gitlab.edition.as_deref().map(clip).unwrap_or_default(),
        progress: None,
        lines: [
            address,
            Line::new("State", reachable).note(error),
            Line::plain("Tier", tier),
            Line::new("API", reading).note(reason),
        ]
        .into_iter()
        .chain(subscriptions)
        .chain(missing)
        .collect(),
    }
}

/// Who holds what.
fn replicas_card(status: &ReplicasStatus, now: UnixSeconds) -> Card {
    let lines = status.replicas.iter().map(|replica| {
        let tone = match replica.lag > LATE {
            true => Tone::Warn,
            false => Tone::Good,
        };
        let mut text = format!(
            "{}, {}",
            plural(replica.shards, "shard"),
            plural(replica.projects, "project")
        );
        if replica.leads {
            text.push_str(", discovery");
        }
        let label = if replica.is_this {
            "This replica"
        } else {
            "Replica"
        };
        let started = Moment::new(replica.started_at, now).relative;
        let lag = match replica.lag > LATE {
            true => format!(", {} late", length(replica.lag)),
            false => String::new(),
        };
        let note = format!(
            "{}, version {}, started {started}{lag}",
            replica.host, replica.version
        );
        Line::new(label, Badge::new(tone, text)).note(Some(&note))
    });
    let trouble = status.trouble.as_deref();
    let trouble = trouble.map(|why| {
        let badge = Badge::new(Tone::Bad, "unavailable");
        Line::new("Redis", badge).note(Some(why))
    });
    let refused = status.refused.as_ref().map(|(shards, why)| {
        let badge = Badge::new(Tone::Bad, plural(*shards, "shard"));
        Line::new("Refused", badge).note(Some(why))
    });
    let again = status.written_again.map(|(shards, at)| {
        let note = "Redis was restarted or lost its data; nothing is counted twice";
        let text = format!(
            "{}, {}",
            plural(shards, "shard"),
            Moment::new(at, now).relative
        );
        Line::plain("Written again", text).note(Some(note))
    });
    Card {
        title: "Replicas",
        headline: count(status.replicas.len() as u64),
        detail: "share the projects by way of Redis".to_owned(),
        progress: None,
        lines: lines.chain(trouble).chain(refused).chain(again).collect(),
    }
}

/// How many subscriptions stand.
fn subscriptions(subscriptions: &SubscriptionsStatus) -> Line {
    let SubscriptionsStatus {
        standing,
        pending,
        refused,
        why,
    } = subscriptions;
    let counts = [
        (*standing, "standing"),
        (*pending, "pending"),
        (*refused, "refused"),
    ];
    let counts = counts.iter().filter(|(number, _)| *number > 0);
    let words: Vec<String> = counts
        .map(|(number, word)| format!("{} {word}", count(*number as u64)))
        .collect();
    let tone = match (*standing, *refused) {
        (_, refused) if refused > 0 => Tone::Warn,
        (0, _) => Tone::Calm,
        _ => Tone::Good,
    };
    let text = match words.is_empty() {
        true => "none yet".to_owned(),
        false => words.join(", "),
    };
    Line::new("Subscriptions", Badge::new(tone, text)).note(why.as_deref())
}

fn token(status: &Status, now: UnixSeconds) -> Card {
    let token = &status.token;
    let scopes = match token.scopes.as_slice() {
        [] => "not known".to_owned(),
        scopes => clip(&scopes.join(", ")),
    };
    let mut expiry = Line::new("Expiry", token_expiry(token.expiry, now));
    if let TokenExpiry::At(at) = token.expiry {
        expiry.exact = Some(at.to_string());
    }
    let missing = token.missing_grants.iter();
    let missing = missing.map(|grant| {
        let badge = Badge::new(Tone::Warn, clip(grant));
        Line::new("Missing grant", badge)
    });
    Card {
        title: "Token",
        headline: token
            .name
            .as_deref()
            .map_or("unknown name".to_owned(), clip),
        detail: String::new(),
        progress: None,
        lines: [Line::plain("Scopes", scopes), expiry]
            .into_iter()
            .chain(missing)
            .collect(),
    }
}

/// When the token expires, the redder the sooner.
pub(super) fn token_expiry(expiry: TokenExpiry, now: UnixSeconds) -> Badge {
    let at = match expiry {
        TokenExpiry::Unknown => return Badge::new(Tone::Calm, "not known"),
        // Not good: what leaks stays of use.
        TokenExpiry::Never => return Badge::new(Tone::Calm, "never"),
        TokenExpiry::At(at) => at,
    };
    if at <= now {
        return Badge::new(Tone::Bad, "expired");
    }
    let left = at.since(now);
    let tone = match left {
        left if left < EXPIRES_NOW => Tone::Bad,
        left if left < EXPIRES_SOON => Tone::Warn,
        _ => Tone::Good,
    };
    Badge::new(tone, format!("expires in {}", length(left)))
}

fn requests(status: &Status, config: &Config, now: UnixSeconds) -> Card {
    let gitlab = &config.gitlab;
    let (headline, detail) = match status.budget {
        Some(budget) => (count(budget.remaining), "requests left in this window"),
        None => ("no limit".to_owned(), "reported by GitLab"),
    };
    let mut lines = Vec::new();
    if let Some(budget) = status.budget {
        lines.push(Line::moment("Window ends", budget.reset, now));
    }
    let (rate, burst) = (
        gitlab.max_requests_per_second,
        gitlab.burst_requests_per_second,
    );
    let own = format!("{rate} per second, burst of {burst}");
    lines.push(Line::plain("Limit", own));
    if gitlab.max_requests_per_hour > 0 {
        let hourly = count(gitlab.max_requests_per_hour);
        lines.push(Line::plain(
            "Configured budget",
            format!("{hourly} per hour"),
        ));
    }
    lines.extend(load(&status.load));
    Card {
        title: "Requests",
        headline,
        detail: detail.to_owned(),
        progress: None,
        lines,
    }
}

/// What the requests take of GitLab, and how they are paced.
fn load(load: &ServerLoad) -> Vec<Line> {
    let pace = &load.pace;
    let much = match (load.in_words(), load.workers) {
        (Some(words), Some(workers)) if workers >= TOO_MUCH => Badge::new(Tone::Warn, words),
        (Some(words), _) => Badge::new(Tone::Calm, words),
        (None, _) => Badge::new(Tone::Calm, "not known yet"),
    };
    let slowed = pace.slowed.map(|ago| {
        let ago = length(Duration::from_secs(ago.as_secs()));
        format!("GitLab slowed down {ago} ago")
    });
    let backfill = if slowed.is_some() {
        Badge::new(Tone::Warn, "paused, GitLab slowed down")
    } else if let Some(wait) = pace.backfill_waits {
        let wait = length(wait.max(Duration::from_secs(1)));
        Badge::new(Tone::Calm, format!("throttled, next in {wait}"))
    } else {
        Badge::new(Tone::Calm, "not throttled")
    };
    let at_once = format!("{} of {}", pace.concurrency, pace.ceiling);
    let mut lines = vec![
        Line::new("GitLab load", much).note(Some("over the last 5 minutes")),
        Line::plain("Concurrency", at_once).note(slowed.as_deref()),
        Line::new("Backfill", backfill),
    ];
    if load.instance_feed {
        let read = Line::plain("Instance job list", "read".to_owned());
        lines.push(read.note(Some("projects without new jobs are polled less often")));
    }
    lines
}

fn projects(status: &Status, now: UnixSeconds) -> Card {
    let counts = status.projects.counts;
    let sync = counts.first_sync;
    let failing = match counts.failing {
        0 => Badge::new(Tone::Good, "none"),
        failing => Badge::new(Tone::Bad, count(failing as u64)),
    };
    let mut lines = vec![
        Line::plain("Polled", count(counts.polled as u64)),
        Line::new("Failing", failing),
    ];
    if sync.is_under_way() {
        let reads = format!("{} of {} reads", count(sync.done), count(sync.due));
        let elapsed = now.since(status.started_at);
        let mut note = format!(
            "{} of {} complete after {}",
            count(sync.projects),
            plural(counts.tracked, "project"),
            length(elapsed)
        );
        if let Some(left) = sync.time_left(elapsed) {
            note.push_str(&format!(", about {} left", length(left)));
        }
        lines.insert(0, Line::plain("First sync", reads).note(Some(&note)));
    }
    if counts.removals_pending > 0 {
        let pending = Badge::new(Tone::Warn, count(counts.removals_pending as u64));
        lines.push(Line::new("Removal pending", pending));
    }
    Card {
        title: "Projects",
        headline: count(counts.tracked as u64),
        detail: "tracked".to_owned(),
        progress: sync.is_under_way().then_some((sync.done, sync.due)),
        lines,
    }
}

fn series_card(series: &SeriesCounts, config: &Config) -> Card {
    let overflow = match series.overflow.len() {
        0 => Badge::new(Tone::Good, "nothing"),
        metrics => {
            let dropped: u64 = series.overflow.iter().map(|(_, dropped)| dropped).sum();
            let text = format!(
                "{} changes of {}",
                count(dropped),
                plural(metrics, "metric")
            );
            Badge::new(Tone::Bad, text)
        }
    };
    let limit = format!("{} per metric", count(config.telemetry.cardinality_limit));
    Card {
        title: "Series",
        headline: count(series.total() as u64),
        detail: "from GitLab".to_owned(),
        progress: None,
        lines: vec![Line::plain("Limit", limit), Line::new("Dropped", overflow)],
    }
}

fn delivery(status: &Status, now: UnixSeconds) -> Card {
    let store = if status.store.up {
        Badge::new(Tone::Good, status.store.kind)
    } else {
        Badge::new(
            Tone::Bad,
            format!("{}, cannot be written", status.store.kind),
        )
    };
    let mut lines: Vec<Line> = status.push.iter().map(|push| signal(push, now)).collect();
    if lines.is_empty() {
        lines.push(Line::plain("OTLP", "not configured"));
    }
    lines.push(Line::new("State", store));
    lines.extend(configuration(&status.config, now));
    Card {
        title: "Exporter",
        headline: format!("up {}", length(now.since(status.started_at))),
        detail: String::new(),
        progress: None,
        lines,
    }
}

/// How the configuration was loaded; nothing where that was at the start alone.
fn configuration(config: &ConfigStatus, now: UnixSeconds) -> Vec<Line> {
    let mut lines = Vec::new();
    if let Some(error) = &config.error {
        let value = Badge::new(Tone::Bad, "not reloaded, the previous one applies");
        lines.push(Line::new("Configuration", value).note(Some(error)));
    }
    if !config.needs_restart.is_empty() {
        let settings = plural(config.needs_restart.len(), "changed setting");
        let verb = if config.needs_restart.len() == 1 {
            "needs"
        } else {
            "need"
        };
        let value = Badge::new(Tone::Warn, format!("{settings} {verb} a restart"));
        let names = config.needs_restart.join(", ");
        lines.push(Line::new("Configuration", value).note(Some(&names)));
    }
    if lines.is_empty() {
        lines.push(Line::moment("Configuration", config.loaded_at, now));
    }
    lines
}

/// A pushed signal.
fn signal(push: &PushStatus, now: UnixSeconds) -> Line {
    let label = match push.signal {
        "metrics" => "OTLP metrics",
        "traces" => "OTLP traces",
        "logs" => "OTLP logs",
        other => other,
    };
    let (value, at) = match (push.is_failing(), push.succeeded_at, push.failed_at) {
        (true, _, Some(at)) => {
            let text = format!("failed {}", Moment::new(at, now).relative);
            (Badge::new(Tone::Bad, text), Some(at))
        }
        (_, Some(at), _) => {
            let text = format!("succeeded {}", Moment::new(at, now).relative);
            (Badge::new(Tone::Good, text), Some(at))
        }
        _ => (Badge::new(Tone::Calm, "nothing exported yet"), None),
    };
    let mut line = Line::new(label, value).note(Some(&push.target));
    line.exact = at.map(|at| at.to_string());
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_turns_red_as_it_nears_its_end() {
        let now = UnixSeconds(1_800_000_000);
        let after = |days: u64| {
            token_expiry(
                TokenExpiry::At(now.plus(DAY * u32::try_from(days).unwrap())),
                now,
            )
        };
        assert_eq!(after(31), Badge::new(Tone::Good, "expires in 31 d"));
        assert_eq!(after(29), Badge::new(Tone::Warn, "expires in 29 d"));
        assert_eq!(after(3), Badge::new(Tone::Bad, "expires in 3 d"));
        assert_eq!(after(0), Badge::new(Tone::Bad, "expired"));
        assert_eq!(token_expiry(TokenExpiry::Never, now).tone, Tone::Calm);
        assert_eq!(token_expiry(TokenExpiry::Unknown, now).tone, Tone::Calm);
    }
}
