//! What the access conditions of MIFARE Classic allow.
//!
//! Source: NXP MF1S50yyX/V1 data sheet, section 8.7.2, tables "Access conditions for the sector trailer" and 8.7.3,
//! "Access conditions for data blocks".

use crate::family::classic::Condition;

/// Which key of a sector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeySlot {
    /// Key A, command 60.
    A,
    /// Key B, command 61.
    B,
}

/// Which key may do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// None.
    Never,
    /// Key A alone.
    KeyA,
    /// Key B alone.
    KeyB,
    /// Both.
    Either,
}

impl Allowed {
    /// Whether it may be done with this key.
    pub fn to(self, slot: KeySlot) -> bool {
        match (self, slot) {
            (Self::Either, KeySlot::A | KeySlot::B) | (Self::KeyA, KeySlot::A) | (Self::KeyB, KeySlot::B) => true,
            (Self::Never, KeySlot::A | KeySlot::B) | (Self::KeyA, KeySlot::B) | (Self::KeyB, KeySlot::A) => false,
        }
    }
}

/// Rights on a data block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataRights {
    /// Reading.
    pub read: Allowed,
    /// Writing.
    pub write: Allowed,
    /// Incrementing.
    pub increment: Allowed,
    /// Decrement, transfer and restore share one column.
    pub decrement: Allowed,
}

impl DataRights {
    /// Under this condition.
    pub fn of(condition: Condition) -> Self {
        use Allowed::{Either, KeyB, Never};
        let (read, write, increment, decrement) = match condition.code() {
            0b000 => (Either, Either, Either, Either),
            0b010 => (Either, Never, Never, Never),
            0b100 => (Either, KeyB, Never, Never),
            0b110 => (Either, KeyB, KeyB, Either),
            0b001 => (Either, Never, Never, Either),
            0b011 => (KeyB, KeyB, Never, Never),
            0b101 => (KeyB, Never, Never, Never),
            _ => (Never, Never, Never, Never),
        };
        Self { read, write, increment, decrement }
    }
}

/// Rights on a sector trailer. Key A can never be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrailerRights {
    /// Writing key A.
    pub key_a_write: Allowed,
    /// Reading the access bits.
    pub access_bits_read: Allowed,
    /// Writing the access bits.
    pub access_bits_write: Allowed,
    /// Reading key B.
    pub key_b_read: Allowed,
    /// Writing key B.
    pub key_b_write: Allowed,
}

impl TrailerRights {
    /// Under this condition.
    pub fn of(condition: Condition) -> Self {
        use Allowed::{Either, KeyA, KeyB, Never};
        let [key_a_write, access_bits_read, access_bits_write, read_b, write_b] = match condition.code() {
            0b000 => [KeyA, KeyA, Never, KeyA, KeyA],
            0b010 => [Never, KeyA, Never, KeyA, Never],
            0b100 => [KeyB, Either, Never, Never, KeyB],
            0b001 => [KeyA, KeyA, KeyA, KeyA, KeyA],
            0b011 => [KeyB, Either, KeyB, Never, KeyB],
            0b101 => [Never, Either, KeyB, Never, Never],
            // 110 and 111 are the same row twice.
            _ => [Never, Either, Never, Never, Never],
        };
        Self { key_a_write, access_bits_read, access_bits_write, key_b_read: read_b, key_b_write: write_b }
    }

    /// A key B that can be read is data: logging in with it opens nothing (the grey lines of the table).
    pub fn key_b_is_a_key(self) -> bool {
        self.key_b_read == Allowed::Never
    }
}
