//! Serial encoders: configured ports, and USB products that are encoders and nothing else.
//!
//! Nothing is ever sent to a port that nobody claimed: a front desk has receipt printers and PIN pads, and generic
//! bridge chips (1a86:7523, 10c4:ea60, 0403:6001, 067b:2303) say nothing about what is behind them.
//!
//! An encoder is known by its serial number, else by the socket that it is plugged into, else by the configured path;
//! never by the number behind `ttyUSB`. Where one is right now is looked up at each opening ([`Serials`]).

use super::sysfs::{self, Port, UsbPort};
use crate::config::{Config, SerialAt, SerialDiscovery, SerialPort};
use crate::transport::serial::Ports;
use encoder_protocols::dialect::{READERS, Reader};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The machine that discovery looks at. Tests put another in its place.
#[derive(Clone)]
pub struct Machine {
    /// Where sysfs is.
    pub sysfs: PathBuf,
    /// Where device nodes are.
    pub dev: PathBuf,
    /// Which products are known.
    pub readers: &'static [Reader],
    /// How ports are opened.
    pub ports: Ports,
    /// How long the machine has slept since its start.
    pub slept: Arc<dyn Fn() -> Duration + Send + Sync>,
}

impl Machine {
    /// This one. `$SYSFS_PATH` and `$DEV_PATH` stand for `/sys` and `/dev`.
    pub fn this() -> Self {
        Self {
            sysfs: sysfs::root(),
            dev: std::env::var_os("DEV_PATH").map_or_else(|| PathBuf::from("/dev"), PathBuf::from),
            readers: READERS,
            ports: Ports::System,
            slept: Arc::new(crate::clock::slept),
        }
    }
}

/// A port of the machine, with its node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenPort {
    /// The node to open, such as `/dev/ttyUSB0`.
    pub path: PathBuf,
    /// What the kernel knows of it.
    pub port: Port,
}

/// The ports that this machine has.
pub fn ports() -> Vec<SeenPort> {
    ports_of(&Machine::this())
}

/// The ports that a machine has.
pub fn ports_of(machine: &Machine) -> Vec<SeenPort> {
    let ports = sysfs::ports(&machine.sysfs).into_iter();
    ports.map(|port| SeenPort { path: machine.dev.join(&port.name), port }).collect()
}

/// A serial encoder.
#[derive(Clone, Debug)]
pub struct SerialFound {
    /// As [`Found::device_id`](super::Found::device_id).
    pub device_id: String,
    /// As [`Found::display_name`](super::Found::display_name).
    pub display_name: String,
    /// At the end of a pty.
    pub simulated: bool,
    /// How it speaks.
    pub reader: Reader,
    /// What the configuration says of its place; `None`: it is a known product.
    pub configured: Option<SerialAt>,
    /// Where it is.
    pub whereabouts: Whereabouts,
}

/// Where a serial encoder is.
#[derive(Clone, Debug, PartialEq)]
pub enum Whereabouts {
    /// At this port.
    At(SerialPlace),
    /// Not plugged in.
    Missing {
        /// What is missing, for people: a path or a key of the configuration.
        what: String,
    },
    /// It cannot be told from others.
    Ambiguous {
        /// From which, and how to tell them apart.
        detail: String,
    },
}

/// A serial port with an encoder.
#[derive(Clone, Debug)]
pub struct SerialPlace {
    /// The node to open.
    pub path: PathBuf,
    /// How it speaks.
    pub reader: Reader,
    /// Line speed after power-up, in bits a second.
    pub baud: u32,
    /// The node behind the path, which a link may change.
    node: Option<PathBuf>,
    /// Whether it may be opened: udev gives a node to its group a moment after it has come.
    may_open: bool,
    /// The file of its latency timer.
    pub latency: Option<PathBuf>,
    /// The socket that it is plugged into, by its lasting name.
    pub socket: Option<String>,
}

impl PartialEq for SerialPlace {
    fn eq(&self, other: &Self) -> bool {
        (&self.path, self.reader.dialect, self.baud, &self.node, self.may_open, &self.latency, &self.socket)
            == (
                &other.path,
                other.reader.dialect,
                other.baud,
                &other.node,
                other.may_open,
                &other.latency,
                &other.socket,
            )
    }
}

impl SerialPlace {
    fn new(path: PathBuf, reader: Reader, baud: u32, port: Option<&Port>) -> Self {
        let access = rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK;
        let latency = port.map(|port| port.directory.join("latency_timer")).filter(|file| file.is_file());
        Self {
            node: path.canonicalize().ok(),
            may_open: rustix::fs::access(&path, access).is_ok(),
            latency,
            socket: port.and_then(|port| port.usb.as_ref()).map(|usb| usb.location.clone()),
            path,
            reader,
            baud,
        }
    }
}

/// Where the serial encoders are right now, by identity.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Serials {
    /// Each one's place.
    pub encoders: BTreeMap<String, Whereabouts>,
    /// How often the machine has woken up. After a sleep every port is opened anew: adapters lose power, and with it
    /// what they were told.
    pub wakings: u64,
}

/// What is remembered from earlier looks and earlier runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remembered {
    /// Which encoder answered at a configured place, by [`SerialAt`]'s text.
    pub at: BTreeMap<String, String>,
    /// Identities that two devices had at the same time, with the socket of the one that was there first, if that is
    /// known. Only there is the identity believed.
    pub twins: BTreeMap<String, Option<String>>,
}

/// What one look has found.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// The encoders.
    pub encoders: Vec<SerialFound>,
    /// Identities that have turned out to be shared, as [`Remembered::twins`].
    pub twins: BTreeMap<String, Option<String>>,
}

/// The encoders that can be opened right now, as far as no earlier look is needed to know them.
pub fn places(config: &Config, ports: &[SeenPort]) -> Vec<(SerialFound, SerialPlace)> {
    let found = look(config, &Machine::this(), ports, &Remembered::default(), &Serials::default()).encoders;
    let at = |found: SerialFound| match &found.whereabouts {
        Whereabouts::At(place) => Some((found.clone(), place.clone())),
        Whereabouts::Missing { .. } | Whereabouts::Ambiguous { .. } => None,
    };
    found.into_iter().filter_map(at).collect()
}

/// Finds the encoders among these ports, and the configured ones.
///
/// A `path` such as `/dev/ttyUSB0` means the device that has answered there, wherever its number goes: after a shuffle of
/// the numbers the printer is not taken for the encoder.
pub fn look(config: &Config, machine: &Machine, ports: &[SeenPort], remembered: &Remembered, before: &Serials) -> Look {
    if config.discovery.serial == SerialDiscovery::Off {
        return Look::default();
    }
    let search = Search { machine, ports, remembered };
    let mut taken: BTreeSet<&Path> = BTreeSet::new();
    let mut encoders: Vec<SerialFound> = Vec::new();
    for entry in &config.serial {
        let mut at = search.of_entry(entry);
        at.retain(|port| !taken.contains(port.path.as_path()));
        taken.extend(at.iter().map(|port| port.path.as_path()));
        encoders.push(search.configured(entry, &at));
    }
    if config.discovery.serial == SerialDiscovery::Known {
        let free = ports.iter().filter(|port| !taken.contains(port.path.as_path()));
        encoders.extend(free.filter_map(|port| search.known(port)));
    }
    let mut twins = BTreeMap::new();
    for found in &mut encoders {
        if let Some(detail) = search.twins_of(found, before, &mut twins) {
            found.whereabouts = Whereabouts::Ambiguous { detail };
        }
    }
    Look { encoders: finish(encoders), twins }
}

struct Search<'a> {
    machine: &'a Machine,
    ports: &'a [SeenPort],
    remembered: &'a Remembered,
}

impl<'a> Search<'a> {
    fn usb_ports(&self) -> impl Iterator<Item = (&'a SeenPort, &'a UsbPort)> {
        self.ports.iter().filter_map(|port| Some((port, port.port.usb.as_ref()?)))
    }

    /// The ports that an entry of the configuration means; more than one cannot be used.
    fn of_entry(&self, entry: &SerialPort) -> Vec<&'a SeenPort> {
        let chosen = |is_meant: &dyn Fn(&UsbPort) -> bool| {
            self.usb_ports().filter(|(_, usb)| is_meant(usb)).map(|(port, _)| port).collect()
        };
        match &entry.at {
            SerialAt::UsbSerial(serial) => chosen(&|usb| usb.said_serial.as_ref() == Some(serial)),
            SerialAt::UsbPort(place) => chosen(&|usb| usb.is_at(place)),
            SerialAt::Path(path) => {
                let own = self.follows(&entry.at).and_then(|id| self.usb_ports().find(|(_, usb)| usb.identity() == id));
                let at = || {
                    let at = self.ports.iter().find(|port| same_node(&port.path, path))?;
                    // Another entry's encoder that has got this number.
                    let id = at.port.usb.as_ref().map(UsbPort::identity);
                    let is_single = self.usb_ports().filter(|(_, usb)| Some(usb.identity()) == id).count() == 1;
                    let is_anothers = self.remembered.at.iter().any(|(key, known)| {
                        Some(known) == id.as_ref()
                            && *key != entry.at.to_string()
                            && self.is_numbered(Path::new(key))
                            && self.is_numbered(path)
                    });
                    (!is_single || !is_anothers).then_some(at)
                };
                own.map(|(port, _)| port).or_else(at).into_iter().collect()
            }
        }
    }

    /// The device that a numbered path stands for.
    fn follows(&self, at: &SerialAt) -> Option<&'a str> {
        let path = at.path().filter(|path| self.is_numbered(path))?;
        self.remembered.at.get(&*path.to_string_lossy()).map(String::as_str)
    }

    /// Whether a path is one that the kernel numbers in the order of plugging in.
    fn is_numbered(&self, path: &Path) -> bool {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let number = name.strip_prefix("ttyUSB").or_else(|| name.strip_prefix("ttyACM"));
        path.parent() == Some(&self.machine.dev)
            && number.is_some_and(|number| number.bytes().all(|b| b.is_ascii_digit()))
    }

    fn configured(&self, entry: &SerialPort, at: &[&SeenPort]) -> SerialFound {
        let usb = at.first().and_then(|port| port.port.usb.as_ref());
        let by_port = matches!(entry.at, SerialAt::UsbPort(_));
        let baud = entry.baud.unwrap_or(entry.dialect.baud);
        let path = match (at, &entry.at) {
            // The configured path may be a link, and is what people know.
            ([port, ..], SerialAt::Path(path)) if same_node(&port.path, path) => Some(path.clone()),
            ([port, ..], _) => Some(port.path.clone()),
            // Behind a pty, or whatever sysfs does not know.
            ([], SerialAt::Path(path)) => self.is_unlisted(path).then(|| path.clone()),
            ([], SerialAt::UsbSerial(_) | SerialAt::UsbPort(_)) => None,
        };
        let whereabouts = match (path, at) {
            (Some(_), [_, _, ..]) => Whereabouts::Ambiguous { detail: several(at, &entry.at) },
            (Some(path), _) => {
                Whereabouts::At(SerialPlace::new(path, entry.dialect, baud, at.first().map(|port| &port.port)))
            }
            (None, _) => Whereabouts::Missing { what: entry.at.to_string() },
        };
        let device_id = match (usb, &whereabouts) {
            (Some(usb), _) if by_port => usb.identity_by_port(),
            (Some(usb), _) => usb.identity(),
            (None, Whereabouts::Missing { .. }) => {
                self.remembered.at.get(&entry.at.to_string()).cloned().unwrap_or_else(|| provisional(&entry.at))
            }
            (None, Whereabouts::At(_) | Whereabouts::Ambiguous { .. }) => provisional(&entry.at),
        };
        SerialFound {
            device_id,
            display_name: entry.name.clone().unwrap_or_else(|| {
                usb.and_then(|usb| usb.product.clone()).unwrap_or_else(|| entry.dialect.description.to_owned())
            }),
            simulated: matches!(&whereabouts, Whereabouts::At(place) if is_pty(&place.path)),
            reader: entry.dialect,
            configured: Some(entry.at.clone()),
            whereabouts,
        }
    }

    /// Whether a path leads to a node that is no port of another entry's.
    fn is_unlisted(&self, path: &Path) -> bool {
        path.exists() && !self.ports.iter().any(|port| same_node(&port.path, path))
    }

    fn known(&self, port: &SeenPort) -> Option<SerialFound> {
        let usb = port.port.usb.as_ref()?;
        let reader = *self.machine.readers.iter().find(|reader| claims(reader, usb))?;
        Some(SerialFound {
            device_id: usb.identity(),
            display_name: usb.product.clone().unwrap_or_else(|| reader.description.to_owned()),
            simulated: is_pty(&port.path),
            reader,
            configured: None,
            whereabouts: Whereabouts::At(SerialPlace::new(port.path.clone(), reader, reader.baud, Some(&port.port))),
        })
    }

    /// Says why a device that is there cannot be told from another one, if so.
    fn twins_of(
        &self,
        found: &SerialFound,
        before: &Serials,
        twins: &mut BTreeMap<String, Option<String>>,
    ) -> Option<String> {
        let Whereabouts::At(place) = &found.whereabouts else { return None };
        let by_port = matches!(found.configured, Some(SerialAt::UsbPort(_)));
        let identity = |usb: &UsbPort| if by_port { usb.identity_by_port() } else { usb.identity() };
        let same: Vec<&SeenPort> =
            self.usb_ports().filter(|(_, usb)| identity(usb) == found.device_id).map(|(port, _)| port).collect();
        let known = self.remembered.twins.get(&found.device_id);
        if same.len() > 1 {
            if known.is_none() {
                let first = before.encoders.get(&found.device_id).and_then(|before| match before {
                    Whereabouts::At(place) => place.socket.clone(),
                    Whereabouts::Missing { .. } | Whereabouts::Ambiguous { .. } => None,
                });
                twins.insert(found.device_id.clone(), first);
            }
            return Some(format!("{}: {}", found.device_id, by_sockets(&same)));
        }
        let believed_at = known?;
        (believed_at.is_none() || *believed_at != place.socket).then(|| {
            format!("another device said {} too, and this may be that one: {}", found.device_id, by_sockets(&same))
        })
    }
}

/// What to do about devices that cannot be told apart.
fn by_sockets(same: &[&SeenPort]) -> String {
    let sockets = same.iter().filter_map(|port| {
        let usb = port.port.usb.as_ref()?;
        Some(format!("usb_port = \"{}\" for {}", usb.location, port.path.display()))
    });
    let sockets: Vec<String> = sockets.collect();
    format!("give each a [[serial]] of its own with {}", sockets.join(" and "))
}

/// What to do about an entry that means several ports.
fn several(at: &[&SeenPort], entry: &SerialAt) -> String {
    let interfaces = at.iter().filter_map(|port| {
        let usb = port.port.usb.as_ref()?;
        let interface = usb.interface_name.rsplit_once(':').map_or("", |(_, interface)| interface);
        Some(format!("\"{}:{interface}\"", usb.location))
    });
    let interfaces: Vec<String> = interfaces.collect();
    format!("{entry} is said by several ports: name one by usb_port, {}", interfaces.join(" or "))
}

/// Two finds of one identity are one encoder; what is missing keeps no identity of what is there; two encoders of one name
/// get their places behind it, so that a clerk can tell them apart.
fn finish(encoders: Vec<SerialFound>) -> Vec<SerialFound> {
    let is_missing = |found: &SerialFound| matches!(found.whereabouts, Whereabouts::Missing { .. });
    let (missing, there): (Vec<_>, Vec<_>) = encoders.into_iter().partition(is_missing);
    let mut finished: Vec<SerialFound> = Vec::new();
    for mut found in there.into_iter().chain(missing) {
        let is_new = |id: &str| finished.iter().all(|other| other.device_id != id);
        if !is_new(&found.device_id)
            && is_missing(&found)
            && let Some(at) = &found.configured
        {
            found.device_id = provisional(at);
        }
        if is_new(&found.device_id) {
            finished.push(found);
        }
    }
    let names: Vec<String> = finished.iter().map(|device| device.display_name.clone()).collect();
    for device in &mut finished {
        if names.iter().filter(|name| **name == device.display_name).count() > 1 {
            let place = match (&device.whereabouts, &device.configured) {
                (_, Some(at)) => at.to_string(),
                (Whereabouts::At(SerialPlace { socket: Some(socket), .. }), None) => socket.clone(),
                (Whereabouts::At(_) | Whereabouts::Missing { .. } | Whereabouts::Ambiguous { .. }, None) => {
                    device.device_id.clone()
                }
            };
            device.display_name = format!("{} ({place})", device.display_name);
        }
    }
    finished
}

/// Who is at a configured place as long as nothing better is known.
fn provisional(at: &SerialAt) -> String {
    match at {
        SerialAt::Path(path) => format!("path-{}", path.display()),
        SerialAt::UsbSerial(serial) => format!("usb-{serial}"),
        SerialAt::UsbPort(port) => format!("port-{port}"),
    }
}

fn claims(reader: &Reader, usb: &UsbPort) -> bool {
    reader.usb_ids.iter().any(|id| {
        (id.vendor, id.product) == usb.ids && usb.product.as_deref().unwrap_or_default().contains(id.product_text)
    })
}

/// The latency timer of an FTDI adapter in milliseconds, as [`sysfs::latency_timer`].
pub fn latency_timer(port: &Path) -> Option<u8> {
    sysfs::latency_timer(&sysfs::root(), port)
}

/// Whether two paths lead to the same node.
pub fn same_node(a: &Path, b: &Path) -> bool {
    a == b || matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// Whether a path leads to a pty. No real port does.
pub fn is_pty(path: &Path) -> bool {
    path.canonicalize().is_ok_and(|node| node.starts_with("/dev/pts"))
}

#[cfg(test)]
mod tests {
    use super::super::sysfs::fake::Device;
    use super::*;
    use encoder_protocols::dialect::{UsbId, reader};
    use std::fs;
    use tempfile::TempDir;

    /// A product that is an encoder by its ids and its text.
    const PRODUCT: UsbId = UsbId { vendor: 0x1209, product: 0x0001, product_text: "Encoder" };

    /// A machine with nothing plugged in; its nodes are empty files.
    struct Bench {
        root: TempDir,
        machine: Machine,
        remembered: Remembered,
        before: Serials,
    }

    impl Bench {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let readers = Box::leak(Box::new([Reader { usb_ids: &[PRODUCT], ..*reader("pn532").unwrap() }]));
            let machine =
                Machine { sysfs: root.path().join("sys"), dev: root.path().join("dev"), readers, ..Machine::this() };
            fs::create_dir_all(&machine.dev).unwrap();
            Self { root, machine, remembered: Remembered::default(), before: Serials::default() }
        }

        fn plug(&self, device: &Device, tty: &str) {
            device.plug(&self.machine.sysfs, tty, 0);
            fs::write(self.machine.dev.join(tty), "").unwrap();
        }

        fn unplug(&self, device: &Device, tty: &str) {
            device.unplug(&self.machine.sysfs);
            fs::remove_file(self.machine.dev.join(tty)).unwrap();
        }

        /// Looks; `DEV` in the configuration is the machine's.
        fn look(&mut self, config: &str) -> Vec<SerialFound> {
            let text = config.replace("DEV", &self.machine.dev.to_string_lossy());
            let config = Config::parse(&text, Path::new("test")).unwrap();
            let found = look(&config, &self.machine, &ports_of(&self.machine), &self.remembered, &self.before);
            self.remembered.twins.extend(found.twins);
            let seen = found.encoders.iter().map(|found| (found.device_id.clone(), found.whereabouts.clone()));
            self.before = Serials { encoders: seen.collect(), wakings: 0 };
            found.encoders
        }

        /// Each encoder's identity and the node that it is at.
        fn at(&mut self, config: &str) -> Vec<(String, Option<String>)> {
            let node = |found: SerialFound| match found.whereabouts {
                Whereabouts::At(place) => {
                    (found.device_id, Some(place.path.file_name().unwrap().to_string_lossy().into_owned()))
                }
                Whereabouts::Missing { .. } | Whereabouts::Ambiguous { .. } => (found.device_id, None),
            };
            self.look(config).into_iter().map(node).collect()
        }

        /// What the supervisor notes when the encoders of a configuration have answered.
        fn answered(&mut self, config: &str) {
            for found in self.look(config) {
                if let (Some(at), Whereabouts::At(_)) = (found.configured, found.whereabouts) {
                    self.remembered.at.insert(at.to_string(), found.device_id);
                }
            }
        }
    }

    fn is_at(device_id: &str, tty: &str) -> (String, Option<String>) {
        (device_id.to_owned(), Some(tty.to_owned()))
    }

    const USB0: &str = "[[serial]]\npath = \"DEV/ttyUSB0\"\ndialect = \"pn532\"\n";
    const USB1: &str = "[[serial]]\npath = \"DEV/ttyUSB1\"\ndialect = \"pn532\"\n";

    #[test]
    fn a_generic_bridge_chip_is_left_alone_unless_configured() {
        let mut bench = Bench::new();
        bench.plug(&Device::ch340("1.1"), "ttyUSB7");
        bench.plug(&Device::ch340("1.2").with_serial("A1"), "ttyUSB8");
        assert_eq!(bench.at(""), []);
        for config in [
            "[[serial]]\npath = \"DEV/ttyUSB8\"\ndialect = \"pn532\"\n",
            "[[serial]]\nusb_serial = \"A1\"\ndialect = \"pn532\"\n",
        ] {
            assert_eq!(bench.at(config), [is_at("usb-1a86:7523-A1", "ttyUSB8")]);
        }
        for port in ["1-1.2", "0000:00:14.0-1.2"] {
            let config = format!("[[serial]]\nusb_port = \"{port}\"\ndialect = \"pn532\"\n");
            assert_eq!(bench.at(&config), [is_at("port-1a86:7523-0000:00:14.0-1.2", "ttyUSB8")]);
        }
        assert_eq!(bench.look(USB0)[0].display_name, reader("pn532").unwrap().description, "nothing is there");
        assert_eq!(bench.look("[[serial]]\nusb_serial = \"A1\"\ndialect = \"pn532\"\n")[0].display_name, "USB Serial");
        assert_eq!(bench.at(&format!("[discovery]\nserial = \"off\"\n{USB0}")), []);
    }

    #[test]
    fn a_known_product_is_found_by_itself_and_told_by_its_text() {
        let mut bench = Bench::new();
        let known = Device { ids: (0x1209, 1), product: Some("Desk Encoder"), ..Device::ch340("2").with_serial("E7") };
        bench.plug(&known, "ttyACM0");
        bench.plug(&Device { product: Some("Desk Lamp"), ids: (0x1209, 1), ..Device::ch340("3") }, "ttyACM1");
        assert_eq!(bench.at(""), [is_at("usb-1209:0001-E7", "ttyACM0")], "the lamp has the same ids");
        assert_eq!(bench.at("[discovery]\nserial = \"configured\"\n"), []);
    }

    #[test]
    fn numbers_that_are_swapped_swap_nothing() {
        for serials in [[Some("A1"), Some("B2")], [None, None], [Some("A1"), None]] {
            let mut bench = Bench::new();
            let device = |socket: &str, serial: Option<&str>| match serial {
                Some(serial) => Device::ch340(socket).with_serial(serial),
                None => Device::ch340(socket),
            };
            let (a, b) = (device("1.1", serials[0]), device("1.2", serials[1]));
            let config = format!("{USB0}name = \"A\"\n{USB1}name = \"B\"\n");
            bench.plug(&a, "ttyUSB0");
            bench.plug(&b, "ttyUSB1");
            bench.answered(&config);
            let named = |found: &SerialFound| (found.device_id.clone(), found.display_name.clone());
            let before: Vec<_> = bench.look(&config).iter().map(named).collect();
            bench.unplug(&a, "ttyUSB0");
            bench.unplug(&b, "ttyUSB1");
            bench.plug(&b, "ttyUSB0");
            bench.plug(&a, "ttyUSB1");
            assert_eq!(bench.look(&config).iter().map(named).collect::<Vec<_>>(), before);
            let nodes: Vec<_> = bench.at(&config).into_iter().map(|(_, node)| node.unwrap()).collect();
            assert_eq!(nodes, ["ttyUSB1", "ttyUSB0"]);
        }
    }

    #[test]
    fn a_printer_that_has_got_the_encoders_number_is_left_alone() {
        let mut bench = Bench::new();
        let (encoder, printer) = (Device::ch340("1.1"), Device::ch340("1.4"));
        bench.plug(&encoder, "ttyUSB0");
        bench.answered(USB0);
        bench.unplug(&encoder, "ttyUSB0");
        bench.plug(&printer, "ttyUSB0");
        bench.plug(&encoder, "ttyUSB1");
        assert_eq!(bench.at(USB0), [is_at("port-1a86:7523-0000:00:14.0-1.1", "ttyUSB1")]);
    }

    #[test]
    fn what_is_not_plugged_in_keeps_the_identity_that_answered_there() {
        let mut bench = Bench::new();
        let encoder = Device::ch340("1.1").with_serial("A1");
        assert_eq!(bench.at(USB0), [(format!("path-{}/ttyUSB0", bench.machine.dev.display()), None)]);
        bench.plug(&encoder, "ttyUSB0");
        bench.answered(USB0);
        bench.unplug(&encoder, "ttyUSB0");
        assert_eq!(bench.at(USB0), [("usb-1a86:7523-A1".to_owned(), None)]);
    }

    fn detail(found: &[SerialFound]) -> &str {
        match &found[0].whereabouts {
            Whereabouts::Ambiguous { detail } => detail,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn twins_are_refused_both_and_told_apart_by_their_sockets() {
        let by_path = format!("{USB0}{USB1}");
        for config in [&by_path, USB0, "[[serial]]\nusb_serial = \"A1\"\ndialect = \"pn532\"\n"] {
            let mut bench = Bench::new();
            let (a, b) = (Device::ch340("1.1").with_serial("A1"), Device::ch340("1.2").with_serial("A1"));
            bench.plug(&a, "ttyUSB0");
            bench.answered(config);
            assert_eq!(bench.at(config)[0], is_at("usb-1a86:7523-A1", "ttyUSB0"));
            bench.plug(&b, "ttyUSB1");
            let found = bench.look(config);
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(detail(&found).contains("usb_port = \"0000:00:14.0-1.1\""), "{found:?}");
            assert!(detail(&found).contains("usb_port = \"0000:00:14.0-1.2\""), "{found:?}");
            // The one that came second is never taken for the first, whose socket is known.
            bench.unplug(&a, "ttyUSB0");
            assert!(detail(&bench.look(config)).contains("another device"), "the stranger alone");
            bench.unplug(&b, "ttyUSB1");
            bench.plug(&a, "ttyUSB0");
            assert_eq!(bench.at(config)[0], is_at("usb-1a86:7523-A1", "ttyUSB0"), "the first alone, where it was");
            bench.plug(&b, "ttyUSB1");
            let by_sockets = "[[serial]]\nusb_port = \"0000:00:14.0-1.1\"\ndialect = \"pn532\"\n\
                              [[serial]]\nusb_port = \"1-1.2\"\ndialect = \"pn532\"\n";
            let told_apart = [
                is_at("port-1a86:7523-0000:00:14.0-1.1", "ttyUSB0"),
                is_at("port-1a86:7523-0000:00:14.0-1.2", "ttyUSB1"),
            ];
            assert_eq!(bench.at(by_sockets), told_apart);
        }
    }

    #[test]
    fn twins_that_were_never_seen_alone_are_refused_until_they_are_told_apart() {
        let mut bench = Bench::new();
        let (a, b) = (Device::ch340("1.1").with_serial("A1"), Device::ch340("1.2").with_serial("A1"));
        bench.plug(&a, "ttyUSB0");
        bench.plug(&b, "ttyUSB1");
        detail(&bench.look(USB0));
        bench.unplug(&b, "ttyUSB1");
        detail(&bench.look(USB0));
    }

    #[test]
    fn a_number_that_many_say_is_none() {
        let mut bench = Bench::new();
        let (a, b) = (Device::ch340("1.1").with_serial("0001"), Device::ch340("1.2").with_serial("0001"));
        bench.plug(&a, "ttyUSB0");
        bench.plug(&b, "ttyUSB1");
        let found = bench.at(&format!("{USB0}{USB1}"));
        assert_eq!(found.iter().filter(|(id, node)| id.starts_with("port-") && node.is_some()).count(), 2);
    }

    #[test]
    fn a_device_with_two_ports_is_named_by_its_interface() {
        let mut bench = Bench::new();
        let device = Device::ch340("1.1").with_serial("A1");
        bench.plug(&device, "ttyUSB0");
        device.plug(&bench.machine.sysfs, "ttyUSB1", 1);
        fs::write(bench.machine.dev.join("ttyUSB1"), "").unwrap();
        let found = bench.look("[[serial]]\nusb_serial = \"A1\"\ndialect = \"pn532\"\n");
        assert!(detail(&found).contains("\"0000:00:14.0-1.1:1.1\""), "{found:?}");
        let one = "[[serial]]\nusb_port = \"0000:00:14.0-1.1:1.1\"\ndialect = \"pn532\"\n";
        assert_eq!(bench.at(one), [is_at("port-1a86:7523-0000:00:14.0-1.1#01", "ttyUSB1")]);
    }

    #[test]
    fn equal_names_are_told_apart_by_their_places() {
        let mut bench = Bench::new();
        let config =
            format!("{USB0}name = \"Desk\"\n[[serial]]\nusb_port = \"1-2\"\ndialect = \"pn532\"\nname = \"Desk\"\n");
        let dev = bench.machine.dev.display().to_string();
        let names: Vec<_> = bench.look(&config).into_iter().map(|device| device.display_name).collect();
        assert_eq!(names, [format!("Desk ({dev}/ttyUSB0)"), "Desk (usb_port=1-2)".to_owned()]);
        assert!(bench.root.path().exists());
    }
}
