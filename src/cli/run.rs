//! `encoderd run`: the daemon.

use super::ConfigArguments;
use crate::daemon::Daemon;
use crate::daemon::systemd::Kept;
use std::process::ExitCode;

pub(super) async fn run(arguments: &ConfigArguments, kept: Kept) -> anyhow::Result<ExitCode> {
    let config = arguments.load()?;
    let mut daemon = Daemon::start(config, kept).await?;
    let hub_address = daemon.hub_address.map(tracing::field::display);
    tracing::info!(hub_address, control_socket = %daemon.control_socket.display(), "encoderd runs");
    daemon.serve(|| arguments.read()).await?;
    tracing::info!("stopping");
    daemon.stop().await;
    Ok(ExitCode::SUCCESS)
}
