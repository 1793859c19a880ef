//! Credentials.

use super::{Endpoint, Stock};
use crate::support::World;
use serde_json::json;

pub async fn rows(world: &World, stock: &Stock) -> Vec<Endpoint> {
    let Stock { credential, user, system, entrances, identity, .. } = stock;
    let card = json!({ "acs_user_id": user, "access_method": "card", "allowed_acs_entrance_ids": [entrances[0]] });
    vec![
        Endpoint::create("/acs/credentials/create", "acs_credential", card)
            .also(json!({ "user_identity_id": identity, "access_method": "card" }))
            .also(json!({ "acs_system_id": system, "access_method": "card" }))
            .needs("access_method")
            .wrong("starts_at", json!("soon"))
            .wrong("access_method", json!("code"))
            .finds("acs_user_id", "acs_user_not_found")
            .finds("acs_system_id", "acs_system_not_found")
            .finds("allowed_acs_entrance_ids", "acs_entrance_not_found"),
        Endpoint::read("/acs/credentials/get", "acs_credential", json!({ "acs_credential_id": credential }))
            .needs("acs_credential_id")
            .finds("acs_credential_id", "acs_credential_not_found"),
        Endpoint::read("/acs/credentials/list", "acs_credentials", json!({}))
            .also(json!({ "acs_user_id": user }))
            .wrong("limit", json!("many"))
            .filters("acs_user_id")
            .filters("acs_system_id")
            .filters("user_identity_id"),
        Endpoint::change(
            "/acs/credentials/update",
            "acs_credential",
            json!({ "acs_credential_id": credential, "ends_at": "2025-07-20T11:00:00Z" }),
        )
        .needs("acs_credential_id")
        .wrong("ends_at", json!("later"))
        .finds("acs_credential_id", "acs_credential_not_found"),
        Endpoint::remove(
            "/acs/credentials/delete",
            [
                json!({ "acs_credential_id": world.credential().await }),
                json!({ "acs_credential_id": world.credential().await }),
            ],
        )
        .needs("acs_credential_id")
        .finds("acs_credential_id", "acs_credential_not_found"),
    ]
}
