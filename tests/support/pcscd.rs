//! A private pcscd: Debian's, with a socket of its own, readers on a virtual USB bus, and nothing of the machine's.
//!
//! pcscd's socket is compiled in, but it takes one from whoever starts it, as systemd hands it over: descriptor 3 with
//! `LISTEN_FDS` and `LISTEN_PID`. Clients find it by `PCSCLITE_CSOCK_NAME`. Its directory of drivers, its pid file and
//! its view of USB are changed by a preloaded library, `tests/support/ifd/udev.c`; its driver is `ifd.c` beside that.
//! The readers' names are those of libccid's own table, by USB id. Any number of them run side by side.

use encoderd::clock::Deadline;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File, Permissions};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

/// A start or an end of pcscd takes milliseconds; a machine that is busy otherwise gets this long.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the compiled-in socket is named in pcscd's log when it could not take ours.
const HANDED_OVER: &str = "Started by systemd";

/// Waits until something is so.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Deadline::after(PATIENCE);
    while !is_so() {
        assert!(!deadline.has_passed(), "still not: {what}");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

/// What clients find at the socket's path while no pcscd runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meanwhile {
    /// The file, and nobody behind it: connections are refused. What a pcscd that was killed leaves.
    Refused,
    /// No file. What a pcscd that ended in order leaves.
    Absent,
    /// A socket that takes connections and never answers them, until pcscd is there again: systemd's, while it starts it.
    Queued,
}

/// How a pcscd is to be.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wishes {
    /// With vsmartcard's two virtual readers, at a pair of free TCP ports.
    pub vpcd: bool,
    /// As the user `nobody`, if the tests run as root; else as whoever runs them.
    pub nobody: bool,
}

/// A running, or ended, pcscd. Ends with this value; what it said is printed when the test fails.
pub struct Pcscd {
    directory: PathBuf,
    wishes: Wishes,
    vpcd_port: Option<u16>,
    child: Option<Child>,
    /// Kept while connections are to queue.
    listener: Option<UnixListener>,
}

impl Pcscd {
    /// A pcscd whose virtual USB bus is this directory, which may have readers already.
    pub fn start(directory: &Path) -> Self {
        Self::start_as(directory, Wishes::default())
    }

    /// The same with vsmartcard's virtual readers.
    pub fn with_vpcd(directory: &Path) -> Self {
        Self::start_as(directory, Wishes { vpcd: true, ..Wishes::default() })
    }

    /// The same as these wishes have it.
    pub fn start_as(directory: &Path, wishes: Wishes) -> Self {
        fs::create_dir_all(directory.join("sys/bus/usb/devices")).unwrap();
        fs::create_dir_all(directory.join("reader.conf.d")).unwrap();
        fs::create_dir_all(directory.join("run")).unwrap();
        install_drivers(directory);
        if wishes.nobody {
            fs::set_permissions(directory, Permissions::from_mode(0o755)).unwrap();
            fs::set_permissions(directory.join("run"), Permissions::from_mode(0o777)).unwrap();
        }
        let mut pcscd = Self { directory: directory.to_owned(), wishes, vpcd_port: None, child: None, listener: None };
        pcscd.start_again();
        pcscd
    }

    /// The virtual USB bus, and everything else that is this pcscd's.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// What clients have in `PCSCLITE_CSOCK_NAME`.
    pub fn socket(&self) -> PathBuf {
        self.directory.join("pcscd.comm")
    }

    /// The first of vpcd's two ports.
    pub fn vpcd_port(&self) -> u16 {
        self.vpcd_port.expect("this pcscd is without vpcd")
    }

    /// The process, while it runs.
    pub fn pid(&self) -> Pid {
        Pid::from_child(self.child.as_ref().expect("this pcscd does not run"))
    }

    /// All that it said, of every start.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.directory.join("pcscd.log")
    }

    /// A program that is this pcscd's client.
    pub fn client(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env("PCSCLITE_CSOCK_NAME", self.socket()).stdin(Stdio::null());
        command
    }

    /// Starts it at the same path, after it has ended, and waits until it serves clients.
    pub fn start_again(&mut self) {
        assert!(self.child.is_none(), "this pcscd runs");
        let before = self.log().len();
        if self.wishes.vpcd {
            self.configure_vpcd();
        }
        let listener = self.listener.take().unwrap_or_else(|| listen(&self.socket()));
        self.child = Some(self.spawn(listener));
        wait_until("pcscd is ready", || {
            let log = self.log();
            let said = log.get(before..).unwrap_or_default();
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            assert_eq!(ended, None, "pcscd ended at its start: {said}");
            said.contains("daemon ready") && {
                assert!(said.contains(HANDED_OVER), "pcscd took no socket from us: {said}");
                true
            }
        });
    }

    /// Sends SIGTERM and waits for its end.
    pub fn term(&mut self, meanwhile: Meanwhile) -> ExitStatus {
        self.end(Signal::TERM, meanwhile)
    }

    /// Sends SIGKILL and waits for its end.
    pub fn kill(&mut self, meanwhile: Meanwhile) -> ExitStatus {
        self.end(Signal::KILL, meanwhile)
    }

    fn end(&mut self, signal: Signal, meanwhile: Meanwhile) -> ExitStatus {
        if meanwhile == Meanwhile::Queued {
            self.listener = Some(listen(&self.socket()));
        }
        self.signal(signal);
        let mut child = self.child.take().unwrap();
        let mut status = None;
        wait_until("pcscd has ended", || {
            status = child.try_wait().unwrap();
            status.is_some()
        });
        if meanwhile == Meanwhile::Absent {
            fs::remove_file(self.socket()).unwrap();
        }
        status.unwrap()
    }

    /// Sends a signal and waits for nothing, such as `Signal::STOP` for a pcscd that hangs.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    fn spawn(&self, listener: UnixListener) -> Child {
        // Descriptor 3 must be open after exec, which the shell sees to, and LISTEN_PID be pcscd's own, which the shell's is.
        let hand_over = "exec 3<&0 0</dev/null; LISTEN_FDS=1 LISTEN_PID=$$; export LISTEN_FDS LISTEN_PID; exec \"$@\"";
        let log = File::options().create(true).append(true).open(self.log_file()).unwrap();
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", hand_over, "sh"]);
        if self.wishes.nobody && rustix::process::geteuid().is_root() {
            command.args(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]);
        }
        command
            .args(["pcscd", "--foreground", "--info", "--config"])
            .arg(self.directory.join("reader.conf.d"))
            .env_clear()
            .env("PATH", format!("{path}:/usr/sbin:/sbin"))
            .env("VIRTUAL_USB", &self.directory)
            .env("LD_PRELOAD", self.directory.join("drivers/udev.so"))
            .stdin(OwnedFd::from(listener))
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    /// One entry of reader.conf is two readers, at this port and the next; two entries disturb each other.
    fn configure_vpcd(&mut self) {
        let port = *self.vpcd_port.get_or_insert_with(two_free_ports);
        let driver = drivers_of_the_system().join("serial/libifdvpcd.so");
        assert!(driver.exists(), "no {}: `make setup-test` installs vsmartcard-vpcd", driver.display());
        let entry = format!(
            "FRIENDLYNAME \"Virtual PCD\"\nDEVICENAME /dev/null:{port}\nLIBPATH {}\nCHANNELID {port}\n",
            driver.display()
        );
        fs::write(self.directory.join("reader.conf.d/vpcd"), entry).unwrap();
    }
}

impl Drop for Pcscd {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ended_already = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            say(&format!("--- pcscd in {} said:\n{}---", self.directory.display(), self.log()));
        }
    }
}

#[expect(clippy::print_stderr, reason = "beside the words of the test that failed")]
fn say(text: &str) {
    eprintln!("{text}");
}

/// A socket that anybody may connect to, as pcscd's own is.
fn listen(path: &Path) -> UnixListener {
    let _there_may_be_none = fs::remove_file(path);
    let listener = UnixListener::bind(path).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o777)).unwrap();
    listener
}

/// Where this machine's pcscd has its drivers.
fn drivers_of_the_system() -> &'static Path {
    static DRIVERS: OnceLock<PathBuf> = OnceLock::new();
    DRIVERS.get_or_init(|| {
        let asked = Command::new("pkg-config").args(["--variable=usbdropdir", "libpcsclite"]).output().unwrap();
        PathBuf::from(String::from_utf8(asked.stdout).unwrap().trim())
    })
}

/// The bus's own directory of drivers: libccid's table of readers with our driver in libccid's place, and the system's
/// drivers for reader.conf. Copies, so that another user can read them wherever the build is.
fn install_drivers(directory: &Path) {
    let (drivers, bundle) = (directory.join("drivers"), directory.join("drivers/ifd-ccid.bundle/Contents"));
    if drivers.exists() {
        return;
    }
    let table = drivers_of_the_system().join("ifd-ccid.bundle/Contents/Info.plist");
    assert!(table.exists(), "no {}: `make setup-test` installs pcscd with libccid", table.display());
    fs::create_dir_all(bundle.join("Linux")).unwrap();
    symlink(table, bundle.join("Info.plist")).unwrap();
    symlink(drivers_of_the_system().join("serial"), drivers.join("serial")).unwrap();
    fs::copy(compiled().join("ifd.so"), bundle.join("Linux/libccid.so")).unwrap();
    fs::copy(compiled().join("udev.so"), drivers.join("udev.so")).unwrap();
}

/// The folder with the compiled libraries; its name is made of their sources, so that a change makes another one.
fn compiled() -> &'static Path {
    static COMPILED: OnceLock<PathBuf> = OnceLock::new();
    COMPILED.get_or_init(|| {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/ifd");
        let mut hasher = DefaultHasher::new();
        for file in ["wire.h", "ifd.c", "udev.c"] {
            fs::read(sources.join(file)).unwrap().hash(&mut hasher);
        }
        let made = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("ifd/{:016x}", hasher.finish()));
        fs::create_dir_all(&made).unwrap();
        for name in ["ifd", "udev"] {
            let library = made.join(name).with_extension("so");
            if !library.exists() {
                compile(&sources.join(name).with_extension("c"), &library);
            }
        }
        made
    })
}

/// Under another name first: other tests may do the same at this moment.
fn compile(source: &Path, library: &Path) {
    let unfinished = library.with_extension(format!("{}.so", std::process::id()));
    let headers = Command::new("pkg-config").args(["--cflags", "libpcsclite"]).output().unwrap();
    let made = Command::new("cc")
        .args(["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Werror"])
        .args(["-O1", "-g", "-fPIC", "-shared"])
        .args(String::from_utf8(headers.stdout).unwrap().split_whitespace())
        .arg(source)
        .arg("-o")
        .arg(&unfinished)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    fs::rename(unfinished, library).unwrap();
}

/// A port that is free together with the next one. Below the ports that the kernel gives to whoever asks for any, and
/// from another place in each process, so that tests that run at the same time do not choose the same.
fn two_free_ports() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    const FIRST: u16 = 20_000;
    const PAIRS: u32 = 6_000;
    for _ in 0..PAIRS {
        let pair = (std::process::id() * 37 + u32::from(NEXT.fetch_add(1, Ordering::Relaxed))) % PAIRS;
        let port = FIRST + u16::try_from(pair * 2).unwrap();
        // vpcd listens on all addresses.
        if [port, port + 1].iter().all(|port| TcpListener::bind(("0.0.0.0", *port)).is_ok()) {
            return port;
        }
    }
    panic!("no two free ports beside each other");
}
