//! Users and the tokens of those who ask.

use std::collections::BTreeMap;

use super::rows::{IdentityRow, Rows};
use crate::auth::{AccessLevel, Grants, Token};
use crate::time;
use crate::world::{User, World};

/// The secret of the token of an identity.
#[must_use]
pub fn token_of(identity: &str) -> String {
    format!("glpat-{identity}")
}

impl World {
    pub(super) fn read_people(&mut self, rows: &Rows) {
        for row in &rows.users {
            let user = User {
                id: row.id,
                username: row.username.clone(),
                name: row.name.clone(),
                bot: row.bot,
                blocked: row.state == "blocked",
                created_at: Some(row.created_at.millis()),
            };
            self.users.insert(row.id, user);
        }
        for (row, id) in rows.identities.iter().zip(1..) {
            if let Some(user_id) = row.user_id {
                self.tokens.push(token(rows, row, id, user_id));
            }
        }
    }
}

fn token(rows: &Rows, row: &IdentityRow, id: u64, user_id: u64) -> Token {
    let user = rows.users.iter().find(|user| user.id == user_id);
    let roles = |source: &str| -> BTreeMap<u64, AccessLevel> {
        let members = rows.members.iter();
        members
            .filter(|member| member.user_id == user_id && member.source_type == source)
            .map(|member| {
                let level = AccessLevel::from_value(member.access_level);
                (member.source_id, level)
            })
            .collect()
    };
    Token {
        value: token_of(&row.name),
        id,
        name: format!("rec-{}", row.name),
        user_id,
        scopes: row.scopes.clone().unwrap_or_default(),
        expires_at: row.expires_at.as_deref().and_then(time::parse),
        revoked: row.revoked,
        admin: user.is_some_and(|user| user.admin),
        default_role: AccessLevel::None,
        roles: roles("Project"),
        group_roles: roles("Group"),
        external: user.is_some_and(|user| user.external),
        blocked: user.is_some_and(|user| user.state == "blocked"),
        grants: (!row.grants.is_empty()).then(|| grants(row)),
        created_at: None,
    }
}

fn grants(row: &IdentityRow) -> Grants {
    let mut grants = Grants::default();
    for grant in &row.grants {
        let permissions = grant.permissions.clone();
        match (grant.access.as_str(), grant.group_id) {
            (_, Some(group)) => {
                grants.groups.insert(group, permissions);
            }
            ("user", _) => grants.user = permissions,
            _ => grants.instance = permissions,
        }
    }
    grants
}
