//! What was found, as text.

use std::collections::BTreeMap;
use std::fmt;

use super::{Access, Column, Report};
use crate::gitlab::capability::{Edition, TokenState};
use crate::gitlab::model::{Known, Role};
use crate::types::Tier;

/// Projects named where something is wrong with more.
const NAMED: usize = 5;
/// Projects in the table at most.
const ROWS: usize = 50;
/// What is said of a collector that is switched off, everywhere or for a project.
const OFF: &str = "off in the settings";

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GitLab      {}", self.url.trim_end_matches('/'))?;
        match &self.instance {
            Ok(instance) => {
                let edition = match instance.edition {
                    Edition::Community => "Community Edition",
                    Edition::Enterprise => "Enterprise Edition",
                };
                writeln!(f, ", version {}, {edition}", instance.version)?;
            }
            Err(_) if self.answers() => writeln!(f, ", version unknown")?,
            Err(_) => writeln!(f, ", no usable response")?,
        }
        if self.answers() {
            self.write_token(f)?;
            self.write_projects(f)?;
            writeln!(f, "Collectors")?;
            for (number, (collector, column)) in self.collectors.iter().enumerate() {
                let summary = self.summary(column);
                writeln!(f, "  {:2} {:16} {summary}", number + 1, collector.as_str())?;
            }
            self.write_table(f)?;
        }
        if let Some(redis) = &self.redis {
            let state = match &redis.result {
                Ok(()) => "connected",
                Err(_) => "failed",
            };
            writeln!(f, "Redis       {}: {state}", redis.server)?;
        }
        for (number, receiver) in self.receivers.iter().enumerate() {
            let title = if number == 0 { "OTLP" } else { "" };
            let state = match &receiver.result {
                Ok(()) => "accepted",
                Err(_) => "failed",
            };
            writeln!(
                f,
                "{title:11} {} to {}: {state}",
                receiver.signal, receiver.target
            )?;
        }
        for problem in &self.problems {
            writeln!(f, "{:11} {}", problem.level.as_str(), problem.text)?;
        }
        let would = match (self.is_good(), self.has_warnings()) {
            (false, _) => "would not work",
            (true, true) => "would work, with the warnings above",
            (true, false) => "would work",
        };
        writeln!(f, "Result      run {would}")
    }
}

impl Report {
    fn write_token(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ok(TokenState { token, user }) = &self.token else {
            return Ok(());
        };
        write!(f, "Token       ")?;
        match token {
            Known::Value(token) => {
                write!(
                    f,
                    "{:?} with the scopes {}",
                    token.name,
                    token.scopes.join(", ")
                )?;
                match token.expires_at {
                    Some(at) => {
                        let days = at.since(self.now).as_secs() / 86_400;
                        write!(f, ", expires {at} (in {days} days)")?;
                    }
                    None => write!(f, ", expires never")?,
                }
            }
            _ => write!(f, "GitLab does not say what it may do")?,
        }
        match user {
            Known::Value(user) => writeln!(f, ", of user {}", user.username),
            _ => writeln!(f),
        }
    }

    fn summary(&self, column: &Column) -> String {
        let Column::On(all) = column else {
            return OFF.to_owned();
        };
        let mut seen = 0;
        let mut others: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for ((project, _), access) in self.projects.iter().zip(all) {
            let why = match access {
                Access::Reads | Access::Unknown => {
                    seen += 1;
                    continue;
                }
                Access::Off => OFF.to_owned(),
                Access::Nothing(why) => why.to_string(),
            };
            others.entry(why).or_default().push(&project.full_path);
        }
        let mut summary = format!("sees {seen} of {} projects", all.len());
        for (why, projects) in others {
            summary.push_str(&format!("; {why} in {}", named(&projects)));
        }
        summary
    }

    /// What each collector reads of each project; those first of which something is not read.
    fn write_table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns: Vec<&Column> = self.collectors.iter().map(|(_, column)| column).collect();
        let mut rows: Vec<(String, &str)> = Vec::new();
        for (place, (project, _)) in self.projects.iter().enumerate() {
            let cells = columns.iter().map(|column| mark(column, place));
            let cells: Vec<String> = cells.map(|mark| format!(" {mark:>2}")).collect();
            rows.push((cells.concat(), &project.full_path));
        }
        if rows.is_empty() {
            return Ok(());
        }
        let is_whole = |row: &(String, &str)| !row.0.contains(['p', 't', 's', 'v', 'c', '?']);
        rows.sort_by_key(|row| (is_whole(row), row.1));
        writeln!(f, "Table       {LEGEND}")?;
        let numbers: Vec<String> = (1..=columns.len()).map(|n| format!(" {n:>2}")).collect();
        writeln!(f, "  {}  project", numbers.concat())?;
        for (cells, path) in rows.iter().take(ROWS) {
            writeln!(f, "  {cells}  {path}")?;
        }
        match rows.len().saturating_sub(ROWS) {
            0 => Ok(()),
            more => writeln!(f, "  and {more} more: check --format json shows all"),
        }
    }

    fn write_projects(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Projects    {} found", self.projects.len())?;
        let mut roles: BTreeMap<&str, usize> = BTreeMap::new();
        for (project, _) in &self.projects {
            let name = project.role.value().map_or("not known", Role::name);
            *roles.entry(name).or_default() += 1;
        }
        if !roles.is_empty() {
            writeln!(
                f,
                "Roles       {}",
                counted(roles.iter().map(|(name, n)| (*name, *n)))
            )?;
        }
        let mut tiers: BTreeMap<Tier, usize> = BTreeMap::new();
        for tier in self.tiers.values().filter_map(|tier| tier.value()) {
            *tiers.entry(tier).or_default() += 1;
        }
        if !tiers.is_empty() {
            let tiers = tiers.iter().map(|(tier, n)| (tier.as_str(), *n));
            writeln!(f, "Tiers       {}", counted(tiers))?;
        }
        if let Err(why) = &self.graphql {
            writeln!(f, "GraphQL     cannot be used, falling back to REST: {why}")?;
        }
        for (number, sentence) in self.lost.iter().enumerate() {
            let title = if number == 0 { "Missing" } else { "" };
            writeln!(f, "{title:11} {sentence}")?;
        }
        Ok(())
    }
}

fn counted<'a>(counts: impl Iterator<Item = (&'a str, usize)>) -> String {
    counts
        .map(|(name, count)| format!("{name} in {count}"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// The first of some projects, and how many more there are.
fn named(projects: &[&str]) -> String {
    let first: Vec<&str> = projects.iter().take(NAMED).copied().collect();
    match projects.len().saturating_sub(NAMED) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

const LEGEND: &str = "+ is read, ? is seen when it is read, p the token may not read it, t tier, s switched \
                      off in GitLab, v GitLab is too old, c other settings, - off in the settings";

/// The mark in the table for a project, by its place.
fn mark(column: &Column, place: usize) -> char {
    let access = match column {
        Column::Off => None,
        Column::On(all) => all.get(place),
    };
    match access {
        None | Some(Access::Off) => '-',
        Some(Access::Reads) => '+',
        Some(Access::Unknown) => '?',
        Some(Access::Nothing(why)) => match why.kind() {
            "permission" => 'p',
            "tier" => 't',
            "switched_off" => 's',
            "release" => 'v',
            _ => 'c',
        },
    }
}
