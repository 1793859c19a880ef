//! `encoderd keys`: the property's card key.

use super::{ConfigArguments, print, say};
use crate::daemon::prepare_state_dir;
use crate::keys::{CARD_KEY_FILE, CardKey};
use clap::{Args, Subcommand};
use std::path::PathBuf;
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
    /// Make a new random card key. Refused where there is one.
    Init,
    /// Copy the card key into a new file of mode 0600, for another desk or for the safe. It is not encrypted.
    Export {
        /// The new file
        file: PathBuf,
    },
    /// Take over a card key that another desk exported. Refused where there is one.
    Import {
        /// The exported file, mode 0600
        file: PathBuf,
    },
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let state_dir = arguments.config.load()?.daemon.state_dir;
    let own = state_dir.join(CARD_KEY_FILE);
    let (key, file) = match &arguments.command {
        Command::Init => {
            prepare_state_dir(&state_dir)?;
            (CardKey::create(&state_dir)?, &own)
        }
        Command::Export { file } => (CardKey::export(&state_dir, file)?, file),
        Command::Import { file } => {
            prepare_state_dir(&state_dir)?;
            (CardKey::import(&state_dir, file)?, &own)
        }
    };
    if *file == own {
        say("a running encoderd uses it after a restart");
    }
    print(&format!("property {}, key {}, in {}", key.property_id, key.key.key_id(), file.display()))?;
    Ok(ExitCode::SUCCESS)
}
