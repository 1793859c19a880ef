//! How encoders are right now: what their daemons last said of them, and whether those are there.

use super::{Hub, nodes};
use crate::api::acs_encoders::{List, LiveEncoder, LiveFault};
use crate::api::bridge::{EncoderState, Presence};
use crate::api::id::WorkspaceId;
use crate::api::parameters::LIMIT_MAX;
use crate::fault::{Fault, FaultKind, Work};
use crate::store::hub::acs_encoders::{self, Encoder, Reported};
use crate::store::hub::select::Page;
use crate::store::{Connection, StoreError};

/// Why nothing can be done on an encoder right now, if so.
///
/// A daemon that was not heard of since the hub was started has a moment to come back. One that asks for work but has not yet said how the encoder is gets the job: it knows better.
pub(super) async fn fault(
    hub: &Hub,
    connection: &mut Connection,
    encoder: &Encoder,
) -> Result<Option<Fault>, StoreError> {
    let Some(bridge) = encoder.bridge_id else { return Ok(Some(FaultKind::EncoderNotLinked.into())) };
    let connected = nodes::is_connected(hub, &mut *connection, bridge).await?;
    if !connected && hub.awaits(bridge) && encoder.device_id.is_some() {
        return Ok(None);
    }
    let reported = acs_encoders::reported(connection, encoder.acs_encoder_id).await?;
    Ok(fault_of(encoder, connected, reported.as_ref()))
}

fn fault_of(encoder: &Encoder, connected: bool, reported: Option<&Reported>) -> Option<Fault> {
    if encoder.bridge_id.is_none() {
        return Some(FaultKind::EncoderNotLinked.into());
    }
    if !connected {
        return Some(FaultKind::BridgeDisconnected.into());
    }
    if encoder.device_id.is_none() {
        return Some(FaultKind::EncoderNotLinked.into());
    }
    let report = &reported.filter(|reported| Some(reported.bridge_id) == encoder.bridge_id)?.report;
    let kind = match report.state {
        EncoderState::Online => return None,
        EncoderState::Offline => FaultKind::EncoderOffline,
        EncoderState::Unavailable => FaultKind::PortBusy,
        EncoderState::Silent => FaultKind::EncoderSilent,
    };
    // The daemon's own words name the program that has the port, for instance.
    match &report.fault {
        Some(fault) if fault.kind == kind => Some(fault.clone()),
        Some(_) | None => Some(kind.into()),
    }
}

/// The encoders of a workspace as they are shown.
pub(super) async fn all_live(
    hub: &Hub,
    connection: &mut Connection,
    workspace: WorkspaceId,
) -> Result<Vec<LiveEncoder>, StoreError> {
    let page = Page { limit: LIMIT_MAX, after: None };
    let known = acs_encoders::list(&mut *connection, workspace, &List::default(), page).await?;
    let mut all = Vec::with_capacity(known.items.len());
    for encoder in &known.items {
        all.push(live(hub, &mut *connection, encoder).await?);
    }
    Ok(all)
}

/// An encoder as it is shown.
async fn live(hub: &Hub, connection: &mut Connection, encoder: &Encoder) -> Result<LiveEncoder, StoreError> {
    let bridge_connected = match encoder.bridge_id {
        Some(bridge) => nodes::is_connected(hub, &mut *connection, bridge).await?,
        None => false,
    };
    let reported = acs_encoders::reported(connection, encoder.acs_encoder_id).await?;
    let unusable = fault_of(encoder, bridge_connected, reported.as_ref());
    let seen = reported.filter(|_| encoder.device_id.is_some());
    let report = seen.as_ref().map(|seen| &seen.report);
    let current = report.filter(|_| bridge_connected);
    let fault = unusable.or_else(|| current.and_then(|report| report.fault.clone()));
    Ok(LiveEncoder {
        acs_encoder_id: encoder.acs_encoder_id,
        display_name: encoder.display_name.clone(),
        device_id: encoder.device_id.clone(),
        port: report.and_then(|report| report.port.clone()),
        model: report.and_then(|report| report.model.clone()),
        firmware: report.and_then(|report| report.firmware.clone()),
        simulated: encoder.simulated,
        state: current.map_or(EncoderState::Offline, |report| report.state),
        presence: current.map_or(Presence::Absent, |report| report.presence),
        card_number: current.and_then(|report| report.card_number.clone()),
        fault: fault.map(|fault| LiveFault {
            kind: fault.kind,
            error_type: fault.kind.error_type(Work::Encode),
            message: fault.message,
        }),
        bridge_connected,
        updated_at: seen.as_ref().map(|seen| seen.at),
    })
}
