//! What a card is, as far as a job has to know: asked of the card where its activation does not tell.

use super::session::{Session, Trouble};
use crate::fault::FaultKind;
use encoder_protocols::command::DialectError;
use encoder_protocols::family::classic::ClassicSize;
use encoder_protocols::family::other::{Answer, Classify, Next, OtherCard};
use encoder_protocols::family::{CardKind, identify};
use encoder_protocols::id::Target;

/// What lies there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// MIFARE Classic.
    Classic(ClassicSize),
    /// It carries no credential.
    Other(OtherCard),
}

impl Family {
    /// Finds out what lies there. Reads at the most: two questions to a smart card, none to any other.
    pub(super) async fn of(session: &mut Session, target: &Target) -> Result<Self, Trouble> {
        match identify(target) {
            CardKind::Classic(size) => Ok(Self::Classic(size)),
            CardKind::Type2 | CardKind::Iso14443Part4 | CardKind::Unknown => {
                Ok(Self::Other(ask(session, target).await?))
            }
        }
    }
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
                    | Trouble::Reader(DialectError::Unsupported | DialectError::UnexpectedAnswer { .. }),
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
