//! What can be asked of a card through any reader, and what can go wrong.

use crate::family::classic::{BlockNumber, DataBlock, Key, SectorNumber, SectorTrailer};
use crate::family::type2::{ConfigPage, DataPage, PageNumber, Password, UltralightCKey};
use crate::id::Detection;
pub use crate::secret::Secret;
use alloc::string::String;
use alloc::vec::Vec;

/// One command to a reader or to the card on it. Every dialect speaks all of them.
///
/// Authentication always concerns the card that the last [`CardCommand::Detect`] activated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CardCommand {
    /// Wakes the reader, settles the line speed and asks who it is. Answer: [`CardReply::Reader`].
    Open,
    /// Looks at the field once and activates the card there. Answer: [`CardReply::Detected`].
    Detect,
    /// The same for as long as the reader can search by itself, some hundred milliseconds where it can at all; a card that
    /// comes ends it. May be abandoned at any moment: the next command cancels it. Answer: [`CardReply::Detected`].
    Search,
    /// Switches the field off and on again, so that every card starts anew. Answer: [`CardReply::Done`].
    ResetField,
    /// Opens a sector of a MIFARE Classic card. Answer: [`CardReply::Done`].
    Authenticate {
        /// The sector to open.
        sector: SectorNumber,
        /// Key A or key B with its value.
        key: Key,
    },
    /// Reads one block of the open sector. Answer: [`CardReply::Block`].
    Read(BlockNumber),
    /// Writes one data block of the open sector; a trailer or block 0 cannot be named here. Answer: [`CardReply::Done`].
    Write(DataBlock, [u8; 16]),
    /// Writes the trailer of the open sector. Only a personalisation holds one. Answer: [`CardReply::Done`].
    WriteTrailer(SectorNumber, SectorTrailer),
    /// Asks a Type 2 card what it is (`GET_VERSION`, 60). Answer: [`CardReply::Bytes`], eight of them. A card that does not
    /// know it answers [`DialectError::Refused`] and must be detected again.
    GetVersion,
    /// Reads four pages from this one on (READ, 30). Answer: [`CardReply::Block`].
    ReadPages(PageNumber),
    /// Reads pages from the first to the last, both included (`FAST_READ`, 3A). Answer: [`CardReply::Bytes`], four for each
    /// page; [`DialectError::Unsupported`] where the reader cannot.
    FastRead {
        /// The first page.
        first: PageNumber,
        /// The last page.
        last: PageNumber,
    },
    /// Writes a page of user memory (WRITE, A2). Answer: [`CardReply::Done`].
    WritePage(DataPage, [u8; 4]),
    /// Writes a page of configuration. Only a personalisation or a raw image holds one. Answer: [`CardReply::Done`].
    WriteConfigPage(ConfigPage, Secret<4>),
    /// Opens a card that is closed by a password (`PWD_AUTH`, 1B). Answer: [`CardReply::Bytes`], the two bytes of PACK;
    /// [`DialectError::AuthenticationFailed`] for a wrong password, [`DialectError::Unsupported`] where the reader cannot.
    PasswordAuth(Password),
    /// Proves and asks for proof of the 3DES key of an Ultralight C (AUTHENTICATE, 1A), with this random number of ours.
    /// Answer: [`CardReply::Done`] or [`DialectError::AuthenticationFailed`].
    UltralightCAuth {
        /// The key.
        key: UltralightCKey,
        /// RndA.
        random: [u8; 8],
    },
    /// Selects an application of an ISO/IEC 14443-4 card, to tell what it is: `00 A4 04 00` with this name. Answer:
    /// [`CardReply::Bytes`], status word included.
    SelectApplication(Vec<u8>),
    /// Asks the active MIFARE Classic card whether it has the back door of a gen1a clone, by the first of the two frames
    /// that open one; the second is never sent. The field is switched off and on, what was open is closed, and the card is
    /// active again. Answer: [`CardReply::Done`] when it has one, [`DialectError::Refused`] when not,
    /// [`DialectError::Unsupported`] where the reader cannot.
    ProbeBackdoor,
    /// Lets go of the card, so that others may use it. Answer: [`CardReply::Done`].
    Release,
    /// Shows something at the reader, as far as it can. Answer: [`CardReply::Done`], or [`DialectError::Unsupported`].
    Signal(Signal),
    /// Leaves the reader as the next program expects it: power-up line speed, asleep. Answer: [`CardReply::Done`].
    Close,
}

/// What a reader can show to the people before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// The job is done: green, one tone.
    Success,
    /// The job has failed: red, two tones.
    Failure,
    /// This is the one: for whoever has several readers before him.
    Wink,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CardReply {
    /// The command was carried out.
    Done,
    /// Who the reader is.
    Reader(ReaderInfo),
    /// What lies on the reader.
    Detected(Detection),
    /// Sixteen bytes of a block, or of four pages.
    Block([u8; 16]),
    /// What the card has answered, without checksum.
    Bytes(Vec<u8>),
}

/// Who the reader says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReaderInfo {
    /// The chip or product, such as `PN532`.
    pub model: String,
    /// Its firmware, such as `1.6`.
    pub firmware: String,
}

/// Why a command failed. The reader is usable again afterwards unless the kind says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DialectError {
    /// The reader did not answer within its bound, retries included.
    #[error("the reader does not answer")]
    NoAnswer,
    /// The reader's bytes stayed unreadable, retries included.
    #[error("the reader's answers cannot be read: {skipped} bytes skipped")]
    Garbled {
        /// How many bytes were passed over.
        skipped: usize,
    },
    /// Something answers, but it does not speak this dialect.
    #[error("what answers there does not speak this dialect")]
    WrongDialect,
    /// The answer has the right frame and the wrong content.
    #[error("the reader's answer to command {command:02x} has an unexpected form")]
    UnexpectedAnswer {
        /// The command's code on the wire.
        command: u8,
    },
    /// The card left the field.
    #[error("the card left the field")]
    CardGone,
    /// After a failure the field was looked at again and another card lies there.
    #[error("another card lies there now")]
    CardChanged,
    /// Two cards or more are in the field.
    #[error("several cards are in the field")]
    Several,
    /// The key does not open the sector.
    #[error("the key does not open the sector")]
    AuthenticationFailed,
    /// The card refused the command: access conditions or a wrong format.
    #[error("the card refused the command")]
    Refused,
    /// No sector is open, or the command names a block outside the open one.
    #[error("no sector is open for this command")]
    NotAuthenticated,
    /// A card lies there and tells no UID, or none that a card of ISO/IEC 14443 A can have.
    #[error("the card does not say who it is")]
    NoUid,
    /// The reader reports a status that no rule above covers.
    #[error("the reader reports status {status:02x}")]
    Status {
        /// The reader's own status byte, or its status word.
        status: u16,
    },
    /// Somebody else has switched the card's power off and on: what was open is closed.
    #[error("another program has reset the card")]
    CardReset,
    /// A card lies there and does not answer.
    #[error("the card does not answer")]
    CardMute,
    /// Another program has the reader or the card for itself.
    #[error("another program uses the reader")]
    InUse,
    /// The reader cannot do this.
    #[error("the reader cannot do this")]
    Unsupported,
}
