//! Serial ports: what is plugged in, and configured ports that are not there.

use super::machine::{BRIDGE_CHIPS, portless};
use super::trial::Claimed;
use super::{Context, Finding};
use crate::discovery::serial::same_node;
use std::path::Path;

const NAME: &str = "ports";

pub(super) fn look(context: &Context) -> Vec<Finding> {
    let missing = context.claimed.iter().filter(|port| port.is_configured && !port.path.exists());
    let mut findings: Vec<Finding> = match context.port {
        // The trial says it.
        Some(_) => Vec::new(),
        None => missing.map(|port| absent(context, port)).collect(),
    };
    for tty in &context.ttys {
        if context.claimed.iter().any(|port| same_node(&port.path, &tty.node)) {
            findings.push(Finding::fine(NAME, format!("{}: in use as an encoder", tty.about())));
        } else {
            let remedy = format!(
                "if it is an encoder: encoderd probe --port {} --dialect pn532, then add it as [[serial]]",
                tty.node.display()
            );
            findings.push(
                Finding::note(NAME, format!("{}: not configured, so nothing is sent to it", tty.about()))
                    .remedy(remedy),
            );
        }
    }
    if findings.is_empty() {
        findings.push(Finding::note(NAME, "no serial device is plugged into USB"));
    }
    findings
}

/// A configured port that is not there: unplugged, renumbered, or without its driver.
fn absent(context: &Context, port: &Claimed) -> Finding {
    let (path, file) = (port.path.display(), context.config_file.display());
    let free: Vec<_> = context
        .ttys
        .iter()
        .filter(|tty| !context.claimed.iter().any(|port| same_node(&port.path, &tty.node)))
        .collect();
    if let [only] = free.as_slice() {
        let lasting = by_id(context, &only.node).unwrap_or_else(|| only.node.display().to_string());
        let message = format!(
            "{path}, a configured port, is not there; {} is, and not configured: its number has changed",
            only.about()
        );
        let remedy = format!("sudo sed -i 's|{path}|{lasting}|' {file}, then restart encoderd");
        return Finding::failed(NAME, message).remedy(remedy);
    }
    if let Some(chip) = portless(&context.machine, &context.ttys).first() {
        let (vendor, product) = chip.ids;
        let module = BRIDGE_CHIPS.iter().find(|(ids, _)| *ids == chip.ids).map_or("its driver", |(_, module)| module);
        let message = format!(
            "{path}, a configured port, is not there: the chip {vendor:04x}:{product:04x} at USB port {} has no driver",
            chip.port
        );
        return Finding::failed(NAME, message).remedy(format!("sudo modprobe {module}"));
    }
    let message = format!("{path}, a configured port, is not there: the encoder is not plugged in, or has no power");
    Finding::failed(NAME, message).remedy("plug the encoder in; if it is, try another cable and another USB port")
}

/// The name that stays when numbers change.
fn by_id(context: &Context, node: &Path) -> Option<String> {
    let named = ["dev/serial/by-id", "dev/serial/by-path"].iter().find_map(|folder| {
        let names = context.machine.list(folder);
        let name = names.into_iter().find(|name| same_node(&context.machine.path(folder).join(name), node))?;
        Some(format!("{folder}/{name}"))
    })?;
    Some(context.machine.path(&named).display().to_string())
}
