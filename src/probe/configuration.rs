//! Whether the configuration file can be read.

use super::{Context, Finding};

const NAME: &str = "configuration";

pub(super) fn look(context: &Context) -> Vec<Finding> {
    vec![match &context.config {
        Ok(config) => Finding::fine(NAME, format!("{} serial ports configured", config.serial.len())),
        Err(error) => Finding::failed(NAME, error.to_string()).remedy("correct the file and start encoderd again"),
    }]
}
