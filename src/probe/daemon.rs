//! Whether the daemon runs.

use super::{Context, Finding};

const NAME: &str = "daemon";

pub(super) fn look(context: &Context) -> Vec<Finding> {
    vec![match &context.status {
        Some(status) => Finding::fine(NAME, format!("encoderd {} runs, pid {}", status.version, status.pid)),
        None => Finding::note(NAME, "encoderd does not run with this configuration; ports are looked at directly")
            .remedy("encoderd run"),
    }]
}
