//! Desks' daemons that the benchmark plays: they have encoders, ask for work, and say at once that a card was written.

use crate::http::{Caller, Pool};
use anyhow::{Context as _, ensure};
use encoderd::api::bridge::{
    Encoded, EncoderReport, EncoderState, Job, JobWork, LONG_POLL_SECONDS_MAX, NextRequest, NextResponse, Outcome,
    Presence, Progress, ProgressRequest, ResultRequest, ResultResponse, StartRequest, StartResponse, SyncRequest,
    SyncResponse,
};
use encoderd::clock;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;
use uuid::Uuid;

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A desk's daemon.
#[derive(Debug)]
pub(crate) struct Desk {
    bridge_id: Uuid,
    pub(crate) encoders: Vec<Uuid>,
}

impl Desk {
    /// A new desk whose encoders are plugged in.
    pub(crate) async fn new(bridge: &Pool, encoders: usize) -> anyhow::Result<Self> {
        let bridge_id = Uuid::new_v4();
        let encoders = (0..encoders).map(|number| report(&format!("usb-{number}"))).collect();
        let request = SyncRequest { bridge_id, version: "0.0.0".to_owned(), encoders, take_over: None };
        let response: SyncResponse = bridge.post("/bridge/v1/encoders/sync", &request).await?;
        Ok(Self { bridge_id, encoders: response.links.iter().map(|link| link.acs_encoder_id).collect() })
    }

    fn question(&self, in_hand: Vec<Uuid>) -> NextRequest {
        NextRequest { bridge_id: self.bridge_id, wait_seconds: LONG_POLL_SECONDS_MAX, in_hand }
    }

    /// Says something that costs the hub next to nothing, and counts as being connected.
    pub(crate) async fn breathe(&self, bridge: &Pool) -> anyhow::Result<()> {
        let action_attempt_id = Uuid::nil();
        let request =
            ProgressRequest { bridge_id: self.bridge_id, action_attempt_id, progress: Progress::WaitingForCard };
        let _: Value = bridge.post("/bridge/v1/jobs/progress", &request).await?;
        Ok(())
    }

    /// Encodes a credential on a card and returns the attempt.
    pub(crate) async fn encode_once(&self, api: &Pool, bridge: &Pool, credential: &str) -> anyhow::Result<String> {
        let encoder = self.encoders.first().context("a desk without an encoder")?;
        let attempt = encode(api, *encoder, credential).await?;
        let response: NextResponse = bridge.post("/bridge/v1/jobs/next", &self.question(Vec::new())).await?;
        let job = response.job.context("no job")?;
        ensure!(self.carry_out(bridge, &job).await?, "the result came late");
        Ok(attempt)
    }

    /// Starts a job and reports its result; whether that settled the attempt.
    async fn carry_out(&self, bridge: &Pool, job: &Job) -> anyhow::Result<bool> {
        let (bridge_id, action_attempt_id, fence) = (self.bridge_id, job.action_attempt_id, job.fence);
        let start = StartRequest { bridge_id, action_attempt_id, fence };
        match bridge.post("/bridge/v1/jobs/start", &start).await? {
            StartResponse::Go { .. } => {}
            StartResponse::Refused { .. } => return Ok(false),
        }
        let JobWork::Encode(work) = &job.work else { anyhow::bail!("nobody asked for {:?}", job.work) };
        // The same credential always comes on the same card.
        let card_number = work.acs_credential_id.simple().to_string().to_uppercase();
        let card_number = card_number.get(..14).context("a UUID has 32 digits")?.to_owned();
        let issued_at = u32::try_from(clock::wall().as_second())?;
        let outcome = Outcome::Encoded(Encoded {
            card_number,
            issued_at,
            overwritten: None,
            overwritten_number: None,
            simulated: true,
        });
        let result = ResultRequest { bridge_id, action_attempt_id, fence, outcome };
        let response: ResultResponse = bridge.post("/bridge/v1/jobs/result", &result).await?;
        Ok(response.settled)
    }

    /// Asks for work and carries it out, several jobs at a time, for ever.
    pub(crate) async fn work(self: Arc<Self>, bridge: Arc<Pool>, board: Arc<Board>) -> anyhow::Result<Infallible> {
        let in_hand: Arc<Mutex<BTreeSet<Uuid>>> = Arc::default();
        let mut line = bridge.caller().connect().await?;
        loop {
            let question = self.question(locked(&in_hand).iter().copied().collect());
            let answer: NextResponse = line.json(&bridge.caller().post("/bridge/v1/jobs/next", &question)?).await?;
            let Some(job) = answer.job else { continue };
            board.arrived(job.acs_encoder_id);
            locked(&in_hand).insert(job.action_attempt_id);
            let (desk, bridge, board, in_hand) = (self.clone(), bridge.clone(), board.clone(), in_hand.clone());
            tokio::spawn(async move {
                if desk.carry_out(&bridge, &job).await.is_ok_and(|settled| settled) {
                    board.done(job.acs_encoder_id);
                }
                locked(&in_hand).remove(&job.action_attempt_id);
            });
        }
    }

    /// Asks for work on a connection of its own, for ever; there is none.
    pub(crate) async fn idle(self, bridge: Caller) -> anyhow::Result<Infallible> {
        let request = bridge.post("/bridge/v1/jobs/next", &self.question(Vec::new()))?;
        let mut line = bridge.connect().await?;
        loop {
            let answer: NextResponse = line.json(&request).await?;
            ensure!(answer.job.is_none(), "a job for a desk that nobody asked for one");
        }
    }
}

fn report(device_id: &str) -> EncoderReport {
    EncoderReport {
        device_id: device_id.to_owned(),
        acs_encoder_id: None,
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

/// Asks for an encode, which must be accepted, and returns the attempt.
pub(crate) async fn encode(api: &Pool, encoder: Uuid, credential: &str) -> anyhow::Result<String> {
    let body = json!({ "acs_encoder_id": encoder, "acs_credential_id": credential });
    let answer: Value = api.post("/acs/encoders/encode_credential", &body).await?;
    // A desk that has the job at once may have done it before the request is answered.
    ensure!(text(&answer, "/action_attempt/status")? != "error", "refused: {answer}");
    text(&answer, "/action_attempt/action_attempt_id")
}

/// Who waits for which job.
#[derive(Debug, Default)]
pub(crate) struct Board {
    waiting: Mutex<BTreeMap<Uuid, Waiting>>,
    /// From each request to the job's arrival at its desk.
    dispatches: Mutex<Vec<Duration>>,
}

#[derive(Debug)]
struct Waiting {
    sent: Instant,
    done: oneshot::Sender<()>,
}

impl Board {
    /// Notes that an encode is asked for now; ends when its result has settled it.
    pub(crate) fn sent(&self, encoder: Uuid) -> oneshot::Receiver<()> {
        let (done, wait) = oneshot::channel();
        locked(&self.waiting).insert(encoder, Waiting { sent: clock::now(), done });
        wait
    }

    fn arrived(&self, encoder: Uuid) {
        let now = clock::now();
        if let Some(waiting) = locked(&self.waiting).get(&encoder) {
            locked(&self.dispatches).push(now.duration_since(waiting.sent));
        }
    }

    fn done(&self, encoder: Uuid) {
        if let Some(waiting) = locked(&self.waiting).remove(&encoder) {
            // Whoever asked may have given up.
            let _ = waiting.done.send(());
        }
    }

    /// What was measured since the last time.
    pub(crate) fn take(&self) -> Vec<Duration> {
        std::mem::take(&mut *locked(&self.dispatches))
    }
}

/// What the hub serves.
#[derive(Clone, Debug)]
pub(crate) struct Property {
    pub(crate) acs_system_id: String,
    entrances: Vec<String>,
    /// Of whom the credentials are.
    acs_user_id: String,
}

impl Property {
    /// Reads it, and makes users until there are so many; an earlier run on the same database has left some.
    pub(crate) async fn new(api: &Pool, users: usize) -> anyhow::Result<Self> {
        let systems: Value = api.post("/acs/systems/list", &json!({})).await?;
        let acs_system_id = text(&systems, "/acs_systems/0/acs_system_id")?;
        let entrances = items(api, "/acs/entrances/list", "acs_entrances").await?;
        let entrances =
            entrances.iter().map(|entrance| text(entrance, "/acs_entrance_id")).collect::<Result<_, _>>()?;
        for number in items(api, "/acs/users/list", "acs_users").await?.len()..users {
            let _: Value = api.post("/acs/users/create", &guest(&acs_system_id, number)).await?;
        }
        let users = items(api, "/acs/users/list", "acs_users").await?;
        let acs_user_id = text(users.first().context("no user")?, "/acs_user_id")?;
        Ok(Self { acs_system_id, entrances, acs_user_id })
    }

    /// A new credential for two doors.
    pub(crate) async fn credential(&self, api: &Pool) -> anyhow::Result<String> {
        let body = json!({
            "acs_user_id": self.acs_user_id, "access_method": "card", "allowed_acs_entrance_ids": self.entrances,
            "starts_at": "2026-07-13T15:00:00.000Z", "ends_at": "2056-07-16T11:00:00.000Z",
        });
        let made: Value = api.post("/acs/credentials/create", &body).await?;
        text(&made, "/acs_credential/acs_credential_id")
    }
}

/// A user, as either side takes it.
pub(crate) fn guest(acs_system_id: &str, number: usize) -> Value {
    json!({
        "acs_system_id": acs_system_id, "full_name": format!("Guest {number}"),
        "email_address": format!("guest{number}@example.com"),
    })
}

/// A list, or its first page.
async fn items(api: &Pool, path: &str, name: &str) -> anyhow::Result<Vec<Value>> {
    let mut answer: Value = api.post(path, &json!({})).await?;
    match answer.get_mut(name).map(Value::take) {
        Some(Value::Array(items)) => Ok(items),
        _ => anyhow::bail!("{path} answered without {name}: {answer}"),
    }
}

/// The text at a place in an answer.
pub(crate) fn text(value: &Value, pointer: &str) -> anyhow::Result<String> {
    let found = value.pointer(pointer).and_then(Value::as_str);
    Ok(found.with_context(|| format!("no {pointer} in {value}"))?.to_owned())
}
