//! `encoderd run`: the daemon.

use super::{ConfigArguments, stop_signal};
use crate::daemon::Daemon;
use std::process::ExitCode;

pub(super) async fn run(arguments: &ConfigArguments) -> anyhow::Result<ExitCode> {
    let config = arguments.load()?;
    let daemon = Daemon::start(config).await?;
    let hub_address = daemon.hub_address.map(tracing::field::display);
    tracing::info!(hub_address, control_socket = %daemon.control_socket.display(), "encoderd runs");
    stop_signal().await?;
    tracing::info!("stopping");
    daemon.stop().await;
    Ok(ExitCode::SUCCESS)
}
