//! The instance, the user and the token.

use serde_json::json;

use super::entities::maybe;
use super::{Answer, Call, USERNAME, ok};
use crate::time;
use crate::world::User;

/// `GET /metadata`
pub async fn metadata(call: Call) -> Answer {
    call.signed_in()?;
    call.granted_of_instance("read_metadata", "Metadata")?;
    let world = call.state.world.read();
    ok(&json!({
        "version": world.version,
        "revision": &*world.revision,
        "kas": {"enabled": false, "externalUrl": null, "externalK8sProxyUrl": null, "version": null},
        "enterprise": world.enterprise,
    }))
}

/// `GET /version`
pub async fn version(call: Call) -> Answer {
    metadata(call).await
}

/// `GET /user`
pub async fn user(call: Call) -> Answer {
    let token = call.signed_in()?;
    call.granted_of_user("read_user", "User")?;
    let world = call.state.world.read();
    let known = world.account_by_id(token.user_id).cloned();
    let account = known.unwrap_or_else(|| User {
        name: token.name.as_str().into(),
        bot: false,
        ..User::named(token.user_id, USERNAME)
    });
    let mut user = call.view(&world).account(&account);
    user["bot"] = account.bot.into();
    user["created_at"] = maybe(account.created_at);
    user["email"] = format!("{}@example.com", account.username).into();
    if token.admin {
        user["is_admin"] = true.into();
    }
    ok(&user)
}

/// `GET /personal_access_tokens/self`
pub async fn token(call: Call) -> Answer {
    let token = call.signed_in()?;
    call.granted_of_user("read_personal_access_token", "Personal Access Token")?;
    let world = call.state.world.read();
    ok(&json!({
        "id": token.id,
        "name": token.name,
        "revoked": token.revoked,
        "created_at": time::milliseconds(token.created_at.unwrap_or(world.config().start)),
        "description": null,
        "scopes": token.scopes,
        "user_id": token.user_id,
        "last_used_at": time::milliseconds(world.now()),
        "active": true,
        "expires_at": token.expires_at.map(time::date),
        "granular": token.grants.is_some(),
    }))
}
