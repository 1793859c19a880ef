//! What the hub holds to be true of credentials and cards.

use crate::support::{CARD, ISSUED_AT, OTHER_CARD, World, card, encoded, encoded_at, failed, scanned};
use encoderd::api::bridge::{EncodeWork, Job, JobWork};
use encoderd::fault::FaultKind;
use serde_json::{Value, json};
use uuid::Uuid;

fn work(job: &Job) -> &EncodeWork {
    match &job.work {
        JobWork::Encode(work) => work,
        JobWork::Scan | JobWork::Raw(_) => panic!("not an encode"),
    }
}

#[tokio::test]
async fn an_encode_issues_the_credential() {
    let world = World::new().await;
    let (desk, encoder) = world.desk().await;
    let credential = world.credential().await;
    let attempt = world.encode(encoder, &credential).await;
    let expected = json!({
        "action_attempt_id": attempt["action_attempt_id"], "action_type": "ENCODE_CREDENTIAL", "status": "pending",
        "result": null, "error": null,
    });
    assert_eq!(attempt, expected);
    let job = desk.started().await;
    let expected = json!({
        "type": "encode", "acs_credential_id": credential, "property_id": null, "starts_at": 1_752_418_800,
        "ends_at": 1_752_663_600, "doors": [101, 102], "card_number": null,
        "flags": { "override_previous": false, "joiner": false, "one_time": false, "common_doors": false },
    });
    assert_eq!(serde_json::to_value(&job.work).unwrap(), expected);
    assert!(desk.finish(&job, &encoded(CARD)).await);
    let attempt = world.attempt(&attempt["action_attempt_id"]).await;
    assert_eq!((&attempt["status"], &attempt["error"]), (&json!("success"), &json!(null)));
    let shown = world.show(&credential).await;
    assert_eq!(attempt["result"], shown, "the result is the credential");
    assert_eq!((&shown["card_number"], &shown["is_issued"]), (&json!(CARD), &json!(true)));
    assert_eq!((&shown["issued_at"], &shown["warnings"]), (&json!("2025-07-13T15:20:00.000Z"), &json!([])));
    assert_eq!(world.events(&format!("acs_credential_id={credential}")).await, ["acs_credential.issued"]);
}

#[tokio::test]
async fn only_the_card_that_a_credential_is_on_may_be_written_again() {
    let world = World::new().await;
    let (desk, encoder) = world.desk().await;
    let credential = world.credential().await;
    desk.encodes(&world, encoder, &credential, &encoded(CARD)).await;
    world.encode(encoder, &credential).await;
    let job = desk.started().await;
    assert_eq!(work(&job).card_number.as_deref(), Some(CARD));
    assert!(desk.finish(&job, &encoded_at(CARD, ISSUED_AT + 60, None)).await);
    let events = world.events(&format!("acs_credential_id={credential}")).await;
    assert_eq!(events, ["acs_credential.issued", "acs_credential.reissued"]);
}

#[tokio::test]
async fn other_times_than_on_the_card_ask_for_a_new_issue() {
    let world = World::new().await;
    let (desk, encoder) = world.desk().await;
    let credential = world.credential().await;
    let update = async |ends_at: &str| {
        let body = json!({ "acs_credential_id": credential, "ends_at": ends_at });
        world.post("/acs/credentials/update", body).await.good("acs_credential")["warnings"].clone()
    };
    assert_eq!(update("2025-07-17T11:00:00Z").await[0]["warning_code"], "waiting_to_be_issued");
    desk.encodes(&world, encoder, &credential, &encoded(CARD)).await;
    assert_eq!(world.show(&credential).await["warnings"], json!([]));
    assert_eq!(update("2025-07-18T11:00:00Z").await[0]["warning_code"], "needs_to_be_reissued");
    assert_eq!(update("2025-07-17T11:00:00.900Z").await, json!([]), "cards carry whole seconds");
    assert_eq!(update("2025-07-18T11:00:00Z").await[0]["warning_code"], "needs_to_be_reissued");
    desk.encodes(&world, encoder, &credential, &encoded_at(CARD, ISSUED_AT + 60, None)).await;
    assert_eq!(world.show(&credential).await["warnings"], json!([]));
}

#[tokio::test]
async fn a_change_while_the_card_is_written_asks_for_a_new_issue() {
    let world = World::new().await;
    let (desk, encoder) = world.desk().await;
    let credential = world.credential().await;
    world.encode(encoder, &credential).await;
    let job = desk.started().await;
    let body = json!({ "acs_credential_id": credential, "ends_at": "2025-07-18T11:00:00Z" });
    world.post("/acs/credentials/update", body).await.good("acs_credential");
    assert!(desk.finish(&job, &encoded(CARD)).await);
    assert_eq!(world.show(&credential).await["warnings"][0]["warning_code"], "needs_to_be_reissued");
}

#[tokio::test]
async fn times_that_no_card_can_carry_are_refused() {
    let world = World::new().await;
    let system = world.system().await;
    for (starts_at, ends_at, parameter) in [
        ("2025-07-13T15:00:00Z", "2025-07-13T15:00:00Z", "ends_at"),
        ("2025-07-13T15:00:00Z", "2025-07-13T15:00:00.999Z", "ends_at"),
        ("1969-12-31T23:59:59Z", "2025-07-13T15:00:00Z", "starts_at"),
        ("2025-07-13T15:00:00Z", "2106-02-07T06:28:15Z", "ends_at"),
    ] {
        let body =
            json!({ "acs_system_id": system, "access_method": "card", "starts_at": starts_at, "ends_at": ends_at });
        world.post("/acs/credentials/create", body).await.invalid(parameter);
    }
    for mode in ["code", "mobile_key", "cloud_key", "fob"] {
        let body = json!({ "acs_system_id": system, "access_method": mode });
        world.post("/acs/credentials/create", body).await.invalid("access_method");
    }
}

async fn scan_of(world: &World, change: impl FnOnce(&mut encoderd::api::bridge::ScannedCredential)) -> (Value, String) {
    let (desk, encoder) = world.desk().await;
    let credential = world.credential().await;
    desk.encodes(world, encoder, &credential, &encoded(CARD)).await;
    let mut on_card = card(&credential);
    change(&mut on_card);
    (desk.scans(world, encoder, &scanned(CARD, Some(on_card))).await, credential)
}

#[tokio::test]
async fn a_scan_of_an_unchanged_card_finds_both_sides_equal() {
    let world = World::new().await;
    let (result, credential) = scan_of(&world, |_| ()).await;
    assert_eq!(result["warnings"], json!([]));
    let (on_encoder, on_seam) = (&result["acs_credential_on_encoder"], &result["acs_credential_on_seam"]);
    assert_eq!(on_seam, &world.show(&credential).await);
    let names: Vec<_> = on_encoder.as_object().unwrap().keys().collect();
    assert_eq!(names, ["card_number", "created_at", "ends_at", "is_issued", "starts_at"]);
    for name in names {
        assert_eq!(on_encoder[name], on_seam[name], "{name}");
    }
}

#[tokio::test]
async fn a_scan_names_the_properties_that_differ() {
    let world = World::new().await;
    let message = |result: &Value| {
        assert_eq!(result["warnings"][0]["warning_code"], "acs_credential_on_encoder_out_of_sync");
        result["warnings"][0]["warning_message"].as_str().unwrap().rsplit(": ").next().unwrap().to_owned()
    };
    let (result, _) = scan_of(&world, |on_card| on_card.ends_at -= 3600).await;
    assert_eq!(message(&result), "ends_at");
    assert_eq!(result["acs_credential_on_encoder"]["ends_at"], "2025-07-16T10:00:00.000Z");
    let (result, _) = scan_of(&world, |on_card| {
        on_card.starts_at += 1;
        on_card.ends_at = u32::MAX;
        on_card.doors = vec![101];
    })
    .await;
    assert_eq!(message(&result), "starts_at, ends_at, doors");
    assert_eq!(result["acs_credential_on_encoder"]["ends_at"], json!(null), "no end");
}

#[tokio::test]
async fn a_scan_of_a_copy_says_that_it_is_another_card() {
    let world = World::new().await;
    let (desk, encoder) = world.desk().await;
    let credential = world.credential().await;
    desk.encodes(&world, encoder, &credential, &encoded(CARD)).await;
    let result = desk.scans(&world, encoder, &scanned(OTHER_CARD, Some(card(&credential)))).await;
    assert!(result["warnings"][0]["warning_message"].as_str().unwrap().ends_with(": card_number"), "{result}");
    assert_eq!(result["acs_credential_on_encoder"]["card_number"], OTHER_CARD);
    assert_eq!(world.show(&credential).await["card_number"], CARD, "a scan issues nothing that was not in doubt");
}

#[tokio::test]
async fn a_scan_of_a_changed_credential_says_what_was_changed() {
    let world = World::new().await;
    let (desk, encoder) = world.desk().await;
    let credential = world.credential().await;
    desk.encodes(&world, encoder, &credential, &encoded(CARD)).await;
    let body = json!({ "acs_credential_id": credential, "ends_at": "2025-07-18T11:00:00Z" });
    world
        .send(reqwest::Method::PATCH, "/acs/credentials/update", "", Some(&body), Some(crate::support::API_KEY))
        .await
        .good("ok");
    let result = desk.scans(&world, encoder, &scanned(CARD, Some(card(&credential)))).await;
    assert!(result["warnings"][0]["warning_message"].as_str().unwrap().ends_with(": ends_at"), "{result}");
    assert_eq!(result["acs_credential_on_seam"]["warnings"][0]["warning_code"], "needs_to_be_reissued");
}

#[tokio::test]
async fn a_scan_of_a_blank_or_foreign_card_finds_nothing_and_of_an_unknown_credential_one_side() {
    let world = World::new().await;
    let (desk, encoder) = world.desk().await;
    let empty = json!({ "acs_credential_on_encoder": null, "acs_credential_on_seam": null, "warnings": [] });
    assert_eq!(desk.scans(&world, encoder, &scanned(CARD, None)).await, empty);
    let result = desk.scans(&world, encoder, &scanned(CARD, Some(card(&Uuid::new_v4().to_string())))).await;
    assert_eq!(result["acs_credential_on_seam"], json!(null));
    assert_eq!(result["warnings"][0]["warning_code"], "acs_credential_on_seam_not_found");
    assert_eq!(result["acs_credential_on_encoder"]["created_at"], "2025-07-13T15:20:00.000Z", "the moment of issue");
    let credential = world.credential().await;
    desk.encodes(&world, encoder, &credential, &encoded(CARD)).await;
    world.post("/acs/credentials/delete", json!({ "acs_credential_id": credential })).await.good("ok");
    let result = desk.scans(&world, encoder, &scanned(CARD, Some(card(&credential)))).await;
    assert_eq!(result["acs_credential_on_seam"], json!(null), "deleted");
    assert_eq!(result["warnings"][0]["warning_code"], "acs_credential_on_seam_not_found");
}

#[tokio::test]
async fn an_overwritten_credential_is_invalidated() {
    let world = World::new().await;
    let (desk, encoder) = world.desk().await;
    let (old, new) = (world.credential().await, world.credential().await);
    desk.encodes(&world, encoder, &old, &encoded(CARD)).await;
    desk.encodes(&world, encoder, &new, &encoded_at(CARD, ISSUED_AT + 60, Some(&old))).await;
    let shown = world.show(&old).await;
    assert_eq!(
        (&shown["is_issued"], &shown["card_number"], &shown["issued_at"]),
        (&json!(false), &json!(null), &json!(null))
    );
    let events = world.events(&format!("acs_credential_id={old}")).await;
    assert_eq!(events, ["acs_credential.issued", "acs_credential.invalidated"]);
    // One that was issued on another card since is still there.
    desk.encodes(&world, encoder, &old, &encoded_at(OTHER_CARD, ISSUED_AT + 90, None)).await;
    desk.encodes(&world, encoder, &new, &encoded_at(CARD, ISSUED_AT + 120, Some(&old))).await;
    assert_eq!(world.show(&old).await["card_number"], OTHER_CARD);
    // Itself, and one that nobody knows.
    desk.encodes(&world, encoder, &new, &encoded_at(CARD, ISSUED_AT + 180, Some(&new))).await;
    desk.encodes(&world, encoder, &new, &encoded_at(CARD, ISSUED_AT + 240, Some(&Uuid::new_v4().to_string()))).await;
    assert_eq!(world.show(&new).await["is_issued"], true);
}

#[tokio::test]
async fn a_late_result_leaves_the_attempt_and_updates_the_credential() {
    let world = World::impatient().await;
    let (desk, encoder) = world.desk().await;
    let credential = world.credential().await;
    let id = world.encode(encoder, &credential).await["action_attempt_id"].clone();
    let job = desk.started().await;
    let settled = world.settled(&id).await;
    assert_eq!(settled["error"]["type"], "action_attempt_expired");
    assert!(!desk.finish(&job, &encoded(CARD)).await);
    assert!(!desk.finish(&job, &encoded(CARD)).await, "sent again");
    assert_eq!(world.attempt(&id).await, settled);
    let shown = world.show(&credential).await;
    assert_eq!((&shown["is_issued"], &shown["card_number"]), (&json!(true), &json!(CARD)));
    assert_eq!(world.events(&format!("acs_credential_id={credential}")).await, ["acs_credential.issued"]);
}

#[tokio::test]
async fn an_older_word_than_what_is_known_changes_nothing() {
    let world = World::impatient().await;
    let (desk, encoder) = world.desk().await;
    let credential = world.credential().await;
    let id = world.encode(encoder, &credential).await["action_attempt_id"].clone();
    let late = desk.started().await;
    world.settled(&id).await;
    desk.encodes(&world, encoder, &credential, &encoded_at(OTHER_CARD, ISSUED_AT + 60, None)).await;
    assert!(!desk.finish(&late, &encoded_at(CARD, ISSUED_AT, None)).await);
    assert_eq!(world.show(&credential).await["card_number"], OTHER_CARD);
}

#[tokio::test]
async fn a_credential_in_doubt_goes_to_the_same_card_until_a_scan_settles_it() {
    let world = World::new().await;
    let (desk, encoder) = world.desk().await;
    let credential = world.credential().await;
    let torn = failed(FaultKind::CardLeft, Some(CARD), true);
    let attempt = desk.encodes(&world, encoder, &credential, &torn).await;
    assert_eq!(attempt["error"]["type"], "encoding_interrupted");
    assert_eq!(world.show(&credential).await["is_issued"], false);
    // The same card again: that is what the job asks for.
    world.encode(encoder, &credential).await;
    let job = desk.started().await;
    assert_eq!(work(&job).card_number.as_deref(), Some(CARD));
    assert!(desk.finish(&job, &failed(FaultKind::NoCard, None, false)).await);
    // A scan of another card says nothing of it; one of the card itself that shows it issues it.
    desk.scans(&world, encoder, &scanned(OTHER_CARD, None)).await;
    let result = desk.scans(&world, encoder, &scanned(CARD, Some(card(&credential)))).await;
    assert_eq!(result["warnings"], json!([]));
    assert_eq!(result["acs_credential_on_seam"]["is_issued"], true);
    assert_eq!(world.events(&format!("acs_credential_id={credential}")).await, ["acs_credential.issued"]);
    // Settled: nothing is in doubt any more, and a further scan tells nothing new.
    desk.scans(&world, encoder, &scanned(CARD, Some(card(&credential)))).await;
    assert_eq!(world.show(&credential).await["is_issued"], true);
    assert_eq!(world.events(&format!("acs_credential_id={credential}")).await.len(), 1);
}

#[tokio::test]
async fn a_scan_without_the_credential_frees_it_for_any_card() {
    let world = World::new().await;
    let (desk, encoder) = world.desk().await;
    for found in [None, Some(card(&Uuid::new_v4().to_string()))] {
        let credential = world.credential().await;
        desk.encodes(&world, encoder, &credential, &failed(FaultKind::CardLeft, Some(CARD), true)).await;
        desk.scans(&world, encoder, &scanned(CARD, found)).await;
        world.encode(encoder, &credential).await;
        let job = desk.started().await;
        assert_eq!(work(&job).card_number, None);
        assert!(desk.finish(&job, &encoded(OTHER_CARD)).await);
    }
}

#[tokio::test]
async fn a_torn_reissue_that_left_the_old_credential_is_no_new_issue() {
    let world = World::new().await;
    let (desk, encoder) = world.desk().await;
    let credential = world.credential().await;
    desk.encodes(&world, encoder, &credential, &encoded(CARD)).await;
    desk.encodes(&world, encoder, &credential, &failed(FaultKind::CardLeft, Some(CARD), true)).await;
    assert_eq!(world.show(&credential).await["is_issued"], true);
    desk.scans(&world, encoder, &scanned(CARD, Some(card(&credential)))).await;
    assert_eq!(world.events(&format!("acs_credential_id={credential}")).await, ["acs_credential.issued"]);
}

/// That a credential is on no card, and that it was said once.
async fn is_invalidated(world: &World, credential: &str) {
    let shown = world.show(credential).await;
    assert_eq!((&shown["is_issued"], &shown["card_number"]), (&json!(false), &json!(null)), "{shown}");
    let events = world.events(&format!("acs_credential_id={credential}")).await;
    assert_eq!(events, ["acs_credential.issued", "acs_credential.invalidated"]);
}

#[tokio::test]
async fn a_card_that_was_written_holds_no_other_credential_even_if_the_desk_does_not_say_so() {
    let world = World::new().await;
    let (desk, encoder) = world.desk().await;
    let (old, torn, new) = (world.credential().await, world.credential().await, world.credential().await);
    desk.encodes(&world, encoder, &old, &encoded(CARD)).await;
    desk.encodes(&world, encoder, &torn, &failed(FaultKind::CardLeft, Some(CARD), true)).await;
    // Written, crashed, and written again over itself: nothing else was on the card any more.
    desk.encodes(&world, encoder, &new, &encoded_at(CARD, ISSUED_AT + 60, None)).await;
    assert_eq!(world.show(&new).await["card_number"], CARD);
    is_invalidated(&world, &old).await;
    world.encode(encoder, &torn).await;
    let job = desk.started().await;
    assert_eq!(work(&job).card_number, None, "nothing is in doubt any more");
    assert!(desk.finish(&job, &encoded_at(OTHER_CARD, ISSUED_AT + 90, None)).await);
    assert_eq!(world.show(&new).await["card_number"], CARD, "another card says nothing of this one");
}

#[tokio::test]
async fn a_scan_invalidates_what_is_not_on_the_card() {
    let world = World::new().await;
    let (desk, encoder) = world.desk().await;
    let unknown = Uuid::new_v4().to_string();
    for found in [None, Some(card(&unknown)), Some(card(&world.credential().await))] {
        let (gone, elsewhere) = (world.credential().await, world.credential().await);
        desk.encodes(&world, encoder, &gone, &encoded(CARD)).await;
        desk.encodes(&world, encoder, &elsewhere, &encoded(OTHER_CARD)).await;
        desk.scans(&world, encoder, &scanned(CARD, found)).await;
        is_invalidated(&world, &gone).await;
        assert_eq!(world.show(&elsewhere).await["card_number"], OTHER_CARD);
    }
}

#[tokio::test]
async fn a_credential_that_is_found_on_a_card_without_the_hub_knowing_is_issued_there() {
    let world = World::new().await;
    let (desk, encoder) = world.desk().await;
    let credential = world.credential().await;
    let result = desk.scans(&world, encoder, &scanned(CARD, Some(card(&credential)))).await;
    assert_eq!(result["warnings"], json!([]));
    assert_eq!(result["acs_credential_on_seam"]["card_number"], CARD);
    // A newer issue on the same card: its desk crashed before it could say so.
    let mut newer = card(&credential);
    newer.issued_at += 60;
    desk.scans(&world, encoder, &scanned(CARD, Some(newer.clone()))).await;
    assert_eq!(world.show(&credential).await["issued_at"], "2025-07-13T15:21:00.000Z");
    let events = world.events(&format!("acs_credential_id={credential}")).await;
    assert_eq!(events, ["acs_credential.issued", "acs_credential.reissued"]);
    // One that may be on another card stays there until that card is seen.
    let torn = world.credential().await;
    desk.encodes(&world, encoder, &torn, &failed(FaultKind::CardLeft, Some(OTHER_CARD), true)).await;
    let result = desk.scans(&world, encoder, &scanned("04112233", Some(card(&torn)))).await;
    assert!(result["warnings"][0]["warning_message"].as_str().unwrap().ends_with(": card_number"), "{result}");
    assert_eq!(world.show(&torn).await["is_issued"], false);
}

#[tokio::test]
async fn an_older_encode_leaves_what_was_written_to_the_card_since() {
    let world = World::impatient().await;
    let (desk, encoder) = world.desk().await;
    let (old, new) = (world.credential().await, world.credential().await);
    for overwritten in [None, Some(new.as_str())] {
        let id = world.encode(encoder, &old).await["action_attempt_id"].clone();
        let late = desk.started().await;
        world.settled(&id).await;
        desk.encodes(&world, encoder, &new, &encoded_at(CARD, ISSUED_AT + 60, None)).await;
        assert!(!desk.finish(&late, &encoded_at(CARD, ISSUED_AT, overwritten)).await);
        assert_eq!(world.show(&new).await["card_number"], CARD);
        assert_eq!(world.show(&old).await["is_issued"], false, "one card holds one credential");
    }
}

#[tokio::test]
async fn a_desk_whose_clock_is_behind_is_believed_when_the_card_showed_what_was_overwritten() {
    let world = World::new().await;
    let (desk, encoder) = world.desk().await;
    let (old, new) = (world.credential().await, world.credential().await);
    desk.encodes(&world, encoder, &old, &encoded(CARD)).await;
    desk.encodes(&world, encoder, &new, &encoded_at(CARD, ISSUED_AT - 3600, Some(&old))).await;
    assert_eq!(world.show(&new).await["card_number"], CARD);
    is_invalidated(&world, &old).await;
}

#[tokio::test]
async fn a_late_scan_counts_unless_the_card_was_written_since() {
    let world = World::impatient().await;
    let (desk, encoder) = world.desk().await;
    let late_scan = async || {
        let id = world.scan(encoder).await["action_attempt_id"].clone();
        let late = desk.started().await;
        world.settled(&id).await;
        late
    };
    let credential = world.credential().await;
    desk.encodes(&world, encoder, &credential, &encoded(CARD)).await;
    let late = late_scan().await;
    desk.encodes(&world, encoder, &credential, &encoded_at(CARD, ISSUED_AT + 60, None)).await;
    assert!(!desk.finish(&late, &scanned(CARD, None)).await);
    assert_eq!(world.show(&credential).await["is_issued"], true, "written since");
    let late = late_scan().await;
    assert!(!desk.finish(&late, &scanned(CARD, None)).await);
    assert_eq!(world.show(&credential).await["is_issued"], false);
}
