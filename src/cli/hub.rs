//! `encoderd hub`: the hub alone, for a machine without encoders.

use super::{ConfigArguments, stop_signal};
use crate::daemon::{self, systemd};
use crate::telemetry::Readiness;
use anyhow::bail;
use std::process::ExitCode;
use tokio_util::sync::CancellationToken;

pub(super) async fn run(arguments: &ConfigArguments, kept: systemd::Kept) -> anyhow::Result<ExitCode> {
    let config = arguments.load()?;
    if config.cloud.is_some() {
        bail!("[cloud] url names another hub; leave it out of the configuration of a hub");
    }
    daemon::prepare_state_dir(&config.daemon.state_dir)?;
    let _lock = daemon::lock_state_dir(&config.daemon.state_dir)?;
    let stop = CancellationToken::new();
    let closing = CancellationToken::new();
    let mut settings = daemon::hub_settings(&config)?;
    settings.service = daemon::service(&config, kept, Readiness::default(), closing.clone())?;
    let hub = crate::hub::serve(settings, stop.clone()).await?;
    let nightly = daemon::start_nightly(&config, stop.clone())?;
    tracing::info!(address = %hub.address, "hub runs");
    systemd::status(&format!("serves on {}", hub.address));
    systemd::ready();
    stop_signal().await?;
    systemd::stopping();
    closing.cancel();
    stop.cancel();
    if let Some((_, nightly)) = nightly {
        nightly.await?;
    }
    hub.stopped().await;
    Ok(ExitCode::SUCCESS)
}
