//! Commands to the reader of an open port, with their failures sorted by what can be done about them.

use crate::clock::{self, Deadline};
use crate::telemetry::metrics;
use crate::transport::{ExchangeError, Link};
use encoder_protocols::command::{CardCommand, CardReply, DialectError, ReaderInfo, Secret, Signal};
use encoder_protocols::dialect::pcsc_storage::Learnt;
use encoder_protocols::family::classic::{BlockNumber, DataBlock, Key, SectorNumber, SectorTrailer};
use encoder_protocols::family::type2::{ConfigPage, DataPage, PageNumber, Password, UltralightCKey};
use encoder_protocols::id::{Detection, Target, Uid};
use encoder_protocols::plan::Unlock;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long leaving the reader in order may take when the daemon stops.
const CLOSE_BOUND: Duration = Duration::from_millis(500);

/// The longest that one command may take, whatever arrives: a dialect's own bounds count from the last byte, and a line
/// that drips noise would stretch them without end. Waking a silent chip at all its speeds takes below 4 s.
const COMMAND_BOUND: Duration = Duration::from_secs(4);

/// Why a command failed, by what can be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Open the port again.
    PortGone,
    /// Wake the reader again.
    Silent,
    /// Correct the configuration.
    WrongDialect,
    /// The reader reports something of its own: try again.
    Reader(DialectError),
    /// Ask for the card.
    CardLeft,
    /// Another card lies there.
    CardChanged,
    /// Ask for one card only.
    Several,
    /// The sector has another key.
    KeyRefused,
    /// The card refuses: access conditions.
    CardRefused,
    /// A card lies there and does not answer.
    CardMute,
    /// A card lies there that does not say who it is: another kind of card.
    NoUid,
    /// Another program has the reader or the card for itself.
    InUse,
    /// The reader cannot do this: take another card, or another reader.
    Cannot,
    /// The daemon stops.
    Stopped,
    /// The attempt's time is over.
    TimeUp,
}

/// Until when commands may run.
#[derive(Clone, Debug)]
pub(super) struct Leave {
    /// Cancelled: what runs is dropped at once. `None` while a card is being written.
    pub(super) stop: Option<CancellationToken>,
    /// Passed: what runs is dropped at once.
    pub(super) until: Option<Deadline>,
}

impl From<ExchangeError> for Trouble {
    fn from(error: ExchangeError) -> Self {
        let error = match error {
            ExchangeError::Gone(_) => return Self::PortGone,
            ExchangeError::Dialect(error) => error,
        };
        match error {
            DialectError::NoAnswer => Self::Silent,
            DialectError::WrongDialect => Self::WrongDialect,
            DialectError::CardGone => Self::CardLeft,
            DialectError::CardChanged => Self::CardChanged,
            DialectError::Several => Self::Several,
            DialectError::AuthenticationFailed => Self::KeyRefused,
            DialectError::Refused => Self::CardRefused,
            DialectError::Garbled { .. }
            | DialectError::UnexpectedAnswer { .. }
            | DialectError::NotAuthenticated
            | DialectError::CardReset
            | DialectError::Status { .. } => Self::Reader(error),
            DialectError::CardMute => Self::CardMute,
            DialectError::NoUid => Self::NoUid,
            DialectError::InUse => Self::InUse,
            DialectError::Unsupported => Self::Cannot,
        }
    }
}

/// An open reader.
pub(super) struct Session {
    link: Link,
    /// The card that the last look found alone.
    last_seen: Option<Uid>,
    leave: Leave,
}

impl Session {
    pub(super) fn new(link: Link, stop: CancellationToken) -> Self {
        Self { link, last_seen: None, leave: Leave { stop: Some(stop), until: None } }
    }

    /// The way to the reader.
    #[cfg(test)]
    pub(super) fn link(&mut self) -> &mut Link {
        &mut self.link
    }

    /// Whether the reader itself says when a card comes and goes. Then one look is certain, and looks in between tell
    /// nothing; a reader on a line is looked at again and again, and may miss a card once in a while.
    pub(super) fn hears_of_cards(&self) -> bool {
        self.link.hears_of_cards()
    }

    /// Waits until it is time to look at the field again: at `moment`, and earlier when a reader that hears of cards has
    /// something to tell. Safe to cancel.
    pub(super) async fn next_look(&mut self, moment: Option<Instant>) {
        let waited = async {
            match moment {
                Some(moment) => tokio::time::sleep_until(moment).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.link.changed() => {}
            () = waited => {}
        }
    }

    /// Leaves the card to other programs where it is shared with them; a later look finds it again.
    pub(super) async fn rest(&mut self) {
        if self.hears_of_cards()
            && let Err(trouble) = self.done(&CardCommand::Release).await
        {
            tracing::debug!(?trouble, "the card was not left in order");
        }
    }

    /// Shows something at the reader, where it can. Nothing depends on it.
    pub(super) async fn signal(&mut self, signal: Signal) -> Result<(), Trouble> {
        self.done(&CardCommand::Signal(signal)).await
    }

    /// What the dialect has learnt of a reader behind PC/SC.
    pub(super) fn learnt(&self) -> Option<Learnt> {
        self.link.learnt()
    }

    /// Sets until when commands may run; returns what held before.
    pub(super) fn set_leave(&mut self, leave: Leave) -> Leave {
        std::mem::replace(&mut self.leave, leave)
    }

    /// Carries out one command. A command that is dropped half-way leaves nothing behind: the dialect abandons it, on
    /// the wire too, when the next one begins.
    async fn command(&mut self, command: &CardCommand) -> Result<CardReply, Trouble> {
        let Leave { stop, until } = self.leave.clone();
        let reply = tokio::select! {
            biased;
            () = stopped(stop) => Err(Trouble::Stopped),
            () = passed(until) => Err(Trouble::TimeUp),
            () = tokio::time::sleep(COMMAND_BOUND) => Err(Trouble::Silent),
            reply = self.link.exchange(command) => reply.map_err(Trouble::from),
        };
        tracing::trace!(?command, ok = reply.is_ok(), "exchange");
        metrics::command(reply.is_ok());
        reply
    }

    async fn done(&mut self, command: &CardCommand) -> Result<(), Trouble> {
        match self.command(command).await? {
            CardReply::Done => Ok(()),
            CardReply::Reader(_) | CardReply::Detected(_) | CardReply::Block(_) | CardReply::Bytes(_) => {
                Err(UNEXPECTED)
            }
        }
    }

    /// Wakes the reader and asks who it is.
    pub(super) async fn open(&mut self) -> Result<ReaderInfo, Trouble> {
        match self.command(&CardCommand::Open).await? {
            CardReply::Reader(reader) => Ok(reader),
            CardReply::Done | CardReply::Detected(_) | CardReply::Block(_) | CardReply::Bytes(_) => Err(UNEXPECTED),
        }
    }

    /// Makes the reader usable again after trouble, if the trouble was the reader's. One try: what stays silent after
    /// a new wake-up is reported, and the port is opened again.
    pub(super) async fn recover(&mut self, trouble: Trouble) -> Result<(), Trouble> {
        match trouble {
            Trouble::PortGone | Trouble::WrongDialect | Trouble::Stopped => Err(trouble),
            Trouble::Silent | Trouble::TimeUp | Trouble::Reader(_) => {
                metrics::recovery("wake");
                self.open().await.map(drop)
            }
            Trouble::CardLeft
            | Trouble::CardChanged
            | Trouble::Several
            | Trouble::KeyRefused
            | Trouble::CardRefused
            | Trouble::CardMute
            | Trouble::NoUid
            | Trouble::InUse
            | Trouble::Cannot => Ok(()),
        }
    }

    /// How long one exchange with the reader takes: the quickest of three that ask nothing of a card.
    pub(super) async fn round_trip(&mut self) -> Option<Duration> {
        let mut quickest = None;
        for _ in 0..3 {
            let start = clock::now();
            self.done(&CardCommand::Release).await.ok()?;
            let took = clock::now() - start;
            quickest = Some(quickest.map_or(took, |before: Duration| before.min(took)));
        }
        quickest
    }

    /// Looks at the field once.
    ///
    /// A card that takes another's place from one look to the next is looked at again in a fresh field: of two cards
    /// that were both halted, readers may find one and the other in turn, each as if it were alone.
    pub(super) async fn detect(&mut self) -> Result<Detection, Trouble> {
        self.look(&CardCommand::Detect).await
    }

    /// The same for as long as the reader can search by itself. May be dropped: the next command cancels it.
    pub(super) async fn search(&mut self) -> Result<Detection, Trouble> {
        self.look(&CardCommand::Search).await
    }

    async fn look(&mut self, command: &CardCommand) -> Result<Detection, Trouble> {
        if self.last_seen.is_some() && self.link.lifted() {
            // It came back, or another one came, faster than anybody looked: it was away all the same.
            self.last_seen = None;
            return Ok(Detection::None);
        }
        let mut detection = self.look_once(command).await?;
        let alone = |detection| match detection {
            Detection::One(target) => Some(target.uid),
            Detection::None | Detection::Several => None,
        };
        if let (Some(last), Some(now), false) = (self.last_seen, alone(detection), self.hears_of_cards())
            && last != now
        {
            self.done(&CardCommand::ResetField).await?;
            detection = self.look_once(&CardCommand::Detect).await?;
        }
        self.last_seen = alone(detection);
        Ok(detection)
    }

    async fn look_once(&mut self, command: &CardCommand) -> Result<Detection, Trouble> {
        match self.command(command).await? {
            CardReply::Detected(detection) => Ok(detection),
            CardReply::Done | CardReply::Reader(_) | CardReply::Block(_) | CardReply::Bytes(_) => Err(UNEXPECTED),
        }
    }

    /// Looks at the field and expects one certain card.
    pub(super) async fn select(&mut self, card: &Target) -> Result<(), Trouble> {
        match self.detect().await? {
            Detection::One(target) if target.uid == card.uid => Ok(()),
            Detection::One(_) => Err(Trouble::CardChanged),
            Detection::None => Err(Trouble::CardLeft),
            Detection::Several => Err(Trouble::Several),
        }
    }

    /// Starts a new RF session with one certain card: what it answers then comes from its memory.
    pub(super) async fn new_session(&mut self, card: &Target) -> Result<(), Trouble> {
        self.done(&CardCommand::ResetField).await?;
        // Behind PC/SC a reader may count its own switching off and on as a card that went and came.
        self.last_seen = None;
        match self.select(card).await {
            // It has answered before, so it is not dead: readers miss a card that left for a moment or longer.
            Err(Trouble::CardMute) => Err(Trouble::CardLeft),
            selected => selected,
        }
    }

    /// Opens a sector.
    pub(super) async fn login(&mut self, sector: SectorNumber, key: Key) -> Result<(), Trouble> {
        self.done(&CardCommand::Authenticate { sector, key }).await
    }

    /// Reads a block of the open sector.
    pub(super) async fn read(&mut self, block: BlockNumber) -> Result<[u8; 16], Trouble> {
        self.block(&CardCommand::Read(block)).await
    }

    async fn block(&mut self, command: &CardCommand) -> Result<[u8; 16], Trouble> {
        match self.command(command).await? {
            CardReply::Block(data) => Ok(data),
            CardReply::Done | CardReply::Reader(_) | CardReply::Detected(_) | CardReply::Bytes(_) => Err(UNEXPECTED),
        }
    }

    /// Writes a data block of the open sector.
    pub(super) async fn write(&mut self, block: DataBlock, data: [u8; 16]) -> Result<(), Trouble> {
        self.done(&CardCommand::Write(block, data)).await
    }

    /// Writes the trailer of the open sector.
    pub(super) async fn write_trailer(&mut self, sector: SectorNumber, trailer: SectorTrailer) -> Result<(), Trouble> {
        self.done(&CardCommand::WriteTrailer(sector, trailer)).await
    }

    /// Reads four pages of a Type 2 card.
    pub(super) async fn read_pages(&mut self, first: PageNumber) -> Result<[u8; 16], Trouble> {
        self.block(&CardCommand::ReadPages(first)).await
    }

    /// Reads pages of a Type 2 card, in one exchange where the reader can and the card knows how.
    pub(super) async fn fast_read(&mut self, first: PageNumber, last: PageNumber) -> Result<Vec<u8>, Trouble> {
        self.bytes(&CardCommand::FastRead { first, last }).await
    }

    /// Reads so many pages of a Type 2 card, in as few exchanges as reader and card allow.
    pub(super) async fn pages(&mut self, first: PageNumber, count: usize) -> Result<Vec<[u8; 4]>, Trouble> {
        let end = usize::from(first.get()) + count;
        let mut pages = Vec::with_capacity(count + 3);
        if let (true, Some(last)) = (count > 4, end.checked_sub(1).and_then(|last| u8::try_from(last).ok())) {
            match self.fast_read(first, PageNumber::new(last)).await {
                Ok(bytes) if bytes.len() == 4 * count => return Ok(bytes.as_chunks::<4>().0.to_vec()),
                Ok(_) => return Err(UNEXPECTED),
                Err(Trouble::Cannot) => {}
                Err(trouble) => return Err(trouble),
            }
        }
        while pages.len() < count {
            let page = u8::try_from(usize::from(first.get()) + pages.len()).map_err(|_| UNEXPECTED)?;
            pages.extend_from_slice(self.read_pages(PageNumber::new(page)).await?.as_chunks::<4>().0);
        }
        pages.truncate(count);
        Ok(pages)
    }

    /// Writes a page of user memory.
    pub(super) async fn write_page(&mut self, page: DataPage, data: [u8; 4]) -> Result<(), Trouble> {
        self.done(&CardCommand::WritePage(page, data)).await
    }

    /// Writes a page of configuration.
    pub(super) async fn write_config_page(&mut self, page: ConfigPage, data: Secret<4>) -> Result<(), Trouble> {
        self.done(&CardCommand::WriteConfigPage(page, data)).await
    }

    /// Asks a Type 2 card what it is.
    pub(super) async fn version(&mut self) -> Result<Vec<u8>, Trouble> {
        self.bytes(&CardCommand::GetVersion).await
    }

    /// Opens a Type 2 card. One that answers a password with another PACK is not the one.
    pub(super) async fn unlock(&mut self, unlock: Unlock) -> Result<(), Trouble> {
        match unlock {
            Unlock::Password { password, pack } => {
                let right = self.password(password).await? == pack.expose();
                if right { Ok(()) } else { Err(Trouble::KeyRefused) }
            }
            Unlock::UltralightC(key) => self.ultralight_c(key).await,
        }
    }

    /// Opens a card that is closed by a password; returns PACK.
    pub(super) async fn password(&mut self, password: Password) -> Result<Vec<u8>, Trouble> {
        self.bytes(&CardCommand::PasswordAuth(password)).await
    }

    /// Opens an Ultralight C.
    pub(super) async fn ultralight_c(&mut self, key: UltralightCKey) -> Result<(), Trouble> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|_| Trouble::Cannot)?;
        self.done(&CardCommand::UltralightCAuth { key, random }).await
    }

    /// Selects an application of a smart card; returns its answer, status word included.
    pub(super) async fn select_application(&mut self, name: &[u8]) -> Result<Vec<u8>, Trouble> {
        self.bytes(&CardCommand::SelectApplication(name.to_vec())).await
    }

    /// Whether a Classic card has the back door of a gen1a clone; the reader may not be able to tell.
    pub(super) async fn backdoor(&mut self) -> Result<bool, Trouble> {
        match self.done(&CardCommand::ProbeBackdoor).await {
            Ok(()) => Ok(true),
            Err(Trouble::CardRefused) => Ok(false),
            Err(trouble) => Err(trouble),
        }
    }

    async fn bytes(&mut self, command: &CardCommand) -> Result<Vec<u8>, Trouble> {
        match self.command(command).await? {
            CardReply::Bytes(bytes) => Ok(bytes),
            CardReply::Done | CardReply::Reader(_) | CardReply::Detected(_) | CardReply::Block(_) => Err(UNEXPECTED),
        }
    }

    /// Leaves the reader as the next program expects it.
    pub(super) async fn close(&mut self) {
        self.leave = Leave { stop: None, until: None };
        match tokio::time::timeout(CLOSE_BOUND, self.done(&CardCommand::Close)).await {
            Ok(Ok(())) => {}
            Ok(Err(trouble)) => tracing::debug!(?trouble, "the reader was not left in order"),
            Err(_elapsed) => tracing::debug!("leaving the reader took too long"),
        }
    }
}

async fn stopped(stop: Option<CancellationToken>) {
    match stop {
        Some(stop) => stop.cancelled_owned().await,
        None => std::future::pending().await,
    }
}

async fn passed(until: Option<Deadline>) {
    match until {
        Some(until) => tokio::time::sleep_until(until.instant()).await,
        None => std::future::pending().await,
    }
}

/// A dialect that answers a command with another command's reply is a fault of ours; it is treated as the reader's.
const UNEXPECTED: Trouble = Trouble::Reader(DialectError::UnexpectedAnswer { command: 0 });
