//! How people are called in labels: `labels.people` decides, here and nowhere else.
//!
//! What is personal about it, and what becomes of series after a change: `docs/people.md`.

use std::sync::Arc;

use ring::hmac;

use crate::config::{Labels, PeopleNames};
use crate::types::Text;

/// The name of all people where they are not distinguished: one series for all, so that its counter
/// is the sum.
pub const ALL_PEOPLE: &str = "all";
/// The name of a person without a name.
const NAMELESS: &str = "unknown";
/// How a mark begins, and no user name.
const MARK: char = '#';
/// Bytes of a hash that are shown, two hexadecimal characters each.
const HASH_BYTES: usize = 8;

/// A user with an account in GitLab.
#[derive(Clone, Copy, Debug)]
pub struct Person<'a> {
    /// User name.
    pub username: &'a str,
    /// Full name; empty where it was not read.
    pub name: &'a str,
}

/// The author of a commit, who may have no account: a commit has no user name.
#[derive(Clone, Copy, Debug)]
pub struct Author<'a> {
    /// Name in the commit.
    pub name: &'a str,
    /// E-mail address in the commit; it is hashed at most, never shown.
    pub email: &'a str,
}

/// Calls people what the settings say.
#[derive(Clone, Debug)]
pub struct People(Naming);

#[derive(Clone, Debug)]
enum Naming {
    Username,
    Name,
    Hash(hmac::Key),
    Hidden,
}

impl People {
    /// By `labels.people`. Validation ensures that there is a key for `hash`; without one no name is
    /// shown.
    #[must_use]
    pub fn new(settings: &Labels) -> Self {
        Self(match (settings.people, &settings.people_hash_key) {
            (PeopleNames::Username, _) => Naming::Username,
            (PeopleNames::Name, _) => Naming::Name,
            (PeopleNames::Hash, Some(key)) => {
                Naming::Hash(hmac::Key::new(hmac::HMAC_SHA256, key.expose().as_bytes()))
            }
            (PeopleNames::Hash, None) | (PeopleNames::None, _) => Naming::Hidden,
        })
    }

    /// The label value for a user.
    #[must_use]
    pub fn label(&self, person: &Person<'_>) -> Text {
        match &self.0 {
            Naming::Username => shown(person.username),
            Naming::Name if person.name.trim().is_empty() => shown(person.username),
            Naming::Name => shown(person.name),
            Naming::Hash(key) => hash(key, person.username),
            Naming::Hidden => ALL_PEOPLE.into(),
        }
    }

    /// The label value for the author of a commit. One that has no e-mail address is hashed by name.
    #[must_use]
    pub fn author_label(&self, author: &Author<'_>) -> Text {
        match &self.0 {
            Naming::Username | Naming::Name => shown(author.name),
            Naming::Hash(key) => match author.email.trim() {
                "" => hash(key, author.name),
                email => hash(key, &email.to_lowercase()),
            },
            Naming::Hidden => ALL_PEOPLE.into(),
        }
    }

    /// What the label values of users depend on: when it changes, series carry labels that are no
    /// longer in use. It does not reveal the key.
    #[must_use]
    pub fn naming(&self) -> Text {
        match &self.0 {
            Naming::Username => "username".into(),
            Naming::Name => "name".into(),
            // No user name and no e-mail address is empty.
            Naming::Hash(key) => format!("hash {}", hash(key, "")).into(),
            Naming::Hidden => "none".into(),
        }
    }

    /// The same for authors of commits, who are called by name when users are called by user name.
    #[must_use]
    pub fn author_naming(&self) -> Text {
        match &self.0 {
            Naming::Username => Self(Naming::Name).naming(),
            _ => self.naming(),
        }
    }
}

/// What identifies a user in remembered state, where a name would be more than is needed. It is the
/// same under every setting, so that a change of `labels.people` confuses no users, and different for
/// every `salt`. It is no secret: a list of user names is enough to try them.
#[must_use]
pub fn mark(salt: &str, username: &str) -> Text {
    let key = hmac::Key::new(hmac::HMAC_SHA256, salt.as_bytes());
    format!("{MARK}{}", hash(&key, username)).into()
}

/// Whether a text is a [`mark`] and no user name.
#[must_use]
pub fn is_mark(text: &str) -> bool {
    text.starts_with(MARK)
}

/// A keyed hash, for which there is no way back without the key.
fn hash(key: &hmac::Key, text: &str) -> Text {
    let tag = hmac::sign(key, text.as_bytes());
    let bytes = tag.as_ref().iter().take(HASH_BYTES);
    let hex: String = bytes.map(|byte| format!("{byte:02x}")).collect();
    hex.into()
}

/// A name as it is shown: of e-mail addresses in it, which git's defaults put there, only what
/// stands before the `@`.
fn shown(name: &str) -> Text {
    let words = name.split_whitespace().map(|word| {
        let bare = word.trim_start_matches(['<', '(', '[', '"', '\'']);
        match bare.split_once(['@', '＠']) {
            Some((user, host)) if !user.is_empty() && !host.is_empty() => user,
            _ => word,
        }
    });
    let words: Vec<&str> = words.collect();
    if words.is_empty() {
        return NAMELESS.into();
    }
    Arc::from(words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "a long random text";
    const ADA: Person<'_> = Person {
        username: "ada",
        name: "Ada Fields",
    };
    const AUTHOR: Author<'_> = Author {
        name: "Ada Fields",
        email: "Ada@Example.com",
    };

    fn people(people: PeopleNames, key: Option<&str>) -> People {
        People::new(&Labels {
            people,
            people_hash_key: key.map(Into::into),
            ..Labels::default()
        })
    }

    #[test]
    fn people_are_called_what_the_settings_say() {
        // The hashes: printf %s ada | openssl dgst -sha256 -hmac "$key" | cut -c1-16
        let cases = [
            (PeopleNames::Username, "ada", "Ada Fields"),
            (PeopleNames::Name, "Ada Fields", "Ada Fields"),
            (PeopleNames::Hash, "99f80622be91631d", "a7090f9b3488d3c5"),
            (PeopleNames::None, "all", "all"),
        ];
        for (names, user, author) in cases {
            let people = people(names, Some(KEY));
            assert_eq!(&*people.label(&ADA), user, "{names:?}");
            assert_eq!(&*people.author_label(&AUTHOR), author, "{names:?}");
        }
        assert_eq!(Labels::default().people, PeopleNames::Username);
    }

    #[test]
    fn a_hash_is_stable_and_depends_on_the_key() {
        let of = |key: &str, email: &str| {
            let author = Author {
                name: "somebody",
                email,
            };
            people(PeopleNames::Hash, Some(key)).author_label(&author)
        };
        assert_eq!(of(KEY, " ada@EXAMPLE.com"), of(KEY, "ada@example.com"));
        assert_ne!(of(KEY, "ada@example.com"), of(KEY, "ben@example.com"));
        assert_ne!(of(KEY, "ada@example.com"), of("x", "ada@example.com"));
        assert_ne!(
            of(KEY, ""),
            people(PeopleNames::Hash, Some(KEY)).label(&ADA)
        );
    }

    #[test]
    fn a_mark_tells_users_apart_and_names_none() {
        let ada = mark("1 1800000000", "ada");
        assert_eq!(ada, mark("1 1800000000", "ada"));
        assert_ne!(ada, mark("1 1800000000", "ben"));
        assert_ne!(ada, mark("2 1800000000", "ada"));
        assert!(is_mark(&ada) && !is_mark("ada"));
        assert!(!ada.contains("ada"), "{ada}");
    }

    #[test]
    fn without_a_key_no_name_is_shown() {
        let people = people(PeopleNames::Hash, None);
        assert_eq!(&*people.label(&ADA), ALL_PEOPLE);
        assert_eq!(&*people.author_label(&AUTHOR), ALL_PEOPLE);
    }

    #[test]
    fn an_e_mail_address_is_never_shown() {
        for (name, label) in [
            ("ada@example.com", "ada"),
            ("Ada Fields <ada@example.com>", "Ada Fields ada"),
            ("  Ada\t Fields ", "Ada Fields"),
            ("ada＠example.com", "ada"),
            ("@ada", "@ada"),
            ("Ada @ Home", "Ada @ Home"),
            ("", "unknown"),
            (" \n", "unknown"),
        ] {
            let author = Author {
                name,
                email: "ada@example.com",
            };
            for names in [PeopleNames::Username, PeopleNames::Name] {
                let people = people(names, None);
                assert_eq!(&*people.author_label(&author), label, "{name}");
                let person = Person {
                    username: name,
                    name,
                };
                assert_eq!(&*people.label(&person), label, "{name}");
            }
        }
    }

    #[test]
    fn a_user_without_a_name_is_called_by_user_name() {
        let person = Person { name: " ", ..ADA };
        assert_eq!(&*people(PeopleNames::Name, None).label(&person), "ada");
    }

    #[test]
    fn another_naming_is_detected_where_labels_differ() {
        let all = [
            people(PeopleNames::Username, None),
            people(PeopleNames::Name, None),
            people(PeopleNames::Hash, Some(KEY)),
            people(PeopleNames::Hash, Some("another")),
            people(PeopleNames::None, None),
        ];
        for (index, one) in all.iter().enumerate() {
            for (other_index, other) in all.iter().enumerate() {
                let same = index == other_index;
                assert_eq!(one.naming() == other.naming(), same);
                let same = same || index.max(other_index) == 1;
                assert_eq!(one.author_naming() == other.author_naming(), same);
            }
            assert!(!one.naming().contains(KEY));
        }
        assert!(!format!("{:?}", all[2]).contains(KEY));
    }
}
