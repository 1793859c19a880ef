//! Says when it is time to look at the ports again: the kernel tells of nodes that come and go, and of the machine waking
//! up. Nothing is polled but for one slow look, in case something was missed.

use crate::clock;
use crate::config::Config;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// How often is looked without a reason.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// The same where the system's watches are used up.
const LOOK_EVERY_UNWATCHED: Duration = Duration::from_secs(1);

/// One plugging in makes a node, gives it to its group and makes links to it, within milliseconds.
const SETTLES_IN: Duration = Duration::from_millis(30);

/// Watches the directories in which nodes of serial ports, and links to them, appear.
#[derive(Debug)]
pub struct Watcher {
    changes: Option<AsyncFd<OwnedFd>>,
    steps: Option<AsyncFd<OwnedFd>>,
    directories: BTreeSet<PathBuf>,
    /// Names whose coming and going matters; those of nodes that begin with `tty` do anyway.
    names: BTreeSet<OsString>,
    /// Something was told, and nobody has been told of it.
    is_told: bool,
}

impl Watcher {
    /// Watches `dev` and the directories of configured paths.
    pub fn new(dev: &Path, config: &Config) -> Self {
        let paths = || config.serial.iter().filter_map(|port| port.at.path());
        let parents = paths().filter_map(Path::parent).map(Path::to_path_buf);
        let names = paths().flat_map(Path::components).map(|part| part.as_os_str().to_owned());
        let changes = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).map_err(io::Error::from);
        let changes = changes.and_then(register).inspect_err(|error| {
            tracing::warn!(%error, "cannot watch /dev: ports are listed every second instead");
        });
        let mut watcher = Self {
            changes: changes.ok(),
            steps: clock::steps().and_then(register).ok(),
            directories: parents.chain([dev.to_path_buf()]).collect(),
            names: names.collect(),
            is_told: false,
        };
        watcher.watch();
        watcher
    }

    /// Waits until it is time to look. Safe to cancel: what has happened meanwhile is told by the next call.
    pub async fn wait(&mut self) {
        let pause = if self.changes.is_some() { LOOK_EVERY } else { LOOK_EVERY_UNWATCHED };
        if !self.is_told {
            self.is_told = tokio::select! {
                () = changed(self.changes.as_ref(), &self.names) => true,
                () = stepped(self.steps.as_ref()) => true,
                () = tokio::time::sleep(pause) => false,
            };
        }
        if self.is_told {
            tokio::time::sleep(SETTLES_IN).await;
        }
        self.is_told = false;
        self.watch();
    }

    /// Watches the directories, or what is there of the way to them. Watching twice is watching once.
    fn watch(&mut self) {
        let Some(changes) = &self.changes else { return };
        let events = WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::ATTRIB
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        let watched = self
            .directories
            .iter()
            .all(|directory| directory.ancestors().any(|there| inotify::add_watch(changes, there, events).is_ok()));
        if !watched {
            tracing::warn!("the system's watches are used up: ports are listed every second");
            self.changes = None;
        }
    }
}

async fn changed(changes: Option<&AsyncFd<OwnedFd>>, names: &BTreeSet<OsString>) {
    let Some(changes) = changes else { return std::future::pending().await };
    loop {
        let Ok(mut ready) = changes.readable().await else { return std::future::pending().await };
        if let Ok(Ok(true)) = ready.try_io(|fd| told(fd.get_ref(), names)) {
            return;
        }
    }
}

/// Takes what the kernel tells; whether it matters.
fn told(fd: &OwnedFd, names: &BTreeSet<OsString>) -> io::Result<bool> {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut reader = inotify::Reader::new(fd, &mut buffer);
    let mut matters = false;
    loop {
        match reader.next() {
            Ok(event) => {
                matters |= event.events().intersects(ReadFlags::QUEUE_OVERFLOW | ReadFlags::IGNORED)
                    || event.file_name().is_none_or(|name| {
                        let name = std::ffi::OsStr::from_bytes(name.to_bytes());
                        name.as_bytes().starts_with(b"tty") || names.contains(name)
                    });
            }
            Err(rustix::io::Errno::AGAIN) if matters => return Ok(true),
            Err(error) => return Err(error.into()),
        }
    }
}

async fn stepped(steps: Option<&AsyncFd<OwnedFd>>) {
    let Some(steps) = steps else { return std::future::pending().await };
    loop {
        let Ok(mut ready) = steps.readable().await else { return std::future::pending().await };
        let taken = ready.try_io(|fd| {
            let mut count = [0; 8];
            match rustix::io::read(fd.get_ref(), &mut count) {
                Ok(_) | Err(rustix::io::Errno::CANCELED) => clock::rearm_steps(fd.get_ref()),
                Err(error) => Err(error.into()),
            }
        });
        match taken {
            Ok(Ok(())) => return,
            Ok(Err(_)) => return std::future::pending().await,
            Err(_not_yet) => {}
        }
    }
}

/// Hands a descriptor to the runtime.
#[expect(
    deprecated,
    reason = "its successor is `unsafe` for the sake of types that do not own what they show; an OwnedFd meets its terms"
)]
fn register(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, Interest::READABLE)
}
