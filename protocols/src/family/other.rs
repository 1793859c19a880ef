//! Cards that carry no credential, by name: what lies there decides what a clerk is told.
//!
//! | what | told by |
//! | --- | --- |
//! | payment card, phone that pays | selects `2PAY.SYS.DDF01` |
//! | `DESFire` | selects `D2760000850100`, or ATQA 0344 with SAK 20 |
//! | phone | ISO/IEC 14443-4 with a random UID, which begins with 08 |
//! | MIFARE Plus | SAK 10 or 11, or the reader's ATR |
//! | type B, `FeliCa`, ISO/IEC 15693 | the reader's ATR |
//!
//! What such cards get wrong: a payment card may have a random UID, too, and a phone may choose any ATQA. So the
//! applications are asked for first, and an ATQA decides only where none answers.
//!
//! Source: ISO/IEC 14443-3, 6.5.4 (random UIDs of four bytes begin with 08); NXP AN10833 (SAK and ATQA); EMV Contactless
//! Book B, 3.3.1 (`2PAY.SYS.DDF01`); phonegap-nfc's README for the name of a `DESFire`'s PICC level.

use crate::family::CardKind;
use crate::id::{Activation, AtrCard, Target, Technology};
use core::fmt;

/// A card that carries no credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OtherCard {
    /// A payment card, or a phone that pays.
    Payment,
    /// A phone.
    Phone,
    /// MIFARE `DESFire`.
    Desfire,
    /// MIFARE Plus at a security level that is not Classic's.
    MifarePlus,
    /// A smart card of ISO/IEC 14443-4 that is none of these.
    Part4,
    /// A card of another radio technology.
    Technology(Technology),
    /// A card of ISO/IEC 14443 A with a SAK, or with a name in the reader's ATR, that no family here has.
    Unknown,
}

impl OtherCard {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Payment,
        Self::Phone,
        Self::Desfire,
        Self::MifarePlus,
        Self::Part4,
        Self::Technology(Technology::TypeB),
        Self::Technology(Technology::Felica),
        Self::Technology(Technology::Iso15693),
        Self::Unknown,
    ];
}

impl fmt::Display for OtherCard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Payment => f.write_str("payment card"),
            Self::Phone => f.write_str("phone"),
            Self::Desfire => f.write_str("MIFARE DESFire"),
            Self::MifarePlus => f.write_str("MIFARE Plus"),
            Self::Part4 => f.write_str("smart card of ISO/IEC 14443-4"),
            Self::Technology(technology) => write!(f, "{technology} card"),
            Self::Unknown => f.write_str("unknown card"),
        }
    }
}

/// The name of the payment system environment of contactless cards, `2PAY.SYS.DDF01`.
pub const PAYMENT: &[u8] = b"2PAY.SYS.DDF01";

/// The name of a `DESFire`'s PICC level. NDEF applications of mapping version 1.0 have the same, and live on `DESFire` cards.
pub const DESFIRE: &[u8] = &[0xD2, 0x76, 0x00, 0x00, 0x85, 0x01, 0x00];

/// What a card answered when an application was selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// `9000`, or `61xx`: it has the application.
    Selected,
    /// Any other status word, or no answer that could be understood.
    Refused,
}

impl Answer {
    /// Reads an answer, status word included.
    ///
    /// Source: ISO/IEC 7816-4, 5.6 (9000, and 61xx: more data waits); 6283, a deactivated application, is there too.
    pub fn read(answer: &[u8]) -> Self {
        match answer {
            [.., 0x90, 0x00] | [.., 0x61, _] | [.., 0x62, 0x83] => Self::Selected,
            _ => Self::Refused,
        }
    }
}

/// Finds out what a card is that carries no credential: at most two selections, nothing else.
///
/// Ask [`Classify::poll`], do what it says, tell [`Classify::answered`].
#[derive(Clone, Debug)]
pub struct Classify {
    target: Target,
    answers: [Option<Answer>; 2],
}

/// What [`Classify`] wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Select the application of this name.
    Select(&'static [u8]),
    /// It is this.
    Is(OtherCard),
}

impl Classify {
    /// Starts with what activation told.
    pub fn new(target: Target) -> Self {
        Self { target, answers: [None; 2] }
    }

    /// What to do next; the same until it is answered.
    pub fn poll(&self) -> Next {
        let is_asked = CardKind::Iso14443Part4 == super::identify(&self.target);
        match self.answers {
            [None, _] if is_asked => Next::Select(PAYMENT),
            [Some(Answer::Refused), None] => Next::Select(DESFIRE),
            [payment, desfire] => Next::Is(classify(&self.target, payment, desfire)),
        }
    }

    /// The answer to what was wanted.
    pub fn answered(&mut self, answer: Answer) {
        let [payment, desfire] = &mut self.answers;
        if payment.is_none() {
            *payment = Some(answer);
        } else {
            *desfire = Some(answer);
        }
    }
}

/// Says what a card is, from its activation and from what it answered, `None` where it was not asked.
pub fn classify(target: &Target, payment: Option<Answer>, desfire: Option<Answer>) -> OtherCard {
    if payment == Some(Answer::Selected) {
        return OtherCard::Payment;
    }
    if desfire == Some(Answer::Selected) {
        return OtherCard::Desfire;
    }
    match target.activation {
        Activation::Atr(AtrCard::Technology(technology)) => OtherCard::Technology(technology),
        Activation::TypeA { sak: 0x10 | 0x11, .. }
        | Activation::Atr(AtrCard::Sak(0x10 | 0x11) | AtrCard::Named(0x0036..=0x0039)) => OtherCard::MifarePlus,
        Activation::TypeA { sak, .. } | Activation::Atr(AtrCard::Sak(sak)) if sak & PART_4 == 0 => OtherCard::Unknown,
        Activation::Atr(AtrCard::Named(_) | AtrCard::Other) => OtherCard::Unknown,
        Activation::TypeA { .. } | Activation::Atr(AtrCard::Sak(_) | AtrCard::Iso14443Part4) if is_random(target) => {
            OtherCard::Phone
        }
        Activation::TypeA { atqa: [0x03, 0x44], sak: 0x20 } => OtherCard::Desfire,
        Activation::TypeA { .. } | Activation::Atr(AtrCard::Sak(_) | AtrCard::Iso14443Part4) => OtherCard::Part4,
    }
}

/// SAK bit 6: compliant with ISO/IEC 14443-4. Source: ISO/IEC 14443-3, 6.5.3.4 (SAK coding).
const PART_4: u8 = 0x20;

/// A UID that is made anew for each field.
fn is_random(target: &Target) -> bool {
    matches!(*target.uid.as_bytes(), [0x08, _, _, _])
}

/// Recognises MIFARE Plus at security level 2.
///
/// Source: NXP AN10833 (SAK 10 and 11); PC/SC part 3 supplement 2.01.08, table 3 (0036 to 0039 MIFARE Plus SL1 and SL2).
pub(super) fn recognise_mifare_plus(target: &Target) -> Option<CardKind> {
    (classify(target, None, None) == OtherCard::MifarePlus).then_some(CardKind::Unknown)
}

/// Recognises a card of ISO/IEC 14443-4.
pub(super) fn recognise_part4(target: &Target) -> Option<CardKind> {
    let speaks_it = match target.activation {
        Activation::TypeA { sak, .. } | Activation::Atr(AtrCard::Sak(sak)) => sak & PART_4 != 0,
        Activation::Atr(AtrCard::Iso14443Part4) => true,
        Activation::Atr(AtrCard::Named(_) | AtrCard::Technology(_) | AtrCard::Other) => false,
    };
    speaks_it.then_some(CardKind::Iso14443Part4)
}

/// Recognises a card of another radio technology.
pub(super) fn recognise_technology(target: &Target) -> Option<CardKind> {
    matches!(target.activation, Activation::Atr(AtrCard::Technology(_))).then_some(CardKind::Unknown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Uid;
    use alloc::vec::Vec;

    const FIXED: [u8; 7] = [0x04, 0x78, 0x2E, 0x21, 0x80, 0x1D, 0x80];
    const RANDOM: [u8; 4] = [0x08, 0x12, 0x34, 0x56];

    fn type_a(uid: &[u8], atqa: [u8; 2], sak: u8) -> Target {
        Target::type_a(Uid::new(uid).unwrap(), atqa, sak)
    }

    fn behind_pcsc(uid: &[u8], card: AtrCard) -> Target {
        Target { uid: Uid::new(uid).unwrap(), activation: Activation::Atr(card) }
    }

    /// Asks a card that has the applications of these names.
    fn ask(target: Target, has: &[&[u8]]) -> (OtherCard, Vec<&'static [u8]>) {
        let mut machine = Classify::new(target);
        let mut asked = Vec::new();
        loop {
            match machine.poll() {
                Next::Is(card) => return (card, asked),
                Next::Select(name) => {
                    asked.push(name);
                    machine.answered(if has.contains(&name) { Answer::Selected } else { Answer::Refused });
                }
            }
        }
    }

    #[test]
    fn cards_have_their_names() {
        use OtherCard::*;
        for (target, has, expected) in [
            // A bank card's UID may be random as a phone's.
            (type_a(&RANDOM, [0x00, 0x04], 0x20), &[PAYMENT][..], Payment),
            (type_a(&FIXED, [0x03, 0x44], 0x20), &[PAYMENT], Payment),
            (type_a(&RANDOM, [0x00, 0x04], 0x20), &[], Phone),
            (type_a(&RANDOM, [0x03, 0x44], 0x20), &[], Phone),
            // A DESFire may be set to random UIDs, too: NXP AN10833 has its ATQA, 0304.
            (type_a(&RANDOM, [0x03, 0x04], 0x20), &[DESFIRE], Desfire),
            (type_a(&FIXED, [0x03, 0x44], 0x20), &[], Desfire),
            (type_a(&FIXED, [0x00, 0x44], 0x20), &[], Part4),
            (behind_pcsc(&FIXED, AtrCard::Iso14443Part4), &[DESFIRE], Desfire),
            (behind_pcsc(&FIXED, AtrCard::Iso14443Part4), &[PAYMENT, DESFIRE], Payment),
            (behind_pcsc(&RANDOM, AtrCard::Iso14443Part4), &[], Phone),
            (behind_pcsc(&FIXED, AtrCard::Iso14443Part4), &[], Part4),
        ] {
            assert_eq!(ask(target, has).0, expected, "{target:?}");
        }
    }

    #[test]
    fn only_smart_cards_are_asked_and_twice_at_the_most() {
        for (target, expected) in [
            (type_a(&FIXED, [0x00, 0x44], 0x11), OtherCard::MifarePlus),
            (type_a(&FIXED, [0x00, 0x44], 0x40), OtherCard::Unknown),
            (behind_pcsc(&FIXED, AtrCard::Named(0x0037)), OtherCard::MifarePlus),
            (behind_pcsc(&FIXED, AtrCard::Named(0x002F)), OtherCard::Unknown),
            (behind_pcsc(&RANDOM, AtrCard::Other), OtherCard::Unknown),
            (behind_pcsc(&RANDOM, AtrCard::Technology(Technology::TypeB)), OtherCard::Technology(Technology::TypeB)),
        ] {
            assert_eq!(ask(target, &[PAYMENT, DESFIRE]), (expected, Vec::new()), "{target:?}");
        }
        let smart = type_a(&FIXED, [0x00, 0x44], 0x20);
        assert_eq!(ask(smart, &[PAYMENT]).1, [PAYMENT]);
        assert_eq!(ask(smart, &[]).1, [PAYMENT, DESFIRE]);
    }

    #[test]
    fn status_words_of_iso_7816_say_whether_it_is_there() {
        // A real card's answer ends with 9000; 6A82 is "file not found", 6985 "conditions not satisfied".
        for (answer, expected) in [
            (&[0x6F, 0x00, 0x90, 0x00][..], Answer::Selected),
            (&[0x61, 0x2A], Answer::Selected),
            (&[0x62, 0x83], Answer::Selected),
            (&[0x6A, 0x82], Answer::Refused),
            (&[0x69, 0x85], Answer::Refused),
            (&[0x90], Answer::Refused),
            (&[], Answer::Refused),
        ] {
            assert_eq!(Answer::read(answer), expected, "{answer:02x?}");
        }
    }

    #[test]
    fn whatever_a_card_answers_it_has_a_name() {
        let answers = [None, Some(Answer::Selected), Some(Answer::Refused)];
        for sak in 0..=255 {
            for (payment, desfire) in answers.iter().flat_map(|a| answers.iter().map(move |b| (*a, *b))) {
                let card = classify(&type_a(&FIXED, [0x00, 0x04], sak), payment, desfire);
                assert!(OtherCard::ALL.contains(&card));
            }
        }
    }
}
