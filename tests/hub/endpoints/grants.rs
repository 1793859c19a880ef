//! Access grants and access methods.

use super::{Endpoint, Stock};
use crate::support::World;
use serde_json::json;

pub async fn rows(world: &World, stock: &Stock) -> Vec<Endpoint> {
    let Stock { identity, grant, method, encoder, entrances, space, .. } = stock;
    let card = json!({ "user_identity_id": identity, "requested_access_methods": [{ "mode": "card" }], "acs_entrance_ids": [entrances[0]], "ends_at": null });
    let keyed = json!({ "user_identity_id": identity, "requested_access_methods": [{ "mode": "card" }], "access_grant_key": "stay/1" });
    world.made("/access_grants/create", keyed, "access_grant").await;
    // Something to delete.
    let again = async |name: &str| {
        let reservation = uuid::Uuid::new_v4();
        let grant = json!({ "user_identity_id": identity, "requested_access_methods": [{ "mode": "card" }], "reservation_key": reservation });
        let grant = world.made("/access_grants/create", grant, "access_grant").await;
        let id = if name == "access_method_id" { &grant["access_method_ids"][0] } else { &grant[name] };
        json!({ name: id })
    };
    vec![
        Endpoint::create("/access_grants/create", "access_grant", card)
            .also(json!({ "user_identity": { "full_name": "E F" }, "requested_access_methods": [{ "mode": "card" }] }))
            .needs("user_identity_id")
            .needs("requested_access_methods")
            .also(json!({ "user_identity_id": identity, "requested_access_methods": [{ "mode": "card" }], "space_ids": [space], "location_ids": [space], "space_keys": ["floor/1"] }))
            .wrong("requested_access_methods", json!("card"))
            .wrong("device_ids", json!([uuid::Uuid::new_v4()]))
            .finds("space_ids", "space_not_found")
            .finds("location_ids", "space_not_found")
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
            .also(json!({ "space_id": space }))
            .also(json!({ "location_id": space }))
            .filters("space_id")
            .filters("location_id")
            .filters("access_grant_ids")
            .filters("acs_entrance_id")
            .filters("acs_system_id")
            .filters("user_identity_id"),
        Endpoint::change("/access_grants/update", "ok", json!({ "access_grant_id": grant, "name": "Stay" }))
            .also(json!({ "access_grant_key": "stay/1", "ends_at": "2090-01-01T00:00:00Z" }))
            .needs("access_grant_id")
            .wrong("ends_at", json!("later"))
            .finds("access_grant_id", "access_grant_not_found"),
        Endpoint::remove("/access_grants/delete", [again("access_grant_id").await, again("access_grant_id").await])
            .needs("access_grant_id")
            .finds("access_grant_id", "access_grant_not_found"),
        Endpoint::create(
            "/access_grants/request_access_methods",
            "access_grant",
            json!({ "access_grant_id": grant, "requested_access_methods": [{ "mode": "card" }] }),
        )
        .needs("access_grant_id")
        .needs("requested_access_methods")
        .wrong("requested_access_methods", json!([]))
        .finds("access_grant_id", "access_grant_not_found"),
        Endpoint::remove(
            "/access_methods/delete",
            [
                again("access_method_id").await,
                again("access_grant_id").await,
                again("reservation_key").await,
                again("access_method_id").await,
                again("access_grant_id").await,
                again("reservation_key").await,
            ],
        )
        .needs("access_method_id")
        .finds("access_method_id", "access_method_not_found"),
        Endpoint::read("/access_methods/get", "access_method", json!({ "access_method_id": method }))
            .needs("access_method_id")
            .finds("access_method_id", "access_method_not_found"),
        Endpoint::read("/access_methods/list", "access_methods", json!({}))
            .also(json!({ "access_grant_id": grant }))
            .also(json!({ "access_grant_key": "stay/1" }))
            .also(json!({ "space_id": space }))
            .filters("access_grant_id")
            .filters("space_id")
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
