//! `/bridge/v1/…`: the desks' daemons. See [`crate::api::bridge`] for what they say.

use super::now;
use crate::api::bridge::{
    EncoderLink, EncoderReport, EncoderState, EventsRequest, LONG_POLL_SECONDS_MAX, NextRequest, NextResponse,
    Presence, ProgressRequest, RefusedLink, ResultRequest, ResultResponse, StartRequest, StartResponse, SyncRequest,
    SyncResponse,
};
use crate::api::envelope::Done;
use crate::api::events::{EncoderEvent, Happening};
use crate::api::id::{AcsEncoderId, ActionAttemptId, BridgeId};
use crate::api::time::Time;
use crate::clock::Deadline;
use crate::hub::call::DeskCall;
use crate::hub::error::ApiError;
use crate::hub::{attempts, nodes};
use crate::store::hub::acs_encoders::{self, Encoder, Link, Reported};
use crate::store::hub::acs_systems::SystemIds;
use crate::store::hub::{bridge_tokens, events, jobs};
use crate::store::{Connection, StoreError};
use std::pin::pin;
use std::time::Duration;
use uuid::Uuid;

/// How exactly it is noted when a daemon was last seen. Each sync would be a write to the disk.
const SEEN_EVERY: Duration = Duration::from_mins(5);

/// Takes over a daemon's encoders, makes those that it asks for, and tells it the links.
pub(super) async fn sync(call: DeskCall, request: SyncRequest) -> Result<SyncResponse, ApiError> {
    let bridge = speaks(&call, request.bridge_id).await?;
    let (hub, system, now) = (call.hub(), call.system(), now());
    let mut transaction = call.begin().await?;
    let known = acs_encoders::of_bridge(&mut transaction, system.workspace_id, bridge).await?;
    let mut linked = Vec::with_capacity(request.encoders.len());
    let mut refused = Vec::new();
    for report in request.encoders {
        let earlier = known.iter().find(|encoder| encoder.device_id.as_deref() == Some(&*report.device_id));
        let named = report.acs_encoder_id.map(AcsEncoderId);
        let asked_for = named.is_some() && report.acs_encoder_id == request.take_over;
        let is_known = match named {
            Some(id) => whose(&call, &mut transaction, bridge, id).await?,
            None => Known::Nobody,
        };
        let is_known = match is_known {
            // Never out of another workspace.
            Known::Anothers(Some(_)) if asked_for => Known::Free,
            known @ (Known::Nobody | Known::Free | Known::Anothers(_)) => known,
        };
        if let (Some(id), Known::Anothers(owner)) = (named, is_known) {
            let held_by = match owner {
                Some(owner) => bridge_tokens::name_of(&mut transaction, system.workspace_id, owner).await?,
                None => None,
            };
            refused.push(RefusedLink { device_id: report.device_id.clone(), acs_encoder_id: id.0, held_by });
        }
        let id = match (named, earlier) {
            (Some(id), _) if is_known == Known::Free || (is_known == Known::Nobody && report.create) => Some(id),
            // An id that nobody knows is a slip of the hand, and one that another desk has is that desk's: the device
            // keeps what it had.
            (Some(_), earlier) => earlier.map(|encoder| encoder.acs_encoder_id),
            // The answer to an earlier sync was lost: the same device gets the same encoder.
            (None, Some(encoder)) if report.create => Some(encoder.acs_encoder_id),
            (None, None) if report.create => Some(AcsEncoderId::random()),
            (None, _) => None,
        };
        if let Some(encoder) = earlier
            && id != Some(encoder.acs_encoder_id)
        {
            dissolve(&mut transaction, encoder, now).await?;
        }
        if let Some(id) = id {
            link(system, &mut transaction, bridge, id, &report, now).await?;
            linked.push((id, report));
        }
    }
    take_over(&mut transaction, bridge, &linked, now).await?;
    if let Some(token) = call.caller().bridge_token_id() {
        let ms = i64::try_from(SEEN_EVERY.as_millis()).unwrap_or(i64::MAX);
        bridge_tokens::seen(&mut transaction, token, now, Time::from_ms(now.ms().saturating_sub(ms))).await?;
    }
    transaction.commit().await?;
    let links = linked
        .iter()
        .map(|(id, report)| EncoderLink { device_id: report.device_id.clone(), acs_encoder_id: id.0 })
        .collect();
    tracing::info!(bridge_id = %bridge, version = request.version, encoders = linked.len(), "synchronised");
    let touched: Vec<AcsEncoderId> =
        known.iter().map(|encoder| encoder.acs_encoder_id).chain(linked.iter().map(|(id, _)| *id)).collect();
    for id in touched {
        attempts::settle_unstarted(hub, system.workspace_id, id).await?;
    }
    Ok(SyncResponse { links, refused })
}

/// Notes that a daemon said something; refuses one that speaks for another.
async fn speaks(call: &DeskCall, bridge: Uuid) -> Result<BridgeId, ApiError> {
    let bridge = call.caller().speaks_for(call.hub(), bridge).await?;
    nodes::heard(call.hub(), bridge).await?;
    Ok(bridge)
}

/// Whose an encoder is that a daemon names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// No encoder has this id.
    Nobody,
    /// This daemon's, or one without a device.
    Free,
    /// Another daemon has it, whether that one is connected or not: a PC that is switched off over night is still a desk.
    /// `None`: in another workspace.
    Anothers(Option<BridgeId>),
}

async fn whose(
    call: &DeskCall,
    connection: &mut Connection,
    bridge: BridgeId,
    id: AcsEncoderId,
) -> Result<Known, ApiError> {
    let Some(encoder) = acs_encoders::get(&mut *connection, call.system().workspace_id, id).await? else {
        // An id of another workspace is none here, and must not be made a second time.
        let elsewhere = acs_encoders::exists(connection, id).await?;
        return Ok(if elsewhere { Known::Anothers(None) } else { Known::Nobody });
    };
    let owner = encoder.bridge_id.filter(|owner| *owner != bridge && encoder.device_id.is_some());
    Ok(owner.map_or(Known::Free, |owner| Known::Anothers(Some(owner))))
}

/// Takes over all reports of a daemon. What it does not name any more is gone. What is known already is not written
/// again: most syncs bring nothing new.
async fn take_over(
    connection: &mut Connection,
    bridge: BridgeId,
    linked: &[(AcsEncoderId, EncoderReport)],
    now: Time,
) -> Result<(), StoreError> {
    let earlier = acs_encoders::reported_by(&mut *connection, bridge).await?;
    for (id, report) in linked {
        if earlier.iter().any(|known| known.acs_encoder_id == *id && known.report == *report) {
            continue;
        }
        let reported = Reported { acs_encoder_id: *id, bridge_id: bridge, report: report.clone(), at: now };
        acs_encoders::put_report(&mut *connection, &reported).await?;
    }
    for mut gone in earlier {
        let named = linked.iter().any(|(id, _)| *id == gone.acs_encoder_id);
        if named || gone.report.state == EncoderState::Offline {
            continue;
        }
        gone.report.state = EncoderState::Offline;
        gone.report.presence = Presence::Absent;
        gone.report.card_number = None;
        gone.report.fault = None;
        acs_encoders::put_report(&mut *connection, &Reported { at: now, ..gone }).await?;
    }
    Ok(())
}

async fn link(
    system: SystemIds,
    connection: &mut Connection,
    bridge: BridgeId,
    id: AcsEncoderId,
    report: &EncoderReport,
    now: Time,
) -> Result<(), StoreError> {
    let display_name = match report.display_name.trim() {
        "" => report.device_id.clone(),
        name => name.to_owned(),
    };
    let link = Link {
        acs_encoder_id: id,
        bridge_id: bridge,
        device_id: report.device_id.clone(),
        display_name,
        simulated: report.simulated,
    };
    let before = acs_encoders::get(&mut *connection, system.workspace_id, id).await?;
    let unchanged = before.as_ref().is_some_and(|encoder| {
        encoder.bridge_id == Some(bridge)
            && encoder.device_id.as_deref() == Some(&*link.device_id)
            && encoder.display_name == link.display_name
            && encoder.simulated == link.simulated
    });
    if unchanged {
        return Ok(());
    }
    acs_encoders::put(&mut *connection, system.acs_system_id, &link, now).await?;
    if before.is_none_or(|encoder| encoder.removed_at.is_some()) {
        let happening = Happening::AcsEncoderAdded(EncoderEvent { system: system.event(), acs_encoder_id: id });
        events::record(connection, system.workspace_id, happening, None, now).await?;
    }
    Ok(())
}

/// The daemon does not link the device to this encoder any more.
async fn dissolve(connection: &mut Connection, encoder: &Encoder, now: Time) -> Result<(), StoreError> {
    acs_encoders::unlink(&mut *connection, encoder.acs_encoder_id, now).await?;
    let event = EncoderEvent { system: encoder.system.event(), acs_encoder_id: encoder.acs_encoder_id };
    events::record(connection, encoder.system.workspace_id, Happening::AcsEncoderRemoved(event), None, now).await
}

/// Waits for a job.
pub(super) async fn next(call: DeskCall, request: NextRequest) -> Result<NextResponse, ApiError> {
    let bridge = speaks(&call, request.bridge_id).await?;
    let (hub, since) = (call.hub(), now());
    let end = Deadline::after(Duration::from_secs(request.wait_seconds.min(LONG_POLL_SECONDS_MAX)));
    let in_hand: Vec<_> = request.in_hand.into_iter().map(ActionAttemptId).collect();
    let open = hub.live().poll(bridge);
    // The token may have been revoked between the look at it and the poll, which nobody would end then.
    let mut look_at_token = true;
    loop {
        // Listens before it looks, so that a job made in between rings.
        let mut rung = pin!(open.bell.notified());
        rung.as_mut().enable();
        if hub.stop().is_cancelled() {
            return Ok(NextResponse { job: None });
        }
        if look_at_token && let Err(error) = call.caller().still_stands(hub).await {
            nodes::hang_up(hub, bridge).await?;
            return Err(error);
        }
        let job = attempts::next(hub, call.system(), bridge, &in_hand, since).await?;
        if job.is_some() || end.has_passed() {
            return Ok(NextResponse { job });
        }
        tokio::select! {
            () = rung => look_at_token = true,
            () = tokio::time::sleep(end.remaining()) => {}
            () = hub.stop().cancelled() => {}
        }
    }
}

/// Asks for leave to start.
pub(super) async fn start(call: DeskCall, request: StartRequest) -> Result<StartResponse, ApiError> {
    speaks(&call, request.bridge_id).await?;
    Ok(attempts::start(call.hub(), call.system().workspace_id, &request).await?)
}

/// Hears how far a job is. That is for show and not kept: a card is being written, and a write to the disk for each step
/// would only hold up what matters.
pub(super) async fn progress(call: DeskCall, request: ProgressRequest) -> Result<Done, ApiError> {
    let bridge = speaks(&call, request.bridge_id).await?;
    let id = ActionAttemptId(request.action_attempt_id);
    // What a daemon was never offered does not exist for it.
    if jobs::was_offered_to(&mut *call.read().await?, id, None, bridge).await? {
        tracing::debug!(action_attempt_id = %id, progress = ?request.progress, "progress");
    }
    Ok(Done::default())
}

/// Takes the end of a job.
pub(super) async fn result(call: DeskCall, request: ResultRequest) -> Result<ResultResponse, ApiError> {
    speaks(&call, request.bridge_id).await?;
    attempts::finish(call.hub(), call.system().workspace_id, &request).await
}

/// Takes over how encoders have changed.
pub(super) async fn events(call: DeskCall, request: EventsRequest) -> Result<Done, ApiError> {
    let bridge = speaks(&call, request.bridge_id).await?;
    let workspace = call.system().workspace_id;
    let mut transaction = call.begin().await?;
    let known = acs_encoders::of_bridge(&mut transaction, workspace, bridge).await?;
    let mut touched = Vec::new();
    for event in request.events {
        let named = event.encoder.acs_encoder_id.map(AcsEncoderId);
        let Some(encoder) = known.iter().find(|encoder| {
            Some(encoder.acs_encoder_id) == named
                || (named.is_none() && encoder.device_id.as_deref() == Some(&*event.encoder.device_id))
        }) else {
            continue; // Not linked, or another daemon's by now.
        };
        let id = encoder.acs_encoder_id;
        let at = Time::from_ms(event.at.as_millisecond());
        let reported = Reported { acs_encoder_id: id, bridge_id: bridge, report: event.encoder, at };
        acs_encoders::put_report(&mut transaction, &reported).await?;
        touched.push(id);
    }
    transaction.commit().await?;
    for id in touched {
        attempts::settle_unstarted(call.hub(), workspace, id).await?;
    }
    Ok(Done::default())
}
