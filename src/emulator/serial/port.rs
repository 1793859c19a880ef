//! The pty that stands for a serial port.
//!
//! What a pty does not do, and where it is made up for:
//!
//! | a real port | a pty | here |
//! | --- | --- | --- |
//! | has a line speed | carries bytes at any speed | [`Chunk::baud`] and [`Port::host_baud`] tell the host's; the emulator garbles what does not match |
//! | stays when a program closes it | hangs up its other end | the slave stays open here |
//! | is free again when its holder is killed | stays exclusive while any descriptor is open | [`Port::read`] lifts the lock at each close |
//! | loses what nobody reads | piles it up, then blocks | [`Port::send`] drops what does not fit |

use super::link::Link;
use crate::emulator::EmulatorError;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::fs::{Mode, fchmod};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, ioctl_tiocnxcl, tcgetattr, tcsetattr};
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// What one read takes. A pty hands out at most 4096 bytes at a time.
const READ_BYTES_MAX: usize = 4096;

/// What is kept for a program that does not read. A real port keeps 4095 bytes (Linux `drivers/tty/n_tty.c`,
/// `N_TTY_BUF_SIZE`) and loses the rest; a pty piles up 64 KiB more, which no flush reaches. Half of it, because the
/// kernel counts bytes a moment after they are written.
const UNREAD_BYTES_MAX: u64 = 2048;

/// An open pty with its link.
pub(super) struct Port {
    /// Dropped before the pty, so that the link never leads nowhere.
    _link: Option<Link>,
    master: AsyncFd<OwnedFd>,
    /// Kept open: without it a client's close would hang up the master.
    slave: OwnedFd,
    /// Wakes when a client closes the pty. `None` where the system's watches are used up.
    closes: Option<AsyncFd<OwnedFd>>,
    path: PathBuf,
}

/// Bytes from the host and the speed it had set when they were read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) bytes: Vec<u8>,
    pub(super) baud: u32,
}

impl Port {
    /// Opens a pty as a serial port looks after power-up: raw, at `baud`, for this user alone.
    pub(super) fn open(baud: u32, link: Option<&Path>) -> Result<Self, EmulatorError> {
        let (master, slave, path) = open_pty(baud).map_err(EmulatorError::Pty)?;
        let closes = watch_closes(&path).ok();
        let master = register(master).map_err(EmulatorError::Pty)?;
        let link = link.map(|link| Link::make(link, &path)).transpose()?;
        Ok(Self { _link: link, master, slave, closes, path })
    }

    /// The path that a client opens.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for bytes from the host. Safe to cancel.
    pub(super) async fn read(&self) -> io::Result<Chunk> {
        loop {
            tokio::select! {
                ready = self.master.readable() => {
                    if let Ok(chunk) = ready?.try_io(|master| self.read_now(master.get_ref())) {
                        return chunk;
                    }
                }
                closed = closed(self.closes.as_ref()) => {
                    closed?;
                    // A holder that was killed has left TIOCEXCL behind, which would shut everybody else out.
                    ioctl_tiocnxcl(&self.slave)?;
                }
            }
        }
    }

    fn read_now(&self, master: &OwnedFd) -> io::Result<Chunk> {
        let mut bytes = vec![0; READ_BYTES_MAX];
        let len = rustix::io::read(master, &mut bytes)?;
        bytes.truncate(len);
        Ok(Chunk { bytes, baud: self.host_baud()? })
    }

    /// The line speed that the host has set, in bits a second.
    pub(super) fn host_baud(&self) -> io::Result<u32> {
        Ok(tcgetattr(&self.slave)?.output_speed())
    }

    /// Sends as much as a tty keeps for its program; the rest is lost.
    pub(super) fn send(&self, bytes: &[u8]) {
        let unread = rustix::io::ioctl_fionread(&self.slave).unwrap_or_default();
        let room = usize::try_from(UNREAD_BYTES_MAX.saturating_sub(unread)).unwrap_or_default();
        let mut rest = bytes.get(..room).unwrap_or(bytes);
        while !rest.is_empty() {
            match rustix::io::write(self.master.get_ref(), rest) {
                Ok(0) => break,
                Ok(len) => rest = rest.get(len..).unwrap_or_default(),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => {
                    tracing::debug!(%error, bytes = rest.len(), "nobody reads: bytes dropped");
                    break;
                }
            }
        }
    }
}

fn open_pty(baud: u32) -> io::Result<(OwnedFd, OwnedFd, PathBuf)> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    rustix::io::ioctl_fionbio(&master, true)?;
    let path = PathBuf::from(OsString::from_vec(ptsname(&master, Vec::new())?.into_bytes()));
    let slave =
        rustix::pty::ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    fchmod(&slave, Mode::RUSR | Mode::WUSR)?;
    let mut termios = tcgetattr(&slave)?;
    termios.make_raw();
    termios.set_speed(baud)?;
    tcsetattr(&slave, OptionalActions::Now, &termios)?;
    Ok((master, slave, path))
}

fn watch_closes(path: &Path) -> io::Result<AsyncFd<OwnedFd>> {
    let watch = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
    inotify::add_watch(&watch, path, WatchFlags::CLOSE_WRITE | WatchFlags::CLOSE_NOWRITE)?;
    register(watch)
}

/// Hands a descriptor to the runtime.
#[expect(
    deprecated,
    reason = "its successor is `unsafe` for the sake of types that do not own what they show; an OwnedFd meets its terms"
)]
fn register(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // Writes never wait, so that room to write is no news.
    AsyncFd::with_interest(fd, Interest::READABLE)
}

/// Waits until somebody has closed the pty; without a watch for ever.
async fn closed(closes: Option<&AsyncFd<OwnedFd>>) -> io::Result<()> {
    let Some(closes) = closes else { return std::future::pending().await };
    loop {
        // Which events these are does not matter, so the buffer only has to hold some: an event is 16 bytes and a name.
        let mut events = [0; 4096];
        let read = |fd: &AsyncFd<OwnedFd>| Ok(rustix::io::read(fd.get_ref(), &mut events)?);
        if let Ok(events) = closes.readable().await?.try_io(read) {
            let _len: usize = events?;
            return Ok(());
        }
    }
}
