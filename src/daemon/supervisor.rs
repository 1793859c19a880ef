//! Keeps one task for each encoder that discovery finds.

use crate::config::Config;
use crate::device::{self, registry::Registry};
use crate::discovery::serial::{self, Found};
use crate::keys::CardKey;
use crate::store::state::State;
use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How often ports are listed, which reads a few files below /sys.
const LIST_EVERY: Duration = Duration::from_secs(1);

struct Running {
    device_id: String,
    task: JoinHandle<()>,
    stop: CancellationToken,
}

/// Runs until `stop`, then waits until every port is closed.
pub(super) async fn run(
    config: Config,
    state: State,
    key: Option<CardKey>,
    registry: Arc<Registry>,
    stop: CancellationToken,
) {
    let config = Arc::new(config);
    let mut running: BTreeMap<PathBuf, Running> = BTreeMap::new();
    while !stop.is_cancelled() {
        for found in list(&config, &state).await {
            let same = running.get(&found.path).is_some_and(|device| device.device_id == found.device_id);
            if same {
                continue;
            }
            // Another device at a known port: the old one's task ends before the port is opened for the new one.
            if let Some(old) = running.remove(&found.path) {
                end(old, &registry).await;
            }
            tracing::info!(device_id = found.device_id, path = %found.path.display(), "encoder known");
            let stop = stop.child_token();
            let (path, device_id) = (found.path.clone(), found.device_id.clone());
            let task = device::spawn(found, key.clone(), &registry, stop.clone());
            running.insert(path, Running { device_id, task, stop });
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(LIST_EVERY) => {}
        }
    }
    for device in running.into_values() {
        end(device, &registry).await;
    }
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
        let outcome = if device.path.exists() {
            remember(state, device).await
        } else {
            state.device_at_port(&device.path).await.map(|known| {
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

async fn remember(state: &State, device: &Found) -> Result<(), crate::store::StoreError> {
    if state.device_at_port(&device.path).await?.as_deref() == Some(&device.device_id) {
        return Ok(());
    }
    state.remember_port(&device.path, &device.device_id).await
}
