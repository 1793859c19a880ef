//! Credentials.

use super::{Endpoint, Stock};
use crate::support::World;
use serde_json::json;

pub async fn rows(world: &World, stock: &Stock) -> Vec<Endpoint> {
    let Stock { credential, user, system, entrances, identity, encoder, .. } = stock;
    let made = async |more: serde_json::Value| {
        let mut card = json!({ "acs_system_id": system, "access_method": "card" });
        card.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        world.made("/acs/credentials/create", card, "acs_credential").await["acs_credential_id"].clone()
    };
    let free = made(json!({})).await;
    let taken = [made(json!({ "acs_user_id": user })).await, made(json!({ "acs_user_id": user })).await];
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
            .finds("allowed_acs_entrance_ids", "acs_entrance_not_found")
            .wrong("visionline_metadata", json!("guest"))
            .wrong("code", json!("1234"))
            .wrong("is_multi_phone_sync_credential", json!(true))
            .wrong("credential_manager_acs_system_id", json!(system)),
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
        Endpoint::change(
            "/acs/credentials/assign",
            "acs_credential",
            json!({ "acs_credential_id": free, "acs_user_id": user }),
        )
        .needs("acs_credential_id")
        .needs("acs_user_id")
        .finds("acs_credential_id", "acs_credential_not_found")
        .finds("acs_user_id", "acs_user_not_found"),
        Endpoint {
            once: true,
            good: [&taken[0], &taken[1]]
                .map(|credential| json!({ "acs_credential_id": credential, "acs_user_id": user }))
                .into(),
            ..Endpoint::change("/acs/credentials/unassign", "acs_credential", json!({}))
        }
        .needs("acs_credential_id")
        .needs("acs_user_id")
        .finds("acs_credential_id", "acs_credential_not_found")
        .finds("acs_user_id", "acs_user_not_found"),
        Endpoint::read(
            "/acs/credentials/list_accessible_entrances",
            "acs_entrances",
            json!({ "acs_credential_id": credential }),
        )
        .needs("acs_credential_id")
        .finds("acs_credential_id", "acs_credential_not_found"),
        Endpoint::create(
            "/access_methods/assign_card",
            "action_attempt",
            json!({ "access_method_id": stock.method, "card_number": "04A1B2C3" }),
        )
        .needs("access_method_id")
        .needs("card_number")
        .wrong("card_number", json!(5))
        .finds("access_method_id", "access_method_not_found"),
        Endpoint::create(
            "/acs/encoders/scan_to_assign_credential",
            "action_attempt",
            json!({ "acs_encoder_id": encoder, "acs_user_id": user }),
        )
        .also(json!({ "acs_encoder_id": encoder, "user_identity_id": identity, "salto_ks_metadata": {} }))
        .needs("acs_encoder_id")
        .needs("acs_user_id")
        .wrong("salto_ks_metadata", json!(true))
        .finds("acs_encoder_id", "acs_encoder_not_found")
        .finds("acs_user_id", "acs_user_not_found"),
        simulation("next_credential_encode_will_fail", json!({ "acs_encoder_id": encoder }))
            .also(json!({
                "acs_encoder_id": encoder, "error_code": "uncategorized_error", "acs_credential_id": credential,
            }))
            .wrong("error_code", json!("incompatible_card_format"))
            .wrong("acs_credential_id", json!(credential)),
        simulation("next_credential_encode_will_succeed", json!({ "acs_encoder_id": encoder }))
            .also(json!({ "acs_encoder_id": encoder, "scenario": "credential_is_issued" }))
            .wrong("scenario", json!("credential_exists_on_seam")),
        simulation("next_credential_scan_will_fail", json!({ "acs_encoder_id": encoder }))
            .also(json!({
                "acs_encoder_id": encoder, "error_code": "action_attempt_expired",
                "acs_credential_id_on_seam": credential,
            }))
            .wrong("error_code", json!("encoding_interrupted"))
            .wrong("acs_credential_id_on_seam", json!(credential)),
        simulation("next_credential_scan_will_succeed", json!({ "acs_encoder_id": encoder }))
            .also(json!({
                "acs_encoder_id": encoder, "scenario": "credential_on_encoder_needs_update",
                "acs_credential_id_on_seam": credential,
            }))
            .also(json!({ "acs_encoder_id": encoder, "scenario": "credential_on_encoder_is_empty" }))
            .wrong("scenario", json!("credential_is_issued")),
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

fn simulation(name: &str, good: serde_json::Value) -> Endpoint {
    Endpoint::create(format!("/acs/encoders/simulate/{name}").leak(), "ok", good)
        .needs("acs_encoder_id")
        .finds("acs_encoder_id", "acs_encoder_not_found")
}
