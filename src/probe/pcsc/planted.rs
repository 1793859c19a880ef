//! Machines with a fault, for tests: files in a temporary directory, and what PC/SC says as data.

use super::{DaemonSight, Facts, PcscSight, Places, Reach, Reader};
use crate::api::bridge::{EncoderState, Presence};
use crate::control::EncoderAnswer;
use crate::discovery::pcsc::Role;
use crate::probe::{Context, Finding};
use crate::transport::pcsc::{CardState, ReaderState, ServiceProblem};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// An ACR122U's ids.
pub(in crate::probe) const ACR122U: (u16, u16) = (0x072F, 0x2200);
/// Its name in PC/SC with libccid, but for the numbers.
pub(in crate::probe) const ACR122U_NAME: &str = "ACS ACR122U PICC Interface";

/// A machine: Debian with systemd, pcscd and libccid, and a user with the name `clerk`.
pub(in crate::probe) struct Machine {
    directory: TempDir,
    pub(in crate::probe) reach: Reach,
    pub(in crate::probe) answer: PcscSight,
    pub(in crate::probe) daemon: Option<DaemonSight>,
    pub(in crate::probe) is_socket_named: bool,
}

impl Machine {
    /// One that is as it should be, without a reader.
    pub(in crate::probe) fn new() -> Self {
        let machine = Self {
            directory: tempfile::tempdir().unwrap(),
            reach: Reach::Taken,
            answer: PcscSight::Running(Vec::new()),
            daemon: None,
            is_socket_named: false,
        };
        for file in ["usr/sbin/pcscd", "usr/bin/apt-get", "run/systemd/system/x", "run/pcscd/pcscd.comm"] {
            machine.put(file, "");
        }
        let user = rustix::process::geteuid().as_raw();
        machine.put("etc/passwd", &format!("clerk:x:{user}:100::/:/bin/sh\n"));
        machine.driver("ifd-ccid", "CCIDCLASSDRIVER", "0x0000", &[(ACR122U, ACR122U_NAME)]);
        machine
    }

    /// Writes a file.
    pub(in crate::probe) fn put(&self, path: &str, text: &str) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Deletes a file or a directory.
    pub(in crate::probe) fn delete(&self, path: &str) {
        let path = self.root().join(path);
        if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
    }

    /// Installs a driver of pcscd, in place of one of the same name.
    pub(in crate::probe) fn driver(&self, bundle: &str, name: &str, options: &str, readers: &[((u16, u16), &str)]) {
        let array = |key: &str, values: Vec<String>| {
            format!("<key>{key}</key><array><string>{}</string></array>", values.join("</string><string>"))
        };
        let plist = format!(
            "<key>CFBundleName</key><string>{name}</string><key>ifdDriverOptions</key><string>{options}</string>{}{}{}",
            array("ifdVendorID", readers.iter().map(|((vendor, _), _)| format!("0x{vendor:04X}")).collect()),
            array("ifdProductID", readers.iter().map(|((_, product), _)| format!("0x{product:04X}")).collect()),
            array("ifdFriendlyName", readers.iter().map(|(_, name)| (*name).to_owned()).collect()),
        );
        self.put(&format!("usr/lib/pcsc/drivers/{bundle}.bundle/Contents/Info.plist"), &plist);
    }

    /// Plugs an ACR122U into this USB port.
    pub(in crate::probe) fn plug_acr122u(&self, port: &str) {
        super::usb::tests::plug(&self.sysfs(), port, ACR122U, "ACR122U PICC Interface", "0b");
    }

    /// Plugs something into this USB port that says it is a card reader.
    pub(in crate::probe) fn plug_ccid(&self, port: &str, ids: (u16, u16), product: &str) {
        super::usb::tests::plug(&self.sysfs(), port, ids, product, "0b");
    }

    /// Gives what is in this USB port to a driver of the kernel.
    pub(in crate::probe) fn bind(&self, port: &str, driver: &str) {
        super::usb::tests::bind(&self.sysfs(), port, driver, Some(driver));
    }

    /// Has PC/SC list these.
    pub(in crate::probe) fn list(&mut self, readers: Vec<Reader>) {
        self.answer = PcscSight::Running(readers);
    }

    /// Has PC/SC say that it cannot be used.
    pub(in crate::probe) fn gone(&mut self, why: ServiceProblem) {
        self.answer = PcscSight::Gone(why);
    }

    /// The file or directory on this machine.
    pub(in crate::probe) fn path(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    /// What is found out.
    pub(in crate::probe) fn facts(&self) -> Facts {
        let places = Places {
            root: self.root().to_path_buf(),
            sysfs: self.sysfs(),
            socket: self.path("run/pcscd/pcscd.comm"),
            is_socket_named: self.is_socket_named,
        };
        let mut facts = Facts::look(&places, self.reach.clone(), self.answer.clone(), None);
        facts.daemon.clone_from(&self.daemon);
        facts
    }

    /// What a check finds.
    pub(in crate::probe) fn look(&self, check: fn(&Context) -> Vec<Finding>) -> Vec<Finding> {
        let mut context = Context::bare(Ok(crate::config::Config::default()));
        context.pcsc = Some(self.facts());
        check(&context)
    }

    /// The one thing that a check finds.
    #[track_caller]
    pub(in crate::probe) fn finding(&self, check: fn(&Context) -> Vec<Finding>) -> Finding {
        let mut findings = self.look(check);
        assert_eq!(findings.len(), 1, "{findings:#?}");
        findings.remove(0)
    }

    fn root(&self) -> &Path {
        self.directory.path()
    }

    fn sysfs(&self) -> PathBuf {
        self.path("sys")
    }
}

/// A reader in PC/SC with this name, an encoder with nothing on it.
pub(in crate::probe) fn reader(name: &str) -> Reader {
    let state = ReaderState {
        name: name.to_owned(),
        appearance: 1,
        card: CardState::Absent,
        atr: Vec::new(),
        in_use: false,
        exclusive: false,
        events: 0,
    };
    Reader::new(&state, Role::Encoder)
}

/// What the daemon says of an encoder behind PC/SC with this model and firmware.
pub(in crate::probe) fn encoder(model: &str, firmware: Option<&str>) -> EncoderAnswer {
    EncoderAnswer {
        device_id: "pcsc-072f:2200-1-1.2".to_owned(),
        acs_encoder_id: None,
        display_name: model.to_owned(),
        port: model.to_owned(),
        dialect: "pcsc".to_owned(),
        model: Some(model.to_owned()),
        firmware: firmware.map(str::to_owned),
        simulated: false,
        state: EncoderState::Online,
        presence: Presence::Absent,
        card_number: None,
        fault: None,
    }
}

/// A daemon that pcscd has turned away.
pub(in crate::probe) fn denied() -> DaemonSight {
    DaemonSight { problem: Some(ServiceProblem::Denied), knows_readers: true }
}
