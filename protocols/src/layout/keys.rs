//! Keys: from the property's master key to what one card needs.
//!
//! ```text
//! master ── AES-CMAC("OCL1 seal")     ── K_seal ── AN10922(M = "OCL1 card" || uid_len || uid) ── the card's seal key
//!        ├─ AES-CMAC("OCL1 sector")   ── K_sector ── AES-CMAC("OCL1 key" || uid_len || uid || sector || 'A' or 'B') ── 6 bytes
//!        └─ AES-CMAC("OCL1 password") ── K_pwd ─┬─ AES-CMAC("OCL1 pwd" || uid_len || uid) ── 4 bytes PWD, 2 bytes PACK
//!                                               └─ AES-CMAC("OCL1 3des" || uid_len || uid) ── 16 bytes of 3DES key
//! ```
//!
//! Labels are ASCII without a terminator; `uid_len` and `sector` are one byte. Crypto1 gives the sector keys away to
//! whoever tries, and a password goes over the air in clear; with a label and a sub-key of its own for each use, that
//! says nothing about a seal.
//!
//! A property has several keys after a rotation, a [`KeyRing`]. A seal names the key that it was made with; a card's
//! sector keys, password or 3DES key stay those of the key that it was personalised with.
//!
//! Source: NIST SP 800-38B and RFC 4493 (AES-CMAC); NXP AN10922 (diversification).

use crate::family::classic::{KeyA, KeyB, SectorKey, SectorNumber};
use crate::family::type2::{Password, UltralightCKey};
use crate::id::Uid;
use crate::layout::mad;
use crate::secret::Secret;
use aes::Aes128;
#[cfg(feature = "alloc")]
use alloc::vec::Vec;
use cmac::{Cmac, KeyInit, Mac};
use core::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Sixteen bytes of AES-128 key: wiped on drop, never printed.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct AesKey([u8; 16]);

impl AesKey {
    /// Takes the key's bytes.
    pub fn new(key: [u8; 16]) -> Self {
        Self(key)
    }

    /// The bytes, for a computation and nothing else.
    pub fn expose(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for AesKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AesKey(..)")
    }
}

/// What a sub-key of the master key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// `K_seal`: the seals' authenticity.
    Seal,
    /// `K_sector`: the keys of Classic sectors.
    Sector,
    /// `K_pwd`: the passwords of Ultralight and NTAG cards.
    Password,
}

impl Purpose {
    fn label(self) -> &'static [u8] {
        match self {
            Self::Seal => b"OCL1 seal",
            Self::Sector => b"OCL1 sector",
            Self::Password => b"OCL1 password",
        }
    }
}

/// The card key of one property: random, shared by all its desks and locks.
#[derive(Clone, PartialEq, Eq)]
pub struct PropertyKey {
    key_id: u8,
    master: AesKey,
}

impl PropertyKey {
    /// From the key's id, which stands on every card and may be logged, and the master key's bytes.
    pub fn new(key_id: u8, master: [u8; 16]) -> Self {
        Self { key_id, master: AesKey(master) }
    }

    /// The key's id.
    pub fn key_id(&self) -> u8 {
        self.key_id
    }

    /// The master key, for the file that keeps it and nothing else.
    pub fn master(&self) -> &AesKey {
        &self.master
    }

    /// The sub-key for one purpose.
    pub fn sub_key(&self, purpose: Purpose) -> AesKey {
        AesKey(aes_cmac(self.master.expose(), purpose.label()))
    }

    /// The keys of one card, from this key alone.
    pub fn for_card(&self, uid: &Uid) -> CardKeys {
        CardKeys {
            uid: *uid,
            opening: self.opening(),
            seal: self.seal_key(uid),
            older_seals: core::array::from_fn(|_| None),
        }
    }

    fn opening(&self) -> Opening {
        Opening {
            key_id: self.key_id,
            sector: self.sub_key(Purpose::Sector),
            password: self.sub_key(Purpose::Password),
        }
    }

    fn seal_key(&self, uid: &Uid) -> SealKey {
        // Label, length and UID: 13 to 19 bytes.
        let mut input = [0; AN10922_INPUT_BYTES_MAX];
        let mut len = 0;
        let parts = [b"OCL1 card".as_slice(), &[uid_length(uid)], uid.as_bytes()];
        for (place, byte) in input.iter_mut().zip(parts.into_iter().flatten()) {
            *place = *byte;
            len += 1;
        }
        let input = input.get(..len).unwrap_or_default();
        SealKey { key_id: self.key_id, key: AesKey(diversify(self.sub_key(Purpose::Seal).expose(), input)) }
    }
}

impl fmt::Debug for PropertyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PropertyKey(..)")
    }
}

/// The most keys that a property has at a time. Each older one may cost a few round trips with a card.
pub const RING_KEYS_MAX: usize = 4;

/// The card keys of one property: the current one seals, the older ones are still read. Each has an id of its own.
#[cfg(feature = "alloc")]
#[derive(Clone, PartialEq, Eq)]
pub struct KeyRing {
    current: PropertyKey,
    /// Newest first.
    older: Vec<PropertyKey>,
}

#[cfg(feature = "alloc")]
impl KeyRing {
    /// From the key that seals and those that are still read, newest first. `None` for more than [`RING_KEYS_MAX`] keys and
    /// for two keys of one id: a seal could not say which of them it means.
    pub fn new(current: PropertyKey, older: Vec<PropertyKey>) -> Option<Self> {
        let ring = Self { current, older };
        let is_unique = |key: &PropertyKey| ring.keys().filter(|other| other.key_id == key.key_id).count() == 1;
        (ring.older.len() < RING_KEYS_MAX && ring.keys().all(is_unique)).then_some(ring)
    }

    /// A ring of one key.
    pub fn single(current: PropertyKey) -> Self {
        Self { current, older: Vec::new() }
    }

    /// The key that seals, and that cards are personalised with.
    pub fn current(&self) -> &PropertyKey {
        &self.current
    }

    /// All keys, newest first.
    pub fn keys(&self) -> impl Iterator<Item = &PropertyKey> {
        core::iter::once(&self.current).chain(&self.older)
    }

    /// The keys of a card that the current key opens: one to be personalised, or one that needs no opening. They seal with
    /// the current key and read the seals of every key.
    pub fn for_card(&self, uid: &Uid) -> CardKeys {
        CardKeys { older_seals: self.older_seals(uid), ..self.current.for_card(uid) }
    }

    /// What may open one card, the most likely first: with the keys of one of the ring's keys, whichever it was personalised
    /// with. All of them seal with the current key and read the seals of every key.
    pub fn each_for_card(&self, uid: &Uid) -> Vec<CardKeys> {
        let current = self.for_card(uid);
        self.keys().map(|key| CardKeys { opening: key.opening(), ..current.clone() }).collect()
    }

    fn older_seals(&self, uid: &Uid) -> [Option<SealKey>; RING_KEYS_MAX - 1] {
        let mut older = self.older.iter().map(|key| key.seal_key(uid));
        core::array::from_fn(|_| older.next())
    }
}

#[cfg(feature = "alloc")]
impl From<PropertyKey> for KeyRing {
    fn from(current: PropertyKey) -> Self {
        Self::single(current)
    }
}

#[cfg(feature = "alloc")]
impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyRing(..)")
    }
}

/// The keys of one card: what opens it, what seals, and which seals are read.
#[derive(Clone)]
pub struct CardKeys {
    uid: Uid,
    opening: Opening,
    seal: SealKey,
    older_seals: [Option<SealKey>; RING_KEYS_MAX - 1],
}

/// What opens a card: sub-keys of the property key that it was personalised with.
#[derive(Clone)]
struct Opening {
    key_id: u8,
    sector: AesKey,
    password: AesKey,
}

#[derive(Clone)]
struct SealKey {
    key_id: u8,
    key: AesKey,
}

impl CardKeys {
    /// The id of the property key that new seals are made with.
    pub fn key_id(&self) -> u8 {
        self.seal.key_id
    }

    /// The id of the property key that opens the card, if these keys do.
    pub fn opening_key_id(&self) -> u8 {
        self.opening.key_id
    }

    /// The card that they are for.
    pub fn uid(&self) -> &Uid {
        &self.uid
    }

    /// The key that this card's new seals are computed with.
    pub fn seal_key(&self) -> &AesKey {
        &self.seal.key
    }

    /// The key for the seals that name this property key; `None` where there is no such key, or no longer.
    pub fn seal_key_of(&self, key_id: u8) -> Option<&AesKey> {
        core::iter::once(&self.seal)
            .chain(self.older_seals.iter().flatten())
            .find(|seal| seal.key_id == key_id)
            .map(|seal| &seal.key)
    }

    /// Key A of a sector: reads. In sector 0, whose directory everybody may read, the public one.
    pub fn key_a(&self, sector: SectorNumber) -> KeyA {
        if sector.get() == 0 {
            return KeyA(SectorKey::new(mad::PUBLIC_KEY_A));
        }
        KeyA(self.sector_key(sector, b'A'))
    }

    /// Key B of a sector: reads and writes.
    pub fn key_b(&self, sector: SectorNumber) -> KeyB {
        KeyB(self.sector_key(sector, b'B'))
    }

    /// The password (PWD) of a Type 2 card that has one.
    pub fn password(&self) -> Password {
        let [p0, p1, p2, p3, ..] = *self.password_mac(b"OCL1 pwd");
        Password::new([p0, p1, p2, p3])
    }

    /// What such a card answers to the right password (PACK).
    pub fn pack(&self) -> Secret<2> {
        let [_, _, _, _, k0, k1, ..] = *self.password_mac(b"OCL1 pwd");
        Secret::new([k0, k1])
    }

    /// The 3DES key of an Ultralight C, first key first. The parity bits are as they come: the card and 3DES ignore them.
    pub fn ultralight_c_key(&self) -> UltralightCKey {
        UltralightCKey::new(*self.password_mac(b"OCL1 3des"))
    }

    fn sector_key(&self, sector: SectorNumber, letter: u8) -> SectorKey {
        let [k0, k1, k2, k3, k4, k5, ..] = *Zeroizing::new(aes_cmac_of(
            self.opening.sector.expose(),
            &[b"OCL1 key", &[uid_length(&self.uid)], self.uid.as_bytes(), &[sector.get(), letter]],
        ));
        SectorKey::new([k0, k1, k2, k3, k4, k5])
    }

    fn password_mac(&self, label: &[u8]) -> Zeroizing<[u8; 16]> {
        Zeroizing::new(aes_cmac_of(
            self.opening.password.expose(),
            &[label, &[uid_length(&self.uid)], self.uid.as_bytes()],
        ))
    }
}

impl fmt::Debug for CardKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CardKeys(..)")
    }
}

/// A UID's length in one byte, to stand in front of it: 4-, 7- and 10-byte UIDs cannot be taken for one another.
pub(super) fn uid_length(uid: &Uid) -> u8 {
    // A UID has at most ten bytes.
    u8::try_from(uid.as_bytes().len()).unwrap_or_default()
}

/// AES-CMAC of a message.
///
/// Source: RFC 4493.
pub fn aes_cmac(key: &[u8; 16], message: &[u8]) -> [u8; 16] {
    aes_cmac_of(key, &[message])
}

/// AES-CMAC of a message in parts, one behind the other.
///
/// Source: RFC 4493.
pub fn aes_cmac_of(key: &[u8; 16], parts: &[&[u8]]) -> [u8; 16] {
    let mut mac = Cmac::<Aes128>::new(key.into());
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// The longest input of [`an10922_aes128`], in bytes. Source: AN10922.
pub const AN10922_INPUT_BYTES_MAX: usize = 31;

/// Diversifies an AES-128 key: `None` unless the input has 1 to 31 bytes.
///
/// AES-CMAC over `01 || M`, but always two blocks long: what is shorter is padded with `80 00 …` to 32 bytes, where
/// CMAC by itself would pad to 16. An input of less than 16 bytes comes out different from plain CMAC.
///
/// Source: NXP AN10922, section 2.2.1 (AES-128); libfreefare issue 91 for the short inputs.
pub fn an10922_aes128(key: &[u8; 16], input: &[u8]) -> Option<[u8; 16]> {
    (1..=AN10922_INPUT_BYTES_MAX).contains(&input.len()).then(|| diversify(key, input))
}

/// What [`an10922_aes128`] computes; bytes of the input beyond 31 have no place in it.
fn diversify(key: &[u8; 16], input: &[u8]) -> [u8; 16] {
    let mut message = [0; 32];
    let padded = [0x01].into_iter().chain(input.iter().copied()).chain([0x80]);
    for (byte, value) in message.iter_mut().zip(padded) {
        *byte = value;
    }
    let (k1, k2) = cmac_subkeys(key);
    let subkey = if input.len() == AN10922_INPUT_BYTES_MAX { k1 } else { k2 };
    let (first, last) = halves(message);
    aes_block(key, aes_block(key, first) ^ last ^ subkey).to_be_bytes()
}

fn halves(message: [u8; 32]) -> (u128, u128) {
    let mut blocks = message.as_chunks::<16>().0.iter().copied().map(u128::from_be_bytes);
    (blocks.next().unwrap_or_default(), blocks.next().unwrap_or_default())
}

/// K1 and K2 of CMAC. Source: RFC 4493, section 2.3.
fn cmac_subkeys(key: &[u8; 16]) -> (u128, u128) {
    let double = |value: u128| (value << 1) ^ ((value >> 127) * 0x87);
    let k1 = double(aes_block(key, 0));
    (k1, double(k1))
}

fn aes_block(key: &[u8; 16], block: u128) -> u128 {
    use aes::cipher::BlockCipherEncrypt;
    let mut block = block.to_be_bytes().into();
    Aes128::new(key.into()).encrypt_block(&mut block);
    u128::from_be_bytes(block.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use hex_literal::hex;

    /// AN10922 section 2.2.1, as reprinted at gorferay.com and in libfreefare `test/test_mifare_key_deriver_an10922.c`.
    const NOTE_KEY: [u8; 16] = hex!("00112233445566778899AABBCCDDEEFF");

    #[test]
    fn subkeys_are_those_of_the_note() {
        let (k1, k2) = cmac_subkeys(&NOTE_KEY);
        assert_eq!(k1.to_be_bytes(), hex!("FBC9F75C9413C041DFEE452D3F0706D1"));
        assert_eq!(k2.to_be_bytes(), hex!("F793EEB928278083BFDC8A5A7E0E0D25"));
    }

    #[test]
    fn inputs_that_fill_two_blocks_agree_with_plain_cmac() {
        for len in 16..=31_u8 {
            let input: Vec<u8> = (0..len).collect();
            let plain = aes_cmac(&NOTE_KEY, &[&[0x01], input.as_slice()].concat());
            assert_eq!(an10922_aes128(&NOTE_KEY, &input), Some(plain), "{len}");
        }
    }

    #[test]
    fn input_of_no_byte_or_of_32_is_refused() {
        assert_eq!(an10922_aes128(&NOTE_KEY, &[]), None);
        assert_eq!(an10922_aes128(&NOTE_KEY, &[0; 32]), None);
    }

    fn key(key_id: u8) -> PropertyKey {
        PropertyKey::new(key_id, [key_id; 16])
    }

    #[test]
    fn a_ring_has_few_keys_with_ids_of_their_own() {
        assert!(KeyRing::new(key(2), Vec::from([key(1)])).is_some());
        assert!(KeyRing::new(key(2), Vec::from([key(1), key(2)])).is_none());
        assert!(KeyRing::new(key(9), Vec::from([key(1), key(1)])).is_none());
        assert!(KeyRing::new(key(4), Vec::from([3, 2, 1].map(key))).is_some());
        assert!(KeyRing::new(key(5), Vec::from([4, 3, 2, 1].map(key))).is_none());
    }

    #[test]
    fn a_ring_opens_with_each_key_and_seals_with_the_current_one() {
        let uid = Uid::new(&[1, 2, 3, 4]).unwrap();
        let ring = KeyRing::new(key(3), Vec::from([key(2), key(1)])).unwrap();
        let all = ring.each_for_card(&uid);
        let sector = SectorNumber::new(1).unwrap();
        assert_eq!(all.iter().map(CardKeys::opening_key_id).collect::<Vec<_>>(), [3, 2, 1]);
        for keys in &all {
            let alone = key(keys.opening_key_id()).for_card(&uid);
            assert_eq!(keys.key_b(sector), alone.key_b(sector));
            assert_eq!(keys.password(), alone.password());
            assert_eq!(keys.key_id(), 3);
            assert_eq!(keys.seal_key(), key(3).for_card(&uid).seal_key());
            for id in 1..=3 {
                assert_eq!(keys.seal_key_of(id), Some(key(id).for_card(&uid).seal_key()), "{id}");
            }
            assert_eq!(keys.seal_key_of(4), None);
        }
    }

    #[test]
    fn keys_never_print() {
        let property = PropertyKey::new(7, NOTE_KEY);
        let card = property.for_card(&Uid::new(&[1, 2, 3, 4]).unwrap());
        assert_eq!(format!("{property:?}"), "PropertyKey(..)");
        assert_eq!(format!("{card:?}"), "CardKeys(..)");
        assert_eq!(format!("{:?}", KeyRing::single(property)), "KeyRing(..)");
        assert_eq!(format!("{:?} {:?}", card.password(), card.pack()), "Password(..) Secret(..)");
        assert_eq!(format!("{:?}", card.ultralight_c_key()), "UltralightCKey(..)");
        assert_eq!(format!("{:?}", card.seal_key()), "AesKey(..)");
    }
}
