//! Whether the configuration file can be read.

use super::{Context, Finding};

const NAME: &str = "configuration";

pub(super) fn look(context: &Context) -> Vec<Finding> {
    vec![match &context.config {
        Ok(_) if !context.config_file.exists() => {
            Finding::note(NAME, format!("{} is not there: everything has its default", context.config_file.display()))
        }
        Ok(config) => {
            Finding::fine(NAME, format!("{}: serial ports: {}", context.config_file.display(), config.serial.len()))
        }
        Err(error) => Finding::failed(NAME, error.to_string()).remedy("correct the file and start encoderd again"),
    }]
}
