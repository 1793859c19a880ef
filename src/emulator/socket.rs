//! The control socket: where it lies, and the lines that go over it.

use super::EmulatorError;
use super::orders::{Answer, Order, Orders};
use super::script::{self, Command};
use crate::clock::Deadline;
use rustix::fs::{Mode, fchmod};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The longest line; paths are shorter.
const LINE_BYTES_MAX: usize = 4096;

/// How many clients are served at once; the next one waits.
const CLIENTS_MAX: usize = 16;

/// How long a client may take to read an answer before it is left.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);

/// The largest image of any card: a Classic 4K's, and one byte to see that a file is larger.
const IMAGE_BYTES_MAX: u64 = 4096 + 1;

/// A bound socket, removed on drop.
pub(super) struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode, to tell our socket from one that somebody put in its place.
    inode: (u64, u64),
}

impl ControlSocket {
    /// Binds the socket for this user alone; one that a dead emulator left is replaced, everything else is left alone.
    pub(super) fn bind(path: &Path) -> Result<Self, EmulatorError> {
        remove_stale(path)?;
        let failed = |source: io::Error| EmulatorError::Control { path: path.into(), source };
        let listener = bind_private(path).map_err(failed)?;
        let inode = fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino())).map_err(failed)?;
        Ok(Self { listener, path: path.into(), inode })
    }

    /// Serves clients until `quit`, which is cancelled when a client asks for it.
    pub(super) async fn serve(self, orders: Orders, quit: &CancellationToken) {
        let clients = TaskTracker::new();
        let places = Arc::new(Semaphore::new(CLIENTS_MAX));
        loop {
            let accepted = tokio::select! {
                () = quit.cancelled() => break,
                accepted = async {
                    let place = Arc::clone(&places).acquire_owned().await;
                    (place, self.listener.accept().await)
                } => accepted,
            };
            match accepted {
                (Ok(place), Ok((stream, _))) => {
                    let (orders, quit) = (orders.clone(), quit.clone());
                    clients.spawn(async move {
                        let served = tokio::select! {
                            served = serve_client(stream, &orders, &quit) => served,
                            () = quit.cancelled() => Ok(()),
                        };
                        if let Err(error) = served {
                            tracing::debug!(%error, "control client left");
                        }
                        drop(place);
                    });
                }
                (_, Err(error)) => {
                    tracing::warn!(%error, "control socket: cannot accept a client");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                (Err(_closed), Ok(_)) => break,
            }
        }
        clients.close();
        clients.wait().await;
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == self.inode) {
            let _gone_already = fs::remove_file(&self.path);
        }
    }
}

/// Binds with mode 0600 from the first moment: Linux gives a bound socket the mode that its descriptor had.
fn bind_private(path: &Path) -> io::Result<UnixListener> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    listen(&socket, 16)?;
    UnixListener::from_std(socket.into())
}

fn remove_stale(path: &Path) -> Result<(), EmulatorError> {
    let failed = |source| EmulatorError::Control { path: path.into(), source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => Err(EmulatorError::NotASocket { path: path.into() }),
        Ok(_) => match std::os::unix::net::UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path).map_err(failed),
            Err(error) => Err(failed(error)),
            Ok(_) => Err(EmulatorError::ControlTaken { path: path.into() }),
        },
    }
}

async fn serve_client(stream: UnixStream, orders: &Orders, quit: &CancellationToken) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    loop {
        let mut line = Vec::new();
        let limit = u64::try_from(LINE_BYTES_MAX + 1).unwrap_or(u64::MAX);
        if (&mut reader).take(limit).read_until(b'\n', &mut line).await? == 0 {
            return Ok(());
        }
        let is_too_long = line.len() > LINE_BYTES_MAX;
        let (answer, quits) = if is_too_long { (too_long(), false) } else { answer(&line, orders).await };
        let send = writer.write_all(answer.as_bytes());
        tokio::time::timeout_at(Deadline::after(ANSWER_TIME_MAX).instant(), send).await??;
        if quits {
            quit.cancel();
        }
        if quits || is_too_long {
            return Ok(());
        }
    }
}

fn too_long() -> String {
    format!("error a line has at most {LINE_BYTES_MAX} bytes\n")
}

/// The answer to a line, with its line end, and whether the emulator is to end.
async fn answer(line: &[u8], orders: &Orders) -> (String, bool) {
    let Ok(line) = str::from_utf8(line) else {
        return ("error the line is not UTF-8\n".into(), false);
    };
    let (answer, quits) = match script::parse(line) {
        Err(error) => (Err(describe(&error)), false),
        Ok(Command::Quit) => (Ok("ok".into()), true),
        Ok(Command::Help) => (Ok(format!("ok {}", script::usage())), false),
        Ok(Command::Dump(path)) => (dump(&path, orders).await, false),
        Ok(Command::Load(path)) => (load(&path, orders).await, false),
        Ok(Command::Order(order)) => (order_line(order, orders).await, false),
    };
    let mut text = answer.unwrap_or_else(|error| format!("error {error}")).replace(['\n', '\r'], " ");
    text.push('\n');
    (text, quits)
}

async fn order_line(order: Order, orders: &Orders) -> Result<String, String> {
    Ok(match orders.send(order).await.map_err(|error| describe(&error))? {
        Answer::Done => "ok".into(),
        Answer::Cards(names) => format!("ok {}", names.join(" ")).trim_end().into(),
        Answer::Stats(stats) => serde_json::to_string(&stats).map_err(|error| describe(&error))?,
        Answer::Memory(memory) => format!("ok {} bytes", memory.len()),
    })
}

async fn dump(path: &Path, orders: &Orders) -> Result<String, String> {
    let Answer::Memory(memory) = orders.send(Order::Memory).await.map_err(|error| describe(&error))? else {
        return Err("no memory to write".into());
    };
    let len = memory.len();
    let file = path.to_owned();
    let written = tokio::task::spawn_blocking(move || write_private(&file, &memory)).await;
    written.map_err(io::Error::other).flatten().map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    Ok(format!("ok {len} bytes {}", path.display()))
}

/// Writes a file with mode 0600: a card's memory holds its keys.
fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
    // A file that was there before has the mode that it had.
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    io::Write::write_all(&mut file, bytes)
}

async fn load(path: &Path, orders: &Orders) -> Result<String, String> {
    let file = path.to_owned();
    let read = tokio::task::spawn_blocking(move || read_image(&file)).await;
    let image =
        read.map_err(io::Error::other).flatten().map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let len = image.len();
    orders.send(Order::Load(image)).await.map_err(|error| describe(&error))?;
    Ok(format!("ok {len} bytes {}", path.display()))
}

fn read_image(path: &Path) -> io::Result<Vec<u8>> {
    let metadata = fs::metadata(path)?;
    // Opening a pipe would wait for its writer.
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    if metadata.len() >= IMAGE_BYTES_MAX {
        let text = format!("{} bytes are more than any card has", metadata.len());
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    fs::read(path)
}

/// An error with its causes on one line.
pub(crate) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
