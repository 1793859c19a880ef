//! Which device is which encoder of the cloud: device identity ⇄ `acs_encoder_id`, kept in the state database.

use crate::store::StoreError;
use crate::store::state::{LinkRow, State};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use uuid::Uuid;

/// The links, in memory and on disk. The disk is written first.
#[derive(Debug)]
pub struct Links {
    state: State,
    rows: Mutex<BTreeMap<String, LinkRow>>,
}

/// What is known of one device's link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linked {
    /// It is this encoder.
    To(Uuid),
    /// It was unlinked by hand.
    ByHandNot,
    /// It was never linked.
    NotYet,
}

impl Links {
    /// Reads the stored links.
    pub async fn load(state: State) -> Result<Self, StoreError> {
        let rows = state.links().await?.into_iter().map(|row| (row.device_id.clone(), row)).collect();
        Ok(Self { state, rows: Mutex::new(rows) })
    }

    fn row<T>(&self, device_id: &str, take: impl FnOnce(Option<&LinkRow>) -> T) -> T {
        take(self.rows.lock().unwrap_or_else(PoisonError::into_inner).get(device_id))
    }

    async fn reload(&self) -> Result<(), StoreError> {
        let rows = self.state.links().await?.into_iter().map(|row| (row.device_id.clone(), row)).collect();
        *self.rows.lock().unwrap_or_else(PoisonError::into_inner) = rows;
        Ok(())
    }

    /// The encoder of a device.
    pub fn encoder_of(&self, device_id: &str) -> Linked {
        self.row(device_id, |row| match row {
            Some(LinkRow { acs_encoder_id: Some(id), .. }) => Linked::To(*id),
            Some(LinkRow { unlinked: true, .. }) => Linked::ByHandNot,
            Some(_) | None => Linked::NotYet,
        })
    }

    /// The name that a device was given by hand.
    pub fn name_of(&self, device_id: &str) -> Option<String> {
        self.row(device_id, |row| row.and_then(|row| row.display_name.clone()))
    }

    /// The device of an encoder.
    pub fn device_of(&self, acs_encoder_id: Uuid) -> Option<String> {
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        rows.values().find(|row| row.acs_encoder_id == Some(acs_encoder_id)).map(|row| row.device_id.clone())
    }

    /// The devices that are linked.
    pub fn devices(&self) -> Vec<String> {
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        rows.values().filter(|row| row.acs_encoder_id.is_some()).map(|row| row.device_id.clone()).collect()
    }

    /// Links a device; another device's link to that encoder ends.
    pub async fn link(&self, device_id: &str, acs_encoder_id: Uuid) -> Result<(), StoreError> {
        if self.encoder_of(device_id) == Linked::To(acs_encoder_id) {
            return Ok(());
        }
        self.state.link(device_id, acs_encoder_id).await?;
        self.reload().await
    }

    /// Ends a device's link for good, until it is linked by hand.
    pub async fn unlink(&self, device_id: &str) -> Result<(), StoreError> {
        self.state.unlink(device_id).await?;
        self.reload().await
    }

    /// Names a device.
    pub async fn rename(&self, device_id: &str, display_name: &str) -> Result<(), StoreError> {
        self.state.rename(device_id, display_name).await?;
        self.reload().await
    }
}
