//! The instance, the user and the token.

use serde_json::json;

use super::{Answer, Call, REVISION, entities, ok};
use crate::time;

/// `GET /metadata`
pub async fn metadata(call: Call) -> Answer {
    call.signed_in()?;
    let world = call.state.world.read();
    ok(&json!({
        "version": world.version,
        "revision": REVISION,
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
    let mut user = entities::user(call.base_url());
    user["id"] = token.user_id.into();
    user["name"] = token.name.as_str().into();
    user["bot"] = false.into();
    if token.admin {
        user["is_admin"] = true.into();
    }
    ok(&user)
}

/// `GET /personal_access_tokens/self`
pub async fn token(call: Call) -> Answer {
    let token = call.signed_in()?;
    let now = call.state.world.read().now();
    ok(&json!({
        "id": token.id,
        "name": token.name,
        "revoked": token.revoked,
        "created_at": time::milliseconds(call.state.world.read().config().start),
        "description": "",
        "scopes": token.scopes,
        "user_id": token.user_id,
        "last_used_at": time::milliseconds(now),
        "active": true,
        "expires_at": token.expires_at.map(time::date),
        "granular": false,
    }))
}
