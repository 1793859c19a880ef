//! USB adapters that come, go and get other numbers: a tree like the kernel's, with real ptys behind its nodes.

use crate::desk::{Desk, Setup, VirtualEncoder};
use crate::sysfs::Device;
use encoderd::control::EncoderAnswer;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt as _;

const BY_SOCKET: &str = "[[serial]]\nusb_port = \"1-1.2\"\ndialect = \"pn532\"\nname = \"Socket\"\n";

impl Desk {
    fn sysfs(&self) -> PathBuf {
        self.directory.path().join("sysfs")
    }

    fn node(&self, tty: &str) -> PathBuf {
        self.directory.path().join("dev").join(tty)
    }

    /// Plugs an adapter in: first the kernel's tree, then the node, as the kernel does.
    fn plug(&self, device: &Device, tty: &str, port: &Path) {
        device.plug(&self.sysfs(), tty, 0);
        symlink(port, self.node(tty)).unwrap();
    }

    fn pull_out(&self, device: &Device, tty: &str) {
        std::fs::remove_file(self.node(tty)).unwrap();
        device.unplug(&self.sysfs());
    }

    async fn with_ports(config: &str) -> Self {
        let mut desk = Self::start(Setup { config, ..Setup::default() }).await;
        // The daemon has watched the directory above; so it does when /dev/serial comes to be.
        std::fs::create_dir_all(desk.node("")).unwrap();
        assert_eq!(desk.status().await.encoders.len(), 1);
        desk
    }

    /// Waits until the encoder is so; how long it took.
    async fn until(&mut self, what: &str, is_so: impl Fn(&EncoderAnswer) -> bool) -> Duration {
        let begun = Instant::now();
        loop {
            let status = self.status().await;
            if status.encoders.iter().any(&is_so) {
                return begun.elapsed();
            }
            assert!(begun.elapsed() < crate::desk::PATIENCE, "not {what}: {status:?}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn is_online(encoder: &EncoderAnswer) -> bool {
    encoder.state == encoderd::api::bridge::EncoderState::Online
}

#[tokio::test(flavor = "multi_thread")]
async fn plugging_in_and_pulling_out_is_seen_within_a_second_and_nobody_else_is_spoken_to() {
    let mut desk = Desk::with_ports(BY_SOCKET).await;
    let (mut printer, printer_port) = tokio_serial::SerialStream::pair().unwrap();
    let printer_node = tokio_serial::SerialPort::name(&printer_port).unwrap();
    desk.plug(&Device::ch340("1.4"), "ttyUSB0", Path::new(&printer_node));
    let unit = VirtualEncoder::start(desk.directory.path(), "unit", Some("classic-1k:deadbeef"), &[]);
    let (mut seen, mut gone, mut ids) = (Vec::new(), Vec::new(), Vec::new());
    for tty in ["ttyUSB1", "ttyUSB7", "ttyUSB2"] {
        desk.plug(&Device::ch340("1.2"), tty, &unit.link);
        seen.push(desk.until("online", is_online).await);
        let encoder = desk.status().await.encoders[0].clone();
        assert!(encoder.port.ends_with(tty), "{encoder:?}");
        ids.push(encoder.device_id);
        desk.pull_out(&Device::ch340("1.2"), tty);
        gone.push(desk.until("offline", |encoder| !is_online(encoder)).await);
    }
    println!("online after {seen:?}, offline after {gone:?}");
    for times in [&seen, &gone] {
        assert!(times.iter().any(|time| *time < Duration::from_secs(1)), "{times:?}");
    }
    assert!(ids.iter().all(|id| id == "port-1a86:7523-0000:00:14.0-1.2"), "{ids:?}");
    let mut heard = [0; 64];
    let silence = tokio::time::timeout(Duration::from_millis(100), printer.read(&mut heard)).await;
    assert!(silence.is_err(), "something was sent to the printer: {silence:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_device_with_the_same_number_stops_both() {
    let config = "[[serial]]\nusb_serial = \"A1\"\ndialect = \"pn532\"\nname = \"Front Desk\"\n";
    let mut desk = Desk::with_ports(config).await;
    let (first, twin) = (Device::ch340("1.1").with_serial("A1"), Device::ch340("1.2").with_serial("A1"));
    let unit = |name, card| VirtualEncoder::start(desk.directory.path(), name, Some(card), &[]);
    let units = [unit("first", "classic-1k:deadbeef"), unit("twin", "classic-1k:0badcafe")];
    desk.plug(&first, "ttyUSB0", &units[0].link);
    desk.until("online", is_online).await;
    desk.encoders.extend(units);
    desk.wait_for("its encoder", |live| live.first().is_some_and(|encoder| encoder["state"] == "online")).await;
    let id = desk.live().await[0]["acs_encoder_id"].clone();
    let scan = serde_json::json!({ "acs_encoder_id": id });
    let twin_port = desk.encoders[1].link.clone();
    desk.plug(&twin, "ttyUSB1", &twin_port);
    let ambiguous = |encoder: &EncoderAnswer| {
        encoder.fault.as_ref().is_some_and(|fault| {
            fault.kind == encoderd::fault::FaultKind::EncoderAmbiguous
                && fault.message.contains("usb_port = \"0000:00:14.0-1.1\"")
        })
    };
    desk.until("ambiguous", ambiguous).await;
    desk.wait_for("unavailable", |live| live[0]["state"] == "unavailable").await;
    let refused = desk.get("/acs/encoders/scan_credential", scan.clone(), "action_attempt").await;
    assert_eq!(desk.settled(refused).await["error"]["type"], "encoder_not_online");
    // The stranger alone is not believed, also by a daemon that was started anew.
    desk.pull_out(&first, "ttyUSB0");
    desk.until("ambiguous", ambiguous).await;
    desk.terminate();
    desk.start_daemon().await;
    desk.until("ambiguous still", |encoder| {
        encoder.fault.as_ref().is_some_and(|fault| fault.kind == encoderd::fault::FaultKind::EncoderAmbiguous)
    })
    .await;
    assert_eq!(desk.encoders[1].stats().detects, 0, "the twin was spoken to");
    // Named by their sockets both work.
    let text = std::fs::read_to_string(desk.config_file()).unwrap();
    let by_sockets = "[[serial]]\nusb_port = \"0000:00:14.0-1.1\"\ndialect = \"pn532\"\nname = \"First\"\n\
                      [[serial]]\nusb_port = \"0000:00:14.0-1.2\"\ndialect = \"pn532\"\nname = \"Twin\"\n";
    std::fs::write(desk.config_file(), text.replace(config, by_sockets)).unwrap();
    desk.terminate();
    let first_port = desk.encoders[0].link.clone();
    desk.plug(&first, "ttyUSB0", &first_port);
    desk.start_daemon().await;
    let on = |name: &'static str, card: &'static str| {
        move |encoder: &EncoderAnswer| encoder.display_name == name && encoder.card_number.as_deref() == Some(card)
    };
    desk.until("the first one's card", on("First", "deadbeef")).await;
    desk.until("the twin's card", on("Twin", "0badcafe")).await;
}
