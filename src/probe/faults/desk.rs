//! Faults of the desk's encoders: cables, permissions, other programs, identities.

use super::bench::{Bench, set_mode};
use super::{Fault, Mend, On, Plant};
use crate::api::bridge::EncoderState;
use crate::fault::{Fault as DeviceFault, FaultKind};
use std::fs;
use std::os::unix::fs::{chown, symlink};

const FTDI: (u16, u16) = (0x0403, 0x6001);

fn unplug(bench: &Bench, name: &str) {
    bench.delete(&format!("sys/class/tty/{name}"));
    bench.delete(&format!("dev/{name}"));
}

pub(super) fn faults() -> Vec<Fault> {
    vec![
        Fault {
            name: "an empty file switches the udev rules off",
            on: On::Service,
            plant: Plant::Now(|bench| {
                fs::create_dir_all(bench.path("etc/udev/rules.d")).unwrap();
                symlink("/dev/null", bench.path("etc/udev/rules.d/70-encoderd.rules")).unwrap();
            }),
            check: "udev",
            message: &["70-encoderd.rules switches encoderd's udev rules off"],
            remedy: "sudo rm ",
            mend: Mend::Run(" && "),
        },
        Fault {
            name: "the udev rules are not installed",
            on: On::Service,
            plant: Plant::Now(|bench| {
                bench.delete("usr/lib/udev/rules.d/70-encoderd.rules");
            }),
            check: "udev",
            message: &["there is no 70-encoderd.rules"],
            remedy: "sudo apt install --reinstall encoderd",
            mend: Mend::No,
        },
        Fault {
            name: "the port's number has changed",
            on: On::Hand,
            plant: Plant::Now(|bench| {
                bench.config = bench.config.replace("ttyUSB0", "ttyUSB1");
            }),
            check: "ports",
            message: &["ttyUSB1, a configured port, is not there", "ttyUSB0", "its number has changed"],
            remedy: "sudo sed -i ",
            mend: Mend::Run(", then"),
        },
        Fault {
            name: "the encoder is not plugged in",
            on: On::Hand,
            plant: Plant::Now(|bench| {
                unplug(bench, "ttyUSB0");
                bench.delete("sys/bus/usb/devices/1-1.2");
            }),
            check: "ports",
            message: &["ttyUSB0, a configured port, is not there", "not plugged in"],
            remedy: "plug the encoder in",
            mend: Mend::No,
        },
        Fault {
            name: "the serial chip has no driver",
            on: On::Hand,
            plant: Plant::Now(|bench| {
                unplug(bench, "ttyUSB0");
            }),
            check: "ports",
            message: &["the chip 0403:6001 at USB port 1-1.2 has no driver"],
            remedy: "sudo modprobe ftdi_sio",
            mend: Mend::No,
        },
        Fault {
            name: "brltty has kicked the driver off",
            on: On::Hand,
            plant: Plant::Now(|bench| {
                unplug(bench, "ttyUSB0");
                let rule = "ENV{PRODUCT}==\"403/6001/*\", ENV{BRLTTY_BRAILLE_DRIVER}=\"hw\", GOTO=\"brltty_usb_run\"";
                bench.put("usr/lib/udev/rules.d/85-brltty.rules", rule);
            }),
            check: "grabbers",
            message: &["brltty has taken the chip 0403:6001", "braille"],
            remedy: "sudo apt remove brltty",
            mend: Mend::No,
        },
        Fault {
            name: "only root may open the port",
            on: On::Service,
            plant: Plant::Now(|bench| {
                let node = bench.node("ttyUSB0");
                let _only_as_root = chown(&node, Some(0), Some(0));
                set_mode(&node, 0o000);
            }),
            check: "permission",
            message: &["encoderd may not open", "ttyUSB0", "mode 0000"],
            remedy: "sudo chgrp dialout",
            mend: Mend::RunAsRoot(";"),
        },
        Fault {
            name: "the port came after the service, whose walls keep it out",
            on: On::Service,
            plant: Plant::Now(|bench| {
                let encoder = &mut bench.status.as_mut().unwrap().encoders[0];
                encoder.state = EncoderState::Unavailable;
                let why = "/dev/ttyUSB0 cannot be opened as a serial port: Operation not permitted";
                encoder.fault = Some(DeviceFault::with_detail(FaultKind::EncoderOffline, why));
            }),
            check: "permission",
            message: &["although its mode allows it", "came after the service"],
            remedy: "sudo systemctl restart encoderd",
            mend: Mend::Do(|bench| {
                let encoder = &mut bench.status.as_mut().unwrap().encoders[0];
                (encoder.state, encoder.fault) = (EncoderState::Online, None);
            }),
        },
        Fault {
            name: "another program holds the port",
            on: On::Hand,
            plant: Plant::Now(|bench| {
                bench.hold("minicom", "ttyUSB0");
            }),
            check: "holders",
            message: &["minicom (pid ", "ttyUSB0"],
            remedy: "sudo kill ",
            mend: Mend::Do(Bench::end_children),
        },
        Fault {
            name: "another encoderd holds the port",
            on: On::Hand,
            plant: Plant::Now(|bench| {
                bench.hold("encoderd", "ttyUSB0");
            }),
            check: "holders",
            message: &["another encoderd (pid "],
            remedy: "sudo kill ",
            mend: Mend::Do(Bench::end_children),
        },
        Fault {
            name: "ModemManager holds the port",
            on: On::Hand,
            plant: Plant::Now(|bench| {
                bench.hold("ModemManager", "ttyUSB0");
            }),
            check: "grabbers",
            message: &["ModemManager (pid ", "takes it for a modem"],
            remedy: "sudo systemctl disable --now ModemManager",
            mend: Mend::Do(Bench::end_children),
        },
        Fault {
            name: "gpsd holds the port",
            on: On::Hand,
            plant: Plant::Now(|bench| {
                bench.hold("gpsd", "ttyUSB0");
            }),
            check: "grabbers",
            message: &["gpsd (pid ", "GPS receiver"],
            remedy: "sudo systemctl disable --now gpsd.socket gpsd",
            mend: Mend::Do(Bench::end_children),
        },
        Fault {
            name: "nothing answers at the port",
            on: On::Hand,
            plant: Plant::Now(|bench| {
                bench.silence("ttyUSB0");
            }),
            check: "encoders",
            message: &["ttyUSB0", "nothing answers"],
            remedy: "check cable and power",
            mend: Mend::No,
        },
        Fault {
            name: "two dongles have the same serial number",
            on: On::Hand,
            plant: Plant::Now(|bench| {
                bench.plug("ttyUSB1", "1-1.4", FTDI, Some("A1"));
                bench.play("ttyUSB1");
                bench.config += &bench.serial("ttyUSB1");
            }),
            check: "identity",
            message: &["ttyUSB0 and ", "ttyUSB1 have the same serial number \"A1\"", "1-1.2 and 1-1.4"],
            remedy: "by-path",
            mend: Mend::No,
        },
        Fault {
            name: "two devices are linked to one encoder",
            on: On::Service,
            plant: Plant::Now(|bench| {
                let mut second = bench.encoder("Back Office", "usb-0403:6001-B2");
                let status = bench.status.as_mut().unwrap();
                second.acs_encoder_id = status.encoders[0].acs_encoder_id;
                status.encoders.push(second);
            }),
            check: "links",
            message: &["\"Front Desk\" and \"Back Office\" are both linked"],
            remedy: "sudo encoderd encoders unlink usb-0403:6001-B2",
            mend: Mend::Do(|bench| drop(bench.status.as_mut().unwrap().encoders.pop())),
        },
    ]
}
