//! As much of systemd as the daemon sees of it: a socket that hears what it says, a store that keeps its sockets, and
//! starts that hand them back.
#![allow(dead_code, reason = "each test binary uses its part")]

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::io::{IoSliceMut, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The service manager of one service.
pub struct Manager {
    directory: PathBuf,
    heard: Arc<Mutex<Heard>>,
    service: Option<Child>,
    /// What the service gets besides, such as `WATCHDOG_USEC`.
    pub environment: Vec<(String, String)>,
    /// Whether it has a store. Debian's default is that a service has none.
    pub keeps: bool,
}

#[derive(Default)]
struct Heard {
    lines: Vec<String>,
    store: Vec<(String, OwnedFd)>,
}

impl Manager {
    /// Listens below this directory.
    pub fn new(directory: &Path) -> Self {
        let socket = UnixDatagram::bind(directory.join("notify")).unwrap();
        let heard = Arc::new(Mutex::new(Heard::default()));
        let hears = heard.clone();
        std::thread::spawn(move || {
            while let Some((text, sockets)) = receive(&socket) {
                let mut heard = hears.lock().unwrap();
                let name = text.lines().find_map(|line| line.strip_prefix("FDNAME=")).unwrap_or("stored").to_owned();
                if text.lines().any(|line| line == "FDSTOREREMOVE=1") {
                    heard.store.retain(|(kept, _)| *kept != name);
                } else {
                    heard.store.extend(sockets.into_iter().map(|socket| (name.clone(), socket)));
                }
                heard.lines.extend(text.lines().map(str::to_owned));
            }
        });
        Self { directory: directory.to_path_buf(), heard, service: None, environment: Vec::new(), keeps: true }
    }

    /// Starts the service, with what is in the store.
    pub fn start(&mut self, program: &str, arguments: &[&str]) {
        let log = File::options().create(true).append(true).open(self.directory.join("service.log")).unwrap();
        let kept = self.heard.lock().unwrap().store.iter().map(|(_, socket)| socket.try_clone().unwrap()).next();
        // The descriptor comes as the standard input and is put where the protocol wants it.
        let (stdin, script) = match kept.filter(|_| self.keeps) {
            Some(socket) => (
                Stdio::from(socket),
                "exec 3<&0 0</dev/null; LISTEN_FDS=1 LISTEN_FDNAMES=hub LISTEN_PID=$$ exec \"$@\"",
            ),
            None => (Stdio::null(), "exec \"$@\""),
        };
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh", program]).args(arguments).stdin(stdin).stderr(log);
        command.env("NOTIFY_SOCKET", self.directory.join("notify"));
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        self.service = Some(command.spawn().unwrap());
    }

    fn pid(&self) -> Pid {
        Pid::from_child(self.service.as_ref().expect("the service runs"))
    }

    /// Asks the service to read its configuration again.
    pub fn reload(&self) {
        kill_process(self.pid(), Signal::HUP).unwrap();
    }

    /// Ends the service in order; how it ended.
    pub fn stop(&mut self) -> Option<i32> {
        kill_process(self.pid(), Signal::TERM).unwrap();
        let ended = self.service.take().unwrap().wait().unwrap();
        if !self.keeps {
            self.heard.lock().unwrap().store.clear();
        }
        ended.code()
    }

    /// What the service has said, from this line on.
    pub fn heard(&self, from: usize) -> Vec<String> {
        self.heard.lock().unwrap().lines.iter().skip(from).cloned().collect()
    }

    /// How many lines it has said.
    pub fn lines(&self) -> usize {
        self.heard.lock().unwrap().lines.len()
    }

    /// The names of what is kept.
    pub fn kept(&self) -> Vec<String> {
        self.heard.lock().unwrap().store.iter().map(|(name, _)| name.clone()).collect()
    }

    /// Waits until the service has said this, behind the first `from` lines.
    pub fn wait_for(&mut self, what: &str, from: usize, is_it: impl Fn(&str) -> bool) -> String {
        let patience = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(line) = self.heard(from).into_iter().find(|line| is_it(line)) {
                return line;
            }
            let ended = self.service.as_mut().and_then(|service| service.try_wait().unwrap());
            assert!(ended.is_none(), "the service ended: {ended:?}\n{}", self.log());
            assert!(Instant::now() < patience, "no {what} in {:?}\n{}", self.heard(from), self.log());
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// Waits until the service is ready, behind the first `from` lines.
    pub fn wait_until_ready(&mut self, from: usize) {
        self.wait_for("READY=1", from, |line| line == "READY=1");
    }

    /// The service's log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("service.log")).unwrap_or_default()
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        if let Some(mut service) = self.service.take() {
            let _ended_already = service.kill();
            let _reaped = service.wait();
        }
        if std::thread::panicking() {
            let _nobody_reads = writeln!(std::io::stderr(), "--- the service's log ---\n{}", self.log());
        }
    }
}

fn receive(socket: &UnixDatagram) -> Option<(String, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut text = vec![0; 4096];
    let received = recvmsg(socket, &mut [IoSliceMut::new(&mut text)], &mut control, RecvFlags::CMSG_CLOEXEC).ok()?;
    let sockets = control
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(sockets) => Some(sockets.collect::<Vec<_>>()),
            _ => None,
        })
        .flatten()
        .collect();
    text.truncate(received.bytes);
    Some((String::from_utf8(text).ok()?, sockets))
}
