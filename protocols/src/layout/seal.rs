//! The seal: what makes a record on a card authentic.
//!
//! | offset | bytes | full form |
//! | --- | --- | --- |
//! | 0 | 1 | version: 1 |
//! | 1 | 1 | key id |
//! | 2 | 4 | sequence; the highest valid one counts |
//! | 6 | 8 | MAC |
//! | 14 | 2 | zero |
//!
//! | offset | bytes | compact form |
//! | --- | --- | --- |
//! | 0 | 1 | version: 2 |
//! | 1 | 1 | key id |
//! | 2 | 2 | sequence |
//! | 4 | 8 | MAC |
//!
//! Big-endian. A seal of zeros is no seal: the slot is empty or retired.

use crate::layout::compact::{COMPACT_BYTES, CompactRecord};
use crate::layout::keys::{CardKeys, aes_cmac_of, uid_length};
use crate::layout::ocl1::Slot;
use crate::layout::record::PropertyId;
use subtle::ConstantTimeEq;

/// The version of the full form in a seal.
pub const VERSION: u8 = 1;

/// The version of the compact form in a seal.
pub const VERSION_COMPACT: u8 = 2;

/// How long a seal of the compact form is, in bytes.
pub const COMPACT_SEAL_BYTES: usize = 12;

/// A seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seal {
    /// The version of the layout.
    pub version: u8,
    /// Which property key it was made with.
    pub key_id: u8,
    /// The highest valid one on a card is the current one. Of 16 bits in the compact form.
    pub sequence: u32,
    /// The first 8 bytes of an AES-CMAC.
    pub mac: [u8; 8],
}

impl Seal {
    /// Seals a payload for one slot of one card.
    pub fn new(keys: &CardKeys, slot: Slot, sequence: u32, payload: &[u8]) -> Self {
        let unsigned = Self { version: VERSION, key_id: keys.key_id(), sequence, mac: [0; 8] };
        Self { mac: unsigned.expected_mac(keys, slot, payload).unwrap_or_default(), ..unsigned }
    }

    /// Seals a compact record for one slot of one card.
    pub fn compact(keys: &CardKeys, slot: Slot, sequence: u16, record: &CompactRecord) -> Self {
        let unsigned = Self { version: VERSION_COMPACT, key_id: keys.key_id(), sequence: sequence.into(), mac: [0; 8] };
        let mac = unsigned.expected_compact_mac(keys, slot, record.property_id, &record.encode());
        Self { mac: mac.unwrap_or_default(), ..unsigned }
    }

    /// The full form: 14 bytes of seal and 2 of zero.
    pub fn to_block(self) -> [u8; 16] {
        let [s0, s1, s2, s3] = self.sequence.to_be_bytes();
        let [m0, m1, m2, m3, m4, m5, m6, m7] = self.mac;
        [self.version, self.key_id, s0, s1, s2, s3, m0, m1, m2, m3, m4, m5, m6, m7, 0, 0]
    }

    /// Reads a block; `None` when the last two bytes are not zero. Whether the seal holds is for [`Seal::holds`] to say.
    pub fn from_block(block: &[u8; 16]) -> Option<Self> {
        let [version, key_id, s0, s1, s2, s3, mac @ .., 0, 0] = *block else { return None };
        Some(Self { version, key_id, sequence: u32::from_be_bytes([s0, s1, s2, s3]), mac })
    }

    /// The compact form.
    pub fn to_compact(self) -> [u8; COMPACT_SEAL_BYTES] {
        let [_, _, s0, s1] = self.sequence.to_be_bytes();
        let [m0, m1, m2, m3, m4, m5, m6, m7] = self.mac;
        [self.version, self.key_id, s0, s1, m0, m1, m2, m3, m4, m5, m6, m7]
    }

    /// Reads the compact form. Whether the seal holds is for [`Seal::holds_compact`] to say.
    pub fn from_compact(bytes: &[u8; COMPACT_SEAL_BYTES]) -> Self {
        let [version, key_id, s0, s1, mac @ ..] = *bytes;
        Self { version, key_id, sequence: u16::from_be_bytes([s0, s1]).into(), mac }
    }

    /// Whether the MAC is right for this payload in this slot of this card, with the key that the seal names. Takes the same
    /// time wherever a MAC differs.
    pub fn holds(&self, keys: &CardKeys, slot: Slot, payload: &[u8]) -> bool {
        self.expected_mac(keys, slot, payload).is_some_and(|mac| mac.ct_eq(&self.mac).into())
    }

    /// Whether the MAC is right for this compact payload in this slot of this card of this property. Takes the same time
    /// wherever a MAC differs.
    pub fn holds_compact(
        &self,
        keys: &CardKeys,
        slot: Slot,
        property: PropertyId,
        payload: &[u8; COMPACT_BYTES],
    ) -> bool {
        self.expected_compact_mac(keys, slot, property, payload).is_some_and(|mac| mac.ct_eq(&self.mac).into())
    }

    fn expected_mac(&self, keys: &CardKeys, slot: Slot, payload: &[u8]) -> Option<[u8; 8]> {
        self.mac_over(keys, slot, &self.sequence.to_be_bytes(), &[], payload)
    }

    fn expected_compact_mac(
        &self,
        keys: &CardKeys,
        slot: Slot,
        property: PropertyId,
        payload: &[u8; COMPACT_BYTES],
    ) -> Option<[u8; 8]> {
        let [_, _, sequence @ ..] = self.sequence.to_be_bytes();
        self.mac_over(keys, slot, &sequence, &property.0, payload)
    }

    /// What the MAC covers, in bytes: `"OCL1"` 4, version 1, key id 1, UID length 1, UID 4, 7 or 10, slot 1 (A is 0,
    /// B is 1), sequence 4 (compact: 2), length 2 of what follows, in the compact form the property's id 16, payload.
    /// Big-endian; no field has a length of its own left to guess.
    ///
    /// `None` where the key that the seal names is not there.
    fn mac_over(
        &self,
        keys: &CardKeys,
        slot: Slot,
        sequence: &[u8],
        property: &[u8],
        payload: &[u8],
    ) -> Option<[u8; 8]> {
        // A payload is a record: at most 46 + 2 × 255 bytes.
        let len = u16::try_from(property.len() + payload.len()).unwrap_or(u16::MAX);
        let mac = aes_cmac_of(
            keys.seal_key_of(self.key_id)?.expose(),
            &[
                b"OCL1",
                &[self.version, self.key_id],
                &[uid_length(keys.uid())],
                keys.uid().as_bytes(),
                &[slot.code()],
                sequence,
                &len.to_be_bytes(),
                property,
                payload,
            ],
        );
        mac.first_chunk::<8>().copied()
    }
}
