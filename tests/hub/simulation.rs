//! Ends of encodes and scans that were arranged.

use crate::support::{CARD, ISSUED_AT, World, card, encoded, encoded_at, join, scanned};
use encoderd::api::bridge::JobWork;
use encoderd::hub::{Patience, Settings};
use serde_json::{Value, json};
use uuid::Uuid;

const FAIL: &str = "next_credential_encode_will_fail";
const SUCCEED: &str = "next_credential_encode_will_succeed";
const SCAN_FAIL: &str = "next_credential_scan_will_fail";
const SCAN_SUCCEED: &str = "next_credential_scan_will_succeed";

async fn arrange(world: &World, what: &str, encoder: Uuid, more: Value) {
    let mut body = json!({ "acs_encoder_id": encoder });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let answer = world.post(&format!("/acs/encoders/simulate/{what}"), body).await;
    assert_eq!((answer.status.as_u16(), &answer.body), (200, &json!({ "ok": true })));
}

#[tokio::test]
async fn an_arranged_failure_ends_the_next_encode_and_no_other() {
    let world = World::new().await;
    let (desk, encoder) = world.desk().await;
    let credential = world.credential().await;
    for code in ["no_credential_on_encoder", "encoding_interrupted", "uncategorized_error", "action_attempt_expired"] {
        arrange(&world, FAIL, encoder, json!({ "error_code": code })).await;
        let attempt = world.encode(encoder, &credential).await;
        assert_eq!((&attempt["status"], &attempt["error"]["type"]), (&json!("error"), &json!(code)));
        assert!(attempt["error"]["message"].as_str().unwrap().ends_with("(simulated)"), "{attempt}");
        assert_eq!(world.attempt(&attempt["action_attempt_id"]).await, attempt);
    }
    assert!(desk.next(0, &[]).await.is_none(), "no desk hears of it");
    assert_eq!(world.show(&credential).await["is_issued"], false);
    assert_eq!(desk.encodes(&world, encoder, &credential, &encoded(CARD)).await["status"], "success", "the real one");
}

#[tokio::test]
async fn an_arranged_end_is_for_one_kind_of_work_and_the_last_one_counts() {
    let world = World::new().await;
    let (desk, encoder) = world.desk().await;
    let credential = world.credential().await;
    arrange(&world, FAIL, encoder, json!({})).await;
    arrange(&world, SUCCEED, encoder, json!({})).await;
    let id = world.scan(encoder).await["action_attempt_id"].clone();
    let job = desk.started().await;
    assert!(desk.finish(&job, &scanned(CARD, None)).await);
    assert_eq!(world.attempt(&id).await["status"], "success", "a scan is not an encode");
    assert_eq!(world.encode(encoder, &credential).await["status"], "success");
}

#[tokio::test]
async fn an_arranged_failure_of_one_credential_waits_for_it() {
    let world = World::new().await;
    let (desk, encoder) = world.desk().await;
    let (named, other) = (world.credential().await, world.credential().await);
    let only = json!({ "error_code": "uncategorized_error", "acs_credential_id": named });
    arrange(&world, FAIL, encoder, only).await;
    assert_eq!(desk.encodes(&world, encoder, &other, &encoded(CARD)).await["status"], "success");
    assert_eq!(world.encode(encoder, &named).await["error"]["type"], "uncategorized_error");
    assert_eq!(world.encode(encoder, &named).await["status"], "pending");
}

#[tokio::test]
async fn of_simultaneous_encodes_exactly_one_takes_the_arranged_end() {
    let world = World::new().await;
    let (_desk, encoder) = world.desk().await;
    let mut credentials = Vec::new();
    for _ in 0..8 {
        credentials.push(world.credential().await);
    }
    arrange(&world, FAIL, encoder, json!({})).await;
    let attempts = join(credentials.iter().map(|credential| world.encode(encoder, credential))).await;
    let count = |of: &dyn Fn(&Value) -> bool| attempts.iter().filter(|attempt| of(attempt)).count();
    assert_eq!(count(&|attempt| attempt["error"]["type"] == "no_credential_on_encoder"), 1, "{attempts:?}");
    assert_eq!(count(&|attempt| attempt["status"] == "pending"), 1, "{attempts:?}");
    assert_eq!(count(&|attempt| attempt["error"]["type"] == "uncategorized_error"), 6, "{attempts:?}");
}

#[tokio::test]
async fn a_busy_encoder_keeps_its_arranged_end() {
    let world = World::new().await;
    let (desk, encoder) = world.desk().await;
    let credential = world.credential().await;
    world.scan(encoder).await;
    arrange(&world, FAIL, encoder, json!({})).await;
    assert_eq!(world.encode(encoder, &credential).await["error"]["type"], "uncategorized_error");
    let job = desk.started().await;
    assert!(desk.finish(&job, &scanned(CARD, None)).await);
    assert_eq!(world.encode(encoder, &credential).await["error"]["type"], "no_credential_on_encoder");
}

#[tokio::test]
async fn a_played_issue_is_told_from_a_real_one_and_binds_no_card() {
    let world = World::new().await;
    let (desk, encoder) = world.desk().await;
    let credential = world.credential().await;
    arrange(&world, SUCCEED, encoder, json!({ "scenario": "credential_is_issued" })).await;
    let attempt = world.encode(encoder, &credential).await;
    assert_eq!((&attempt["status"], &attempt["result"]), (&json!("success"), &world.show(&credential).await));
    let number = attempt["result"]["card_number"].as_str().unwrap().to_owned();
    assert!(number.starts_with("simulated-") && number.len() == 18, "{number}");
    assert_eq!((&attempt["result"]["is_issued"], &attempt["result"]["warnings"]), (&json!(true), &json!([])));
    // Again: the same card.
    arrange(&world, SUCCEED, encoder, json!({})).await;
    assert_eq!(world.encode(encoder, &credential).await["result"]["card_number"], number.as_str());
    // For real: any card, though its desk's clock is behind.
    world.encode(encoder, &credential).await;
    let job = desk.started().await;
    let JobWork::Encode(work) = &job.work else { panic!("a scan") };
    assert_eq!(work.card_number, None, "no desk hears of a played card");
    assert!(desk.finish(&job, &encoded_at(CARD, ISSUED_AT, None)).await);
    assert_eq!(world.show(&credential).await["card_number"], CARD);
    let events = world.events(&format!("acs_credential_id={credential}")).await;
    assert_eq!(events, ["acs_credential.issued", "acs_credential.reissued", "acs_credential.reissued"]);
    // On a real card: it stays there.
    arrange(&world, SUCCEED, encoder, json!({})).await;
    assert_eq!(world.encode(encoder, &credential).await["error"]["type"], "credential_cannot_be_reissued");
    assert_eq!(world.show(&credential).await["card_number"], CARD);
}

#[tokio::test]
async fn a_played_issue_gives_way_to_a_scan_of_a_real_card() {
    let world = World::new().await;
    let (desk, encoder) = world.desk().await;
    let credential = world.credential().await;
    arrange(&world, SUCCEED, encoder, json!({})).await;
    world.encode(encoder, &credential).await;
    desk.scans(&world, encoder, &scanned(CARD, Some(card(&credential)))).await;
    assert_eq!(world.show(&credential).await["card_number"], CARD);
}

#[tokio::test]
async fn arranged_scans_find_what_their_scenario_says() {
    let world = World::new().await;
    let (desk, encoder) = world.desk().await;
    let credential = world.credential().await;
    desk.encodes(&world, encoder, &credential, &encoded(CARD)).await;
    let shown = world.show(&credential).await;
    for code in ["no_credential_on_encoder", "uncategorized_error", "action_attempt_expired"] {
        arrange(&world, SCAN_FAIL, encoder, json!({ "error_code": code })).await;
        assert_eq!(world.scan(encoder).await["error"]["type"], code);
    }
    let scan = async |more: Value| {
        arrange(&world, SCAN_SUCCEED, encoder, more).await;
        let attempt = world.scan(encoder).await;
        assert_eq!(attempt["status"], "success", "{attempt}");
        attempt["result"].clone()
    };
    // Without a name: the credential that was issued last.
    for more in [json!({}), json!({ "acs_credential_id_on_seam": credential })] {
        let result = scan(more).await;
        assert_eq!((&result["acs_credential_on_seam"], &result["warnings"]), (&shown, &json!([])));
        for name in ["card_number", "starts_at", "ends_at", "created_at", "is_issued"] {
            assert_eq!(result["acs_credential_on_encoder"][name], shown[name], "{name}");
        }
    }
    let result = scan(json!({ "scenario": "credential_on_encoder_needs_update" })).await;
    assert_eq!(result["warnings"][0]["warning_code"], "acs_credential_on_encoder_out_of_sync");
    assert_ne!(result["acs_credential_on_encoder"]["ends_at"], shown["ends_at"]);
    let result = scan(json!({ "scenario": "credential_does_not_exist_on_seam" })).await;
    assert_eq!(result["warnings"][0]["warning_code"], "acs_credential_on_seam_not_found");
    assert_eq!(result["acs_credential_on_seam"], json!(null));
    assert!(result["acs_credential_on_encoder"]["card_number"].as_str().unwrap().starts_with("simulated-"));
    let result = scan(json!({ "scenario": "credential_on_encoder_is_empty" })).await;
    let empty = json!({ "acs_credential_on_encoder": null, "acs_credential_on_seam": null, "warnings": [] });
    assert_eq!(result, empty);
    assert_eq!(world.show(&credential).await, shown, "what is known of real cards stays");
}

#[tokio::test]
async fn an_arranged_scan_assigns_too() {
    let world = World::new().await;
    let (_desk, encoder) = world.desk().await;
    let system = world.system().await;
    let body = json!({ "acs_system_id": system, "access_method": "card" });
    let credential = world.made("/acs/credentials/create", body, "acs_credential").await["acs_credential_id"].clone();
    let user = json!({ "acs_system_id": system, "full_name": "Jane Doe" });
    let user = world.made("/acs/users/create", user, "acs_user").await["acs_user_id"].clone();
    let assign = async |what: &str, more: Value| {
        arrange(&world, what, encoder, more).await;
        let body = json!({ "acs_encoder_id": encoder, "acs_user_id": user });
        world.made("/acs/encoders/scan_to_assign_credential", body, "action_attempt").await
    };
    let attempt = assign(SCAN_SUCCEED, json!({ "acs_credential_id_on_seam": credential })).await;
    assert_eq!((&attempt["status"], &attempt["result"]["acs_user_id"]), (&json!("success"), &user));
    for (what, more, code) in [
        (SCAN_SUCCEED, json!({ "scenario": "credential_on_encoder_is_empty" }), "no_credential_on_encoder"),
        (SCAN_SUCCEED, json!({ "scenario": "credential_does_not_exist_on_seam" }), "uncategorized_error"),
        (SCAN_FAIL, json!({}), "no_credential_on_encoder"),
        (SCAN_FAIL, json!({ "error_code": "action_attempt_expired" }), "action_attempt_expired"),
    ] {
        let attempt = assign(what, more).await;
        assert_eq!(attempt["error"]["type"], code, "{attempt}");
    }
}

#[tokio::test]
async fn a_sandbox_needs_no_desk() {
    let world = World::new().await;
    let (desk, encoder) = world.desk().await;
    desk.sync(&[]).await;
    let credential = world.credential().await;
    arrange(&world, SUCCEED, encoder, json!({})).await;
    assert_eq!(world.encode(encoder, &credential).await["status"], "success");
    assert_eq!(world.encode(encoder, &credential).await["error"]["type"], "encoder_not_online");
}

#[tokio::test]
async fn bodies_are_closed() {
    let world = World::new().await;
    let (_desk, encoder) = world.desk().await;
    for what in [FAIL, SUCCEED, SCAN_FAIL, SCAN_SUCCEED] {
        let body = json!({ "acs_encoder_id": encoder, "colour": "blue" });
        let answer = world.post(&format!("/acs/encoders/simulate/{what}"), body).await;
        let error = answer.refused(400, "invalid_input");
        assert!(error["message"].as_str().unwrap().contains("colour"), "{error}");
    }
}

#[tokio::test]
async fn where_it_is_not_allowed_nothing_is_arranged_and_the_configurations_key_is_named() {
    let world = World::set(Patience::default(), |settings| Settings { allow_simulate: false, ..settings }).await;
    let (_desk, encoder) = world.desk().await;
    for what in [FAIL, SUCCEED, SCAN_FAIL, SCAN_SUCCEED] {
        let answer = world.post(&format!("/acs/encoders/simulate/{what}"), json!({ "acs_encoder_id": encoder })).await;
        let error = answer.refused(403, "forbidden");
        assert!(error["message"].as_str().unwrap().contains("allow_simulate"), "{error}");
    }
    assert_eq!(world.scan(encoder).await["status"], "pending");
}
