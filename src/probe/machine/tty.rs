//! Serial ports on USB as sysfs shows them.

use super::{Machine, link_name, list, text};
use std::path::{Path, PathBuf};

/// A serial port on USB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::probe) struct Tty {
    /// Its node, such as `/dev/ttyUSB0`.
    pub(in crate::probe) node: PathBuf,
    /// USB vendor and product id.
    pub(in crate::probe) ids: (u16, u16),
    /// What the device says it is.
    pub(in crate::probe) product: Option<String>,
    /// Its serial number.
    pub(in crate::probe) serial: Option<String>,
    /// The USB port that it is plugged into, such as `1-1.2`.
    pub(in crate::probe) port: String,
    /// The kernel's driver, such as `ftdi_sio`.
    pub(in crate::probe) driver: Option<String>,
    /// The file that says how long an FTDI chip waits before it hands over what it has, and the milliseconds in it.
    pub(in crate::probe) latency: Option<(PathBuf, u32)>,
    /// The file that says whether the kernel may put the device to sleep, and what it says.
    pub(in crate::probe) power: Option<(PathBuf, String)>,
}

impl Tty {
    /// For people.
    pub(in crate::probe) fn about(&self) -> String {
        let ((vendor, product), name) = (self.ids, self.product.as_deref().unwrap_or("no product name"));
        format!("{}: {vendor:04x}:{product:04x} {name}", self.node.display())
    }
}

/// The serial ports on USB.
pub(in crate::probe) fn ttys(machine: &Machine) -> Vec<Tty> {
    let folder = machine.sysfs.join("class/tty");
    list(&folder).into_iter().filter_map(|name| tty(machine, &folder.join(&name), &name)).collect()
}

fn tty(machine: &Machine, entry: &Path, name: &str) -> Option<Tty> {
    let line = entry.join("device").canonicalize().ok()?;
    let device = line.ancestors().find(|path| path.join("idVendor").exists())?.to_path_buf();
    let hex = |file: &str| u16::from_str_radix(&text(&device.join(file))?, 16).ok();
    let filled = |file: &str| text(&device.join(file)).filter(|text| !text.is_empty());
    let latency = line.join("latency_timer");
    let power = device.join("power/control");
    Some(Tty {
        node: machine.path("dev").join(name),
        ids: (hex("idVendor")?, hex("idProduct")?),
        product: filled("product"),
        serial: filled("serial"),
        port: device.file_name()?.to_string_lossy().into_owned(),
        driver: link_name(&line.join("driver")),
        latency: text(&latency).and_then(|ms| ms.parse().ok()).map(|ms| (latency, ms)),
        power: text(&power).map(|control| (power, control)),
    })
}

/// A bridge chip on USB that has no serial port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::probe) struct Portless {
    /// USB vendor and product id.
    pub(in crate::probe) ids: (u16, u16),
    /// The USB port that it is plugged into.
    pub(in crate::probe) port: String,
}

/// The bridge chips that a serial encoder may be behind, and the kernel's module for each.
pub(in crate::probe) const BRIDGE_CHIPS: &[((u16, u16), &str)] = &[
    ((0x0403, 0x6001), "ftdi_sio"),
    ((0x0403, 0x6015), "ftdi_sio"),
    ((0x10C4, 0xEA60), "cp210x"),
    ((0x1A86, 0x7523), "ch341"),
    ((0x067B, 0x2303), "pl2303"),
];

/// The bridge chips that are plugged in and have no port.
pub(in crate::probe) fn portless(machine: &Machine, ttys: &[Tty]) -> Vec<Portless> {
    let folder = machine.sysfs.join("bus/usb/devices");
    let devices = list(&folder).into_iter().filter(|name| !name.contains(':'));
    let chips = devices.filter_map(|port| {
        let hex = |file: &str| u16::from_str_radix(&text(&folder.join(&port).join(file))?, 16).ok();
        Some(Portless { ids: (hex("idVendor")?, hex("idProduct")?), port })
    });
    chips
        .filter(|chip| BRIDGE_CHIPS.iter().any(|(ids, _)| *ids == chip.ids))
        .filter(|chip| !ttys.iter().any(|tty| tty.port == chip.port))
        .collect()
}
