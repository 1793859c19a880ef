//! Faults of services: encoderd's own, pcscd, polkit, whoever sits at the hub's address.

use super::bench::Bench;
use super::{Fault, Mend, On, Plant};
use crate::probe::pcsc::Reach;
use crate::probe::pcsc::planted;
use crate::transport::pcsc::ServiceProblem;
use std::os::unix::fs::symlink;

/// Nobody answers, and systemd says this.
fn stopped(bench: &mut Bench, active: &str, sub: &str, result: &str, restarts: u32) {
    bench.status = None;
    bench.unit(active, sub, result, restarts);
}

/// A PC with an ACR122U and a pcscd.
fn with_acr122u(bench: &mut Bench) -> &mut planted::Machine {
    let pcsc = planted::Machine::new();
    pcsc.plug_acr122u("1-1.3");
    bench.pcsc.insert(pcsc)
}

fn unit_fault(name: &'static str, plant: Plant, message: &'static [&'static str], remedy: &'static str) -> Fault {
    Fault { name, on: On::Service, plant, check: "unit", message, remedy, mend: Mend::No }
}

pub(super) fn faults() -> Vec<Fault> {
    vec![
        unit_fault(
            "the service was stopped",
            Plant::Now(|bench| {
                stopped(bench, "inactive", "dead", "success", 0);
            }),
            &["the service is inactive"],
            "sudo systemctl enable --now encoderd",
        ),
        unit_fault(
            "the service has failed",
            Plant::Now(|bench| {
                stopped(bench, "failed", "failed", "exit-code", 0);
            }),
            &["the service has failed", "exit-code"],
            "sudo journalctl -u encoderd",
        ),
        unit_fault(
            "the service ends again and again",
            Plant::Now(|bench| {
                stopped(bench, "activating", "auto-restart", "watchdog", 17);
            }),
            &["again and again", "watchdog", "17 times"],
            "sudo journalctl -u encoderd",
        ),
        unit_fault(
            "the service is masked",
            Plant::Now(|bench| {
                stopped(bench, "inactive", "dead", "success", 0);
                symlink("/dev/null", bench.path("etc/systemd/system/encoderd.service")).unwrap();
            }),
            &["is masked"],
            "sudo systemctl unmask encoderd",
        ),
        Fault {
            name: "the service runs and does not answer",
            on: On::Service,
            plant: Plant::Now(|bench| {
                bench.status = None;
            }),
            check: "daemon",
            message: &["the service runs and nobody answers"],
            remedy: "sudo systemctl restart encoderd",
            mend: Mend::No,
        },
        Fault {
            name: "the daemon hangs",
            on: On::Service,
            plant: Plant::Now(|bench| {
                bench.status = None;
                let socket = std::os::unix::net::UnixListener::bind(bench.state().join("encoderd.sock")).unwrap();
                bench.keep.push(Box::new(socket));
            }),
            check: "daemon",
            message: &["encoderd runs and does not answer", "nothing came within 6 s"],
            remedy: "sudo systemctl restart encoderd",
            mend: Mend::No,
        },
        Fault {
            name: "the daemon was not started anew after an upgrade",
            on: On::Service,
            plant: Plant::Now(|bench| {
                bench.status.as_mut().unwrap().version = "0.0.9".to_owned();
            }),
            check: "binary",
            message: &["encoderd 0.0.9 runs", concat!("this is encoderd ", env!("CARGO_PKG_VERSION"))],
            remedy: "sudo systemctl restart encoderd",
            mend: Mend::Do(|bench| bench.status.as_mut().unwrap().version = env!("CARGO_PKG_VERSION").to_owned()),
        },
        Fault {
            name: "another program has the hub's address",
            on: On::Hand,
            plant: Plant::Now(|bench| {
                let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
                let address = listener.local_addr().unwrap().to_string();
                let free = bench.config.lines().find(|line| line.starts_with("listen")).unwrap().to_owned();
                bench.config = bench.config.replace(&free, &format!("listen = \"{address}\""));
                bench.keep.push(Box::new(listener));
            }),
            check: "address",
            message: &["(pid ", "which [hub] listen names"],
            remedy: "sudo kill ",
            mend: Mend::Do(|bench| bench.keep.clear()),
        },
        Fault {
            name: "the hub's address is another PC's",
            on: On::Hand,
            plant: Plant::Now(|bench| {
                let free = bench.config.lines().find(|line| line.starts_with("listen")).unwrap().to_owned();
                bench.config = bench.config.replace(&free, "listen = \"192.0.2.1:8765\"");
            }),
            check: "address",
            message: &["192.0.2.1:8765", "no address of this PC"],
            remedy: "sudoedit",
            mend: Mend::No,
        },
        Fault {
            name: "pcscd does not run",
            on: On::Service,
            plant: Plant::Now(|bench| {
                let pcsc = with_acr122u(bench);
                pcsc.gone(ServiceProblem::NotRunning);
                pcsc.reach = Reach::Missing { is_orphaned: false };
            }),
            check: "pcscd",
            message: &["pcscd is not running", "ACS ACR122U"],
            remedy: "sudo systemctl enable --now pcscd.socket",
            mend: Mend::No,
        },
        Fault {
            name: "the kernel's NFC driver has the reader",
            on: On::Service,
            plant: Plant::Now(|bench| {
                with_acr122u(bench).bind("1-1.3", "pn533_usb");
            }),
            check: "kernel",
            message: &["ACS ACR122U", "pn533_usb"],
            remedy: "sudo modprobe -r pn533_usb",
            mend: Mend::No,
        },
        Fault {
            name: "polkit has no rule for the service",
            on: On::Service,
            plant: Plant::Now(|bench| {
                with_acr122u(bench);
                bench.put("usr/share/polkit-1/actions/org.debian.pcsc-lite.policy", "<policyconfig/>");
            }),
            check: "polkit",
            message: &["no rule lets encoderd"],
            remedy: "sudo tee /etc/polkit-1/rules.d/50-encoderd.rules",
            mend: Mend::Do(|bench| {
                let rule = "access_pcsc access_card \"encoderd\"";
                bench.put("etc/polkit-1/rules.d/50-encoderd.rules", rule);
                bench.pcsc = None;
            }),
        },
        Fault {
            name: "polkit refuses the running daemon",
            on: On::Service,
            plant: Plant::Now(|bench| {
                let daemon = planted::denied();
                with_acr122u(bench).daemon = Some(daemon);
            }),
            check: "pcscd",
            message: &["polkit refuses"],
            remedy: "sudo tee /etc/polkit-1/rules.d/50-encoderd.rules",
            mend: Mend::No,
        },
    ]
}
