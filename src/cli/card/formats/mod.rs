//! Files that hold a card, as other people's tools read and write them.
//!
//! | format | file | what it is |
//! | --- | --- | --- |
//! | `mfd` | [`mfd`] | libnfc's `nfc-mfclassic`: the memory byte by byte |
//! | `mfd` | [`type2`] | the same of `nfc-mfultralight`: pages |
//! | `flipper` | [`flipper`] | a Flipper Zero's `.nfc`: text, in which bytes may be unknown |

pub(super) mod flipper;
pub(super) mod mfd;
pub(super) mod type2;

use encoder_protocols::family::classic::{
    AccessBits, BlockNumber, ClassicSize, KeyA, KeyB, SectorKey, SectorNumber, SectorTrailer,
};
use std::path::Path;
use zeroize::Zeroize;

/// A format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(in crate::cli) enum Format {
    /// libnfc: the card's memory, byte by byte
    Mfd,
    /// Flipper Zero: text, version 4
    Flipper,
}

impl Format {
    /// The format that a file's name tells.
    pub(in crate::cli) fn of(file: &Path) -> Self {
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("nfc") => Self::Flipper,
            Some(_) | None => Self::Mfd,
        }
    }

    /// Reads a file.
    pub(in crate::cli) fn parse(self, bytes: &[u8]) -> Result<CardFile, FormatError> {
        let pages = match self {
            Self::Mfd => type2::parse_raw(bytes),
            Self::Flipper => type2::parse_flipper(text(bytes)?)?,
        };
        match (pages, self) {
            (Some(pages), _) => Ok(CardFile::Type2(pages)),
            (None, Self::Mfd) => mfd::parse(bytes).map(CardFile::Classic),
            (None, Self::Flipper) => flipper::parse(text(bytes)?).map(CardFile::Classic),
        }
    }

    /// Writes one.
    pub(in crate::cli) fn write(self, card: &ClassicFile) -> Vec<u8> {
        match self {
            Self::Mfd => mfd::write(card),
            Self::Flipper => flipper::write(card).into_bytes(),
        }
    }
}

fn text(bytes: &[u8]) -> Result<&str, FormatError> {
    std::str::from_utf8(bytes).map_err(|_| FormatError::NotText)
}

/// A card in a file.
#[derive(Debug)]
pub(in crate::cli) enum CardFile {
    /// MIFARE Classic.
    Classic(ClassicFile),
    /// Ultralight or NTAG.
    Type2(type2::Type2File),
}

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::cli) enum FormatError {
    /// Not the size of a card.
    #[error(
        "{have} bytes are no card: a MIFARE Classic Mini has 320, a 1K card 1024, a 4K card 4096; an Ultralight 64, \
         Ultralight EV1 80 or 164, Ultralight C 192, NTAG213 180, NTAG215 540, NTAG216 924"
    )]
    Size {
        /// What it has.
        have: usize,
    },
    /// A text format with other bytes.
    #[error("it is not text")]
    NotText,
    /// Not this format.
    #[error("it does not begin with `Filetype: Flipper NFC device`")]
    NotFlipper,
    /// A version that is not known.
    #[error("version {found} is not known; 2, 3 and 4 are")]
    Version {
        /// Which.
        found: String,
    },
    /// A line is missing.
    #[error("the line `{name}` is missing")]
    Missing {
        /// Its name.
        name: String,
    },
    /// A line cannot be read.
    #[error("line {line} cannot be read")]
    Line {
        /// Its number, from 1.
        line: usize,
    },
    /// Another kind of card.
    #[error("it holds a card of type `{found}`, and only `Mifare Classic` and `NTAG/Ultralight` are known")]
    Kind {
        /// Which.
        found: String,
    },
}

/// Sixteen bytes, each of which may be unknown.
pub(in crate::cli) type MaybeBlock = [Option<u8>; 16];

/// A MIFARE Classic card in a file.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::cli) struct ClassicFile {
    /// How large it is.
    pub(in crate::cli) size: ClassicSize,
    /// The UID, in the file's header or in block 0.
    pub(in crate::cli) uid: Vec<u8>,
    /// ATQA, most significant byte first, and SAK.
    pub(in crate::cli) atqa_sak: ([u8; 2], u8),
    /// Its blocks in order.
    pub(in crate::cli) blocks: Vec<MaybeBlock>,
}

impl std::fmt::Debug for ClassicFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Its trailers hold keys.
        write!(f, "ClassicFile({})", self.size)
    }
}

impl Drop for ClassicFile {
    fn drop(&mut self) {
        self.blocks.iter_mut().flatten().for_each(Zeroize::zeroize);
    }
}

impl ClassicFile {
    /// A block of which every byte is known.
    pub(in crate::cli) fn block(&self, block: BlockNumber) -> Option<[u8; 16]> {
        let maybe = self.blocks.get(usize::from(block.get()))?;
        let mut known = [0; 16];
        for (byte, maybe) in known.iter_mut().zip(maybe) {
            *byte = (*maybe)?;
        }
        Some(known)
    }

    /// The key that a trailer shows in these places. Six zeros are no key: that is how tools write one that they do not know.
    fn key(&self, sector: SectorNumber, from: usize) -> Option<SectorKey> {
        let trailer = self.blocks.get(usize::from(sector.trailer().get()))?;
        let mut key = [0; 6];
        for (byte, maybe) in key.iter_mut().zip(trailer.iter().skip(from)) {
            *byte = (*maybe)?;
        }
        (key != [0; 6]).then(|| SectorKey::new(key))
    }

    /// Key A of a sector.
    pub(in crate::cli) fn key_a(&self, sector: SectorNumber) -> Option<KeyA> {
        self.key(sector, 0).map(KeyA)
    }

    /// Key B of a sector.
    pub(in crate::cli) fn key_b(&self, sector: SectorNumber) -> Option<KeyB> {
        self.key(sector, 10).map(KeyB)
    }

    /// A trailer with both keys and sound access bits.
    pub(in crate::cli) fn trailer(&self, sector: SectorNumber) -> Option<SectorTrailer> {
        let [_, _, _, _, _, _, c6, c7, c8, general_purpose, _, _, _, _, _, _] = self.block(sector.trailer())?;
        Some(SectorTrailer {
            key_a: self.key_a(sector)?,
            access_bits: AccessBits::from_bytes([c6, c7, c8])?,
            general_purpose,
            key_b: self.key_b(sector)?,
        })
    }
}

/// ATQA and SAK of a card that did not tell them, as behind PC/SC.
///
/// Source: NXP AN10833, tables "ATQA coding" and "SAK coding"; MF1S50yyX/V1 data sheet, section 9.4.
pub(in crate::cli) fn usual_atqa_sak(size: ClassicSize, uid_len: usize) -> ([u8; 2], u8) {
    let long = if uid_len == 4 { 0x00 } else { 0x40 };
    match size {
        ClassicSize::Mini => ([0x00, long | 0x04], 0x09),
        ClassicSize::K1 => ([0x00, long | 0x04], 0x08),
        ClassicSize::K4 => ([0x00, long | 0x02], 0x18),
    }
}

#[cfg(test)]
pub(in crate::cli) mod samples {
    use super::*;

    /// A card with a number in each block, and one with secrets in its trailers.
    pub(in crate::cli) fn numbered(size: ClassicSize) -> ClassicFile {
        let blocks = (0..size.blocks()).map(|block| {
            let mut content = [Some(u8::try_from(block).unwrap()); 16];
            if BlockNumber::new(u8::try_from(block).unwrap()).is_trailer() {
                content[6..10].copy_from_slice(&[Some(0x78), Some(0x77), Some(0x88), Some(0x69)]);
            }
            content
        });
        let mut blocks: Vec<MaybeBlock> = blocks.collect();
        // UID, check byte, SAK, ATQA.
        for (byte, value) in blocks[0].iter_mut().zip([0xDE, 0xAD, 0xBE, 0xEF, 0x22, 0x08, 0x04, 0x00]) {
            *byte = Some(value);
        }
        ClassicFile { size, uid: vec![0xDE, 0xAD, 0xBE, 0xEF], atqa_sak: ([0x00, 0x04], 0x08), blocks }
    }
}
