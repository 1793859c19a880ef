//! Workspaces, events, action attempts, and what the Seam API has no path for.

use super::{Endpoint, Stock};
use serde_json::json;

pub fn rows(stock: &Stock) -> Vec<Endpoint> {
    let Stock { attempt, event, .. } = stock;
    vec![
        Endpoint::open("/healthz", "ok"),
        Endpoint::open("/readyz", "ok"),
        Endpoint::open("/openapi.json", "paths"),
        Endpoint::read("/encoderd/v1/encoders", "encoders", json!({})),
        Endpoint::read("/encoderd/v1/attempts", "attempts", json!({})).wrong("limit", json!("many")),
        Endpoint::read("/workspaces/get", "workspace", json!({})),
        Endpoint::read("/action_attempts/get", "action_attempt", json!({ "action_attempt_id": attempt }))
            .needs("action_attempt_id")
            .finds("action_attempt_id", "action_attempt_not_found"),
        Endpoint::read("/action_attempts/list", "action_attempts", json!({ "action_attempt_ids": [attempt] }))
            .wrong("limit", json!("many"))
            .filters("action_attempt_ids"),
        Endpoint::read("/events/get", "event", json!({ "event_id": event }))
            .also(json!({ "event_type": "acs_user.created" }))
            .needs("event_id")
            .finds("event_id", "event_not_found"),
        Endpoint::read("/events/list", "events", json!({}))
            .also(json!({ "event_ids": [event] }))
            .also(json!({ "acs_entrance_id": stock.entrances[0] }))
            .wrong("since", json!("yesterday"))
            .wrong("limit", json!("many"))
            .filters("event_ids")
            .filters("access_grant_id")
            .filters("access_grant_ids")
            .filters("access_method_id")
            .filters("access_method_ids")
            .filters("acs_credential_id")
            .filters("acs_encoder_id")
            .filters("acs_entrance_id")
            .filters("acs_system_id")
            .filters("acs_system_ids")
            .filters("acs_user_id")
            .filters("connected_account_id")
            .also(json!({ "space_id": stock.space }))
            .filters("space_id")
            .filters("space_ids")
            .filters("user_identity_id"),
    ]
}
