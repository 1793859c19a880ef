//! The life of an attempt: made, offered, started, settled.
//!
//! | what happens | the attempt becomes |
//! | --- | --- |
//! | the daemon does not ask for work, the encoder is unplugged, unlinked, silent or busy, the credential is gone | an error at once, in the first answer |
//! | the same before the job was started | an error then |
//! | the deadline passes and the job was not started | `action_attempt_expired`; a late start is refused |
//! | the daemon reports a result in time | a success or an error |
//! | the job was started and nothing is heard until [`Patience::finish`](super::Patience) after the deadline | `bridge_disconnected` if its daemon is gone, else `action_attempt_expired` |
//!
//! A started job is not taken away before that: its daemon may be writing. A settled attempt never changes; a result
//! that comes later changes only what is known of the credential.

use super::call::Call;
use super::credentials::{self, Arrival};
use super::error::{ApiError, Invalid};
use super::{Hub, assignment, compact, encoders, guests, nodes, simulation};
use crate::api::access_methods::AccessMethod;
use crate::api::acs_credentials::AcsCredential;
use crate::api::acs_encoders::AcsEncoder;
use crate::api::action_attempts::{ActionAttempt, ActionType, AttemptError, RawWritten};
use crate::api::bridge::raw::{RawImage, RawWrite};
use crate::api::bridge::{
    EncodeWork, Failed, Job, JobWork, Outcome, RawEnded, RawWork, ResultRequest, ResultResponse, StartRequest,
    StartResponse,
};
use crate::api::id::{
    AccessMethodId, AcsCredentialId, AcsEncoderId, AcsUserId, ActionAttemptId, BridgeId, WorkspaceId,
};
use crate::api::time::Time;
use crate::clock;
use crate::fault::{Fault, FaultKind, Loudness, Work};
use crate::store::hub::access_methods;
use crate::store::hub::acs_credentials::{self, Credential};
use crate::store::hub::acs_encoders::{self, Encoder};
use crate::store::hub::acs_systems::SystemIds;
use crate::store::hub::action_attempts::{self, Attempt, NewAttempt, Settlement};
use crate::store::hub::jobs::{self, Asking};
use crate::store::{Connection, Realm, StoreError, Transaction};
use crate::telemetry::metrics;
use std::collections::BTreeSet;
use std::time::Duration;
use tracing::Instrument as _;
use uuid::Uuid;

/// How often open attempts are looked at.
const SWEEP_EVERY: Duration = Duration::from_millis(250);

/// How often a node without open attempts looks at those that other nodes have made.
const LOOK_AROUND_EVERY: Duration = Duration::from_secs(1);

/// How often callers and daemons are forgotten that were not heard of for a while.
const FORGET_EVERY: Duration = Duration::from_mins(1);

/// How an attempt ends: with its result, or with what prevented it.
pub(super) type End = Result<serde_json::Value, Fault>;

/// What an encode was asked for by.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target {
    Credential(AcsCredentialId),
    AccessMethod(AccessMethodId),
}

/// Starts writing a credential to a card.
pub(super) async fn encode(call: &Call, encoder: AcsEncoderId, target: Target) -> Result<ActionAttempt, ApiError> {
    let workspace = call.system().workspace_id;
    let mut transaction = call.begin().await?;
    let encoder = existing(&mut transaction, workspace, encoder).await?;
    let credential = match target {
        Target::Credential(id) => acs_credentials::get(&mut transaction, workspace, id)
            .await?
            .filter(|credential| credential.deleted_at.is_none())
            .ok_or_else(|| ApiError::no::<AcsCredential>(id))?,
        Target::AccessMethod(id) => {
            let behind = access_methods::credential_of(&mut transaction, workspace, id).await?;
            let behind = behind.ok_or_else(|| ApiError::no::<AccessMethod>(id))?;
            let credential = acs_credentials::get(&mut transaction, workspace, behind).await?;
            credential.ok_or_else(|| ApiError::no::<AccessMethod>(id))?
        }
    };
    let property_id = call.hub().property_id(workspace);
    let work = JobWork::Encode(encode_work(property_id, &mut transaction, &credential).await?);
    let asked = Asked { action_type: ActionType::EncodeCredential, credential: Some(&credential), user: None, work };
    begin(call.hub(), transaction, &encoder, asked).await
}

/// Starts reading a card.
pub(super) async fn scan(call: &Call, encoder: AcsEncoderId) -> Result<ActionAttempt, ApiError> {
    let mut transaction = call.begin().await?;
    let encoder = existing(&mut transaction, call.system().workspace_id, encoder).await?;
    let asked = Asked { action_type: ActionType::ScanCredential, credential: None, user: None, work: JobWork::Scan };
    begin(call.hub(), transaction, &encoder, asked).await
}

/// Starts reading a card whose credential is to go to a user.
pub(super) async fn scan_to_assign(
    call: &Call,
    mut transaction: Transaction,
    encoder: AcsEncoderId,
    user: AcsUserId,
) -> Result<ActionAttempt, ApiError> {
    let encoder = existing(&mut transaction, call.system().workspace_id, encoder).await?;
    let action_type = ActionType::ScanToAssignCredential;
    let asked = Asked { action_type, credential: None, user: Some(user), work: JobWork::Scan };
    begin(call.hub(), transaction, &encoder, asked).await
}

/// The most writes of an image: the blocks of the largest card.
const RAW_WRITES_MAX: usize = 256;

/// How much longer an attempt may take for each write of an image: looking, writing and reading back twice are some five
/// exchanges of ten milliseconds each.
const TIME_OF_RAW_WRITE: Duration = Duration::from_millis(60);

/// Starts writing an image. What needs a card or its maker's rules to be judged is judged at the desk.
pub(super) async fn write_raw(call: &Call, encoder: AcsEncoderId, image: RawImage) -> Result<ActionAttempt, ApiError> {
    if image.is_empty() || image.len() > RAW_WRITES_MAX {
        return Err(Invalid::parameter("image.writes", "Must hold 1 to 256 writes, or `pages` must").into());
    }
    let is_trailer = |write: &RawWrite| matches!(write, RawWrite::Trailer { .. });
    if !image.write_trailers && image.writes.iter().any(is_trailer) {
        return Err(Invalid::parameter("image.write_trailers", "Must be true for an image that has trailers").into());
    }
    let mut transaction = call.begin().await?;
    let encoder = existing(&mut transaction, call.system().workspace_id, encoder).await?;
    let work = JobWork::Raw(RawWork { image });
    let asked = Asked { action_type: ActionType::WriteRaw, credential: None, user: None, work };
    begin(call.hub(), transaction, &encoder, asked).await
}

async fn existing(connection: &mut Connection, workspace: WorkspaceId, id: AcsEncoderId) -> Result<Encoder, ApiError> {
    acs_encoders::get(connection, workspace, id).await?.ok_or_else(|| ApiError::no::<AcsEncoder>(id))
}

/// What is to be done on an encoder.
struct Asked<'a> {
    action_type: ActionType,
    credential: Option<&'a Credential>,
    user: Option<AcsUserId>,
    work: JobWork,
}

async fn encode_work(
    property_id: Option<Uuid>,
    connection: &mut Connection,
    credential: &Credential,
) -> Result<EncodeWork, StoreError> {
    let seconds = |time: Time| {
        time.card_seconds()
            .ok_or_else(|| StoreError::Value { expected: "a time that a card can carry", value: time.to_string() })
    };
    // A played card binds nobody: the credential may go onto any card.
    let on_card = credential.real_issue().map(|issue| issue.card_number.clone());
    Ok(EncodeWork {
        acs_credential_id: credential.acs_credential_id.0,
        property_id,
        starts_at: seconds(credential.times.starts_at)?,
        ends_at: credential.times.ends_at.map(seconds).transpose()?.unwrap_or(u32::MAX),
        doors: credential.doors.clone(),
        flags: guests::flags_to_write(connection, credential).await?,
        card_number: credential.in_doubt_card_number.clone().or(on_card),
    })
}

/// Makes an attempt with its job; settled at once if its end is known.
async fn begin(
    hub: &Hub,
    mut transaction: Transaction,
    encoder: &Encoder,
    asked: Asked<'_>,
) -> Result<ActionAttempt, ApiError> {
    let now = now();
    let longer = match &asked.work {
        JobWork::Raw(work) => TIME_OF_RAW_WRITE * u32::try_from(work.image.len()).unwrap_or(u32::MAX),
        JobWork::Encode(_) | JobWork::Scan => Duration::ZERO,
    };
    let whole = hub.card_wait() + hub.patience().work + longer;
    let id = ActionAttemptId::random();
    let workspace = encoder.system.workspace_id;
    let mut attempt = NewAttempt {
        action_attempt_id: id,
        workspace_id: workspace,
        action_type: asked.action_type,
        acs_encoder_id: Some(encoder.acs_encoder_id),
        acs_credential_id: asked.credential.map(|credential| credential.acs_credential_id),
        acs_user_id: asked.user,
        created_at: now,
        deadline_at: Time::from_ms(now.ms().saturating_add(i64::try_from(whole.as_millis()).unwrap_or(i64::MAX))),
        end: None,
    };
    async {
        let mut known = known_end(hub, &mut transaction, encoder, &asked, now).await?;
        if known.is_none() && !action_attempts::create(&mut transaction, &attempt).await? {
            known = Some(Err(busy(&mut transaction, &attempt).await?.into()));
        }
        if let Some(end) = known {
            let fault = end.as_ref().err().cloned();
            let settled = settlement(attempt.action_type.work(), end);
            count(attempt.action_type.work(), &settled);
            attempt.end = Some(settled);
            action_attempts::create(&mut transaction, &attempt).await?;
            transaction.commit().await?;
            if let Some(fault) = fault {
                log_fault(Some(encoder.acs_encoder_id), &fault);
            }
        } else {
            jobs::create(&mut transaction, id, encoder.acs_encoder_id, &asked.work, hub.card_wait(), now).await?;
            if let Some(bridge) = encoder.bridge_id {
                transaction.ring_for_job(bridge.0);
            }
            transaction.commit().await?;
            hub.deadlines().begin(id, whole);
            tracing::info!(acs_encoder_id = %encoder.acs_encoder_id, action_type = ?attempt.action_type, "pending");
            // The encoder may have been unplugged between the look at it and the commit.
            settle_unstarted(hub, workspace, encoder.acs_encoder_id).await?;
        }
        let mut connection = hub.store().read().await?;
        let made = action_attempts::get(&mut connection, workspace, id).await?;
        made.map(|attempt| attempt.object).ok_or_else(|| ApiError::no::<ActionAttempt>(id))
    }
    .instrument(span(id))
    .await
}

/// How an attempt ends that needs no desk for it: its credential is gone, its end was arranged, its encoder cannot do it.
async fn known_end(
    hub: &Hub,
    connection: &mut Connection,
    encoder: &Encoder,
    asked: &Asked<'_>,
    now: Time,
) -> Result<Option<End>, StoreError> {
    if asked.credential.is_some_and(|credential| credential.deleted_at.is_some()) {
        return Ok(Some(Err(FaultKind::CredentialDeleted.into())));
    }
    let may_be_played = !matches!(asked.work, JobWork::Raw(_));
    if may_be_played && hub.allows_simulation() && !is_busy(&mut *connection, encoder, asked.credential).await? {
        let scene = simulation::Scene {
            encoder: encoder.acs_encoder_id,
            system: encoder.system,
            work: asked.action_type.work(),
            credential: asked.credential,
            encode: match &asked.work {
                JobWork::Encode(work) => Some(work),
                JobWork::Scan | JobWork::Raw(_) => None,
            },
            user: asked.user,
        };
        if let Some(end) = simulation::played(&mut *connection, &scene, now).await? {
            return Ok(Some(end));
        }
    }
    Ok(encoders::fault(hub, connection, encoder).await?.map(Err))
}

async fn is_busy(
    connection: &mut Connection,
    encoder: &Encoder,
    credential: Option<&Credential>,
) -> Result<bool, StoreError> {
    if action_attempts::open_on(&mut *connection, encoder.acs_encoder_id).await?.is_some() {
        return Ok(true);
    }
    match credential {
        Some(credential) => Ok(action_attempts::open_for(connection, credential.acs_credential_id).await?.is_some()),
        None => Ok(false),
    }
}

/// An attempt that is not of an encoder and that has ended already.
pub(super) async fn made(connection: &mut Connection, attempt: &NewAttempt) -> Result<ActionAttempt, ApiError> {
    let id = attempt.action_attempt_id;
    action_attempts::create(&mut *connection, attempt).await?;
    let made = action_attempts::get(connection, attempt.workspace_id, id).await?;
    made.map(|attempt| attempt.object).ok_or_else(|| ApiError::no::<ActionAttempt>(id))
}

/// Who was first.
async fn busy(connection: &mut Connection, attempt: &NewAttempt) -> Result<FaultKind, StoreError> {
    let same_credential = match attempt.acs_credential_id {
        Some(credential) => action_attempts::open_for(connection, credential).await?.is_some(),
        None => false,
    };
    Ok(if same_credential { FaultKind::CredentialBusy } else { FaultKind::EncoderBusy })
}

/// Ends the open attempt on an encoder if it was not started and the encoder cannot do it any more.
pub(super) async fn settle_unstarted(hub: &Hub, workspace: WorkspaceId, id: AcsEncoderId) -> Result<(), StoreError> {
    let mut connection = hub.store().read().await?;
    let Some(encoder) = acs_encoders::get(&mut connection, workspace, id).await? else { return Ok(()) };
    let Some(fault) = encoders::fault(hub, &mut connection, &encoder).await? else { return Ok(()) };
    if let Some(attempt) = action_attempts::open_on(&mut connection, id).await?
        && attempt.started_at.is_none()
    {
        drop(connection);
        give_up(hub, &attempt, &fault).await?;
    }
    Ok(())
}

/// Ends the open encodes of credentials that were deleted, as far as they were not started.
pub(super) async fn credentials_deleted(hub: &Hub, ids: &[AcsCredentialId]) -> Result<(), StoreError> {
    for id in ids {
        credential_deleted(hub, *id).await?;
    }
    Ok(())
}

/// Ends the open encode of a credential that was deleted, if it was not started.
pub(super) async fn credential_deleted(hub: &Hub, id: AcsCredentialId) -> Result<(), StoreError> {
    let mut connection = hub.store().read().await?;
    if let Some(attempt) = action_attempts::open_for(&mut connection, id).await?
        && attempt.started_at.is_none()
    {
        drop(connection);
        give_up(hub, &attempt, &FaultKind::CredentialDeleted.into()).await?;
    }
    Ok(())
}

/// Ends an attempt with a fault, unless it has ended or was started since it was looked at.
async fn give_up(hub: &Hub, seen: &Attempt, fault: &Fault) -> Result<(), StoreError> {
    let id = seen.object.action_attempt_id;
    let mut transaction = hub.store().begin(realm(seen.workspace_id)).await?;
    let Some(attempt) = action_attempts::get(&mut transaction, seen.workspace_id, id).await? else { return Ok(()) };
    if !attempt.is_open() || attempt.started_at != seen.started_at {
        return Ok(());
    }
    settle_with(&mut transaction, &attempt, fault).await?;
    transaction.commit().await
}

async fn settle_with(connection: &mut Connection, attempt: &Attempt, fault: &Fault) -> Result<bool, StoreError> {
    let end = settlement(attempt.object.action_type.work(), Err(fault.clone()));
    let id = attempt.object.action_attempt_id;
    let settled = action_attempts::settle(connection, id, &end, now()).await?;
    if settled {
        count(attempt.object.action_type.work(), &end);
        span(id).in_scope(|| log_fault(attempt.acs_encoder_id, fault));
    }
    Ok(settled)
}

/// The next job for a daemon, if there is one now.
pub(super) async fn next(
    hub: &Hub,
    system: SystemIds,
    bridge: BridgeId,
    in_hand: &[ActionAttemptId],
    since: Time,
) -> Result<Option<Job>, StoreError> {
    let asking = Asking {
        workspace_id: system.workspace_id,
        bridge_id: bridge,
        in_hand: in_hand.to_vec(),
        since,
        now: now(),
        lease: hub.patience().lease,
    };
    let mut connection = hub.store().read().await?;
    let on_offer = jobs::on_offer(&mut connection, &asking).await?;
    drop(connection);
    for id in on_offer {
        let mut transaction = hub.store().begin(system.realm()).await?;
        if let Some(job) = jobs::offer(&mut transaction, id, &asking).await? {
            transaction.commit().await?;
            tracing::info!(action_attempt_id = %id, fence = job.fence, "offered");
            return Ok(Some(job));
        }
    }
    Ok(None)
}

/// Gives a daemon leave to start a job, or not.
pub(super) async fn start(
    hub: &Hub,
    workspace: WorkspaceId,
    request: &StartRequest,
) -> Result<StartResponse, StoreError> {
    start_inner(hub, workspace, request).instrument(span(ActionAttemptId(request.action_attempt_id))).await
}

async fn start_inner(hub: &Hub, workspace: WorkspaceId, request: &StartRequest) -> Result<StartResponse, StoreError> {
    let id = ActionAttemptId(request.action_attempt_id);
    let refused = |reason: &str| {
        tracing::info!(reason, "start refused");
        Ok(StartResponse::Refused { reason: reason.to_owned() })
    };
    let mut transaction = hub.store().begin(realm(workspace)).await?;
    let attempt = action_attempts::get(&mut transaction, workspace, id).await?;
    let job = jobs::get(&mut transaction, id).await?;
    let (Some(attempt), Some(job)) = (attempt, job) else { return refused("the hub does not know the job") };
    if !attempt.is_open() {
        return refused("the attempt has ended");
    }
    if job.job.fence != request.fence {
        return refused("the job was offered again since");
    }
    let bridge = BridgeId(request.bridge_id);
    if job.bridge_id != Some(bridge) || !jobs::was_offered_to(&mut transaction, id, Some(request.fence), bridge).await?
    {
        return refused("the encoder belongs to another daemon");
    }
    if attempt.started_at.is_none()
        && let Some(fault) = too_late(hub, &mut transaction, &attempt).await?
    {
        settle_with(&mut transaction, &attempt, &fault).await?;
        transaction.commit().await?;
        return refused(&fault.message);
    }
    let remaining = hub.deadlines().of(&attempt).deadline.remaining();
    if remaining.is_zero() {
        return refused("the attempt's time is over");
    }
    if !action_attempts::start(&mut transaction, id, now()).await? {
        return refused("the attempt has ended");
    }
    jobs::start(&mut transaction, id, now()).await?;
    transaction.commit().await?;
    let remaining_ms = u64::try_from(remaining.as_millis()).unwrap_or(u64::MAX);
    tracing::info!(fence = request.fence, remaining_ms, "started");
    Ok(StartResponse::Go { remaining_ms })
}

/// Why a job that was not started must not be started any more.
async fn too_late(hub: &Hub, connection: &mut Connection, attempt: &Attempt) -> Result<Option<Fault>, StoreError> {
    if let Some(id) = attempt.acs_credential_id {
        let credential = acs_credentials::get(connection, attempt.workspace_id, id).await?;
        if credential.is_none_or(|credential| credential.deleted_at.is_some()) {
            return Ok(Some(FaultKind::CredentialDeleted.into()));
        }
    }
    let expired = hub.deadlines().of(attempt).deadline.has_passed();
    Ok(expired.then(|| FaultKind::Expired.into()))
}

/// Takes the end of a job. The first result for an offer counts; sent again, it gets the same answer.
pub(super) async fn finish(
    hub: &Hub,
    workspace: WorkspaceId,
    request: &ResultRequest,
) -> Result<ResultResponse, ApiError> {
    finish_inner(hub, workspace, request).instrument(span(ActionAttemptId(request.action_attempt_id))).await
}

async fn finish_inner(hub: &Hub, workspace: WorkspaceId, request: &ResultRequest) -> Result<ResultResponse, ApiError> {
    let id = ActionAttemptId(request.action_attempt_id);
    let now = now();
    let mut transaction = hub.store().begin(realm(workspace)).await?;
    let attempt = action_attempts::get(&mut transaction, workspace, id).await?;
    let job = jobs::get(&mut transaction, id).await?;
    let (Some(attempt), Some(job)) = (attempt, job) else {
        // Acknowledged, or the daemon would send it for ever: this database is older than the job.
        tracing::warn!("a result for a job that the hub does not know");
        return Ok(ResultResponse { settled: false });
    };
    let bridge = BridgeId(request.bridge_id);
    if !jobs::was_offered_to(&mut transaction, id, None, bridge).await? {
        // What a daemon was never offered does not exist for it.
        tracing::warn!(bridge_id = %bridge, "a result for another daemon's job");
        return Ok(ResultResponse { settled: false });
    }
    if !jobs::was_offered_to(&mut transaction, id, Some(request.fence), bridge).await? {
        return Err(Invalid::parameter("fence", "No such offer was made").into());
    }
    if let Some(earlier) = jobs::result(&mut transaction, id, request.fence).await? {
        return Ok(ResultResponse { settled: earlier.settled });
    }
    let current = request.fence == job.job.fence && job.bridge_id == Some(bridge);
    let in_time = current && attempt.is_open();
    let begun_at = attempt.started_at.unwrap_or(attempt.created_at);
    let arrival = if in_time { Arrival::InTime } else { Arrival::Late(begun_at) };
    let outcome = compact::named(&mut transaction, workspace, &request.outcome, now).await?;
    let end: End = match (&job.job.work, &outcome) {
        (JobWork::Encode(work), Outcome::Encoded(encoded)) => {
            credentials::encoded(&mut transaction, workspace, work, encoded, arrival, now).await?;
            let credential =
                acs_credentials::get(&mut transaction, workspace, AcsCredentialId(work.acs_credential_id)).await?;
            Ok(json(&credential.as_ref().map(credentials::object))?)
        }
        (JobWork::Scan, Outcome::Scanned(scanned)) => {
            credentials::seen(&mut transaction, workspace, scanned, arrival, now).await?;
            match attempt.acs_user_id {
                None => Ok(json(&credentials::scan_result(&mut transaction, workspace, scanned).await?)?),
                Some(user) if in_time => assignment::scanned(&mut transaction, workspace, scanned, user).await?,
                // Late: its caller was told that nothing was assigned.
                Some(_) => Err(FaultKind::Expired.into()),
            }
        }
        (JobWork::Encode(work), Outcome::Failed(failed)) => {
            credentials::in_doubt(&mut transaction, work, failed).await?;
            Err(failed.fault.clone())
        }
        (JobWork::Scan | JobWork::Raw(_), Outcome::Failed(failed)) => Err(failed.fault.clone()),
        (JobWork::Raw(_), Outcome::Raw(ended)) => raw_end(ended)?,
        (JobWork::Encode(_), Outcome::Scanned(_) | Outcome::Raw(_))
        | (JobWork::Scan, Outcome::Encoded(_) | Outcome::Raw(_))
        | (JobWork::Raw(_), Outcome::Encoded(_) | Outcome::Scanned(_)) => {
            return Err(Invalid::parameter("outcome", "The job asked for something else").into());
        }
    };
    let settlement = settlement(attempt.object.action_type.work(), end);
    let settled = in_time && action_attempts::settle(&mut transaction, id, &settlement, now).await?;
    jobs::set_result(&mut transaction, id, request.fence, &request.outcome, settled, now).await?;
    transaction.commit().await?;
    if settled {
        count(attempt.object.action_type.work(), &settlement);
    }
    match &request.outcome {
        Outcome::Failed(Failed { fault, .. }) | Outcome::Raw(RawEnded { fault: Some(fault), .. }) => {
            log_fault(attempt.acs_encoder_id, fault);
        }
        Outcome::Encoded(_) | Outcome::Scanned(_) | Outcome::Raw(RawEnded { fault: None, .. }) => {
            tracing::info!(fence = request.fence, settled, "finished");
        }
    }
    Ok(ResultResponse { settled })
}

/// How the attempt of an image ends. A failure says what was done all the same: an image is written in place.
fn raw_end(ended: &RawEnded) -> Result<End, StoreError> {
    let RawEnded { card_number, report, fault, simulated } = ended;
    let Some(fault) = fault else {
        let (card_number, report) = (card_number.clone(), report.clone());
        return Ok(Ok(json(&RawWritten { card_number, report, simulated: *simulated })?));
    };
    if report.written.is_empty() {
        return Ok(Err(fault.clone()));
    }
    let list = |blocks: &[u8]| match blocks {
        [] => "none".to_owned(),
        blocks => blocks.iter().map(u8::to_string).collect::<Vec<_>>().join(", "),
    };
    let (written, verified) = (list(&report.written), list(&report.verified));
    let message = format!("{} (written: {written}; verified: {verified})", fault.message);
    Ok(Err(Fault { kind: fault.kind, message }))
}

/// Takes up the attempts that were open when the hub was stopped.
pub(super) async fn resume(hub: &Hub) -> Result<(), StoreError> {
    let mut connection = hub.store().read().await?;
    for (attempt, _) in action_attempts::open(&mut connection).await? {
        hub.deadlines().of(&attempt);
    }
    Ok(())
}

/// Ends attempts that nobody will finish, until the hub stops. A node that is alone on its database sleeps while there is
/// none: each begins here.
pub(super) async fn sweep(hub: Hub) {
    let mut forget_at = clock::Deadline::after(FORGET_EVERY);
    loop {
        let is_idle = hub.deadlines().known().is_empty();
        let pause = match (is_idle, hub.store().is_shared()) {
            (false, _) => SWEEP_EVERY,
            // What another node has made, and left behind if it died, is found less often.
            (true, true) => LOOK_AROUND_EVERY,
            (true, false) => forget_at.remaining(),
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = hub.deadlines().begun(), if is_idle => continue,
            () = hub.stop().cancelled() => return,
        }
        if forget_at.has_passed() {
            forget_at = clock::Deadline::after(FORGET_EVERY);
            hub.limits().forget();
            hub.live().connected();
        }
        let known = hub.deadlines().known();
        if known.is_empty() && !hub.store().is_shared() {
            continue;
        }
        if let Err(error) = sweep_once(&hub, &known).await {
            tracing::error!(error = %error, cause = ?std::error::Error::source(&error), "could not look after attempts");
        }
    }
}

async fn sweep_once(hub: &Hub, known: &[ActionAttemptId]) -> Result<(), StoreError> {
    let mut connection = hub.store().read().await?;
    let open = action_attempts::open(&mut connection).await?;
    let are_open: BTreeSet<_> = open.iter().map(|(attempt, _)| attempt.object.action_attempt_id).collect();
    hub.deadlines().forget(&known.iter().copied().filter(|id| !are_open.contains(id)).collect());
    let mut overdue = Vec::new();
    for (attempt, bridge) in open {
        let connected = match bridge {
            Some(bridge) => nodes::is_connected(hub, &mut connection, bridge).await?,
            None => false,
        };
        // A daemon that was connected before the hub was restarted has a moment to come back.
        let may_come = bridge.is_some_and(|bridge| hub.awaits(bridge));
        let due = hub.deadlines().of(&attempt);
        let kind = if connected { FaultKind::Expired } else { FaultKind::BridgeDisconnected };
        let over = match attempt.started_at {
            None => due.deadline.has_passed() || (!connected && !may_come),
            Some(_) => due.given_up.has_passed(),
        };
        if over {
            overdue.push((attempt, kind));
        }
    }
    for bridge in jobs::unclaimed(&mut connection, now(), hub.patience().lease).await? {
        hub.live().ring(bridge);
    }
    drop(connection);
    for (attempt, kind) in overdue {
        give_up(hub, &attempt, &kind.into()).await?;
    }
    Ok(())
}

/// One filter on it shows an attempt's whole story.
fn span(id: ActionAttemptId) -> tracing::Span {
    tracing::info_span!("attempt", action_attempt_id = %id)
}

/// An end as it is kept.
pub(super) fn settlement(work: Work, end: End) -> Settlement {
    match end {
        Ok(result) => Settlement::Success(result),
        Err(fault) => Settlement::Error(AttemptError { kind: fault.kind.error_type(work), message: fault.message }),
    }
}

/// Counts an attempt that ended.
fn count(work: Work, end: &Settlement) {
    let work = match work {
        Work::Encode => "encode",
        Work::Scan | Work::ScanToAssign => "scan",
        Work::Assign => "assign",
    };
    let outcome = match end {
        Settlement::Success(_) => "success",
        Settlement::Error(error) => error.kind.as_str(),
    };
    metrics::attempt_settled(work, outcome);
}

fn log_fault(encoder: Option<AcsEncoderId>, fault: &Fault) {
    let encoder = encoder.map(tracing::field::display);
    match fault.kind.loudness() {
        Loudness::Info => tracing::info!(acs_encoder_id = encoder, fault.kind = ?fault.kind, fault.message, "failed"),
        Loudness::Warn => tracing::warn!(acs_encoder_id = encoder, fault.kind = ?fault.kind, fault.message, "failed"),
        Loudness::Error => {
            tracing::error!(acs_encoder_id = encoder, fault.kind = ?fault.kind, fault.message, "failed");
        }
    }
}

/// A result as it is kept.
pub(super) fn json<T: serde::Serialize>(value: &T) -> Result<serde_json::Value, StoreError> {
    serde_json::to_value(value)
        .map_err(|error| StoreError::Value { expected: "something with a JSON form", value: error.to_string() })
}

fn realm(workspace: WorkspaceId) -> Realm {
    Realm::Workspace(workspace.0)
}

pub(super) fn now() -> Time {
    Time::from_ms(clock::wall_ms())
}
