//! Layouts: what lies where on a card, and what makes it authentic.
//!
//! A layout is one file here and one line in [`LAYOUTS`]. OCL/1, the open card layout, is described byte by byte in
//! `docs/card-layout.md`.

pub mod compact;
#[cfg(feature = "alloc")]
pub mod content;
pub mod form;
pub mod keys;
pub mod mad;
#[cfg(feature = "alloc")]
pub mod ndef;
pub mod ocl1;
pub mod pages;
pub mod record;
pub mod seal;
pub mod verify;

use crate::family::CardKind;
use crate::family::type2::Type2Kind;
use form::{Form, Place};

/// A layout: a line in [`LAYOUTS`].
#[derive(Clone, Copy)]
pub struct Layout {
    /// Its name, for people.
    pub name: &'static str,
    /// The family that it lies on, as in [`crate::family::FAMILIES`].
    pub family: &'static str,
    /// How it lies on such a card, from what the card is, which Type 2 card it has said to be, and whether an NDEF message
    /// is to lie in front; `None` when the card does not carry this layout.
    pub form: fn(CardKind, Option<Type2Kind>, bool) -> Option<Form>,
}

/// The layouts in the order in which they are asked.
pub const LAYOUTS: &[Layout] = &[
    Layout { name: "OCL/1", family: "MIFARE Classic", form: ocl1_on_classic },
    Layout { name: "OCL/1", family: "NFC Forum Type 2", form: ocl1_on_type2 },
];

/// The layout for a card, and how it lies there; `None` when there is none.
pub fn layout_for(card: CardKind, type2: Option<Type2Kind>, ndef: bool) -> Option<(&'static Layout, Form)> {
    LAYOUTS.iter().find_map(|layout| Some((layout, (layout.form)(card, type2, ndef)?)))
}

fn ocl1_on_classic(card: CardKind, _type2: Option<Type2Kind>, _ndef: bool) -> Option<Form> {
    match card {
        CardKind::Classic(size) => Some(Form::Classic(size)),
        CardKind::Type2 | CardKind::Iso14443Part4 | CardKind::Unknown => None,
    }
}

fn ocl1_on_type2(card: CardKind, type2: Option<Type2Kind>, ndef: bool) -> Option<Form> {
    match card {
        CardKind::Type2 => type2.map(|kind| Form::Type2(Place::of(kind, ndef))),
        CardKind::Classic(_) | CardKind::Iso14443Part4 | CardKind::Unknown => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::family::FAMILIES;
    use crate::family::classic::ClassicSize;

    #[test]
    fn every_layout_lies_on_a_family_that_exists() {
        for layout in LAYOUTS {
            assert!(FAMILIES.iter().any(|family| family.name == layout.family), "{}", layout.name);
        }
    }

    #[test]
    fn cards_without_a_layout_have_none() {
        let (layout, form) = layout_for(CardKind::Classic(ClassicSize::Mini), None, false).unwrap();
        assert_eq!((layout.name, form), ("OCL/1", Form::Classic(ClassicSize::Mini)));
        for kind in [CardKind::Iso14443Part4, CardKind::Unknown, CardKind::Type2] {
            assert!(layout_for(kind, None, false).is_none());
        }
        let (_, form) = layout_for(CardKind::Type2, Some(Type2Kind::Ntag213), true).unwrap();
        assert_eq!(form, Form::Type2(Place::of(Type2Kind::Ntag213, true)));
    }
}
