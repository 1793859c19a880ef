//! Serial ports: what is plugged in, whether it may be opened, who holds it.

use super::{Context, Finding};
use crate::config::SerialAt;
use crate::discovery::serial::{SeenPort, ports, same_node};
use crate::discovery::sysfs::UsbPort;
use crate::transport::serial::holders;

const NAME: &str = "ports";

pub(super) fn look(context: &Context) -> Vec<Finding> {
    let Ok(config) = &context.config else { return Vec::new() };
    let mut findings = Vec::new();
    for port in ports() {
        let Some(usb) = &port.port.usb else { continue };
        let configured = config.serial.iter().any(|configured| match &configured.at {
            SerialAt::Path(path) => same_node(path, &port.path),
            SerialAt::UsbSerial(serial) => usb.said_serial.as_ref() == Some(serial),
            SerialAt::UsbPort(socket) => usb.is_at(socket),
        });
        findings.push(describe(&port, usb, configured));
    }
    if findings.is_empty() {
        findings.push(Finding::note(NAME, "no serial device is plugged into USB"));
    }
    findings
}

fn describe(port: &SeenPort, usb: &UsbPort, configured: bool) -> Finding {
    let path = port.path.as_path();
    let product = usb.product.as_deref().unwrap_or("no product name");
    let (vendor, id) = usb.ids;
    let about = format!("{}: {vendor:04x}:{id:04x} {product}, usb_port {}", path.display(), usb.port);
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
        path.display()
    ))
}
