//! Encoders behind PC/SC: which readers are encoders, and which encoder each one is.
//!
//! A reader's name says little: its trailing `NN MM` are the order of plugging in and the slot, and the same reader is
//! `00` today and `01` tomorrow. What lasts is the serial number of the USB device, else the port that it is plugged
//! into. pcscd knows where on the USB a reader is (`SCARD_ATTR_CHANNEL_ID`), and the kernel knows what is there.
//!
//! To ask for it takes a connection to the reader, without its card. What is no encoder (security keys, readers with
//! contacts, SAM slots) is known by its name alone and never connected to.

use super::sysfs;
use super::usb::true_serial;
use crate::clock::Deadline;
use crate::transport::pcsc::{Attributes, Meaning, ReaderState, Snapshot, UsbAddress, attributes, meaning};
use encoder_protocols::dialect::pcsc_storage::{Profile, not_an_encoder, profile_of};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::oneshot;

/// A reader that the service lists.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// The full PC/SC name, to open a line with.
    pub reader_name: String,
    /// Stable across restarts, replugging and any order of plugging in, as far as the device allows:
    /// `usb-VVVV:PPPP-SERIAL`, else `pcsc-VVVV:PPPP-PORT`, else `reader-NAME`; with `#MM` for slots behind the first.
    pub device_id: String,
    /// The name to show: the reader's without its `NN MM`. Two may have the same.
    pub display_name: String,
    /// Where on the USB it is, to open a line with.
    pub address: Option<UsbAddress>,
    /// How it is spoken to.
    pub profile: &'static Profile,
    /// Not a real reader.
    pub simulated: bool,
    /// What it is to us.
    pub role: Role,
}

/// What a reader is to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// An encoder.
    Encoder,
    /// Something else with a place in PC/SC; never connected to.
    NotAnEncoder {
        /// What it is instead.
        why: &'static str,
    },
    /// An encoder that cannot be told from others: none of them can be used.
    Ambiguous {
        /// The names of the others.
        with: Vec<String>,
    },
    /// An encoder, but which one cannot be asked at the moment: another program has it for itself, or its driver does
    /// not answer. It is asked again at the next look; its `device_id` is not to be used.
    Unidentified,
}

/// How long a look waits for a driver's answer.
const ASK_BOUND: Duration = Duration::from_secs(2);

/// The vendor name of the driver behind the virtual readers.
const VIRTUAL_VENDOR: &str = "encoderd virtual reader";

/// Remembers who each reader is, from its appearance until it vanishes.
#[derive(Debug)]
pub struct Readers {
    usb_devices: PathBuf,
    known: BTreeMap<String, Known>,
}

#[derive(Debug)]
struct Known {
    appearance: u64,
    identity: Identity,
}

#[derive(Debug)]
enum Identity {
    /// The driver has been asked, and is waited for until then.
    Asking(oneshot::Receiver<Option<Identified>>, Deadline),
    /// Who it is.
    Settled(Identified),
    /// The driver could not be asked.
    Unsettled,
}

/// Who a reader is.
#[derive(Clone, Debug, Default)]
struct Identified {
    address: Option<UsbAddress>,
    usb: Option<UsbDevice>,
    simulated: bool,
}

/// A device on the USB, as the kernel knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsbDevice {
    /// The port it is plugged into, such as `1-1.2`.
    pub port: String,
    /// idVendor and idProduct.
    pub ids: (u16, u16),
    /// The serial number, where the device has a true one.
    pub serial: Option<String>,
}

impl Readers {
    /// Nothing is known yet. USB devices are looked up in `$SYSFS_PATH`, else in `/sys`.
    pub fn new() -> Self {
        Self::with_sysfs(&sysfs::root())
    }

    /// The same with another place for sysfs.
    pub fn with_sysfs(sysfs: &Path) -> Self {
        Self { usb_devices: sysfs.join("bus/usb/devices"), known: BTreeMap::new() }
    }

    /// Says who each reader of the snapshot is. Asks those that are new; waits for their drivers at most 2 s.
    /// Cancel-safe.
    pub async fn look(&mut self, snapshot: &Snapshot) -> Vec<Seen> {
        self.known
            .retain(|name, known| snapshot.reader(name).is_some_and(|reader| reader.appearance == known.appearance));
        let encoders = snapshot.readers.iter().filter(|reader| not_an_encoder(&reader.name).is_none());
        for reader in encoders {
            self.ask(reader);
        }
        self.settle().await;
        roles(snapshot.readers.iter().map(|reader| self.seen(reader)).collect())
    }

    /// Has the driver asked, on a thread of its own: it may hang for as long as another program's transaction.
    fn ask(&mut self, reader: &ReaderState) {
        let known = self
            .known
            .entry(reader.name.clone())
            .or_insert_with(|| Known { appearance: reader.appearance, identity: Identity::Unsettled });
        if !matches!(known.identity, Identity::Unsettled) {
            return;
        }
        let (name, usb_devices) = (reader.name.clone(), self.usb_devices.clone());
        let (answer, answered) = oneshot::channel();
        let asked = std::thread::Builder::new().name("pcsc-ask".into()).spawn(move || {
            let _nobody_waits = answer.send(identify(&name, &usb_devices));
        });
        if let Err(error) = asked {
            tracing::warn!(%error, reader = reader.name, "no thread to ask a reader's driver");
            return;
        }
        known.identity = Identity::Asking(answered, Deadline::after(ASK_BOUND));
    }

    /// Takes the answers. One that is late is taken at a later look, and holds that one up no more.
    async fn settle(&mut self) {
        for (name, known) in &mut self.known {
            if let Identity::Asking(answered, until) = &mut known.identity {
                known.identity = match tokio::time::timeout_at(until.instant(), answered).await {
                    Ok(Ok(Some(identified))) => {
                        log(name, &identified);
                        Identity::Settled(identified)
                    }
                    Ok(Ok(None) | Err(_)) => Identity::Unsettled,
                    Err(_elapsed) => continue,
                };
            }
        }
    }

    fn seen(&self, reader: &ReaderState) -> Seen {
        let name = Name::of(&reader.name);
        let identified = self.known.get(&reader.name).and_then(|known| match &known.identity {
            Identity::Settled(identified) => Some(identified.clone()),
            Identity::Asking(..) | Identity::Unsettled => None,
        });
        let role = match (not_an_encoder(&reader.name), &identified) {
            (Some(why), _) => Role::NotAnEncoder { why },
            (None, None) => Role::Unidentified,
            (None, Some(_)) => Role::Encoder,
        };
        let identified = identified.unwrap_or_default();
        Seen {
            reader_name: reader.name.clone(),
            device_id: device_id(&name, identified.usb.as_ref()),
            display_name: name.text.to_owned(),
            address: identified.address,
            profile: profile_of(name.text, identified.usb.as_ref().map(|usb| usb.ids)),
            simulated: identified.simulated || name.text.starts_with("Virtual PCD"),
            role,
        }
    }
}

impl Default for Readers {
    fn default() -> Self {
        Self::new()
    }
}

/// Two encoders with one identity cannot be told apart: neither may be used.
fn roles(mut seen: Vec<Seen>) -> Vec<Seen> {
    let identities: Vec<(String, String)> = seen
        .iter()
        .filter(|reader| reader.role == Role::Encoder)
        .map(|reader| (reader.device_id.clone(), reader.reader_name.clone()))
        .collect();
    for reader in seen.iter_mut().filter(|reader| reader.role == Role::Encoder) {
        let with: Vec<String> = identities
            .iter()
            .filter(|(id, name)| *id == reader.device_id && *name != reader.reader_name)
            .map(|(_, name)| name.clone())
            .collect();
        if !with.is_empty() {
            reader.role = Role::Ambiguous { with };
        }
    }
    seen
}

/// Asks a driver. `None`: it cannot be asked at the moment.
fn identify(reader_name: &str, usb_devices: &Path) -> Option<Identified> {
    let Attributes { usb: address, serial, vendor } = match attributes(reader_name) {
        Ok(attributes) => attributes,
        Err(error) => {
            match meaning(error) {
                Meaning::ReaderGone | Meaning::ServiceGone => {}
                Meaning::Denied
                | Meaning::NoCard
                | Meaning::Mute
                | Meaning::Reset
                | Meaning::InUse
                | Meaning::NotTransacted
                | Meaning::Unsupported
                | Meaning::TimedOut
                | Meaning::Cancelled => tracing::warn!(%error, reader = reader_name, "cannot ask a reader who it is"),
            }
            return None;
        }
    };
    let usb = address.and_then(|address| usb_device(usb_devices, address)).map(|device| UsbDevice {
        // Some drivers read it where the kernel could not.
        serial: device.serial.or_else(|| serial.as_deref().and_then(true_serial)),
        ..device
    });
    Some(Identified { address, usb, simulated: vendor.as_deref() == Some(VIRTUAL_VENDOR) })
}

fn log(reader_name: &str, identified: &Identified) {
    let name = Name::of(reader_name);
    let device_id = device_id(&name, identified.usb.as_ref());
    if identified.usb.is_some() {
        tracing::debug!(reader = reader_name, device_id, "reader identified");
    } else {
        tracing::warn!(
            reader = reader_name,
            device_id,
            "the reader's name is all that identifies it: a second one of its kind could not be told from it"
        );
    }
}

/// Who a reader is, in text.
fn device_id(name: &Name<'_>, usb: Option<&UsbDevice>) -> String {
    let device = match usb {
        Some(UsbDevice { ids: (vendor, product), serial: Some(serial), .. }) => {
            format!("usb-{vendor:04x}:{product:04x}-{serial}")
        }
        Some(UsbDevice { ids: (vendor, product), port, serial: None }) => {
            format!("pcsc-{vendor:04x}:{product:04x}-{port}")
        }
        None => format!("reader-{}", name.text),
    };
    // The slot is a place in the device, in the order of its driver; it does not change from plug to plug.
    if name.slot == 0 { device } else { format!("{device}#{:02x}", name.slot) }
}

/// A PC/SC name in its parts.
struct Name<'a> {
    /// Without the trailing numbers.
    text: &'a str,
    /// `MM`, the slot of the device.
    slot: u8,
}

impl<'a> Name<'a> {
    /// Source: pcsc-lite `readerfactory.c`, `RFSetReaderName` and `RFAddReader`: `"%s %02X %02X"` of name, the first
    /// number that is free, and slot.
    fn of(name: &'a str) -> Self {
        let numbers = |name: &'a str| {
            let (rest, slot) = name.rsplit_once(' ')?;
            let (text, number) = rest.rsplit_once(' ')?;
            let hex = |digits: &str| (digits.len() == 2).then(|| u8::from_str_radix(digits, 16).ok()).flatten();
            hex(number)?;
            Some(Self { text, slot: hex(slot)? })
        };
        numbers(name).unwrap_or(Self { text: name, slot: 0 })
    }
}

/// The USB device at this address.
pub fn usb_device(usb_devices: &Path, address: UsbAddress) -> Option<UsbDevice> {
    std::fs::read_dir(usb_devices).ok()?.flatten().find_map(|entry| {
        let directory = entry.path();
        let file = |name: &str| std::fs::read_to_string(directory.join(name)).ok().map(|text| text.trim().to_owned());
        let port = entry.file_name().to_string_lossy().into_owned();
        // With a colon: an interface of a device.
        if port.contains(':')
            || file("busnum")?.parse() != Ok(address.bus)
            || file("devnum")?.parse() != Ok(address.device)
        {
            return None;
        }
        let id = |name: &str| u16::from_str_radix(&file(name)?, 16).ok();
        Some(UsbDevice {
            port,
            ids: (id("idVendor")?, id("idProduct")?),
            serial: file("serial").as_deref().and_then(true_serial),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;

    /// A reader as it is plugged in: where, as what, and with which serial number.
    #[derive(Clone, Debug)]
    struct Plugged {
        port: String,
        serial: Option<String>,
    }

    /// Plugs these in, in this order, into an empty bus whose next device number is `first`; returns each one's address.
    fn plug(devices: &Path, plugged: &[Plugged], first: u8) -> Vec<UsbAddress> {
        let numbered = plugged.iter().zip(first..);
        numbered
            .map(|(reader, device)| {
                let directory = devices.join(&reader.port);
                fs::create_dir_all(&directory).unwrap();
                let write = |name: &str, text: &str| fs::write(directory.join(name), format!("{text}\n")).unwrap();
                write("busnum", "1");
                write("devnum", &device.to_string());
                write("idVendor", "072f");
                write("idProduct", "2200");
                if let Some(serial) = &reader.serial {
                    write("serial", serial);
                }
                // Interfaces have none of these, but for a hub's worth of other files.
                fs::create_dir_all(devices.join(format!("{}:1.0", reader.port))).unwrap();
                UsbAddress { bus: 1, device }
            })
            .collect()
    }

    /// What is seen of these readers when pcscd has named them in this order.
    fn seen(devices: &Path, plugged: &[Plugged], first: u8) -> Vec<Seen> {
        let addresses = plug(devices, plugged, first);
        let readers = addresses.into_iter().enumerate().map(|(number, address)| {
            let reader_name = format!("ACS ACR122U PICC Interface {number:02X} 00");
            let name = Name::of(&reader_name);
            let usb = usb_device(devices, address);
            Seen {
                device_id: device_id(&name, usb.as_ref()),
                display_name: name.text.to_owned(),
                address: Some(address),
                profile: profile_of(name.text, None),
                simulated: false,
                role: Role::Encoder,
                reader_name,
            }
        });
        roles(readers.collect())
    }

    proptest! {
        #[test]
        fn sixteen_of_a_kind_keep_their_identities_in_any_order(
            order in Just((0..16_usize).collect::<Vec<_>>()).prop_shuffle(),
            numbered in proptest::collection::vec(any::<bool>(), 16),
            first in 1..100_u8,
        ) {
            let bus = tempfile::tempdir().unwrap();
            let readers: Vec<Plugged> = (0..16_usize)
                .map(|index| Plugged {
                    port: format!("1-1.{index}"),
                    serial: numbered[index].then(|| format!("RR{index:03}")),
                })
                .collect();
            let plugged: Vec<Plugged> = order.iter().map(|index| readers[*index].clone()).collect();
            for (seen, index) in seen(bus.path(), &plugged, first).iter().zip(&order) {
                let is = match &readers[*index].serial {
                    Some(serial) => format!("usb-072f:2200-{serial}"),
                    None => format!("pcsc-072f:2200-1-1.{index}"),
                };
                prop_assert_eq!(&seen.device_id, &is);
                prop_assert_eq!(&seen.role, &Role::Encoder);
                prop_assert_eq!(&seen.display_name, "ACS ACR122U PICC Interface");
            }
        }
    }

    #[test]
    fn serial_numbers_that_are_none_are_passed_over() {
        for none in ["", " ", "0", "00000000", "\u{0}", "FFFFFFFF", "ffff"] {
            assert_eq!(true_serial(none), None, "{none:?}");
        }
        for serial in ["A1B2C3", "000001", "RR171-001234", " 12 "] {
            assert_eq!(true_serial(serial).as_deref(), Some(serial.trim()), "{serial:?}");
        }
    }

    #[test]
    fn the_slot_is_part_of_the_identity_and_the_order_of_plugging_is_not() {
        let id = |name: &str, usb: Option<&UsbDevice>| device_id(&Name::of(name), usb);
        let usb = UsbDevice { port: "1-1.2".into(), ids: (0x072F, 0x2224), serial: None };
        assert_eq!(id("ACS ACR1281 1S Dual Reader 00 00", Some(&usb)), "pcsc-072f:2224-1-1.2");
        assert_eq!(id("ACS ACR1281 1S Dual Reader 03 00", Some(&usb)), "pcsc-072f:2224-1-1.2");
        assert_eq!(id("ACS ACR1281 1S Dual Reader 00 01", Some(&usb)), "pcsc-072f:2224-1-1.2#01");
        assert_eq!(id("Virtual PCD 00 00", None), "reader-Virtual PCD");
        assert_eq!(id("Virtual PCD 00 01", None), "reader-Virtual PCD#01");
        // Not what pcscd appends.
        assert_eq!(id("Reader 2000", None), "reader-Reader 2000");
        assert_eq!(id("Reader 1 0A", None), "reader-Reader 1 0A");
    }

    #[test]
    fn a_slot_for_something_else_does_not_make_its_reader_ambiguous() {
        let slot = |reader_name: &str, role: Role| Seen {
            reader_name: reader_name.into(),
            device_id: "usb-072f:223b-RR1".into(),
            display_name: String::new(),
            address: None,
            profile: profile_of(reader_name, None),
            simulated: false,
            role,
        };
        let sam = Role::NotAnEncoder { why: "a slot for a security module" };
        let seen = roles(vec![slot("PICC 00 00", Role::Encoder), slot("SAM 01 00", sam.clone())]);
        assert_eq!((&seen[0].role, &seen[1].role), (&Role::Encoder, &sam));
        let seen = roles(vec![slot("PICC 00 00", Role::Encoder), slot("PICC 01 00", Role::Encoder)]);
        assert_eq!(seen[0].role, Role::Ambiguous { with: vec!["PICC 01 00".into()] });
    }
}
