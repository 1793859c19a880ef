//! A PC/SC reader for tests: on a virtual USB bus, where a private pcscd with the tests' own driver finds it, or behind
//! vpcd. Needs `desk.rs` beside it in the test binary.
#![allow(dead_code, reason = "each test binary uses its part")]

use crate::desk::{PROGRAM, Played};
use std::ops::Deref;
use std::path::Path;
use std::process::Command;

/// A virtual PC/SC reader, in a process of its own. Unplugged when dropped, if it ends by `control("quit")`; else it
/// looks like a reader that fell silent until the next one comes to its USB port.
pub struct VirtualReader {
    played: Played,
    /// Its USB port on the bus, such as `1-1.2`; none behind vpcd.
    pub usb_port: Option<String>,
}

impl VirtualReader {
    /// Plugs one into a port of the bus. The name is that of its control socket's file in the bus directory. Options
    /// are those of `encoderd emulate pcsc`, such as `--serial A1`.
    pub fn start(
        bus_dir: &Path,
        (name, usb_port): (&str, &str),
        profile: &str,
        card: Option<&str>,
        options: &[&str],
    ) -> Self {
        let mut command = Command::new(PROGRAM);
        command.args(["emulate", "pcsc", "--profile", profile, "--usb-port", usb_port]).args(options);
        let played =
            Played::start(command.arg("--bus").arg(bus_dir), bus_dir.join(format!("{name}.control")), card);
        Self { played, usb_port: Some(usb_port.to_owned()) }
    }

    /// Shows a card to the vpcd that listens at this port of the loopback interface.
    pub fn behind_vpcd(directory: &Path, name: &str, port: u16, card: Option<&str>, options: &[&str]) -> Self {
        let mut command = Command::new(PROGRAM);
        command.args(["emulate", "pcsc", "--vpcd", &format!("127.0.0.1:{port}")]).args(options);
        let played = Played::start(&mut command, directory.join(format!("{name}.control")), card);
        Self { played, usb_port: None }
    }
}

impl Deref for VirtualReader {
    type Target = Played;

    fn deref(&self) -> &Played {
        &self.played
    }
}
