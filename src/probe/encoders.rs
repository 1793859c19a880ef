//! Whether each encoder answers in its dialect: the running daemon is asked; a port that nobody holds is tried.

use super::pcsc::Reader as PcscReader;
use super::trial::{Outcome, Trial};
use super::{Context, Finding, PcscFacts, runs_unseen};
use crate::api::bridge::{EncoderState, Presence};
use crate::control::EncoderAnswer;
use crate::device::check::{PortCheck, PortCheckError};
use crate::fault::FaultKind;
use crate::transport::serial::OpenError;
use encoder_protocols::id::Detection;

const NAME: &str = "encoders";

pub(super) fn look(context: &Context) -> Vec<Finding> {
    if context.port.is_some() {
        return context.trials.iter().map(|trial| tried(context, trial)).collect();
    }
    if let Some(status) = &context.status {
        return match status.encoders.as_slice() {
            [] => vec![none()],
            encoders => encoders.iter().map(from_daemon).collect(),
        };
    }
    if context.config.is_err() || runs_unseen(context.silence.as_ref()) {
        return Vec::new();
    }
    let behind_pcsc = context.pcsc.as_ref().map_or(&[][..], PcscFacts::readers);
    let mut findings: Vec<Finding> = context.trials.iter().map(|trial| tried(context, trial)).collect();
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
            match remedy(error, &name, "pcsc", "$USER") {
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
            match &encoder.fault {
                Some(fault) => Finding::failed(NAME, format!("{name}: {}", fault.message)).remedy(step(fault.kind)),
                // The daemon has found it a moment ago, and nothing has failed yet.
                None => {
                    Finding::note(NAME, format!("{name}: is just being opened")).remedy("ask again in a few seconds")
                }
            }
        }
    };
    finding.simulated(encoder.simulated)
}

fn tried(context: &Context, trial: &Trial) -> Finding {
    let (name, dialect) = (trial.path.display(), trial.dialect);
    let finding = match &trial.outcome {
        Outcome::Held(encoder) => return from_daemon(encoder),
        Outcome::Tried(Ok(answer)) => answering(&name.to_string(), dialect, answer),
        Outcome::Tried(Err(error)) => {
            // What cannot be opened names its port itself.
            let message = match error {
                PortCheckError::Open(error) => error.to_string(),
                PortCheckError::Gone
                | PortCheckError::Silent
                | PortCheckError::WrongDialect
                | PortCheckError::InUse
                | PortCheckError::Nameless
                | PortCheckError::Field => format!("{name}: {error}"),
            };
            let finding = Finding::failed(NAME, message);
            match remedy(error, &trial.path.display().to_string(), dialect, &context.service.name) {
                Some(remedy) => finding.remedy(remedy),
                None => finding,
            }
        }
    };
    finding.simulated(trial.simulated)
}

fn remedy(error: &PortCheckError, name: &str, dialect: &str, user: &str) -> Option<String> {
    match error {
        PortCheckError::Open(OpenError::PermissionDenied(_)) => {
            Some(format!("sudo usermod -aG dialout {user}, then log in again"))
        }
        PortCheckError::Open(OpenError::NotFound(_)) => Some("plug the encoder in, or correct its path".to_owned()),
        PortCheckError::Open(OpenError::Busy { .. }) => {
            Some(format!("close that program; which it is: sudo fuser -v {name}"))
        }
        PortCheckError::Open(OpenError::NotASerialPort { .. }) => {
            Some("correct the path: it must lead to a serial port, such as /dev/ttyUSB0".to_owned())
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

/// What a clerk can do about an encoder that the daemon cannot use, where no other check has said it.
fn step(kind: FaultKind) -> &'static str {
    let steps = [
        (FaultKind::EncoderOffline, "plug the encoder in; if it is, another cable or USB port"),
        (FaultKind::PortBusy, "close the program that has it"),
        (FaultKind::ReaderInUse, "close the program that has it"),
        (FaultKind::EncoderAmbiguous, "unplug one of the two"),
        (FaultKind::EncoderSilent, "unplug the encoder, wait five seconds and plug it back in"),
    ];
    steps.iter().find(|(known, _)| *known == kind).map_or("encoderd status", |(_, step)| step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Fault;
    use crate::probe::Verdict;
    use crate::probe::pcsc::planted;

    #[test]
    fn an_encoder_that_is_just_being_opened_has_not_failed() {
        let mut encoder = planted::encoder("PN532", None);
        (encoder.state, encoder.fault) = (EncoderState::Offline, None);
        assert_eq!(from_daemon(&encoder).verdict, Verdict::Note);
        encoder.fault = Some(Fault::from(FaultKind::EncoderOffline));
        assert_eq!(from_daemon(&encoder).verdict, Verdict::Failed);
    }
}
