//! `encoderd encoders`: devices and their `acs_encoder_id`.

use super::status::{encoders, fetch};
use super::{ConfigArguments, print, print_json, say};
use crate::control::{Request, ask};
use clap::{Args, Subcommand};
use std::process::ExitCode;
use uuid::Uuid;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    config: ConfigArguments,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the encoders of this desk.
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Link a device to an encoder; another device's link to it ends.
    Link {
        /// Device identity or name, as `list` shows them
        device: String,
        /// The encoder's id
        acs_encoder_id: Uuid,
    },
    /// End a device's link; it is not linked again by itself.
    Unlink {
        /// Device identity, name or encoder id
        device: String,
    },
    /// Name a device.
    Rename {
        /// Device identity, name or encoder id
        device: String,
        /// The new name
        name: String,
    },
    /// Let an encoder show itself by lamp and buzzer.
    Wink {
        /// Device identity, name or encoder id
        device: String,
    },
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let socket = arguments.config.load()?.running_control_socket();
    let request = match arguments.command {
        Command::List { json } => {
            let status = fetch(&socket).await?;
            if json {
                print_json(&status.encoders)?;
            } else if status.encoders.is_empty() {
                say("no encoders: plug one in or configure its port");
            } else {
                print(&encoders(&status.encoders))?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        Command::Link { device, acs_encoder_id } => Request::Link { device, acs_encoder_id },
        Command::Unlink { device } => Request::Unlink { device },
        Command::Rename { device, name } => Request::Rename { device, name },
        Command::Wink { device } => Request::Wink { device },
    };
    ask(&socket, &request).await?;
    say("done");
    Ok(ExitCode::SUCCESS)
}
