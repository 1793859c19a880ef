//! Serial ports over tokio-serial, wrapped so that what bites elsewhere cannot be met elsewhere.
//!
//! Measured on Linux with serialport 4.10 and tokio-serial 5.5:
//!
//! - After a hang-up a read gives `Ok(0)` at once and for ever, a write EIO. Both are [`Gone`] here.
//! - `poll_flush` calls tcdrain inside the poll, which can block a runtime thread. Nothing here flushes or shuts down.
//! - Bytes that arrived while the port was closed are delivered after it is opened: the input is discarded then.
//! - "Busy" and "absent" are the same error kind: the node is looked at to tell them apart.
//! - `close` can block while a device does not take its bytes: the output is discarded first, and the port is closed
//!   on a thread for blocking work.

use super::{Gone, Line, WRITE_BOUND};
use futures_util::FutureExt as _;
use serialport::{ClearBuffer, SerialPort};
use std::path::{Path, PathBuf};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;
use tokio_serial::{SerialPortBuilderExt, SerialStream};

/// Why a port cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// There is no such node.
    #[error("{0} is not there: plug the encoder in, or correct its path")]
    NotFound(PathBuf),
    /// Another program has it.
    #[error("{path} is in use by another program{holder}: close that program", holder = holder_text(.holders))]
    Busy {
        /// The port.
        path: PathBuf,
        /// Who, as far as /proc tells.
        holders: Vec<String>,
    },
    /// The user that encoderd runs as may not open it.
    #[error("no permission to open {0}: let the user of encoderd into the node's group, dialout on Debian")]
    PermissionDenied(PathBuf),
    /// The node is there, but it is no serial port or does not take these settings.
    #[error("{path} cannot be opened as a serial port: {problem}")]
    NotASerialPort {
        /// The port.
        path: PathBuf,
        /// What the system said.
        problem: String,
    },
}

fn holder_text(holders: &[String]) -> String {
    if holders.is_empty() { String::new() } else { format!(" ({})", holders.join(", ")) }
}

/// An open serial port.
#[derive(Debug)]
pub struct SerialLine {
    stream: Option<Stream>,
}

#[derive(Debug)]
enum Stream {
    Tty(SerialStream),
    Memory(DuplexStream),
}

/// Where ports are opened.
#[derive(Clone, Debug, Default)]
pub enum Ports {
    /// In the system.
    #[default]
    System,
    /// In memory, for tests of all that stands on ports in simulated time: with each open the far end of a line goes out
    /// with the path that was opened.
    Memory(mpsc::Sender<(PathBuf, DuplexStream)>),
}

/// What a line in memory holds: as much as a tty.
const MEMORY_BYTES_MAX: usize = 4096;

impl Ports {
    /// Opens a port, as [`SerialLine::open`].
    pub async fn open(&self, path: &Path, baud: u32) -> Result<SerialLine, OpenError> {
        match self {
            Self::System => SerialLine::open(path, baud).await,
            Self::Memory(ends) => {
                let (near, far) = tokio::io::duplex(MEMORY_BYTES_MAX);
                let gone = || OpenError::NotFound(path.to_path_buf());
                ends.send((path.to_path_buf(), far)).await.map_err(|_| gone())?;
                Ok(SerialLine { stream: Some(Stream::Memory(near)) })
            }
        }
    }
}

impl SerialLine {
    /// Opens a port: 8N1, no flow control, exclusive, with what had arrived before thrown away.
    pub async fn open(path: &Path, baud: u32) -> Result<Self, OpenError> {
        let owned = path.to_path_buf();
        // open(2) of a serial port may block on carrier, so it has a thread of its own.
        tokio::task::spawn_blocking(move || open_blocking(&owned, baud)).await.unwrap_or_else(|_| {
            Err(OpenError::NotASerialPort { path: path.to_path_buf(), problem: "opening it failed".into() })
        })
    }
}

fn open_blocking(path: &Path, baud: u32) -> Result<SerialLine, OpenError> {
    let stream =
        serialport::new(path.to_string_lossy(), baud).open_native_async().map_err(|error| classify(path, &error))?;
    // A pty or an odd UART may not support it; then there is nothing to throw away either.
    let _unsupported = stream.clear(ClearBuffer::All);
    Ok(SerialLine { stream: Some(Stream::Tty(stream)) })
}

fn classify(path: &Path, error: &serialport::Error) -> OpenError {
    let path = path.to_path_buf();
    if !path.exists() {
        return OpenError::NotFound(path);
    }
    let access = rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK;
    if rustix::fs::access(&path, access) == Err(rustix::io::Errno::ACCESS) {
        return OpenError::PermissionDenied(path);
    }
    let text = error.to_string();
    if text.contains("exclusive lock") || text.contains("resource busy") {
        return OpenError::Busy { holders: holders(&path), path };
    }
    OpenError::NotASerialPort { path, problem: text }
}

/// The programs that have a port open, as `name (pid N)`; only those that this user may look at.
pub fn holders(path: &Path) -> Vec<String> {
    let Ok(port) = path.canonicalize() else { return Vec::new() };
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    let own = std::process::id().to_string();
    processes
        .flatten()
        .filter(|process| process.file_name().to_string_lossy() != own)
        .filter(|process| {
            std::fs::read_dir(process.path().join("fd")).is_ok_and(|mut fds| {
                fds.any(|fd| fd.is_ok_and(|fd| std::fs::read_link(fd.path()).is_ok_and(|to| to == port)))
            })
        })
        .map(|process| {
            let name = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            format!("{} (pid {})", name.trim(), process.file_name().to_string_lossy())
        })
        .collect()
}

impl Line for SerialLine {
    async fn write(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        let written = match self.stream.as_mut().ok_or(Gone)? {
            Stream::Tty(stream) => tokio::time::timeout(WRITE_BOUND, stream.write_all(bytes)).await,
            Stream::Memory(stream) => tokio::time::timeout(WRITE_BOUND, stream.write_all(bytes)).await,
        };
        match written {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Gone),
        }
    }

    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Gone> {
        let read = match self.stream.as_mut().ok_or(Gone)? {
            Stream::Tty(stream) => stream.read(buffer).await,
            Stream::Memory(stream) => stream.read(buffer).await,
        };
        match read {
            Ok(0) | Err(_) => Err(Gone),
            Ok(read) => Ok(read),
        }
    }

    fn set_baud(&mut self, baud: u32) -> Result<(), Gone> {
        match self.stream.as_mut().ok_or(Gone)? {
            Stream::Tty(stream) => stream.set_baud_rate(baud).map_err(|_| Gone),
            Stream::Memory(_) => Ok(()),
        }
    }

    fn discard_input(&mut self) -> Result<(), Gone> {
        match self.stream.as_mut().ok_or(Gone)? {
            Stream::Tty(stream) => stream.clear(ClearBuffer::Input).map_err(|_| Gone),
            Stream::Memory(stream) => {
                let mut past = [0; MEMORY_BYTES_MAX];
                while let Some(Ok(1..)) = stream.read(&mut past).now_or_never() {}
                Ok(())
            }
        }
    }
}

impl Drop for SerialLine {
    fn drop(&mut self) {
        let Some(Stream::Tty(stream)) = self.stream.take() else { return };
        let _gone = stream.clear(ClearBuffer::Output);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            // Not awaited: a close that hangs must not hold up the device's task.
            drop(runtime.spawn_blocking(move || drop(stream)));
        }
    }
}
