//! Whether the daemon runs, and answers at its control socket.

use super::{Context, Finding};
use crate::control::ControlError;

const NAME: &str = "daemon";

pub(super) fn look(context: &Context) -> Vec<Finding> {
    if let Some(status) = &context.status {
        return vec![Finding::fine(NAME, format!("encoderd {} runs, pid {}", status.version, status.pid))];
    }
    let is_service = context.unit.state.as_ref().is_some_and(|state| state.active == "active");
    vec![match &context.silence {
        Some(ControlError::PermissionDenied { path }) => {
            let message = format!("encoderd runs, and this user may not ask it at {}", path.display());
            Finding::note(NAME, message).remedy("sudo encoderd probe")
        }
        Some(error @ (ControlError::BadAnswer(_) | ControlError::Refused(_) | ControlError::Bind { .. })) => {
            let remedy = if context.unit.file.is_some() {
                "sudo systemctl restart encoderd"
            } else {
                "end encoderd and start it again"
            };
            Finding::failed(NAME, format!("encoderd runs and does not answer as this version would: {error}"))
                .remedy(remedy)
        }
        Some(ControlError::NotRunning { path }) if is_service => {
            let message = format!("the service runs and nobody answers at {}", path.display());
            Finding::failed(NAME, message).remedy("sudo systemctl restart encoderd")
        }
        Some(ControlError::NotRunning { .. } | ControlError::Ended) | None => {
            let remedy = if context.unit.file.is_some() { "sudo systemctl start encoderd" } else { "encoderd run" };
            Finding::note(NAME, "encoderd does not run with this configuration; ports are looked at directly")
                .remedy(remedy)
        }
    }]
}
