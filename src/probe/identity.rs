//! Encoders that cannot be told apart: neither is used, since a card could be made for the wrong desk.

use super::trial::Claimed;
use super::{Context, Finding};
use crate::fault::FaultKind;

const NAME: &str = "identity";

pub(super) fn look(context: &Context) -> Vec<Finding> {
    let mut findings = twins(&context.claimed);
    let encoders = context.status.iter().flat_map(|status| &status.encoders);
    let ambiguous = encoders
        .filter(|encoder| encoder.fault.as_ref().is_some_and(|fault| fault.kind == FaultKind::EncoderAmbiguous));
    for encoder in ambiguous {
        let message = format!(
            "\"{}\" at {} cannot be told apart from another encoder: it is not used",
            encoder.display_name, encoder.port
        );
        findings.push(
            Finding::failed(NAME, message).remedy("unplug one of the two, or plug it into a USB port that is known"),
        );
    }
    findings
}

/// Serial devices with the same serial number, which is so no serial number.
fn twins(claimed: &[Claimed]) -> Vec<Finding> {
    let numbered: Vec<_> = claimed
        .iter()
        .filter_map(|port| {
            let tty = port.tty.as_ref()?;
            Some((tty.ids, tty.serial.as_deref()?, tty))
        })
        .collect();
    let mut findings = Vec::new();
    for (index, (ids, serial, tty)) in numbered.iter().enumerate() {
        let twin = numbered.iter().skip(index + 1).find(|(other, number, _)| other == ids && number == serial);
        let Some((_, _, twin)) = twin else { continue };
        let message = format!(
            "{} and {} have the same serial number \"{serial}\" ({:04x}:{:04x}), at USB ports {} and {}: they cannot be told apart",
            tty.node.display(),
            twin.node.display(),
            ids.0,
            ids.1,
            tty.port,
            twin.port
        );
        let remedy =
            "leave each in its USB port and configure both by /dev/serial/by-path/… as [[serial]] path; or unplug one";
        findings.push(Finding::failed(NAME, message).remedy(remedy).by(super::Who::It));
    }
    findings
}
