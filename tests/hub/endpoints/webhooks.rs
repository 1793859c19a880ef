//! Webhooks, and what became of their deliveries.

use super::Endpoint;
use crate::support::World;
use serde_json::json;

pub async fn rows(world: &World) -> Vec<Endpoint> {
    let made = async || {
        // For events of a type that there is not: nothing is ever sent.
        let body = json!({ "url": "https://example.com/", "event_types": ["none"] });
        json!({ "webhook_id": world.made("/webhooks/create", body, "webhook").await["webhook_id"] })
    };
    let webhook = made().await;
    let mut update = webhook.clone();
    update["event_types"] = json!(["none", "nothing"]);
    vec![
        Endpoint::create(
            "/webhooks/create",
            "webhook",
            json!({ "url": "https://example.com/hook", "event_types": ["none"] }),
        )
        .needs("url")
        .wrong("url", json!("example.com"))
        .wrong("event_types", json!("none")),
        Endpoint::read("/webhooks/get", "webhook", webhook.clone())
            .needs("webhook_id")
            .finds("webhook_id", "webhook_not_found"),
        Endpoint::read("/webhooks/list", "webhooks", json!({})),
        Endpoint::put("/webhooks/update", "ok", update)
            .needs("webhook_id")
            .needs("event_types")
            .wrong("event_types", json!(5))
            .finds("webhook_id", "webhook_not_found"),
        Endpoint::read("/encoderd/v1/webhook_deliveries", "webhook_deliveries", webhook)
            .needs("webhook_id")
            .wrong("limit", json!("many"))
            .finds("webhook_id", "webhook_not_found"),
        Endpoint::remove("/webhooks/delete", [made().await, made().await])
            .needs("webhook_id")
            .finds("webhook_id", "webhook_not_found"),
    ]
}
