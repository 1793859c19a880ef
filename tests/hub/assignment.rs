//! Whose credentials are: by hand, by a scanned card, by a card's number.

use crate::support::{CARD, ISSUED_AT, OTHER_CARD, World, card, encoded, encoded_at, failed, scanned};
use encoderd::api::bridge::{Outcome, StartResponse};
use encoderd::fault::FaultKind;
use serde_json::{Value, json};
use uuid::Uuid;

async fn user(world: &World, name: &str) -> Value {
    let body = json!({ "acs_system_id": world.system().await, "full_name": name });
    world.made("/acs/users/create", body, "acs_user").await["acs_user_id"].clone()
}

/// A credential of nobody for door 103, and its id as text.
async fn free(world: &World) -> String {
    let body = json!({
        "acs_system_id": world.system().await, "access_method": "card",
        "allowed_acs_entrance_ids": [world.entrances().await[2]],
        "starts_at": "2025-07-13T15:00:00.000Z", "ends_at": "2025-07-16T11:00:00.000Z",
    });
    world.made("/acs/credentials/create", body, "acs_credential").await["acs_credential_id"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[tokio::test]
async fn a_credential_has_one_owner_at_a_time() {
    let world = World::new().await;
    let credential = free(&world).await;
    let (one, other) = (user(&world, "Jane Doe").await, user(&world, "John Doe").await);
    let ask = async |what: &str, whose: Value| {
        let mut body = json!({ "acs_credential_id": credential });
        body.as_object_mut().unwrap().extend(whose.as_object().unwrap().clone());
        world.post(&format!("/acs/credentials/{what}"), body).await
    };
    let assigned = ask("assign", json!({ "acs_user_id": one })).await.good("acs_credential");
    assert_eq!((&assigned["acs_user_id"], &assigned["display_name"]), (&one, &json!("Card of Jane Doe")));
    assert_eq!(ask("assign", json!({ "acs_user_id": one })).await.good("acs_credential"), assigned, "again");
    ask("assign", json!({ "acs_user_id": other })).await.invalid("acs_credential_id");
    ask("unassign", json!({ "acs_user_id": other })).await.invalid("acs_user_id");
    let unassigned = ask("unassign", json!({ "acs_user_id": one })).await.good("acs_credential");
    assert!(unassigned.get("acs_user_id").is_none(), "{unassigned}");
    assert_eq!(unassigned["display_name"], "Card");
    ask("unassign", json!({ "acs_user_id": one })).await.invalid("acs_user_id");
    // By person: made known to the system.
    let person = world.made("/user_identities/create", json!({ "full_name": "Ada" }), "user_identity").await;
    let person = json!({ "user_identity_id": person["user_identity_id"] });
    let assigned = ask("assign", person.clone()).await.good("acs_credential");
    assert_eq!(assigned["user_identity_id"], person["user_identity_id"]);
    assert!(assigned["acs_user_id"].is_string());
    ask("unassign", person.clone()).await.good("acs_credential");
    ask("unassign", person).await.invalid("user_identity_id");
    for both_or_none in [json!({}), json!({ "acs_user_id": one, "user_identity_id": Uuid::new_v4() })] {
        for what in ["assign", "unassign"] {
            ask(what, both_or_none.clone()).await.refused(400, "invalid_input");
        }
    }
}

#[tokio::test]
async fn a_grants_credential_stays_with_its_person() {
    let world = World::new().await;
    let (_method, credential) = method(&world).await;
    let shown = world.show(&credential).await;
    let body = json!({ "acs_credential_id": credential, "acs_user_id": shown["acs_user_id"] });
    world.post("/acs/credentials/unassign", body).await.invalid("acs_credential_id");
}

#[tokio::test]
async fn accessible_entrances_are_those_of_the_credential() {
    let world = World::new().await;
    let credential = world.credential().await;
    let query = format!("acs_credential_id={credential}");
    let answer = world.get("/acs/credentials/list_accessible_entrances", &query).await;
    let names: Vec<_> =
        answer.good("acs_entrances").as_array().unwrap().iter().map(|door| door["display_name"].clone()).collect();
    assert_eq!(names, ["Room 101", "Room 102"]);
    assert!(answer.body.get("pagination").is_none());
}

/// Scans a card for a user, from the request to the settled attempt.
async fn scan_for(world: &World, desk: &crate::support::Desk, encoder: Uuid, user: &Value, end: &Outcome) -> Value {
    let body = json!({ "acs_encoder_id": encoder, "acs_user_id": user });
    let attempt = world.made("/acs/encoders/scan_to_assign_credential", body, "action_attempt").await;
    assert_eq!((&attempt["action_type"], &attempt["status"]), (&json!("SCAN_TO_ASSIGN_CREDENTIAL"), &json!("pending")));
    let job = desk.started().await;
    assert_eq!(serde_json::to_value(&job.work).unwrap(), json!({ "type": "scan" }), "an ordinary scan");
    assert!(desk.finish(&job, end).await);
    world.attempt(&attempt["action_attempt_id"]).await
}

#[tokio::test]
async fn a_scanned_card_goes_to_the_user() {
    let world = World::new().await;
    let (desk, encoder) = world.desk().await;
    let (jane, john) = (user(&world, "Jane Doe").await, user(&world, "John Doe").await);
    let credential = free(&world).await;
    desk.encodes(&world, encoder, &credential, &encoded(CARD)).await;
    let found = scanned(CARD, Some(card(&credential)));
    let attempt = scan_for(&world, &desk, encoder, &jane, &found).await;
    assert_eq!((&attempt["status"], &attempt["result"]), (&json!("success"), &world.show(&credential).await));
    assert_eq!(attempt["result"]["acs_user_id"], jane);
    assert_eq!(scan_for(&world, &desk, encoder, &jane, &found).await["status"], "success", "it is hers already");
    for (who, end, kind, code) in [
        (&john, found, FaultKind::CredentialOfAnother, "uncategorized_error"),
        (&john, scanned(OTHER_CARD, None), FaultKind::CardWithoutCredential, "no_credential_on_encoder"),
        (
            &john,
            scanned(OTHER_CARD, Some(card(&Uuid::new_v4().to_string()))),
            FaultKind::UnknownCredential,
            "uncategorized_error",
        ),
        (
            &jane,
            scanned(OTHER_CARD, Some(card(&credential))),
            FaultKind::CredentialOnAnotherCard,
            "uncategorized_error",
        ),
        (&jane, failed(FaultKind::SeveralCards, None, false), FaultKind::SeveralCards, "uncategorized_error"),
    ] {
        let attempt = scan_for(&world, &desk, encoder, who, &end).await;
        assert_eq!(attempt["error"], json!({ "type": code, "message": kind.sentence() }));
    }
    assert_eq!(world.show(&credential).await["acs_user_id"], jane);
    world.post("/acs/credentials/delete", json!({ "acs_credential_id": credential })).await.good("ok");
    let attempt = scan_for(&world, &desk, encoder, &jane, &scanned(CARD, Some(card(&credential)))).await;
    assert_eq!(attempt["error"]["message"], FaultKind::UnknownCredential.sentence());
}

#[tokio::test]
async fn a_scan_that_comes_late_assigns_nothing() {
    let world = World::impatient().await;
    let (desk, encoder) = world.desk().await;
    let jane = user(&world, "Jane Doe").await;
    let credential = free(&world).await;
    desk.encodes(&world, encoder, &credential, &encoded(CARD)).await;
    let body = json!({ "acs_encoder_id": encoder, "acs_user_id": jane });
    let attempt = world.made("/acs/encoders/scan_to_assign_credential", body, "action_attempt").await;
    let late = desk.started().await;
    let settled = world.settled(&attempt["action_attempt_id"]).await;
    assert_eq!(settled["error"]["type"], "action_attempt_expired");
    assert!(!desk.finish(&late, &scanned(CARD, Some(card(&credential)))).await);
    assert_eq!(world.attempt(&attempt["action_attempt_id"]).await, settled);
    assert!(world.show(&credential).await.get("acs_user_id").is_none());
}

#[tokio::test]
async fn a_scan_is_for_exactly_one_user_or_person() {
    let world = World::new().await;
    let (_desk, encoder) = world.desk().await;
    let person = world.made("/user_identities/create", json!({ "full_name": "Ada" }), "user_identity").await;
    let path = "/acs/encoders/scan_to_assign_credential";
    let both = json!({
        "acs_encoder_id": encoder, "acs_user_id": user(&world, "Jane").await,
        "user_identity_id": person["user_identity_id"],
    });
    world.post(path, both).await.refused(400, "invalid_input");
    world.post(path, json!({ "acs_encoder_id": encoder })).await.invalid("acs_user_id");
    let of_person = json!({ "acs_encoder_id": encoder, "user_identity_id": person["user_identity_id"] });
    assert_eq!(world.made(path, of_person, "action_attempt").await["status"], "pending");
}

/// An access method for door 101 and the credential behind it.
async fn method(world: &World) -> (Value, String) {
    let body = json!({
        "user_identity": { "full_name": "Jane Doe" }, "requested_access_methods": [{ "mode": "card" }],
        "acs_entrance_ids": [world.entrances().await[0]], "access_grant_key": Uuid::new_v4(),
        "starts_at": "2025-07-13T15:00:00.000Z", "ends_at": "2025-07-18T11:00:00.000Z",
    });
    let grant = world.made("/access_grants/create", body, "access_grant").await;
    let query = format!("user_identity_id={}", grant["user_identity_id"].as_str().unwrap());
    let credentials = world.get("/acs/credentials/list", &query).await.good("acs_credentials");
    let credential = credentials[0]["acs_credential_id"].as_str().unwrap().to_owned();
    (grant["access_method_ids"][0].clone(), credential)
}

async fn assign_card(world: &World, method: &Value, card_number: &str) -> Value {
    let body = json!({ "access_method_id": method, "card_number": card_number });
    let attempt = world.made("/access_methods/assign_card", body, "action_attempt").await;
    assert_eq!(attempt["action_type"], "ASSIGN_CREDENTIAL");
    assert_eq!(world.attempt(&attempt["action_attempt_id"]).await, attempt, "settled at once, and readable");
    attempt
}

#[tokio::test]
async fn a_card_that_was_made_before_becomes_the_access_methods() {
    let world = World::new().await;
    let (desk, encoder) = world.desk().await;
    let made = free(&world).await;
    desk.encodes(&world, encoder, &made, &encoded(CARD)).await;
    let (method, standing) = method(&world).await;
    // A job with what stood there is on its way to a desk.
    let waiting = world.encode(encoder, &standing).await;
    let job = desk.job().await;
    let owner = world.show(&standing).await["acs_user_id"].clone();
    let attempt = assign_card(&world, &method, &CARD.to_lowercase()).await;
    assert_eq!(attempt["status"], "success", "{attempt}");
    let query = format!("access_method_id={}", method.as_str().unwrap());
    assert_eq!(attempt["result"], world.get("/access_methods/get", &query).await.good("access_method"));
    assert_eq!((&attempt["result"]["is_issued"], &attempt["result"]["access_method_id"]), (&json!(true), &method));
    let shown = world.show(&made).await;
    assert_eq!((&shown["acs_user_id"], &shown["card_number"]), (&owner, &json!(CARD)));
    // Its doors and times are the grant's; the card has others.
    assert_eq!(shown["ends_at"], "2025-07-18T11:00:00.000Z");
    let warning = &shown["warnings"][0];
    assert_eq!(warning["warning_code"], "needs_to_be_reissued");
    assert!(warning["message"].as_str().unwrap().contains("times and doors"), "{warning}");
    let body = json!({ "acs_credential_id": standing });
    world.post("/acs/credentials/get", body).await.refused(404, "acs_credential_not_found");
    assert!(matches!(desk.start(&job).await, StartResponse::Refused { .. }));
    assert_eq!(world.attempt(&waiting["action_attempt_id"]).await["error"]["type"], "credential_deleted");
    assert_eq!(world.events(&format!("acs_credential_id={standing}")).await, ["acs_credential.deleted"]);
    let events = world.events(&query).await;
    assert_eq!(events, ["access_method.created", "access_method.card_encoding_required", "access_method.issued"]);
    assert_eq!(assign_card(&world, &method, CARD).await["status"], "success", "again");
    assert_eq!(world.events(&query).await, events);
    // Written again it is what the grant says.
    let again = json!({ "acs_encoder_id": encoder, "access_method_id": method });
    world.made("/access_methods/encode", again, "action_attempt").await;
    let job = desk.started().await;
    assert!(desk.finish(&job, &encoded_at(CARD, ISSUED_AT + 60, None)).await);
    assert_eq!(world.show(&made).await["warnings"], json!([]));
}

#[tokio::test]
async fn a_card_that_is_not_free_stays_where_it_is() {
    let world = World::new().await;
    let (desk, encoder) = world.desk().await;
    let (first, of_first) = method(&world).await;
    desk.encodes(&world, encoder, &of_first, &encoded(CARD)).await;
    let (second, _) = method(&world).await;
    let refused = async |number: &str, kind: FaultKind, code: &str| {
        let attempt = assign_card(&world, &second, number).await;
        assert_eq!(attempt["error"], json!({ "type": code, "message": kind.sentence() }));
    };
    refused(CARD, FaultKind::NoCredentialForCard, "credential_not_found").await;
    refused("04FFFFFF", FaultKind::NoCredentialForCard, "credential_not_found").await;
    // Somebody else's.
    let of_somebody = world.credential().await;
    desk.encodes(&world, encoder, &of_somebody, &encoded(OTHER_CARD)).await;
    refused(OTHER_CARD, FaultKind::CredentialOfAnother, "uncategorized_error").await;
    world.post("/acs/credentials/delete", json!({ "acs_credential_id": of_somebody })).await.good("ok");
    refused(OTHER_CARD, FaultKind::NoCredentialForCard, "credential_not_found").await;
    // A method that has a card takes no other one.
    let made = free(&world).await;
    desk.encodes(&world, encoder, &made, &encoded_at("04AAAAAA", ISSUED_AT, None)).await;
    let attempt = assign_card(&world, &first, "04AAAAAA").await;
    assert_eq!(attempt["error"]["message"], FaultKind::MethodHasCard.sentence());
    assert!(world.show(&made).await.get("acs_user_id").is_none(), "nothing was changed");
}

#[tokio::test]
async fn a_failed_assignment_leaves_the_waiting_job_alone() {
    let world = World::new().await;
    let (desk, encoder) = world.desk().await;
    let (method, standing) = method(&world).await;
    let waiting = world.encode(encoder, &standing).await;
    assert_eq!(assign_card(&world, &method, CARD).await["error"]["type"], "credential_not_found");
    let job = desk.started().await;
    // Started: the card may be written this moment.
    let made = free(&world).await;
    let other =
        desk.sync(&[crate::support::report("usb-1", Some(encoder)), crate::support::report("usb-2", None)]).await;
    let other = other.links.iter().find(|link| link.acs_encoder_id != encoder).unwrap().acs_encoder_id;
    world.encode(other, &made).await;
    let at_other = desk.next(2, &[job.action_attempt_id]).await.unwrap();
    desk.start(&at_other).await;
    assert!(desk.finish(&at_other, &encoded(CARD)).await);
    let attempt = assign_card(&world, &method, CARD).await;
    assert_eq!(attempt["error"]["message"], FaultKind::CredentialBusy.sentence());
    assert!(desk.finish(&job, &encoded(OTHER_CARD)).await);
    assert_eq!(world.attempt(&waiting["action_attempt_id"]).await["status"], "success");
}
