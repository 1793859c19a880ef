//! Whether the state directory can be used, and whether there is a card key.

use super::{Context, Finding};
use crate::keys::CardKey;

const NAME: &str = "state";

pub(super) fn look(context: &Context) -> Vec<Finding> {
    let Ok(config) = &context.config else { return Vec::new() };
    if context.port.is_some() {
        return Vec::new();
    }
    let directory = &config.daemon.state_dir;
    if !directory.exists() {
        return vec![Finding::note(
            NAME,
            format!("{} is not there yet; the first start makes it", directory.display()),
        )];
    }
    if rustix::fs::access(directory, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK).is_err() {
        return vec![
            Finding::failed(NAME, format!("{} may not be written by this user", directory.display()))
                .remedy("run this as root or as the user of encoderd, or give the directory to that user"),
        ];
    }
    vec![match CardKey::load(directory) {
        Ok(Some(key)) => Finding::fine(NAME, format!("property {}, card key {}", key.property_id, key.key.key_id())),
        Ok(None) if config.cloud.is_some() => {
            Finding::failed(NAME, "no card key of the property: nothing is encoded").remedy("encoderd keys import FILE")
        }
        Ok(None) => Finding::note(NAME, "no card key yet; the first start makes one"),
        Err(error) => Finding::failed(NAME, error.to_string()),
    }]
}
