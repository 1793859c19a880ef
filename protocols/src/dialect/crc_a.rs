//! `CRC_A`, which closes every frame between a reader and a type A card.

use crc::{CRC_16_ISO_IEC_14443_3_A, Crc};

/// Source: ISO/IEC 14443-3, annex B: polynomial 1021 reflected, initial value 6363, not inverted.
const CRC_A: Crc<u16> = Crc::<u16>::new(&CRC_16_ISO_IEC_14443_3_A);

/// The two CRC bytes in the order in which they are sent, low byte first.
pub fn crc_a(data: &[u8]) -> [u8; 2] {
    CRC_A.checksum(data).to_le_bytes()
}

/// The data of a frame whose last two bytes are its CRC; `None` when they are not.
pub fn strip_crc_a(frame: &[u8]) -> Option<&[u8]> {
    let (data, crc) = frame.split_last_chunk::<2>()?;
    (crc_a(data) == *crc).then_some(data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hex_literal::hex;

    #[test]
    fn hlta_has_the_crc_of_the_standard() {
        assert_eq!(crc_a(&hex!("5000")), hex!("57CD"));
        assert_eq!(strip_crc_a(&hex!("500057CD")), Some(&hex!("5000")[..]));
        assert_eq!(strip_crc_a(&hex!("500057CC")), None);
        assert_eq!(strip_crc_a(&hex!("57")), None);
    }
}
