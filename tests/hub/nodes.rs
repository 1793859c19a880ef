//! Several nodes on one PostgreSQL: real processes of the built program, one of them killed; a database that goes away.

use crate::support::{API_KEY, Answer, BRIDGE_TOKEN, SOON, World, encoded, postgres, report, settings};
use encoderd::api::bridge::{Job, NextResponse, ResultResponse, StartResponse, SyncResponse};
use encoderd::clock::{self, Deadline};
use encoderd::hub::{self, Patience};
use reqwest::Client;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Of those nodes that are processes of their own; the program wants longer ones than the library.
const NODE_KEY: &str = "seam_key_of_the_nodes_in_tests";

const DESKS: usize = 50;
const JOBS_PER_DESK: usize = 20;

/// A hub in a process of its own.
struct Node {
    child: Child,
    base: String,
    _directory: TempDir,
}

impl Node {
    fn start(database: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("state");
        std::fs::create_dir(&state).unwrap();
        let token = state.join("bridge-token");
        std::fs::write(&token, BRIDGE_TOKEN).unwrap();
        std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o600)).unwrap();
        let config = directory.path().join("encoderd.toml");
        let text = format!(
            "[daemon]\nstate_dir = \"{}\"\n[hub]\nlisten = \"127.0.0.1:0\"\ndatabase = \"{database}\"\n\
             requests_per_second = 0\n[property]\nname = \"Hotel Test\"\ntime_zone = \"Europe/Zurich\"\n\
             entrances = [{{ name = \"Room 101\", door = 101 }}]\n",
            state.display()
        );
        std::fs::write(&config, text).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_encoderd"))
            .arg("hub")
            .arg("--config")
            .arg(&config)
            .env("ENCODERD_API_KEY", NODE_KEY)
            .env("ENCODERD_LOG", "info")
            .env_remove("ENCODERD_CONFIG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut seen = String::new();
        let base = loop {
            let line = lines.next().unwrap_or_else(|| panic!("the node ended: {seen}")).unwrap();
            if line.contains("hub listens") {
                let (_, rest) = line.split_once("127.0.0.1:").unwrap();
                break format!("http://127.0.0.1:{}", rest.split_whitespace().next().unwrap());
            }
            seen.push_str(&line);
            seen.push('\n');
        };
        // What a node has to say while it runs is of no interest, but its pipe must not fill up.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, base, _directory: directory }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks one node, and the other one when it does not answer.
#[derive(Clone)]
struct Nodes {
    client: Client,
    bases: Arc<[String; 2]>,
    turn: Arc<AtomicUsize>,
}

impl Nodes {
    fn client() -> Client {
        Client::builder().timeout(Duration::from_secs(40)).build().unwrap()
    }

    async fn send(&self, path: &str, key: &str, body: &Value) -> Answer {
        let end = Deadline::after(SOON);
        loop {
            let base = &self.bases[self.turn.fetch_add(1, Ordering::Relaxed) % 2];
            let sent = self.client.post(format!("{base}{path}")).bearer_auth(key).json(body).send().await;
            if let Ok(response) = sent
                && response.status() != 503
            {
                let status = response.status();
                if let Ok(body) = response.json().await {
                    return Answer { status, body };
                }
            }
            assert!(!end.has_passed(), "no node answers {path}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn ask(&self, path: &str, body: Value) -> Answer {
        self.send(path, NODE_KEY, &body).await
    }

    async fn bridge<T: DeserializeOwned>(&self, path: &str, bridge: Uuid, mut body: Value) -> T {
        body["bridge_id"] = json!(bridge);
        let answer = self.send(&format!("/bridge/v1/{path}"), BRIDGE_TOKEN, &body).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        serde_json::from_value(answer.body).unwrap()
    }
}

/// What a desk did: how often each attempt's card was really written, and whether the hub took the result.
type Done = BTreeMap<Uuid, (usize, bool)>;

async fn desk(nodes: Nodes, bridge: Uuid, card: String, stop: CancellationToken) -> Done {
    let mut done = Done::new();
    let mut next_sync = Deadline::after(Duration::ZERO);
    let mut written = 0;
    while !stop.is_cancelled() {
        if next_sync.has_passed() {
            let body = json!({ "version": "0", "encoders": [report("usb-1", None)] });
            let _: SyncResponse = nodes.bridge("encoders/sync", bridge, body).await;
            next_sync = Deadline::after(Duration::from_secs(5));
        }
        let next: NextResponse = nodes.bridge("jobs/next", bridge, json!({ "wait_seconds": 2 })).await;
        let Some(Job { action_attempt_id, fence, .. }) = next.job else { continue };
        let body = json!({ "action_attempt_id": action_attempt_id, "fence": fence });
        let start: StartResponse = nodes.bridge("jobs/start", bridge, body).await;
        if !matches!(start, StartResponse::Go { .. }) {
            continue;
        }
        // A real desk has its journal: what it has written already it does not write again.
        let entry = done.entry(action_attempt_id).or_insert((0, false));
        if entry.0 == 0 {
            written += 1;
            entry.0 += 1;
        }
        let outcome = crate::support::encoded_at(&card, crate::support::ISSUED_AT + written, None);
        let body = json!({ "action_attempt_id": action_attempt_id, "fence": fence, "outcome": outcome });
        let result: ResultResponse = nodes.bridge("jobs/result", bridge, body).await;
        entry.1 |= result.settled;
    }
    done
}

/// Encodes one credential again and again, as often as asked, and returns the attempts.
async fn caller(nodes: Nodes, encoder: String, credential: String, counted: watch::Sender<usize>) -> Vec<String> {
    let mut attempts = Vec::new();
    let mut failed = 0;
    let end = Deadline::after(Duration::from_mins(4));
    while attempts.len() < JOBS_PER_DESK {
        assert!(!end.has_passed(), "{} of {JOBS_PER_DESK} after 240 s", attempts.len());
        let body = json!({ "acs_encoder_id": encoder, "acs_credential_id": credential });
        let attempt = nodes.ask("/acs/encoders/encode_credential", body).await.good("action_attempt");
        let id = attempt["action_attempt_id"].as_str().unwrap().to_owned();
        let settled = loop {
            let shown = nodes.ask("/action_attempts/get", json!({ "action_attempt_id": id })).await;
            let shown = shown.good("action_attempt");
            if shown["status"] != "pending" {
                break shown;
            }
            assert!(!end.has_passed(), "still pending: {shown}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        if settled["status"] == "success" {
            attempts.push(id);
            counted.send_modify(|count| *count += 1);
        } else {
            // Busy: the one before was made by a node that died before it could say so. The others: on a machine that
            // is busy with other things a desk may have been silent for too long. Neither is a job that was lost.
            failed += 1;
            let kind = settled["error"]["type"].as_str().unwrap();
            let known = ["uncategorized_error", "bridge_disconnected", "action_attempt_expired"];
            assert!(known.contains(&kind) && failed <= JOBS_PER_DESK, "{failed} failed: {settled}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    attempts
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_jobs_of_fifty_desks_have_one_result_each_though_a_node_is_killed() {
    let database = postgres().await;
    let mut first = Node::start(&database);
    let second = Node::start(&database);
    let bases = Arc::new([first.base.clone(), second.base.clone()]);
    let nodes = Nodes { client: Nodes::client(), bases, turn: Arc::default() };
    let system = nodes.ask("/acs/systems/list", json!({})).await.good("acs_systems")[0]["acs_system_id"].clone();
    let (stop, (counted, mut count)) = (CancellationToken::new(), watch::channel(0));
    let (mut desks, mut callers, mut credentials) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..DESKS {
        let bridge = Uuid::new_v4();
        let body = json!({ "version": "0", "encoders": [report("usb-1", None)] });
        let links: SyncResponse = nodes.bridge("encoders/sync", bridge, body).await;
        let encoder = links.links[0].acs_encoder_id.to_string();
        let body = json!({ "acs_system_id": system, "access_method": "card" });
        let credential = nodes.ask("/acs/credentials/create", body).await.good("acs_credential");
        let credential = credential["acs_credential_id"].as_str().unwrap().to_owned();
        desks.push(tokio::spawn(desk(nodes.clone(), bridge, format!("{number:08X}"), stop.clone())));
        callers.push(tokio::spawn(caller(nodes.clone(), encoder, credential.clone(), counted.clone())));
        credentials.push(credential);
    }
    drop(counted);
    let part = DESKS * JOBS_PER_DESK / 3;
    count.wait_for(|done| *done >= part).await.unwrap();
    first.child.kill().unwrap();
    let killed_after = *count.borrow();
    let mut told = Vec::new();
    for caller in callers {
        told.extend(caller.await.unwrap());
    }
    stop.cancel();
    let mut done = Done::new();
    for desk in desks {
        done.extend(desk.await.unwrap());
    }
    println!("{} jobs, one node killed after {killed_after}", told.len());
    assert_eq!(told.len(), DESKS * JOBS_PER_DESK);
    // Attempts that no caller heard of, because their node died with the answer, count too.
    let (mut succeeded, mut cursor) = (Vec::new(), Value::Null);
    loop {
        let page = nodes.ask("/action_attempts/list", json!({ "limit": 1000, "page_cursor": cursor })).await;
        for attempt in page.good("action_attempts").as_array().unwrap() {
            assert_ne!(attempt["status"], "pending", "{attempt}");
            if attempt["status"] == "success" {
                succeeded.push(attempt["action_attempt_id"].as_str().unwrap().to_owned());
            }
        }
        cursor = page.body["pagination"]["next_page_cursor"].clone();
        if cursor.is_null() {
            break;
        }
    }
    for id in &told {
        assert!(succeeded.contains(id), "{id} was a success and is none any more");
    }
    for id in &succeeded {
        let (writes, _) = done.get(&id.parse().unwrap()).copied().unwrap_or_default();
        assert_eq!(writes, 1, "{id} was written {writes} times");
    }
    let settled = done.values().filter(|(_, settled)| *settled).count();
    assert_eq!(settled, succeeded.len(), "each result settled its attempt, once");
    // Each success is one event: the first an issue, all others a reissue.
    let mut events = 0;
    for credential in &credentials {
        let body = json!({ "acs_credential_id": credential, "limit": 1000,
            "event_types": ["acs_credential.issued", "acs_credential.reissued"] });
        events += nodes.ask("/events/list", body).await.good("events").as_array().unwrap().len();
    }
    assert_eq!(events, succeeded.len());
}

#[tokio::test]
async fn two_nodes_that_start_at_once_on_an_empty_database_make_one_workspace() {
    let database = postgres().await;
    let stop = CancellationToken::new();
    let nodes = [(); 3].map(|()| tokio::spawn(hub::serve(settings(database.clone()), stop.clone())));
    let mut systems = Vec::new();
    for node in nodes {
        let hub = node.await.unwrap().unwrap();
        let client = Client::new();
        let request = client.get(format!("http://{}/acs/systems/list", hub.address)).bearer_auth(API_KEY);
        systems.push(Answer::read(request.send().await.unwrap()).await.good("acs_systems"));
    }
    stop.cancel();
    assert_eq!(systems[0].as_array().unwrap().len(), 1);
    assert!(systems.iter().all(|system| *system == systems[0]), "{systems:?}");
}

#[tokio::test]
async fn what_is_asked_of_one_node_is_done_by_a_desk_at_the_other() {
    let one = World::on(postgres().await).await;
    let other = one.another_node().await;
    let (desk, encoder) = other.desk().await;
    let poll = tokio::spawn(async move { (desk.next(20, &[]).await, desk) });
    let credential = one.credential().await;
    let begun = clock::now();
    let attempt = one.encode(encoder, &credential).await;
    assert_eq!(attempt["status"], "pending", "the desk is known to be at the other node: {attempt}");
    let (job, desk) = poll.await.unwrap();
    println!("told across nodes after {:?}", begun.elapsed());
    let job = job.expect("the job, before the poll ends");
    assert!(matches!(desk.start(&job).await, StartResponse::Go { .. }));
    assert!(desk.finish(&job, &encoded("04A1B2C3")).await);
    assert_eq!(one.attempt(&attempt["action_attempt_id"]).await["status"], "success");
    let shown = one.get("/encoderd/v1/encoders", "").await.good("encoders")[0].clone();
    assert_eq!((&shown["bridge_connected"], &shown["state"]), (&json!(true), &json!("online")));
}

#[tokio::test]
async fn a_desk_that_goes_from_node_to_node_is_connected_all_the_time() {
    let moment = Patience { bridge: Duration::from_millis(1500), ..Patience::default() };
    let one = World::set_on(postgres().await, moment).await;
    let other = one.another_node_with(moment).await;
    let (desk, encoder) = one.desk().await;
    let at_other = desk.at(&other);
    // To the other node and back: that the other one sees it no more must not count.
    at_other.next(0, &[]).await;
    let back = tokio::spawn(async move { desk.next(6, &[]).await });
    let end = Deadline::after(Duration::from_secs(4));
    while !end.has_passed() {
        let shown = other.get("/encoderd/v1/encoders", "").await.good("encoders")[0].clone();
        assert_eq!(shown["bridge_connected"], true, "{shown}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(other.scan(encoder).await["status"], "pending");
    assert!(back.await.unwrap().is_some());
}

/// Carries bytes to a server until it is cut.
struct Cable {
    address: std::net::SocketAddr,
    whole: watch::Sender<bool>,
}

impl Cable {
    async fn to(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (whole, watching) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let (server, mut watching) = (server.clone(), watching.clone());
                tokio::spawn(async move {
                    if !*watching.borrow() {
                        return;
                    }
                    let mut far = TcpStream::connect(server).await.unwrap();
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        _ = watching.wait_for(|whole| !whole) => {}
                    }
                });
            }
        });
        Self { address, whole }
    }
}

#[tokio::test]
async fn a_node_without_its_database_says_so_loses_nothing_and_recovers() {
    let database = postgres().await;
    let (scheme, rest) = database.split_once('@').unwrap();
    let (server, path) = rest.split_once('/').unwrap();
    let cable = Cable::to(server.to_owned()).await;
    let world = World::on(format!("{scheme}@{}/{path}", cable.address)).await;
    let (desk, encoder) = world.desk().await;
    let attempt = world.scan(encoder).await;
    let job = desk.started().await;
    cable.whole.send_replace(false);
    let refused = world.request("/acs/systems/list").bearer_auth(API_KEY).send().await.unwrap();
    let wait: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=10).contains(&wait));
    Answer::read(refused).await.refused(503, "service_unavailable");
    let body = json!({ "acs_encoder_id": encoder });
    world.post("/acs/encoders/scan_credential", body).await.refused(503, "service_unavailable");
    assert_eq!(world.request("/readyz").send().await.unwrap().status(), 503);
    assert_eq!(world.request("/healthz").send().await.unwrap().status(), 200, "the hub itself is well");
    cable.whole.send_replace(true);
    let end = Deadline::after(SOON);
    while world.request("/readyz").send().await.unwrap().status() != 200 {
        assert!(!end.has_passed(), "it does not recover");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(desk.finish(&job, &crate::support::scanned("04", None)).await);
    assert_eq!(world.attempt(&attempt["action_attempt_id"]).await["status"], "success");
    // The listener has come back too: a job rings at once, and not only at the next look.
    assert_eq!(world.scan(encoder).await["status"], "pending");
    assert!(desk.next(10, &[]).await.is_some());
}

#[tokio::test]
async fn a_server_that_is_not_there_is_a_sentence_and_not_a_password() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let database = format!("postgres://hub:s3cret@{nobody}/hub");
    let error = hub::serve(settings(database), CancellationToken::new()).await.unwrap_err();
    let text = format!("{error}: {}", std::error::Error::source(&error).unwrap());
    assert!(text.contains(&nobody.to_string()) && !text.contains("s3cret"), "{text}");
}
