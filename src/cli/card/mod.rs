//! `encoderd card`: the card on an encoder. Through the running daemon, or, when none runs, with the encoder in this
//! command's own hands.
//!
//! | part | what it does |
//! | --- | --- |
//! | this file | arguments, and which work they mean |
//! | [`reach`] | who does the work, and the bar while it lasts |
//! | [`info`] | a card in words and as a map |
//! | [`files`] | dumps, and writing them |
//! | [`formats`] | files of libnfc and of a Flipper Zero |

mod files;
mod formats;
mod info;
mod reach;

use super::{ConfigArguments, print, print_json, say};
use crate::control::card::{CardOutcome, CardWork};
use crate::control::{Answer, ControlError};
use crate::device::order::CardFormat;
use anyhow::bail;
use clap::{Args, Subcommand};
use reach::Reach;
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say what the card is and what is on it, with a map of its memory. Writes nothing.
    Info {
        #[command(flatten)]
        on: On,
        /// More sector keys to try: a file with one key of 12 hex digits a line
        #[arg(long, value_name = "FILE")]
        keys: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Read the card into a file that libnfc or a Flipper Zero opens. Writes nothing on the card.
    Dump(files::DumpArguments),
    /// Write a file's data blocks or user pages on the card, in place, and read them back. Never the UID.
    Write(files::WriteArguments),
    /// Prepare a blank card for this property, or finish preparing one.
    Personalize {
        #[command(flatten)]
        on: On,
        /// Print what would be done and do nothing
        #[arg(long)]
        dry_run: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Take the credential off a card of this property. The card stays personalised.
    Erase {
        /// The card's UID as `encoderd card info` shows it: another card that lies there is not touched. Without it the
        /// card that lies there, after a question
        #[arg(value_name = "UID")]
        card_number: Option<String>,
        #[command(flatten)]
        on: On,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        /// Print what would be done and do nothing
        #[arg(long)]
        dry_run: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// Which encoder.
#[derive(Debug, Args)]
struct On {
    #[command(flatten)]
    config: ConfigArguments,
    /// The encoder: device identity, name or encoder id; may be left out when there is one
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    match arguments.command {
        Command::Info { on, keys, json } => {
            let keys = files::key_file(keys.as_deref())?;
            let work = CardWork::Read { keys, contents: false, with_keys: false, tell_clone: true };
            let outcome = work_on(&on, work, "reading the card").await?;
            let CardOutcome::Read(read) = &outcome else { return unexpected(&outcome) };
            if json {
                print_json(&info::json(read)?)?;
            } else {
                print(&info::text(read))?;
            }
        }
        Command::Dump(arguments) => return files::dump(arguments).await,
        Command::Write(arguments) => return files::write(arguments).await,
        Command::Personalize { on, dry_run, json } => return personalize(&on, dry_run, json).await,
        Command::Erase { card_number, on, yes, dry_run, json } => {
            let ask = card_number.is_none() && !yes;
            return erase(&on, card_number, ask, dry_run, json).await;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn work_on(on: &On, work: CardWork, what: &'static str) -> anyhow::Result<CardOutcome> {
    let reach = Reach::open(on).await?;
    let outcome = reach.work(work, what).await;
    reach.end().await;
    outcome
}

fn unexpected<T>(outcome: &CardOutcome) -> anyhow::Result<T> {
    tracing::debug!(?outcome, "unexpected");
    Err(ControlError::BadAnswer("it belongs to another request".to_owned()).into())
}

async fn personalize(on: &On, dry_run: bool, json: bool) -> anyhow::Result<ExitCode> {
    let outcome = work_on(on, CardWork::Personalize { dry_run }, "preparing the card").await?;
    let CardOutcome::Prepared { card_number, plan } = &outcome else { return unexpected(&outcome) };
    if json {
        print_json(&serde_json::json!({ "card_number": card_number, "dry_run": dry_run, "plan": plan }))?;
        return Ok(ExitCode::SUCCESS);
    }
    match plan {
        None => print(&format!("card {card_number} is prepared already; nothing was written"))?,
        Some(plan) if dry_run => print(&format!("card {card_number}\n{}", plan.trim_end()))?,
        Some(_) => print(&format!("card {card_number} is prepared"))?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn erase(on: &On, card_number: Option<String>, ask: bool, dry_run: bool, json: bool) -> anyhow::Result<ExitCode> {
    let reach = Reach::open(on).await?;
    let outcome = erase_with(&reach, card_number, ask, dry_run, json).await;
    reach.end().await;
    outcome
}

async fn erase_with(
    reach: &Reach,
    card_number: Option<String>,
    ask: bool,
    dry_run: bool,
    json: bool,
) -> anyhow::Result<ExitCode> {
    if dry_run {
        let outcome = reach.work(CardWork::ErasePlan, "reading the card").await?;
        let CardOutcome::ErasePlan { card_number: found, plan } = &outcome else { return unexpected(&outcome) };
        if card_number.is_some_and(|wanted| wanted != *found) {
            bail!("another card lies there: {found}");
        }
        if json {
            print_json(&serde_json::json!({ "card_number": found, "dry_run": true, "plan": plan }))?;
        } else {
            print(&format!("card {found}\n{}", plan.trim_end()))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let card_number = if let Some(card_number) = card_number {
        card_number
    } else {
        let card = reach.card().await?;
        if card.format != CardFormat::Ours {
            bail!("card {} is not one of this property; nothing was changed", card.card_number);
        }
        if ask {
            confirm(&card.card_number)?;
        }
        card.card_number
    };
    let erased = reach.erase(&card_number).await?;
    let Answer::Erased { acs_credential_id, number } = erased else { bail!("the daemon answered something else") };
    match (acs_credential_id, number) {
        (id, number) if json => print_json(&serde_json::json!({
            "card_number": card_number, "acs_credential_id": id, "number": number,
        }))?,
        (Some(id), _) => {
            print(&format!("erased      credential {id}; delete it in the hub too, or encode it on another card"))?;
        }
        (None, Some(number)) => {
            print(&format!("erased      the credential that ends with {number}; delete it in the hub too"))?;
        }
        (None, None) => print("erased      no credential was on the card")?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Asks whether the card that lies there is meant.
fn confirm(card_number: &str) -> anyhow::Result<()> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        bail!("say which card is meant, `encoderd card erase {card_number}`, or say --yes");
    }
    let _closed = write!(std::io::stderr(), "Take the credential off card {card_number}? [y/N] ");
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    if !matches!(answer.trim(), "y" | "Y" | "yes") {
        say("nothing was changed");
        bail!("not confirmed");
    }
    Ok(())
}
