//! The demo's own pcscd, with vsmartcard's virtual readers and nothing of the machine's.
//!
//! pcscd takes its clients' socket from whoever starts it, as systemd hands it over: descriptor 3 with `LISTEN_FDS` and
//! `LISTEN_PID`. libpcsclite looks for it where `PCSCLITE_CSOCK_NAME` says, and only in the environment that a program
//! was started with. So the demo starts pcscd and then begins again, as the same process, with that variable set:
//!
//! ```text
//! encoderd demo --pcsc                                    starts pcscd, then executes
//! encoderd demo --pcsc --state DIR --private-pcscd PID:PORT   the demo itself; ends pcscd, its child, at its end
//! ```

use crate::emulator::VpcdAddress;
use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use std::ffi::OsString;
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::str::FromStr;
use std::time::Duration;

/// Where libpcsclite finds pcscd.
const SOCKET_VARIABLE: &str = "PCSCLITE_CSOCK_NAME";

/// Where pcscd may lie although it is on nobody's `PATH`.
const SYSTEM_PROGRAMS: [&str; 2] = ["/usr/sbin", "/sbin"];

/// vpcd's driver: on Debian, and where libraries of 64 bits have a directory of their own.
const DRIVERS: [&str; 2] =
    ["/usr/lib/pcsc/drivers/serial/libifdvpcd.so", "/usr/lib64/pcsc/drivers/serial/libifdvpcd.so"];

/// The readers' name; the daemon knows by it that they are virtual.
const READER: &str = "Virtual PCD";

/// How long pcscd may take to end.
const END_BOUND: Duration = Duration::from_secs(2);

/// How often it is looked whether it has ended.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The pcscd of this demo, and vpcd's first port: `PID:PORT`.
#[derive(Clone, Copy, Debug)]
pub(super) struct PrivatePcscd {
    pid: Pid,
    port: u16,
}

impl FromStr for PrivatePcscd {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let (pid, port) = text.split_once(':').ok_or("PID:PORT")?;
        // Unsigned first: a negative number is no process and makes `from_raw` panic.
        let pid = pid.parse::<u32>().ok().and_then(|pid| i32::try_from(pid).ok());
        let pid = pid.and_then(Pid::from_raw).ok_or("not a process id")?;
        Ok(Self { pid, port: port.parse().map_err(|_| "not a port")? })
    }
}

impl PrivatePcscd {
    /// Where the n-th of the two virtual readers looks for its card.
    pub(super) fn reader(self, nth: u16) -> anyhow::Result<VpcdAddress> {
        Ok(format!("{}:{}", Ipv4Addr::LOCALHOST, self.port + nth).parse()?)
    }

    /// Ends it, in order if it will.
    pub(super) async fn end(self) {
        for signal in [Signal::TERM, Signal::KILL] {
            // A child that nobody has waited for keeps its process id, so this is no other process.
            let _ended_already = kill_process(self.pid, signal);
            let ended = async {
                while matches!(waitpid(Some(self.pid), WaitOptions::NOHANG), Ok(None)) {
                    tokio::time::sleep(LOOK_EVERY).await;
                }
            };
            if tokio::time::timeout(END_BOUND, ended).await.is_ok() {
                return;
            }
        }
    }
}

/// Starts a pcscd in the directory and begins again as its client, with these arguments. Returns only when that fails.
pub(super) fn begin_again(directory: &Path, arguments: &[OsString]) -> anyhow::Error {
    match start(directory) {
        Ok((mut pcscd, port, socket)) => {
            let error = execute(&socket, &format!("{}:{port}", pcscd.id()), arguments);
            let _ended_already = pcscd.kill();
            let _reaped = pcscd.wait();
            error
        }
        Err(error) => error,
    }
}

fn execute(socket: &Path, pcscd: &str, arguments: &[OsString]) -> anyhow::Error {
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return anyhow::Error::new(error).context("cannot find this program again"),
    };
    let mut command = Command::new(program);
    command.args(arguments).args(["--private-pcscd", pcscd]).env(SOCKET_VARIABLE, socket);
    anyhow::Error::new(command.exec()).context("cannot begin again as a client of the private pcscd")
}

fn start(directory: &Path) -> anyhow::Result<(Child, u16, PathBuf)> {
    let (program, driver) = find_parts()?;
    let port = two_free_ports().context("no two free TCP ports beside each other for the virtual readers")?;
    let (socket, readers) = (directory.join("pcscd.sock"), directory.join("reader.conf.d"));
    fs::create_dir_all(&readers)?;
    // One entry is two readers, at this port and the next; two entries disturb each other.
    let entry = format!(
        "FRIENDLYNAME \"{READER}\"\nDEVICENAME /dev/null:{port}\nLIBPATH {}\nCHANNELID {port}\n",
        driver.display()
    );
    fs::write(readers.join("virtual-pcd"), entry)?;
    // What an earlier demo left in a directory that stays.
    let _there_may_be_none = fs::remove_file(&socket);
    let listener =
        UnixListener::bind(&socket).with_context(|| format!("cannot make the socket {}", socket.display()))?;
    let log = File::create(log_file(directory))?;
    // Descriptor 3 must be open after exec, which the shell sees to; LISTEN_PID is pcscd's own, as the shell becomes it.
    let hand_over = "exec 3<&0 0</dev/null; LISTEN_FDS=1 LISTEN_PID=$$; export LISTEN_FDS LISTEN_PID; exec \"$@\"";
    let mut command = Command::new("/bin/sh");
    command.args(["-c", hand_over, "sh"]).arg(program);
    // It ends by itself a minute after its last client, should nobody be left to end it.
    command.args(["--foreground", "--info", "--auto-exit", "--config"]).arg(readers);
    // Ctrl-C is for the demo, which ends its pcscd last.
    command.process_group(0).stdin(OwnedFd::from(listener)).stdout(log.try_clone()?).stderr(log);
    let pcscd = command.spawn().context("cannot start a private pcscd")?;
    Ok((pcscd, port, socket))
}

/// Where the private pcscd writes what it does.
pub(super) fn log_file(directory: &Path) -> PathBuf {
    directory.join("pcscd.log")
}

/// pcscd and vpcd's driver.
fn find_parts() -> anyhow::Result<(PathBuf, PathBuf)> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path).chain(SYSTEM_PROGRAMS.map(PathBuf::from));
    let program = directories.map(|directory| directory.join("pcscd")).find(|program| program.is_file());
    let driver = DRIVERS.map(PathBuf::from).into_iter().find(|driver| driver.is_file());
    match (program, driver) {
        (Some(program), Some(driver)) => Ok((program, driver)),
        (program, driver) => {
            let missing = [program.is_none().then_some("pcscd"), driver.is_none().then_some("vsmartcard-vpcd")];
            let missing: Vec<&str> = missing.into_iter().flatten().collect();
            bail!(
                "the PC/SC demo needs pcscd and vsmartcard's virtual readers. Install what is missing:\n  \
                 sudo apt-get install {}",
                missing.join(" ")
            )
        }
    }
}

/// A port that is free together with the next one.
fn two_free_ports() -> Option<u16> {
    // The kernel gives a port from thousands, and its neighbour is rarely taken.
    (0..100).find_map(|_| {
        // vpcd listens on all addresses.
        let first = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
        let port = first.local_addr().ok()?.port();
        TcpListener::bind((Ipv4Addr::UNSPECIFIED, port.checked_add(1)?)).ok().map(|_second| port)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_readers_have_ports_beside_each_other() {
        let pcscd: PrivatePcscd = "4711:24680".parse().unwrap();
        assert_eq!([0, 1].map(|nth| pcscd.reader(nth).unwrap().to_string()), ["127.0.0.1:24680", "127.0.0.1:24681"]);
        for text in ["", "4711", "0:24680", "4711:65536", "-1:1"] {
            assert!(text.parse::<PrivatePcscd>().is_err(), "{text}");
        }
    }
}
