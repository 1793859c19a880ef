//! The official Seam SDKs, unmodified, over everything of the API that they can call.
//!
//! Each suite of `tests/sdk` runs as a program of its own against a hub with a desk that works by itself. What the hub
//! answers goes through a proxy that records it, for Seam's own models, and to see that no endpoint was forgotten.

use crate::auto_desk::AutoDesk;
use crate::support::{API_KEY, World, record};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderName, Response, StatusCode, header};
use encoderd::clock;
use encoderd::hub::{Patience, Settings};
use serde_json::json;
use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;

/// Every endpoint that an SDK's suite must have had a good answer from.
const ENDPOINTS: &[&str] = &[
    "/access_grants/create",
    "/access_grants/delete",
    "/access_grants/get",
    "/access_grants/list",
    "/access_grants/request_access_methods",
    "/access_grants/update",
    "/access_methods/assign_card",
    "/access_methods/delete",
    "/access_methods/encode",
    "/access_methods/get",
    "/access_methods/list",
    "/acs/credentials/assign",
    "/acs/credentials/create",
    "/acs/credentials/delete",
    "/acs/credentials/get",
    "/acs/credentials/list",
    "/acs/credentials/list_accessible_entrances",
    "/acs/credentials/unassign",
    "/acs/credentials/update",
    "/acs/encoders/encode_credential",
    "/acs/encoders/get",
    "/acs/encoders/list",
    "/acs/encoders/scan_credential",
    "/acs/encoders/scan_to_assign_credential",
    "/acs/encoders/simulate/next_credential_encode_will_fail",
    "/acs/encoders/simulate/next_credential_encode_will_succeed",
    "/acs/encoders/simulate/next_credential_scan_will_fail",
    "/acs/encoders/simulate/next_credential_scan_will_succeed",
    "/acs/entrances/get",
    "/acs/entrances/list",
    "/acs/systems/get",
    "/acs/systems/list",
    "/acs/users/create",
    "/acs/users/delete",
    "/acs/users/get",
    "/acs/users/list",
    "/acs/users/update",
    "/action_attempts/get",
    "/action_attempts/list",
    "/events/get",
    "/events/list",
    "/spaces/add_acs_entrances",
    "/spaces/create",
    "/spaces/delete",
    "/spaces/get",
    "/spaces/list",
    "/spaces/remove_acs_entrances",
    "/user_identities/add_acs_user",
    "/user_identities/create",
    "/user_identities/delete",
    "/user_identities/get",
    "/user_identities/list",
    "/user_identities/update",
    "/webhooks/create",
    "/webhooks/delete",
    "/webhooks/get",
    "/webhooks/list",
    "/webhooks/update",
    "/workspaces/get",
];

/// What the SDK for older Node has no methods for.
const NOT_IN_THE_OLD_SDK: &[&str] = &["/access_methods/assign_card", "/acs/encoders/scan_to_assign_credential"];

/// A suite waits for some things, but for none of them this long.
const SUITE_MAX: Duration = Duration::from_mins(2);

/// Where `scripts/setup test` put the SDKs.
pub fn installed(path: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target").join(path);
    assert!(path.exists(), "{} is missing: `scripts/setup test` installs it", path.display());
    path
}

pub fn suite(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk").join(name)
}

async fn passes(mut command: Command, missing: &[&str]) {
    let world = World::set(Patience::default(), |settings| Settings { allow_simulate: true, ..settings }).await;
    let desk = AutoDesk::start(&world).await;
    let proxy = Proxy::start(&world).await;
    let log = world.directory.path().join("suite.log");
    let file = File::create(&log).unwrap();
    let person = json!({ "name": "A person", "kind": "personal_access_token" });
    let person = world.made("/encoderd/v1/api_keys/create", person, "api_key").await;
    let workspace = world.get("/workspaces/get", "").await.good("workspace");
    command.env("SEAM_ENDPOINT", &proxy.url).env("SEAM_API_KEY", API_KEY);
    command.env("SEAM_TEST_PERSONAL_ACCESS_TOKEN", person["key"].as_str().unwrap());
    command.env("SEAM_TEST_WORKSPACE_ID", workspace["workspace_id"].as_str().unwrap());
    command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
    // Recorded too: it says what the record must have good answers of.
    reqwest::get(format!("{}/openapi.json", proxy.url)).await.unwrap().error_for_status().unwrap();
    let status = Suite(command.spawn().unwrap()).ended().await;
    let told = std::fs::read_to_string(&log).unwrap();
    assert!(status.is_some_and(|status| status.success()), "{status:?}\n{told}");
    let good = proxy.good.lock().unwrap().clone();
    let forgotten: Vec<_> = ENDPOINTS.iter().filter(|path| !missing.contains(path) && !good.contains(**path)).collect();
    assert!(forgotten.is_empty(), "no good answer of {forgotten:?} was asked for");
    desk.stop().await;
}

/// A suite's program; killed when it takes too long.
struct Suite(Child);

impl Suite {
    async fn ended(mut self) -> Option<ExitStatus> {
        let end = clock::Deadline::after(SUITE_MAX);
        while !end.has_passed() {
            if let Some(status) = self.0.try_wait().unwrap() {
                return Some(status);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        None
    }
}

impl Drop for Suite {
    fn drop(&mut self) {
        let _ended_already = self.0.kill();
        let _reaped = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sdk_for_python_does_everything() {
    let mut command = Command::new(installed("venv/bin/python"));
    command.arg(suite("suite.py"));
    passes(command, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_sdk_for_javascript_does_everything() {
    let mut command = Command::new(installed("node/node_modules/.bin/node"));
    command.arg(suite("suite.mjs")).arg(installed("node/node_modules/seam"));
    passes(command, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sdk_for_older_node_does_everything_that_it_can() {
    let mut command = Command::new(installed("node/node_modules/.bin/node"));
    command.arg(suite("suite.mjs")).arg(installed("node/node_modules/seam-old"));
    passes(command, NOT_IN_THE_OLD_SDK).await;
}

/// Stands between an SDK and the hub, changes nothing, and writes down what was answered.
struct Proxy {
    url: String,
    good: Arc<Mutex<BTreeSet<String>>>,
}

#[derive(Clone)]
struct Wire {
    hub: String,
    client: reqwest::Client,
    good: Arc<Mutex<BTreeSet<String>>>,
}

impl Proxy {
    async fn start(world: &World) -> Self {
        let good = Arc::default();
        let wire = Wire { hub: world.base.clone(), client: reqwest::Client::new(), good: Arc::clone(&good) };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let routes = Router::new().fallback(pass_on).with_state(wire);
        // Ends with the test's runtime.
        tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { url, good }
    }
}

/// What belongs to one connection, and the length, which the client and the server find out themselves.
fn is_of_the_connection(name: &HeaderName) -> bool {
    [header::CONNECTION, header::TRANSFER_ENCODING, header::CONTENT_LENGTH].contains(name)
}

async fn pass_on(State(wire): State<Wire>, request: Request) -> Response<Body> {
    let (head, body) = request.into_parts();
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    let mut question = wire.client.request(head.method.clone(), format!("{}{target}", wire.hub));
    for (name, value) in head.headers.iter().filter(|(name, _)| !is_of_the_connection(name)) {
        question = question.header(name, value);
    }
    let answer = question.body(to_bytes(body, 1 << 20).await.unwrap()).send().await.unwrap();
    let mut response = Response::builder().status(answer.status());
    for (name, value) in answer.headers().iter().filter(|(name, _)| !is_of_the_connection(name)) {
        response = response.header(name, value);
    }
    let status = answer.status();
    let body = answer.bytes().await.unwrap();
    record(&head.method, head.uri.path(), status, &serde_json::from_slice(&body).unwrap());
    if status == StatusCode::OK {
        wire.good.lock().unwrap().insert(head.uri.path().to_owned());
    }
    response.body(Body::from(body)).unwrap()
}
