//! How long one exchange with an encoder takes. Asked only where no daemon holds the port.

use super::trial::Outcome;
use super::{Context, Finding};
use std::time::Duration;

const NAME: &str = "round_trip";

/// A PN532 at 115200 baud answers within 10 ms, most of which is the line; an FTDI chip as it comes out of the box adds 16.
const SLOW: Duration = Duration::from_millis(30);

pub(super) fn look(context: &Context) -> Vec<Finding> {
    let timed = context.trials.iter().filter_map(|trial| match &trial.outcome {
        Outcome::Tried(Ok(check)) => Some((trial, check.round_trip?)),
        Outcome::Tried(Err(_)) | Outcome::Held(_) => None,
    });
    timed
        .map(|(trial, took)| {
            let ms = took.as_micros().div_ceil(100);
            let message = format!("{}: {}.{} ms", trial.path.display(), ms / 10, ms % 10);
            let finding = if took > SLOW {
                Finding::note(NAME, format!("{message}, which is slow: a key takes 35 exchanges and more"))
                    .remedy("plug the encoder into the PC itself, without a hub; and what `latency` says")
            } else {
                Finding::fine(NAME, message)
            };
            finding.simulated(trial.simulated)
        })
        .collect()
}
