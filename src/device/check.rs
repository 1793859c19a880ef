//! One look at a port that no task holds: for `encoderd probe`.

use super::session::{Session, Trouble};
use crate::transport::Link;
use crate::transport::serial::{OpenError, SerialLine};
use encoder_protocols::command::ReaderInfo;
use encoder_protocols::dialect::Reader;
use encoder_protocols::id::Detection;
use std::path::Path;
use tokio_util::sync::CancellationToken;

/// What answers at a port.
#[derive(Clone, Debug)]
pub struct PortCheck {
    /// Who the reader says it is.
    pub reader: ReaderInfo,
    /// What lies on it.
    pub card: Detection,
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
    /// The reader answers and cannot look at its field.
    #[error("the reader answers, but looking for a card failed")]
    Field,
}

/// Opens a port, wakes the reader, looks for a card, leaves the reader in order. Writes to no card.
pub async fn check(path: &Path, reader: &Reader, baud: u32) -> Result<PortCheck, PortCheckError> {
    let line = SerialLine::open(path, baud).await?;
    let link = Link::Serial(line, (reader.host)());
    let mut session = Session::new(link, CancellationToken::new());
    let info = session.open().await.map_err(|trouble| match trouble {
        Trouble::PortGone => PortCheckError::Gone,
        Trouble::WrongDialect | Trouble::Reader(_) => PortCheckError::WrongDialect,
        Trouble::Silent
        | Trouble::Stopped
        | Trouble::TimeUp
        | Trouble::CardLeft
        | Trouble::CardChanged
        | Trouble::Several
        | Trouble::KeyRefused
        | Trouble::CardRefused
        | Trouble::CardMute
        | Trouble::NoUid
        | Trouble::InUse => PortCheckError::Silent,
    })?;
    let card = session.detect().await.map_err(|_| PortCheckError::Field)?;
    session.close().await;
    Ok(PortCheck { reader: info, card })
}
