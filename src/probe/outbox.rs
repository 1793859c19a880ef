//! Results that the hub has not acknowledged. Nothing is lost, but nobody upstairs knows of those cards.

use super::{Context, Finding};
use jiff::SignedDuration;

const NAME: &str = "outbox";

/// A hub that answers acknowledges within seconds.
const OLD: SignedDuration = SignedDuration::from_mins(1);

pub(super) fn look(context: &Context) -> Vec<Finding> {
    let Some(status) = &context.status else { return Vec::new() };
    let waiting = status.outbox;
    let age = waiting.oldest_at.map(|oldest| oldest.duration_until(context.machine.now));
    vec![match (waiting.count, age) {
        (0, _) => Finding::fine(NAME, "no result waits"),
        (count, Some(age)) if age > OLD => {
            let message = format!(
                "results that the hub at {} has not acknowledged: {count}, the oldest {} minutes old; they are kept and sent again",
                status.hub_url,
                age.as_mins()
            );
            Finding::failed(NAME, message)
                .remedy("sudo journalctl -u encoderd --grep outbox -n 20; then: sudo systemctl restart encoderd")
        }
        (count, _) => Finding::fine(NAME, format!("results on their way: {count}")),
    }]
}
