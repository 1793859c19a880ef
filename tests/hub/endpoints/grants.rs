//! Access grants and access methods.

use super::{Endpoint, Stock};
use crate::support::World;
use serde_json::json;

pub async fn rows(world: &World, stock: &Stock) -> Vec<Endpoint> {
    let Stock { identity, grant, method, encoder, entrances, .. } = stock;
    let card = json!({ "user_identity_id": identity, "requested_access_methods": [{ "mode": "card" }], "acs_entrance_ids": [entrances[0]], "ends_at": null });
    let keyed = json!({ "user_identity_id": identity, "requested_access_methods": [{ "mode": "card" }], "access_grant_key": "stay/1" });
    world.made("/access_grants/create", keyed, "access_grant").await;
    vec![
        Endpoint::create("/access_grants/create", "access_grant", card)
            .also(json!({ "user_identity": { "full_name": "E F" }, "requested_access_methods": [{ "mode": "card" }] }))
            .needs("user_identity_id")
            .needs("requested_access_methods")
            .wrong("requested_access_methods", json!("card"))
            .wrong("ends_at", json!("later"))
            .finds("user_identity_id", "user_identity_not_found")
            .finds("acs_entrance_ids", "acs_entrance_not_found"),
        Endpoint::read("/access_grants/get", "access_grant", json!({ "access_grant_id": grant }))
            .also(json!({ "access_grant_key": "stay/1" }))
            .needs("access_grant_id")
            .finds("access_grant_id", "access_grant_not_found"),
        Endpoint::read("/access_grants/list", "access_grants", json!({}))
            .also(json!({ "user_identity_id": identity }))
            .wrong("limit", json!("many"))
            .filters("access_grant_ids")
            .filters("acs_entrance_id")
            .filters("acs_system_id")
            .filters("user_identity_id"),
        Endpoint::change("/access_grants/update", "ok", json!({ "access_grant_id": grant, "name": "Stay" }))
            .also(json!({ "access_grant_key": "stay/1", "ends_at": "2090-01-01T00:00:00Z" }))
            .needs("access_grant_id")
            .wrong("ends_at", json!("later"))
            .finds("access_grant_id", "access_grant_not_found"),
        Endpoint::read("/access_methods/get", "access_method", json!({ "access_method_id": method }))
            .needs("access_method_id")
            .finds("access_method_id", "access_method_not_found"),
        Endpoint::read("/access_methods/list", "access_methods", json!({}))
            .also(json!({ "access_grant_id": grant }))
            .also(json!({ "access_grant_key": "stay/1" }))
            .filters("access_grant_id")
            .filters("acs_entrance_id"),
        Endpoint::create(
            "/access_methods/encode",
            "action_attempt",
            json!({ "access_method_id": method, "acs_encoder_id": encoder }),
        )
        .needs("access_method_id")
        .needs("acs_encoder_id")
        .wrong("acs_encoder_id", json!(7))
        .finds("access_method_id", "access_method_not_found")
        .finds("acs_encoder_id", "acs_encoder_not_found"),
    ]
}
