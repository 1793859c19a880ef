//! Keeps the hub's picture of the encoders true: all of them at the start and after a failure, then each change.

use super::{Backoff, Bridge};
use crate::api::bridge::{DeskEvent, EncoderReport, EncoderState, EventsRequest, SyncRequest};
use crate::clock::{self, Deadline};
use crate::device::DeviceHandle;
use crate::link::Linked;
use crate::store::StoreError;
use crate::telemetry::{Hop, metrics};
use crate::upstream::UpstreamError;
use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Everything is told anew this often, so that no lost message stays lost.
const SYNC_EVERY: Duration = Duration::from_secs(30);

/// The same for a hub in this process, to which no message is lost that was not heard to be.
const SYNC_OWN_HUB_EVERY: Duration = Duration::from_mins(5);

type Reports = BTreeMap<String, EncoderReport>;

/// Why the hub was not told, or what it said was not kept.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The hub.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// The state database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Runs until `stop`.
pub async fn run(bridge: Arc<Bridge>, coming_up: Deadline, stop: CancellationToken) {
    tokio::select! {
        () = come_up(&bridge, coming_up) => {}
        () = stop.cancelled() => return,
    }
    let sync_every = if bridge.own_hub { SYNC_OWN_HUB_EVERY } else { SYNC_EVERY };
    let mut backoff = Backoff::default();
    let mut told = Reports::new();
    let mut sync_at = clock::now();
    loop {
        let reports = reports(&bridge);
        let sync = clock::now() >= sync_at
            || reports.keys().ne(told.keys())
            || waits_for_encoder(&reports)
            || renamed(&told, &reports);
        let outcome =
            if sync { tell_all(&bridge, &reports).await } else { tell_changes(&bridge, &told, &reports).await };
        let pause = match outcome {
            Ok(()) => {
                backoff.reset();
                bridge.readiness.up(Hop::Hub);
                told = reports;
                if sync {
                    sync_at = clock::now() + sync_every;
                }
                sync_at.saturating_duration_since(clock::now())
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn Error, "the hub was not told about the encoders");
                bridge.readiness.down(Hop::Hub, error.to_string());
                metrics::hub_failed("sync");
                told.clear();
                sync_at = clock::now();
                backoff.next()
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = bridge.devices.changed() => {}
            () = bridge.sync_wanted.notified() => sync_at = clock::now(),
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Waits until the linked devices have been found and tried. Until then they look unplugged, and the hub would end jobs
/// that wait for them.
async fn come_up(bridge: &Bridge, bound: Deadline) {
    let is_up = |device_id: &String| bridge.devices.get(device_id).is_some_and(|device| device.status().tried);
    let all_up = async {
        while !bridge.links.devices().iter().all(is_up) {
            bridge.devices.changed().await;
        }
    };
    // What is not there by then is not there.
    let _not_all = tokio::time::timeout_at(bound.instant(), all_up).await;
}

fn reports(bridge: &Bridge) -> Reports {
    bridge.devices.all().iter().map(|device| (device.id().to_owned(), report(bridge, device))).collect()
}

/// What the hub is told of one device.
fn report(bridge: &Bridge, device: &DeviceHandle) -> EncoderReport {
    let status = device.status();
    let linked = bridge.links.encoder_of(device.id());
    EncoderReport {
        device_id: device.id().to_owned(),
        acs_encoder_id: match linked {
            Linked::To(id) => Some(id),
            Linked::ByHandNot | Linked::NotYet => None,
        },
        // It must have answered once, so that a mistyped port makes no encoder. A linked one is made anew for a hub that
        // has lost it.
        create: linked != Linked::ByHandNot && bridge.auto_link() && status.state == EncoderState::Online,
        display_name: bridge.links.name_of(device.id()).unwrap_or_else(|| device.found().display_name.clone()),
        model: status.reader.as_ref().map(|reader| reader.model.clone()),
        firmware: status.reader.as_ref().map(|reader| reader.firmware.clone()),
        port: Some(status.place),
        simulated: status.simulated,
        state: status.state,
        presence: status.presence,
        card_number: status.card.map(|uid| uid.to_string()),
        fault: status.fault,
    }
}

fn waits_for_encoder(reports: &Reports) -> bool {
    reports.values().any(|report| report.create && report.acs_encoder_id.is_none())
}

/// Whether a device has another name. Only a whole report carries names.
fn renamed(told: &Reports, reports: &Reports) -> bool {
    told.values().zip(reports.values()).any(|(told, report)| told.display_name != report.display_name)
}

/// Links a device by hand, if the hub knows the encoder; says whether it does.
pub async fn link_by_hand(bridge: &Bridge, device_id: &str, acs_encoder_id: Uuid) -> Result<bool, ReportError> {
    let mut reports = reports(bridge);
    if let Some(report) = reports.get_mut(device_id) {
        (report.acs_encoder_id, report.create) = (Some(acs_encoder_id), false);
    }
    let answer = bridge.hub.sync(&sync_request(bridge, &reports)).await?;
    let is_linked =
        answer.links.iter().any(|link| link.device_id == device_id && link.acs_encoder_id == acs_encoder_id);
    if is_linked {
        bridge.links.link(device_id, acs_encoder_id).await?;
    }
    bridge.sync_wanted.notify_one();
    Ok(is_linked)
}

fn sync_request(bridge: &Bridge, reports: &Reports) -> SyncRequest {
    SyncRequest {
        bridge_id: bridge.bridge_id,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        encoders: reports.values().cloned().collect(),
    }
}

async fn tell_all(bridge: &Bridge, reports: &Reports) -> Result<(), ReportError> {
    let answer = bridge.hub.sync(&sync_request(bridge, reports)).await?;
    for link in answer.links {
        // What was unlinked by hand while the answer was under way stays unlinked.
        if reports.contains_key(&link.device_id) && bridge.links.encoder_of(&link.device_id) == Linked::NotYet {
            tracing::info!(device_id = link.device_id, acs_encoder_id = %link.acs_encoder_id, "encoder linked");
            bridge.links.link(&link.device_id, link.acs_encoder_id).await?;
        }
    }
    Ok(())
}

async fn tell_changes(bridge: &Bridge, told: &Reports, reports: &Reports) -> Result<(), ReportError> {
    let at = clock::wall();
    let events: Vec<DeskEvent> = reports
        .iter()
        .filter(|(device_id, report)| told.get(*device_id) != Some(report))
        .map(|(_, report)| DeskEvent { at, encoder: report.clone() })
        .collect();
    if !events.is_empty() {
        bridge.hub.events(&EventsRequest { bridge_id: bridge.bridge_id, events }).await?;
    }
    Ok(())
}
