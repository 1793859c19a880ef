//! Card families: what a card is, told from what it answered at activation.
//!
//! A family that carries credentials is one file here and one line in [`FAMILIES`].

pub mod access;
pub mod classic;
pub mod maker;
pub mod other;
pub mod type2;
pub mod ultralight_c;

use crate::id::Target;
use classic::ClassicSize;

/// What lies on the reader, as far as its activation tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CardKind {
    /// MIFARE Classic of this size.
    Classic(ClassicSize),
    /// An NFC Forum Type 2 card: which one, the card itself has to say (see [`type2::Type2Kind`]).
    Type2,
    /// An ISO/IEC 14443-4 card: payment card, phone, `DESFire`. Which one, [`other::Classify`] finds out.
    Iso14443Part4,
    /// Anything else; [`other::classify`] has a name for it.
    Unknown,
}

/// A family: a line in [`FAMILIES`].
#[derive(Clone, Copy)]
pub struct Family {
    /// Its name, for people.
    pub name: &'static str,
    /// Recognises a card of the family.
    pub recognise: fn(&Target) -> Option<CardKind>,
}

/// The families in the order in which they are asked. Classic comes before ISO/IEC 14443-4, because Classic
/// emulations on smart cards (SAK 28, 38) set the bit of both and are used as Classic.
pub const FAMILIES: &[Family] = &[
    Family { name: "MIFARE Classic", recognise: classic::recognise },
    Family { name: "NFC Forum Type 2", recognise: type2::recognise },
    Family { name: "MIFARE Plus", recognise: other::recognise_mifare_plus },
    Family { name: "ISO/IEC 14443-4", recognise: other::recognise_part4 },
    Family { name: "ISO/IEC 14443 B, FeliCa or ISO/IEC 15693", recognise: other::recognise_technology },
];

/// Says what a target is.
pub fn identify(target: &Target) -> CardKind {
    FAMILIES.iter().find_map(|family| (family.recognise)(target)).unwrap_or(CardKind::Unknown)
}
