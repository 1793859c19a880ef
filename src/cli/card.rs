//! `encoderd card`: the card on an encoder, through the running daemon.

use super::status::simulated;
use super::{ConfigArguments, print, print_json};
use crate::control::{Answer, CardAnswer, Request, ask};
use crate::device::order::CardFormat;
use anyhow::bail;
use clap::{Args, Subcommand};
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say what the card is and what is on it. Writes nothing.
    Info {
        #[command(flatten)]
        config: ConfigArguments,
        /// The encoder: device identity, name or encoder id; may be left out when there is one
        #[arg(long, value_name = "DEVICE")]
        device: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Take the credential off a card of this property. The card stays personalised.
    Erase {
        /// The card's UID as `encoderd card info` shows it: another card that lies there is not touched
        #[arg(value_name = "UID")]
        card_number: String,
        #[command(flatten)]
        config: ConfigArguments,
        /// The encoder: device identity, name or encoder id; may be left out when there is one
        #[arg(long, value_name = "DEVICE")]
        device: Option<String>,
    },
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let (config, request, json) = match arguments.command {
        Command::Info { config, device, json } => (config, Request::CardInfo { device }, json),
        Command::Erase { config, device, card_number } => (config, Request::CardErase { device, card_number }, false),
    };
    let socket = config.load()?.running_control_socket();
    match ask(&socket, &request).await? {
        Answer::Card(card) if json => print_json(&card)?,
        Answer::Card(card) => print(&text(&card))?,
        Answer::Erased { acs_credential_id: Some(id), .. } => {
            print(&format!("erased      credential {id}; delete it in the hub too, or encode it on another card"))?;
        }
        Answer::Erased { number: Some(number), .. } => {
            print(&format!("erased      the credential that ends with {number}; delete it in the hub too"))?;
        }
        Answer::Erased { .. } => print("erased      no credential was on the card")?,
        Answer::Status(_) | Answer::AccountEncoders(_) | Answer::Done | Answer::Error { .. } => {
            bail!("the daemon answered something else")
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn text(card: &CardAnswer) -> String {
    let format = match card.format {
        CardFormat::Ours => "personalised by this property",
        CardFormat::Blank => "blank",
        CardFormat::Foreign => "foreign: neither blank nor of this property",
        CardFormat::Unknown => "not looked at: this family carries no credential, or this desk has no card key",
    };
    let mut lines = vec![
        format!("encoder     {}", simulated(&card.encoder, card.simulated)),
        match (&card.atqa, &card.sak) {
            (Some(atqa), Some(sak)) => format!("card        {} (ATQA {atqa}, SAK {sak})", card.kind),
            (Some(_) | None, _) => format!("card        {}", card.kind),
        },
        format!("UID         {}", card.card_number),
        format!("format      {format}"),
    ];
    match &card.credential {
        None => lines.push("credential  none".to_owned()),
        Some(credential) => {
            let time =
                |time: Option<jiff::Timestamp>| time.map_or_else(|| "no end".to_owned(), |time| time.to_string());
            let doors: Vec<String> = credential.doors.iter().map(u16::to_string).collect();
            lines.push(match credential.acs_credential_id {
                Some(id) => format!("credential  {id}"),
                None => format!("credential  one that ends with {}", credential.number),
            });
            lines.push(format!("valid       {} to {}", time(credential.starts_at), time(credential.ends_at)));
            lines.push(format!("issued      {}", time(credential.issued_at)));
            lines.push(format!("doors       {}", doors.join(", ")));
        }
    }
    lines.join("\n")
}
