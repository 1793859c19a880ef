//! Dumps of Ultralight and NTAG cards: page after page, as libnfc's `nfc-mfultralight` has them, or a Flipper Zero's `.nfc`.
//!
//! Source: libnfc `utils/nfc-mfultralight.c` (a dump is the card's pages in order); the Flipper firmware's documentation
//! `documentation/file_formats/NfcFileFormats.md`, section "Mifare Ultralight/NTAG", and a published file of version 4
//! (pastebin xsxB8xjA). UNVERIFIED: the type's names of Ultralight EV1 and Ultralight C, from memory of the firmware's
//! `mf_ultralight.c`; a file of such a card that a Flipper has written would settle them.

use super::{FormatError, flipper as text};
use encoder_protocols::family::type2::{DataPage, PageNumber, Type2Kind};
use std::fmt::Write as _;
use zeroize::Zeroize;

/// An Ultralight or NTAG card in a file.
pub(in crate::cli) struct Type2File {
    /// Which.
    pub(in crate::cli) kind: Type2Kind,
    /// The UID.
    pub(in crate::cli) uid: Vec<u8>,
    /// Its pages in order; `None` for what is not known.
    pub(in crate::cli) pages: Vec<Option<[u8; 4]>>,
}

impl std::fmt::Debug for Type2File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Its pages may hold a password.
        write!(f, "Type2File({})", self.kind)
    }
}

impl Drop for Type2File {
    fn drop(&mut self) {
        self.pages.iter_mut().flatten().for_each(Zeroize::zeroize);
    }
}

impl Type2File {
    /// Its user's pages, as far as they are known.
    pub(in crate::cli) fn user_pages(&self) -> impl Iterator<Item = (u8, [u8; 4])> {
        let user = |page: u8| DataPage::new(self.kind, PageNumber::new(page)).is_some();
        let known = (0..).zip(&self.pages).filter_map(|(number, page)| Some((number, (*page)?)));
        known.filter(move |(number, _)| user(*number))
    }
}

/// The memory of a card, byte by byte; `None` when it has not the size of one. Which card, its size tells.
pub(in crate::cli) fn parse_raw(bytes: &[u8]) -> Option<Type2File> {
    let kind = Type2Kind::ALL.into_iter().find(|kind| usize::from(kind.pages()) * 4 == bytes.len())?;
    let pages: Vec<_> = bytes.as_chunks::<4>().0.iter().copied().map(Some).collect();
    let uid = bytes.iter().take(3).chain(bytes.iter().skip(4).take(4)).copied().collect();
    Some(Type2File { kind, uid, pages })
}

/// A Flipper's file; `None` when it is one of another card. Pages beyond those that were read are not known.
pub(in crate::cli) fn parse_flipper(file: &str) -> Result<Option<Type2File>, FormatError> {
    let lines = text::Lines::read(file)?;
    if lines.get("Device type")?.1 != "NTAG/Ultralight" {
        return Ok(None);
    }
    let (line, name) = lines.get("NTAG/Ultralight type")?;
    let kind = Type2Kind::ALL.into_iter().find(|kind| name_and_version(*kind).0 == name);
    let kind = kind.ok_or_else(|| FormatError::Kind { found: name.to_owned() })?;
    let number = |name: &str| {
        let (line, value) = lines.get(name)?;
        value.parse::<u8>().map_err(|_| FormatError::Line { line })
    };
    if number("Pages total")? != kind.pages() {
        return Err(FormatError::Line { line });
    }
    let read = number("Pages read")?;
    let page = |page: u8| {
        if page >= read {
            return Ok(None);
        }
        let (line, value) = lines.get(&format!("Page {page}"))?;
        text::fixed(text::known((line, value))?, line).map(Some)
    };
    let pages = (0..kind.pages()).map(page).collect::<Result<_, _>>()?;
    Ok(Some(Type2File { kind, uid: text::known(lines.get("UID")?)?, pages }))
}

/// The card's memory byte by byte. What is not known is zero.
pub(in crate::cli) fn raw(card: &Type2File) -> Vec<u8> {
    card.pages.iter().flat_map(|page| page.unwrap_or_default()).collect()
}

/// What the file calls the card, and what such a card answers to `GET_VERSION`. It is not kept what this one answered.
fn name_and_version(kind: Type2Kind) -> (&'static str, [u8; 8]) {
    match kind {
        Type2Kind::Ultralight => ("Mifare Ultralight", [0; 8]),
        Type2Kind::UltralightC => ("Mifare Ultralight C", [0; 8]),
        Type2Kind::UltralightEv1Small => ("Mifare Ultralight 11", [0x00, 0x04, 0x03, 0x01, 0x01, 0x00, 0x0B, 0x03]),
        Type2Kind::UltralightEv1Large => ("Mifare Ultralight 21", [0x00, 0x04, 0x03, 0x01, 0x01, 0x00, 0x0E, 0x03]),
        Type2Kind::Ntag213 => ("NTAG213", [0x00, 0x04, 0x04, 0x02, 0x01, 0x00, 0x0F, 0x03]),
        Type2Kind::Ntag215 => ("NTAG215", [0x00, 0x04, 0x04, 0x02, 0x01, 0x00, 0x11, 0x03]),
        Type2Kind::Ntag216 => ("NTAG216", [0x00, 0x04, 0x04, 0x02, 0x01, 0x00, 0x13, 0x03]),
    }
}

/// A Flipper's file, version 4. The format counts the pages that were read from the first on; signature and counters are not
/// read and are zero.
pub(in crate::cli) fn flipper(card: &Type2File) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(" ");
    let (name, version) = name_and_version(card.kind);
    let read = card.pages.iter().take_while(|page| page.is_some()).count();
    let mut text = format!(
        "Filetype: Flipper NFC device\nVersion: 4\n\
         # Device type can be ISO14443-3A, ISO14443-3B, ISO14443-4A, ISO14443-4B, ISO15693-3, FeliCa, NTAG/Ultralight, \
         Mifare Classic, Mifare DESFire, SLIX, ST25TB, EMV\n\
         Device type: NTAG/Ultralight\n# UID is common for all formats\nUID: {}\n# ISO14443-3A specific data\n\
         ATQA: 00 44\nSAK: 00\n# NTAG/Ultralight specific data\nData format version: 2\n\
         NTAG/Ultralight type: {name}\nSignature: {}\nMifare version: {}\n",
        hex(&card.uid),
        hex(&[0; 32]),
        hex(&version),
    );
    for counter in 0..3 {
        let _infallible = writeln!(text, "Counter {counter}: 0\nTearing {counter}: 00");
    }
    let _infallible = writeln!(text, "Pages total: {}\nPages read: {read}", card.pages.len());
    for (number, page) in card.pages.iter().enumerate() {
        let _infallible = writeln!(text, "Page {number}: {}", hex(&page.unwrap_or_default()));
    }
    text + "Failed authentication attempts: 0\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_published_ntag213_is_written_to_the_letter_but_for_what_is_not_read() {
        let mut pages = vec![Some([0; 4]); 45];
        let known =
            [[0x04, 0xA7, 0x8B, 0xA0], [0x62, 0xC2, 0x1B, 0x90], [0x2B, 0x48, 0xFF, 0xFF], [0xE1, 0x10, 0x12, 0x00]];
        for (page, data) in pages.iter_mut().zip(known) {
            *page = Some(data);
        }
        let uid = vec![0x04, 0xA7, 0x8B, 0x62, 0xC2, 0x1B, 0x90];
        let card = Type2File { kind: Type2Kind::Ntag213, uid, pages };
        // The lines of pastebin xsxB8xjA, without its signature and counters.
        for line in [
            "Filetype: Flipper NFC device\nVersion: 4\n# Device type can be",
            "\nDevice type: NTAG/Ultralight\n# UID is common for all formats\nUID: 04 A7 8B 62 C2 1B 90\n",
            "\n# ISO14443-3A specific data\nATQA: 00 44\nSAK: 00\n# NTAG/Ultralight specific data\nData format version: 2\n",
            "\nNTAG/Ultralight type: NTAG213\nSignature: ",
            "\nMifare version: 00 04 04 02 01 00 0F 03\nCounter 0: 0\nTearing 0: 00\nCounter 1: 0\n",
            "\nPages total: 45\nPages read: 45\nPage 0: 04 A7 8B A0\nPage 1: 62 C2 1B 90\nPage 2: 2B 48 FF FF\nPage 3: E1 10 12 00\n",
        ] {
            assert!(flipper(&card).contains(line), "{line}");
        }
        assert_eq!(raw(&card).len(), 180);
        // Read back: of a file that was read in part the rest is not known, and only the user's pages are for writing.
        let text = flipper(&card).replace("Pages read: 45", "Pages read: 6");
        let again = parse_flipper(&text).unwrap().unwrap();
        assert_eq!((again.kind, &again.uid), (Type2Kind::Ntag213, &card.uid));
        assert_eq!((again.pages[2], again.pages[6]), (Some([0x2B, 0x48, 0xFF, 0xFF]), None));
        assert_eq!(again.user_pages().collect::<Vec<_>>(), [(4, [0; 4]), (5, [0; 4])]);
        assert_eq!(parse_raw(&raw(&card)).unwrap().user_pages().count(), 36);
        assert!(parse_raw(&[0; 1024]).is_none(), "a MIFARE Classic card");
    }
}
