//! Desks that are paired by a code, and what one desk can do about another's encoders and jobs.

use crate::admin::{in_workspace, workspace};
use crate::support::{Answer, BRIDGE_TOKEN, CARD, Desk, OTHER_CARD, SOON, World, encoded, report};
use encoderd::api::bridge::{EncoderState, StartResponse};
use encoderd::clock::Deadline;
use encoderd::hub::{Patience, Settings};
use encoderd::store::hub::SCHEMA;
use encoderd::store::{Database, Realm};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;
use uuid::Uuid;

async fn code(world: &World, name: &str) -> String {
    let code = world.made("/encoderd/v1/pairing_codes/create", json!({ "name": name }), "pairing_code").await;
    code["code"].as_str().unwrap().to_owned()
}

async fn pair(world: &World, body: Value) -> Answer {
    world.send(Method::POST, "/bridge/v1/pair", "", Some(&body), None).await
}

/// A paired desk that has not asked for anything yet.
async fn paired(world: &World, name: &str) -> Desk {
    let answer = pair(world, json!({ "code": code(world, name).await })).await;
    Desk::with_token(world, answer.good("token").as_str().unwrap())
}

/// A paired desk with an encoder that is online.
async fn at_work(world: &World, name: &str) -> (Desk, Uuid) {
    let desk = paired(world, name).await;
    let links = desk.sync(&[report(&format!("usb-{name}"), None)]).await.links;
    (desk, links[0].acs_encoder_id)
}

async fn bridges(world: &World) -> Vec<Value> {
    world.get("/encoderd/v1/bridges/list", "").await.good("bridges").as_array().unwrap().clone()
}

async fn revoke(world: &World, name: &str) -> Value {
    let known = bridges(world).await;
    let bridge = known.iter().find(|bridge| bridge["name"] == name && bridge["revoked_at"].is_null()).unwrap();
    let body = json!({ "bridge_token_id": bridge["bridge_token_id"] });
    world.made("/encoderd/v1/bridges/revoke", body, "bridge").await
}

async fn live(world: &World, encoder: Uuid) -> Value {
    let all = world.get("/encoderd/v1/encoders", "").await.good("encoders");
    all.as_array().unwrap().iter().find(|one| one["acs_encoder_id"] == json!(encoder)).unwrap().clone()
}

#[tokio::test]
async fn a_desk_is_paired_by_a_code_that_somebody_reads_out() {
    let world = World::new().await;
    let made = world.made("/encoderd/v1/pairing_codes/create", json!({ "name": "Front Desk" }), "pairing_code").await;
    let code = made["code"].as_str().unwrap();
    assert_eq!(code.len(), 19, "{code}");
    let minutes = made["expires_at"].as_str().unwrap();
    assert!(minutes > "2020", "{made}");
    // Heard and typed: small letters, blanks for dashes.
    let typed = code.to_lowercase().replace('-', " ");
    let answer = pair(&world, json!({ "code": typed, "name": "pc-17" })).await;
    let token = answer.good("token");
    assert_eq!((answer.good("name"), answer.good("workspace_name")), (json!("Front Desk"), json!("Hotel Test")));
    let known = bridges(&world).await;
    assert_eq!((&known[0]["name"], &known[0]["bridge_id"]), (&json!("Front Desk"), &json!(null)));
    let desk = Desk::with_token(&world, token.as_str().unwrap());
    let encoder = desk.sync(&[report("usb-1", None)]).await.links[0].acs_encoder_id;
    let known = bridges(&world).await;
    assert_eq!((&known[0]["bridge_id"], &known[0]["connected"]), (&json!(desk.bridge_id), &json!(true)));
    assert!(known[0]["last_seen_at"].is_string() && known[0]["revoked_at"].is_null(), "{known:?}");
    let credential = world.credential().await;
    let attempt = desk.encodes(&world, encoder, &credential, &encoded(CARD)).await;
    assert_eq!(attempt["status"], "success");
    // The token opens nothing else.
    let answer = world.send(Method::GET, "/acs/systems/list", "", None, token.as_str()).await;
    answer.refused(401, "unauthorized");
    // A desk without a name given by the owner has its own.
    let unnamed = world.made("/encoderd/v1/pairing_codes/create", json!({}), "pairing_code").await;
    let answer = pair(&world, json!({ "code": unnamed["code"], "name": " pc\n-18 " })).await;
    assert_eq!(answer.good("name"), "pc-18");
}

#[tokio::test]
async fn a_code_that_is_wrong_used_or_too_old_gets_the_same_answer() {
    let world = World::new().await;
    let mut answers = vec![
        pair(&world, json!({ "code": "" })).await,
        pair(&world, json!({ "code": "K7QD" })).await,
        pair(&world, json!({ "code": "K7QD-9XWM-3HPT-6RVN" })).await,
        pair(&world, json!({ "code": "ünlesbar; DROP TABLE pairing_code" })).await,
    ];
    let good = code(&world, "Front Desk").await;
    let wrong = format!("{}2222-2222-2222", &good[..5]);
    answers.push(pair(&world, json!({ "code": wrong })).await);
    answers.push(pair(&world, json!({ "code": format!("{good}2") })).await);
    pair(&world, json!({ "code": good })).await.good("token");
    answers.push(pair(&world, json!({ "code": good })).await);
    let old = code(&world, "Concierge").await;
    let store = Database::open(&world.database, SCHEMA).await.unwrap();
    let mut transaction = store.begin(Realm::Common).await.unwrap();
    sqlx::query("UPDATE pairing_code SET expires_at = 1").execute(&mut *transaction).await.unwrap();
    transaction.commit().await.unwrap();
    store.close().await;
    answers.push(pair(&world, json!({ "code": old })).await);
    for answer in &answers {
        answer.refused(403, "pairing_code_refused");
        assert_eq!(answer.body, answers[0].body);
    }
    assert_eq!(bridges(&world).await.len(), 1);
}

#[tokio::test]
async fn a_code_dies_of_its_fifth_wrong_try() {
    let world = World::new().await;
    let (good, other) = (code(&world, "Front Desk").await, code(&world, "Concierge").await);
    for number in 0..5 {
        let wrong = format!("{}222{}-2222-2222", &good[..5], number + 2);
        pair(&world, json!({ "code": wrong })).await.refused(403, "pairing_code_refused");
    }
    pair(&world, json!({ "code": good })).await.refused(403, "pairing_code_refused");
    for number in 0..4 {
        let wrong = format!("{}222{}-2222-2222", &other[..5], number + 2);
        pair(&world, json!({ "code": wrong })).await.refused(403, "pairing_code_refused");
    }
    pair(&world, json!({ "code": other })).await.good("token");
}

#[tokio::test]
async fn an_address_cannot_try_codes_for_ever() {
    let world = World::set(Patience::default(), |settings| Settings { requests_per_second: 1000, ..settings }).await;
    let mut refused = 0;
    for _ in 0..60 {
        let answer = pair(&world, json!({ "code": "K7QD-9XWM-3HPT-6RVN" })).await;
        refused += usize::from(answer.status == 429);
    }
    assert!(refused > 20, "{refused} of 60");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_desks_that_use_one_code_at_once_one_is_paired() {
    let world = World::new().await;
    for _ in 0..5 {
        let code = code(&world, "Front Desk").await;
        let tries = (0..8).map(|_| {
            let request = world.request_with(Method::POST, "/bridge/v1/pair").json(&json!({ "code": code }));
            tokio::spawn(async move { request.send().await.unwrap().status().as_u16() })
        });
        let mut statuses = Vec::new();
        for one in tries.collect::<Vec<_>>() {
            statuses.push(one.await.unwrap());
        }
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 403, 403, 403, 403, 403, 403, 403]);
    }
    assert_eq!(bridges(&world).await.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_whose_first_requests_come_together_gets_its_token_once() {
    let world = World::new().await;
    for number in 0..5 {
        let desk = paired(&world, &format!("Desk {number}")).await;
        let first = (0..6).map(|_| {
            let desk = desk.at(&world);
            tokio::spawn(async move { desk.ask("jobs/next", json!({ "wait_seconds": 0 })).await.status })
        });
        for one in first.collect::<Vec<_>>() {
            assert_eq!(one.await.unwrap(), 200);
        }
    }
}

#[tokio::test]
async fn a_revoked_token_opens_nothing_at_once() {
    let world = World::new().await;
    let (desk, encoder) = at_work(&world, "Front Desk").await;
    let (other, other_encoder) = at_work(&world, "Concierge").await;
    let poll = tokio::spawn({
        let desk = desk.at(&world);
        async move { desk.ask("jobs/next", json!({ "wait_seconds": 20 })).await }
    });
    let end = Deadline::after(SOON);
    // A poll that is open for longer than a daemon counts as connected without one.
    tokio::time::sleep(Duration::from_millis(4500)).await;
    assert!(!end.has_passed() && live(&world, encoder).await["bridge_connected"] == true);
    other.sync(&[report("usb-Concierge", Some(other_encoder))]).await;
    let revoked = revoke(&world, "Front Desk").await;
    assert!(revoked["revoked_at"].is_string() && revoked["connected"] == false, "{revoked}");
    let shown = live(&world, encoder).await;
    assert_eq!((&shown["bridge_connected"], &shown["state"]), (&json!(false), &json!("offline")));
    poll.await.unwrap().refused(401, "unauthorized");
    assert_eq!(live(&world, encoder).await["bridge_connected"], false, "the end of the poll was no sign of life");
    let attempt = world.scan(encoder).await;
    assert_eq!(attempt["error"]["type"], "bridge_disconnected", "{attempt}");
    desk.ask("encoders/sync", json!({ "version": "0", "encoders": [] })).await.refused(401, "unauthorized");
    // It does not come back by the shared token either.
    let by_shared = Desk { token: BRIDGE_TOKEN.to_owned(), ..desk.at(&world) };
    by_shared.ask("jobs/next", json!({ "wait_seconds": 0 })).await.refused(403, "forbidden");
    assert_eq!(live(&world, other_encoder).await["bridge_connected"], true, "others are as they were");
    // Paired again, it is the same desk with the same encoder.
    let again = pair(&world, json!({ "code": code(&world, "Front Desk").await, "bridge_id": desk.bridge_id })).await;
    let desk = Desk { token: again.good("token").as_str().unwrap().to_owned(), ..desk.at(&world) };
    assert_eq!(desk.sync(&[report("usb-Front Desk", None)]).await.links[0].acs_encoder_id, encoder);
    assert_eq!(live(&world, encoder).await["bridge_connected"], true);
}

#[tokio::test]
async fn what_a_revoked_desk_has_not_started_ends() {
    let world = World::new().await;
    let (desk, encoder) = at_work(&world, "Front Desk").await;
    let attempt = world.scan(encoder).await;
    assert_eq!(attempt["status"], "pending");
    let job = desk.job().await;
    revoke(&world, "Front Desk").await;
    let attempt = world.attempt(&attempt["action_attempt_id"]).await;
    assert_eq!(attempt["error"]["type"], "bridge_disconnected", "{attempt}");
    let start = json!({ "action_attempt_id": job.action_attempt_id, "fence": job.fence });
    desk.ask("jobs/start", start).await.refused(401, "unauthorized");
}

#[tokio::test]
async fn a_token_is_one_daemons_alone() {
    let world = World::new().await;
    let (desk, _) = at_work(&world, "Front Desk").await;
    let (other, _) = at_work(&world, "Concierge").await;
    // Another daemon with the first one's token, and the first one's token under another name.
    let copied = Desk::with_token(&world, &desk.token);
    for path in ["jobs/next", "encoders/sync", "events"] {
        let body = json!({ "wait_seconds": 0, "version": "0", "encoders": [], "events": [] });
        copied.ask(path, body.clone()).await.refused(403, "forbidden");
        Desk { bridge_id: other.bridge_id, ..desk.at(&world) }.ask(path, body.clone()).await.refused(403, "forbidden");
        // The shared token does not speak for a paired daemon, whether it is connected or not.
        Desk { token: BRIDGE_TOKEN.to_owned(), ..desk.at(&world) }.ask(path, body).await.refused(403, "forbidden");
    }
    // A new token does not become that of a daemon that has one.
    let new = paired(&world, "Pool Bar").await;
    let thief = Desk { bridge_id: other.bridge_id, ..new.at(&world) };
    thief.ask("jobs/next", json!({ "wait_seconds": 0 })).await.refused(403, "forbidden");
    let code = code(&world, "Thief").await;
    pair(&world, json!({ "code": code, "bridge_id": other.bridge_id })).await.refused(403, "forbidden");
    // Neither try has used anything up.
    pair(&world, json!({ "code": code, "bridge_id": Uuid::new_v4() })).await.good("token");
    assert_eq!(new.sync(&[report("usb-9", None)]).await.links.len(), 1);
    // A desk with the shared token can be given one of its own.
    let (shared, encoder) = world.desk().await;
    let own = paired(&world, "Lobby").await;
    let own = Desk { bridge_id: shared.bridge_id, ..own };
    assert_eq!(own.sync(&[report("usb-1", None)]).await.links[0].acs_encoder_id, encoder);
    shared.ask("jobs/next", json!({ "wait_seconds": 0 })).await.refused(403, "forbidden");
}

#[tokio::test]
async fn a_desk_cannot_touch_another_desks_job() {
    let world = World::new().await;
    let (desk, encoder) = at_work(&world, "Front Desk").await;
    let (other, _) = at_work(&world, "Concierge").await;
    let credential = world.credential().await;
    let attempt = world.encode(encoder, &credential).await;
    assert!(other.next(0, &[]).await.is_none(), "it is not offered");
    let job = desk.job().await;
    assert!(other.next(0, &[]).await.is_none());
    // It knows everything of the job, and can do nothing about it: not start it, not tell of it, not end it.
    let refused = other.start(&job).await;
    assert!(matches!(refused, StartResponse::Refused { .. }), "{refused:?}");
    let progress = json!({ "action_attempt_id": job.action_attempt_id, "progress": "writing" });
    let _: Value = other.send("jobs/progress", progress).await;
    assert!(!other.finish(&job, &encoded(OTHER_CARD)).await);
    assert_eq!(world.attempt(&attempt["action_attempt_id"]).await["status"], "pending");
    assert_eq!(world.show(&credential).await["card_number"], json!(null), "nor what is known of the credential");
    assert!(matches!(desk.start(&job).await, StartResponse::Go { .. }));
    assert!(!other.finish(&job, &encoded(OTHER_CARD)).await, "nor once it was started");
    assert!(desk.finish(&job, &encoded(CARD)).await, "the first result that counts is its own");
    assert!(!other.finish(&job, &encoded(OTHER_CARD)).await, "nor when it has ended");
    let shown = world.show(&credential).await;
    assert_eq!((&shown["card_number"], &shown["is_issued"]), (&json!(CARD), &json!(true)));
}

#[tokio::test]
async fn a_desk_cannot_take_an_encoder_that_another_one_works_with() {
    let world = World::new().await;
    let (desk, encoder) = at_work(&world, "Front Desk").await;
    let (other, own) = at_work(&world, "Concierge").await;
    let links = other.sync(&[report("usb-Concierge", Some(own)), report("usb-x", Some(encoder))]).await.links;
    assert_eq!(links.len(), 1, "{links:?}");
    // A report of it is not heard either.
    let mut gone = report("usb-Front Desk", Some(encoder));
    gone.state = EncoderState::Offline;
    other.report(&gone).await;
    let shown = live(&world, encoder).await;
    assert_eq!((&shown["state"], &shown["device_id"]), (&json!("online"), &json!("usb-Front Desk")));
    world.scan(encoder).await;
    assert!(other.next(0, &[]).await.is_none());
    assert_eq!(desk.job().await.acs_encoder_id, encoder);
}

#[tokio::test]
async fn a_desk_sees_nothing_of_another_workspace() {
    let world = World::new().await;
    let (desk, encoder) = at_work(&world, "Front Desk").await;
    let hotel = workspace(&world, "Hotel Two").await;
    let made = in_workspace(&world, &hotel, "/encoderd/v1/pairing_codes/create", json!({})).await.good("pairing_code");
    let answer = pair(&world, json!({ "code": made["code"] })).await;
    assert_eq!(answer.good("workspace_name"), "Hotel Two");
    let foreign = Desk::with_token(&world, answer.good("token").as_str().unwrap());
    // Not under the name of a daemon that works elsewhere.
    let thief = Desk { bridge_id: desk.bridge_id, ..foreign.at(&world) };
    thief.ask("jobs/next", json!({ "wait_seconds": 0 })).await.refused(403, "forbidden");
    let (shared, _) = world.desk().await;
    let thief = Desk { bridge_id: shared.bridge_id, ..foreign.at(&world) };
    thief.ask("jobs/next", json!({ "wait_seconds": 0 })).await.refused(403, "forbidden");
    // Not an encoder there, nor one that would have its id.
    assert_eq!(foreign.sync(&[report("usb-x", Some(encoder))]).await.links, []);
    assert_eq!(live(&world, encoder).await["device_id"], "usb-Front Desk");
    // Not a job there.
    let attempt = world.scan(encoder).await;
    let job = desk.job().await;
    assert!(foreign.next(0, &[]).await.is_none());
    assert!(matches!(foreign.start(&job).await, StartResponse::Refused { .. }));
    assert!(!foreign.finish(&job, &encoded(CARD)).await);
    assert_eq!(world.attempt(&attempt["action_attempt_id"]).await["status"], "pending");
    // And its own are not seen from the first.
    let own = foreign.sync(&[report("usb-x", None)]).await.links[0].acs_encoder_id;
    let all = world.get("/encoderd/v1/encoders", "").await.good("encoders");
    assert!(!all.to_string().contains(&own.to_string()));
    let theirs = in_workspace(&world, &hotel, "/encoderd/v1/bridges/list", json!({})).await.good("bridges");
    assert_eq!((theirs.as_array().unwrap().len(), bridges(&world).await.len()), (1, 1));
    let body = json!({ "bridge_token_id": theirs[0]["bridge_token_id"] });
    world.post("/encoderd/v1/bridges/revoke", body).await.refused(404, "bridge_not_found");
}
