//! Who made a chip: the first byte of a UID of seven or ten bytes.
//!
//! Source: ISO/IEC 14443-3, 6.5.4 (the first byte of a double or triple size UID is the manufacturer's, as registered
//! under ISO/IEC 7816-6); "Register of IC manufacturers", ISO/IEC JTC1/SC17 standing document 5, as FEIG's SDK has it in
//! `ISO_IEC_7816_6_ICManufacturerRegistration.h`. The makers of contactless chips among them.

use crate::id::Uid;

const MAKERS: [(u8, &str); 13] = [
    (0x02, "STMicroelectronics"),
    (0x03, "Hitachi"),
    (0x04, "NXP Semiconductors"),
    (0x05, "Infineon Technologies"),
    (0x07, "Texas Instruments"),
    (0x08, "Fujitsu"),
    (0x0E, "Samsung Electronics"),
    (0x12, "INSIDE Technology"),
    (0x15, "ATMEL"),
    (0x16, "EM Microelectronic-Marin"),
    (0x17, "KSW Microtec"),
    (0x1A, "Sony"),
    (0x1D, "Shanghai Fudan Microelectronics"),
];

/// The maker that a UID names; `None` for one that is not in the list, and for UIDs of four bytes, which name nobody.
pub fn maker(uid: &Uid) -> Option<&'static str> {
    let (&first, rest) = uid.as_bytes().split_first()?;
    let known = MAKERS.iter().find(|(code, _)| *code == first).filter(|_| rest.len() > 3);
    known.map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_long_uids_name_their_maker() {
        let name = |uid: &str| maker(&uid.parse().unwrap());
        assert_eq!(name("04a1b2c3d4e5f6"), Some("NXP Semiconductors"));
        assert_eq!(name("1da1b2c3d4e5f6"), Some("Shanghai Fudan Microelectronics"));
        assert_eq!((name("04a1b2c3"), name("ffa1b2c3d4e5f6")), (None, None));
    }
}
