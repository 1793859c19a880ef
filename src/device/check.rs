//! One look at a port or a PC/SC reader that no task holds: for `encoderd probe`.

use super::session::{Session, Trouble};
use crate::discovery::pcsc::Seen;
use crate::transport::Link;
use crate::transport::pcsc::{PcscLine, Snapshot};
use crate::transport::serial::{OpenError, SerialLine};
use encoder_protocols::command::ReaderInfo;
use encoder_protocols::dialect::Reader;
use encoder_protocols::dialect::pcsc_storage::{Learnt, PcscStorageHost};
use encoder_protocols::id::Detection;
use std::path::Path;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// What answers at a port.
#[derive(Clone, Debug)]
pub struct PortCheck {
    /// Who the reader says it is.
    pub reader: ReaderInfo,
    /// What lies on it.
    pub card: Detection,
    /// How long one exchange with the reader takes, where it is on a line of its own.
    pub round_trip: Option<Duration>,
}

/// Why nothing usable answers at a port.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PortCheckError {
    /// The port cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The port went away.
    #[error("the port went away")]
    Gone,
    /// Nothing answers.
    #[error("nothing answers")]
    Silent,
    /// Something else answers.
    #[error("something answers that does not speak this dialect")]
    WrongDialect,
    /// Another program has the reader for itself.
    #[error("another program has it for itself")]
    InUse,
    /// A card lies there and does not answer, or not with a number.
    #[error("a card lies there that does not say who it is")]
    Nameless,
    /// The reader answers and cannot look at its field.
    #[error("the reader answers, but looking for a card failed")]
    Field,
}

/// Opens a port, wakes the reader, looks for a card, leaves the reader in order. Writes to no card.
pub async fn check(path: &Path, reader: &Reader, baud: u32) -> Result<PortCheck, PortCheckError> {
    let line = SerialLine::open(path, baud).await?;
    look(Link::Serial(line, (reader.host)())).await
}

/// The same for a reader behind PC/SC, which is shared with whoever else uses it.
pub async fn check_pcsc(seen: &Seen, snapshot: watch::Receiver<Snapshot>) -> Result<PortCheck, PortCheckError> {
    let line = PcscLine::open(&seen.reader_name, seen.address, snapshot).map_err(|_| PortCheckError::Gone)?;
    let dialect = PcscStorageHost::new(seen.profile, Learnt::default());
    look(Link::Pcsc(line, Box::new(dialect))).await
}

async fn look(link: Link) -> Result<PortCheck, PortCheckError> {
    let is_line = matches!(link, Link::Serial(..));
    let mut session = Session::new(link, CancellationToken::new());
    let info = session.open().await.map_err(|trouble| match trouble {
        Trouble::PortGone => PortCheckError::Gone,
        Trouble::WrongDialect | Trouble::Reader(_) => PortCheckError::WrongDialect,
        Trouble::InUse => PortCheckError::InUse,
        Trouble::Silent
        | Trouble::Stopped
        | Trouble::TimeUp
        | Trouble::CardLeft
        | Trouble::CardChanged
        | Trouble::Several
        | Trouble::KeyRefused
        | Trouble::CardRefused
        | Trouble::CardMute
        | Trouble::Cannot
        | Trouble::NoUid => PortCheckError::Silent,
    })?;
    let card = session.detect().await;
    let round_trip = if is_line { session.round_trip().await } else { None };
    session.close().await;
    let card = card.map_err(|trouble| match trouble {
        Trouble::InUse => PortCheckError::InUse,
        Trouble::CardMute | Trouble::NoUid => PortCheckError::Nameless,
        Trouble::PortGone => PortCheckError::Gone,
        Trouble::WrongDialect
        | Trouble::Reader(_)
        | Trouble::Silent
        | Trouble::Stopped
        | Trouble::TimeUp
        | Trouble::CardLeft
        | Trouble::CardChanged
        | Trouble::Several
        | Trouble::KeyRefused
        | Trouble::Cannot
        | Trouble::CardRefused => PortCheckError::Field,
    })?;
    Ok(PortCheck { reader: info, card, round_trip })
}
