//! What the service manager is told, and what it keeps. Without one, nothing happens.
//!
//! Source: `sd_notify(3)`, `sd_listen_fds(3)` and `systemd.service(5)` of systemd 257.

use crate::clock;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use sd_notify::NotifyState;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::time::Duration;

/// The name that the hub's socket has in the manager's store.
const HUB: &str = "hub";

/// Sockets that the manager has kept over a restart of this program.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// The hub's: callers have been waiting on it meanwhile.
    pub hub: Option<Arc<TcpListener>>,
}

impl Kept {
    /// Takes them over. To be called once, before there are threads: the variables that name them are removed.
    pub fn take() -> Self {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut sockets = listenfd::ListenFd::from_env();
        let Some(place) = names.split(':').position(|name| name == HUB) else { return Self::default() };
        match sockets.take_tcp_listener(place) {
            Ok(hub) => Self { hub: hub.map(Arc::new) },
            // It was in the store under our name, and is no socket that listens: a new one is made.
            Err(_) => Self::default(),
        }
    }
}

/// Has the manager keep the hub's socket for as long as the service is not stopped for good: while the program is
/// started anew, callers wait instead of being refused.
pub(super) fn keep_hub(listener: &TcpListener) {
    let said = send_with("FDSTORE=1\nFDNAME=hub\n", listener.as_fd());
    if let Err(error) = said {
        tracing::warn!(%error, "systemd does not keep the hub's socket: callers are refused during a restart");
    }
}

/// Has the manager drop what it keeps: the hub listens elsewhere.
pub(super) fn forget_hub() {
    say(&[NotifyState::Custom("FDSTOREREMOVE=1"), NotifyState::Custom("FDNAME=hub")]);
}

fn send_with(message: &str, socket: BorrowedFd<'_>) -> io::Result<()> {
    let Some(manager) = std::env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    let sender = UnixDatagram::unbound()?;
    sender.connect(manager)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let sockets = [socket];
    if !control.push(SendAncillaryMessage::ScmRights(&sockets)) {
        return Err(io::Error::other("no room for a descriptor"));
    }
    sendmsg(&sender, &[IoSlice::new(message.as_bytes())], &mut control, SendFlags::empty())?;
    Ok(())
}

/// The program is up.
pub fn ready() {
    say(&[NotifyState::Ready]);
}

/// The program reads its configuration again; [`ready`] follows.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => say(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "no monotonic clock"),
    }
}

/// The program ends.
pub fn stopping() {
    say(&[NotifyState::Stopping]);
}

/// One line for `systemctl status`.
pub fn status(text: &str) {
    say(&[NotifyState::Status(text)]);
}

/// The program is alive.
pub(super) fn alive() {
    say(&[NotifyState::Watchdog]);
}

/// How often the manager wants to hear that the program is alive, if it does: half of its patience.
pub(super) fn alive_every() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|patience| patience / 2)
}

fn say(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager does not hear");
    }
}

/// Keeps a moment's text from being said twice.
#[derive(Debug, Default)]
pub(super) struct StatusLine(String);

impl StatusLine {
    /// Says it, if it is another one, or has a note to it.
    pub(super) fn show(&mut self, text: String, note: &str) {
        if self.0 != text || !note.is_empty() {
            status(&format!("{text}{}", note.replace('\n', " ")));
            self.0 = text;
        }
    }
}

/// The time of day, for a line that says when something happened.
pub(super) fn at() -> String {
    clock::wall().strftime("%F %T UTC").to_string()
}
