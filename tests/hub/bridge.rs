//! What desks' daemons are told: links, offers, redelivery, fences.

use crate::support::{API_KEY, CARD, Desk, World, encoded, failed, report, scanned};
use encoderd::api::bridge::{EncoderState, Presence, RefusedLink, StartResponse, SyncResponse};
use encoderd::clock;
use encoderd::fault::{Fault, FaultKind};
use encoderd::hub::Patience;
use encoderd::upstream::{Account, UpstreamError};
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use uuid::Uuid;

#[tokio::test]
async fn a_device_keeps_its_encoder() {
    let world = World::new().await;
    let desk = Desk::new(&world);
    let first = desk.sync(&[report("usb-1", None), report("usb-2", None)]).await.links;
    assert_eq!(first.len(), 2);
    assert_ne!(first[0].acs_encoder_id, first[1].acs_encoder_id);
    let again = desk.sync(&[report("usb-1", None), report("usb-2", None)]).await.links;
    assert_eq!(again, first, "the answer to the first sync was lost");
    let mut not_asked = report("usb-3", None);
    not_asked.create = false;
    assert_eq!(desk.sync(&[not_asked]).await.links, [], "a device gets an encoder only when asked for");
    let mut renamed = report("usb-1", Some(first[0].acs_encoder_id));
    renamed.display_name = "Back Office".to_owned();
    desk.sync(&[renamed]).await;
    let id = first[0].acs_encoder_id;
    let shown = world.get("/acs/encoders/get", &format!("acs_encoder_id={id}")).await.good("acs_encoder");
    assert_eq!(shown["display_name"], "Back Office");
    assert_eq!(world.events("event_type=acs_encoder.added").await.len(), 2);
}

#[tokio::test]
async fn a_link_moves_to_another_desk_only_when_asked_for() {
    let world = World::new().await;
    let desk = Desk::new(&world);
    let id = Uuid::new_v4();
    assert_eq!(desk.sync(&[report("usb-1", Some(id))]).await.links[0].acs_encoder_id, id);
    assert_eq!(world.scan(id).await["status"], "pending");
    // Another desk names it too: it stays where it is, also when its own desk has not got the device any more.
    let other = Desk::new(&world);
    for _ in 0..2 {
        let answer = other.sync(&[report("usb-9", Some(id))]).await;
        assert!(answer.links.is_empty(), "{answer:?}");
        let refused = RefusedLink { device_id: "usb-9".to_owned(), acs_encoder_id: id, held_by: None };
        assert_eq!(answer.refused, [refused]);
        desk.sync(&[]).await;
    }
    assert_eq!(world.settled(&world.scan(id).await["action_attempt_id"]).await["error"]["type"], "encoder_not_online");
    // Asked for, it moves, and its first desk is told.
    let asked = json!({ "version": "0.0.0", "encoders": [report("usb-9", Some(id))], "take_over": id });
    let answer: SyncResponse = other.send("encoders/sync", asked).await;
    assert_eq!(answer.links[0].acs_encoder_id, id);
    assert_eq!(desk.sync(&[report("usb-1", Some(id))]).await.refused.len(), 1);
    assert_eq!(other.sync(&[report("usb-9", Some(id))]).await.links[0].acs_encoder_id, id);
    assert_eq!(world.scan(id).await["status"], "pending");
    assert!(desk.next(0, &[]).await.is_none());
    assert!(other.next(0, &[]).await.is_some());
}

#[tokio::test]
async fn live_state_is_what_the_desk_last_said() {
    let world = World::new().await;
    let (desk, encoder) = world.desk().await;
    let show = async || world.get("/encoderd/v1/encoders", "").await.good("encoders")[0].clone();
    let shown = show().await;
    let expected = json!({
        "acs_encoder_id": encoder, "display_name": "Front Desk usb-1", "device_id": "usb-1", "port": "/dev/ttyUSB0",
        "model": "PN532", "firmware": "1.6", "simulated": true, "state": "online", "presence": "absent",
        "card_number": null, "fault": null, "bridge_connected": true, "updated_at": shown["updated_at"],
    });
    assert_eq!(shown, expected);
    let mut changed = report("usb-1", Some(encoder));
    changed.presence = Presence::Several;
    changed.card_number = Some(CARD.to_owned());
    changed.fault = Some(Fault::from(FaultKind::SeveralCards));
    desk.report(&changed).await;
    let shown = show().await;
    assert_eq!((&shown["presence"], &shown["card_number"]), (&json!("several"), &json!(CARD)));
    assert_eq!(shown["fault"]["kind"], "several_cards");
    assert_eq!(shown["fault"]["error_type"], "uncategorized_error");
    desk.sync(&[]).await;
    let shown = show().await;
    assert_eq!((&shown["state"], &shown["card_number"]), (&json!("offline"), &json!(null)));
    let answer = world.send(Method::POST, "/encoderd/v1/encoders", "", Some(&json!({})), Some(API_KEY)).await;
    assert_eq!(answer.good("encoders")[0]["device_id"], "usb-1");
}

#[tokio::test]
async fn a_job_wakes_a_poll_at_once_and_goes_to_its_own_desk() {
    let world = World::new().await;
    let (desk, encoder) = world.desk().await;
    let stranger = Desk::new(&world);
    stranger.sync(&[report("usb-1", None)]).await;
    let poll = tokio::spawn({
        let desk = desk.at(&world);
        async move { (desk.next(20, &[]).await, clock::now()) }
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    let asked = clock::now();
    world.scan(encoder).await;
    let (job, told) = poll.await.unwrap();
    assert_eq!(job.expect("a job").acs_encoder_id, encoder);
    assert!(told.duration_since(asked) < Duration::from_secs(3), "{:?}", told.duration_since(asked));
    assert!(stranger.next(0, &[]).await.is_none());
}

#[tokio::test]
async fn a_poll_ends_when_its_wait_is_over() {
    let world = World::new().await;
    let (desk, _) = world.desk().await;
    let begun = clock::now();
    assert!(desk.next(1, &[]).await.is_none());
    let lasted = begun.elapsed();
    assert!(lasted >= Duration::from_secs(1) && lasted < Duration::from_secs(4), "{lasted:?}");
}

#[tokio::test]
async fn a_desk_that_lost_its_job_gets_it_again_under_a_higher_fence() {
    let world = World::new().await;
    let (desk, encoder) = world.desk().await;
    let credential = world.credential().await;
    let attempt = world.encode(encoder, &credential).await;
    let offered = desk.job().await;
    assert!(desk.next(0, &[offered.action_attempt_id]).await.is_none(), "it has it in hand");
    // Offered, and the answer was lost.
    let again = desk.job().await;
    assert_eq!((again.action_attempt_id, &again.work), (offered.action_attempt_id, &offered.work));
    assert!(again.fence > offered.fence);
    assert!(matches!(desk.start(&offered).await, StartResponse::Refused { .. }), "the older offer is void");
    assert!(matches!(desk.start(&again).await, StartResponse::Go { .. }));
    assert!(desk.next(0, &[again.action_attempt_id]).await.is_none());
    // Started, and the daemon was restarted empty-handed.
    let third = desk.started().await;
    assert_eq!(json!(third.action_attempt_id), attempt["action_attempt_id"]);
    assert!(third.fence > again.fence);
    assert!(desk.finish(&third, &encoded(CARD)).await);
    assert!(desk.next(0, &[]).await.is_none(), "done is done");
}

#[tokio::test]
async fn a_second_poll_that_was_open_before_does_not_steal_the_job() {
    let world = World::new().await;
    let (desk, encoder) = world.desk().await;
    let poll = |desk: &Desk| {
        let desk = desk.at(&world);
        tokio::spawn(async move { desk.next(3, &[]).await })
    };
    let (first, second) = (poll(&desk), poll(&desk));
    tokio::time::sleep(Duration::from_millis(600)).await;
    world.scan(encoder).await;
    let jobs = [first.await.unwrap(), second.await.unwrap()];
    assert_eq!(jobs.iter().flatten().count(), 1, "{jobs:?}");
}

#[tokio::test]
async fn an_offer_that_is_never_started_goes_to_an_older_poll_after_its_lease() {
    let patience = Patience { lease: Duration::from_millis(300), ..Patience::default() };
    let world = World::with(Duration::from_secs(8), patience).await;
    let (desk, encoder) = world.desk().await;
    let poll = |desk: &Desk| {
        let desk = desk.at(&world);
        tokio::spawn(async move { desk.next(5, &[]).await })
    };
    let (first, second) = (poll(&desk), poll(&desk));
    tokio::time::sleep(Duration::from_millis(600)).await;
    world.scan(encoder).await;
    let (first, second) = (first.await.unwrap().unwrap(), second.await.unwrap().unwrap());
    assert_eq!(first.action_attempt_id, second.action_attempt_id);
    assert_ne!(first.fence, second.fence);
}

#[tokio::test]
async fn a_result_that_is_sent_again_gets_the_same_answer_and_changes_nothing() {
    let world = World::new().await;
    let (desk, encoder) = world.desk().await;
    let credential = world.credential().await;
    let id = world.encode(encoder, &credential).await["action_attempt_id"].clone();
    let job = desk.started().await;
    assert!(desk.finish(&job, &encoded(CARD)).await);
    let settled = world.attempt(&id).await;
    let events = world.events("").await;
    assert!(desk.finish(&job, &encoded(CARD)).await);
    assert!(desk.finish(&job, &failed(FaultKind::NoCard, None, false)).await, "the first one counts");
    assert_eq!(world.attempt(&id).await, settled);
    assert_eq!(world.events("").await, events);
}

#[tokio::test]
async fn a_result_under_an_older_fence_is_late() {
    let world = World::new().await;
    let (desk, encoder) = world.desk().await;
    let credential = world.credential().await;
    let id = world.encode(encoder, &credential).await["action_attempt_id"].clone();
    let old = desk.started().await;
    let new = desk.started().await;
    assert!(!desk.finish(&old, &encoded(CARD)).await);
    assert_eq!(world.attempt(&id).await["status"], "pending", "the newer offer settles it");
    assert_eq!(world.show(&credential).await["card_number"], CARD, "but the card was written");
    assert!(desk.finish(&new, &failed(FaultKind::NoCard, None, false)).await);
    assert_eq!(world.attempt(&id).await["error"]["type"], "no_credential_on_encoder");
}

#[tokio::test]
async fn a_result_that_does_not_fit_its_job_is_refused_and_one_of_an_unknown_job_acknowledged() {
    let world = World::new().await;
    let (desk, encoder) = world.desk().await;
    world.scan(encoder).await;
    let mut job = desk.started().await;
    let send = async |job: &encoderd::api::bridge::Job, outcome: &encoderd::api::bridge::Outcome| {
        let body = json!({ "bridge_id": desk.bridge_id, "action_attempt_id": job.action_attempt_id, "fence": job.fence, "outcome": outcome });
        world.send(Method::POST, "/bridge/v1/jobs/result", "", Some(&body), Some(crate::support::BRIDGE_TOKEN)).await
    };
    send(&job, &encoded(CARD)).await.invalid("outcome");
    job.fence += 1;
    send(&job, &scanned(CARD, None)).await.invalid("fence");
    job.action_attempt_id = Uuid::new_v4();
    assert!(!desk.finish(&job, &scanned(CARD, None)).await, "or the desk would send it for ever");
    assert!(matches!(desk.start(&job).await, StartResponse::Refused { .. }));
}

#[tokio::test]
async fn progress_and_faults_without_a_start_are_taken() {
    let world = World::new().await;
    let (desk, encoder) = world.desk().await;
    let id = world.scan(encoder).await["action_attempt_id"].clone();
    let job = desk.job().await;
    let _: Value = desk
        .send("jobs/progress", json!({ "action_attempt_id": job.action_attempt_id, "progress": "card_seen" }))
        .await;
    assert!(desk.finish(&job, &failed(FaultKind::EncoderOffline, None, false)).await);
    assert_eq!(world.attempt(&id).await["error"]["type"], "encoder_not_online");
    let mut gone = report("usb-1", Some(encoder));
    gone.state = EncoderState::Offline;
    desk.report(&gone).await;
}

#[tokio::test]
async fn an_account_lists_all_of_its_encoders_page_by_page() {
    let world = World::new().await;
    let desk = Desk::new(&world);
    let reports: Vec<_> = (0..230).map(|number| report(&format!("usb-{number}"), None)).collect();
    let links = desk.sync(&reports).await.links;
    let account = Account::new(&world.base, API_KEY.into()).unwrap();
    let listed = account.encoders().await.unwrap();
    assert_eq!(listed.len(), 230);
    let listed_ids: BTreeSet<Uuid> = listed.iter().map(|encoder| encoder.acs_encoder_id).collect();
    assert_eq!(listed_ids, links.iter().map(|link| link.acs_encoder_id).collect());
    assert!(listed.iter().any(|encoder| encoder.display_name == "Front Desk usb-7" && !encoder.is_free()));
    let stranger = Account::new(&world.base, "seam_of_nobody_12345".into()).unwrap();
    assert!(matches!(stranger.encoders().await, Err(UpstreamError::KeyRefused { .. })));
}
