//! Start, end, and what lies in the way.

use crate::frames::{FIRMWARE_1_6, GET_FIRMWARE_VERSION, SAM_CONFIGURED, WAKE_AND_SAM_CONFIGURATION};
use crate::rig::{Host, Rig, encoderd, run, wait_until};
use encoder_protocols::dialect::reader;
use encoderd::emulator::{Emulator, Kind, Settings};
use rustix::process::Signal;
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;
use tokio_util::sync::CancellationToken;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn is_there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

#[test]
fn the_first_line_is_the_path_of_a_private_pty_that_the_link_leads_to() {
    let rig = Rig::start(&[]);
    assert!(rig.path.starts_with("/dev/pts"), "{}", rig.path.display());
    assert_eq!(fs::read_link(rig.link()).unwrap(), rig.path);
    assert!(fs::metadata(rig.socket()).unwrap().file_type().is_socket());
    assert_eq!((mode(&rig.path), mode(&rig.socket())), (0o600, 0o600));
}

#[test]
fn every_orderly_end_is_a_success_and_leaves_nothing() {
    let ends: [fn(&Rig); 3] =
        [|rig| rig.signal(Signal::TERM), |rig| rig.signal(Signal::INT), |rig| assert_eq!(rig.control("quit"), "ok")];
    for end in ends {
        let rig = Rig::start(&["--card", "classic-1k"]);
        end(&rig);
        let (status, dir) = rig.ended();
        assert_eq!(status.code(), Some(0));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}

#[test]
fn what_a_killed_emulator_leaves_is_replaced() {
    let rig = Rig::start(&[]);
    rig.signal(Signal::KILL);
    let (_, dir) = rig.ended();
    assert!(is_there(&dir.path().join("encoder")) && is_there(&dir.path().join("control")), "nothing to replace");
    let rig = Rig::start_in(dir, &[]);
    assert_eq!(fs::read_link(rig.link()).unwrap(), rig.path);
    assert_eq!(rig.ok("remove"), "");
}

#[test]
fn what_belongs_to_somebody_else_is_refused_and_left_alone() {
    let rig = Rig::start(&[]);
    let (link, socket, file) = (rig.link(), rig.socket(), rig.dir.path().join("notes"));
    fs::write(&file, "mine").unwrap();
    for (option, path) in [("--link", &link), ("--control", &socket), ("--link", &file), ("--control", &file)] {
        let output = run(encoderd(&["emulate", "pn532", option]).arg(path));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), b"".as_slice()), "{stderr}");
        assert!(stderr.contains(path.to_str().unwrap()) && stderr.contains("choose another path"), "{stderr}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    assert_eq!(fs::read_link(&link).unwrap(), rig.path);
    assert_eq!(rig.ok("remove"), "");
}

#[test]
fn usage_errors_end_with_2_and_say_what_there_is() {
    for (arguments, text) in [
        (["emulate", "acr122s", "--pace"], "pn532"),
        (["emulate", "pn532", "--card=icode"], "classic-mini, classic-1k, classic-4k, "),
        (["emulate", "pn532", "--card=classic-1k:xy"], "4, 7 or 10 bytes"),
    ] {
        let output = run(&mut encoderd(&arguments));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(text), "{stderr}");
    }
}

#[test]
fn a_host_that_comes_back_finds_the_reader_as_it_left_it() {
    let rig = Rig::start(&[]);
    for _ in 0..3 {
        let host = Host::open(&rig.link(), 115_200);
        host.exchange(&WAKE_AND_SAM_CONFIGURATION, &SAM_CONFIGURED);
        host.exchange(&GET_FIRMWARE_VERSION, &FIRMWARE_1_6);
    }
}

#[test]
fn a_port_whose_exclusive_holder_is_gone_is_free_again() {
    let rig = Rig::start(&[]);
    let host = Host::open(&rig.path, 115_200);
    host.exclusive();
    // The superuser may always open it, so somebody else has to try.
    fs::set_permissions(&rig.path, fs::Permissions::from_mode(0o666)).unwrap();
    let opens = || {
        let mut shell = if rustix::process::geteuid().is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "sh"]);
            command
        } else {
            Command::new("sh")
        };
        run(shell.arg("-c").arg(format!("exec 3<>{}", rig.path.display()))).status.success()
    };
    assert!(!opens(), "not exclusive in the first place");
    drop(host);
    wait_until("the port can be opened", opens);
}

#[tokio::test]
async fn several_run_in_one_program_and_clean_up_when_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let stop = CancellationToken::new();
    let settings = |name: &str| Settings {
        kind: Kind::Serial { reader: reader("pn532").unwrap(), link: Some(dir.path().join(name)) },
        control: Some(dir.path().join(format!("{name}.sock"))),
        card: None,
        pace: false,
    };
    let names = ["front", "back", "bar"];
    let tasks = names.map(|name| tokio::spawn(Emulator::start(settings(name)).unwrap().run(stop.clone())));
    let paths = names.map(|name| dir.path().join(name));
    let talked = tokio::task::spawn_blocking(move || {
        let hosts = paths.map(|path| Host::open(&path, 115_200));
        for host in &hosts {
            host.send(&WAKE_AND_SAM_CONFIGURATION);
        }
        for host in &hosts {
            host.expect(&crate::frames::ACK);
        }
    });
    talked.await.unwrap();
    let idle = Emulator::start(settings("idle")).unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 8);
    drop(idle);
    let [front, back, bar] = tasks;
    front.abort();
    assert!(front.await.unwrap_err().is_cancelled());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 4);
    stop.cancel();
    back.await.unwrap().unwrap();
    bar.await.unwrap().unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}
