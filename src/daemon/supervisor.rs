//! Keeps one task for each encoder that discovery finds.

use crate::clock;
use crate::config::{Config, SerialDiscovery, SerialPort};
use crate::device::{self, registry::Registry};
use crate::discovery::attached::Attached;
use crate::discovery::{Found, Place, serial};
use crate::keys::CardKey;
use crate::store::state::State;
use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How often ports are listed, which reads a few files below /sys.
const LIST_EVERY: Duration = Duration::from_secs(1);

struct Running {
    device_id: String,
    task: JoinHandle<()>,
    stop: CancellationToken,
}

/// What the devices' tasks are made with.
struct Parts {
    key: Option<CardKey>,
    registry: Arc<Registry>,
    stop: CancellationToken,
}

/// Runs until `stop`, then waits until every reader is closed.
pub(super) async fn run(
    mut config: watch::Receiver<Arc<Config>>,
    mut asked: mpsc::Receiver<oneshot::Sender<()>>,
    state: State,
    key: Option<CardKey>,
    registry: Arc<Registry>,
    mut attached: Option<watch::Receiver<Attached>>,
    stop: CancellationToken,
) {
    let parts = Parts { key, registry, stop: stop.clone() };
    let mut running: BTreeMap<String, Running> = BTreeMap::new();
    let mut list_at = clock::now();
    let mut served = config.borrow_and_update().clone();
    while !stop.is_cancelled() {
        if config.has_changed().unwrap_or(false) {
            let now = config.borrow_and_update().clone();
            for place in dismissed(&served, &now, &running) {
                if let Some(device) = running.remove(&place) {
                    end(device, &parts.registry).await;
                }
            }
            served = now;
            list_at = clock::now();
        }
        let lists_ports = served.discovery.serial != SerialDiscovery::Off;
        if lists_ports && clock::now() >= list_at {
            for found in list(&served, &state).await {
                employ(&mut running, found, &parts).await;
            }
            list_at = clock::now() + LIST_EVERY;
        }
        if let Some(attached) = &mut attached {
            for found in readers(attached, &parts.registry) {
                employ(&mut running, found, &parts).await;
            }
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep_until(list_at), if lists_ports => {}
            () = changed(attached.as_mut()) => {}
            Some(answer) = asked.recv() => {
                // Who asked may have given up.
                let _gone = answer.send(());
            }
            Ok(()) = changed_config(&mut config) => {}
        }
    }
    for device in running.into_values() {
        end(device, &parts.registry).await;
    }
}

/// Waits for another configuration, without taking note of it.
async fn changed_config(config: &mut watch::Receiver<Arc<Config>>) -> Result<(), watch::error::RecvError> {
    config.changed().await?;
    config.mark_changed();
    Ok(())
}

async fn changed(attached: Option<&mut watch::Receiver<Attached>>) {
    match attached {
        // It ends with the daemon.
        Some(attached) => {
            if attached.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
        None => std::future::pending().await,
    }
}

/// Ports that the configuration does not name any more, or otherwise than before. A job at work is not disturbed: its
/// device's task ends behind it.
fn dismissed(before: &Config, now: &Config, running: &BTreeMap<String, Running>) -> Vec<String> {
    let same =
        |a: &SerialPort, b: &SerialPort| (&a.path, a.dialect.dialect, a.baud) == (&b.path, b.dialect.dialect, b.baud);
    let kept = |port: &SerialPort| now.serial.iter().any(|other| same(port, other));
    let dropped = before.serial.iter().filter(|port| !kept(port)).map(|port| port.path.display().to_string());
    match (before.discovery.serial, now.discovery.serial) {
        (SerialDiscovery::Known, SerialDiscovery::Known)
        | (SerialDiscovery::Configured | SerialDiscovery::Off, SerialDiscovery::Known | SerialDiscovery::Configured) => {
            dropped.collect()
        }
        (_, SerialDiscovery::Off) => running.keys().filter(|place| place.starts_with('/')).cloned().collect(),
        (SerialDiscovery::Known, SerialDiscovery::Configured) => {
            let configured: Vec<String> =
                now.serial.iter().filter(|port| kept(port)).map(|port| port.path.display().to_string()).collect();
            let is_found = |place: &&String| place.starts_with('/') && !configured.contains(place);
            dropped.chain(running.keys().filter(is_found).cloned()).collect()
        }
    }
}

/// Whether an encoder is on a line of its own, whose name the configuration may give.
fn device_is_serial(found: &Found) -> bool {
    matches!(found.place, Place::Serial(_))
}

/// Gives an encoder a task of its own, unless it has one.
async fn employ(running: &mut BTreeMap<String, Running>, found: Found, parts: &Parts) {
    // Of a port the place is what two must not share, of a reader behind PC/SC, whose name changes, the identity.
    let place = match &found.place {
        Place::Serial(place) => place.path.display().to_string(),
        Place::Pcsc { .. } => found.device_id.clone(),
    };
    if running.get(&place).is_some_and(|device| device.device_id == found.device_id) {
        if device_is_serial(&found) {
            parts.registry.rename(&found.device_id, &found.display_name);
        }
        return;
    }
    // Another device at a known port: the old one's task ends before the port is opened for the new one.
    if let Some(old) = running.remove(&place) {
        end(old, &parts.registry).await;
    }
    tracing::info!(device_id = found.device_id, place = %found.place, "encoder known");
    let stop = parts.stop.child_token();
    let device_id = found.device_id.clone();
    let task = device::spawn(found, parts.key.clone(), &parts.registry, stop.clone());
    running.insert(place, Running { device_id, task, stop });
}

/// The encoders that PC/SC has. Of two with one name the second one's says where it is.
fn readers(attached: &mut watch::Receiver<Attached>, registry: &Registry) -> Vec<Found> {
    let now = attached.borrow_and_update().clone();
    let mut found: Vec<Found> = Vec::new();
    for seen in now.encoders() {
        if found.iter().any(|other| other.device_id == seen.device_id) {
            continue;
        }
        let is_taken = |name: &str| {
            found.iter().any(|other| other.display_name == name)
                || registry
                    .all()
                    .iter()
                    .any(|device| device.found().display_name == name && device.id() != seen.device_id)
        };
        let display_name = if is_taken(&seen.display_name) {
            format!("{} ({})", seen.display_name, seen.device_id)
        } else {
            seen.display_name.clone()
        };
        found.push(Found {
            device_id: seen.device_id.clone(),
            place: Place::Pcsc { reader_name: seen.reader_name.clone(), attached: attached.clone() },
            display_name,
            simulated: seen.simulated,
        });
    }
    found
}

async fn end(device: Running, registry: &Registry) {
    device.stop.cancel();
    if let Err(error) = device.task.await {
        tracing::error!(device_id = device.device_id, %error, "device task ended badly");
    }
    registry.remove(&device.device_id);
}

/// What discovery finds. A configured port with nothing behind it keeps the identity that was last seen there.
async fn list(config: &Arc<Config>, state: &State) -> Vec<Found> {
    let owned = config.clone();
    let listed = tokio::task::spawn_blocking(move || serial::encoders(&owned, &serial::ports())).await;
    let mut found = listed.unwrap_or_default();
    for device in &mut found {
        let Place::Serial(place) = &device.place else { continue };
        let path = place.path.clone();
        let outcome = if path.exists() {
            remember(state, &path, &device.device_id).await
        } else {
            state.device_at_port(&path).await.map(|known| {
                if let Some(known) = known {
                    device.device_id = known;
                }
            })
        };
        if let Err(error) = outcome {
            tracing::error!(error = &error as &dyn Error, "cannot read or write which device is at which port");
        }
    }
    found
}

async fn remember(state: &State, path: &Path, device_id: &str) -> Result<(), crate::store::StoreError> {
    if state.device_at_port(path).await?.as_deref() == Some(device_id) {
        return Ok(());
    }
    state.remember_port(path, device_id).await
}
