//! Users.

use serde_json::{Value, json};

use super::{View, maybe};
use crate::rest::USERNAME;
use crate::world::User;

impl View<'_> {
    /// A user by name; the exporter's bot where there is none.
    pub fn user(&self, username: Option<&str>) -> Value {
        self.account(&self.world.account(username.unwrap_or(USERNAME)))
    }

    /// A user by name, or null.
    pub fn user_or_null(&self, username: Option<&str>) -> Value {
        username.map_or(Value::Null, |username| self.user(Some(username)))
    }

    /// A user as most entities show one.
    pub fn account(&self, user: &User) -> Value {
        json!({
            "id": user.id,
            "username": &*user.username,
            "public_email": null,
            "name": &*user.name,
            "state": if user.blocked { "blocked" } else { "active" },
            "locked": false,
            "avatar_url": null,
            "web_url": format!("{}/{}", self.base_url, user.username),
        })
    }

    /// A user as jobs show one.
    pub fn public_user(&self, username: Option<&str>) -> Value {
        let user = self.world.account(username.unwrap_or(USERNAME));
        let mut value = self.account(&user);
        value["created_at"] = maybe(user.created_at);
        value["bot"] = user.bot.into();
        value
    }
}
