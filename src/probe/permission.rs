//! Whether the service may open its ports: by their modes, and by the service's own walls.

use super::machine::{Source, shown};
use super::{Context, Finding};
use crate::discovery::serial::same_node;
use crate::fault::FaultKind;
use std::path::Path;

const NAME: &str = "permission";

pub(super) fn look(context: &Context) -> Vec<Finding> {
    let ports = context.claimed.iter().filter(|port| port.path.exists());
    ports.filter_map(|port| by_mode(context, &port.path).or_else(|| by_walls(context, &port.path))).collect()
}

fn by_mode(context: &Context, port: &Path) -> Option<Finding> {
    let user = context.service.user.as_ref()?;
    let about = std::fs::metadata(port).ok()?;
    if user.may(&about, 6) {
        return None;
    }
    let (path, name) = (port.display(), &user.name);
    let message = format!("{name} may not open {path} ({})", shown(&context.machine, &about));
    let remedy = match (context.service.source, context.unit.file.is_some()) {
        (Source::Asker, false) => {
            format!("sudo chgrp dialout {path} && sudo chmod 660 {path}, and: sudo usermod -aG dialout {name}")
        }
        (Source::Daemon | Source::Unit | Source::Asker, _) => {
            format!("sudo chgrp dialout {path} && sudo chmod 660 {path}; for good: encoderd probe --udev {path}")
        }
    };
    Some(Finding::failed(NAME, message).remedy(remedy))
}

/// The kernel refuses the daemon what modes allow: its unit lets it open only kinds of devices that the kernel knew when it
/// started. Seen on systemd 252 and 257: `usbserial` was loaded later, and EPERM stays until a restart.
fn by_walls(context: &Context, port: &Path) -> Option<Finding> {
    let status = context.status.as_ref()?;
    context.unit.file.as_ref()?;
    let encoder = status.encoders.iter().find(|encoder| same_node(Path::new(&encoder.port), port))?;
    let fault = encoder.fault.as_ref()?;
    let is_refused = fault.kind == FaultKind::EncoderOffline && fault.message.contains("ermi");
    is_refused.then(|| {
        let message = format!(
            "encoderd may not open {}, although its mode allows it: the port came after the service",
            port.display()
        );
        Finding::failed(NAME, message).remedy("sudo systemctl restart encoderd")
    })
}
