//! A Flipper Zero's `.nfc` file: lines of `name: value`, bytes in hex with blanks, `??` for what is not known.
//!
//! Source: the firmware's documentation `documentation/file_formats/NfcFileFormats.md` (versions 2 and 3), and files of
//! version 4 that people have published. Version 2 has ATQA with its least significant byte first, 3 and 4 the other way.

use super::{ClassicFile, FormatError, MaybeBlock};
use encoder_protocols::family::classic::ClassicSize;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The lines of a file by their names, with their numbers.
pub(super) struct Lines<'a>(BTreeMap<&'a str, (usize, &'a str)>);

impl<'a> Lines<'a> {
    pub(super) fn read(text: &'a str) -> Result<Self, FormatError> {
        let mut lines = BTreeMap::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                let (name, value) = line.split_once(':').ok_or(FormatError::Line { line: number })?;
                lines.insert(name.trim(), (number, value.trim()));
            }
        }
        if lines.get("Filetype").is_none_or(|(_, value)| *value != "Flipper NFC device") {
            return Err(FormatError::NotFlipper);
        }
        Ok(Self(lines))
    }

    pub(super) fn get(&self, name: &str) -> Result<(usize, &'a str), FormatError> {
        self.0.get(name).copied().ok_or_else(|| FormatError::Missing { name: name.to_owned() })
    }
}

/// Reads one.
pub(in crate::cli) fn parse(text: &str) -> Result<ClassicFile, FormatError> {
    let lines = Lines::read(text)?;
    let get = |name: &str| lines.get(name);
    let (_, version) = get("Version")?;
    let least_first = match version {
        "2" => true,
        "3" | "4" => false,
        other => return Err(FormatError::Version { found: other.to_owned() }),
    };
    let (_, kind) = get("Device type")?;
    if kind != "Mifare Classic" {
        return Err(FormatError::Kind { found: kind.to_owned() });
    }
    let (line, size) = get("Mifare Classic type")?;
    let size = match size {
        "MINI" => ClassicSize::Mini,
        "1K" => ClassicSize::K1,
        "4K" => ClassicSize::K4,
        _ => return Err(FormatError::Line { line }),
    };
    let uid = known(get("UID")?)?;
    let (atqa_line, atqa) = get("ATQA")?;
    let mut atqa: [u8; 2] = fixed(known((atqa_line, atqa))?, atqa_line)?;
    if least_first {
        atqa.reverse();
    }
    let (sak_line, sak) = get("SAK")?;
    let [sak] = fixed(known((sak_line, sak))?, sak_line)?;
    let blocks = (0..size.blocks()).map(|block| {
        let (line, value) = get(&format!("Block {block}"))?;
        fixed(bytes((line, value))?, line)
    });
    let blocks = blocks.collect::<Result<Vec<MaybeBlock>, FormatError>>()?;
    Ok(ClassicFile { size, uid, atqa_sak: (atqa, sak), blocks })
}

fn bytes((line, value): (usize, &str)) -> Result<Vec<Option<u8>>, FormatError> {
    let byte = |word: &str| match word {
        "??" => Ok(None),
        word if word.len() == 2 && word.bytes().all(|digit| digit.is_ascii_hexdigit()) => {
            u8::from_str_radix(word, 16).map(Some).map_err(|_| FormatError::Line { line })
        }
        _ => Err(FormatError::Line { line }),
    };
    value.split_ascii_whitespace().map(byte).collect()
}

pub(super) fn known(value: (usize, &str)) -> Result<Vec<u8>, FormatError> {
    let (line, _) = value;
    bytes(value)?.into_iter().map(|byte| byte.ok_or(FormatError::Line { line })).collect()
}

pub(super) fn fixed<T: Copy, const N: usize>(values: Vec<T>, line: usize) -> Result<[T; N], FormatError> {
    values.try_into().map_err(|_| FormatError::Line { line })
}

/// Writes one, version 4.
pub(in crate::cli) fn write(card: &ClassicFile) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(" ");
    let kind = match card.size {
        ClassicSize::Mini => "MINI",
        ClassicSize::K1 => "1K",
        ClassicSize::K4 => "4K",
    };
    let (atqa, sak) = card.atqa_sak;
    let mut text = format!(
        "Filetype: Flipper NFC device\nVersion: 4\n\
         # Device type can be ISO14443-3A, ISO14443-3B, ISO14443-4A, ISO14443-4B, ISO15693-3, FeliCa, NTAG/Ultralight, \
         Mifare Classic, Mifare Plus, Mifare DESFire, SLIX, ST25TB, EMV\n\
         Device type: Mifare Classic\n# UID is common for all formats\nUID: {}\n# ISO14443-3A specific data\n\
         ATQA: {}\nSAK: {sak:02X}\n# Mifare Classic specific data\nMifare Classic type: {kind}\n\
         Data format version: 2\n# Mifare Classic blocks, '??' means unknown data\n",
        hex(&card.uid),
        hex(&atqa),
    );
    for (number, block) in card.blocks.iter().enumerate() {
        let words = block.iter().map(|byte| byte.map_or_else(|| "??".to_owned(), |byte| format!("{byte:02X}")));
        let _infallible = writeln!(text, "Block {number}: {}", words.collect::<Vec<_>>().join(" "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::samples::numbered;
    use super::*;
    use encoder_protocols::family::classic::{BlockNumber, SectorNumber};

    /// The head and the first sectors of a file of version 4 that somebody has published (pastebin iuZgvHPX), filled up
    /// with blocks of `??`, which the format has for what was not read.
    fn published() -> String {
        let head = "Filetype: Flipper NFC device\n\
            Version: 4\n\
            # Device type can be ISO14443-3A, ISO14443-3B, ISO14443-4A, ISO14443-4B, ISO15693-3, FeliCa, NTAG/Ultralight, Mifare Classic, Mifare Plus, Mifare DESFire, SLIX, ST25TB, EMV\n\
            Device type: Mifare Classic\n\
            # UID is common for all formats\n\
            UID: CD 3D EF F2\n\
            # ISO14443-3A specific data\n\
            ATQA: 00 04\n\
            SAK: 08\n\
            # Mifare Classic specific data\n\
            Mifare Classic type: 1K\n\
            Data format version: 2\n\
            # Mifare Classic blocks, '??' means unknown data\n\
            Block 0: CD 3D EF F2 ED 08 04 00 03 D9 7A CD 71 3B 68 90\n\
            Block 1: 41 30 30 2D 4D 31 00 00 47 46 41 30 30 00 00 00\n\
            Block 2: 50 4C 41 00 00 00 00 00 00 00 00 00 00 00 00 00\n\
            Block 3: ?? ?? ?? ?? ?? ?? 87 87 87 69 ?? ?? ?? ?? ?? ??\n";
        let unread = format!(": {}\n", ["??"; 16].join(" "));
        (4..64).fold(head.to_owned(), |text, block| text + &format!("Block {block}") + &unread)
    }

    #[test]
    fn a_published_file_is_understood_and_written_again_to_the_letter() {
        let card = parse(&published()).unwrap();
        assert_eq!(card.size, ClassicSize::K1);
        assert_eq!((card.uid.as_slice(), card.atqa_sak), ([0xCD, 0x3D, 0xEF, 0xF2].as_slice(), ([0x00, 0x04], 0x08)));
        assert_eq!(card.block(BlockNumber::new(2)).unwrap()[..4], *b"PLA\0");
        assert_eq!(card.block(BlockNumber::new(3)), None);
        assert!(card.key_a(SectorNumber::new(0).unwrap()).is_none());
        assert_eq!(write(&card), published());
    }

    #[test]
    fn version_2_has_the_bytes_of_atqa_the_other_way() {
        // The head of a published file of version 2 (pastebin z0DZcTNn).
        let old = published().replace("Version: 4", "Version: 2").replace("ATQA: 00 04", "ATQA: 04 00");
        assert_eq!(parse(&old).unwrap().atqa_sak, ([0x00, 0x04], 0x08));
    }

    #[test]
    fn every_size_reads_back() {
        for size in [ClassicSize::Mini, ClassicSize::K1, ClassicSize::K4] {
            assert_eq!(parse(&write(&numbered(size))).unwrap(), numbered(size));
        }
    }

    #[test]
    fn what_is_wrong_with_a_file_is_named() {
        let text = published();
        for (from, to, error) in [
            ("Flipper NFC device", "Flipper SubGhz Key File", FormatError::NotFlipper),
            ("Version: 4", "Version: 9", FormatError::Version { found: "9".to_owned() }),
            ("Device type: Mifare Classic", "Device type: EMV", FormatError::Kind { found: "EMV".to_owned() }),
            ("Block 2: 50", "Block 2: 5", FormatError::Line { line: 16 }),
            ("Block 1: 41", "Block 1:", FormatError::Line { line: 15 }),
            ("UID: CD", "UID: ??", FormatError::Line { line: 6 }),
            ("Block 63", "Block 64", FormatError::Missing { name: "Block 63".to_owned() }),
        ] {
            assert_eq!(parse(&text.replacen(from, to, 1)), Err(error), "{from}");
        }
    }
}
