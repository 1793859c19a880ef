//! The seal: what makes a record on a card authentic.
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 1 | version: 1 |
//! | 1 | 1 | key id |
//! | 2 | 4 | sequence, big-endian; the highest valid one counts |
//! | 6 | 8 | MAC |
//! | 14 | 2 | zero, to the end of the block |
//!
//! An all-zero block is no seal: the slot is empty or retired.

use crate::id::Uid;
use crate::layout::keys::{AesKey, CardKeys, aes_cmac_of, uid_length};
use crate::layout::ocl1::Slot;
use subtle::ConstantTimeEq;

/// The version of the layout in a seal.
pub const VERSION: u8 = 1;

/// A seal as it stands in its block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seal {
    /// The version of the layout.
    pub version: u8,
    /// Which property key it was made with.
    pub key_id: u8,
    /// The highest valid one on a card is the current one.
    pub sequence: u32,
    /// The first 8 bytes of an AES-CMAC.
    pub mac: [u8; 8],
}

impl Seal {
    /// Seals a payload for one slot of one card.
    pub fn new(keys: &CardKeys, slot: Slot, sequence: u32, payload: &[u8]) -> Self {
        let unsigned = Self { version: VERSION, key_id: keys.key_id(), sequence, mac: [0; 8] };
        Self { mac: unsigned.expected_mac(keys.seal_key(), keys.uid(), slot, payload), ..unsigned }
    }

    /// The block: 14 bytes of seal and 2 of zero.
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

    /// Whether the MAC is right for this payload in this slot of this card, with the key that the seal names. Takes the same
    /// time wherever a MAC differs.
    pub fn holds(&self, keys: &CardKeys, slot: Slot, payload: &[u8]) -> bool {
        keys.seal_key_of(self.key_id)
            .is_some_and(|key| self.expected_mac(key, keys.uid(), slot, payload).ct_eq(&self.mac).into())
    }

    /// The MAC covers, in bytes: `"OCL1"` 4, version 1, key id 1, UID length 1, UID 4, 7 or 10, slot 1 (A is 0,
    /// B is 1), sequence 4, payload length 2, payload. Big-endian; no field has a length of its own left to guess.
    fn expected_mac(&self, key: &AesKey, uid: &Uid, slot: Slot, payload: &[u8]) -> [u8; 8] {
        // A payload is a record: at most 46 + 2 × 255 bytes.
        let len = u16::try_from(payload.len()).unwrap_or(u16::MAX);
        let mac = aes_cmac_of(
            key.expose(),
            &[
                b"OCL1",
                &[self.version, self.key_id],
                &[uid_length(uid)],
                uid.as_bytes(),
                &[slot.code()],
                &self.sequence.to_be_bytes(),
                &len.to_be_bytes(),
                payload,
            ],
        );
        mac.first_chunk::<8>().copied().unwrap_or_default()
    }
}
