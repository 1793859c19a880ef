//! The life of attempts: settled at once, one at a time, expiry.

use crate::support::{CARD, Desk, World, encoded, failed, join, report, scanned};
use encoderd::api::bridge::{EncoderState, StartResponse};
use encoderd::fault::{Fault, FaultKind, Work};
use encoderd::hub::Patience;
use serde_json::{Value, json};
use std::time::Duration;
use uuid::Uuid;

#[track_caller]
fn is_error(attempt: &Value, kind: FaultKind, work: Work) {
    assert_eq!((&attempt["status"], &attempt["result"]), (&json!("error"), &json!(null)), "{attempt}");
    let expected = json!({ "type": kind.error_type(work).as_str(), "message": kind.sentence() });
    assert_eq!(attempt["error"], expected);
}

/// Both kinds of attempt on an encoder fail in the first answer.
async fn fail_at_once(world: &World, encoder: Uuid, credential: &str, kind: FaultKind) {
    is_error(&world.scan(encoder).await, kind, Work::Scan);
    let attempt = world.encode(encoder, credential).await;
    is_error(&attempt, kind, Work::Encode);
    assert_eq!(world.attempt(&attempt["action_attempt_id"]).await, attempt, "and stay so");
}

#[tokio::test]
async fn what_cannot_succeed_is_settled_in_the_first_answer() {
    let world = World::new().await;
    let (desk, encoder) = world.desk().await;
    let credential = world.credential().await;
    for (state, kind) in [
        (EncoderState::Offline, FaultKind::EncoderOffline),
        (EncoderState::Unavailable, FaultKind::PortBusy),
        (EncoderState::Silent, FaultKind::EncoderSilent),
    ] {
        let mut changed = report("usb-1", Some(encoder));
        changed.state = state;
        desk.report(&changed).await;
        fail_at_once(&world, encoder, &credential, kind).await;
    }
    desk.sync(&[]).await;
    fail_at_once(&world, encoder, &credential, FaultKind::EncoderOffline).await;
}

#[tokio::test]
async fn an_unlinked_encoder_is_not_linked_until_it_is_linked_again() {
    let world = World::new().await;
    let (desk, encoder) = world.desk().await;
    let credential = world.credential().await;
    let mut unlinked = report("usb-1", None);
    unlinked.create = false;
    assert!(desk.sync(&[unlinked]).await.links.is_empty());
    fail_at_once(&world, encoder, &credential, FaultKind::EncoderNotLinked).await;
    let shown = world.get("/acs/encoders/get", &format!("acs_encoder_id={encoder}")).await.good("acs_encoder");
    assert_eq!(shown["errors"][0]["error_code"], "acs_encoder_removed");
    assert_eq!(desk.sync(&[report("usb-1", Some(encoder))]).await.links[0].acs_encoder_id, encoder);
    assert_eq!(world.scan(encoder).await["status"], "pending");
    let events = world.events(&format!("acs_encoder_id={encoder}")).await;
    assert_eq!(events, ["acs_encoder.added", "acs_encoder.removed", "acs_encoder.added"]);
}

#[tokio::test]
async fn a_desk_that_does_not_ask_for_work_is_disconnected() {
    let patience = Patience { bridge: Duration::from_millis(200), ..Patience::default() };
    // A deadline so far away that it cannot be what ends the attempt.
    let world = World::with(Duration::from_mins(10), patience).await;
    let (desk, encoder) = world.desk().await;
    let credential = world.credential().await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    fail_at_once(&world, encoder, &credential, FaultKind::BridgeDisconnected).await;
    let shown = &world.get("/encoderd/v1/encoders", "").await.good("encoders")[0];
    assert_eq!((&shown["bridge_connected"], &shown["state"]), (&json!(false), &json!("offline")));
    assert_eq!(shown["fault"]["error_type"], "bridge_disconnected");
    // An open poll keeps it connected for as long as it lasts.
    let poll = tokio::spawn({
        let desk = desk.at(&world);
        async move { desk.next(25, &[]).await }
    });
    tokio::time::sleep(Duration::from_millis(600)).await;
    let attempt = world.scan(encoder).await;
    assert_eq!(attempt["status"], "pending", "{attempt}");
    let job = poll.await.unwrap().expect("the job wakes the poll");
    assert_eq!(json!(job.action_attempt_id), attempt["action_attempt_id"]);
    // It vanishes before it starts.
    let settled = world.settled(&attempt["action_attempt_id"]).await;
    is_error(&settled, FaultKind::BridgeDisconnected, Work::Scan);
}

#[tokio::test]
async fn an_encoder_does_one_thing_at_a_time() {
    let world = World::new().await;
    let (desk, encoder) = world.desk().await;
    let credential = world.credential().await;
    let first = world.scan(encoder).await;
    assert_eq!(first["status"], "pending");
    fail_at_once(&world, encoder, &credential, FaultKind::EncoderBusy).await;
    let job = desk.started().await;
    assert!(desk.finish(&job, &scanned(CARD, None)).await);
    assert_eq!(world.encode(encoder, &credential).await["status"], "pending", "free again");
}

#[tokio::test]
async fn of_simultaneous_encodes_of_one_credential_exactly_one_is_pending() {
    let world = World::new().await;
    let desk = Desk::new(&world);
    let devices: Vec<_> = (0..8).map(|number| report(&format!("usb-{number}"), None)).collect();
    let links = desk.sync(&devices).await.links;
    let credential = world.credential().await;
    let attempts = links.iter().map(|link| world.encode(link.acs_encoder_id, &credential));
    let attempts = join(attempts).await;
    let pending = attempts.iter().filter(|attempt| attempt["status"] == "pending").count();
    assert_eq!(pending, 1, "{attempts:?}");
    for attempt in attempts.iter().filter(|attempt| attempt["status"] != "pending") {
        is_error(attempt, FaultKind::CredentialBusy, Work::Encode);
    }
}

#[tokio::test]
async fn of_simultaneous_scans_on_one_encoder_exactly_one_is_pending() {
    let world = World::new().await;
    let (_desk, encoder) = world.desk().await;
    let attempts = join((0..8).map(|_| world.scan(encoder))).await;
    assert_eq!(attempts.iter().filter(|attempt| attempt["status"] == "pending").count(), 1, "{attempts:?}");
    for attempt in attempts.iter().filter(|attempt| attempt["status"] != "pending") {
        is_error(attempt, FaultKind::EncoderBusy, Work::Scan);
    }
}

#[tokio::test]
async fn of_many_simultaneous_encodes_each_encoder_and_each_credential_has_at_most_one() {
    let world = World::new().await;
    let desk = Desk::new(&world);
    let devices: Vec<_> = (0..6).map(|number| report(&format!("usb-{number}"), None)).collect();
    let links = desk.sync(&devices).await.links;
    let mut credentials = Vec::new();
    for _ in 0..6 {
        credentials.push(world.credential().await);
    }
    let pairs: Vec<_> = links
        .iter()
        .flat_map(|link| credentials.iter().map(move |credential| (link.acs_encoder_id, credential)))
        .collect();
    let attempts = join(pairs.iter().map(|(encoder, credential)| world.encode(*encoder, credential))).await;
    let pending: Vec<_> = pairs
        .iter()
        .zip(&attempts)
        .filter_map(|(pair, attempt)| (attempt["status"] == "pending").then_some(pair))
        .collect();
    assert!(!pending.is_empty());
    for (index, (encoder, credential)) in pending.iter().enumerate() {
        for (other_encoder, other_credential) in pending.iter().skip(index + 1) {
            assert!(encoder != other_encoder && credential != other_credential, "{pending:?}");
        }
    }
    // None is refused without cause: what is left has a busy encoder or a busy credential.
    for ((encoder, credential), attempt) in pairs.iter().zip(&attempts).filter(|(_, one)| one["status"] != "pending") {
        let is_busy = pending.iter().any(|(busy, being_written)| busy == encoder || being_written == credential);
        assert!(is_busy, "{attempt}");
    }
    let mut in_hand = Vec::new();
    while let Some(job) = desk.next(0, &in_hand).await {
        in_hand.push(job.action_attempt_id);
    }
    assert_eq!(in_hand.len(), pending.len(), "a job for each");
}

#[tokio::test]
async fn exactly_one_of_credential_and_access_method_is_encoded() {
    let world = World::new().await;
    let (_desk, encoder) = world.desk().await;
    let credential = world.credential().await;
    let both =
        json!({ "acs_encoder_id": encoder, "acs_credential_id": credential, "access_method_id": Uuid::new_v4() });
    world.post("/acs/encoders/encode_credential", both).await.refused(400, "invalid_input");
    let unknown = json!({ "acs_encoder_id": encoder, "access_method_id": Uuid::new_v4() });
    world.post("/acs/encoders/encode_credential", unknown).await.refused(404, "access_method_not_found");
    let unknown = json!({ "acs_encoder_id": Uuid::new_v4(), "acs_credential_id": credential });
    world.post("/acs/encoders/encode_credential", unknown).await.refused(404, "acs_encoder_not_found");
}

#[tokio::test]
async fn an_attempt_that_nobody_starts_expires_and_a_late_start_is_refused() {
    let world = World::impatient().await;
    let (desk, encoder) = world.desk().await;
    let attempt = world.scan(encoder).await;
    let job = desk.job().await;
    assert_eq!(job.card_wait_ms, 400);
    let settled = world.settled(&attempt["action_attempt_id"]).await;
    is_error(&settled, FaultKind::Expired, Work::Scan);
    assert!(matches!(desk.start(&job).await, StartResponse::Refused { .. }));
    assert!(!desk.finish(&job, &scanned(CARD, None)).await, "late");
    assert_eq!(world.attempt(&attempt["action_attempt_id"]).await, settled, "a settled attempt never changes");
}

#[tokio::test]
async fn a_desk_that_goes_away_is_what_ends_an_attempt_also_when_its_time_is_short() {
    let world = World::with(Duration::from_secs(1), Patience::default()).await;
    let (desk, encoder) = world.desk().await;
    let attempt = world.scan(encoder).await;
    desk.job().await;
    let settled = world.settled(&attempt["action_attempt_id"]).await;
    is_error(&settled, FaultKind::BridgeDisconnected, Work::Scan);
}

#[tokio::test]
async fn a_start_after_the_deadline_is_refused_even_before_the_attempt_was_swept() {
    let patience = Patience { work: Duration::from_millis(200), ..Patience::default() };
    let world = World::with(Duration::from_millis(300), patience).await;
    let (desk, encoder) = world.desk().await;
    let attempt = world.scan(encoder).await;
    let job = desk.job().await;
    tokio::time::sleep(Duration::from_millis(520)).await;
    assert!(matches!(desk.start(&job).await, StartResponse::Refused { .. }));
    is_error(&world.attempt(&attempt["action_attempt_id"]).await, FaultKind::Expired, Work::Scan);
}

#[tokio::test]
async fn a_started_attempt_is_given_up_only_well_after_its_deadline() {
    let world = World::impatient().await;
    let (desk, encoder) = world.desk().await;
    let id = world.scan(encoder).await["action_attempt_id"].clone();
    let job = desk.job().await;
    let StartResponse::Go { remaining_ms } = desk.start(&job).await else { panic!("refused") };
    assert!((1..=800).contains(&remaining_ms), "{remaining_ms}");
    tokio::time::sleep(Duration::from_millis(remaining_ms + 300)).await;
    assert_eq!(world.attempt(&id).await["status"], "pending", "the desk may still be writing");
    is_error(&world.settled(&id).await, FaultKind::Expired, Work::Scan);
}

#[tokio::test]
async fn a_result_between_deadline_and_giving_up_still_counts() {
    let world = World::impatient().await;
    let (desk, encoder) = world.desk().await;
    let credential = world.credential().await;
    let id = world.encode(encoder, &credential).await["action_attempt_id"].clone();
    let job = desk.started().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(desk.finish(&job, &encoded(CARD)).await);
    assert_eq!(world.attempt(&id).await["status"], "success");
}

#[tokio::test]
async fn an_encoder_that_goes_away_ends_an_attempt_that_was_not_started() {
    let world = World::new().await;
    let (desk, encoder) = world.desk().await;
    let mut gone = report("usb-1", Some(encoder));
    gone.state = EncoderState::Silent;
    gone.fault = Some(Fault::with_detail(FaultKind::EncoderSilent, "no answer to GetFirmwareVersion"));
    let id = world.scan(encoder).await["action_attempt_id"].clone();
    let job = desk.job().await;
    desk.report(&gone).await;
    assert!(matches!(desk.start(&job).await, StartResponse::Refused { .. }));
    let attempt = world.attempt(&id).await;
    assert_eq!(attempt["error"]["type"], "encoder_communication_timeout");
    assert!(attempt["error"]["message"].as_str().unwrap().contains("GetFirmwareVersion"), "the desk's own words");
    // Started: the desk itself says how it ends.
    desk.report(&report("usb-1", Some(encoder))).await;
    let id = world.scan(encoder).await["action_attempt_id"].clone();
    let job = desk.started().await;
    desk.report(&gone).await;
    assert_eq!(world.attempt(&id).await["status"], "pending");
    assert!(desk.finish(&job, &failed(FaultKind::EncoderSilent, None, false)).await);
    // Gone from the list: unplugged.
    desk.sync(&[report("usb-1", Some(encoder))]).await;
    let id = world.scan(encoder).await["action_attempt_id"].clone();
    desk.sync(&[]).await;
    is_error(&world.attempt(&id).await, FaultKind::EncoderOffline, Work::Scan);
}

#[tokio::test]
async fn a_credential_that_is_deleted_while_its_job_waits_is_not_written() {
    let world = World::new().await;
    let (desk, encoder) = world.desk().await;
    let credential = world.credential().await;
    let id = world.encode(encoder, &credential).await["action_attempt_id"].clone();
    let job = desk.job().await;
    world.post("/acs/credentials/delete", json!({ "acs_credential_id": credential })).await.good("ok");
    is_error(&world.attempt(&id).await, FaultKind::CredentialDeleted, Work::Encode);
    let StartResponse::Refused { reason } = desk.start(&job).await else { panic!("started") };
    assert!(!reason.is_empty());
    let gone = json!({ "acs_encoder_id": encoder, "acs_credential_id": credential });
    world.post("/acs/encoders/encode_credential", gone).await.refused(404, "acs_credential_not_found");
    assert_eq!(world.events(&format!("acs_credential_id={credential}")).await, ["acs_credential.deleted"]);
}

#[tokio::test]
async fn failures_reach_the_caller_with_the_error_type_of_their_work() {
    let world = World::new().await;
    let (desk, encoder) = world.desk().await;
    let credential = world.credential().await;
    for kind in [FaultKind::NoCard, FaultKind::ForeignCard, FaultKind::CardLeft, FaultKind::CredentialOnAnotherCard] {
        let attempt = desk.encodes(&world, encoder, &credential, &failed(kind, None, false)).await;
        is_error(&attempt, kind, Work::Encode);
        let id = world.scan(encoder).await["action_attempt_id"].clone();
        let job = desk.started().await;
        desk.finish(&job, &failed(kind, None, false)).await;
        is_error(&world.attempt(&id).await, kind, Work::Scan);
    }
    assert_eq!(world.show(&credential).await["is_issued"], false);
    assert!(world.events(&format!("acs_credential_id={credential}")).await.is_empty());
}
