//! User identities, and users of access systems.

use super::{Endpoint, Stock};
use crate::support::World;
use serde_json::json;

pub async fn rows(world: &World, stock: &Stock) -> Vec<Endpoint> {
    let Stock { system, user, identity, .. } = stock;
    let keyed = json!({ "full_name": "Keyed", "user_identity_key": "guest/1" });
    world.made("/user_identities/create", keyed, "user_identity").await;
    vec![
        Endpoint::create("/user_identities/create", "user_identity", json!({ "full_name": "C D" }))
            .also(json!({ "acs_system_ids": [system] }))
            .wrong("email_address", json!("nobody"))
            .wrong("full_name", json!(""))
            .finds("acs_system_ids", "acs_system_not_found"),
        Endpoint::read("/user_identities/get", "user_identity", json!({ "user_identity_id": identity }))
            .also(json!({ "user_identity_key": "guest/1" }))
            .needs("user_identity_id")
            .finds("user_identity_id", "user_identity_not_found"),
        Endpoint::read("/user_identities/list", "user_identities", json!({}))
            .also(json!({ "user_identity_ids": [identity] }))
            .wrong("limit", json!("many"))
            .wrong("created_before", json!("tea time"))
            .filters("user_identity_ids"),
        Endpoint::create("/acs/users/create", "acs_user", json!({ "acs_system_id": system, "full_name": "A B" }))
            .needs("acs_system_id")
            .needs("full_name")
            .wrong("full_name", json!(5))
            .finds("acs_system_id", "acs_system_not_found")
            .finds("user_identity_id", "user_identity_not_found"),
        Endpoint::read("/acs/users/get", "acs_user", json!({ "acs_user_id": user }))
            .also(json!({ "acs_system_id": system, "user_identity_id": identity }))
            .needs("acs_user_id")
            .finds("acs_user_id", "acs_user_not_found"),
        Endpoint::read("/acs/users/list", "acs_users", json!({}))
            .also(json!({ "acs_system_id": system }))
            .wrong("limit", json!("many"))
            .filters("acs_system_id")
            .filters("user_identity_id"),
    ]
}
