//! udev rules: the file that is shipped, made from the tables of readers, and the lines for one port that somebody
//! configures.
//!
//! Whatever matches is only *marked* with [`MARK`]; what a marked device gets stands once, at the end of the shipped file:
//! group and mode, links that keep their names, `ModemManager` kept away, no wait in an FTDI chip. So the lines for one port
//! are two, and stay right when the shipped file changes.
//!
//! The numbers of the files matter. 60-serial finds out what a port is, so both come later; the lines for a port come
//! before the shipped file; that one comes before 73-seat-late, which reads the tag `uaccess`, and before
//! 80-mm-candidate, from which on `ModemManager` takes an interest in ports.

use encoder_protocols::dialect::pcsc_storage::{PROFILES, Profile};
use encoder_protocols::dialect::{READERS, Reader, UsbId};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The property that marks encoders on serial lines; its value is a dialect's name or `configured`.
pub const MARK: &str = "ENCODERD_SERIAL";

/// The property that marks known PC/SC readers; its value is a profile's name.
pub const PCSC_MARK: &str = "ENCODERD_PCSC";

/// Where the package puts the shipped rules.
pub const RULES_FILE: &str = "/usr/lib/udev/rules.d/70-encoderd.rules";

/// Where the lines for a port belong.
pub const PORT_RULES_FILE: &str = "/etc/udev/rules.d/69-encoderd-ports.rules";

/// What makes udev read changed rules and apply them to what is plugged in.
pub const APPLY: &str = "udevadm control --reload && udevadm trigger --action=change --subsystem-match=usb \
     --subsystem-match=usb-serial --subsystem-match=tty";

/// The shipped rules.
pub fn rules() -> String {
    rules_of(READERS, PROFILES)
}

fn rules_of(readers: &[Reader], profiles: &[Profile]) -> String {
    let mut text = HEAD.to_owned();
    for reader in readers.iter().filter(|reader| !reader.usb_ids.is_empty()) {
        let _infallible = writeln!(text, "# {}", reader.description);
        for id in reader.usb_ids {
            text += &serial_lines(*id, reader.dialect);
        }
    }
    text += PCSC_HEAD;
    for profile in profiles.iter().filter(|profile| !profile.usb_ids.is_empty()) {
        let _infallible = writeln!(text, "# {}", profile.description);
        for (vendor, product) in profile.usb_ids {
            let _infallible = writeln!(
                text,
                "ENV{{DEVTYPE}}==\"usb_device\", ATTR{{idVendor}}==\"{vendor:04x}\", ATTR{{idProduct}}==\"{product:04x}\", \
                 ENV{{{PCSC_MARK}}}=\"{}\"",
                profile.name
            );
        }
    }
    text + TAIL
}

/// A known product: its USB device and the ports on it. All keys for parents must fit the same parent.
fn serial_lines(id: UsbId, dialect: &str) -> String {
    let product = |key: &str| match id.product_text {
        "" => String::new(),
        text => format!(", {key}{{product}}==\"*{}*\"", literal(text)),
    };
    let ids = |key: &str| {
        format!("{key}{{idVendor}}==\"{:04x}\", {key}{{idProduct}}==\"{:04x}\"{}", id.vendor, id.product, product(key))
    };
    format!(
        "ENV{{DEVTYPE}}==\"usb_device\", {}, ENV{{{MARK}}}=\"{dialect}\"\n\
         SUBSYSTEM==\"tty|usb-serial\", {}, ENV{{{MARK}}}=\"{dialect}\"\n",
        ids("ATTR"),
        ids("ATTRS")
    )
}

const HEAD: &str = r#"# encoderd: card encoders at the front desk.
#
# Made from the tables of readers (protocols/src/dialect) by src/udev.rs, whose test compares:
#   UPDATE_UDEV=1 cargo test --lib udev
#
# A port behind a generic chip (CH340, CP210x, FT232, PL2303) is not here: receipt printers and PIN pads have the same
# ones. `encoderd probe --udev PORT` prints the lines for one port.

ACTION=="remove", GOTO="encoderd_end"
SUBSYSTEM!="usb|usb-serial|tty", GOTO="encoderd_end"

# Encoders on serial lines.
"#;

const PCSC_HEAD: &str = r#"
# Readers behind PC/SC belong to pcscd, whose own rules give it access; encoderd asks pcscd. The mark is for people:
# `udevadm info` shows which reader encoderd takes this for.
SUBSYSTEM!="usb", GOTO="encoderd_serial"
"#;

const TAIL: &str = r#"
LABEL="encoderd_serial"
ENV{ENCODERD_SERIAL}!="?*", GOTO="encoderd_end"

# ModemManager asks the USB device whether to keep off its ports. Autosuspend costs the first card after a pause.
SUBSYSTEM=="usb", ENV{ID_MM_DEVICE_IGNORE}="1"
SUBSYSTEM=="usb", TEST=="power/control", ATTR{power/control}="on"

# An FTDI chip keeps a short answer back for 16 ms unless it is told otherwise.
SUBSYSTEM=="usb-serial", TEST=="latency_timer", ATTR{latency_timer}="1"

SUBSYSTEM!="tty", GOTO="encoderd_end"
# The group is for the service, the tag for whoever sits at the desk.
GROUP="dialout", MODE="0660", TAG+="uaccess", ENV{ID_MM_PORT_IGNORE}="1"
# gpsd takes ports with some generic chips for receivers.
ENV{SYSTEMD_WANTS}=="gpsdctl@*", ENV{SYSTEMD_WANTS}=""
# Names that stay: by serial number while there is one, and by the USB port it is plugged into. Two units with one
# serial number share the first link, so the second is always there.
ENV{ID_SERIAL_SHORT}=="?*", SYMLINK+="encoderd/by-serial/$env{ID_VENDOR_ID}-$env{ID_MODEL_ID}-$env{ID_SERIAL_SHORT}-if$env{ID_USB_INTERFACE_NUM}"
ENV{ID_PATH_TAG}=="?*", SYMLINK+="encoderd/by-path/$env{ID_PATH_TAG}"

LABEL="encoderd_end"
"#;

/// A serial port on USB, as sysfs knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsbPort {
    /// idVendor.
    pub vendor: u16,
    /// idProduct.
    pub product: u16,
    /// The USB device's serial number, where it has one.
    pub serial: Option<String>,
    /// Where it is plugged in, such as `1-1.2`.
    pub port: String,
}

/// Why there are no rules for a port.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum UdevError {
    /// There is no such port.
    #[error("{path} is no serial port: plug the encoder in and look in /dev/serial/by-path", path = path.display())]
    NoPort {
        /// What was asked for.
        path: PathBuf,
    },
    /// It is a port, and not on USB.
    #[error(
        "{path} is no USB port, so no rule can tell it from others. Give the service access by hand: \
         systemctl edit encoderd, with [Service] and DeviceAllow={path} rw",
        path = path.display()
    )]
    NotUsb {
        /// What was asked for.
        path: PathBuf,
    },
}

impl UsbPort {
    /// Looks a port such as `/dev/ttyUSB0` up in sysfs; links to the node will do.
    pub fn look_up(sysfs: &Path, path: &Path) -> Result<Self, UdevError> {
        let node = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        let no_port = || UdevError::NoPort { path: path.to_path_buf() };
        let name = node.file_name().ok_or_else(no_port)?;
        let tty = sysfs.join("class/tty").join(name);
        let device = match tty.join("device").canonicalize() {
            Ok(device) => device,
            // Ptys and consoles are ttys without a device.
            Err(_) if tty.exists() || node.starts_with("/dev/pts") => {
                return Err(UdevError::NotUsb { path: path.to_path_buf() });
            }
            Err(_) => return Err(no_port()),
        };
        device.ancestors().find_map(Self::read).ok_or_else(|| UdevError::NotUsb { path: path.to_path_buf() })
    }

    /// Reads a USB device's directory; `None` where it is none.
    fn read(directory: &Path) -> Option<Self> {
        let text = |name: &str| std::fs::read_to_string(directory.join(name)).ok();
        let id = |name: &str| u16::from_str_radix(text(name)?.trim(), 16).ok();
        Some(Self {
            vendor: id("idVendor")?,
            product: id("idProduct")?,
            serial: text("serial")
                .map(|serial| serial.trim_end().to_owned())
                .filter(|serial| !serial.trim().is_empty()),
            port: directory.file_name()?.to_string_lossy().into_owned(),
        })
    }
}

/// The lines that mark one port: by its serial number where it has one, else by the USB port it is plugged into.
///
/// They go into [`PORT_RULES_FILE`]. The serial number is whatever the device says it is, so nothing of it but letters,
/// digits and a few signs gets into a file that root's udev obeys.
pub fn rule_for_port(port: &UsbPort) -> String {
    let (vendor, product) = (port.vendor, port.product);
    let (what, on_device, on_parents) = if let Some(serial) = &port.serial {
        let serial = literal(serial);
        let what = format!("with serial number {serial}");
        (what, format!("ATTR{{serial}}==\"{serial}\""), format!("ATTRS{{serial}}==\"{serial}\""))
    } else {
        let at = literal(&port.port);
        let what = format!("at USB port {at}, whatever is plugged in there; it has no serial number");
        (what, format!("KERNEL==\"{at}\""), format!("KERNELS==\"{at}\""))
    };
    format!(
        "# encoderd: {vendor:04x}:{product:04x} {what}\n\
         SUBSYSTEM==\"usb\", ENV{{DEVTYPE}}==\"usb_device\", ATTR{{idVendor}}==\"{vendor:04x}\", \
         ATTR{{idProduct}}==\"{product:04x}\", {on_device}, ENV{{{MARK}}}=\"configured\"\n\
         SUBSYSTEM==\"tty|usb-serial\", ATTRS{{idVendor}}==\"{vendor:04x}\", ATTRS{{idProduct}}==\"{product:04x}\", \
         {on_parents}, ENV{{{MARK}}}=\"configured\"\n"
    )
}

/// A text as udev's patterns take it: what could end the string or mean more than itself fits any one byte.
fn literal(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() || b"._:-+ ".contains(&byte) { char::from(byte) } else { '?' })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use encoder_protocols::dialect::pcsc_storage::GENERIC;
    use encoder_protocols::dialect::pn532;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn the_shipped_file_is_made_from_the_tables() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("udev/70-encoderd.rules");
        if std::env::var_os("UPDATE_UDEV").is_some() {
            fs::write(&path, rules()).unwrap();
        }
        let shipped = fs::read_to_string(&path).unwrap();
        assert_eq!(
            shipped,
            rules(),
            "read what changed: UPDATE_UDEV=1 cargo test --lib udev && git diff udev/70-encoderd.rules"
        );
    }

    #[test]
    fn every_known_product_has_its_lines_and_no_generic_chip_has() {
        const IDS: &[UsbId] = &[
            UsbId { vendor: 0x1234, product: 0xABCD, product_text: "Desk \"1\"" },
            UsbId { vendor: 0x1235, product: 0x0001, product_text: "" },
        ];
        let reader = Reader { usb_ids: IDS, dialect: "made_up", ..pn532::READER };
        let profile = Profile { name: "some", usb_ids: &[(0x072F, 0x2200)], ..GENERIC };
        let text = rules_of(&[pn532::READER, reader], &[profile, GENERIC]);
        for line in [
            "ENV{DEVTYPE}==\"usb_device\", ATTR{idVendor}==\"1234\", ATTR{idProduct}==\"abcd\", \
             ATTR{product}==\"*Desk ?1?*\", ENV{ENCODERD_SERIAL}=\"made_up\"",
            "SUBSYSTEM==\"tty|usb-serial\", ATTRS{idVendor}==\"1235\", ATTRS{idProduct}==\"0001\", \
             ENV{ENCODERD_SERIAL}=\"made_up\"",
            "ENV{DEVTYPE}==\"usb_device\", ATTR{idVendor}==\"072f\", ATTR{idProduct}==\"2200\", ENV{ENCODERD_PCSC}=\"some\"",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\nis not in\n{text}");
        }
        for generic in ["0403", "1a86", "10c4", "067b"] {
            let matches = rules().lines().any(|line| line.contains(&format!("==\"{generic}\"")));
            assert!(!matches, "the shipped rules must not take every device with the generic chip {generic}");
        }
    }

    #[test]
    fn a_port_is_told_by_its_serial_number_else_by_where_it_is() {
        let mut port = UsbPort { vendor: 0x0403, product: 0x6001, serial: Some("A10KX".into()), port: "1-1.2".into() };
        assert_eq!(
            rule_for_port(&port),
            "# encoderd: 0403:6001 with serial number A10KX\n\
             SUBSYSTEM==\"usb\", ENV{DEVTYPE}==\"usb_device\", ATTR{idVendor}==\"0403\", ATTR{idProduct}==\"6001\", \
             ATTR{serial}==\"A10KX\", ENV{ENCODERD_SERIAL}=\"configured\"\n\
             SUBSYSTEM==\"tty|usb-serial\", ATTRS{idVendor}==\"0403\", ATTRS{idProduct}==\"6001\", \
             ATTRS{serial}==\"A10KX\", ENV{ENCODERD_SERIAL}=\"configured\"\n"
        );
        port.serial = None;
        let rule = rule_for_port(&port);
        assert!(rule.contains("KERNEL==\"1-1.2\"") && rule.contains("KERNELS==\"1-1.2\""), "{rule}");
    }

    #[test]
    fn what_a_device_says_of_itself_cannot_add_rules() {
        let serial = "x\", RUN+=\"/bin/sh\"\nRUN+=\"b*[a]|\u{e9}$env{A}%k\\";
        let port = UsbPort { vendor: 1, product: 2, serial: Some(serial.into()), port: "1-1".into() };
        let rule = rule_for_port(&port);
        assert_eq!(rule.lines().count(), 3, "{rule}");
        assert!(rule.contains("==\"x?? RUN+??/bin/sh??RUN+??b??a???".replace('/', "?").as_str()), "{rule}");
        for line in rule.lines().skip(1) {
            let (_, value) = line.rsplit_once("{serial}==\"").unwrap();
            let value = value.split('"').next().unwrap();
            assert!(!value.contains(['*', '[', '|', '$', '%', '\\', '/']), "{line}");
        }
    }

    /// A machine with a CH340 at 1-1.2, an FT232 with a serial number at 1-1.3, a port of its own and a console.
    fn machine() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        for (port, ids, serial, tty) in
            [("1-1.2", ("1a86", "7523"), None, "ttyUSB0"), ("1-1.3", ("0403", "6001"), Some("A10KX\n"), "ttyUSB1")]
        {
            let device = format!("devices/pci0/usb1/1-1/{port}");
            fs::create_dir_all(at(&format!("{device}/{port}:1.0/{tty}/tty/{tty}"))).unwrap();
            fs::write(at(&format!("{device}/idVendor")), format!("{}\n", ids.0)).unwrap();
            fs::write(at(&format!("{device}/idProduct")), format!("{}\n", ids.1)).unwrap();
            if let Some(serial) = serial {
                fs::write(at(&format!("{device}/serial")), serial).unwrap();
            }
            symlink(
                at(&format!("{device}/{port}:1.0/{tty}")),
                at(&format!("{device}/{port}:1.0/{tty}/tty/{tty}/device")),
            )
            .unwrap();
            fs::create_dir_all(at("class/tty")).unwrap();
            symlink(at(&format!("{device}/{port}:1.0/{tty}/tty/{tty}")), at(&format!("class/tty/{tty}"))).unwrap();
        }
        fs::create_dir_all(at("devices/platform/serial8250")).unwrap();
        fs::create_dir_all(at("class/tty/ttyS0")).unwrap();
        symlink(at("devices/platform/serial8250"), at("class/tty/ttyS0/device")).unwrap();
        fs::create_dir_all(at("class/tty/console")).unwrap();
        root
    }

    #[test]
    fn sysfs_tells_what_a_port_is() {
        let machine = machine();
        let look_up = |path: &str| UsbPort::look_up(machine.path(), Path::new(path));
        let ch340 = UsbPort { vendor: 0x1A86, product: 0x7523, serial: None, port: "1-1.2".into() };
        assert_eq!(look_up("/dev/ttyUSB0"), Ok(ch340.clone()));
        let ft232 = UsbPort { vendor: 0x0403, product: 0x6001, serial: Some("A10KX".into()), port: "1-1.3".into() };
        assert_eq!(look_up("/dev/ttyUSB1"), Ok(ft232));
        let link = machine.path().join("link");
        // The link's target need not be a real node: what counts is its name.
        fs::write(machine.path().join("ttyUSB0"), "").unwrap();
        symlink(machine.path().join("ttyUSB0"), &link).unwrap();
        assert_eq!(UsbPort::look_up(machine.path(), &link), Ok(ch340));
        for path in ["/dev/ttyS0", "/dev/console"] {
            assert_eq!(look_up(path), Err(UdevError::NotUsb { path: path.into() }));
        }
        for path in ["/dev/ttyUSB9", "/"] {
            assert_eq!(look_up(path), Err(UdevError::NoPort { path: path.into() }));
        }
    }
}
