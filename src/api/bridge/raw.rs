//! A raw image: what a lock vendor's own server wants on a card, as it is.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Bytes in hex. They may be a key or somebody's secret: wiped on drop, never printed.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct RawBytes<const N: usize>(pub [u8; N]);

impl<const N: usize> fmt::Debug for RawBytes<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RawBytes(..)")
    }
}

impl<const N: usize> RawBytes<N> {
    /// Reads hex of either case; `None` unless it is exactly so many bytes.
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if digits.len() != 2 * N || !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let mut bytes = Self([0; N]);
        for (byte, pair) in bytes.0.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(bytes)
    }
}

impl<const N: usize> Serialize for RawBytes<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use std::fmt::Write as _;
        let mut text = zeroize::Zeroizing::new(String::with_capacity(2 * N));
        for byte in self.0 {
            let _infallible = write!(text, "{byte:02x}");
        }
        serializer.serialize_str(&text)
    }
}

impl<'de, const N: usize> Deserialize<'de> for RawBytes<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = zeroize::Zeroizing::new(String::deserialize(deserializer)?);
        // The text itself is never quoted.
        Self::from_hex(&text).ok_or_else(|| D::Error::custom(format!("expected {N} bytes in hex")))
    }
}

impl<const N: usize> JsonSchema for RawBytes<N> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Hex{N}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "type": "string", "pattern": format!("^[0-9A-Fa-f]{{{}}}$", 2 * N) })
    }
}

/// A card's content as its maker wants it. It is written in place, in this order, and read back; the promise of OCL/1, that
/// an interruption leaves the old or the new, does not hold for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RawImage {
    /// The card that it is for; any other kind is refused. Without it any card of the family that is large enough.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub card: Option<RawCard>,
    /// The only card that may be written: its UID in hex.
    pub card_number: Option<String>,
    /// Keys of a MIFARE Classic card as it is. The factory's key is tried in any case.
    pub keys: Vec<RawKeys>,
    /// What is written on a MIFARE Classic card, in this order. What the card holds already is not written again.
    pub writes: Vec<RawWrite>,
    /// What is written on an Ultralight or NTAG card, in this order. An image has `writes` or `pages`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pages: Vec<RawPage>,
    /// The password of an Ultralight EV1 or NTAG card as it is, with `pack`. Tried only where a page is closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<RawBytes<4>>,
    /// What such a card answers to its password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pack: Option<RawBytes<2>>,
    /// The 3DES key of an Ultralight C as it is, first key first. Tried only where a page is closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<RawBytes<16>>,
    /// Leave to write trailers. Without it an image that has one is refused.
    pub write_trailers: bool,
    /// Leave to write access bits that can never be changed again.
    pub lock_for_ever: bool,
    /// Leave to write access bits that let key B be read, and so take it out of use as a key.
    pub show_key_b: bool,
}

/// A kind of card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RawCard {
    /// MIFARE Classic Mini.
    ClassicMini,
    /// MIFARE Classic 1K.
    #[serde(rename = "classic-1k")]
    Classic1k,
    /// MIFARE Classic 4K.
    #[serde(rename = "classic-4k")]
    Classic4k,
    /// MIFARE Ultralight.
    Ultralight,
    /// MIFARE Ultralight EV1, 48 bytes.
    #[serde(rename = "ultralight-ev1-48")]
    UltralightEv1Small,
    /// MIFARE Ultralight EV1, 128 bytes.
    #[serde(rename = "ultralight-ev1")]
    UltralightEv1,
    /// MIFARE Ultralight C.
    UltralightC,
    /// NTAG213.
    Ntag213,
    /// NTAG215.
    Ntag215,
    /// NTAG216.
    Ntag216,
}

/// One page of an Ultralight or NTAG card: a page of its user's memory, neither UID, lock bits, OTP nor configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawPage {
    /// Which.
    pub page: u8,
    /// Its 4 bytes.
    pub data: RawBytes<4>,
    /// Others change it as they like: it is not compared afterwards.
    #[serde(default)]
    pub volatile: bool,
}

/// The keys of a sector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawKeys {
    /// Which sector.
    pub sector: u8,
    /// Its key A.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_a: Option<RawBytes<6>>,
    /// Its key B.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_b: Option<RawBytes<6>>,
}

/// One write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "write", rename_all = "snake_case", deny_unknown_fields)]
pub enum RawWrite {
    /// A data block of a MIFARE Classic card: neither block 0 nor a trailer.
    Block {
        /// Which, counted over the whole card.
        block: u8,
        /// Its 16 bytes.
        data: RawBytes<16>,
        /// Others change it as they like, a lock that counts for instance: it is not compared afterwards.
        #[serde(default)]
        volatile: bool,
    },
    /// Keys and access bits of a sector of a MIFARE Classic card. Needs `write_trailers`.
    Trailer {
        /// Which sector.
        sector: u8,
        /// Key A.
        key_a: RawBytes<6>,
        /// The bytes 6 to 8 of the trailer, inverted copy included.
        access_bits: RawBytes<3>,
        /// Byte 9; the factory's 69 without it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        general_purpose: Option<RawBytes<1>>,
        /// Key B.
        key_b: RawBytes<6>,
    },
}

impl RawImage {
    /// The image without what may be secret, for whoever only has to know that there was one.
    #[must_use]
    pub fn wiped(&self) -> Self {
        Self { card: self.card, card_number: self.card_number.clone(), ..Self::default() }
    }

    /// How many blocks or pages it writes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.writes.len() + self.pages.len()
    }

    /// Whether it writes none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What was done to a card with a raw image: numbers of blocks, counted over the whole card, or of pages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RawReport {
    /// Written, or begun to be written.
    pub written: Vec<u8>,
    /// Read back twice as they should be. After a failure these are right; of the others that were written nothing is known.
    pub verified: Vec<u8>,
    /// Right before, and not written.
    pub unchanged: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_hex_of_their_length_and_do_not_print() {
        let bytes: RawBytes<3> = serde_json::from_str("\"78aB88\"").unwrap();
        assert_eq!(bytes.0, [0x78, 0xAB, 0x88]);
        assert_eq!(serde_json::to_string(&bytes).unwrap(), "\"78ab88\"");
        assert_eq!(format!("{bytes:?}"), "RawBytes(..)");
        for bad in ["\"78ab8\"", "\"78ab8899\"", "\"+8ab88\"", "\"\""] {
            let error = serde_json::from_str::<RawBytes<3>>(bad).unwrap_err().to_string();
            assert!(error.contains("expected 3 bytes in hex") && !error.contains("8ab8"), "{error}");
        }
    }

    #[test]
    fn a_wiped_image_has_no_contents_and_no_keys() {
        let text = r#"{"card":"classic-1k","card_number":"04a1b2c3","keys":[{"sector":1,"key_a":"a1a1a1a1a1a1"}],
            "writes":[{"write":"block","block":4,"data":"00112233445566778899aabbccddeeff"}],"write_trailers":true}"#;
        let image: RawImage = serde_json::from_str(text).unwrap();
        let wiped = serde_json::to_string(&image.wiped()).unwrap();
        assert!(wiped.contains("04a1b2c3") && !wiped.contains("a1a1a1") && !wiped.contains("aabbcc"), "{wiped}");
        let text = r#"{"card_number":"04a1b2c3d4e5f6","password":"c0ffee01","pack":"beef","key":"000102030405060708090a0b0c0d0e0f",
            "pages":[{"page":4,"data":"ccddeeff"}]}"#;
        let image: RawImage = serde_json::from_str(text).unwrap();
        let wiped = serde_json::to_string(&image.wiped()).unwrap();
        assert_eq!(
            wiped,
            r#"{"card_number":"04a1b2c3d4e5f6","keys":[],"writes":[],"write_trailers":false,"lock_for_ever":false,"show_key_b":false}"#
        );
    }
}
