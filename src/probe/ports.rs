//! Serial ports: what is plugged in, whether it may be opened, who holds it.

use super::{Context, Finding};
use crate::discovery::serial::{ports, same_node};
use crate::transport::serial::holders;
use serialport::{SerialPortInfo, SerialPortType};
use std::path::Path;

const NAME: &str = "ports";

pub(super) fn look(context: &Context) -> Vec<Finding> {
    let Ok(config) = &context.config else { return Vec::new() };
    let mut findings = Vec::new();
    for port in ports() {
        let SerialPortType::UsbPort(_) = port.port_type else { continue };
        let path = Path::new(&port.port_name);
        let configured = config.serial.iter().any(|configured| same_node(&configured.path, path));
        findings.push(describe(&port, path, configured));
    }
    if findings.is_empty() {
        findings.push(Finding::note(NAME, "no serial device is plugged into USB"));
    }
    findings
}

fn describe(port: &SerialPortInfo, path: &Path, configured: bool) -> Finding {
    let SerialPortType::UsbPort(usb) = &port.port_type else {
        return Finding::note(NAME, port.port_name.clone());
    };
    let product = usb.product.as_deref().unwrap_or("no product name");
    let about = format!("{}: {:04x}:{:04x} {product}", port.port_name, usb.vid, usb.pid);
    let access = rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK;
    if rustix::fs::access(path, access) == Err(rustix::io::Errno::ACCESS) {
        return Finding::failed(NAME, format!("{about}: no permission"))
            .remedy("sudo usermod -aG dialout $USER, then log in again");
    }
    let holders: Vec<String> = holders(path).into_iter().filter(|holder| !holder.starts_with("encoderd ")).collect();
    if !holders.is_empty() {
        let verdict = format!("{about}: held by {}", holders.join(", "));
        return if configured {
            Finding::failed(NAME, verdict).remedy("close that program")
        } else {
            Finding::note(NAME, verdict)
        };
    }
    if configured {
        return Finding::fine(NAME, format!("{about}: configured"));
    }
    Finding::note(NAME, format!("{about}: not configured, so nothing is sent to it")).remedy(format!(
        "if it is an encoder: encoderd probe --port {} --dialect pn532, then add it as [[serial]]",
        port.port_name
    ))
}
