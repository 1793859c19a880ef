//! `encoderd keys`: the property's card key.

use super::{ConfigArguments, passphrase, print, say};
use crate::backup::wrap::{Passphrase, Purpose, Wrapped};
use crate::daemon::prepare_state_dir;
use crate::keys::{CARD_KEY_FILE, CardKey, read_secret};
use clap::{Args, Subcommand};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use zeroize::Zeroizing;

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
    /// Copy the card key into a new file of mode 0600, for another desk or for the safe. Without a passphrase it is not
    /// encrypted.
    Export {
        /// The new file
        file: PathBuf,
        /// Encrypt it with the passphrase in this file, mode 0600
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
        /// Encrypt it with a passphrase that is asked for
        #[arg(long, conflicts_with = "passphrase_file")]
        passphrase: bool,
    },
    /// Take over a card key that another desk exported. Refused where there is one.
    Import {
        /// The exported file, mode 0600
        file: PathBuf,
        /// The file with the passphrase of an encrypted one, mode 0600 (default: asked for)
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
    },
}

/// The card key's text in a file that a passphrase opens.
fn wrapped(text: &str, passphrase: &Passphrase) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let wrapped = Wrapped::seal(Purpose::CardKey, text.as_bytes(), passphrase)?;
    Ok(Zeroizing::new(serde_json::to_vec_pretty(&wrapped)?))
}

/// An encrypted file; none: it is one in clear, or none of ours.
fn read_wrapped(file: &Path) -> anyhow::Result<Option<Wrapped>> {
    let Some(text) = read_secret(file)? else { return Ok(None) };
    Ok(serde_json::from_str(&text).ok())
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let state_dir = arguments.config.load()?.daemon.state_dir;
    let own = state_dir.join(CARD_KEY_FILE);
    let (key, file) = match &arguments.command {
        Command::Init => {
            prepare_state_dir(&state_dir)?;
            (CardKey::create(&state_dir)?, &own)
        }
        Command::Export { file, passphrase_file, passphrase } => {
            let passphrase = match passphrase_file {
                Some(file) => Some(Passphrase::from_file(file)?),
                None if *passphrase => passphrase::ask_new("A passphrase for the card key")?,
                None => None,
            };
            let key = match passphrase {
                Some(passphrase) => CardKey::export_as(&state_dir, file, |text| wrapped(text, &passphrase))?,
                None => CardKey::export(&state_dir, file)?,
            };
            (key, file)
        }
        Command::Import { file, passphrase_file } => {
            prepare_state_dir(&state_dir)?;
            let key = match read_wrapped(file)? {
                Some(wrapped) => {
                    let passphrase = match passphrase_file {
                        Some(file) => Passphrase::from_file(file)?,
                        None => passphrase::ask("The passphrase of the card key")?,
                    };
                    let text = wrapped.open(Purpose::CardKey, &passphrase)?;
                    CardKey::import_text(&state_dir, str::from_utf8(&text)?, file)?
                }
                None => CardKey::import(&state_dir, file)?,
            };
            (key, &own)
        }
    };
    if *file == own {
        say("a running encoderd uses it after a restart");
    }
    print(&format!("property {}, key {}, in {}", key.property_id, key.key.key_id(), file.display()))?;
    Ok(ExitCode::SUCCESS)
}
