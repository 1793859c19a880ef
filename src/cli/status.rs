//! `encoderd status`: the running daemon's view.

use super::{ConfigArguments, print, print_json, table};
use crate::api::bridge::Presence;
use crate::backup::nightly::BackupStatus;
use crate::clock;
use crate::control::{Answer, ControlError, EncoderAnswer, Request, StatusAnswer, ask, open};
use clap::Args;
use std::io::IsTerminal as _;
use std::path::Path;
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Show each change as it comes, until interrupted
    #[arg(long)]
    watch: bool,
}

pub(super) async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let socket = arguments.config.load()?.running_control_socket();
    if arguments.watch {
        return watch(&socket, arguments.json).await;
    }
    let status = fetch(&socket).await?;
    if arguments.json {
        print_json(&status)?;
    } else {
        print(&text(&status))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Shows each change when it comes: a line of JSON each, or a screen that is drawn anew.
async fn watch(socket: &Path, json: bool) -> anyhow::Result<ExitCode> {
    let is_screen = std::io::stdout().is_terminal();
    let mut answers = open(socket, &Request::Watch).await?;
    loop {
        let status = status_of(answers.next().await?)?;
        if json {
            print(&serde_json::to_string(&status)?)?;
        } else if is_screen {
            // Home, then clear what is below: nothing flickers. Source: ECMA-48, CUP and ED.
            let at = clock::wall().strftime("%H:%M:%S UTC");
            print(&format!("\u{1b}[H\u{1b}[J{}\n\n{at}; end with Ctrl-C", text(&status)))?;
        } else {
            print(&text(&status))?;
        }
    }
}

pub(super) async fn fetch(socket: &Path) -> Result<StatusAnswer, ControlError> {
    status_of(ask(socket, &Request::Status).await?)
}

fn status_of(answer: Answer) -> Result<StatusAnswer, ControlError> {
    match answer {
        Answer::Status(status) => Ok(status),
        Answer::Card(_)
        | Answer::CardWork(_)
        | Answer::Erased { .. }
        | Answer::AccountEncoders(_)
        | Answer::Done
        | Answer::Error { .. } => Err(ControlError::BadAnswer("not a status".to_owned())),
    }
}

fn text(status: &StatusAnswer) -> String {
    let reachable = if status.hub_reachable { "reachable" } else { "NOT REACHABLE" };
    let key = if status.card_key { "" } else { "\nno card key of the property: nothing is encoded" };
    let encoders = if status.encoders.is_empty() {
        "no encoders: plug one in or configure its port".to_owned()
    } else {
        encoders(&status.encoders)
    };
    let mut text = format!(
        "encoderd {} (pid {}), hub {} {reachable}{key}\n\n{encoders}",
        status.version, status.pid, status.hub_url
    );
    if let Some(pcsc) = &status.pcsc {
        if let Some(problem) = &pcsc.problem {
            text = format!("{text}\nPC/SC: {problem}");
        }
        for reader in &pcsc.not_encoders {
            text = format!("{text}\nnot an encoder: {} ({})", reader.reader, reader.why);
        }
    }
    if let Some(backup) = &status.backup {
        text = format!("{text}\n\n{}", last_backup(backup));
    }
    text
}

fn last_backup(backup: &BackupStatus) -> String {
    let secrets = if backup.with_secrets { "" } else { ", without the card key" };
    let last = match (&backup.last_at, &backup.last_file) {
        (Some(at), Some(file)) => {
            let size = backup.last_bytes.map_or_else(String::new, |bytes| format!(", {} KiB", bytes.div_ceil(1024)));
            format!("last backup {at}: {}{size}{secrets}", file.display())
        }
        (_, _) => format!("no backup yet in {}", backup.directory.display()),
    };
    match &backup.problem {
        Some(problem) => format!("{last}\nNO BACKUP WAS MADE: {problem}"),
        None => last,
    }
}

/// The encoders as a table, what is wrong below it.
pub(super) fn encoders(encoders: &[EncoderAnswer]) -> String {
    let rows: Vec<[String; 6]> = encoders
        .iter()
        .map(|encoder| {
            [
                simulated(&encoder.display_name, encoder.simulated),
                format!("{:?}", encoder.state).to_lowercase(),
                card(encoder),
                encoder.acs_encoder_id.map_or_else(|| "not linked".to_owned(), |id| id.to_string()),
                encoder.device_id.clone(),
                encoder.port.clone(),
            ]
        })
        .collect();
    let mut text = table(["NAME", "STATE", "CARD", "ACS_ENCODER_ID", "DEVICE", "PORT"], &rows);
    for encoder in encoders {
        if let Some(fault) = &encoder.fault {
            text = format!("{text}\n{}: {}", encoder.display_name, fault.message);
        }
    }
    text
}

/// A name that says when it belongs to a virtual encoder.
pub(super) fn simulated(name: &str, simulated: bool) -> String {
    if simulated { format!("{name} [simulated]") } else { name.to_owned() }
}

fn card(encoder: &EncoderAnswer) -> String {
    match encoder.presence {
        Presence::Absent => "none".to_owned(),
        Presence::Arriving => "arriving".to_owned(),
        Presence::Present => encoder.card_number.clone().unwrap_or_default(),
        Presence::Several => "several".to_owned(),
    }
}
