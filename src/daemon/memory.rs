//! What discovery remembers from run to run, in memory and on the disk.

use crate::discovery::serial::Remembered;
use crate::store::StoreError;
use crate::store::state::State;
use std::collections::BTreeMap;
use std::error::Error;

/// Which encoder answered where, and which identities are shared.
#[derive(Debug, Default)]
pub(super) struct Memory {
    remembered: Remembered,
    /// `None`: nothing is kept.
    state: Option<State>,
}

impl Memory {
    /// Reads what is on the disk. Without it discovery works, and knows less.
    pub(super) async fn load(state: State) -> Self {
        let remembered = read(&state).await.unwrap_or_else(|error| {
            tracing::error!(error = &error as &dyn Error, "cannot read which device is at which port");
            Remembered::default()
        });
        Self { remembered, state: Some(state) }
    }

    pub(super) fn remembered(&self) -> &Remembered {
        &self.remembered
    }

    /// An encoder has answered at a configured place.
    pub(super) async fn answered(&mut self, at: &str, device_id: &str) {
        let known = self.remembered.at.insert(at.to_owned(), device_id.to_owned());
        if let (Some(state), true) = (&self.state, known.as_deref() != Some(device_id)) {
            noted(state.remember_port(at, device_id).await);
        }
    }

    /// Several devices say the same.
    pub(super) async fn twins(&mut self, twins: BTreeMap<String, Option<String>>) {
        for (device_id, socket) in twins {
            tracing::warn!(device_id, first_at = socket, "several devices say that they are this one");
            if let Some(state) = &self.state {
                noted(state.remember_twins(&device_id, socket.as_deref()).await);
            }
            self.remembered.twins.insert(device_id, socket);
        }
    }
}

async fn read(state: &State) -> Result<Remembered, StoreError> {
    Ok(Remembered { at: state.ports().await?.into_iter().collect(), twins: state.twins().await?.into_iter().collect() })
}

fn noted(outcome: Result<(), StoreError>) {
    if let Err(error) = outcome {
        tracing::error!(error = &error as &dyn Error, "cannot write down which device is at which port");
    }
}
