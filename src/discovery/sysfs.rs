//! Serial ports as the kernel shows them below `/sys`: a pure function of that tree.
//!
//! ```text
//! class/tty/ttyUSB0 ─► devices/pci0000:00/0000:00:14.0/usb1/1-1/1-1.2/1-1.2:1.0/ttyUSB0/tty/ttyUSB0
//!                                        │            │         │     │         └ the port (usb-serial); has latency_timer
//!                                        │            │         │     └ the interface: bInterfaceNumber
//!                                        │            │         └ the device: idVendor, idProduct, serial, product
//!                                        │            └ its bus, whose number may change from start to start
//!                                        └ the controller, which keeps its name
//! ```
//!
//! A `ttyACM0` is the interface's child without a directory of its own in between. Terminals and ptys have no `device`
//! and are no ports.

use super::usb::true_serial;
use std::ffi::OsString;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// An attribute of sysfs has a page at the most.
const ATTRIBUTE_BYTES_MAX: u64 = 4096;

/// A serial port with hardware behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its name, such as `ttyUSB0`; not to be kept, it changes with the order of plugging in.
    pub name: OsString,
    /// Its directory in sysfs.
    pub directory: PathBuf,
    /// What it is on the USB; `None` on the board, on PCI, elsewhere.
    pub usb: Option<UsbPort>,
}

/// A serial port of a USB device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsbPort {
    /// idVendor and idProduct.
    pub ids: (u16, u16),
    /// The serial number as the device says it.
    pub said_serial: Option<String>,
    /// What the device calls itself.
    pub product: Option<String>,
    /// Who made it, as it says.
    pub manufacturer: Option<String>,
    /// The socket that it is plugged into, as the kernel names it: `1-1.2` is bus 1, socket 1, there socket 2.
    pub port: String,
    /// The same without the bus, whose number may change from start to start: `0000:00:14.0-1.2`.
    pub location: String,
    /// bInterfaceNumber: a device may have several ports.
    pub interface: u8,
    /// The interface as the kernel names it: `1-1.2:1.0`.
    pub interface_name: String,
    /// The number among the ports of one interface.
    pub number: u8,
}

impl UsbPort {
    /// The serial number, where the device has a true one.
    pub fn serial(&self) -> Option<String> {
        self.said_serial.as_deref().and_then(true_serial)
    }

    /// Who it is. The serial number of the device; else the socket that it is plugged into. A firmware's own number
    /// would come between the two, from a dialect that has one.
    pub fn identity(&self) -> String {
        let (vendor, product) = self.ids;
        match self.serial() {
            Some(serial) => format!("usb-{vendor:04x}:{product:04x}-{serial}{}", self.suffix()),
            None => self.identity_by_port(),
        }
    }

    /// Who it is by the socket that it is plugged into, whatever serial number it says.
    pub fn identity_by_port(&self) -> String {
        let (vendor, product) = self.ids;
        format!("port-{vendor:04x}:{product:04x}-{}{}", self.location, self.suffix())
    }

    /// Which port of its device.
    fn suffix(&self) -> String {
        match (self.interface, self.number) {
            (0, 0) => String::new(),
            (interface, 0) => format!("#{interface:02x}"),
            (interface, number) => format!("#{interface:02x}.{number}"),
        }
    }

    /// Whether a configured `usb_port` means it: the socket with or without the interface, by either name.
    pub fn is_at(&self, usb_port: &str) -> bool {
        let interface = self.interface_name.rsplit_once(':').map_or("", |(_, interface)| interface);
        [&self.port, &self.location].into_iter().any(|place| {
            usb_port
                .strip_prefix(place.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.strip_prefix(':') == Some(interface))
        })
    }
}

/// Where sysfs is: `$SYSFS_PATH`, else `/sys`.
pub fn root() -> PathBuf {
    std::env::var_os("SYSFS_PATH").map_or_else(|| PathBuf::from("/sys"), PathBuf::from)
}

/// All serial ports with hardware behind them, by name.
pub fn ports(sysfs: &Path) -> Vec<Port> {
    let Ok(entries) = std::fs::read_dir(sysfs.join("class/tty")) else { return Vec::new() };
    let top = sysfs.canonicalize().unwrap_or_else(|_| sysfs.to_path_buf());
    let mut ports: Vec<Port> = entries
        .flatten()
        .filter_map(|entry| {
            // A link that leads nowhere is a device that is just being pulled out.
            let directory = entry.path().join("device").canonicalize().ok()?;
            let usb = usb(&directory, &top);
            Some(Port { name: entry.file_name(), directory, usb })
        })
        .collect();
    ports.sort_by(|a, b| a.name.cmp(&b.name));
    ports
}

/// Looks upward from a port for the USB device that it belongs to.
fn usb(directory: &Path, top: &Path) -> Option<UsbPort> {
    let below = || directory.ancestors().take_while(|ancestor| *ancestor != top);
    let interface = below().find(|ancestor| ancestor.join("bInterfaceNumber").is_file());
    let device = below().find(|ancestor| ancestor.join("idVendor").is_file())?;
    let id = |name: &str| u16::from_str_radix(&attribute(&device.join(name))?, 16).ok();
    let text = |name: &str| attribute(&device.join(name)).filter(|text| !text.is_empty());
    let port = name(device);
    let number = |path: PathBuf, radix| attribute(&path).and_then(|text| u8::from_str_radix(&text, radix).ok());
    Some(UsbPort {
        ids: (id("idVendor")?, id("idProduct")?),
        said_serial: text("serial"),
        product: text("product"),
        manufacturer: text("manufacturer"),
        location: location(device, &port, top),
        interface: interface.and_then(|path| number(path.join("bInterfaceNumber"), 16)).unwrap_or_default(),
        interface_name: interface.map(name).unwrap_or_default(),
        number: number(directory.join("port_number"), 10).unwrap_or_default(),
        port,
    })
}

/// The controller's name and the sockets from there on.
fn location(device: &Path, port: &str, top: &Path) -> String {
    let bus = device.ancestors().find(|ancestor| {
        let name = name(ancestor);
        name.strip_prefix("usb").is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
    });
    let controller = bus.and_then(Path::parent).filter(|controller| *controller != top);
    match (controller.map(name), port.split_once('-')) {
        (Some(controller), Some((_bus, sockets))) if controller != "devices" => format!("{controller}-{sockets}"),
        _ => port.to_owned(),
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// An attribute's text. What is not UTF-8 becomes replacement characters.
fn attribute(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    std::fs::File::open(path).ok()?.take(ATTRIBUTE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).trim().to_owned())
}

/// The latency timer of an FTDI adapter in milliseconds; `None` for every other port. Everything that the adapter
/// receives waits this long, unless it fills a packet: 16 ms after plugging in, which adds about 6 ms to each exchange.
///
/// Source: FTDI AN232B-04; Linux `drivers/usb/serial/ftdi_sio.c`, `latency_timer_show`.
pub fn latency_timer(sysfs: &Path, port: &Path) -> Option<u8> {
    attribute(&latency_file(sysfs, port)?)?.parse().ok()
}

/// The file of a port's latency timer, if it has one.
pub fn latency_file(sysfs: &Path, port: &Path) -> Option<PathBuf> {
    let node = port.canonicalize().ok()?;
    let file = sysfs.join("class/tty").join(node.file_name()?).join("device/latency_timer");
    file.is_file().then_some(file)
}

/// Trees like the kernel's, for tests.
#[cfg(test)]
pub(crate) mod fake {
    use std::ffi::OsStr;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::{Path, PathBuf};

    /// A USB device to be plugged in.
    #[derive(Clone, Debug)]
    pub(crate) struct Device {
        /// The PCI address of its controller, and the number of that one's bus.
        pub(crate) controller: &'static str,
        pub(crate) bus: u8,
        /// The sockets behind the bus, such as `1.2`.
        pub(crate) sockets: String,
        pub(crate) ids: (u16, u16),
        pub(crate) serial: Option<Vec<u8>>,
        pub(crate) product: Option<&'static str>,
    }

    impl Device {
        pub(crate) fn ch340(sockets: &str) -> Self {
            Self {
                controller: "0000:00:14.0",
                bus: 1,
                sockets: sockets.to_owned(),
                ids: (0x1a86, 0x7523),
                serial: None,
                product: Some("USB Serial"),
            }
        }

        pub(crate) fn with_serial(self, serial: &str) -> Self {
            Self { serial: Some(serial.as_bytes().to_vec()), ..self }
        }

        fn directory(&self, sysfs: &Path) -> PathBuf {
            let (bus, first) = (self.bus, self.sockets.split('.').next().unwrap_or_default());
            let root = sysfs.join(format!("devices/pci0000:00/{}/usb{bus}/{bus}-{first}", self.controller));
            if first == self.sockets { root } else { root.join(format!("{bus}-{}", self.sockets)) }
        }

        /// Plugs it in as the tty of this name, on this interface.
        pub(crate) fn plug(&self, sysfs: &Path, tty: impl AsRef<OsStr>, interface: u8) -> PathBuf {
            let (device, tty) = (self.directory(sysfs), tty.as_ref());
            let interface_name = format!("{}-{}:1.{interface}", self.bus, self.sockets);
            let interface_dir = device.join(&interface_name);
            let is_acm = tty.to_string_lossy().starts_with("ttyACM");
            let port = if is_acm { interface_dir.clone() } else { interface_dir.join(tty) };
            let class = port.join("tty").join(tty);
            fs::create_dir_all(&class).unwrap();
            fs::write(interface_dir.join("bInterfaceNumber"), format!("{interface:02x}\n")).unwrap();
            fs::write(device.join("idVendor"), format!("{:04x}\n", self.ids.0)).unwrap();
            fs::write(device.join("idProduct"), format!("{:04x}\n", self.ids.1)).unwrap();
            if let Some(serial) = &self.serial {
                fs::write(device.join("serial"), [serial, &b"\n"[..]].concat()).unwrap();
            }
            if let Some(product) = self.product {
                fs::write(device.join("product"), format!("{product}\n")).unwrap();
            }
            symlink(&port, class.join("device")).unwrap();
            let classes = sysfs.join("class/tty");
            fs::create_dir_all(&classes).unwrap();
            symlink(&class, classes.join(tty)).unwrap();
            port
        }

        /// Pulls it out again, all of its ports.
        pub(crate) fn unplug(&self, sysfs: &Path) {
            fs::remove_dir_all(self.directory(sysfs)).unwrap();
            for entry in fs::read_dir(sysfs.join("class/tty")).unwrap().flatten() {
                if !entry.path().exists() {
                    fs::remove_file(entry.path()).unwrap();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fake::Device;
    use super::*;
    use std::fs;
    use std::os::unix::ffi::OsStringExt as _;
    use std::os::unix::fs::symlink;

    fn named<'a>(ports: &'a [Port], name: &str) -> &'a UsbPort {
        ports.iter().find(|port| port.name == name).unwrap().usb.as_ref().unwrap()
    }

    #[test]
    fn every_kind_of_port_is_found_with_what_the_kernel_knows_of_it() {
        let root = tempfile::tempdir().unwrap();
        let sysfs = root.path();
        assert_eq!(ports(sysfs), []);
        Device::ch340("1.2").plug(sysfs, "ttyUSB0", 0);
        Device { ids: (0x2341, 0x0043), ..Device::ch340("3").with_serial("75834") }.plug(sysfs, "ttyACM0", 0);
        let twice = Device { ids: (0x0403, 0x6010), ..Device::ch340("4").with_serial("FT2") };
        twice.plug(sysfs, "ttyUSB1", 0);
        let second = twice.plug(sysfs, "ttyUSB2", 1);
        fs::write(second.join("port_number"), "3\n").unwrap();
        // On PCI, on the board, a terminal, one that is being pulled out, one with a name that is no text.
        let pci = sysfs.join("devices/pci0000:00/0000:01:00.0");
        fs::create_dir_all(pci.join("tty/ttyS4")).unwrap();
        fs::write(pci.join("vendor"), "0x1c00\n").unwrap();
        symlink(&pci, pci.join("tty/ttyS4/device")).unwrap();
        symlink(pci.join("tty/ttyS4"), sysfs.join("class/tty/ttyS4")).unwrap();
        fs::create_dir_all(sysfs.join("devices/virtual/tty/tty1")).unwrap();
        symlink(sysfs.join("devices/virtual/tty/tty1"), sysfs.join("class/tty/tty1")).unwrap();
        symlink(sysfs.join("gone"), sysfs.join("class/tty/ttyUSB9")).unwrap();
        let odd = OsString::from_vec(b"ttyUSB\xff".to_vec());
        Device { serial: Some(vec![0xff, 0xfe, 0x41]), ..Device::ch340("5") }.plug(sysfs, &odd, 0);

        let found = ports(sysfs);
        let names: Vec<_> = found.iter().map(|port| port.name.to_string_lossy().into_owned()).collect();
        assert_eq!(names, ["ttyACM0", "ttyS4", "ttyUSB0", "ttyUSB1", "ttyUSB2", "ttyUSB\u{FFFD}"]);
        assert_eq!(found[1].usb, None);
        let ch340 = named(&found, "ttyUSB0");
        assert_eq!((ch340.ids, &*ch340.port, &*ch340.location), ((0x1a86, 0x7523), "1-1.2", "0000:00:14.0-1.2"));
        assert_eq!(ch340.product.as_deref(), Some("USB Serial"));
        assert_eq!(ch340.identity(), "port-1a86:7523-0000:00:14.0-1.2");
        assert_eq!(named(&found, "ttyACM0").identity(), "usb-2341:0043-75834");
        assert_eq!(named(&found, "ttyUSB1").identity(), "usb-0403:6010-FT2");
        assert_eq!(named(&found, "ttyUSB2").identity(), "usb-0403:6010-FT2#01.3");
        let odd = found.iter().find(|port| port.name == odd).unwrap().usb.as_ref().unwrap();
        assert_eq!(odd.identity(), "port-1a86:7523-0000:00:14.0-5", "noise is no serial number");
    }

    #[test]
    fn a_socket_keeps_its_identity_when_buses_are_renumbered() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        Device::ch340("1.2").plug(first.path(), "ttyUSB0", 0);
        Device { bus: 3, ..Device::ch340("1.2") }.plug(second.path(), "ttyUSB0", 0);
        let identity = |root: &Path| named(&ports(root), "ttyUSB0").identity();
        assert_eq!(identity(first.path()), identity(second.path()));
        Device { controller: "0000:05:00.3", bus: 4, ..Device::ch340("1.2") }.plug(first.path(), "ttyUSB1", 0);
        let found = ports(first.path());
        assert_ne!(named(&found, "ttyUSB0").identity(), named(&found, "ttyUSB1").identity());
    }

    #[test]
    fn a_socket_is_meant_by_either_of_its_names() {
        let root = tempfile::tempdir().unwrap();
        let device = Device::ch340("1.2");
        device.plug(root.path(), "ttyUSB0", 0);
        device.plug(root.path(), "ttyUSB1", 1);
        let found = ports(root.path());
        let at = |place: &str| found.iter().filter(|port| port.usb.as_ref().unwrap().is_at(place)).count();
        assert_eq!(["1-1.2", "0000:00:14.0-1.2"].map(at), [2, 2]);
        assert_eq!(["1-1.2:1.1", "0000:00:14.0-1.2:1.0"].map(at), [1, 1]);
        assert_eq!(["1-1", "1-1.", "1-1.20", "1-1.2:1.2", "2-1.2", ""].map(at), [0; 6]);
    }

    #[test]
    fn the_latency_timer_is_that_of_the_port_behind_a_link() {
        let root = tempfile::tempdir().unwrap();
        let (sysfs, dev) = (root.path().join("sys"), root.path().join("dev"));
        let ftdi = Device { ids: (0x0403, 0x6001), ..Device::ch340("1") }.plug(&sysfs, "ttyUSB0", 0);
        Device::ch340("2").plug(&sysfs, "ttyUSB1", 0);
        fs::write(ftdi.join("latency_timer"), "16\n").unwrap();
        fs::create_dir_all(dev.join("serial/by-id")).unwrap();
        for name in ["ttyUSB0", "ttyUSB1"] {
            fs::write(dev.join(name), "").unwrap();
        }
        symlink(dev.join("ttyUSB0"), dev.join("serial/by-id/ftdi")).unwrap();
        assert_eq!(latency_timer(&sysfs, &dev.join("serial/by-id/ftdi")), Some(16));
        assert_eq!(latency_timer(&sysfs, &dev.join("ttyUSB1")), None);
        assert_eq!(latency_timer(&sysfs, &dev.join("ttyUSB7")), None);
    }
}
