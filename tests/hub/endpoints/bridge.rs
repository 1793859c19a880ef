//! What desks' daemons ask. They ask by POST only, and what their ids name is no error but a plain answer.

use super::{Endpoint, Stock};
use crate::support::{BRIDGE_TOKEN, World, failed, report};
use encoderd::fault::FaultKind;
use serde_json::json;
use uuid::Uuid;

pub fn rows(stock: &Stock) -> Vec<Endpoint> {
    let (bridge, attempt) = (stock.desk.bridge_id, Uuid::new_v4());
    let rows = [
        Endpoint::create(
            "/bridge/v1/encoders/sync",
            "links",
            json!({ "bridge_id": bridge, "version": "0.0.0", "encoders": [report("usb-1", Some(stock.encoder))] }),
        )
        .needs("version")
        .needs("encoders")
        .wrong("encoders", json!("usb-1")),
        Endpoint::create("/bridge/v1/events", "ok", json!({ "bridge_id": bridge, "events": [] }))
            .needs("events")
            .wrong("events", json!(5)),
        Endpoint::create(
            "/bridge/v1/jobs/next",
            "job",
            json!({ "bridge_id": bridge, "wait_seconds": 0, "in_hand": [] }),
        )
        .needs("wait_seconds")
        .wrong("wait_seconds", json!("long")),
        Endpoint::create(
            "/bridge/v1/jobs/progress",
            "ok",
            json!({ "bridge_id": bridge, "action_attempt_id": attempt, "progress": "writing" }),
        )
        .needs("progress")
        .wrong("progress", json!("dancing"))
        .wrong("action_attempt_id", json!("x")),
        Endpoint::create(
            "/bridge/v1/jobs/result",
            "settled",
            json!({ "bridge_id": bridge, "action_attempt_id": attempt, "fence": 1, "outcome": failed(FaultKind::NoCard, None, false) }),
        )
        .needs("action_attempt_id")
        .needs("fence")
        .needs("outcome")
        .wrong("fence", json!("1")),
        Endpoint::create(
            "/bridge/v1/jobs/start",
            "answer",
            json!({ "bridge_id": bridge, "action_attempt_id": attempt, "fence": 1 }),
        )
        .needs("action_attempt_id")
        .needs("fence")
        .wrong("fence", json!("1")),
    ];
    let each = rows.into_iter();
    each.map(|row| row.opened_by(BRIDGE_TOKEN).needs("bridge_id").wrong("bridge_id", json!("x"))).collect()
}

#[tokio::test]
async fn a_desk_learns_nothing_of_another_workspaces_jobs() {
    let world = World::new().await;
    let (desk, _) = world.desk().await;
    let neighbour = world.neighbour().await;
    let attempt = neighbour.id("action_attempt_id");
    let start = json!({ "action_attempt_id": attempt, "fence": 1 });
    let answer: serde_json::Value = desk.send("jobs/start", start).await;
    assert_eq!(answer, json!({ "answer": "refused", "reason": "the hub does not know the job" }));
    let outcome = failed(FaultKind::NoCard, None, false);
    let result = json!({ "action_attempt_id": attempt, "fence": 1, "outcome": outcome });
    let answer: serde_json::Value = desk.send("jobs/result", result).await;
    assert_eq!(answer, json!({ "settled": false }));
    // Its encoder stays where it is.
    let theirs: Uuid = neighbour.id("acs_encoder_id").as_str().unwrap().parse().unwrap();
    let links = desk.sync(&[report("usb-9", Some(theirs))]).await.links;
    assert!(links.iter().all(|link| link.acs_encoder_id != theirs), "{links:?}");
}
