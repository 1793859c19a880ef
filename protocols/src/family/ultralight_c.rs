//! How a MIFARE Ultralight C and its host prove to each other that they have the same 3DES key.
//!
//! | who | sends | on the air |
//! | --- | --- | --- |
//! | host | AUTHENTICATE | `1A 00` |
//! | card | E(RndB), chained from zero | `AF` and 8 bytes |
//! | host | E(RndA, RndB'), chained from the 8 bytes before | `AF` and 16 bytes |
//! | card | E(RndA'), chained from the last 8 bytes before | `00` and 8 bytes |
//!
//! RndA' and RndB' are turned left by one byte.
//!
//! Source: NXP MF0ICU2 data sheet, section 7.5.5 and table 9 (the example in the tests).

use super::type2::UltralightCKey;
use des::TdesEde2;
use des::cipher::{Array, BlockCipherDecrypt as _, BlockCipherEncrypt as _, KeyInit as _};

/// AUTHENTICATE, with one byte of 00.
pub const AUTHENTICATE: u8 = 0x1A;
/// In front of what is followed by more.
pub const MORE: u8 = 0xAF;
/// In front of the card's last answer.
pub const DONE: u8 = 0x00;

/// The host's second message, and what proves the card's knowledge.
#[derive(Clone)]
pub struct Challenge {
    /// What is sent behind [`MORE`].
    pub token: [u8; 16],
    proof: [u8; 8],
}

impl Challenge {
    /// Answers a card's E(RndB) with a random number of ours.
    pub fn answer(key: &UltralightCKey, random: [u8; 8], encrypted: [u8; 8]) -> Self {
        let cipher = Cipher::new(key);
        let theirs = xor(cipher.decrypt(encrypted), [0; 8]);
        let first = cipher.encrypt(xor(random, encrypted));
        let second = cipher.encrypt(xor(turned(theirs), first));
        let proof = cipher.encrypt(xor(turned(random), second));
        Self { token: joined(first, second), proof }
    }

    /// Whether this is what only a card with the key answers.
    pub fn is_proven_by(&self, answer: &[u8]) -> bool {
        use subtle::ConstantTimeEq as _;
        self.proof.ct_eq(answer).into()
    }
}

/// The card's first message for its random number.
pub fn encrypted_random(key: &UltralightCKey, random: [u8; 8]) -> [u8; 8] {
    Cipher::new(key).encrypt(random)
}

/// The card's last message, when the host's token proves that it has the key.
pub fn proof(key: &UltralightCKey, random: [u8; 8], token: &[u8; 16]) -> Option<[u8; 8]> {
    let cipher = Cipher::new(key);
    let ([first, second], []) = token.as_chunks::<8>() else { return None };
    let theirs = xor(cipher.decrypt(*first), cipher.encrypt(random));
    let ours = xor(cipher.decrypt(*second), *first);
    (ours == turned(random)).then(|| cipher.encrypt(xor(turned(theirs), *second)))
}

/// The key that pages 44 to 47 hold: the other way round than [`UltralightCKey::to_pages`].
pub fn key_of_pages(pages: &[[u8; 4]; 4]) -> UltralightCKey {
    let mut bytes = zeroize::Zeroizing::new([0; 16]);
    for (chunk, page) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(pages) {
        *chunk = *page;
    }
    bytes.as_chunks_mut::<8>().0.iter_mut().for_each(|half| half.reverse());
    UltralightCKey::new(*bytes)
}

struct Cipher(TdesEde2);

impl Cipher {
    fn new(key: &UltralightCKey) -> Self {
        Self(TdesEde2::new(&Array(*key.expose())))
    }

    fn encrypt(&self, block: [u8; 8]) -> [u8; 8] {
        let mut block = Array(block);
        self.0.encrypt_block(&mut block);
        block.0
    }

    fn decrypt(&self, block: [u8; 8]) -> [u8; 8] {
        let mut block = Array(block);
        self.0.decrypt_block(&mut block);
        block.0
    }
}

fn turned(mut random: [u8; 8]) -> [u8; 8] {
    random.rotate_left(1);
    random
}

fn xor(mut left: [u8; 8], right: [u8; 8]) -> [u8; 8] {
    left.iter_mut().zip(right).for_each(|(left, right)| *left ^= right);
    left
}

fn joined(first: [u8; 8], second: [u8; 8]) -> [u8; 16] {
    let mut both = [0; 16];
    both.iter_mut().zip(first.into_iter().chain(second)).for_each(|(to, byte)| *to = byte);
    both
}

#[cfg(test)]
mod tests {
    use super::*;
    use hex_literal::hex;

    /// MF0ICU2 data sheet, table 9; the same from Python's `cryptography` 38 (`TripleDES` in CBC mode).
    #[test]
    fn the_data_sheets_example_is_followed_by_both_sides() {
        let key = UltralightCKey::new(hex!("49454D4B41455242214E4143554F5946"));
        let random_b = hex!("51E764602678DF2B");
        assert_eq!(encrypted_random(&key, random_b), hex!("577293FD2F34CA51"));
        let challenge = Challenge::answer(&key, hex!("A8AF3B256C75ED40"), hex!("577293FD2F34CA51"));
        assert_eq!(challenge.token, hex!("0A638559FC7737F9F15D7862EBBE967A"));
        assert_eq!(proof(&key, random_b, &challenge.token), Some(hex!("3B884FA07C137CE1")));
        assert!(challenge.is_proven_by(&hex!("3B884FA07C137CE1")));
        assert!(!challenge.is_proven_by(&hex!("3B884FA07C137CE0")));
        let mut token = challenge.token;
        token[15] ^= 1;
        assert_eq!(proof(&key, random_b, &token), None);
    }

    #[test]
    fn a_key_lies_in_its_pages_backwards() {
        // The delivered key reads "BREAKMEIFYOUCAN!" in memory (nfc-tools.org).
        let key = UltralightCKey::new(hex!("49454D4B41455242214E4143554F5946"));
        assert_eq!(key_of_pages(&[*b"BREA", *b"KMEI", *b"FYOU", *b"CAN!"]), key);
        assert_eq!(key_of_pages(&key.to_pages().map(|page| *page.expose())), key);
    }
}
