//! Jobs that were begun and have not ended: their cards may be half written.

use super::{Context, Finding, Who};
use jiff::SignedDuration;

const NAME: &str = "journal";

/// An attempt lives for two minutes and a bit at most: `card_wait` and 17 s.
const OLD: SignedDuration = SignedDuration::from_mins(5);

pub(super) fn look(context: &Context) -> Vec<Finding> {
    let Some(status) = &context.status else { return Vec::new() };
    let pending = status.journal;
    let age = pending.oldest_at.map(|oldest| oldest.duration_until(context.machine.now));
    vec![match (pending.count, age) {
        (0, _) => Finding::fine(NAME, "no job is open"),
        (count, Some(age)) if age > OLD => {
            let message = format!(
                "jobs that were begun and have not ended: {count}, the oldest {} minutes ago; its card may be half written",
                age.as_mins()
            );
            let remedy =
                "lay the last card on the encoder and encode it again; if it stays so: sudo systemctl restart encoderd";
            Finding::failed(NAME, message).remedy(remedy).by(Who::Clerk)
        }
        (count, _) => Finding::fine(NAME, format!("jobs at work: {count}")),
    }]
}
