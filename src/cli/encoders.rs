//! `encoderd encoders`: devices and their `acs_encoder_id`.

use super::status::{encoders, fetch};
use super::{ConfigArguments, print, print_json, say, table};
use crate::control::{AccountEncoder, Answer, ControlError, LinkedWhere, Request, ask};
use anyhow::Context as _;
use clap::{Args, Subcommand};
use std::path::Path;
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    config: ConfigArguments,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the encoders of this desk, and those of the account that can be linked to.
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Only the account's encoders: name, id, and where each is linked
        #[arg(long)]
        account: bool,
    },
    /// Link a device to an encoder; another device's link to it ends.
    Link {
        /// Device identity or name, as `list` shows them
        device: String,
        /// The encoder's id, or its name in the account
        encoder: String,
        /// Take the encoder from another desk that has it
        #[arg(long)]
        take_over: bool,
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
        Command::List { json, account } => {
            if account {
                list_account(&socket, json).await?;
            } else {
                list(&socket, json).await?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        Command::Link { device, encoder, take_over } => Request::Link { device, encoder, take_over },
        Command::Unlink { device } => Request::Unlink { device },
        Command::Rename { device, name } => Request::Rename { device, name },
        Command::Wink { device } => Request::Wink { device },
    };
    ask(&socket, &request).await?;
    say("done");
    Ok(ExitCode::SUCCESS)
}

async fn list(socket: &Path, json: bool) -> anyhow::Result<()> {
    let status = fetch(socket).await?;
    if json {
        return print_json(&status.encoders);
    }
    if status.encoders.is_empty() {
        say("no encoders: plug one in or configure its port");
    } else {
        print(&encoders(&status.encoders))?;
    }
    // The desk's own encoders are listed, whatever the account says.
    match of_account(socket).await {
        Ok(Some(account)) => {
            let others: Vec<_> = account.into_iter().filter(|encoder| encoder.linked != LinkedWhere::Here).collect();
            if !others.is_empty() {
                print(&format!("\nother encoders of the account:\n{}", account_table(&others)))?;
            }
        }
        Ok(None) => {}
        Err(error) => say(&error.to_string()),
    }
    Ok(())
}

async fn list_account(socket: &Path, json: bool) -> anyhow::Result<()> {
    let encoders = of_account(socket)
        .await?
        .context("there is no API key of the account: set cloud.api_key_file to a file of mode 0600 that holds one")?;
    if json { print_json(&encoders) } else { print(&account_table(&encoders)) }
}

async fn of_account(socket: &Path) -> Result<Option<Vec<AccountEncoder>>, ControlError> {
    match ask(socket, &Request::AccountEncoders).await? {
        Answer::AccountEncoders(answer) => Ok(answer.encoders),
        Answer::Status(_)
        | Answer::Card(_)
        | Answer::CardWork(_)
        | Answer::Erased { .. }
        | Answer::Done
        | Answer::Error { .. } => Err(ControlError::BadAnswer("not a list of encoders".to_owned())),
    }
}

fn account_table(encoders: &[AccountEncoder]) -> String {
    let rows: Vec<[String; 3]> = encoders
        .iter()
        .map(|encoder| {
            let linked = match encoder.linked {
                LinkedWhere::Here => "here",
                LinkedWhere::Elsewhere => "at another desk",
                LinkedWhere::Free => "no",
            };
            [encoder.display_name.clone(), encoder.acs_encoder_id.to_string(), linked.to_owned()]
        })
        .collect();
    table(["NAME", "ACS_ENCODER_ID", "LINKED"], &rows)
}
