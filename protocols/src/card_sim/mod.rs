//! Simulated cards and the field they lie in, for the virtual encoder and for tests.
//!
//! | file | what |
//! | --- | --- |
//! | `classic` | [`ClassicCard`]: a MIFARE Classic card with memory, keys, access conditions and activation states |
//! | `access` | what the data sheet's access condition tables allow |
//! | `type2/` | [`Type2Card`]: Ultralight and NTAG with memory, lock bits, passwords and keys |
//! | `part4` | [`Part4Card`]: `DESFire`, payment cards and phones as far as it takes to tell them apart |
//! | `field` | [`Field`]: the cards on a reader, and how they are torn away |
//!
//! What is left out: Crypto1 itself (a key is compared, nothing is enciphered), bit errors on the air, weak bits
//! other than those set by [`ClassicCard::set_weak_bits`] and [`Type2Card::set_weak_bits`].

mod classic;
mod field;
mod part4;
#[cfg(test)]
mod tests;
mod type2;

pub use classic::{CardError, ClassicCard, CloneKind, DumpError, KeySlot, ValueOperation};
pub use field::{Field, PlaceError, Torn};
pub use part4::{Part4Card, Part4Kind, RATS};
pub use type2::{AirAnswer, Type2Card};

use crate::id::{Target, Uid};

/// A card that can be placed on a simulated reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Card {
    /// MIFARE Classic.
    Classic(ClassicCard),
    /// Ultralight or NTAG.
    Type2(Type2Card),
    /// `DESFire`, payment card or phone.
    Part4(Part4Card),
    /// A card that activates and answers nothing else.
    Unknown(UnknownCard),
}

impl Card {
    /// What it answers at activation.
    pub fn target(&self) -> Target {
        match self {
            Self::Classic(card) => card.target(),
            Self::Type2(card) => card.target(),
            Self::Part4(card) => card.target(),
            Self::Unknown(card) => card.target,
        }
    }

    /// Its UID.
    pub fn uid(&self) -> Uid {
        self.target().uid
    }

    fn forget_session(&mut self) {
        match self {
            Self::Classic(card) => card.forget_session(),
            Self::Type2(card) => card.forget_session(),
            Self::Part4(card) => card.forget_session(),
            Self::Unknown(_) => {}
        }
    }

    fn activation(&mut self) -> &mut Activation {
        match self {
            Self::Classic(card) => card.activation_mut(),
            Self::Type2(card) => card.activation_mut(),
            Self::Part4(card) => card.activation_mut(),
            Self::Unknown(card) => &mut card.activation,
        }
    }

    /// Takes REQA or WUPA; true when it answers with its ATQA.
    pub fn request(&mut self, request: Request) -> bool {
        match self {
            Self::Classic(card) => card.request(request),
            Self::Type2(card) => card.request(request),
            Self::Part4(card) => card.request(request),
            Self::Unknown(card) => card.activation.request(request),
        }
    }

    /// Brings it to ACTIVE.
    pub fn select(&mut self) {
        match self {
            Self::Classic(card) => {
                card.select();
            }
            Self::Type2(card) => {
                card.select();
            }
            Self::Part4(card) => card.select(),
            Self::Unknown(card) => card.activation = card.activation.selected(),
        }
    }

    /// Brings it to HALT.
    pub fn halt(&mut self) {
        match self {
            Self::Classic(card) => card.halt(),
            Self::Type2(card) => card.halt(),
            Self::Part4(card) => card.halt(),
            Self::Unknown(card) => card.activation = Activation::Halt,
        }
    }

    /// Hears something that it does not know, and falls back to IDLE or HALT.
    pub fn disturb(&mut self) {
        self.forget_session();
        let activation = self.activation();
        *activation = activation.fallen();
    }

    /// Takes its power away: memory stays, everything else is forgotten.
    pub fn power_off(&mut self) {
        match self {
            Self::Classic(card) => card.power_off(),
            Self::Type2(card) => card.power_off(),
            Self::Part4(card) => card.power_off(),
            Self::Unknown(card) => card.activation = Activation::Idle,
        }
    }

    /// Whether it is the selected one.
    pub fn is_active(&self) -> bool {
        let activation = match self {
            Self::Classic(card) => card.activation(),
            Self::Type2(card) => card.activation(),
            Self::Part4(card) => card.activation(),
            Self::Unknown(card) => card.activation,
        };
        matches!(activation, Activation::Active { .. })
    }
}

/// How memory wears out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wear {
    /// What is written does not stay, though the card says so.
    Stuck,
    /// The card refuses to read and to write it.
    Dead,
}

/// A card of a kind that is not simulated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownCard {
    target: Target,
    activation: Activation,
}

impl UnknownCard {
    /// A card that answers activation with this and nothing else.
    pub fn new(target: Target) -> Self {
        Self { target, activation: Activation::Idle }
    }
}

/// The two short frames that call cards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// REQA, 26: cards in IDLE answer.
    Idle,
    /// WUPA, 52: cards in IDLE and HALT answer.
    WakeUp,
}

/// Where a card stands between power and selection.
///
/// Source: ISO/IEC 14443-3, 6.3 (PICC states), the starred states folded into `from_halt`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Activation {
    Idle,
    Ready { from_halt: bool },
    Active { from_halt: bool },
    Halt,
}

impl Activation {
    /// Takes REQA or WUPA. An ACTIVE card does not answer and falls back, so the next request finds it.
    fn request(&mut self, request: Request) -> bool {
        let (next, answers) = match (*self, request) {
            (Self::Idle, Request::Idle | Request::WakeUp) => (Self::Ready { from_halt: false }, true),
            (Self::Halt, Request::WakeUp) => (Self::Ready { from_halt: true }, true),
            (Self::Halt, Request::Idle) => (Self::Halt, false),
            (Self::Ready { .. } | Self::Active { .. }, Request::Idle | Request::WakeUp) => (self.fallen(), false),
        };
        *self = next;
        answers
    }

    /// ACTIVE, by whichever way.
    fn selected(self) -> Self {
        Self::Active { from_halt: matches!(self.fallen(), Self::Halt) }
    }

    /// Where a card falls to after something that it did not expect.
    fn fallen(self) -> Self {
        match self {
            Self::Idle | Self::Ready { from_halt: false } | Self::Active { from_halt: false } => Self::Idle,
            Self::Halt | Self::Ready { from_halt: true } | Self::Active { from_halt: true } => Self::Halt,
        }
    }
}
