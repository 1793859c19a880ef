//! What a card is, as far as a job has to know: asked of the card where its activation does not tell.

use super::media::examine;
use super::session::{Session, Trouble};
use crate::fault::FaultKind;
use encoder_protocols::command::DialectError;
use encoder_protocols::family::classic::ClassicSize;
use encoder_protocols::family::other::{Answer, Classify, Next, OtherCard};
use encoder_protocols::family::type2::{PageNumber, Type2Kind};
use encoder_protocols::family::{CardKind, identify};
use encoder_protocols::id::Target;
use encoder_protocols::plan::{Ask, AskOutcome};
use std::fmt;

/// What lies there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// It can carry a credential.
    Carrier(Carrier),
    /// It carries no credential.
    Other(OtherCard),
}

/// A card that can carry a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carrier {
    /// MIFARE Classic.
    Classic(ClassicSize),
    /// Ultralight or NTAG.
    Type2(Type2Kind),
}

impl fmt::Display for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Classic(size) => size.fmt(f),
            Self::Type2(kind) => kind.fmt(f),
        }
    }
}

impl Family {
    /// Finds out what lies there. Reads at the most: nothing of a Classic card, one question to most Type 2 cards, two to a
    /// smart card.
    pub(super) async fn of(session: &mut Session, target: &Target) -> Result<Self, Trouble> {
        match identify(target) {
            CardKind::Classic(size) => Ok(Self::Carrier(Carrier::Classic(size))),
            CardKind::Type2 => Ok(ask_type2(session)
                .await?
                .map_or(Self::Other(OtherCard::Unknown), |kind| Self::Carrier(Carrier::Type2(kind)))),
            CardKind::Iso14443Part4 | CardKind::Unknown => Ok(Self::Other(ask(session, target).await?)),
        }
    }
}

/// The first page that a plain Ultralight does not have.
const BEHIND_ULTRALIGHT: u8 = 16;

async fn ask_type2(session: &mut Session) -> Result<Option<Type2Kind>, Trouble> {
    let mut machine = Ask::new();
    match examine(session, &mut machine).await {
        Ok(()) => {}
        // The reader passes no questions on. A plain Ultralight needs none: it is the card that ends with page 15.
        Err(Trouble::Cannot) => {
            return match session.read_pages(PageNumber::new(BEHIND_ULTRALIGHT)).await {
                Err(Trouble::CardRefused) => Ok(Some(Type2Kind::Ultralight)),
                Ok(_) => Err(Trouble::Cannot),
                Err(trouble) => Err(trouble),
            };
        }
        Err(trouble) => return Err(trouble),
    }
    Ok(match machine.outcome() {
        Some(AskOutcome::Kind(kind)) => Some(kind),
        Some(AskOutcome::Unknown) | None => None,
    })
}

async fn ask(session: &mut Session, target: &Target) -> Result<OtherCard, Trouble> {
    let mut machine = Classify::new(*target);
    loop {
        match machine.poll() {
            Next::Is(card) => return Ok(card),
            Next::Select(name) => machine.answered(match session.select_application(name).await {
                Ok(answer) => Answer::read(&answer),
                // A reader that cannot ask leaves what activation told.
                Err(
                    Trouble::CardRefused
                    | Trouble::Cannot
                    | Trouble::Reader(DialectError::UnexpectedAnswer { .. } | DialectError::Status { .. }),
                ) => Answer::Refused,
                Err(trouble) => return Err(trouble),
            }),
        }
    }
}

/// The fault of a card that carries no credential.
pub(super) fn fault(card: OtherCard) -> FaultKind {
    match card {
        OtherCard::Payment => FaultKind::PaymentCard,
        OtherCard::Phone => FaultKind::PhoneCard,
        OtherCard::Desfire => FaultKind::DesfireCard,
        OtherCard::MifarePlus => FaultKind::MifarePlusCard,
        OtherCard::Part4 => FaultKind::SmartCard,
        OtherCard::Technology(_) => FaultKind::OtherTechnologyCard,
        OtherCard::Unknown => FaultKind::UnsupportedCard,
    }
}
