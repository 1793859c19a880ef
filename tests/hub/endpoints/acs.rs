//! Access systems, entrances, encoders.

use super::{Endpoint, Stock};
use serde_json::json;

pub fn rows(stock: &Stock) -> Vec<Endpoint> {
    let Stock { encoder, system, entrances, credential, .. } = stock;
    vec![
        Endpoint::read("/acs/systems/get", "acs_system", json!({ "acs_system_id": system }))
            .needs("acs_system_id")
            .finds("acs_system_id", "acs_system_not_found"),
        Endpoint::read("/acs/systems/list", "acs_systems", json!({}))
            .also(json!({ "search": "hotel" }))
            .filters("connected_account_id"),
        Endpoint::read("/acs/entrances/get", "acs_entrance", json!({ "acs_entrance_id": entrances[0] }))
            .needs("acs_entrance_id")
            .finds("acs_entrance_id", "acs_entrance_not_found"),
        Endpoint::read("/acs/entrances/list", "acs_entrances", json!({}))
            .also(json!({ "acs_entrance_ids": [entrances[0]] }))
            .also(json!({ "acs_credential_id": credential }))
            .wrong("limit", json!("many"))
            .filters("acs_entrance_ids")
            .filters("acs_credential_id")
            .filters("acs_system_id")
            .also(json!({ "space_id": stock.space }))
            .also(json!({ "location_id": stock.space }))
            .filters("space_id")
            .filters("location_id")
            .filters("connected_account_id"),
        Endpoint::read("/acs/encoders/get", "acs_encoder", json!({ "acs_encoder_id": encoder }))
            .needs("acs_encoder_id")
            .finds("acs_encoder_id", "acs_encoder_not_found"),
        Endpoint::read("/acs/encoders/list", "acs_encoders", json!({}))
            .also(json!({ "acs_encoder_ids": [encoder] }))
            .wrong("limit", json!("many"))
            .filters("acs_encoder_ids")
            .filters("acs_system_id")
            .filters("acs_system_ids"),
        Endpoint::create("/acs/encoders/scan_credential", "action_attempt", json!({ "acs_encoder_id": encoder }))
            .needs("acs_encoder_id")
            .finds("acs_encoder_id", "acs_encoder_not_found"),
        Endpoint::create(
            "/encoderd/v1/acs_encoders/write_raw",
            "action_attempt",
            json!({ "acs_encoder_id": encoder, "image": { "writes": [{
                "write": "block", "block": 4, "data": "00112233445566778899aabbccddeeff", "volatile": true,
            }] } }),
        )
        .needs("acs_encoder_id")
        .needs("image")
        .wrong("image", json!("none"))
        .finds("acs_encoder_id", "acs_encoder_not_found"),
        Endpoint::create(
            "/acs/encoders/encode_credential",
            "action_attempt",
            json!({ "acs_encoder_id": encoder, "acs_credential_id": credential }),
        )
        .also(json!({ "acs_encoder_id": encoder, "access_method_id": stock.method }))
        .needs("acs_encoder_id")
        .needs("acs_credential_id")
        .finds("acs_encoder_id", "acs_encoder_not_found")
        .finds("acs_credential_id", "acs_credential_not_found"),
    ]
}
