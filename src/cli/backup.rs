//! `encoderd backup`: everything that a new PC needs, in one file.

use super::{ConfigArguments, passphrase, print, say};
use crate::backup::wrap::Passphrase;
use crate::backup::{Places, create};
use crate::clock;
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The file to make (default: encoderd-backup-TIME.tar.gz here); nothing is overwritten
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The file with the passphrase that opens the secrets, mode 0600 (default: `passphrase_file` under [backup])
    #[arg(long, value_name = "FILE", conflicts_with = "without_secrets")]
    passphrase_file: Option<PathBuf>,
    /// Leave out the card key and the other secrets, without asking for a passphrase
    #[arg(long)]
    without_secrets: bool,
    #[command(flatten)]
    config: ConfigArguments,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let config = arguments.config.load()?;
    let places = Places::of(&config)?;
    let file = arguments.passphrase_file.or_else(|| config.backup.passphrase_file.clone());
    let passphrase = match file {
        _ if arguments.without_secrets => None,
        Some(file) => Some(Passphrase::from_file(&file)?),
        None if passphrase::somebody_is_there() => {
            passphrase::ask_new("A passphrase for the card key and the other secrets (empty: leave them out)")?
        }
        None => None,
    };
    let output = arguments.output.unwrap_or_else(|| {
        PathBuf::from(format!("encoderd-backup-{}.tar.gz", clock::wall().strftime("%Y%m%dT%H%M%SZ")))
    });
    let made = create::create(&places, &output, passphrase.as_ref()).await?;
    for missing in &made.manifest.missing {
        say(&format!("WARNING: not in this backup: {missing}"));
    }
    if passphrase.is_some() {
        say("Keep the passphrase apart from the file: without it the card key cannot be had back.");
    }
    print(&output.display().to_string())?;
    Ok(ExitCode::SUCCESS)
}
