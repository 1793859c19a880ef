//! Forgets what happened long ago, a few rows at a time, so that nobody who writes waits for it.
//!
//! Several nodes on one database take turns: each batch is a writing transaction of the realm that it changes.

use super::Hub;
use crate::api::time::Time;
use crate::clock;
use crate::store::hub::{acs_systems, retention};
use crate::store::{Realm, StoreError};
use std::error::Error as _;
use std::time::Duration;

/// How many rows are forgotten in one transaction.
const BATCH: u32 = 200;

/// The pause between two batches: whoever waits to write comes first.
const BATCH_PAUSE: Duration = Duration::from_millis(50);

/// The first look waits for so long after the start at most.
const FIRST_LOOK: Duration = Duration::from_mins(2);

/// For how long a hub keeps what happened; `None`: for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Events. Those that are still to be delivered stay.
    pub events: Option<Duration>,
    /// Action attempts. Those that are open or in doubt stay.
    pub attempts: Option<Duration>,
}

impl Retention {
    /// So many days of each; 0: for ever.
    pub fn days(events: u32, attempts: u32) -> Self {
        let days = |days: u32| (days > 0).then(|| Duration::from_hours(24) * days);
        Self { events: days(events), attempts: days(attempts) }
    }
}

/// Forgets until the hub stops.
pub(super) async fn keep(hub: Hub) {
    if hub.retention() == Retention::default() {
        return;
    }
    let every = hub.patience().retention;
    let mut pause = every.min(FIRST_LOOK);
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = hub.stop().cancelled() => return,
        }
        pause = every;
        match forget(&hub).await {
            Ok((0, 0)) => {}
            Ok((events, attempts)) => tracing::info!(events, attempts, "forgotten, as old as they were"),
            Err(error) => {
                tracing::warn!(error = %error, cause = ?error.source(), "could not forget what is old");
            }
        }
    }
}

async fn forget(hub: &Hub) -> Result<(u64, u64), StoreError> {
    let (mut events, mut attempts) = (0, 0);
    let Retention { events: keep_events, attempts: keep_attempts } = hub.retention();
    if let Some(keep) = keep_events {
        while let Some(done) = batch_of_events(hub, ago(keep)).await? {
            events += done;
        }
    }
    if let Some(keep) = keep_attempts {
        let workspaces = acs_systems::workspaces(&mut *hub.store().read().await?).await?;
        for workspace in workspaces {
            let realm = Realm::Workspace(workspace.workspace_id.0);
            loop {
                let mut transaction = hub.store().begin(realm).await?;
                let forgotten =
                    retention::forget_attempts(&mut transaction, workspace.workspace_id, ago(keep), BATCH).await?;
                transaction.commit().await?;
                attempts += forgotten;
                if forgotten == 0 || !rest(hub).await {
                    break;
                }
            }
        }
    }
    Ok((events, attempts))
}

/// One batch; `None`: there is nothing more to forget, or no time.
async fn batch_of_events(hub: &Hub, before: Time) -> Result<Option<u64>, StoreError> {
    let mut transaction = hub.store().begin(Realm::Upkeep).await?;
    let forgotten = retention::forget_events(&mut transaction, before, BATCH).await?;
    transaction.commit().await?;
    Ok((forgotten > 0 && rest(hub).await).then_some(forgotten))
}

/// Lets others write. `false`: the hub stops.
async fn rest(hub: &Hub) -> bool {
    tokio::select! {
        () = tokio::time::sleep(BATCH_PAUSE) => true,
        () = hub.stop().cancelled() => false,
    }
}

fn ago(duration: Duration) -> Time {
    let ms = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    Time::from_ms(clock::wall_ms().saturating_sub(ms))
}
