//! Webhooks.

use super::Endpoint;
use crate::support::World;
use serde_json::json;

pub async fn rows(world: &World) -> Vec<Endpoint> {
    let webhook = async || {
        let webhook = json!({ "url": "https://example.com/", "event_types": ["none"] });
        json!({ "webhook_id": world.made("/webhooks/create", webhook, "webhook").await["webhook_id"] })
    };
    let one = webhook().await;
    let mut update = one.clone();
    update["event_types"] = json!(["none", "nothing"]);
    vec![
        Endpoint::create(
            "/webhooks/create",
            "webhook",
            json!({ "url": "https://example.com/hook", "event_types": [] }),
        )
        .also(json!({ "url": "http://[2001:db8::1]:8080/?token=1", "event_types": ["acs_user.created", "none"] }))
        .needs("url")
        .wrong("url", json!("example.com"))
        .wrong("event_types", json!({ "a": "b" })),
        named(Endpoint::read("/webhooks/get", "webhook", one.clone())),
        Endpoint::read("/webhooks/list", "webhooks", json!({})),
        named(Endpoint::put("/webhooks/update", "ok", update)).needs("event_types").wrong("event_types", json!(5)),
        named(Endpoint::remove("/webhooks/delete", [webhook().await, webhook().await])),
        named(Endpoint::read("/encoderd/v1/webhook_deliveries", "webhook_deliveries", one))
            .wrong("limit", json!("many")),
    ]
}

/// Names a webhook. Every text may be a webhook's id, so that none is of a wrong type.
fn named(mut endpoint: Endpoint) -> Endpoint {
    endpoint.finds.push(("webhook_id", "webhook_not_found"));
    endpoint.needs("webhook_id")
}
