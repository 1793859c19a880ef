//! The devices of this desk, as the other tasks find them.

use super::DeviceHandle;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use tokio::sync::watch;

/// All devices by identity.
#[derive(Debug)]
pub struct Registry {
    devices: Mutex<BTreeMap<String, DeviceHandle>>,
    version: watch::Sender<u64>,
    seen: tokio::sync::Mutex<watch::Receiver<u64>>,
}

impl Default for Registry {
    fn default() -> Self {
        let (version, seen) = watch::channel(0);
        Self { devices: Mutex::default(), version, seen: tokio::sync::Mutex::new(seen) }
    }
}

impl Registry {
    /// All devices, in the order of their identities.
    pub fn all(&self) -> Vec<DeviceHandle> {
        self.lock().values().cloned().collect()
    }

    /// The device with this identity.
    pub fn get(&self, device_id: &str) -> Option<DeviceHandle> {
        self.lock().get(device_id).cloned()
    }

    /// Adds a device.
    pub fn insert(&self, device: DeviceHandle) {
        self.lock().insert(device.id().to_owned(), device);
        self.ring();
    }

    /// Takes a device out.
    pub fn remove(&self, device_id: &str) {
        self.lock().remove(device_id);
        self.ring();
    }

    /// Gives a device another name, as the configuration has it.
    pub fn rename(&self, device_id: &str, display_name: &str) {
        let renamed = match self.lock().get_mut(device_id) {
            Some(device) if device.found().display_name != display_name => {
                device.rename(display_name);
                true
            }
            Some(_) | None => false,
        };
        if renamed {
            self.ring();
        }
    }

    /// Counts changes, for who wants to see each without taking it from others.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Says that something about a device is different.
    pub fn ring(&self) {
        self.version.send_modify(|version| *version = version.wrapping_add(1));
    }

    /// Waits until something is different since the last call. One task calls it; a change in between is not lost.
    pub async fn changed(&self) {
        let mut seen = self.seen.lock().await;
        if seen.changed().await.is_err() {
            // The sender lives in `self`, so this cannot be.
            std::future::pending::<()>().await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, DeviceHandle>> {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
