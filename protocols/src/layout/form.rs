//! Which card carries OCL/1 where, and in which form.
//!
//! | card | slot A | slot B | form | doors |
//! | --- | --- | --- | --- | --- |
//! | Classic Mini, 1K, 4K | sectors 1, 2 | sectors 3, 4 | full | 17 |
//! | Ultralight | pages 4 to 9 | pages 10 to 15 | compact | 1 |
//! | Ultralight EV1, 48 bytes | pages 4 to 9 | pages 10 to 15 | compact | 1 |
//! | Ultralight EV1, 128 bytes | pages 4 to 19 | pages 20 to 35 | full | 1 |
//! | Ultralight C | pages 4 to 21 | pages 22 to 39 | full | 5 |
//! | NTAG213 | pages 4 to 21 | pages 22 to 39 | full | 5 |
//! | NTAG213 behind an NDEF message | pages 28 to 33 | pages 34 to 39 | compact | 1 |
//! | NTAG215 | pages 82 to 105 | pages 106 to 129 | full | 17 |
//! | NTAG216 | pages 178 to 201 | pages 202 to 225 | full | 17 |
//!
//! On pages a slot begins with its seal: four pages in the full form, three in the compact one.

use crate::family::classic::{ClassicSize, SectorNumber};
use crate::family::type2::{DataPage, PageNumber, Type2Kind};
use crate::layout::compact::COMPACT_DOORS_MAX;
use crate::layout::ocl1::{self, Slot};
use core::fmt;
use core::ops::RangeInclusive;

/// The two forms of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordForm {
    /// [`crate::layout::record::Record`], under a seal of 14 bytes.
    Full,
    /// [`crate::layout::compact::CompactRecord`], under a seal of 12 bytes.
    Compact,
}

/// What a card is to the layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// MIFARE Classic of this size.
    Classic(ClassicSize),
    /// A Type 2 card, and the place on it.
    Type2(Place),
}

impl From<ClassicSize> for Form {
    fn from(size: ClassicSize) -> Self {
        Self::Classic(size)
    }
}

impl From<Place> for Form {
    fn from(place: Place) -> Self {
        Self::Type2(place)
    }
}

impl Form {
    /// Which form its records have.
    pub fn record_form(self) -> RecordForm {
        match self {
            Self::Classic(_) => RecordForm::Full,
            Self::Type2(place) => place.form,
        }
    }

    /// How many doors a record may have.
    pub fn doors_max(self) -> u8 {
        match self {
            Self::Classic(size) => ocl1::doors_max(size),
            Self::Type2(place) => place.doors_max,
        }
    }

    /// The last sequence that a seal can count to.
    pub fn sequence_max(self) -> u32 {
        match self.record_form() {
            RecordForm::Full => u32::MAX,
            RecordForm::Compact => u32::from(u16::MAX),
        }
    }
}

/// Where the slots lie on a Type 2 card: a line in [`PLACES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    kind: Type2Kind,
    behind_ndef: bool,
    form: RecordForm,
    /// The first page of slot A, and of both.
    first: u8,
    /// How many pages a slot has, seal included.
    pages: u8,
    doors_max: u8,
}

const fn place(kind: Type2Kind, form: RecordForm, first: u8, pages: u8, doors_max: u8) -> Place {
    Place { kind, behind_ndef: false, form, first, pages, doors_max }
}

/// All places. A card that has two of them says with AUTH0, the first page that its password protects, which it is.
pub const PLACES: &[Place] = &[
    place(Type2Kind::Ultralight, RecordForm::Compact, 4, 6, COMPACT_DOORS_MAX),
    place(Type2Kind::UltralightEv1Small, RecordForm::Compact, 4, 6, COMPACT_DOORS_MAX),
    place(Type2Kind::UltralightEv1Large, RecordForm::Full, 4, 16, 1),
    place(Type2Kind::UltralightC, RecordForm::Full, 4, 18, 5),
    place(Type2Kind::Ntag213, RecordForm::Full, 4, 18, 5),
    Place { behind_ndef: true, ..place(Type2Kind::Ntag213, RecordForm::Compact, 28, 6, COMPACT_DOORS_MAX) },
    place(Type2Kind::Ntag215, RecordForm::Full, 82, 24, 17),
    place(Type2Kind::Ntag216, RecordForm::Full, 178, 24, 17),
];

impl Place {
    /// The place on a card that is to be prepared, with an NDEF message in front of it or without. Where both fit, or
    /// none does, the place is the same.
    pub fn of(kind: Type2Kind, ndef: bool) -> Self {
        let of_kind = || PLACES.iter().filter(|place| place.kind == kind);
        let exact = of_kind().find(|place| place.behind_ndef == ndef);
        // Every kind has its line, which a test holds.
        exact.or_else(|| of_kind().next()).copied().unwrap_or(place(kind, RecordForm::Compact, 4, 6, COMPACT_DOORS_MAX))
    }

    /// The place on a prepared card, by its AUTH0; `None` when none begins there.
    pub fn by_auth0(kind: Type2Kind, auth0: u8) -> Option<Self> {
        PLACES.iter().find(|place| place.kind == kind && place.first == auth0).copied()
    }

    /// Which card.
    pub fn kind(self) -> Type2Kind {
        self.kind
    }

    /// Which form its records have.
    pub fn record_form(self) -> RecordForm {
        self.form
    }

    /// The first page of slot A: what AUTH0 says.
    pub fn first_page(self) -> PageNumber {
        PageNumber::new(self.first)
    }

    /// The first page of a slot.
    pub fn slot_page(self, slot: Slot) -> PageNumber {
        PageNumber::new(self.first + slot.code() * self.pages)
    }

    /// How many pages a slot has, seal included.
    pub fn slot_pages(self) -> u8 {
        self.pages
    }

    /// How many pages a seal has.
    pub fn seal_pages(self) -> u8 {
        match self.form {
            RecordForm::Full => 4,
            RecordForm::Compact => 3,
        }
    }

    /// How many bytes of payload a slot has.
    pub fn payload_bytes(self) -> usize {
        4 * usize::from(self.pages - self.seal_pages())
    }

    /// The pages of a slot, seal first.
    pub fn pages(self, slot: Slot) -> impl Iterator<Item = DataPage> {
        let first = self.slot_page(slot).get();
        (first..first + self.pages).filter_map(move |page| DataPage::new(self.kind, PageNumber::new(page)))
    }

    /// The pages in front of the slots that an NDEF message may fill; `None` where there is no room for one.
    pub fn ndef_pages(self) -> Option<RangeInclusive<u8>> {
        self.kind.capability_container().filter(|_| self.first > 4).map(|_| 4..=self.first - 1)
    }

    /// What a page is for.
    pub fn role(self, page: PageNumber) -> PageRole {
        for slot in Slot::BOTH {
            let first = self.slot_page(slot).get();
            if (first..first + self.pages).contains(&page.get()) {
                let at = page.get() - first;
                let seal = self.seal_pages();
                return if at < seal { PageRole::Seal(slot) } else { PageRole::Payload(slot, at - seal + 1) };
            }
        }
        match page.get() {
            0..=2 => PageRole::Manufacturer,
            3 => PageRole::CapabilityContainer,
            number if number <= self.kind.last_user_page() => PageRole::Front,
            _ => PageRole::Configuration,
        }
    }
}

/// What a page is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageRole {
    /// UID and lock bytes.
    Manufacturer,
    /// Capability container, or one-time programmable bits.
    CapabilityContainer,
    /// A slot's seal.
    Seal(Slot),
    /// A slot's payload page, counted from 1.
    Payload(Slot, u8),
    /// User memory in front of the slots: an NDEF message, or nothing.
    Front,
    /// Lock bytes, protection, password, key, counters.
    Configuration,
}

impl fmt::Display for PageRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manufacturer => f.write_str("manufacturer page"),
            Self::CapabilityContainer => f.write_str("capability container"),
            Self::Seal(slot) => write!(f, "slot {slot} seal"),
            Self::Payload(slot, index) => write!(f, "slot {slot} payload {index}"),
            Self::Front => f.write_str("in front of the slots"),
            Self::Configuration => f.write_str("configuration"),
        }
    }
}

/// Where on a card something is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spot {
    /// A sector of a Classic card.
    Sector(SectorNumber),
    /// A page of a Type 2 card, or one of those after it.
    Page(PageNumber),
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sector(sector) => write!(f, "sector {sector}"),
            Self::Page(page) => write!(f, "page {page}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::compact::COMPACT_BYTES;
    use crate::layout::record::Record;

    #[test]
    fn places_lie_in_user_memory_and_hold_what_the_table_says() {
        for kind in Type2Kind::ALL {
            for ndef in [false, true] {
                let place = Place::of(kind, ndef);
                assert_eq!(place.kind(), kind);
                assert_eq!(Place::by_auth0(kind, place.first_page().get()), Some(place));
                for slot in Slot::BOTH {
                    assert_eq!(place.pages(slot).count(), usize::from(place.slot_pages()), "{kind}");
                }
                assert_eq!(place.slot_page(Slot::B).get() + place.slot_pages() - 1, kind.last_user_page(), "{kind}");
                match place.record_form() {
                    RecordForm::Full => {
                        assert!(Record::bytes_for(place.doors_max) <= place.payload_bytes(), "{kind}");
                        assert!(Record::bytes_for(place.doors_max + 1) > place.payload_bytes(), "{kind}");
                    }
                    RecordForm::Compact => assert_eq!(place.payload_bytes(), COMPACT_BYTES, "{kind}"),
                }
            }
        }
    }
}
