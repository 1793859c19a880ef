//! `encoderd status`: the running daemon's view.

use super::{ConfigArguments, print, print_json, table};
use crate::api::bridge::Presence;
use crate::control::{Answer, ControlError, EncoderAnswer, Request, StatusAnswer, ask};
use clap::Args;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Print again whenever something changes, until interrupted
    #[arg(long)]
    watch: bool,
}

pub(super) async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let socket = arguments.config.load()?.running_control_socket();
    let mut shown = None;
    loop {
        let status = fetch(&socket).await?;
        if shown.as_ref() != Some(&status) {
            if arguments.json && arguments.watch {
                print(&serde_json::to_string(&status)?)?;
            } else if arguments.json {
                print_json(&status)?;
            } else {
                print(&text(&status))?;
            }
        }
        if !arguments.watch {
            return Ok(ExitCode::SUCCESS);
        }
        shown = Some(status);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

pub(super) async fn fetch(socket: &Path) -> Result<StatusAnswer, ControlError> {
    match ask(socket, &Request::Status).await? {
        Answer::Status(status) => Ok(status),
        Answer::Card(_) | Answer::AccountEncoders(_) | Answer::Done | Answer::Error { .. } => {
            Err(ControlError::BadAnswer("not a status".to_owned()))
        }
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
    text
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
