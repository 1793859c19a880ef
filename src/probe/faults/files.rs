//! Faults of files: configuration, users, state directory, disk, keys, clock.

use super::bench::{gid, give, set_mode, uid};
use super::{Fault, Mend, On, Plant};
use crate::probe::Space;
use jiff::{SignedDuration, Timestamp};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};

const ROOMY: Space = Space { free_bytes: 1 << 40, free_files: Some(1 << 20), is_read_only: false };

pub(super) fn faults() -> Vec<Fault> {
    vec![
        Fault {
            name: "a key of the configuration is misspelt",
            on: On::Service,
            plant: Plant::Now(|bench| {
                bench.config = bench.config.replace("listen", "lisen");
            }),
            check: "configuration",
            message: &["encoderd.toml", "line 4", "lisen"],
            remedy: "sudoedit",
            mend: Mend::Do(|bench| {
                let text = fs::read_to_string(bench.config_file()).unwrap();
                fs::write(bench.config_file(), text.replace("lisen", "listen")).unwrap();
            }),
        },
        Fault {
            name: "only root may read the configuration",
            on: On::Service,
            plant: Plant::Now(|bench| {
                bench.put("etc/encoderd/encoderd.toml", &bench.config);
                set_mode(&bench.config_file(), 0o000);
            }),
            check: "configuration",
            message: &["user encoderd may not read", "mode 0000"],
            remedy: "sudo chgrp encoderd",
            mend: Mend::RunAsRoot(";"),
        },
        Fault {
            name: "the service's user was never made",
            on: On::Service,
            plant: Plant::Now(|bench| {
                bench.put("etc/passwd", "root:x:0:0::/:/bin/sh\n");
            }),
            check: "user",
            message: &["user encoderd does not exist"],
            remedy: "sudo systemd-sysusers",
            mend: Mend::Do(|bench| {
                let line = format!("encoderd:x:{}:{}::/:/bin/false\n", uid(), gid());
                bench.put("etc/passwd", &line);
            }),
        },
        Fault {
            name: "the service's user is not in the group of serial ports",
            on: On::Service,
            plant: Plant::Now(|bench| {
                bench.put("etc/passwd", "root:x:0:0::/:/bin/sh\nencoderd:x:54321:54321::/:/bin/false\n");
                let unit = "usr/lib/systemd/system/encoderd.service";
                bench.put(unit, "[Service]\nUser=encoderd\n");
                let node = bench.node("ttyUSB0");
                let _only_as_root = chown(&node, Some(0), Some(20));
                set_mode(&node, 0o660);
                let gid = fs::metadata(&node).unwrap().gid();
                bench.put("etc/group", &format!("root:x:0:\ndialout:x:{gid}:\n"));
            }),
            check: "user",
            message: &["encoderd is to run as encoderd", "not in the group dialout", "ttyUSB0"],
            remedy: "sudo usermod -aG dialout encoderd && sudo systemctl restart encoderd",
            mend: Mend::No,
        },
        Fault {
            name: "the state directory belongs to somebody else",
            on: On::Service,
            plant: Plant::Now(|bench| {
                let _only_as_root = chown(bench.state(), Some(0), Some(0));
                set_mode(&bench.state(), 0o500);
            }),
            check: "state",
            message: &["encoderd, who encoderd runs as, may not use", "var/lib/encoderd", "mode 0500"],
            remedy: "sudo chown -R encoderd:",
            mend: Mend::Run(";"),
        },
        Fault {
            name: "everybody may write to the state directory",
            on: On::Service,
            plant: Plant::Now(|bench| {
                set_mode(&bench.state(), 0o777);
            }),
            check: "state",
            message: &["others may write to", "mode 0777"],
            remedy: "sudo chmod 700",
            mend: Mend::Run(";"),
        },
        Fault {
            name: "the disk is full",
            on: On::Service,
            plant: Plant::Now(|bench| {
                bench.machine.space = |_| Ok(Space { free_bytes: 3 << 20, ..ROOMY });
            }),
            check: "disk",
            message: &["3 MB are free", "no room for journal and database"],
            remedy: "sudo journalctl --vacuum-size",
            mend: Mend::Do(|bench| bench.machine.space = |_| Ok(ROOMY)),
        },
        Fault {
            name: "the disk has no room for further files",
            on: On::Service,
            plant: Plant::Now(|bench| {
                bench.machine.space = |_| Ok(Space { free_files: Some(0), ..ROOMY });
            }),
            check: "disk",
            message: &["room for 0 more files"],
            remedy: "sudo du --inodes",
            mend: Mend::Do(|bench| bench.machine.space = |_| Ok(ROOMY)),
        },
        Fault {
            name: "the kernel has made the disk read-only",
            on: On::Service,
            plant: Plant::Now(|bench| {
                bench.machine.space = |_| Ok(Space { is_read_only: true, ..ROOMY });
            }),
            check: "disk",
            message: &["is read-only"],
            remedy: "mount -o remount,rw",
            mend: Mend::Do(|bench| bench.machine.space = |_| Ok(ROOMY)),
        },
        Fault {
            name: "the card key is gone",
            on: On::Service,
            plant: Plant::Now(|bench| {
                bench.delete("var/lib/encoderd/card-key.toml");
                bench.put("var/lib/encoderd/state.db", "");
            }),
            check: "keys",
            message: &["card-key.toml is missing", "has run here before"],
            remedy: "encoderd keys import FILE",
            mend: Mend::Do(|bench| {
                crate::keys::CardKey::create(&bench.state()).unwrap();
                give(&bench.state());
            }),
        },
        Fault {
            name: "everybody may read the card key",
            on: On::Service,
            plant: Plant::Now(|bench| {
                set_mode(&bench.state().join("card-key.toml"), 0o644);
            }),
            check: "keys",
            message: &["other users may read", "card-key.toml"],
            remedy: "sudo chmod 600",
            mend: Mend::Run(";"),
        },
        Fault {
            name: "root has imported the card key, and the service may not read it",
            on: On::Service,
            plant: Plant::Now(|bench| {
                let file = bench.state().join("card-key.toml");
                let _only_as_root = chown(&file, Some(0), Some(0));
                if !super::bench::is_root() {
                    set_mode(&file, 0o000);
                }
            }),
            check: "keys",
            message: &["encoderd, who encoderd runs as, may not read", "card-key.toml"],
            remedy: "sudo chown encoderd:",
            mend: Mend::RunAsRoot(";"),
        },
        Fault {
            name: "the card key's file is damaged",
            on: On::Service,
            plant: Plant::Now(|bench| {
                bench.put("var/lib/encoderd/card-key.toml", "key = \"00");
            }),
            check: "keys",
            message: &["card-key.toml is damaged"],
            remedy: "encoderd keys import FILE",
            mend: Mend::No,
        },
        Fault {
            name: "the clock has lost its battery",
            on: On::Service,
            plant: Plant::Now(|bench| {
                bench.machine.now = Timestamp::from_second(86400).unwrap();
            }),
            check: "clock",
            message: &["1970-01-02", "before this program was made"],
            remedy: "sudo timedatectl set-ntp true",
            mend: Mend::Do(|bench| bench.machine.now = crate::clock::wall()),
        },
        Fault {
            name: "the clock was set back",
            on: On::Service,
            plant: Plant::Now(|bench| {
                bench.machine.now -= SignedDuration::from_hours(72);
            }),
            check: "clock",
            message: &["has gone back"],
            remedy: "sudo timedatectl set-ntp true",
            mend: Mend::Do(|bench| bench.machine.now = crate::clock::wall()),
        },
    ]
}
