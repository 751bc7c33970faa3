//! What became of the webhooks, as lines for a terminal.

use std::fmt;

use super::{Action, Outcome, Task};
use crate::gitlab::rest::hooks::HookOwner;

/// What became of all webhooks.
#[derive(Debug)]
pub struct Report {
    task: Task,
    url: String,
    outcomes: Vec<Outcome>,
    /// Entries of the configuration that could not be read.
    errors: Vec<String>,
    /// What else is to be said.
    notices: Vec<String>,
}

impl Report {
    pub(super) fn new(
        task: Task,
        url: String,
        mut outcomes: Vec<Outcome>,
        errors: Vec<String>,
        notices: Vec<String>,
    ) -> Self {
        outcomes.sort_by_cached_key(|outcome| outcome.place.to_string());
        Self {
            task,
            url,
            outcomes,
            errors,
            notices,
        }
    }

    /// Whether nothing failed. A test whose delivery GitLab did not see answered with success has.
    #[must_use]
    pub fn is_good(&self) -> bool {
        let failed = |outcome: &Outcome| match &outcome.result {
            Err(_) => true,
            Ok(Action::Tested(status)) => !status.starts_with('2'),
            Ok(_) => false,
        };
        self.errors.is_empty() && !self.outcomes.iter().any(failed)
    }

    /// What became of each place.
    #[must_use]
    pub fn outcomes(&self) -> &[Outcome] {
        &self.outcomes
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Webhooks to {}", self.url)?;
        let places: Vec<String> = self
            .outcomes
            .iter()
            .map(|outcome| outcome.place.to_string())
            .collect();
        let width = places.iter().map(String::len).max();
        let width = width.unwrap_or(0).min(60);
        for (place, outcome) in places.iter().zip(&self.outcomes) {
            let text = match &outcome.result {
                Ok(action) => words(action, self.task),
                Err(why) => format!("failed: {why}"),
            };
            write!(f, "  {place:width$}  {text}")?;
            if outcome.duplicates > 0 {
                write!(f, " ({} more with this URL)", outcome.duplicates)?;
            }
            writeln!(f)?;
        }
        for error in &self.errors {
            writeln!(f, "warning: {error}")?;
        }
        for notice in &self.notices {
            writeln!(f, "note: {notice}")?;
        }
        let failed = self
            .outcomes
            .iter()
            .filter(|outcome| outcome.result.is_err());
        writeln!(f, "{}, {} failed", self.places(), failed.count())
    }
}

impl Report {
    /// How many there are of each kind.
    fn places(&self) -> String {
        let count = |is: fn(&HookOwner) -> bool| {
            let owners = self.outcomes.iter().map(|outcome| &outcome.place.owner);
            owners.filter(|owner| is(owner)).count()
        };
        let groups = count(|owner| matches!(owner, HookOwner::Group(_)));
        let projects = count(|owner| matches!(owner, HookOwner::Project(_)));
        match (groups, projects) {
            (0, 0) => "1 instance".to_owned(),
            (0, projects) => format!("{projects} projects"),
            (groups, projects) => format!("{groups} groups, {projects} projects"),
        }
    }
}

fn words(action: &Action, task: Task) -> String {
    let is_plan = task == Task::Plan;
    match action {
        Action::Unchanged if is_plan => "exists".to_owned(),
        Action::Unchanged => "exists, secret token set".to_owned(),
        Action::Create if is_plan => "would be created".to_owned(),
        Action::Create => "created".to_owned(),
        Action::Update(differs) if is_plan => format!("would be updated: {}", differs.join(", ")),
        Action::Update(differs) => format!("updated: {}", differs.join(", ")),
        Action::Remove(1) => "removed".to_owned(),
        Action::Remove(count) => format!("{count} removed"),
        Action::Missing => "has none".to_owned(),
        Action::Tested(status) => format!("delivered, response {status}"),
        Action::Sent => "sent; GitLab shows the response under Admin, System hooks".to_owned(),
        Action::NothingToTest => "has no pipeline to test with".to_owned(),
    }
}
