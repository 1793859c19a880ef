//! Card readers on USB as sysfs shows them, whether PC/SC knows them or not.

use encoder_protocols::dialect::pcsc_storage::{Profile, not_an_encoder, profile_of};
use std::path::{Path, PathBuf};

/// Smart card devices. Source: USB-IF, defined class codes, 0Bh.
const CLASS_CCID: &str = "0b";

/// The kernel's own drivers of NFC readers, which take an ACR122U from pcscd and make no encoder of it.
const NFC_DRIVERS: &[&str] = &["pn533_usb", "pn533", "port100"];

/// What libusb shows up as: a program has the device, pcscd or another one.
const OF_A_PROGRAM: &str = "usbfs";

/// A card reader on USB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::probe) struct UsbReader {
    /// The port that it is plugged into, such as `1-1.2`.
    pub(in crate::probe) port: String,
    /// Vendor and product id.
    pub(in crate::probe) ids: (u16, u16),
    /// What it says it is.
    pub(in crate::probe) product: String,
    /// Its serial number, if it has one.
    pub(in crate::probe) serial: Option<String>,
    /// Its node, for programs that drive it themselves.
    pub(in crate::probe) node: PathBuf,
    /// The kernel lets nobody use it.
    pub(in crate::probe) is_blocked: bool,
    /// What has it.
    pub(in crate::probe) held: Held,
}

/// What has a USB device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::probe) enum Held {
    /// Nothing.
    Free,
    /// A driver of the kernel.
    Kernel {
        /// The driver.
        driver: String,
        /// The module that it is in.
        module: String,
    },
    /// A program: pcscd, if all is well. Names of those that may be seen.
    Program(Vec<String>),
}

impl UsbReader {
    /// A reader that is known to be an encoder, by its ids.
    pub(in crate::probe) fn profile(&self) -> Option<&'static Profile> {
        let profile = profile_of("", Some(self.ids));
        profile.usb_ids.contains(&self.ids).then_some(profile)
    }

    /// Why it is no encoder, if its name says so.
    pub(in crate::probe) fn not_an_encoder(&self) -> Option<&'static str> {
        if self.profile().is_some() { None } else { not_an_encoder(&self.product) }
    }

    /// For people.
    pub(in crate::probe) fn about(&self) -> String {
        let (vendor, product) = self.ids;
        let name = match (self.profile(), self.product.as_str()) {
            (Some(profile), _) => profile.description,
            (None, "") => "card reader",
            (None, product) => product,
        };
        format!("{name} ({vendor:04x}:{product:04x}) at USB port {}", self.port)
    }
}

/// The card readers on USB: known encoders, and whatever says that it is a card reader.
pub(super) fn readers(sysfs: &Path, holders: &dyn Fn(&Path) -> Vec<String>) -> Vec<UsbReader> {
    let folder = sysfs.join("bus/usb/devices");
    let Ok(entries) = std::fs::read_dir(&folder) else { return Vec::new() };
    let mut names: Vec<String> = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    let devices = names.iter().filter(|name| !name.contains(':'));
    devices
        .filter_map(|port| {
            let interfaces: Vec<PathBuf> = names
                .iter()
                .filter(|name| name.strip_prefix(port.as_str()).is_some_and(|rest| rest.starts_with(':')))
                .map(|name| folder.join(name))
                .collect();
            reader(port, &folder.join(port), &interfaces, holders)
        })
        .collect()
}

fn reader(
    port: &str,
    device: &Path,
    interfaces: &[PathBuf],
    holders: &dyn Fn(&Path) -> Vec<String>,
) -> Option<UsbReader> {
    let hex = |file| u16::from_str_radix(&text(device, file)?, 16).ok();
    let number = |file| text(device, file)?.parse::<u16>().ok();
    let node = match (number("busnum"), number("devnum")) {
        (Some(bus), Some(address)) => PathBuf::from(format!("/dev/bus/usb/{bus:03}/{address:03}")),
        (Some(_) | None, _) => PathBuf::new(),
    };
    let mut reader = UsbReader {
        port: port.to_owned(),
        ids: (hex("idVendor")?, hex("idProduct")?),
        product: text(device, "product").unwrap_or_default(),
        serial: text(device, "serial").filter(|serial| !serial.is_empty()),
        node,
        is_blocked: text(device, "authorized").is_some_and(|allowed| allowed == "0"),
        held: Held::Free,
    };
    let is_known = reader.profile().is_some();
    let is_ccid = |interface: &PathBuf| text(interface, "bInterfaceClass").is_some_and(|class| class == CLASS_CCID);
    if !is_known && !interfaces.iter().any(is_ccid) {
        return None;
    }
    for interface in interfaces {
        let Some(driver) = link_name(&interface.join("driver")) else { continue };
        // Other functions of the same device, such as a keyboard's, have drivers of their own and rightly so.
        if !is_ccid(interface) && !NFC_DRIVERS.contains(&driver.as_str()) && driver != OF_A_PROGRAM {
            continue;
        }
        if driver == OF_A_PROGRAM {
            reader.held = Held::Program(holders(&reader.node));
        } else {
            let module = link_name(&interface.join("driver/module")).unwrap_or_else(|| driver.clone());
            reader.held = Held::Kernel { driver, module };
            break;
        }
    }
    Some(reader)
}

fn text(folder: &Path, file: &str) -> Option<String> {
    let text = std::fs::read(folder.join(file)).ok()?;
    Some(String::from_utf8_lossy(&text).trim().to_owned())
}

fn link_name(link: &Path) -> Option<String> {
    Some(std::fs::read_link(link).ok()?.file_name()?.to_string_lossy().into_owned())
}

#[cfg(test)]
pub(in crate::probe) mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    /// Makes a device with one interface as the kernel shows it.
    pub(in crate::probe) fn plug(sysfs: &Path, port: &str, ids: (u16, u16), product: &str, class: &str) {
        let device = sysfs.join("bus/usb/devices").join(port);
        let interface = interface(sysfs, port);
        fs::create_dir_all(&device).unwrap();
        fs::create_dir_all(&interface).unwrap();
        for (file, text) in [
            ("idVendor", format!("{:04x}\n", ids.0)),
            ("idProduct", format!("{:04x}\n", ids.1)),
            ("product", format!("{product}\n")),
            ("busnum", "1\n".to_owned()),
            ("devnum", "4\n".to_owned()),
            ("authorized", "1\n".to_owned()),
        ] {
            fs::write(device.join(file), text).unwrap();
        }
        fs::write(interface.join("bInterfaceClass"), format!("{class}\n")).unwrap();
    }

    fn interface(sysfs: &Path, port: &str) -> PathBuf {
        sysfs.join("bus/usb/devices").join(format!("{port}:1.0"))
    }

    /// Gives the device's interface to a driver of the kernel.
    pub(in crate::probe) fn bind(sysfs: &Path, port: &str, driver: &str, module: Option<&str>) {
        let folder = sysfs.join("bus/usb/drivers").join(driver);
        fs::create_dir_all(&folder).unwrap();
        if let Some(module) = module {
            symlink(format!("../../../../module/{module}"), folder.join("module")).unwrap();
        }
        symlink(format!("../../drivers/{driver}"), interface(sysfs, port).join("driver")).unwrap();
    }

    fn look(sysfs: &Path) -> Vec<UsbReader> {
        readers(sysfs, &|node| vec![format!("holder of {}", node.display())])
    }

    #[test]
    fn readers_are_known_by_id_or_by_class_and_nothing_else_is_listed() {
        let sysfs = tempfile::tempdir().unwrap();
        plug(sysfs.path(), "1-1", (0x072F, 0x2200), "ACR122U PICC Interface", "ff");
        plug(sysfs.path(), "1-1.2", (0x1D50, 0x60FC), "Some reader", "0b");
        plug(sysfs.path(), "1-3", (0x046D, 0xC31C), "Keyboard", "03");
        fs::write(sysfs.path().join("bus/usb/devices/1-1.2/serial"), "A1\n").unwrap();
        fs::write(sysfs.path().join("bus/usb/devices/1-1.2/authorized"), "0\n").unwrap();
        let found = look(sysfs.path());
        let ports: Vec<&str> = found.iter().map(|reader| reader.port.as_str()).collect();
        assert_eq!(ports, ["1-1", "1-1.2"]);
        assert_eq!(found[0].profile().map(|profile| profile.name), Some("acr122u"));
        assert_eq!((found[0].held.clone(), found[0].is_blocked, found[0].serial.clone()), (Held::Free, false, None));
        assert_eq!((found[1].profile(), found[1].is_blocked, found[1].serial.as_deref()), (None, true, Some("A1")));
        assert_eq!(look(&sysfs.path().join("missing")), []);
    }

    #[test]
    fn what_has_a_reader_is_told() {
        let sysfs = tempfile::tempdir().unwrap();
        plug(sysfs.path(), "1-1", (0x072F, 0x2200), "ACR122U PICC Interface", "0b");
        plug(sysfs.path(), "2-1", (0x072F, 0x2200), "ACR122U PICC Interface", "0b");
        plug(sysfs.path(), "2-2", (0x076B, 0x5427), "OMNIKEY 5427 CK", "03");
        bind(sysfs.path(), "1-1", "pn533_usb", Some("pn533_usb"));
        bind(sysfs.path(), "2-1", "usbfs", None);
        bind(sysfs.path(), "2-2", "usbhid", None);
        let held: Vec<Held> = look(sysfs.path()).into_iter().map(|reader| reader.held).collect();
        let kernel = Held::Kernel { driver: "pn533_usb".into(), module: "pn533_usb".into() };
        let program = Held::Program(vec!["holder of /dev/bus/usb/001/004".into()]);
        assert_eq!(held, [kernel, program, Held::Free]);
    }
}
