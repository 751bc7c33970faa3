//! What was said and done about merge requests.

use serde::{Deserialize, Serialize};

use crate::clock::UnixSeconds;
use crate::types::Text;

/// A user, as far as labels need it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Id of the account, which stays when it is renamed; none where GitLab does not give it.
    pub id: Option<u64>,
    /// Name to log in with, without `@`.
    pub username: Text,
    /// Name to be called by.
    pub name: Text,
    /// Whether it is a program: a project's or group's access token, or one of GitLab's own.
    pub bot: bool,
}

impl User {
    /// A user, who is a bot where GitLab says so or gives such names to bots. Lists of REST do not say it,
    /// so the names count however a user was read: both ways of reading see the same bots, but for
    /// service accounts with names of their own.
    #[must_use]
    pub fn new(username: &str, name: &str, bot: bool) -> Self {
        Self {
            id: None,
            bot: bot || is_bot(username),
            username: username.into(),
            name: name.into(),
        }
    }

    /// The same, with the id of the account.
    #[must_use]
    pub fn with_id(self, id: Option<u64>) -> Self {
        Self { id, ..self }
    }

    /// Whether it is the same account, as far as ids or names tell.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        match (self.id, other.id) {
            (Some(own), Some(other)) => own == other,
            _ => self.username == other.username,
        }
    }
}

/// Whether GitLab gives such names to programs: `project_7_bot_4f1c`, `group_7_bot_4f1c`,
/// `service_account_4f1c`, `alert-bot`, `GitLabDuo`.
fn is_bot(username: &str) -> bool {
    let name = username.to_lowercase();
    let token = ["project_", "group_"].iter().any(|kind| {
        let rest = name.strip_prefix(kind).unwrap_or_default();
        let number = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        number.len() < rest.len() && (number == "_bot" || number.starts_with("_bot_"))
    });
    let own = ["alert-bot", "support-bot", "gitlabduo", "ghost"].contains(&name.as_str());
    let named = name.ends_with("-bot") || name.starts_with("service_account_");
    token || own || named
}

/// What a note says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoteKind {
    /// A comment.
    Comment,
    /// The merge request was approved.
    Approved,
    /// Its review was handed in without a verdict.
    Reviewed,
    /// Changes were asked for.
    RequestedChanges,
    /// Reviews were asked for or taken back.
    Reviewers {
        /// Usernames of those who are asked.
        asked: Vec<Text>,
        /// Usernames of those who need not answer any more.
        released: Vec<Text>,
    },
    /// Commits were pushed.
    Pushed,
    /// Anything else that GitLab notes by itself.
    Other,
}

impl NoteKind {
    /// Derives what a note says from the action that GitLab stores with notes of its own, or, where
    /// that is not given, from their wording (`app/services/system_notes`).
    #[must_use]
    pub fn of(system: bool, action: Option<&str>, body: &str) -> Self {
        if !system {
            return Self::Comment;
        }
        match action.unwrap_or_else(|| action_of(body)) {
            "approved" => Self::Approved,
            "reviewed" => Self::Reviewed,
            "requested_changes" => Self::RequestedChanges,
            "reviewer" => {
                let (asked, released) = match body.split_once("removed review request for") {
                    Some((asked, released)) => (usernames(asked), usernames(released)),
                    None => (usernames(body), Vec::new()),
                };
                Self::Reviewers { asked, released }
            }
            "commit" => Self::Pushed,
            _ => Self::Other,
        }
    }
}

fn action_of(body: &str) -> &'static str {
    let starts = |text: &str| body.starts_with(text);
    if starts("approved this merge request") {
        "approved"
    } else if starts("left review comments") {
        "reviewed"
    } else if starts("requested changes") {
        "requested_changes"
    } else if starts("requested review from") || starts("removed review request for") {
        "reviewer"
    } else if starts("added ") && body.split_whitespace().nth(2).is_some_and(is_commits) {
        "commit"
    } else {
        ""
    }
}

fn is_commits(word: &str) -> bool {
    word == "commit" || word == "commits"
}

/// The users that a sentence refers to by `@name`.
fn usernames(text: &str) -> Vec<Text> {
    text.split_whitespace()
        .filter_map(|word| word.strip_prefix('@'))
        .map(|name| name.trim_end_matches([',', '.', ';']).into())
        .filter(|name: &Text| !name.is_empty())
        .collect()
}

/// A note of a merge request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Its id: later notes have higher ones.
    pub id: u64,
    /// When it was made.
    pub created_at: UnixSeconds,
    /// Who made it; none when the account was deleted.
    pub author: Option<User>,
    /// What it says.
    pub kind: NoteKind,
}

/// A person whose review is requested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reviewer {
    /// Who.
    pub user: User,
    /// Whether the reviewer has still to answer; none when GitLab does not say.
    pub waits: Option<bool>,
}

impl Reviewer {
    /// Whether a reviewer whose review is in this state has still to answer.
    #[must_use]
    pub fn is_waited_for(state: &str) -> bool {
        let state = state.to_lowercase();
        matches!(&*state, "unreviewed" | "review_started")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<Text> {
        names.iter().map(|&name| name.into()).collect()
    }

    #[test]
    fn requests_for_review_name_users() {
        let several = "requested review from @ada, @ben.o, and @chi-ara and removed review request \
                       for @dan and @eve";
        for action in [Some("reviewer"), None] {
            let kind = NoteKind::of(true, action, several);
            let (asked, released) = (names(&["ada", "ben.o", "chi-ara"]), names(&["dan", "eve"]));
            assert_eq!(kind, NoteKind::Reviewers { asked, released });
        }
        let again = "requested review from @ada and removed approval";
        let (asked, released) = (names(&["ada"]), vec![]);
        let kind = NoteKind::of(true, None, again);
        assert_eq!(kind, NoteKind::Reviewers { asked, released });
    }

    #[test]
    fn what_a_user_says_is_a_comment_whatever_it_says() {
        let kind = NoteKind::of(false, None, "approved this merge request");
        assert_eq!(kind, NoteKind::Comment);
    }

    #[test]
    fn the_wording_shows_what_the_action_would() {
        for (body, want) in [
            ("approved this merge request", NoteKind::Approved),
            ("left review comments without approving", NoteKind::Reviewed),
            ("requested changes", NoteKind::RequestedChanges),
            (
                "added 1 commit\n\n<ul><li>1f - x</li></ul>",
                NoteKind::Pushed,
            ),
            ("added 12 commits\n\n<ul></ul>", NoteKind::Pushed),
            ("added ~bug label", NoteKind::Other),
            ("unapproved this merge request", NoteKind::Other),
        ] {
            assert_eq!(NoteKind::of(true, None, body), want, "{body}");
        }
    }

    #[test]
    fn programs_are_known_by_their_names() {
        for bot in [
            "project_12_bot_4f1c",
            "group_3_bot",
            "alert-bot",
            "GitLabDuo",
            "renovate-bot",
        ] {
            assert!(User::new(bot, "", false).bot, "{bot}");
        }
        for human in ["ada", "project_manager", "abbot", "group_bot"] {
            assert!(!User::new(human, "", false).bot, "{human}");
        }
    }
}
