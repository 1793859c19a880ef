//! Whether each encoder answers in its dialect: the running daemon is asked; a port that nobody holds is tried.

use super::pcsc::Reader as PcscReader;
use super::{Context, Finding, PcscFacts};
use crate::api::bridge::{EncoderState, Presence};
use crate::config::Config;
use crate::control::EncoderAnswer;
use crate::device::check::{PortCheck, PortCheckError, check};
use crate::discovery::serial::{is_pty, places, ports, same_node};
use crate::transport::serial::OpenError;
use encoder_protocols::dialect::Reader;
use encoder_protocols::id::Detection;
use std::path::Path;

const NAME: &str = "encoders";

pub(super) async fn look(context: &Context) -> Vec<Finding> {
    if let Some((path, reader)) = &context.port {
        let held = context
            .status
            .iter()
            .flat_map(|status| &status.encoders)
            .find(|held| same_node(Path::new(&held.port), path));
        return vec![match held {
            Some(encoder) => from_daemon(encoder),
            None => try_port(path, reader, reader.baud).await,
        }];
    }
    if let Some(status) = &context.status {
        return match status.encoders.as_slice() {
            [] => vec![none()],
            encoders => encoders.iter().map(from_daemon).collect(),
        };
    }
    let Ok(config) = &context.config else { return Vec::new() };
    direct(config, context.pcsc.as_ref().map_or(&[], PcscFacts::readers)).await
}

async fn direct(config: &Config, behind_pcsc: &[PcscReader]) -> Vec<Finding> {
    let found = places(config, &ports());
    let mut findings = Vec::new();
    for (_, place) in &found {
        findings.push(try_port(&place.path, &place.reader, place.baud).await);
    }
    let readers: Vec<&PcscReader> = behind_pcsc.iter().filter(|reader| reader.is_encoder()).collect();
    findings.extend(readers.iter().filter_map(|reader| behind(reader)));
    if findings.is_empty() && readers.is_empty() {
        findings.push(none());
    }
    findings
}

fn none() -> Finding {
    Finding::failed(NAME, "no encoder is known")
        .remedy("plug one in; behind a generic USB-serial chip, add its port as [[serial]] to the configuration")
}

/// What came of a look at a reader behind PC/SC. Those that were not looked at are told of by `readers`.
fn behind(reader: &PcscReader) -> Option<Finding> {
    let name = format!("\"{}\"", reader.name);
    let finding = match reader.tried.as_ref()? {
        Ok(answer) => answering(&name, "pcsc", answer),
        // `cards` has said it.
        Err(PortCheckError::Nameless) => return None,
        Err(error) => {
            let finding = Finding::failed(NAME, format!("{name}: {error}"));
            match remedy(error, "pcsc") {
                Some(remedy) => finding.remedy(remedy),
                None => finding,
            }
        }
    };
    Some(finding.simulated(reader.simulated))
}

fn answering(name: &str, dialect: &str, answer: &PortCheck) -> Finding {
    let card = match answer.card {
        Detection::None => "no card".to_owned(),
        Detection::One(target) => format!("card {}", target.uid),
        Detection::Several => "several cards".to_owned(),
    };
    let (model, firmware) = (&answer.reader.model, &answer.reader.firmware);
    Finding::fine(NAME, format!("{name} speaks {dialect}: {model}, firmware {firmware}, {card}"))
}

fn from_daemon(encoder: &EncoderAnswer) -> Finding {
    let name = format!("\"{}\" at {}", encoder.display_name, encoder.port);
    let answer = match (&encoder.model, &encoder.firmware) {
        (Some(model), Some(firmware)) => format!("{model}, firmware {firmware}"),
        (Some(_) | None, _) => "has not answered yet".to_owned(),
    };
    let card = match (encoder.presence, &encoder.card_number) {
        (Presence::Absent | Presence::Arriving, _) => "no card".to_owned(),
        (Presence::Present, Some(uid)) => format!("card {uid}"),
        (Presence::Present, None) => "a card".to_owned(),
        (Presence::Several, _) => "several cards".to_owned(),
    };
    let fault = encoder.fault.as_ref().map(|fault| fault.message.clone());
    let finding = match encoder.state {
        EncoderState::Online => {
            let text = format!("{name}: {answer}, {card}");
            match fault {
                Some(fault) => Finding::note(NAME, format!("{text}: {fault}")),
                None => Finding::fine(NAME, text),
            }
        }
        EncoderState::Offline | EncoderState::Unavailable | EncoderState::Silent => {
            Finding::failed(NAME, format!("{name}: {}", fault.unwrap_or_else(|| "not usable".to_owned())))
        }
    };
    finding.simulated(encoder.simulated)
}

async fn try_port(path: &Path, reader: &Reader, baud: u32) -> Finding {
    let (name, dialect) = (path.display(), reader.dialect);
    let finding = match check(path, reader, baud).await {
        Ok(answer) => answering(&name.to_string(), dialect, &answer),
        Err(error) => {
            // What cannot be opened names its port itself.
            let message = match &error {
                PortCheckError::Open(error) => error.to_string(),
                PortCheckError::Gone
                | PortCheckError::Silent
                | PortCheckError::WrongDialect
                | PortCheckError::InUse
                | PortCheckError::Nameless
                | PortCheckError::Field => format!("{name}: {error}"),
            };
            let finding = Finding::failed(NAME, message);
            match remedy(&error, dialect) {
                Some(remedy) => finding.remedy(remedy),
                None => finding,
            }
        }
    };
    finding.simulated(is_pty(path))
}

fn remedy(error: &PortCheckError, dialect: &str) -> Option<String> {
    match error {
        PortCheckError::Open(OpenError::PermissionDenied(_)) => {
            Some("sudo usermod -aG dialout $USER, then log in again".to_owned())
        }
        PortCheckError::Open(OpenError::NotFound(_) | OpenError::Busy { .. } | OpenError::NotASerialPort { .. }) => {
            None
        }
        PortCheckError::Gone | PortCheckError::Field => Some("unplug the encoder and plug it back in".to_owned()),
        PortCheckError::InUse => Some("close that program".to_owned()),
        PortCheckError::Nameless => None,
        PortCheckError::Silent => {
            Some(format!("check cable and power; if another kind of device is there, {dialect} is the wrong dialect"))
        }
        PortCheckError::WrongDialect => Some("choose the dialect of this device".to_owned()),
    }
}
