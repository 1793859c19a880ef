//! The firmware that each encoder says it has.

use super::trial::Outcome;
use super::{Context, Finding, Who};

const NAME: &str = "firmware";

pub(super) fn look(context: &Context) -> Vec<Finding> {
    let told = context.status.iter().filter(|_| context.port.is_none()).flat_map(|status| &status.encoders).filter_map(
        |encoder| {
            Some((encoder.display_name.clone(), encoder.model.clone()?, encoder.firmware.clone()?, encoder.simulated))
        },
    );
    let tried = context.trials.iter().filter_map(|trial| match &trial.outcome {
        Outcome::Tried(Ok(check)) => Some((
            trial.path.display().to_string(),
            check.reader.model.clone(),
            check.reader.firmware.clone(),
            trial.simulated,
        )),
        Outcome::Held(encoder) => {
            Some((encoder.display_name.clone(), encoder.model.clone()?, encoder.firmware.clone()?, encoder.simulated))
        }
        Outcome::Tried(Err(_)) => None,
    });
    told.chain(tried)
        .map(|(name, model, firmware, simulated)| {
            let finding = if firmware.trim().is_empty() {
                Finding::note(NAME, format!("\"{name}\" ({model}) does not tell its firmware"))
                    .remedy("ask for its firmware and for a newer one")
                    .by(Who::Vendor)
            } else {
                Finding::fine(NAME, format!("\"{name}\": {model}, firmware {firmware}"))
            };
            finding.simulated(simulated)
        })
        .collect()
}
