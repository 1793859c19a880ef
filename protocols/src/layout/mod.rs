//! Layouts: what lies where on a card, and what makes it authentic.
//!
//! A layout is one file here and one line in [`LAYOUTS`]. OCL/1, the open card layout, is described byte by byte in
//! `docs/card-layout.md`.

pub mod keys;
pub mod mad;
pub mod ocl1;
pub mod record;
pub mod seal;

use crate::family::CardKind;

/// A layout: a line in [`LAYOUTS`].
#[derive(Clone, Copy)]
pub struct Layout {
    /// Its name, for people.
    pub name: &'static str,
    /// The family that it lies on, as in [`crate::family::FAMILIES`].
    pub family: &'static str,
    /// How many doors a record may have on such a card; `None` when the card does not carry this layout.
    pub doors_max: fn(CardKind) -> Option<u8>,
}

/// The layouts in the order in which they are asked.
pub const LAYOUTS: &[Layout] = &[Layout { name: "OCL/1", family: "MIFARE Classic", doors_max: ocl1_classic_doors_max }];

/// The layout for a card; `None` when there is none.
pub fn layout_for(card: CardKind) -> Option<&'static Layout> {
    LAYOUTS.iter().find(|layout| (layout.doors_max)(card).is_some())
}

fn ocl1_classic_doors_max(card: CardKind) -> Option<u8> {
    match card {
        CardKind::Classic(size) => Some(ocl1::doors_max(size)),
        CardKind::Type2 | CardKind::Iso14443Part4 | CardKind::Unknown => None,
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
        assert_eq!(layout_for(CardKind::Classic(ClassicSize::Mini)).map(|layout| layout.name), Some("OCL/1"));
        assert!(layout_for(CardKind::Iso14443Part4).is_none());
        assert!(layout_for(CardKind::Unknown).is_none());
    }
}
