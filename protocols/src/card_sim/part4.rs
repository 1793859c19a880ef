//! Cards of ISO/IEC 14443-4 as far as it takes to tell them apart: `DESFire`, payment cards, phones.
//!
//! Source: ISO/IEC 14443-4, 5.2 (ATS); ISO/IEC 7816-4, 7.1.1 (SELECT); NXP AN10833 and the `DESFire` EV1 data sheet's list of
//! commands as nfcpy and libfreefare use it; EMV Contactless Book B, 3.3 (PPSE). UNVERIFIED: every byte that those do not fix.

use super::{Activation, CardError, Request};
use crate::id::{Target, Uid};
use alloc::vec::Vec;

/// RATS. Source: ISO/IEC 14443-4, 5.1.
pub const RATS: u8 = 0xE0;

const OK: [u8; 2] = [0x90, 0x00];
const NOT_FOUND: [u8; 2] = [0x6A, 0x82];
const UNKNOWN_INSTRUCTION: [u8; 2] = [0x6D, 0x00];
const UNKNOWN_CLASS: [u8; 2] = [0x6E, 0x00];

/// The ISO name of a `DESFire` card itself. Source: NXP AN12196, section "ISO 7816-4 commands".
const DESFIRE_NAME: [u8; 7] = [0xD2, 0x76, 0x00, 0x00, 0x85, 0x01, 0x00];

/// File control information of a payment card with one application. Source: EMV Contactless Book B, table 3-2.
const PAYMENT_FILE: [u8; 37] = [
    0x6F, 0x23, 0x84, 0x0E, b'2', b'P', b'A', b'Y', b'.', b'S', b'Y', b'S', b'.', b'D', b'D', b'F', b'0', b'1', 0xA5,
    0x11, 0xBF, 0x0C, 0x0E, 0x61, 0x0C, 0x4F, 0x07, 0xA0, 0x00, 0x00, 0x00, 0x04, 0x10, 0x10, 0x87, 0x01, 0x01,
];
const PAYMENT_NAME: &[u8] = b"2PAY.SYS.DDF01";

/// Hardware, software and production of a `DESFire` EV1 with 4 KiB, in three parts.
const DESFIRE_VERSION: [&[u8]; 3] = [
    &[0x04, 0x01, 0x01, 0x01, 0x00, 0x18, 0x05],
    &[0x04, 0x01, 0x01, 0x01, 0x04, 0x18, 0x05],
    &[0x04, 0x5A, 0x2B, 0x3C, 0x4D, 0x5E, 0x6F, 0xBA, 0x54, 0x07, 0x1A, 0x70, 0x42, 0x15],
];
const GET_VERSION: u8 = 0x60;
const NEXT_PART: u8 = 0xAF;

/// Which card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part4Kind {
    /// MIFARE `DESFire` EV1.
    Desfire,
    /// A payment card.
    Payment,
    /// A phone that plays card without a payment application: another UID in every field.
    Phone,
}

impl Part4Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Desfire, Self::Payment, Self::Phone];

    /// Its ATS. Sources: `DESFire` EV1, libfreefare's test card; the others only have a plain one.
    fn ats(self) -> &'static [u8] {
        match self {
            Self::Desfire => &[0x06, 0x75, 0x77, 0x81, 0x02, 0x80],
            Self::Payment => &[0x05, 0x78, 0x80, 0x70, 0x02],
            Self::Phone => &[0x05, 0x78, 0x33, 0x84, 0x00],
        }
    }

    fn atqa(self) -> [u8; 2] {
        match self {
            Self::Desfire => [0x03, 0x44],
            Self::Payment | Self::Phone => [0x00, 0x04],
        }
    }
}

/// A card of ISO/IEC 14443-4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part4Card {
    kind: Part4Kind,
    uid: Uid,
    activation: Activation,
    /// It has answered RATS.
    speaks: bool,
    /// It was selected since power came.
    was_selected: bool,
    /// How much of its version it has told.
    version_part: usize,
}

impl Part4Card {
    /// A card of this kind. A phone's UID is only its first one.
    pub fn new(kind: Part4Kind, uid: Uid) -> Self {
        Self { kind, uid, activation: Activation::Idle, speaks: false, was_selected: false, version_part: 0 }
    }

    /// What it is.
    pub fn kind(&self) -> Part4Kind {
        self.kind
    }

    /// What it answers at activation.
    pub fn target(&self) -> Target {
        Target::type_a(self.uid, self.kind.atqa(), 0x20)
    }

    /// What it answers to RATS, length first.
    pub fn ats(&self) -> &'static [u8] {
        self.kind.ats()
    }

    /// Its historical bytes, which readers put into their ATR.
    pub fn historical_bytes(&self) -> &'static [u8] {
        let ats = self.kind.ats();
        let Some(format) = ats.get(1) else { return &[] };
        let interface_bytes = usize::from(format >> 4 & 0x07).min(7);
        let count = (0..3).filter(|bit| interface_bytes & (1 << bit) != 0).count();
        ats.get(2 + count..).unwrap_or_default()
    }

    pub(super) fn request(&mut self, request: Request) -> bool {
        self.forget_session();
        self.activation.request(request)
    }

    pub(super) fn select(&mut self) {
        self.forget_session();
        self.was_selected = true;
        self.activation = self.activation.selected();
    }

    pub(super) fn halt(&mut self) {
        self.forget_session();
        self.activation = Activation::Halt;
    }

    /// A phone has another UID after each field.
    ///
    /// Source: ISO/IEC 14443-3, 6.5.4: 08 marks a UID that is made up at each power-up.
    pub(super) fn power_off(&mut self) {
        self.forget_session();
        self.activation = Activation::Idle;
        if core::mem::take(&mut self.was_selected) && self.kind == Part4Kind::Phone {
            let next = self
                .uid
                .last_four()
                .into_iter()
                .fold(0x811C_9DC5_u32, |seed, byte| (seed ^ u32::from(byte)).wrapping_mul(0x0100_0193));
            let [_, b1, b2, b3] = next.to_be_bytes();
            self.uid = Uid::new(&[0x08, b1, b2, b3]).unwrap_or(self.uid);
        }
    }

    pub(super) fn activation(&self) -> Activation {
        self.activation
    }

    pub(super) fn activation_mut(&mut self) -> &mut Activation {
        &mut self.activation
    }

    pub(super) fn forget_session(&mut self) {
        self.speaks = false;
        self.version_part = 0;
    }

    /// Answers RATS, once after each selection.
    ///
    /// # Errors
    /// `Silent` when it is not selected or has answered before.
    pub(super) fn rats(&mut self) -> Result<&'static [u8], CardError> {
        if !matches!(self.activation, Activation::Active { .. }) || self.speaks {
            self.activation = self.activation.fallen();
            self.forget_session();
            return Err(CardError::Silent);
        }
        self.speaks = true;
        Ok(self.ats())
    }

    /// Answers a command in a block of ISO/IEC 14443-4.
    ///
    /// # Errors
    /// `Silent` before RATS.
    pub(super) fn command(&mut self, bytes: &[u8]) -> Result<Vec<u8>, CardError> {
        if !matches!(self.activation, Activation::Active { .. }) || !self.speaks {
            self.activation = self.activation.fallen();
            return Err(CardError::Silent);
        }
        if self.kind == Part4Kind::Desfire
            && let Some(answer) = self.version(bytes)
        {
            return Ok(answer);
        }
        self.version_part = 0;
        let status = match bytes {
            [0x00, 0xA4, 0x04, _, len, rest @ ..] => {
                let name = rest.get(..usize::from(*len)).unwrap_or_default();
                match self.kind {
                    Part4Kind::Payment if name == PAYMENT_NAME => {
                        return Ok([&PAYMENT_FILE[..], &OK].concat());
                    }
                    Part4Kind::Desfire if name == DESFIRE_NAME => OK,
                    Part4Kind::Payment | Part4Kind::Desfire | Part4Kind::Phone => NOT_FOUND,
                }
            }
            [0x00, ..] => UNKNOWN_INSTRUCTION,
            _ => UNKNOWN_CLASS,
        };
        Ok(status.to_vec())
    }

    /// `GetVersion` in its own form and wrapped into APDUs; `None`: it is something else.
    fn version(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let (instruction, is_wrapped) = match *bytes {
            [instruction] => (instruction, false),
            [0x90, instruction, 0x00, 0x00, 0x00] => (instruction, true),
            _ => return None,
        };
        let part = match (instruction, self.version_part) {
            (GET_VERSION, _) => 0,
            (NEXT_PART, part @ 1..) => part,
            _ => return None,
        };
        let data = *DESFIRE_VERSION.get(part)?;
        let is_last = part + 1 == DESFIRE_VERSION.len();
        self.version_part = if is_last { 0 } else { part + 1 };
        let status = if is_last { 0x00 } else { NEXT_PART };
        Some(if is_wrapped { [data, &[0x91, status]].concat() } else { [&[status], data].concat() })
    }
}
