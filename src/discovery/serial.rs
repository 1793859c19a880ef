//! Serial encoders: configured ports, and USB products that are encoders and nothing else.
//!
//! Nothing is ever sent to a port that nobody claimed: a front desk has receipt printers and PIN pads, and generic
//! bridge chips (1a86:7523, 10c4:ea60, 0403:6001, 067b:2303) say nothing about what is behind them.

use super::{Found, Place, SerialPlace};
use crate::config::{Config, SerialDiscovery};
use encoder_protocols::dialect::{READERS, Reader};
use serialport::{SerialPortInfo, SerialPortType, UsbPortInfo};
use std::path::{Path, PathBuf};

/// The ports that the system has, with what it knows of them.
pub fn ports() -> Vec<SerialPortInfo> {
    serialport::available_ports().unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot list serial ports");
        Vec::new()
    })
}

/// The encoders among these ports, and the configured ones.
pub fn encoders(config: &Config, ports: &[SerialPortInfo]) -> Vec<Found> {
    places(config, ports)
        .into_iter()
        .map(|SerialFound { device_id, place, display_name, simulated }| Found {
            device_id,
            place: Place::Serial(place),
            display_name,
            simulated,
        })
        .collect()
}

/// A serial encoder.
#[derive(Clone, Debug)]
pub struct SerialFound {
    /// As [`Found::device_id`].
    pub device_id: String,
    /// Its port.
    pub place: SerialPlace,
    /// As [`Found::display_name`].
    pub display_name: String,
    /// At the end of a pty.
    pub simulated: bool,
}

/// The same, as serial places.
pub fn places(config: &Config, ports: &[SerialPortInfo]) -> Vec<SerialFound> {
    let configured = config.serial.iter().map(|port| {
        let attached = ports.iter().find(|info| same_node(Path::new(&info.port_name), &port.path));
        let usb = attached.and_then(usb);
        SerialFound {
            device_id: identity(usb, &port.path),
            place: SerialPlace {
                path: port.path.clone(),
                reader: port.dialect,
                baud: port.baud.unwrap_or(port.dialect.baud),
            },
            display_name: port.name.clone().unwrap_or_else(|| {
                usb.and_then(|usb| usb.product.clone()).unwrap_or_else(|| port.dialect.description.to_owned())
            }),
            simulated: is_pty(&port.path),
        }
    });
    let known = ports.iter().filter_map(|info| {
        let usb = usb(info)?;
        let path = PathBuf::from(&info.port_name);
        let reader = *READERS.iter().find(|reader| claims(reader, usb))?;
        Some(SerialFound {
            device_id: identity(Some(usb), &path),
            display_name: usb.product.clone().unwrap_or_else(|| reader.description.to_owned()),
            place: SerialPlace { path, reader, baud: reader.baud },
            simulated: false,
        })
    });
    let mut found: Vec<SerialFound> = match config.discovery.serial {
        SerialDiscovery::Off => Vec::new(),
        SerialDiscovery::Configured => configured.collect(),
        SerialDiscovery::Known => {
            let configured: Vec<SerialFound> = configured.collect();
            let is_configured =
                |device: &SerialFound| configured.iter().any(|port| same_node(&port.place.path, &device.place.path));
            let others: Vec<SerialFound> = known.filter(|device| !is_configured(device)).collect();
            configured.into_iter().chain(others).collect()
        }
    };
    make_names_unique(&mut found);
    found
}

fn usb(info: &SerialPortInfo) -> Option<&UsbPortInfo> {
    match &info.port_type {
        SerialPortType::UsbPort(usb) => Some(usb),
        SerialPortType::PciPort | SerialPortType::BluetoothPort | SerialPortType::Unknown => None,
    }
}

fn claims(reader: &Reader, usb: &UsbPortInfo) -> bool {
    reader.usb_ids.iter().any(|id| {
        (id.vendor, id.product) == (usb.vid, usb.pid)
            && usb.product.as_deref().unwrap_or_default().contains(id.product_text)
    })
}

/// The serial number of the USB device; else the port it is plugged into, as /dev/serial/by-path names it; else the
/// configured path. Never the number behind `ttyUSB`, which changes.
fn identity(usb: Option<&UsbPortInfo>, path: &Path) -> String {
    if let Some(UsbPortInfo { vid, pid, serial_number: Some(serial), .. }) = usb
        && !serial.trim().is_empty()
    {
        return format!("usb-{vid:04x}:{pid:04x}-{}", serial.trim());
    }
    if usb.is_some()
        && let Some(by_path) = link_to("/dev/serial/by-path", path)
    {
        return format!("port-{by_path}");
    }
    format!("path-{}", path.display())
}

/// The name of the link in a directory that leads to this node.
fn link_to(directory: &str, node: &Path) -> Option<String> {
    std::fs::read_dir(directory)
        .ok()?
        .flatten()
        .find(|link| same_node(&link.path(), node))
        .map(|link| link.file_name().to_string_lossy().into_owned())
}

/// Whether two paths lead to the same node.
pub fn same_node(a: &Path, b: &Path) -> bool {
    a == b || matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// Whether a path leads to a pty. No real port does.
pub fn is_pty(path: &Path) -> bool {
    path.canonicalize().is_ok_and(|node| node.starts_with("/dev/pts"))
}

/// Two encoders of one name get their ports behind it, so that a clerk can tell them apart.
fn make_names_unique(found: &mut [SerialFound]) {
    let names: Vec<String> = found.iter().map(|device| device.display_name.clone()).collect();
    for device in found {
        if names.iter().filter(|name| **name == device.display_name).count() > 1 {
            device.display_name = format!("{} ({})", device.display_name, device.place.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(name: &str, vid: u16, pid: u16, serial: Option<&str>) -> SerialPortInfo {
        SerialPortInfo {
            port_name: name.into(),
            port_type: SerialPortType::UsbPort(UsbPortInfo {
                vid,
                pid,
                serial_number: serial.map(str::to_owned),
                manufacturer: None,
                product: Some("USB Serial".into()),
            }),
        }
    }

    fn configured(text: &str) -> Config {
        Config::parse(text, Path::new("test")).unwrap()
    }

    #[test]
    fn a_generic_bridge_chip_is_left_alone_unless_configured() {
        let ports = [port("/dev/ttyUSB7", 0x1a86, 0x7523, None), port("/dev/ttyUSB8", 0x0403, 0x6001, Some("A1"))];
        assert!(encoders(&Config::default(), &ports).is_empty());
        let config = configured("[[serial]]\npath = \"/dev/ttyUSB8\"\ndialect = \"pn532\"\n");
        let found = encoders(&config, &ports);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].device_id, "usb-0403:6001-A1");
        assert_eq!(found[0].display_name, "USB Serial");
        assert!(!found[0].simulated);
    }

    #[test]
    fn without_a_serial_number_the_configured_path_is_the_identity() {
        let config = configured("[[serial]]\npath = \"/dev/ttyUSB7\"\ndialect = \"pn532\"\nname = \"Desk\"\n");
        let found = encoders(&config, &[port("/dev/ttyUSB7", 0x1a86, 0x7523, Some(" "))]);
        assert_eq!(found[0].device_id, "path-/dev/ttyUSB7");
        assert_eq!(found[0].display_name, "Desk");
    }

    #[test]
    fn equal_names_are_told_apart_by_their_ports() {
        let config = configured(
            "[[serial]]\npath = \"/dev/a\"\ndialect = \"pn532\"\nname = \"Desk\"\n\
             [[serial]]\npath = \"/dev/b\"\ndialect = \"pn532\"\nname = \"Desk\"\n",
        );
        let names: Vec<_> = encoders(&config, &[]).into_iter().map(|device| device.display_name).collect();
        assert_eq!(names, ["Desk (/dev/a)", "Desk (/dev/b)"]);
    }

    #[test]
    fn discovery_off_finds_nothing() {
        let config = configured("[discovery]\nserial = \"off\"\n[[serial]]\npath = \"/dev/a\"\ndialect = \"pn532\"\n");
        assert!(encoders(&config, &[]).is_empty());
    }
}
