//! libnfc's `.mfd`: the memory of a MIFARE Classic card byte by byte, trailers with their keys. What is not known is zero.
//!
//! Source: libnfc `utils/mifare.h` (`mifare_classic_tag`: blocks of 16 bytes, 20, 64 or 256 of them) and
//! `utils/nfc-mfclassic.c`; its man page, `nfc-mfclassic(1)`.

use super::{ClassicFile, FormatError, MaybeBlock, usual_atqa_sak};
use encoder_protocols::family::classic::ClassicSize;

/// Reads one.
pub(in crate::cli) fn parse(bytes: &[u8]) -> Result<ClassicFile, FormatError> {
    let sizes = [ClassicSize::Mini, ClassicSize::K1, ClassicSize::K4];
    let size = sizes.into_iter().find(|size| usize::from(size.blocks()) * 16 == bytes.len());
    let size = size.ok_or(FormatError::Size { have: bytes.len() })?;
    let blocks: Vec<MaybeBlock> = bytes.as_chunks::<16>().0.iter().map(|block| block.map(Some)).collect();
    // A UID of four bytes is followed by the exclusive or of them. Source: MF1S50yyX/V1 data sheet, section 8.6.1.
    let is_short = matches!(bytes, [a, b, c, d, check, ..] if a ^ b ^ c ^ d == *check);
    let uid = bytes.iter().copied().take(if is_short { 4 } else { 7 }).collect::<Vec<u8>>();
    let atqa_sak = usual_atqa_sak(size, uid.len());
    Ok(ClassicFile { size, uid, atqa_sak, blocks })
}

/// Writes one.
pub(in crate::cli) fn write(card: &ClassicFile) -> Vec<u8> {
    card.blocks.iter().flatten().map(|byte| byte.unwrap_or_default()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::samples::numbered;
    use super::*;
    use encoder_protocols::family::classic::SectorNumber;

    #[test]
    fn every_size_reads_back() {
        for (size, len) in [(ClassicSize::Mini, 320), (ClassicSize::K1, 1024), (ClassicSize::K4, 4096)] {
            let bytes = write(&numbered(size));
            assert_eq!(bytes.len(), len);
            let read = parse(&bytes).unwrap();
            assert_eq!((read.size, read.uid.as_slice()), (size, [0xDE, 0xAD, 0xBE, 0xEF].as_slice()));
            assert_eq!(write(&read), bytes);
        }
        assert_eq!(parse(&[0; 1000]), Err(FormatError::Size { have: 1000 }));
    }

    #[test]
    fn a_key_of_zeros_is_a_key_that_was_not_known() {
        let mut bytes = write(&numbered(ClassicSize::K1));
        bytes[7 * 16..7 * 16 + 6].fill(0);
        let card = parse(&bytes).unwrap();
        let sector = SectorNumber::new(1).unwrap();
        assert!(card.key_a(sector).is_none() && card.key_b(sector).is_some() && card.trailer(sector).is_none());
        assert!(card.trailer(SectorNumber::new(2).unwrap()).is_some());
    }
}
