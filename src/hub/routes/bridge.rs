//! `/bridge/v1/…`: the desks' daemons. See [`crate::api::bridge`] for what they say.

use super::now;
use crate::api::bridge::{
    EncoderLink, EncoderReport, EventsRequest, LONG_POLL_SECONDS_MAX, NextRequest, NextResponse, ProgressRequest,
    ResultRequest, ResultResponse, StartRequest, StartResponse, SyncRequest, SyncResponse,
};
use crate::api::envelope::Done;
use crate::api::events::{EncoderEvent, Happening};
use crate::api::id::{AcsEncoderId, ActionAttemptId, BridgeId};
use crate::api::time::Time;
use crate::clock::Deadline;
use crate::hub::error::ApiError;
use crate::hub::request::Input;
use crate::hub::{Hub, attempts};
use crate::store::hub::acs_encoders::{self, Encoder, Link};
use crate::store::hub::events;
use crate::store::{Connection, StoreError};
use axum::Json;
use axum::extract::State;
use std::pin::pin;
use std::time::Duration;

/// Takes over a daemon's encoders, makes those that it asks for, and tells it the links.
pub(super) async fn sync(
    State(hub): State<Hub>,
    Input(request): Input<SyncRequest>,
) -> Result<Json<SyncResponse>, ApiError> {
    let bridge = BridgeId(request.bridge_id);
    hub.live().heard(bridge);
    let now = now();
    let mut transaction = hub.store().begin().await?;
    let known = acs_encoders::of_bridge(&mut transaction, bridge).await?;
    let mut linked = Vec::with_capacity(request.encoders.len());
    for report in request.encoders {
        let earlier = known.iter().find(|encoder| encoder.device_id.as_deref() == Some(&*report.device_id));
        let named = report.acs_encoder_id.map(AcsEncoderId);
        let is_known = match named {
            Some(id) => acs_encoders::get(&mut transaction, id).await?.is_some(),
            None => false,
        };
        let id = match (named, earlier) {
            (Some(id), _) if is_known || report.create => Some(id),
            // An id that nobody knows is a slip of the hand: the device keeps what it had.
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
            link(&hub, &mut transaction, bridge, id, &report, now).await?;
            linked.push((id, report));
        }
    }
    transaction.commit().await?;
    let links = linked
        .iter()
        .map(|(id, report)| EncoderLink { device_id: report.device_id.clone(), acs_encoder_id: id.0 })
        .collect();
    tracing::info!(bridge_id = %bridge, version = request.version, encoders = linked.len(), "synchronised");
    let touched: Vec<AcsEncoderId> =
        known.iter().map(|encoder| encoder.acs_encoder_id).chain(linked.iter().map(|(id, _)| *id)).collect();
    hub.live().sync(bridge, linked, now);
    for id in touched {
        attempts::settle_unstarted(&hub, id).await?;
    }
    Ok(Json(SyncResponse { links }))
}

async fn link(
    hub: &Hub,
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
    let before = acs_encoders::get(&mut *connection, id).await?;
    let unchanged = before.as_ref().is_some_and(|encoder| {
        encoder.bridge_id == Some(bridge)
            && encoder.device_id.as_deref() == Some(&*link.device_id)
            && encoder.display_name == link.display_name
            && encoder.simulated == link.simulated
    });
    if unchanged {
        return Ok(());
    }
    let system = hub.system();
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
pub(super) async fn next(
    State(hub): State<Hub>,
    Input(request): Input<NextRequest>,
) -> Result<Json<NextResponse>, ApiError> {
    let bridge = BridgeId(request.bridge_id);
    let since = now();
    let end = Deadline::after(Duration::from_secs(request.wait_seconds.min(LONG_POLL_SECONDS_MAX)));
    let in_hand: Vec<_> = request.in_hand.into_iter().map(ActionAttemptId).collect();
    let _open = hub.live().poll(bridge);
    // Nobody rings for an offer whose lease has ended.
    let look_every = hub.patience().lease / 2;
    loop {
        // Listens before it looks, so that a job made in between rings.
        let mut rung = pin!(hub.jobs().notified());
        rung.as_mut().enable();
        if hub.stop().is_cancelled() {
            return Ok(Json(NextResponse { job: None }));
        }
        let job = attempts::next(&hub, bridge, &in_hand, since).await?;
        if job.is_some() || end.has_passed() {
            return Ok(Json(NextResponse { job }));
        }
        tokio::select! {
            () = rung => {}
            () = tokio::time::sleep(end.remaining().min(look_every)) => {}
            () = hub.stop().cancelled() => {}
        }
    }
}

/// Asks for leave to start.
pub(super) async fn start(
    State(hub): State<Hub>,
    Input(request): Input<StartRequest>,
) -> Result<Json<StartResponse>, ApiError> {
    hub.live().heard(BridgeId(request.bridge_id));
    Ok(Json(attempts::start(&hub, &request).await?))
}

/// Hears how far a job is. That is for show and not kept: a card is being written, and a write to the disk for each step
/// would only hold up what matters.
pub(super) async fn progress(
    State(hub): State<Hub>,
    Input(request): Input<ProgressRequest>,
) -> Result<Json<Done>, ApiError> {
    hub.live().heard(BridgeId(request.bridge_id));
    tracing::debug!(action_attempt_id = %request.action_attempt_id, progress = ?request.progress, "progress");
    Ok(Json(Done::default()))
}

/// Takes the end of a job.
pub(super) async fn result(
    State(hub): State<Hub>,
    Input(request): Input<ResultRequest>,
) -> Result<Json<ResultResponse>, ApiError> {
    hub.live().heard(BridgeId(request.bridge_id));
    Ok(Json(attempts::finish(&hub, &request).await?))
}

/// Takes over how encoders have changed.
pub(super) async fn events(
    State(hub): State<Hub>,
    Input(request): Input<EventsRequest>,
) -> Result<Json<Done>, ApiError> {
    let bridge = BridgeId(request.bridge_id);
    hub.live().heard(bridge);
    let known = acs_encoders::of_bridge(&mut *hub.store().read().await?, bridge).await?;
    for event in request.events {
        let named = event.encoder.acs_encoder_id.map(AcsEncoderId);
        let Some(encoder) = known.iter().find(|encoder| {
            Some(encoder.acs_encoder_id) == named
                || (named.is_none() && encoder.device_id.as_deref() == Some(&*event.encoder.device_id))
        }) else {
            continue; // Not linked, or another daemon's by now.
        };
        let id = encoder.acs_encoder_id;
        hub.live().report(bridge, id, event.encoder, Time::from_ms(event.at.as_millisecond()));
        attempts::settle_unstarted(&hub, id).await?;
    }
    Ok(Json(Done::default()))
}
