//! The configuration pages of a Type 2 card: what closes it, and how it is closed by us.

use crate::command::Secret;
use crate::family::type2::{ConfigPage, PageNumber, Type2Kind};
use crate::layout::form::Place;
use crate::layout::keys::CardKeys;
use alloc::vec::Vec;

/// The two pages from [`Type2Kind::config_page`] on, as they read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Config {
    kind: Type2Kind,
    pages: [[u8; 4]; 2],
}

/// CFGLCK: configuration is locked for good. Source: NXP "NTAG213F/216F" data sheet rev. 3.1, section 8.5.7, ACCESS.
const CONFIG_LOCKED: u8 = 0x40;

/// PROT: reading needs the password too. Same source.
const READ_PROTECTED: u8 = 0x80;

/// AUTHLIM: after so many wrong passwords the card takes none any more. Same source.
const ATTEMPTS_LIMIT: u8 = 0x07;

/// `MIRROR_CONF`: UID or counter appear in user memory in place of what is stored there. Same source.
const MIRROR: u8 = 0xC0;

/// An NTAG's first configuration byte as it leaves the factory: strong modulation, no mirror. Same source.
const NTAG_MODULATION: u8 = 0x04;

impl Config {
    /// `None` for a card without configuration, or when two pages were not read.
    pub(super) fn new(kind: Type2Kind, pages: &[[u8; 4]]) -> Option<Self> {
        kind.config_page()?;
        Some(Self { kind, pages: pages.first_chunk::<2>().copied()? })
    }

    /// From which page on the card is closed.
    pub(super) fn auth0(&self) -> u8 {
        let [[first, _, _, last], _] = self.pages;
        if self.kind.has_password() { last } else { first }
    }

    fn access(&self) -> u8 {
        let [_, [access, ..]] = self.pages;
        access
    }

    /// Whether nothing is closed.
    pub(super) fn is_open(&self) -> bool {
        self.auth0() >= self.kind.pages()
    }

    /// Whether wrong passwords are counted: ours must not be tried on such a card unless it is known to be right.
    pub(super) fn limits_attempts(&self) -> bool {
        self.kind.has_password() && self.access() & ATTEMPTS_LIMIT != 0
    }

    /// Whether nobody can change the configuration any more.
    pub(super) fn is_locked(&self) -> bool {
        self.kind.has_password() && self.access() & CONFIG_LOCKED != 0
    }

    /// Whether reading is closed too, from AUTH0 on.
    pub(super) fn closes_reading(&self) -> bool {
        if self.kind.has_password() {
            self.access() & READ_PROTECTED != 0
        } else {
            // AUTH1 of an Ultralight C: bit 0 set closes writing only. Source: NXP MF0ICU2 data sheet, section 7.5.8.
            self.access() & 0x01 == 0
        }
    }

    fn mirrors(&self) -> bool {
        let [[first, ..], _] = self.pages;
        matches!(self.kind, Type2Kind::Ntag213 | Type2Kind::Ntag215 | Type2Kind::Ntag216) && first & MIRROR != 0
    }

    /// Whether the configuration is what it is on a new card, as far as it matters here.
    pub(super) fn is_factory(&self) -> bool {
        // Where nothing is closed, AUTH1 says nothing.
        let reading = self.kind.has_password() && self.closes_reading();
        self.is_open() && !self.limits_attempts() && !self.is_locked() && !reading && !self.mirrors()
    }

    /// Whether the card is closed as we close it: writing from the first slot on, reading free.
    pub(super) fn is_ours(&self, place: Place) -> bool {
        self.auth0() == place.first_page().get()
            && !self.closes_reading()
            && !self.limits_attempts()
            && !self.is_locked()
            && !self.mirrors()
    }

    /// The pages as they are to be on a card of ours.
    ///
    /// ACCESS of a card with a password is not touched: torn, it could lock the configuration for good or count attempts.
    fn closed(&self, place: Place) -> [[u8; 4]; 2] {
        let first = place.first_page().get();
        let [[modulation, second, third, _], access] = self.pages;
        if !self.kind.has_password() {
            return [[first, 0, 0, 0], [0x01, 0, 0, 0]];
        }
        let page = if self.mirrors() { [NTAG_MODULATION, 0, 0, first] } else { [modulation, second, third, first] };
        [page, access]
    }

    /// What closes the card, in the order in which it is written: what says how before what says from where.
    pub(super) fn to_close(self, place: Place) -> Vec<(ConfigPage, Secret<4>)> {
        let [auth0, access] = self.closed(place);
        let [auth0_page, access_page, ..] = self.numbers();
        let last = if self.kind.has_password() { None } else { Some((access_page, access)) };
        let writes = last.into_iter().chain([(auth0_page, auth0)]);
        writes.filter_map(|(page, data)| Some((ConfigPage::new(self.kind, page)?, Secret::new(data)))).collect()
    }

    /// The first of the configuration pages, and what is read there on a card of ours.
    pub(super) fn expected(&self, place: Place) -> (PageNumber, [[u8; 4]; 2]) {
        let [first, ..] = self.numbers();
        (first, self.closed(place))
    }

    /// Password and PACK, or the 3DES key, in the order in which they are written: the password last, because trying it
    /// proves both.
    pub(super) fn secrets(&self, keys: &CardKeys) -> Vec<(ConfigPage, Secret<4>)> {
        let [_, _, third, fourth, fifth, sixth] = self.numbers();
        let pages = |pages: Vec<(PageNumber, Secret<4>)>| {
            let page = |(page, data)| Some((ConfigPage::new(self.kind, page)?, data));
            pages.into_iter().filter_map(page).collect()
        };
        if self.kind.has_password() {
            let [p0, p1] = *keys.pack().expose();
            pages(Vec::from([(fourth, Secret::new([p0, p1, 0, 0])), (third, Secret::new(*keys.password().expose()))]))
        } else {
            pages([third, fourth, fifth, sixth].into_iter().zip(keys.ultralight_c_key().to_pages()).collect())
        }
    }

    /// AUTH0's page and those after it.
    fn numbers(&self) -> [PageNumber; 6] {
        let mut next = self.kind.config_page().map_or(0, PageNumber::get)..;
        [(); 6].map(|()| PageNumber::new(next.next().unwrap_or(u8::MAX)))
    }
}
