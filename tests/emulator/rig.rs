//! An emulator that runs as a program, and a host that talks to it byte by byte.

use encoderd::clock::Deadline;
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::{OptionalActions, SpecialCodeIndex, tcgetattr, tcsetattr};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;
use tempfile::TempDir;

/// Everything here is a matter of milliseconds; a machine that is busy otherwise gets this long.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The program under test with these arguments.
pub fn encoderd(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_encoderd"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Waits until something is so.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Deadline::after(PATIENCE);
    while !is_so() {
        assert!(!deadline.has_passed(), "still not: {what}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// A running emulator with its control socket, and its link or bus, in a directory of its own.
pub struct Rig {
    pub dir: TempDir,
    child: Child,
    paths: Receiver<PathBuf>,
    /// The first that it prints: the pty's path, vpcd's address, or the socket on the bus.
    pub path: PathBuf,
}

impl Rig {
    /// Starts an emulated PN532 and waits for its pty.
    pub fn start(arguments: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), arguments)
    }

    /// The same in a directory in which others ran before.
    pub fn start_in(dir: TempDir, arguments: &[&str]) -> Self {
        let mut command = encoderd(&["emulate", "pn532"]);
        command.arg("--link").arg(dir.path().join("encoder"));
        Self::run(dir, command.args(arguments))
    }

    /// Starts a PC/SC reader on a virtual bus of its own.
    pub fn on_bus(arguments: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let bus = dir.path().join("bus");
        Self::on_this_bus(dir, &bus, arguments)
    }

    /// The same on a bus on which others are or were.
    pub fn on_this_bus(dir: TempDir, bus: &Path, arguments: &[&str]) -> Self {
        let mut command = encoderd(&["emulate", "pcsc"]);
        Self::run(dir, command.arg("--bus").arg(bus).args(arguments))
    }

    /// Starts a card behind vpcd at this port.
    pub fn behind_vpcd(port: u16, arguments: &[&str]) -> Self {
        let mut command = encoderd(&["emulate", "pcsc", "--vpcd"]);
        command.arg(format!("127.0.0.1:{port}"));
        Self::run(tempfile::tempdir().unwrap(), command.args(arguments))
    }

    fn run(dir: TempDir, command: &mut Command) -> Self {
        command.arg("--control").arg(dir.path().join("control"));
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (send, paths) = sync_channel(16);
        std::thread::spawn(move || {
            for line in stdout.lines() {
                send.send(PathBuf::from(line.unwrap())).unwrap();
            }
        });
        let path = paths.recv_timeout(PATIENCE).expect("no path on stdout");
        Self { dir, child, paths, path }
    }

    pub fn link(&self) -> PathBuf {
        self.dir.path().join("encoder")
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("control")
    }

    /// The next path that it prints.
    pub fn next_path(&self) -> PathBuf {
        self.paths.recv_timeout(PATIENCE).expect("no further path on stdout")
    }

    /// Whether it has printed another path.
    pub fn has_next_path(&self) -> bool {
        self.paths.try_recv().is_ok()
    }

    /// One command over a connection of its own.
    pub fn control(&self, line: &str) -> String {
        Client::connect(&self.socket()).ask(line)
    }

    /// One command that must succeed; the rest of its answer.
    pub fn ok(&self, line: &str) -> String {
        let answer = self.control(line);
        answer.strip_prefix("ok").unwrap_or_else(|| panic!("{line}: {answer}")).trim_start().to_owned()
    }

    pub fn stats(&self) -> serde_json::Value {
        serde_json::from_str(&self.control("stats")).unwrap()
    }

    pub fn stat(&self, name: &str) -> u64 {
        self.stats()[name].as_u64().unwrap()
    }

    /// The memory of the card, through `dump`.
    pub fn memory(&self) -> Vec<u8> {
        let file = self.dir.path().join("memory.mfd");
        self.ok(&format!("dump {}", file.display()));
        std::fs::read(file).unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its end. The directory stays with what it left.
    pub fn ended(mut self) -> (ExitStatus, TempDir) {
        let mut status = None;
        wait_until("the emulator has ended", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        let dir = std::mem::replace(&mut self.dir, tempfile::tempdir().unwrap());
        (status.unwrap(), dir)
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client of the control socket.
pub struct Client(BufReader<UnixStream>);

impl Client {
    pub fn connect(path: &Path) -> Self {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(BufReader::new(stream))
    }

    pub fn send(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }

    pub fn answer(&mut self) -> String {
        let mut answer = String::new();
        self.0.read_line(&mut answer).unwrap();
        assert!(answer.ends_with('\n'), "no whole line: {answer:?}");
        answer.trim_end().to_owned()
    }

    pub fn ask(&mut self, line: &str) -> String {
        self.send(&format!("{line}\n"));
        self.answer()
    }
}

/// The host's side of the line.
pub struct Host(OwnedFd);

impl Host {
    /// Opens the port as a serial program does: raw, at this speed.
    pub fn open(path: &Path, baud: u32) -> Self {
        let port = rustix::fs::open(path, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        let mut termios = tcgetattr(&port).unwrap();
        termios.make_raw();
        termios.set_speed(baud).unwrap();
        // A read returns what is there, or nothing after a tenth of a second.
        termios.special_codes[SpecialCodeIndex::VMIN] = 0;
        termios.special_codes[SpecialCodeIndex::VTIME] = 1;
        tcsetattr(&port, OptionalActions::Flush, &termios).unwrap();
        Self(port)
    }

    pub fn set_baud(&self, baud: u32) {
        let mut termios = tcgetattr(&self.0).unwrap();
        termios.set_speed(baud).unwrap();
        tcsetattr(&self.0, OptionalActions::Now, &termios).unwrap();
    }

    pub fn send(&self, bytes: &[u8]) {
        assert_eq!(rustix::io::write(&self.0, bytes).unwrap(), bytes.len());
    }

    /// Exactly this many bytes.
    pub fn read(&self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        wait_until(&format!("{len} bytes"), || {
            let mut buffer = vec![0; len - bytes.len()];
            let have = rustix::io::read(&self.0, &mut buffer).unwrap();
            bytes.extend_from_slice(&buffer[..have]);
            bytes.len() == len
        });
        bytes
    }

    pub fn expect(&self, bytes: &[u8]) {
        let read = self.read(bytes.len());
        assert_eq!(read, bytes, "\nread {read:02x?}\nnot  {bytes:02x?}");
    }

    /// Sends a command and reads the acknowledgement and this answer.
    pub fn exchange(&self, command: &[u8], answer: &[u8]) {
        self.send(command);
        self.expect(&crate::frames::ACK);
        self.expect(answer);
    }

    pub fn is_hung_up(&self) -> bool {
        tcgetattr(&self.0).is_err_and(|error| error == rustix::io::Errno::IO)
    }

    pub fn exclusive(&self) {
        rustix::termios::ioctl_tiocexcl(&self.0).unwrap();
    }
}

/// Runs a program to its end, with a bound.
pub fn run(command: &mut Command) -> Output {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let read = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        stdout.read_to_end(&mut bytes).unwrap();
        bytes
    });
    let errors = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        stderr.read_to_end(&mut bytes).unwrap();
        bytes
    });
    let deadline = Deadline::after(PATIENCE);
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if deadline.has_passed() {
            child.kill().unwrap();
            let status = child.wait().unwrap();
            panic!("{command:?} hangs ({status}): {}", String::from_utf8_lossy(&read.join().unwrap()));
        }
        std::thread::park_timeout(Duration::from_millis(2));
    };
    Output { status, stdout: read.join().unwrap(), stderr: errors.join().unwrap() }
}
