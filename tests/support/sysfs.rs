//! Trees like the kernel's below /sys, with USB serial adapters to plug in and pull out.
#![allow(dead_code, reason = "each test uses its part")]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// A USB device to be plugged in.
#[derive(Clone, Debug)]
pub struct Device {
    /// The PCI address of its controller, and the number of that one's bus.
    pub controller: &'static str,
    pub bus: u8,
    /// The sockets behind the bus, such as `1.2`.
    pub sockets: String,
    pub ids: (u16, u16),
    pub serial: Option<Vec<u8>>,
    pub product: Option<&'static str>,
}

impl Device {
    pub fn ch340(sockets: &str) -> Self {
        Self {
            controller: "0000:00:14.0",
            bus: 1,
            sockets: sockets.to_owned(),
            ids: (0x1a86, 0x7523),
            serial: None,
            product: Some("USB Serial"),
        }
    }

    pub fn with_serial(self, serial: &str) -> Self {
        Self { serial: Some(serial.as_bytes().to_vec()), ..self }
    }

    fn directory(&self, sysfs: &Path) -> PathBuf {
        let (bus, first) = (self.bus, self.sockets.split('.').next().unwrap_or_default());
        let root = sysfs.join(format!("devices/pci0000:00/{}/usb{bus}/{bus}-{first}", self.controller));
        if first == self.sockets { root } else { root.join(format!("{bus}-{}", self.sockets)) }
    }

    /// Plugs it in as the tty of this name, on this interface.
    pub fn plug(&self, sysfs: &Path, tty: impl AsRef<OsStr>, interface: u8) -> PathBuf {
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
    pub fn unplug(&self, sysfs: &Path) {
        fs::remove_dir_all(self.directory(sysfs)).unwrap();
        for entry in fs::read_dir(sysfs.join("class/tty")).unwrap().flatten() {
            if !entry.path().exists() {
                fs::remove_file(entry.path()).unwrap();
            }
        }
    }
}
