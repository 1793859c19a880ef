//! Webhooks: a caller's receiver gets signed events, again and again until it takes them, and only where it may be.

use crate::receiver::{Received, Receiver, Reply};
use crate::support::{SOON, World};
use encoderd::clock::Deadline;
use encoderd::hub::{Patience, Settings, WebhookPatience};
use reqwest::Method;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// The documented schedule with shorter waits.
const SHORT: &[Duration] = &[ms(0), ms(50), ms(50), ms(50)];
/// A first wait that timestamps in seconds can show.
const A_SECOND: &[Duration] = &[ms(0), ms(50), ms(1100), ms(50)];
/// Waits in which a hub can be stopped and started, and a webhook deleted.
const AFTER_A_RESTART: &[Duration] = &[ms(0), ms(400), ms(50)];
const UNHURRIED: &[Duration] = &[ms(0), ms(200), ms(200), ms(200)];
/// A wait that nothing in a test waits for.
const LONG: &[Duration] = &[ms(0), Duration::from_hours(1)];

fn patience(schedule: &'static [Duration]) -> Patience {
    let webhooks =
        WebhookPatience { schedule, answer: ms(1_000), lease: ms(2_500), look: ms(20), ..WebhookPatience::default() };
    Patience { webhooks, ..Patience::default() }
}

/// Receivers that hang are waited for this long.
fn answers_in(answer: Duration) -> Patience {
    let webhooks = WebhookPatience { answer, lease: answer + Duration::from_secs(5), ..patience(LONG).webhooks };
    Patience { webhooks, ..Patience::default() }
}

async fn world(schedule: &'static [Duration]) -> World {
    World::with(Duration::from_secs(8), patience(schedule)).await
}

impl World {
    async fn webhook(&self, url: &str, event_types: &[&str]) -> Value {
        self.made("/webhooks/create", json!({ "url": url, "event_types": event_types }), "webhook").await
    }

    /// Makes something happen: one event, `acs_user.created`.
    async fn happen(&self) -> Value {
        let body = json!({ "acs_system_id": self.system().await, "full_name": "Jane Doe" });
        self.made("/acs/users/create", body, "acs_user").await["acs_user_id"].clone()
    }

    async fn deliveries(&self, webhook: &Value) -> Vec<Value> {
        let query = format!("webhook_id={}", webhook["webhook_id"].as_str().unwrap());
        let list = self.get("/encoderd/v1/webhook_deliveries", &query).await.good("webhook_deliveries");
        list.as_array().unwrap().clone()
    }

    /// Waits until a webhook's newest delivery is as it should be.
    async fn delivery(&self, webhook: &Value, is: impl Fn(&Value) -> bool) -> Value {
        let end = Deadline::after(SOON);
        loop {
            let newest = self.deliveries(webhook).await.first().cloned().unwrap_or_default();
            if is(&newest) {
                return newest;
            }
            assert!(!end.has_passed(), "{newest}");
            tokio::time::sleep(ms(10)).await;
        }
    }
}

fn in_state(state: &'static str) -> impl Fn(&Value) -> bool {
    move |delivery| delivery["state"] == state
}

/// Has a script that runs an official library check deliveries. It prints `ok`, or why not, for each.
fn verified_by(program: &[&str], deliveries: &[Value]) -> Vec<String> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut child = Command::new(program[0])
        .args(&program[1..])
        .current_dir(root)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program:?}: {error}; `make setup-test` installs it"));
    serde_json::to_writer(child.stdin.take().unwrap(), deliveries).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{program:?}: {}", output.status);
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn official_libraries_accept_a_delivery_and_refuse_one_that_was_changed() {
    let (world, receiver) = (world(SHORT).await, Receiver::new().await);
    let webhook = world.webhook(&receiver.url("/hook?tenant=7"), &["*"]).await;
    assert!(webhook["secret"].as_str().unwrap().starts_with("whsec_"));
    let user = world.happen().await;
    let received = receiver.wait(1).await.remove(0);
    assert_eq!(received.header("content-type"), "application/json");
    assert_eq!(received.event()["acs_user_id"], user);
    let good = received.for_verification(&webhook["secret"]);
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut delivery = good.clone();
        change(&mut delivery);
        delivery
    };
    let deliveries = [
        good.clone(),
        changed(&|delivery| delivery["body"] = json!(received.body.replace("acs_user", "acs_over"))),
        changed(&|delivery| delivery["headers"]["svix-id"] = json!("msg_other")),
        changed(&|delivery| delivery["headers"]["svix-timestamp"] = json!("1700000000")),
        changed(&|delivery| delivery["secret"] = json!("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")),
    ];
    for program in [
        ["target/venv/bin/python", "tests/sdk/verify_webhook.py"],
        ["target/node/node_modules/.bin/node", "tests/sdk/verify_webhook.mjs"],
    ] {
        let verdicts = verified_by(&program, &deliveries);
        assert_eq!(verdicts.len(), deliveries.len(), "{program:?}");
        assert_eq!(verdicts[0], "ok", "{program:?}");
        assert!(verdicts[1..].iter().all(|verdict| verdict != "ok"), "{program:?}: {verdicts:?}");
    }
}

#[tokio::test]
async fn a_delivery_is_the_event_as_the_api_gives_it_and_of_all_types_in_order() {
    let (world, receiver) = (world(SHORT).await, Receiver::new().await);
    world.webhook(&receiver.url("/"), &["*"]).await;
    let before = world.events("").await.len();
    let encoder = world.desk().await;
    let credential = world.credential().await;
    encoder.0.encodes(&world, encoder.1, &credential, &crate::support::encoded(crate::support::CARD)).await;
    world.post("/acs/credentials/delete", json!({ "acs_credential_id": credential })).await;
    let events = world.get("/events/list", "").await.good("events");
    let events = &events.as_array().unwrap()[before..];
    assert!(events.len() >= 4, "{events:#?}");
    let received = receiver.wait(events.len()).await;
    let bodies: Vec<_> = received.iter().map(Received::event).collect();
    assert_eq!(bodies, events);
    let first = world.get("/events/get", &format!("event_id={}", events[0]["event_id"].as_str().unwrap())).await;
    assert_eq!(bodies[0], first.good("event"));
}

#[tokio::test]
async fn a_receiver_that_fails_twice_gets_the_third_try_with_the_same_id() {
    let receiver = Receiver::with(|_, before| Reply::Status(if before < 2 { 503 } else { 204 })).await;
    let world = world(A_SECOND).await;
    let webhook = world.webhook(&receiver.url("/"), &["*"]).await;
    world.happen().await;
    let tries = receiver.wait(3).await;
    for again in &tries[1..] {
        assert_eq!((again.id(), &again.body), (tries[0].id(), &tries[0].body));
    }
    let seconds: Vec<i64> = tries.iter().map(|made| made.header("svix-timestamp").parse().unwrap()).collect();
    assert!(seconds[0] <= seconds[1] && seconds[1] < seconds[2], "each has the time of the try: {seconds:?}");
    let signatures: Vec<_> = tries.iter().map(|made| made.header("svix-signature")).collect();
    assert_ne!(signatures[1], signatures[2]);
    let waited: Vec<_> = tries.windows(2).map(|pair| pair[1].at - pair[0].at).collect();
    assert!(waited[0] >= ms(50) && waited[1] >= ms(1_100), "{waited:?}");
    let delivery = world.delivery(&webhook, in_state("delivered")).await;
    assert_eq!((&delivery["tries"], &delivery["last_status"]), (&json!(3), &json!(204)), "{delivery}");
    assert_eq!(delivery["last_error"], Value::Null, "{delivery}");
}

#[tokio::test]
async fn a_delivery_is_given_up_after_its_last_try() {
    let receiver = Receiver::with(|_, _| Reply::Status(500)).await;
    let world = world(SHORT).await;
    let webhook = world.webhook(&receiver.url("/"), &["*"]).await;
    world.happen().await;
    let delivery = world.delivery(&webhook, in_state("given_up")).await;
    assert_eq!((&delivery["tries"], &delivery["last_status"]), (&json!(SHORT.len()), &json!(500)), "{delivery}");
    assert_eq!(delivery["next_try_at"], Value::Null, "{delivery}");
    assert_eq!(receiver.received().len(), SHORT.len());
}

#[tokio::test]
async fn a_delivery_that_fails_does_not_hold_up_those_behind_it() {
    let receiver = Receiver::with(|_, before| Reply::Status(if before == 0 { 500 } else { 200 })).await;
    let world = world(LONG).await;
    world.webhook(&receiver.url("/"), &["*"]).await;
    let users = [world.happen().await, world.happen().await, world.happen().await];
    let received: Vec<_> = receiver.wait(3).await.iter().map(|made| made.event()["acs_user_id"].clone()).collect();
    assert_eq!(received, users);
}

#[tokio::test]
async fn deliveries_come_one_after_the_other_until_there_is_a_backlog() {
    let (allow, allowed) = tokio::sync::watch::channel(false);
    let receiver =
        Receiver::with(move |_, before| if before == 3 { Reply::Once(allowed.clone()) } else { Reply::Late(ms(30)) })
            .await;
    let world = World::with(Duration::from_secs(8), answers_in(Duration::from_secs(20))).await;
    let webhook = world.webhook(&receiver.url("/"), &["*"]).await;
    let mut users = Vec::new();
    for _ in 0..4 {
        users.push(world.happen().await);
    }
    receiver.wait(4).await;
    assert_eq!(receiver.open_most(), 1);
    while users.len() < 60 {
        users.push(world.happen().await);
    }
    allow.send_replace(true);
    let received = receiver.wait(users.len()).await;
    world.delivery(&webhook, in_state("delivered")).await;
    assert!((2..=8).contains(&receiver.open_most()), "{} at a time", receiver.open_most());
    let came: Vec<_> = received.iter().map(|made| made.event()["acs_user_id"].clone()).collect();
    assert_eq!(came[..4], users[..4]);
    assert_eq!(came.len(), users.len(), "each once");
}

#[tokio::test]
async fn an_answer_that_never_ends_is_an_answer() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let world = world(LONG).await;
    let webhook = world.webhook(&url, &["*"]).await;
    world.happen().await;
    let (mut stream, _) = listener.accept().await.unwrap();
    let sender = tokio::spawn(async move {
        let mut sent = 0;
        let mut next = stream.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n").await;
        while let Ok(bytes) = next {
            sent += bytes;
            next = stream.write(&[b'x'; 4096]).await;
        }
        sent
    });
    let delivery = world.delivery(&webhook, in_state("delivered")).await;
    assert_eq!(delivery["last_status"], 200);
    let sent = tokio::time::timeout(SOON, sender).await.unwrap().unwrap();
    assert!(sent < 50_000_000, "the hub read {sent} bytes of it");
}

#[tokio::test]
async fn a_redirect_is_a_failure_and_is_not_followed() {
    let receiver = Receiver::with(|made, _| match &*made.path {
        "/here" => Reply::See("/there".to_owned()),
        _ => Reply::Status(200),
    })
    .await;
    let world = world(LONG).await;
    let webhook = world.webhook(&receiver.url("/here"), &["*"]).await;
    world.happen().await;
    let delivery = world.delivery(&webhook, |delivery| delivery["last_status"] == 302).await;
    assert_eq!(delivery["state"], "waiting", "{delivery}");
    assert!(delivery["last_error"].as_str().unwrap().contains("redirects are not followed"), "{delivery}");
    assert!(receiver.received().iter().all(|made| made.path == "/here"));
}

#[tokio::test]
async fn a_receiver_that_does_not_answer_in_time_is_tried_again() {
    let receiver = Receiver::with(|_, before| if before == 0 { Reply::Hang } else { Reply::Status(200) }).await;
    let world = world(LONG).await;
    let webhook = world.webhook(&receiver.url("/"), &["*"]).await;
    world.happen().await;
    let delivery = world.delivery(&webhook, |delivery| delivery["last_error"].is_string()).await;
    assert!(delivery["last_error"].as_str().unwrap().contains("no answer within 1s"), "{delivery}");
    assert_eq!((&delivery["state"], &delivery["tries"]), (&json!("waiting"), &json!(1)), "{delivery}");
}

#[tokio::test]
async fn a_slow_receiver_does_not_delay_others() {
    let slow = Receiver::with(|_, _| Reply::Hang).await;
    let fast = Receiver::new().await;
    let world = World::with(Duration::from_secs(8), answers_in(Duration::from_secs(5))).await;
    for _ in 0..5 {
        world.webhook(&slow.url("/"), &["*"]).await;
    }
    world.webhook(&fast.url("/"), &["*"]).await;
    let mut longest = Duration::ZERO;
    for count in 1..=10 {
        let begun = encoderd::clock::now();
        world.happen().await;
        let received = fast.wait(count).await;
        longest = longest.max(received[count - 1].at - begun);
    }
    assert!(slow.received().len() >= 5, "the slow ones were tried");
    assert!(longest < ms(2_500), "{longest:?}, and a slow receiver holds its own delivery for 5 s");
}

#[tokio::test]
async fn a_restart_between_tries_loses_nothing_and_doubles_nothing() {
    let receiver = Receiver::with(|_, before| Reply::Status(if before < 3 { 500 } else { 200 })).await;
    let first = world(LONG).await;
    let webhook = first.webhook(&receiver.url("/"), &["*"]).await;
    for _ in 0..3 {
        first.happen().await;
    }
    let ids: Vec<_> = receiver.wait(3).await.iter().map(|made| made.id().to_owned()).collect();
    first.delivery(&webhook, |delivery| delivery["last_status"] == 500).await;
    // The first node waits for an hour. The second one knows when the next try is due from the database, and would
    // count the first try as the first one only if it was noted.
    let second = first.restart(patience(LONG)).await;
    assert_eq!(second.deliveries(&webhook).await.len(), 3);
    let waiting = second.deliveries(&webhook).await;
    assert!(waiting.iter().all(|delivery| delivery["tries"] == 1 && delivery["state"] == "waiting"), "{waiting:#?}");
    second.happen().await;
    let all = receiver.wait(4).await;
    assert!(!ids.contains(&all[3].id().to_owned()), "what has failed waits, what is new is sent");
}

#[tokio::test]
async fn what_was_to_be_tried_while_the_hub_was_down_is_tried_after_its_start() {
    let receiver = Receiver::with(|_, before| Reply::Status(if before < 3 { 500 } else { 200 })).await;
    let first = world(AFTER_A_RESTART).await;
    let webhook = first.webhook(&receiver.url("/"), &["*"]).await;
    for _ in 0..3 {
        first.happen().await;
    }
    let mut ids: Vec<_> = receiver.wait(3).await.iter().map(|made| made.id().to_owned()).collect();
    let second = first.restart(patience(AFTER_A_RESTART)).await;
    let mut again: Vec<_> = receiver.wait(6).await[3..].iter().map(|made| made.id().to_owned()).collect();
    ids.sort();
    again.sort();
    assert_eq!(again, ids);
    second.delivery(&webhook, in_state("delivered")).await;
    let deliveries = second.deliveries(&webhook).await;
    assert!(deliveries.iter().all(|delivery| delivery["tries"] == 2), "{deliveries:#?}");
    assert_eq!(receiver.received().len(), 6);
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_receiver_that_hangs_and_its_try_is_made_again() {
    let receiver = Receiver::with(|_, before| if before == 0 { Reply::Hang } else { Reply::Status(200) }).await;
    let long = answers_in(Duration::from_mins(1));
    let mut first = World::with(Duration::from_secs(8), long).await;
    let webhook = first.webhook(&receiver.url("/"), &["*"]).await;
    first.happen().await;
    receiver.wait(1).await;
    tokio::time::timeout(Duration::from_secs(5), first.stop()).await.expect("a stop in time");
    let second = first.restart(long).await;
    let tries = receiver.wait(2).await;
    assert_eq!(tries[0].id(), tries[1].id());
    let delivery = second.delivery(&webhook, in_state("delivered")).await;
    assert_eq!(delivery["tries"], 1, "a try that was cut off does not count: {delivery}");
}

#[tokio::test]
async fn the_try_of_a_node_that_died_is_made_again() {
    let receiver = Receiver::with(|_, before| if before == 0 { Reply::Hang } else { Reply::Status(200) }).await;
    // A runtime of its own, so that everything of the node ends in the middle of what it does.
    let dies = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let url = receiver.url("/");
    let node = dies.spawn(async move {
        let world = world(LONG).await;
        let webhook = world.webhook(&url, &["*"]).await;
        world.happen().await;
        (world, webhook)
    });
    let (first, webhook) = node.await.unwrap();
    let begun = receiver.wait(1).await[0].at;
    dies.shutdown_background();
    let second = first.restart(patience(LONG)).await;
    let tries = receiver.wait(2).await;
    assert_eq!(tries[0].id(), tries[1].id());
    let later = tries[1].at - begun;
    // A file is one node's: who opens it knows that the claims in it are nobody's.
    if second.database.starts_with("postgres") {
        assert!(later > ms(2_000), "its claim was still good: {later:?}");
    } else {
        assert!(later < ms(2_000), "nobody else could have it: {later:?}");
    }
    let delivery = second.delivery(&webhook, in_state("delivered")).await;
    assert_eq!(delivery["tries"], 2, "a try is counted before it is made: {delivery}");
}

#[tokio::test]
async fn private_addresses_are_refused_in_every_spelling() {
    let receiver = Receiver::new().await;
    let port = receiver.base.rsplit(':').next().unwrap().to_owned();
    let world = World::set(patience(LONG), |settings| Settings { webhook_allow_private: false, ..settings }).await;
    let mut webhooks = Vec::new();
    for (host, why) in [
        ("127.0.0.1", "127.0.0.1 is a loopback address"),
        ("127.1", "127.0.0.1 is a loopback address"),
        ("2130706433", "127.0.0.1 is a loopback address"),
        ("0x7f.0.0.1", "127.0.0.1 is a loopback address"),
        ("0177.0.0.1", "127.0.0.1 is a loopback address"),
        ("[::1]", "::1 is a loopback address"),
        ("[::ffff:127.0.0.1]", "::ffff:127.0.0.1 is a loopback address"),
        ("[64:ff9b::127.0.0.1]", "is a loopback address"),
        ("0.0.0.0", "0.0.0.0 is no host's address"),
        ("10.0.0.1", "10.0.0.1 is a private address"),
        ("169.254.169.254", "169.254.169.254 is a link-local address"),
        ("100.64.0.1", "100.64.0.1 is an address shared between providers"),
        ("[fd00::1]", "fd00::1 is a private address"),
        // A name that the system resolves to this machine.
        ("localhost", "is a loopback address"),
    ] {
        webhooks.push((world.webhook(&format!("http://{host}:{port}/"), &["*"]).await, why));
    }
    world.happen().await;
    for (webhook, why) in &webhooks {
        let delivery = world.delivery(webhook, |delivery| delivery["last_error"].is_string()).await;
        let error = delivery["last_error"].as_str().unwrap();
        assert!(error.contains(why) && error.contains("webhook_allow_private"), "{webhook}: {error}");
        assert_eq!((&delivery["state"], &delivery["last_status"]), (&json!("waiting"), &Value::Null), "{delivery}");
    }
    assert!(receiver.received().is_empty(), "{:#?}", receiver.received());
}

#[tokio::test]
async fn a_webhook_gets_the_types_that_it_asked_for() {
    let (world, receiver) = (world(SHORT).await, Receiver::new().await);
    let of = |path: &'static str| receiver.url(path);
    let one = world.webhook(&of("/one"), &["acs_user.created"]).await;
    world.webhook(&of("/two"), &["acs_credential.deleted", "acs_user.created"]).await;
    world.webhook(&of("/none"), &[]).await;
    world.webhook(&of("/other"), &["acs_userXcreated", "acs_user", "lock.unlocked", "say \"acs_user.created\""]).await;
    world.webhook(&of("/all"), &["*"]).await;
    world.happen().await;
    let mut paths: Vec<_> = receiver.wait(3).await.iter().map(|made| made.path.clone()).collect();
    paths.sort();
    assert_eq!(paths, ["/all", "/one", "/two"]);

    let update = json!({ "webhook_id": one["webhook_id"], "event_types": ["acs_credential.deleted"] });
    world.send(Method::PUT, "/webhooks/update", "", Some(&update), Some(crate::support::API_KEY)).await.good("ok");
    let shown = world.post("/webhooks/get", json!({ "webhook_id": one["webhook_id"] })).await.good("webhook");
    assert_eq!(shown["event_types"], update["event_types"]);
    assert_eq!((&shown["secret"], &shown["url"]), (&one["secret"], &one["url"]));
    let credential = world.credential().await;
    world.post("/acs/credentials/delete", json!({ "acs_credential_id": credential })).await.good("ok");
    let received = receiver.wait(8).await;
    let at = |path: &str| -> Vec<String> {
        received[3..].iter().filter(|made| made.path == path).map(Received::event_type).collect()
    };
    assert_eq!(at("/one"), ["acs_credential.deleted"]);
    assert_eq!(at("/two"), ["acs_user.created", "acs_credential.deleted"]);
    assert_eq!(at("/all"), ["acs_user.created", "acs_credential.deleted"]);
}

#[tokio::test]
async fn deleting_a_webhook_ends_its_tries() {
    let receiver = Receiver::with(|_, _| Reply::Status(500)).await;
    let world = world(UNHURRIED).await;
    let webhook = world.webhook(&receiver.url("/deleted"), &["*"]).await;
    let other = world.webhook(&receiver.url("/kept"), &["*"]).await;
    world.happen().await;
    receiver.wait(2).await;
    let id = json!({ "webhook_id": webhook["webhook_id"] });
    world
        .send(
            Method::DELETE,
            "/webhooks/delete",
            &format!("webhook_id={}", id["webhook_id"].as_str().unwrap()),
            None,
            Some(crate::support::API_KEY),
        )
        .await
        .good("ok");
    world.post("/webhooks/get", id.clone()).await.refused(404, "webhook_not_found");
    world.post("/webhooks/delete", id).await.refused(404, "webhook_not_found");
    world.delivery(&other, in_state("given_up")).await;
    let tries = |path: &str| receiver.received().iter().filter(|made| made.path == path).count();
    assert_eq!((tries("/deleted"), tries("/kept")), (1, 4));
}

#[tokio::test]
async fn a_receiver_that_is_gone_disables_its_webhook_until_it_is_updated() {
    let receiver = Receiver::with(|_, before| Reply::Status(if before == 0 { 410 } else { 200 })).await;
    let world = world(SHORT).await;
    let webhook = world.webhook(&receiver.url("/"), &["*"]).await;
    world.happen().await;
    let delivery = world.delivery(&webhook, in_state("stopped")).await;
    assert_eq!(delivery["last_status"], 410, "{delivery}");
    world.happen().await;
    assert_eq!(world.deliveries(&webhook).await.len(), 1, "nothing is written down for it");
    world
        .post("/webhooks/update", json!({ "webhook_id": webhook["webhook_id"], "event_types": ["*"] }))
        .await
        .good("ok");
    let user = world.happen().await;
    assert_eq!(receiver.wait(2).await[1].event()["acs_user_id"], user);
}

#[tokio::test]
async fn webhooks_are_made_shown_listed_and_bounded() {
    let world = world(SHORT).await;
    let made = world.made("/webhooks/create", json!({ "url": "https://example.com/a" }), "webhook").await;
    assert_eq!(made["event_types"], json!(["*"]));
    let id = made["webhook_id"].as_str().unwrap();
    assert_eq!(world.get("/webhooks/get", &format!("webhook_id={id}")).await.good("webhook"), made);
    let list = world.get("/webhooks/list", "").await;
    assert_eq!(list.good("webhooks"), json!([made]));
    assert!(list.body.get("pagination").is_none(), "{}", list.body);
    world.get("/webhooks/get", "webhook_id=none%20such").await.refused(404, "webhook_not_found");
    for path in ["/webhooks/get", "/webhooks/delete"] {
        world.post(path, json!({ "webhook_id": 5 })).await.invalid("webhook_id");
    }
    for url in ["example.com", "ftp://example.com/", "https://user:word@example.com/", ""] {
        world.post("/webhooks/create", json!({ "url": url })).await.invalid("url");
    }
    world.post("/webhooks/create", json!({ "url": "https://a.b/", "event_types": "*" })).await.invalid("event_types");
    world
        .post("/webhooks/create", json!({ "url": "https://a.b/", "event_types": vec!["x"; 501] }))
        .await
        .invalid("event_types");
    world.post("/webhooks/update", json!({ "webhook_id": id })).await.invalid("event_types");
    for _ in 1..50 {
        world.webhook("https://example.com/b", &["none"]).await;
    }
    world.post("/webhooks/create", json!({ "url": "https://example.com/c" })).await.invalid("url");
}

#[tokio::test]
async fn two_nodes_on_one_database_make_each_try_once() {
    let receiver = Receiver::new().await;
    let first = world(SHORT).await;
    let webhook = first.webhook(&receiver.url("/"), &["acs_user.created"]).await;
    let second = first.another_node_with(patience(SHORT)).await;
    for _ in 0..50 {
        tokio::join!(first.happen(), second.happen());
    }
    receiver.wait(100).await;
    first.delivery(&webhook, in_state("delivered")).await;
    let deliveries = first.deliveries(&webhook).await;
    assert_eq!(deliveries.len(), 100);
    assert!(deliveries.iter().all(|delivery| delivery["tries"] == 1), "{deliveries:#?}");
    let mut ids: Vec<_> = receiver.received().iter().map(|made| made.id().to_owned()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!((ids.len(), receiver.received().len()), (100, 100));
}
