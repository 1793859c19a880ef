//! `encoderd emulate pcsc` as a program of its own: a virtual PC/SC reader for a private pcscd.

use crate::pcscd::Pcscd;
use encoderd::clock::Deadline;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// For an answer on the control socket, or the first line: a matter of milliseconds on an idle machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// After which it is killed.
const PATIENCE_AT_ITS_END: Duration = Duration::from_secs(2);

/// A running emulator. Unplugged, and gone, with this value.
pub struct VirtualReader {
    child: Child,
    directory: PathBuf,
    control: PathBuf,
}

impl VirtualReader {
    /// A reader that is plugged into this port of the virtual USB bus.
    pub fn plug(bus: &Path, usb_port: &str, options: &[&str]) -> Self {
        let mut command = Self::command(bus, usb_port);
        command.arg("--bus").arg(bus).args(["--usb-port", usb_port]).args(options);
        Self::start(command, bus, usb_port)
    }

    /// A card behind the first of a pcscd's vpcd readers; it is told from others by this name.
    pub fn behind_vpcd(pcscd: &Pcscd, name: &str, options: &[&str]) -> Self {
        let directory = pcscd.directory();
        let mut command = Self::command(directory, name);
        command.arg("--vpcd").arg(format!("127.0.0.1:{}", pcscd.vpcd_port())).args(options);
        Self::start(command, directory, name)
    }

    /// Its sockets are open to everybody, so that a pcscd that runs as another user can connect.
    fn command(directory: &Path, name: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "umask 0; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_encoderd"), "emulate", "pcsc"]);
        command.arg("--control").arg(Self::control_of(directory, name));
        command
    }

    fn control_of(directory: &Path, name: &str) -> PathBuf {
        directory.join(format!("control-{name}"))
    }

    fn start(mut command: Command, directory: &Path, name: &str) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        stdout.read_line(&mut first).unwrap();
        assert!(!first.is_empty(), "the emulator ended at once");
        // It prints a line each time that it is plugged in again, which nobody has to read, but somebody has to take.
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).for_each(drop));
        Self { child, directory: directory.to_owned(), control: Self::control_of(directory, name) }
    }

    /// One command on its control socket, which must succeed; what it answers after `ok`.
    pub fn control(&self, line: &str) -> String {
        let mut stream = UnixStream::connect(&self.control).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        writeln!(stream, "{line}").unwrap();
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).unwrap();
        let answer = answer.trim_end();
        answer.strip_prefix("ok").unwrap_or_else(|| panic!("{line}: {answer}")).trim_start().to_owned()
    }

    /// The card's memory.
    pub fn dump(&self) -> Vec<u8> {
        let file = self.directory.join("card.bin");
        self.control(&format!("dump {}", file.display()));
        std::fs::read(file).unwrap()
    }
}

impl Drop for VirtualReader {
    /// In order, so that it unplugs itself; never without an end, whatever state it is in.
    fn drop(&mut self) {
        let _ended_already = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let deadline = Deadline::after(PATIENCE_AT_ITS_END);
        while matches!(self.child.try_wait(), Ok(None)) && !deadline.has_passed() {
            std::thread::park_timeout(Duration::from_millis(1));
        }
        let _ended_already = self.child.kill();
        let _ = self.child.wait();
    }
}
