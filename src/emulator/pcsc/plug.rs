//! The plug of a virtual USB reader: how it comes to and leaves a virtual bus directory.
//!
//! ```text
//! DIR/001-004.sock                        the reader: bus 1, device 4
//! DIR/sys/bus/usb/devices/1-1.2/busnum    what Linux shows of a USB device in that port
//! DIR/bus-001                             the device number that was given last on bus 1
//! ```
//!
//! The device's directory appears and disappears whole, by renaming; its socket is there before and goes after it.

use crate::emulator::EmulatorError;
use encoder_protocols::dialect::pcsc_storage::Profile;
use rustix::fs::{FlockOperation, flock};
use std::fs;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use tokio::net::UnixListener;

/// Where Linux shows USB devices, below a virtual bus directory.
const DEVICES: &str = "sys/bus/usb/devices";

/// The highest address of a USB device; the next one begins again at 1.
///
/// Source: USB 2.0 specification, 9.4.6; Linux `drivers/usb/core/hub.c`, `choose_devnum`.
const DEVICE_NUMBER_MAX: u16 = 127;

/// What a reader says of itself in its USB descriptor: a line in [`IDENTITIES`].
struct Identity {
    /// The profile's name.
    profile: &'static str,
    vendor: u16,
    product: u16,
    manufacturer: &'static str,
    name: &'static str,
}

/// The readers that are played, each the first of its profile that libccid knows; for `generic` one that has no profile.
///
/// Source: libccid 1.5.2, `Info.plist`, which names readers by manufacturer and product string.
const IDENTITIES: &[Identity] = &[
    Identity {
        profile: "acr122u",
        vendor: 0x072F,
        product: 0x2200,
        manufacturer: "ACS",
        name: "ACR122U PICC Interface",
    },
    Identity { profile: "acr1252u", vendor: 0x072F, product: 0x223E, manufacturer: "ACS", name: "ACR1252 Reader" },
    Identity { profile: "acr1281u", vendor: 0x072F, product: 0x2224, manufacturer: "ACS", name: "ACR1281U" },
    Identity {
        profile: "omnikey",
        vendor: 0x076B,
        product: 0x5022,
        manufacturer: "HID Global",
        name: "OMNIKEY 5022 Smart Card Reader",
    },
    Identity {
        profile: "identiv",
        vendor: 0x04E6,
        product: 0x5790,
        manufacturer: "Identiv",
        name: "uTrust 3700 F CL Reader",
    },
    Identity { profile: "generic", vendor: 0x1FFA, product: 0x0002, manufacturer: "ELYCTIS", name: "CL reader" },
];

/// What the driver of the tests says who made it, so that the daemon knows it for a virtual one.
const DRIVER_VENDOR: &str = "encoderd virtual reader";

/// A USB port as Linux names it: bus, then the ports on the way to the device, such as `1-1.2`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsbPort {
    bus: u8,
    path: String,
}

/// What is not a USB port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write it as Linux does, bus and ports, such as 1-1.2")]
pub struct UsbPortError;

impl FromStr for UsbPort {
    type Err = UsbPortError;

    fn from_str(path: &str) -> Result<Self, UsbPortError> {
        let number = |text: &str| text.parse::<u8>().ok().filter(|number| *number > 0 && !text.starts_with(['0', '+']));
        let (bus, ports) = path.split_once('-').ok_or(UsbPortError)?;
        let bus = number(bus).ok_or(UsbPortError)?;
        if ports.split('.').all(|port| number(port).is_some()) {
            Ok(Self { bus, path: path.to_owned() })
        } else {
            Err(UsbPortError)
        }
    }
}

impl Default for UsbPort {
    fn default() -> Self {
        Self { bus: 1, path: "1-1.2".to_owned() }
    }
}

/// Which reader is plugged in, and where.
pub(super) struct Device {
    pub(super) directory: PathBuf,
    pub(super) port: UsbPort,
    pub(super) profile: &'static Profile,
    pub(super) serial: Option<String>,
}

/// A reader that is plugged in; it is pulled out on drop.
pub(super) struct Plugged {
    /// Where the reader's driver connects.
    pub(super) socket: PathBuf,
    /// What Linux would show of it.
    shown: PathBuf,
    /// Where that was made, and goes to be removed.
    aside: PathBuf,
}

impl Device {
    /// Plugs it in, with the next device number of its bus.
    pub(super) fn plug_in(&self) -> Result<(UnixListener, Plugged), EmulatorError> {
        let failed = |source| EmulatorError::Bus { path: self.directory.clone(), source };
        let shown = self.directory.join(DEVICES).join(&self.port.path);
        fs::create_dir_all(self.directory.join(DEVICES)).map_err(failed)?;
        // Held until the device is shown, so that of two in one port one is told.
        let mut numbers = fs::File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(self.directory.join(format!("bus-{:03}", self.port.bus)))
            .map_err(failed)?;
        flock(&numbers, FlockOperation::LockExclusive).map_err(|error| failed(error.into()))?;
        if !self.is_free(&shown).map_err(failed)? {
            return Err(EmulatorError::UsbPortTaken { port: self.port.path.clone() });
        }
        let mut last = String::new();
        numbers.read_to_string(&mut last).map_err(failed)?;
        let (number, listener) = self.next_socket(last.trim().parse().unwrap_or(0)).map_err(failed)?;
        let id = format!("{:03}-{number:03}", self.port.bus);
        // From here on, whatever fails is cleaned up.
        let plugged = Plugged {
            socket: self.socket(number),
            shown: shown.clone(),
            aside: self.directory.join(format!("device-{id}")),
        };
        let noted = numbers.rewind().and_then(|()| numbers.set_len(0)).and_then(|()| write!(numbers, "{number}"));
        noted.map_err(failed)?;
        self.describe(&plugged.aside, number).map_err(failed)?;
        fs::rename(&plugged.aside, &shown).map_err(failed)?;
        Ok((listener, plugged))
    }

    fn socket(&self, number: u16) -> PathBuf {
        self.directory.join(format!("{:03}-{number:03}.sock", self.port.bus))
    }

    /// Binds the socket of the next number after `last` that no device has.
    fn next_socket(&self, last: u16) -> io::Result<(u16, UnixListener)> {
        for number in (last + 1..=DEVICE_NUMBER_MAX).chain(1..=last.min(DEVICE_NUMBER_MAX)) {
            let path = self.socket(number);
            match UnixListener::bind(&path) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_live(&path) => {}
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    fs::remove_file(&path)?;
                    return Ok((number, UnixListener::bind(&path)?));
                }
                bound => return Ok((number, bound?)),
            }
        }
        Err(io::Error::other("all device numbers of this bus are in use"))
    }

    /// Whether the port is free: nothing is shown there, or what an emulator left that was killed.
    fn is_free(&self, shown: &Path) -> io::Result<bool> {
        let number = match fs::read_to_string(shown.join("devnum")) {
            Ok(number) => number,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
            Err(error) => return Err(error),
        };
        if number.trim().parse().is_ok_and(|number| is_live(&self.socket(number))) {
            return Ok(false);
        }
        fs::remove_dir_all(shown)?;
        Ok(true)
    }

    /// Writes what Linux shows of a USB device, each with its line end, and for our driver the vendor that it names.
    ///
    /// Source: Linux, `Documentation/ABI/stable/sysfs-bus-usb` and `drivers/usb/core/sysfs.c`.
    fn describe(&self, directory: &Path, number: u16) -> io::Result<()> {
        match fs::remove_dir_all(directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => fs::create_dir(directory)?,
        }
        let usb = identity(self.profile).ok_or_else(|| io::Error::other("no USB identity for this profile"))?;
        let shown = [
            ("busnum", self.port.bus.to_string()),
            ("devnum", number.to_string()),
            ("idVendor", format!("{:04x}", usb.vendor)),
            ("idProduct", format!("{:04x}", usb.product)),
            ("manufacturer", usb.manufacturer.to_owned()),
            ("product", usb.name.to_owned()),
            ("vendor", DRIVER_VENDOR.to_owned()),
        ];
        let serial = self.serial.iter().map(|serial| ("serial", serial.clone()));
        shown
            .into_iter()
            .chain(serial)
            .try_for_each(|(name, text)| fs::write(directory.join(name), format!("{text}\n")))
    }
}

impl Drop for Plugged {
    fn drop(&mut self) {
        // What is not there cannot be left behind.
        let _renamed = fs::rename(&self.shown, &self.aside);
        let _removed = fs::remove_dir_all(&self.aside);
        let _removed = fs::remove_file(&self.socket);
    }
}

fn identity(profile: &Profile) -> Option<&'static Identity> {
    IDENTITIES.iter().find(|identity| identity.profile == profile.name)
}

fn is_live(socket: &Path) -> bool {
    UnixStream::connect(socket).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use encoder_protocols::dialect::pcsc_storage::{PROFILES, profile_of};

    #[test]
    fn every_profile_has_a_usb_identity_that_leads_back_to_it() {
        for profile in PROFILES {
            let usb = identity(profile).unwrap();
            let name = format!("{} {} 00 00", usb.manufacturer, usb.name);
            assert_eq!(profile_of(&name, Some((usb.vendor, usb.product))).name, profile.name);
        }
    }

    #[test]
    fn usb_ports_are_written_as_linux_does() {
        for path in ["1-1.2", "2-1", "12-10.4.3"] {
            assert_eq!(path.parse::<UsbPort>().map(|port| port.path).as_deref(), Ok(path));
        }
        for path in ["", "1", "1-", "-1", "0-1", "1-1..2", "1-1.x", "../1-1", "1-1/2", "+1-1", "256-1", "1-01"] {
            assert_eq!(path.parse::<UsbPort>(), Err(UsbPortError), "{path}");
        }
    }
}
