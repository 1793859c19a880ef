//! Two devices that are linked to one encoder of the cloud.

use super::{Context, Finding};
use std::collections::BTreeMap;

const NAME: &str = "links";

pub(super) fn look(context: &Context) -> Vec<Finding> {
    let mut linked = BTreeMap::new();
    for encoder in context.status.iter().flat_map(|status| &status.encoders) {
        if let Some(id) = encoder.acs_encoder_id {
            linked.entry(id).or_insert_with(Vec::new).push(encoder);
        }
    }
    let twice = linked.into_iter().filter_map(|(id, encoders)| {
        let [first, others @ ..] = encoders.as_slice() else { return None };
        let last = others.last()?;
        let message = format!(
            "\"{}\" and \"{}\" are both linked to the encoder {id}: a job could go to either",
            first.display_name, last.display_name
        );
        let remedy = format!("unlink the one that is wrong, such as: sudo encoderd encoders unlink {}", last.device_id);
        Some(Finding::failed(NAME, message).remedy(remedy))
    });
    twice.collect()
}
