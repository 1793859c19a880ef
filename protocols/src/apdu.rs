//! Command and response APDUs for storage cards behind PC/SC, as PC/SC part 3 and reader manuals define them.
//!
//! Source: "Interoperability Specification for ICCs and Personal Computer Systems, Part 3" 2.01.09, sections 3.2.2.1.3
//! (get data) to 3.2.2.1.9 (update binary), as quoted by the readers' manuals: ACS "ACR122U Application Programming
//! Interface" 2.04, sections 4 to 6; Identiv "Reference Manual for uTrust 3720F and uTrust 3721F Readers" 1.00, section
//! 6.2; SCM "SCL3711 Reference Manual", section 6.2.

use crate::dialect::pn532;
use crate::family::classic::{BlockNumber, Key, SectorKey};
use crate::family::type2::{self, PageNumber};
use alloc::vec::Vec;
use core::fmt;
use core::ops::Deref;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Class byte of the commands that the reader carries out itself.
pub const CLASS: u8 = 0xFF;

/// Instruction bytes.
pub mod instruction {
    /// UID, or historical bytes of the ATS.
    pub const GET_DATA: u8 = 0xCA;
    /// Loads a key into the reader.
    pub const LOAD_KEYS: u8 = 0x82;
    /// Opens a sector with a loaded key.
    pub const GENERAL_AUTHENTICATE: u8 = 0x86;
    /// The same in PC/SC 2.01; ACS marks it as obsolete.
    pub const AUTHENTICATE_OBSOLETE: u8 = 0x88;
    /// Reads a block.
    pub const READ_BINARY: u8 = 0xB0;
    /// Writes a block.
    pub const UPDATE_BINARY: u8 = 0xD6;
    /// ACR122U: everything of its own, told apart by P1.
    pub const ACS: u8 = 0x00;
    /// Selects an application; a card's own command.
    pub const SELECT: u8 = 0xA4;
}

/// A command APDU. Wiped on drop, and its `Debug` shows header and length only: it may hold a key.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Apdu(Vec<u8>);

impl Apdu {
    /// Takes the bytes of a whole command.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Header, then `Lc` and data. Never longer than a short APDU: callers hand in at most 255 bytes.
    fn with_data(header: [u8; 4], data: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(5 + data.len());
        bytes.extend(header);
        bytes.push(u8::try_from(data.len()).unwrap_or(u8::MAX));
        bytes.extend(data.iter().take(usize::from(u8::MAX)));
        Self(bytes)
    }

    /// `FF CA 00 00 00`: the card's UID.
    pub fn uid() -> Self {
        Self([CLASS, instruction::GET_DATA, 0x00, 0x00, 0x00].to_vec())
    }

    /// `FF CA 01 00 00`: the historical bytes of the card's ATS. Storage cards have none; readers then answer `6A81`.
    pub fn historical_bytes() -> Self {
        Self([CLASS, instruction::GET_DATA, 0x01, 0x00, 0x00].to_vec())
    }

    /// `FF 82 00 P2 06 key`: loads a key into the reader's volatile memory.
    ///
    /// P1 is 00 always: bit 6 would name memory that keeps the key without power and wears.
    pub fn load_key(p2: u8, key: &SectorKey) -> Self {
        Self::with_data([CLASS, instruction::LOAD_KEYS, 0x00, p2], key.expose())
    }

    /// `FF 86 00 00 05 01 00 BLK 60|61 NN`: opens the block's sector with the key of that number.
    pub fn authenticate(block: BlockNumber, key: &Key, number: u8) -> Self {
        let header = [CLASS, instruction::GENERAL_AUTHENTICATE, 0x00, 0x00];
        Self::with_data(header, &[0x01, 0x00, block.get(), key_type(key), number])
    }

    /// `FF 88 00 BLK 60|61 NN`: the same in PC/SC 2.01, without `Lc`.
    pub fn authenticate_obsolete(block: BlockNumber, key: &Key, number: u8) -> Self {
        Self([CLASS, instruction::AUTHENTICATE_OBSOLETE, 0x00, block.get(), key_type(key), number].to_vec())
    }

    /// `FF B0 00 BLK 10`: reads the 16 bytes of a block.
    pub fn read(block: BlockNumber) -> Self {
        Self([CLASS, instruction::READ_BINARY, 0x00, block.get(), 0x10].to_vec())
    }

    /// `FF D6 00 BLK 10 data`: writes the 16 bytes of a block.
    pub fn write(block: BlockNumber, data: &[u8; 16]) -> Self {
        Self::with_data([CLASS, instruction::UPDATE_BINARY, 0x00, block.get()], data)
    }

    /// `FF B0 00 PG 10`: reads four pages of a Type 2 card.
    ///
    /// Source: ACR122U API 2.04, section 5.3; SCL3711 manual, 6.2.1. UNVERIFIED: that every reader gives sixteen bytes.
    pub fn read_pages(first: PageNumber) -> Self {
        Self([CLASS, instruction::READ_BINARY, 0x00, first.get(), 0x10].to_vec())
    }

    /// `FF D6 00 PG 04 data`: writes a page of a Type 2 card. Source: ACR122U API 2.04, section 5.4.
    pub fn write_page(page: PageNumber, data: &[u8; 4]) -> Self {
        Self::with_data([CLASS, instruction::UPDATE_BINARY, 0x00, page.get()], data)
    }

    /// `FF B0 00 03 04`: the capability container of a Type 2 card.
    pub fn capability_container() -> Self {
        Self([CLASS, instruction::READ_BINARY, 0x00, type2::CAPABILITY_CONTAINER, 0x04].to_vec())
    }

    /// `FF 00 00 00 03 D4 42 60`: `GET_VERSION` to a Type 2 card through the PN532 inside an ACR122U, whose answer is
    /// `D5 43 00` and eight bytes. Afterwards the card needs power off and on where it did not know the command.
    pub fn get_version() -> Self {
        Self::through_pn532(&[type2::GET_VERSION], &[])
    }

    /// `FF 00 00 00 Lc D4 42 …`: a command to the card through the PN532 inside an ACR122U, whose answer is `D5 43`, a status
    /// and the card's own. Head and data come in two parts, so that no copy of a secret is left behind.
    ///
    /// Source: nfc-pcsc issue 36 and its example `ntag213-password`.
    pub fn through_pn532(head: &[u8], data: &[u8]) -> Self {
        let len = 2 + head.len() + data.len();
        let mut bytes = Vec::with_capacity(5 + len);
        bytes.extend([CLASS, instruction::ACS, 0x00, 0x00, u8::try_from(len).unwrap_or(u8::MAX), 0xD4]);
        bytes.push(pn532::Command::InCommunicateThru.into());
        bytes.extend_from_slice(head);
        bytes.extend_from_slice(data);
        Self(bytes)
    }

    /// `00 A4 04 00 Lc name 00`: selects an application of a card of ISO/IEC 14443-4, which carries it out itself.
    ///
    /// Source: ISO/IEC 7816-4, 7.1.1.
    pub fn select(name: &[u8]) -> Self {
        let mut apdu = Self::with_data([0x00, 0xA4, 0x04, 0x00], name);
        apdu.0.push(0x00);
        apdu
    }

    /// `FF 00 00 00 Lc D4 …`: a command to the PN532 inside an ACR122U, of at most 255 bytes.
    pub fn direct(command: &[u8]) -> Self {
        Self::with_data([CLASS, instruction::ACS, 0x00, 0x00], command)
    }
}

/// The key type byte: 60 for key A, 61 for key B.
pub fn key_type(key: &Key) -> u8 {
    match key {
        Key::A(_) => 0x60,
        Key::B(_) => 0x61,
    }
}

impl Deref for Apdu {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Apdu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Apdu(")?;
        self.0.iter().take(4).try_for_each(|byte| write!(f, "{byte:02X} "))?;
        write!(f, "… {} bytes)", self.0.len())
    }
}

/// A response of fewer than two bytes, which has no status word. Drivers give such: vpcd when the card has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the response has {have} bytes and no status word")]
pub struct ShortResponse {
    /// How many bytes there are.
    pub have: usize,
}

/// A response APDU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Response<'a> {
    /// What lies before the status word.
    pub data: &'a [u8],
    /// SW1 and SW2.
    pub status: StatusWord,
}

impl<'a> Response<'a> {
    /// Splits data and status word.
    ///
    /// # Errors
    /// [`ShortResponse`] below two bytes.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ShortResponse> {
        let (data, status) = bytes.split_last_chunk::<2>().ok_or(ShortResponse { have: bytes.len() })?;
        Ok(Self { data, status: StatusWord(u16::from_be_bytes(*status)) })
    }
}

/// SW1 and SW2 as a reader sent them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StatusWord(pub u16);

impl StatusWord {
    /// Carried out.
    pub const OK: Self = Self(0x9000);
    /// Any failure, on readers of ACS.
    pub const FAILED: Self = Self(0x6300);

    /// What it says.
    pub fn cause(self) -> Cause {
        let [sw1, sw2] = self.0.to_be_bytes();
        match (sw1, sw2) {
            (0x90, 0x00) => Cause::Ok,
            (0x62, 0x81) => Cause::Corrupted,
            (0x62, 0x82) => Cause::EndReached,
            (0x63, 0x82..=0x89) | (0x69, 0x83..=0x89) => Cause::KeyStore,
            (0x63, _) => Cause::Failed,
            (0x64, _) => Cause::NotCarriedOut,
            (0x65, 0x81) => Cause::MemoryFailure,
            (0x67, 0x00) => Cause::WrongLength,
            (0x6C, expected) => Cause::WrongLe { expected },
            (0x69, 0x81) => Cause::WrongCardType,
            (0x69, 0x82) => Cause::SecurityStatus,
            (0x6A, 0x82) => Cause::NoSuchBlock,
            (0x68, _) => Cause::NotNow,
            (0x6A, 0x81) | (0x6D | 0x6E, _) => Cause::NotSupported,
            (0x6A, 0x86) | (0x6B, 0x00) => Cause::WrongParameters,
            _ => Cause::Other,
        }
    }
}

impl fmt::Display for StatusWord {
    /// Four hex digits: `6982`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04X}", self.0)
    }
}

impl fmt::Debug for StatusWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StatusWord({self})")
    }
}

/// What a status word says. What follows from it depends on the command that it answers.
///
/// Source: PC/SC part 3, tables "Error codes" of each command. Checked against manuals: `6300` and `6A81` (ACR122U API
/// 2.04), `6983`, `6985`, `6987` to `6989` (SCL3711, page 34), `6982`, `6984`, `6986` (SCL010, page 36). UNVERIFIED: the rest is from memory of the specification
/// and of ISO/IEC 7816-4; its text would verify it. Some readers say the key store errors as `638x`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// `9000`: carried out.
    Ok,
    /// `6281`: what was read may be corrupted.
    Corrupted,
    /// `6282`: `Le` is larger than what is there.
    EndReached,
    /// `63xx`: not carried out, whatever the reason.
    Failed,
    /// `64xx`: not carried out, the card is as it was. Source: SCM3712 manual, 8.2.1.4 and 8.2.2.4.
    NotCarriedOut,
    /// `6581`: the card's memory failed.
    MemoryFailure,
    /// `6700`: wrong length.
    WrongLength,
    /// `6Cxx`: `Le` should have been this.
    WrongLe {
        /// The right `Le`.
        expected: u8,
    },
    /// `6981`: not a command for this kind of card.
    WrongCardType,
    /// `6982`: not authenticated, the key does not fit, or access is denied.
    SecurityStatus,
    /// `6983` to `6989`: key slot, memory, number, type or length of the key.
    KeyStore,
    /// `68xx`: a feature of the class byte, says ISO/IEC 7816-4; some readers say so to a block of a sector that is not
    /// open (nfc-pcsc issue 80).
    NotNow,
    /// `6A81`, `6Dxx`, `6Exx`: the reader does not know the command.
    NotSupported,
    /// `6A82`: the card has no such block.
    NoSuchBlock,
    /// `6A86`, `6B00`: P1 or P2 is wrong.
    WrongParameters,
    /// Anything else.
    Other,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::family::classic::{KeyA, KeyB};
    use alloc::format;
    use hex_literal::hex;

    #[test]
    fn apdus_are_those_of_the_manuals() {
        let key = SectorKey::transport();
        let block = BlockNumber::new(4);
        // ACR122U API 2.04, sections 4.1, 5.1, 5.2, 5.3, 5.4 and 7.0.
        assert_eq!(*Apdu::uid(), hex!("FFCA000000"));
        assert_eq!(*Apdu::historical_bytes(), hex!("FFCA010000"));
        assert_eq!(*Apdu::load_key(0x00, &key), hex!("FF82000006FFFFFFFFFFFF"));
        assert_eq!(*Apdu::authenticate(block, &Key::A(KeyA(key.clone())), 0), hex!("FF860000050100046000"));
        assert_eq!(*Apdu::authenticate_obsolete(block, &Key::A(KeyA(key.clone())), 0), hex!("FF8800046000"));
        assert_eq!(*Apdu::read(block), hex!("FFB0000410"));
        let data = hex!("000102030405060708090A0B0C0D0E0F");
        assert_eq!(*Apdu::write(block, &data), hex!("FFD6000410000102030405060708090A0B0C0D0E0F"));
        // Section 5.3, with the page of the capability container; 6.1, with the chip's command as in nfc-pcsc issue 59.
        assert_eq!(*Apdu::capability_container(), hex!("FFB0000304"));
        assert_eq!(*Apdu::get_version(), hex!("FF00000003D44260"));
        assert_eq!(*Apdu::direct(&hex!("D4320100")), hex!("FF00000004D4320100"));
        // uTrust 3720F, section 6.2.3.
        assert_eq!(*Apdu::load_key(0x60, &key), hex!("FF82006006FFFFFFFFFFFF"));
        assert_eq!(key_type(&Key::B(KeyB(key))), 0x61);
    }

    #[test]
    fn a_key_is_never_printed() {
        let apdu = Apdu::load_key(0, &SectorKey::new([0xAB; 6]));
        let text = format!("{apdu:?}");
        assert_eq!(text, "Apdu(FF 82 00 00 … 11 bytes)");
    }

    #[test]
    fn a_response_without_a_status_word_is_an_error() {
        assert_eq!(Response::parse(&[]), Err(ShortResponse { have: 0 }));
        assert_eq!(Response::parse(&[0x90]), Err(ShortResponse { have: 1 }));
        let response = Response::parse(&hex!("DEADBEEF9000")).unwrap();
        assert_eq!((response.data, response.status), (&hex!("DEADBEEF")[..], StatusWord::OK));
    }
}
