//! The way of a guest: person, access grant, access method, card.

use crate::support::{API_KEY, CARD, ISSUED_AT, World, encoded, encoded_at};
use reqwest::Method;
use serde_json::{Value, json};

async fn grant(world: &World) -> Value {
    let entrances = world.entrances().await;
    let body = json!({
        "user_identity": { "full_name": "Jane Doe", "email_address": "jane@example.com" },
        "requested_access_methods": [{ "mode": "card" }],
        "acs_entrance_ids": [entrances[0]], "access_grant_key": "reservation-7",
        "starts_at": "2025-07-13T15:00:00.750Z", "ends_at": "2025-07-16T11:00:00.000Z",
    });
    world.made("/access_grants/create", body, "access_grant").await
}

#[tokio::test]
async fn a_grant_makes_user_access_method_and_credential() {
    let world = World::new().await;
    let made = grant(&world).await;
    assert_eq!(made["starts_at"], "2025-07-13T15:00:00.000Z", "whole seconds");
    assert_eq!((&made["name"], &made["access_grant_key"]), (&json!(null), &json!("reservation-7")));
    let method_id = made["access_method_ids"][0].as_str().unwrap();
    let requested = &made["requested_access_methods"][0];
    assert_eq!((&requested["mode"], &requested["created_access_method_ids"]), (&json!("card"), &json!([method_id])));
    let method = world.get("/access_methods/get", &format!("access_method_id={method_id}")).await.good("access_method");
    for (name, value) in [
        ("mode", json!("card")),
        ("is_issued", json!(false)),
        ("issued_at", json!(null)),
        ("is_encoding_required", json!(true)),
        ("is_ready_for_encoding", json!(true)),
        ("pending_mutations", json!([])),
    ] {
        assert_eq!(method[name], value, "{name}");
    }
    let identity = made["user_identity_id"].as_str().unwrap();
    let credentials = world.get("/acs/credentials/list", &format!("user_identity_id={identity}")).await;
    let credentials = credentials.good("acs_credentials");
    assert_eq!(credentials.as_array().unwrap().len(), 1);
    assert_eq!(credentials[0]["warnings"][0]["warning_code"], "waiting_to_be_issued");
    let users = world.get("/acs/users/list", &format!("user_identity_id={identity}")).await.good("acs_users");
    assert_eq!(users[0]["acs_user_id"], credentials[0]["acs_user_id"]);
    let person = world.get("/user_identities/get", &format!("user_identity_id={identity}")).await.good("user_identity");
    assert_eq!(person["acs_user_ids"], json!([users[0]["acs_user_id"]]));
    let events = world.events(&format!("user_identity_id={identity}")).await;
    let expected =
        ["acs_user.created", "access_grant.created", "access_method.created", "access_method.card_encoding_required"];
    assert_eq!(events, expected);
    // A second grant of the same person: the same user.
    let body = json!({ "user_identity_id": identity, "requested_access_methods": [{ "mode": "card" }] });
    let second = world.made("/access_grants/create", body, "access_grant").await;
    assert_eq!(second["ends_at"], json!(null));
    let users = world.get("/acs/users/list", &format!("user_identity_id={identity}")).await.good("acs_users");
    assert_eq!(users.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn an_access_method_is_encoded_by_either_path() {
    let world = World::new().await;
    let (desk, encoder) = world.desk().await;
    let made = grant(&world).await;
    let method = made["access_method_ids"][0].clone();
    let body = json!({ "access_method_id": method, "acs_encoder_id": encoder });
    let attempt = world.made("/access_methods/encode", body.clone(), "action_attempt").await;
    assert_eq!((&attempt["action_type"], &attempt["status"]), (&json!("ENCODE_CREDENTIAL"), &json!("pending")));
    let job = desk.started().await;
    assert!(desk.finish(&job, &encoded(CARD)).await);
    let attempt = world.attempt(&attempt["action_attempt_id"]).await;
    assert_eq!((&attempt["result"]["card_number"], &attempt["result"]["is_issued"]), (&json!(CARD), &json!(true)));
    assert!(attempt["result"].get("access_method_id").is_none(), "no key that the types do not know");
    let query = format!("access_method_id={}", method.as_str().unwrap());
    let shown = world.get("/access_methods/get", &query).await.good("access_method");
    assert_eq!((&shown["is_issued"], &shown["is_ready_for_encoding"]), (&json!(true), &json!(false)));
    assert_eq!(shown["issued_at"], attempt["result"]["issued_at"]);
    world.made("/acs/encoders/encode_credential", body, "action_attempt").await;
    let job = desk.started().await;
    assert!(desk.finish(&job, &encoded_at(CARD, ISSUED_AT + 5, None)).await);
    let events = world.events(&query).await;
    assert_eq!(events[2..], ["access_method.issued", "access_method.reissued"]);
    let event = &world.get("/events/list", "event_type=access_method.issued").await.good("events")[0];
    assert_eq!(event["access_grant_ids"], json!([made["access_grant_id"]]));
    assert_eq!(event["access_grant_keys"], json!(["reservation-7"]));
}

#[tokio::test]
async fn other_times_of_a_grant_reach_its_credentials() {
    let world = World::new().await;
    let (desk, encoder) = world.desk().await;
    let made = grant(&world).await;
    let credential =
        world.get("/acs/credentials/list", "").await.good("acs_credentials")[0]["acs_credential_id"].clone();
    let credential = credential.as_str().unwrap();
    desk.encodes(&world, encoder, credential, &encoded(CARD)).await;
    let update = async |change: Value| {
        let answer = world.send(Method::PATCH, "/access_grants/update", "", Some(&change), Some(API_KEY)).await;
        assert_eq!(answer.body, json!({ "ok": true }), "nothing but ok");
    };
    let id = &made["access_grant_id"];
    update(json!({ "access_grant_id": id, "ends_at": "2025-07-18T11:00:00Z", "name": "Longer stay" })).await;
    let shown = world.show(credential).await;
    assert_eq!(shown["ends_at"], "2025-07-18T11:00:00.000Z");
    assert_eq!(shown["warnings"][0]["warning_code"], "needs_to_be_reissued");
    let query = format!("access_grant_id={}", id.as_str().unwrap());
    let grant = world.get("/access_grants/get", &query).await.good("access_grant");
    assert_eq!((&grant["name"], &grant["display_name"]), (&json!("Longer stay"), &json!("Longer stay")));
    update(json!({ "access_grant_key": "reservation-7", "ends_at": null })).await;
    assert!(world.show(credential).await.get("ends_at").is_none(), "no end");
    update(json!({ "access_grant_id": id, "name": null })).await;
    let changes = world.events(&format!("{query}&event_type=access_grant.access_times_changed")).await;
    assert_eq!(changes.len(), 2, "a name is no time");
    let bad = json!({ "access_grant_id": id, "ends_at": "2025-07-13T14:00:00Z" });
    world.post("/access_grants/update", bad).await.invalid("ends_at");
}

#[tokio::test]
async fn grants_that_cannot_be_are_refused_whole() {
    let world = World::new().await;
    let identity = world.made("/user_identities/create", json!({ "user_identity_key": "u" }), "user_identity").await;
    let identity = identity["user_identity_id"].clone();
    let before = world.events("").await.len();
    for mode in ["code", "mobile_key", "cloud_key"] {
        let body =
            json!({ "user_identity_id": identity, "requested_access_methods": [{ "mode": "card" }, { "mode": mode }] });
        world.post("/access_grants/create", body).await.invalid("requested_access_methods.1.mode");
    }
    let cards = json!([{ "mode": "card" }]);
    for (body, parameter) in [
        (json!({ "user_identity_id": identity, "requested_access_methods": [] }), "requested_access_methods"),
        (json!({ "user_identity_id": identity, "requested_access_methods": [{}] }), "requested_access_methods.0.mode"),
        (
            json!({ "user_identity": { "email_address": "x" }, "requested_access_methods": cards }),
            "user_identity.email_address",
        ),
    ] {
        world.post("/access_grants/create", body).await.invalid(parameter);
    }
    for name in ["space_ids", "space_keys", "location_ids", "device_ids"] {
        let mut body = json!({ "user_identity": { "full_name": "X Y" }, "requested_access_methods": cards });
        body[name] = json!([uuid::Uuid::new_v4()]);
        let answer = world.post("/access_grants/create", body).await;
        if name == "device_ids" {
            answer.invalid(name);
        } else {
            answer.refused(404, "space_not_found");
        }
    }
    let both = json!({ "user_identity_id": identity, "user_identity": {}, "requested_access_methods": cards });
    world.post("/access_grants/create", both).await.refused(400, "invalid_input");
    let nowhere = json!({ "user_identity": { "full_name": "X Y" }, "requested_access_methods": cards, "acs_entrance_ids": [uuid::Uuid::new_v4()] });
    world.post("/access_grants/create", nowhere).await.refused(404, "acs_entrance_not_found");
    assert_eq!(world.events("").await.len(), before);
    assert_eq!(world.get("/user_identities/list", "search=X+Y").await.good("user_identities"), json!([]));
    world.post("/user_identities/create", json!({ "user_identity_key": "u" })).await.invalid("user_identity_key");
    let keyed = json!({ "user_identity": { "user_identity_key": "u" }, "requested_access_methods": cards });
    let found = world.made("/access_grants/create", keyed, "access_grant").await;
    assert_eq!(found["user_identity_id"], identity, "the person with this key");
}

#[tokio::test]
async fn a_grant_whose_credential_was_deleted_is_not_encoded() {
    let world = World::new().await;
    let (_desk, encoder) = world.desk().await;
    let made = grant(&world).await;
    let credential =
        world.get("/acs/credentials/list", "").await.good("acs_credentials")[0]["acs_credential_id"].clone();
    let query = format!("acs_credential_id={}", credential.as_str().unwrap());
    world.send(Method::DELETE, "/acs/credentials/delete", &query, None, Some(API_KEY)).await.good("ok");
    let body = json!({ "access_method_id": made["access_method_ids"][0], "acs_encoder_id": encoder });
    let attempt = world.made("/access_methods/encode", body, "action_attempt").await;
    assert_eq!(attempt["error"]["type"], "credential_deleted");
}

#[tokio::test]
async fn events_are_listed_from_a_moment_on_or_else_the_newest() {
    let world = World::new().await;
    grant(&world).await;
    let all = world.get("/events/list", "").await.good("events");
    let all = all.as_array().unwrap();
    let newest = world.get("/events/list", "limit=2").await.good("events");
    assert_eq!(newest.as_array().unwrap()[..], all[all.len() - 2..]);
    let since = all[all.len() - 1]["created_at"].as_str().unwrap();
    let oldest = world.get("/events/list", "since=2020-01-01T00:00:00Z&limit=2").await.good("events");
    assert_eq!(oldest.as_array().unwrap()[..], all[..2]);
    assert!(!world.events(&format!("since={since}")).await.is_empty());
    assert!(
        world
            .events(&format!("between=2020-01-01T00:00:00Z&between={}", all[0]["created_at"].as_str().unwrap()))
            .await
            .is_empty()
    );
    assert_eq!(world.events("between=2020-01-01T00:00:00Z&between=2100-01-01T00:00:00Z").await.len(), all.len());
    world.get("/events/list", "between=2020-01-01T00:00:00Z").await.invalid("between");
}
