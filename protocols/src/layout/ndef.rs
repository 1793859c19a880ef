//! A small NDEF message that phones show: the hotel's page. It never carries a credential.
//!
//! One record: well-known type U, prefix byte and the rest of the address (NFC Forum URI RTD), in a TLV 03 that a TLV FE
//! follows (NFC Forum Type 2 Tag, NXP AN1303). On an NTAG213 the factory's lock control TLV stays in front.

use crate::family::type2::Type2Kind;
use crate::layout::form::Place;
use alloc::vec::Vec;

/// What phones are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ndef {
    message: Vec<u8>,
}

/// Why an address makes no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NdefError {
    /// Something else than a web address in printable ASCII.
    #[error("not a web address: it has to begin with https:// or http:// and to have no spaces or umlauts")]
    NoWebAddress,
    /// No card has room for it.
    #[error("the address is too long: {have} bytes of message, there is room for {max}")]
    TooLong {
        /// How long the message would be, in bytes.
        have: usize,
        /// How long it may be.
        max: usize,
    },
}

/// The longest message whose TLV has a length of one byte. Source: NFC Forum Type 2 Tag, section 2.3 (FF means three bytes).
const MESSAGE_BYTES_MAX: usize = 254;

/// The abbreviations of an address's beginning, longest first. Source: NFC Forum URI RTD 1.0, table 3.
const PREFIXES: [(&str, u8); 4] =
    [("https://www.", 0x02), ("http://www.", 0x01), ("https://", 0x04), ("http://", 0x03)];

impl Ndef {
    /// A message with one web address.
    ///
    /// # Errors
    /// [`NdefError`] for what is no web address, or too long for any card.
    pub fn uri(address: &str) -> Result<Self, NdefError> {
        let cut = |(text, code): (&str, u8)| address.strip_prefix(text).map(|rest| (code, rest));
        let (code, rest) = PREFIXES.into_iter().find_map(cut).ok_or(NdefError::NoWebAddress)?;
        if rest.is_empty() || !rest.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(NdefError::NoWebAddress);
        }
        // Message begin and end, short record, well-known type of one byte: D1 01, length, 'U', prefix, rest.
        let have = 5 + rest.len();
        let payload = u8::try_from(1 + rest.len()).ok().filter(|_| have <= MESSAGE_BYTES_MAX);
        let payload = payload.ok_or(NdefError::TooLong { have, max: MESSAGE_BYTES_MAX })?;
        let message = [0xD1, 0x01, payload, b'U', code].into_iter().chain(rest.bytes()).collect();
        Ok(Self { message })
    }

    /// The pages from page 4 on, up to the one that the terminator lies in; `None` when the card has no room in front of the
    /// slots.
    pub fn to_pages(&self, place: Place) -> Option<Vec<[u8; 4]>> {
        let room = place.ndef_pages()?.count();
        // Source: NXP "NTAG213F/216F" data sheet rev. 3.1, section 8.5.6.
        let front: &[u8] = if place.kind() == Type2Kind::Ntag213 { &[0x01, 0x03, 0xA0, 0x0C, 0x34] } else { &[] };
        let len = u8::try_from(self.message.len()).ok()?;
        let bytes: Vec<u8> =
            front.iter().copied().chain([0x03, len]).chain(self.message.iter().copied()).chain([0xFE]).collect();
        let mut pages = Vec::with_capacity(bytes.len().div_ceil(4));
        for chunk in bytes.chunks(4) {
            let mut page = [0; 4];
            for (byte, value) in page.iter_mut().zip(chunk) {
                *byte = *value;
            }
            pages.push(page);
        }
        (pages.len() <= room).then_some(pages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hex_literal::hex;

    #[test]
    fn message_is_that_of_the_specification() {
        // NFC Forum URI RTD 1.0, section A.1, the example: http://www.nfc.com.
        let ndef = Ndef::uri("http://www.nfc.com").unwrap();
        assert_eq!(ndef.message, hex!("D1 01 08 55 01 6E66632E636F6D"));
        let pages = ndef.to_pages(Place::of(Type2Kind::Ntag215, true)).unwrap();
        assert_eq!(pages.as_flattened(), hex!("030CD101085501 6E66632E636F6D FE 00"));
    }

    #[test]
    fn what_is_no_address_or_too_long_is_refused() {
        for bad in ["", "https://", "mailto:a@b", "https://a b", "https://é.example"] {
            assert_eq!(Ndef::uri(bad), Err(NdefError::NoWebAddress), "{bad}");
        }
        let address = alloc::format!("https://{}", "a".repeat(250));
        assert_eq!(Ndef::uri(&address), Err(NdefError::TooLong { have: 255, max: 254 }));
        let longest = Ndef::uri(&address[..address.len() - 1]).unwrap();
        assert!(longest.to_pages(Place::of(Type2Kind::Ntag213, true)).is_none(), "96 bytes only");
        assert!(longest.to_pages(Place::of(Type2Kind::Ntag215, true)).is_some());
        assert!(longest.to_pages(Place::of(Type2Kind::UltralightC, true)).is_none());
    }
}
