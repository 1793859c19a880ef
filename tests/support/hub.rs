//! A hub in the test's own process, a caller of its API, and a desk's daemon that the test plays.

use encoderd::api::bridge::{
    Encoded, EncoderReport, EncoderState, Failed, Job, NextResponse, Outcome, Presence, ResultResponse, Scanned,
    ScannedCredential, StartResponse, SyncResponse,
};
use encoderd::clock;
use encoderd::fault::{Fault, FaultKind};
use encoderd::hub::{self, EntranceSettings, Patience, PropertySettings, Retention, RunningHub, Service, Settings};
use reqwest::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sqlx::{Connection as _, Executor as _};
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub const API_KEY: &str = "seam_test_key";
pub const BRIDGE_TOKEN: &str = "bridge-token-of-the-tests";

/// A card, and another one.
pub const CARD: &str = "04A1B2C3";
pub const OTHER_CARD: &str = "04FFEEDD";

/// Long enough for everything that should happen, short enough for a test that fails.
pub const SOON: Duration = Duration::from_secs(20);

/// A database of the test's own: a file in its directory, or a schema of the PostgreSQL server that the set-up started.
///
/// `ENCODERD_TEST_ENGINE` says which; `scripts/with-postgres` sets `ENCODERD_TEST_POSTGRES`.
pub async fn database(directory: &Path) -> String {
    match std::env::var("ENCODERD_TEST_ENGINE").as_deref() {
        Ok("postgres") => postgres().await,
        Ok("sqlite") | Err(_) => sqlite(directory),
        Ok(other) => panic!("ENCODERD_TEST_ENGINE is `{other}`, not sqlite or postgres"),
    }
}

/// A file in a directory.
pub fn sqlite(directory: &Path) -> String {
    format!("sqlite://{}", directory.join("hub.db").display())
}

/// An empty schema on the PostgreSQL server.
pub async fn postgres() -> String {
    let server = std::env::var("ENCODERD_TEST_POSTGRES")
        .expect("this test needs a PostgreSQL server: run `scripts/with-postgres cargo test …`");
    let schema = format!("test_{}", Uuid::new_v4().simple());
    let mut connection = sqlx::PgConnection::connect(&server).await.unwrap();
    connection.execute(sqlx::AssertSqlSafe(format!("CREATE SCHEMA {schema}"))).await.unwrap();
    connection.close().await.unwrap();
    format!("{server}?options[search_path]={schema}")
}

pub fn settings(database: String) -> Settings {
    Settings {
        front: None,
        listen: "127.0.0.1:0".parse().unwrap(),
        database,
        card_wait: Duration::from_secs(8),
        api_key: API_KEY.into(),
        bridge_token: BRIDGE_TOKEN.into(),
        property: Some(PropertySettings {
            name: "Hotel Test".to_owned(),
            time_zone: Some("Europe/Zurich".to_owned()),
            entrances: [101, 102, 103].map(|door| EntranceSettings { name: format!("Room {door}"), door }).to_vec(),
        }),
        property_id: None,
        allow_simulate: true,
        webhook_allow_private: true,
        requests_per_second: 0,
        service: Service::default(),
        retention: Retention::default(),
    }
}

/// A running hub with somebody who calls it.
pub struct World {
    pub base: String,
    pub directory: TempDir,
    pub database: String,
    client: reqwest::Client,
    stop: CancellationToken,
    hub: Option<RunningHub>,
}

impl World {
    pub async fn new() -> Self {
        Self::with(Duration::from_secs(8), Patience::default()).await
    }

    /// A hub that gives up quickly: deadlines of 800 ms, and 2 s more for what was started.
    pub async fn impatient() -> Self {
        let patience =
            Patience { work: Duration::from_millis(400), finish: Duration::from_secs(2), ..Patience::default() };
        Self::with(Duration::from_millis(400), patience).await
    }

    pub async fn with(card_wait: Duration, patience: Patience) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let database = database(directory.path()).await;
        Self::in_directory(directory, database, card_wait, patience).await
    }

    /// A hub on a file, whatever the suite runs on.
    pub async fn on_a_file() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let database = sqlite(directory.path());
        Self::on_database(directory, database).await
    }

    /// A hub on this database.
    pub async fn on(database: String) -> Self {
        Self::on_database(tempfile::tempdir().unwrap(), database).await
    }

    /// A hub on this database, which may lie in this directory.
    pub async fn on_database(directory: TempDir, database: String) -> Self {
        Self::in_directory(directory, database, Duration::from_secs(8), Patience::default()).await
    }

    /// A hub with other settings.
    pub async fn set(patience: Patience, change: impl FnOnce(Settings) -> Settings) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let database = database(directory.path()).await;
        Self::serving(directory, change(settings(database)), patience).await
    }

    /// A hub on this database, with another patience.
    pub async fn set_on(database: String, patience: Patience) -> Self {
        Self::in_directory(tempfile::tempdir().unwrap(), database, Duration::from_secs(8), patience).await
    }

    /// Another node on the same database.
    pub async fn another_node(&self) -> Self {
        self.another_node_with(Patience::default()).await
    }

    /// Another node on the same database, with another patience.
    pub async fn another_node_with(&self, patience: Patience) -> Self {
        Self::set_on(self.database.clone(), patience).await
    }

    async fn in_directory(directory: TempDir, database: String, card_wait: Duration, patience: Patience) -> Self {
        Self::serving(directory, Settings { card_wait, ..settings(database) }, patience).await
    }

    async fn serving(directory: TempDir, settings: Settings, patience: Patience) -> Self {
        let database = settings.database.clone();
        let stop = CancellationToken::new();
        let hub = hub::serve_with(settings, patience, stop.clone()).await.unwrap();
        let base = format!("http://{}", hub.address);
        Self { base, directory, database, client: reqwest::Client::new(), stop, hub: Some(hub) }
    }

    /// Stops the hub and starts another one on the same database.
    pub async fn restart(mut self, patience: Patience) -> Self {
        self.stop().await;
        let Self { directory, database, .. } = self;
        Self::in_directory(directory, database, Duration::from_secs(8), patience).await
    }

    pub async fn stop(&mut self) {
        self.stop.cancel();
        if let Some(hub) = self.hub.take() {
            hub.stopped().await;
        }
    }

    pub async fn send(
        &self,
        method: Method,
        path: &str,
        query: &str,
        body: Option<&Value>,
        key: Option<&str>,
    ) -> Answer {
        let question = if query.is_empty() { String::new() } else { format!("?{query}") };
        let mut request = self.client.request(method.clone(), format!("{}{path}{question}", self.base));
        if let Some(key) = key {
            request = request.bearer_auth(key);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = Answer::read(request.send().await.unwrap()).await;
        record(&method, path, answer.status, &answer.body);
        answer
    }

    /// A request of one's own.
    pub fn request(&self, path: &str) -> reqwest::RequestBuilder {
        self.request_with(Method::GET, path)
    }

    /// A request of one's own, with another method.
    pub fn request_with(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }

    /// POST with a body, as the older SDKs read too.
    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, "", Some(&body), Some(API_KEY)).await
    }

    /// GET with a query, as the newer SDKs read.
    pub async fn get(&self, path: &str, query: &str) -> Answer {
        self.send(Method::GET, path, query, None, Some(API_KEY)).await
    }

    /// POST, and the object that must come of it.
    pub async fn made(&self, path: &str, body: Value, key: &str) -> Value {
        self.post(path, body).await.good(key)
    }

    /// A desk with one encoder that is online.
    pub async fn desk(&self) -> (Desk, Uuid) {
        let desk = Desk::new(self);
        let links = desk.sync(&[report("usb-1", None)]).await.links;
        (desk, links[0].acs_encoder_id)
    }

    pub async fn system(&self) -> String {
        self.get("/acs/systems/list", "").await.good("acs_systems")[0]["acs_system_id"].as_str().unwrap().to_owned()
    }

    pub async fn entrances(&self) -> Vec<String> {
        let list = self.get("/acs/entrances/list", "").await.good("acs_entrances");
        list.as_array().unwrap().iter().map(|door| door["acs_entrance_id"].as_str().unwrap().to_owned()).collect()
    }

    /// A credential for doors 101 and 102 in July 2025, not yet on a card.
    pub async fn credential(&self) -> String {
        let (system, entrances) = (self.system().await, self.entrances().await);
        let user = self
            .made("/acs/users/create", json!({ "acs_system_id": system, "full_name": "Jane Doe" }), "acs_user")
            .await;
        let credential = self
            .made(
                "/acs/credentials/create",
                json!({
                    "acs_user_id": user["acs_user_id"], "access_method": "card",
                    "allowed_acs_entrance_ids": [entrances[0], entrances[1]],
                    "starts_at": "2025-07-13T15:00:00.000Z", "ends_at": "2025-07-16T11:00:00.000Z",
                }),
                "acs_credential",
            )
            .await;
        credential["acs_credential_id"].as_str().unwrap().to_owned()
    }

    pub async fn show(&self, credential: &str) -> Value {
        self.get("/acs/credentials/get", &format!("acs_credential_id={credential}")).await.good("acs_credential")
    }

    pub async fn encode(&self, encoder: Uuid, credential: &str) -> Value {
        let body = json!({ "acs_encoder_id": encoder, "acs_credential_id": credential });
        self.made("/acs/encoders/encode_credential", body, "action_attempt").await
    }

    pub async fn scan(&self, encoder: Uuid) -> Value {
        self.made("/acs/encoders/scan_credential", json!({ "acs_encoder_id": encoder }), "action_attempt").await
    }

    pub async fn attempt(&self, id: &Value) -> Value {
        let query = format!("action_attempt_id={}", id.as_str().unwrap());
        self.get("/action_attempts/get", &query).await.good("action_attempt")
    }

    /// Waits for an attempt to be settled.
    pub async fn settled(&self, id: &Value) -> Value {
        let end = clock::Deadline::after(SOON);
        loop {
            let attempt = self.attempt(id).await;
            if attempt["status"] != "pending" {
                return attempt;
            }
            assert!(!end.has_passed(), "still pending: {attempt}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The types of all events about something, oldest first.
    pub async fn events(&self, query: &str) -> Vec<String> {
        let events = self.get("/events/list", query).await.good("events");
        events.as_array().unwrap().iter().map(|event| event["event_type"].as_str().unwrap().to_owned()).collect()
    }
}

/// Polls all of them in turn until each is done.
pub async fn join<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut futures: Vec<_> = futures.map(Box::pin).collect();
    let mut outputs: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, output) in futures.iter_mut().zip(&mut outputs).filter(|(_, output)| output.is_none()) {
            if let std::task::Poll::Ready(done) = future.as_mut().poll(context) {
                *output = Some(done);
            }
        }
        if outputs.iter().all(Option::is_some) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    outputs.into_iter().flatten().collect()
}

/// Appends an answer to the file that `ENCODERD_TEST_RECORD` names, a JSON object a line: `tests/sdk/strict.mjs` holds
/// them all against Seam's models.
pub fn record(method: &Method, path: &str, status: StatusCode, body: &Value) {
    static FILE: LazyLock<Option<File>> = LazyLock::new(|| {
        let path = std::env::var_os("ENCODERD_TEST_RECORD")?;
        Some(File::options().create(true).append(true).open(path).expect("the record can be written"))
    });
    if let Some(mut file) = FILE.as_ref() {
        let line = json!({ "method": method.as_str(), "path": path, "status": status.as_u16(), "body": body });
        // In one piece, since tests run beside one another.
        file.write_all(format!("{line}\n").as_bytes()).unwrap();
    }
}

/// What a request was answered with.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub body: Value,
}

impl Answer {
    /// Every answer of the hub has a request id and is JSON, whatever went wrong; those of Seam's paths say `ok`.
    pub async fn read(response: reqwest::Response) -> Self {
        let status = response.status();
        let path = response.url().path();
        let may_be_bare = status.is_success() && (path.starts_with("/bridge/") || path == "/openapi.json");
        let header = |name: &str| {
            response.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
        };
        assert!(Uuid::try_parse(&header("seam-request-id")).is_ok(), "{status} without a request id");
        assert!(header("content-type").starts_with("application/json"), "{status} is not JSON");
        let body: Value = response.json().await.unwrap();
        if !may_be_bare {
            assert_eq!(body["ok"], json!(status.is_success()), "{body}");
        }
        Self { status, body }
    }

    pub fn good(&self, key: &str) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", self.body);
        assert!(self.body.get(key).is_some(), "{} has no {key}", self.body);
        self.body[key].clone()
    }

    #[track_caller]
    pub fn refused(&self, status: u16, kind: &str) -> &Value {
        assert_eq!((self.status.as_u16(), self.body["error"]["type"].as_str()), (status, Some(kind)), "{}", self.body);
        assert!(!self.body["error"]["message"].as_str().unwrap().is_empty());
        &self.body["error"]
    }

    /// Refused because of this parameter.
    #[track_caller]
    pub fn invalid(&self, parameter: &str) {
        let tree = &self.refused(400, "invalid_input")["validation_errors"];
        assert_eq!(tree["_errors"], json!([]), "{tree}");
        let at = parameter.split('.').fold(tree, |tree, name| &tree[name]);
        assert!(!at["_errors"][0].as_str().unwrap_or_default().is_empty(), "{tree} says nothing of {parameter}");
    }
}

/// A desk's daemon that the test plays.
pub struct Desk {
    pub bridge_id: Uuid,
    /// What it sends.
    pub token: String,
    pub base: String,
    pub client: reqwest::Client,
}

impl Desk {
    pub fn new(world: &World) -> Self {
        Self::with_token(world, BRIDGE_TOKEN)
    }

    /// A daemon with a token of its own.
    pub fn with_token(world: &World, token: &str) -> Self {
        Self {
            bridge_id: Uuid::new_v4(),
            token: token.to_owned(),
            base: world.base.clone(),
            client: reqwest::Client::new(),
        }
    }

    /// The same daemon after the hub was restarted.
    pub fn at(&self, world: &World) -> Self {
        Self { bridge_id: self.bridge_id, ..Self::with_token(world, &self.token) }
    }

    /// Asks what may be refused.
    pub async fn ask(&self, path: &str, mut body: Value) -> Answer {
        body["bridge_id"] = json!(self.bridge_id);
        let request = self.client.post(format!("{}/bridge/v1/{path}", self.base)).bearer_auth(&self.token).json(&body);
        Answer::read(request.send().await.unwrap()).await
    }

    pub async fn send<T: DeserializeOwned>(&self, path: &str, body: Value) -> T {
        let answer = self.ask(path, body).await;
        assert!(answer.status.is_success(), "{path}: {} {}", answer.status, answer.body);
        serde_json::from_value(answer.body).unwrap()
    }

    pub async fn sync(&self, encoders: &[EncoderReport]) -> SyncResponse {
        self.send("encoders/sync", json!({ "version": "0.0.0", "encoders": encoders })).await
    }

    pub async fn report(&self, report: &EncoderReport) {
        let event = json!({ "at": clock::wall(), "encoder": report });
        let _: Value = self.send("events", json!({ "events": [event] })).await;
    }

    pub async fn next(&self, wait_seconds: u64, in_hand: &[Uuid]) -> Option<Job> {
        let body = json!({ "wait_seconds": wait_seconds, "in_hand": in_hand });
        let response: NextResponse = self.send("jobs/next", body).await;
        response.job
    }

    /// The job that must be there now.
    pub async fn job(&self) -> Job {
        self.next(2, &[]).await.expect("a job")
    }

    pub async fn start(&self, job: &Job) -> StartResponse {
        self.send("jobs/start", json!({ "action_attempt_id": job.action_attempt_id, "fence": job.fence })).await
    }

    /// Takes the next job and starts it.
    pub async fn started(&self) -> Job {
        let job = self.job().await;
        let answer = self.start(&job).await;
        assert!(matches!(answer, StartResponse::Go { .. }), "{answer:?}");
        job
    }

    /// Reports a result; whether it settled the attempt.
    pub async fn finish(&self, job: &Job, outcome: &Outcome) -> bool {
        let body = json!({ "action_attempt_id": job.action_attempt_id, "fence": job.fence, "outcome": outcome });
        let response: ResultResponse = self.send("jobs/result", body).await;
        response.settled
    }

    /// Encodes a credential on a card, from the request to the settled attempt.
    pub async fn encodes(&self, world: &World, encoder: Uuid, credential: &str, outcome: &Outcome) -> Value {
        let attempt = world.encode(encoder, credential).await;
        assert_eq!(attempt["status"], "pending", "{attempt}");
        let job = self.started().await;
        assert!(self.finish(&job, outcome).await);
        world.attempt(&attempt["action_attempt_id"]).await
    }

    /// Scans a card, from the request to the settled attempt's result.
    pub async fn scans(&self, world: &World, encoder: Uuid, outcome: &Outcome) -> Value {
        let attempt = world.scan(encoder).await;
        let job = self.started().await;
        assert!(self.finish(&job, outcome).await);
        let attempt = world.attempt(&attempt["action_attempt_id"]).await;
        assert_eq!(attempt["status"], "success", "{attempt}");
        attempt["result"].clone()
    }
}

/// A virtual encoder that is online.
pub fn report(device_id: &str, acs_encoder_id: Option<Uuid>) -> EncoderReport {
    EncoderReport {
        device_id: device_id.to_owned(),
        acs_encoder_id,
        create: true,
        display_name: format!("Front Desk {device_id}"),
        model: Some("PN532".to_owned()),
        firmware: Some("1.6".to_owned()),
        port: Some("/dev/ttyUSB0".to_owned()),
        simulated: true,
        state: EncoderState::Online,
        presence: Presence::Absent,
        card_number: None,
        fault: None,
    }
}

pub const ISSUED_AT: u32 = 1_752_420_000;

pub fn encoded(card_number: &str) -> Outcome {
    encoded_at(card_number, ISSUED_AT, None)
}

pub fn encoded_at(card_number: &str, issued_at: u32, overwritten: Option<&str>) -> Outcome {
    Outcome::Encoded(Encoded {
        card_number: card_number.to_owned(),
        issued_at,
        overwritten: overwritten.map(|id| id.parse().unwrap()),
        overwritten_number: None,
        simulated: true,
    })
}

pub fn failed(kind: FaultKind, card_number: Option<&str>, in_doubt: bool) -> Outcome {
    Outcome::Failed(Failed {
        fault: Fault::from(kind),
        card_number: card_number.map(str::to_owned),
        in_doubt,
        simulated: true,
    })
}

/// The card that [`World::credential`] was written to.
pub fn card(credential: &str) -> ScannedCredential {
    ScannedCredential {
        acs_credential_id: credential.parse().unwrap(),
        starts_at: 1_752_418_800,
        ends_at: 1_752_663_600,
        issued_at: ISSUED_AT,
        doors: vec![102, 101],
        flags: encoderd::api::bridge::CredentialFlags::default(),
    }
}

pub fn scanned(card_number: &str, credential: Option<ScannedCredential>) -> Outcome {
    Outcome::Scanned(Scanned { card_number: card_number.to_owned(), credential, compact: None, simulated: true })
}
