//! What a device can be asked to do with a card, and what comes back.

use crate::api::bridge::Progress;
use crate::clock::Deadline;
use crate::config::Personalize;
use crate::fault::Fault;
use crate::keys::CardKey;
use encoder_protocols::id::{Target, Uid};
use encoder_protocols::layout::compact::CredentialNumber;
use encoder_protocols::layout::content::Content;
use encoder_protocols::layout::ndef::Ndef;
use encoder_protocols::layout::record::{CredentialId, Record};
use std::collections::BTreeSet;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// Until when what may happen.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A card must lie there by then.
    pub card: Deadline,
    /// The first byte must be written by then, so that the last one is verified before the end.
    pub first_write: Deadline,
    /// The attempt's deadline.
    pub end: Deadline,
}

/// Write a credential.
#[derive(Debug)]
pub struct EncodeOrder {
    /// What the card is to say.
    pub record: Record,
    /// The property's card key.
    pub key: CardKey,
    /// The only card that may be written, if the credential is on one.
    pub only_card: Option<Uid>,
    /// What happens to a blank card.
    pub personalize: Personalize,
    /// What phones are shown of cards that are prepared, where they have room for it.
    pub ndef: Option<Ndef>,
    /// The cards that this desk has begun to write and not verified.
    pub begun: BTreeSet<Uid>,
    /// The card must be lifted and put back first.
    pub new_presentation: bool,
    /// Until when.
    pub limits: Limits,
    /// Cancelled when the daemon stops: what has not begun does not begin, what has reaches a safe point.
    pub stop: CancellationToken,
    /// Told before a card is written; `true` comes back when it is on the disk.
    pub intent: mpsc::Sender<(Intent, oneshot::Sender<bool>)>,
    /// Told how far it is, for show.
    pub progress: mpsc::Sender<Progress>,
}

/// Read a card.
#[derive(Debug)]
pub struct ScanOrder {
    /// The property's card key; without one every card is foreign.
    pub key: Option<CardKey>,
    /// Until when.
    pub limits: Limits,
    /// Cancelled when the daemon stops.
    pub stop: CancellationToken,
    /// Told how far it is, for show.
    pub progress: mpsc::Sender<Progress>,
}

/// Take the credentials off the card that lies there.
#[derive(Debug)]
pub struct EraseOrder {
    /// The only card that may be erased.
    pub card: Uid,
    /// The property's card key.
    pub key: CardKey,
    /// This desk has begun to write the card and not verified it.
    pub begun: bool,
    /// Told before the card is written; `true` comes back when it is on the disk.
    pub intent: mpsc::Sender<(Intent, oneshot::Sender<bool>)>,
    /// Until when.
    pub end: Deadline,
    /// Cancelled when the daemon stops.
    pub stop: CancellationToken,
}

/// The card holds no credential any more, verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EraseEnd {
    /// The card.
    pub card: Uid,
    /// The credential that was there.
    pub erased: Option<Whose>,
}

/// Whose credential it is, as far as a card says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// This one's.
    Credential(CredentialId),
    /// That of a credential whose id ends so: the card has no room for more.
    Number(CredentialNumber),
}

impl From<&Content> for Whose {
    fn from(content: &Content) -> Self {
        content.credential_id().map_or_else(|| Self::Number(content.number()), Self::Credential)
    }
}

/// A card is about to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// Which.
    pub card: Uid,
    /// How: the plan's listing.
    pub plan: String,
}

/// The credential is on the card, verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodeEnd {
    /// The card.
    pub card: Uid,
    /// The moment of issue as the card carries it, in seconds since 1970.
    pub issued_at: u32,
    /// The credential that was there before.
    pub overwritten: Option<Whose>,
    /// A part of the card is dead: it should be replaced.
    pub worn: Option<Fault>,
}

/// What a card says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CardRead {
    /// The card.
    pub card: Uid,
    /// The credential on it; `None` for a blank or foreign card.
    pub content: Option<Content>,
}

/// Why it did not work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The fault, in words.
    pub fault: Fault,
    /// The card in question, once one was seen.
    pub card: Option<Uid>,
    /// The card may hold the new credential all the same.
    pub in_doubt: bool,
}

impl Failure {
    /// A failure in which no card plays a part.
    pub fn without_card(fault: impl Into<Fault>) -> Self {
        Self { fault: fault.into(), card: None, in_doubt: false }
    }

    /// A failure that left this card as it was, or with the old credential valid.
    pub fn with_card(fault: impl Into<Fault>, card: Uid) -> Self {
        Self { fault: fault.into(), card: Some(card), in_doubt: false }
    }
}

/// What lies on the reader, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CardInfo {
    /// What activation told.
    pub target: Target,
    /// The card in words, such as `MIFARE Classic 1K`.
    pub kind: String,
    /// What is on it in words, such as `blank`.
    pub format: CardFormat,
    /// The valid credential on it.
    pub content: Option<Content>,
}

/// By what a card gives itself away as a clone. For naming it: nothing is decided by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CloneKind {
    /// It has the back door of a gen1a: its UID and block 0 can be changed, and no key is needed to read it.
    Gen1a,
}

/// What is on a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CardFormat {
    /// Personalised by this property.
    Ours,
    /// As it leaves the factory.
    Blank,
    /// Neither.
    Foreign,
    /// Not looked at: this desk has no card key, or the family carries no credential.
    Unknown,
}
