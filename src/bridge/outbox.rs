//! Delivers results until the hub has acknowledged them, oldest first.

use super::{Backoff, Bridge};
use crate::telemetry::metrics;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long the last results may take when the daemon is being stopped. What is not delivered by then waits on the disk.
const FAREWELL: Duration = Duration::from_secs(2);

/// Runs until `stop`, with one last try then.
pub async fn run(bridge: Arc<Bridge>, stop: CancellationToken) {
    let mut backoff = Backoff::default();
    while !stop.is_cancelled() {
        let pause = match deliver(&bridge).await {
            Delivered::All => {
                backoff.reset();
                Duration::from_mins(1)
            }
            Delivered::NotYet => backoff.next(),
        };
        tokio::select! {
            () = bridge.outbox_filled.notified() => {}
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => {}
        }
    }
    if tokio::time::timeout(FAREWELL, deliver(&bridge)).await.is_err() {
        tracing::warn!("results wait on the disk for the next start");
    }
}

enum Delivered {
    All,
    NotYet,
}

async fn deliver(bridge: &Bridge) -> Delivered {
    let results = match bridge.state.outbox().await {
        Ok(results) => results,
        Err(error) => {
            tracing::error!(error = &error as &dyn Error, "cannot read the outbox");
            return Delivered::NotYet;
        }
    };
    metrics::outbox(results.len());
    for result in results {
        let action_attempt_id = result.action_attempt_id;
        match bridge.hub.result(&result).await {
            Ok(answer) => tracing::info!(%action_attempt_id, settled = answer.settled, "result delivered"),
            Err(error) if error.retry_helps() => {
                tracing::warn!(%action_attempt_id, error = &error as &dyn Error, "result not delivered");
                metrics::hub_failed("result");
                bridge.sync_wanted.notify_one();
                return Delivered::NotYet;
            }
            // The journal keeps the outcome; the hub knows no such attempt and never will.
            Err(error) => {
                tracing::error!(%action_attempt_id, error = &error as &dyn Error, "result refused for good");
            }
        }
        if let Err(error) = bridge.state.outbox_remove(action_attempt_id).await {
            tracing::error!(%action_attempt_id, error = &error as &dyn Error, "cannot clear the outbox");
            return Delivered::NotYet;
        }
    }
    metrics::outbox(0);
    Delivered::All
}
