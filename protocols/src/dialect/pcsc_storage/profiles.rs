//! What is particular to a reader, as data: slots for keys, commands of its own, how it fails; and what is no encoder.
//!
//! USB ids and names: `Info.plist` of libccid 1.5.2. UNVERIFIED on hardware, all of it: no reader was at hand.

use crate::atr::Names;
use crate::family::classic::Key;

/// Where a key goes and by which number it is called, for key A and for key B.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyForm {
    /// For key A.
    pub a: KeyPlace,
    /// For key B.
    pub b: KeyPlace,
}

impl KeyForm {
    /// The place for this key.
    pub fn place(self, key: &Key) -> KeyPlace {
        match key {
            Key::A(_) => self.a,
            Key::B(_) => self.b,
        }
    }

    const fn numbers(a: u8, b: u8) -> Self {
        Self { a: KeyPlace { p2: a, number: a }, b: KeyPlace { p2: b, number: b } }
    }
}

/// A place for a key in the reader's volatile memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyPlace {
    /// P2 of `FF 82`.
    pub p2: u8,
    /// The key number of `FF 86`.
    pub number: u8,
}

/// Slots 00 and 01. Source: ACR122U API 2.04, section 5.1; ACM1252U-Y3 manual, 5.2.4.1.
const TWO_SLOTS: KeyForm = KeyForm::numbers(0x00, 0x01);
/// Slot 00 alone, as a reader that promises nothing most likely has it.
const ONE_SLOT: KeyForm = KeyForm::numbers(0x00, 0x00);
/// Session key 20; 00 to 1F keep their keys without power. Source: ACR128 API 1.7, 7.1; ACM1281U-C7 manual, 5.1.3.1.
const SESSION_KEY: KeyForm = KeyForm::numbers(0x20, 0x20);
/// P2 says key A or B, the number is 01. Source: uTrust 3720F manual, 6.2.3 and 6.2.4; SCL3711 manual, 6.2.3.
const BY_TYPE: KeyForm = KeyForm { a: KeyPlace { p2: 0x60, number: 0x01 }, b: KeyPlace { p2: 0x61, number: 0x01 } };

/// The forms that are tried, in this order, where the profile's own is unknown or refused. All are volatile memory.
pub const KEY_FORMS: &[KeyForm] = &[ONE_SLOT, SESSION_KEY, BY_TYPE];

/// How a reader is asked for its firmware, by escape command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirmwareQuestion {
    /// `FF 00 48 00 00`: text without status word. Source: ACR122U API 2.04, section 6.3.
    Acr122,
    /// `E0 00 00 18 00`: `E1 00 00 00`, length, text. Source: ACR1281U-C1 API 1.08, 5.3.1; ACM1252U-Y3 manual, 5.3.1.
    Peripheral,
}

/// What a reader can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feedback {
    /// `FF 00 40` with LEDs and buzzer, as APDU or escape; answers `90` and the LEDs' state. Source: ACR122U API 2.04, 6.2.
    LedAndBuzzer,
    /// `E0 00 00 28`: buzzer, by escape only; answers `E1`. Source: ACR1281U-C1 API 1.08, 5.3.4.
    Buzzer,
}

/// What is inside and can be spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direct {
    /// A PN532 behind `FF 00 00 00 Lc D4 …`. Source: ACR122U API 2.04, section 6.1.
    Pn532,
}

/// How a reader says that something failed; for the device side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errors {
    /// `6300`, whatever it was.
    Acs,
    /// A status word for each cause.
    PcScPart3,
}

/// What is particular to a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Its name in configuration and on the command line.
    pub name: &'static str,
    /// What it is, for people.
    pub description: &'static str,
    /// Texts one of which the reader's PC/SC name contains, whatever the case.
    pub reader_names: &'static [&'static str],
    /// USB vendor and product ids that are this reader and nothing else.
    pub usb_ids: &'static [(u16, u16)],
    /// Its key slots, where a document says so.
    pub keys: Option<KeyForm>,
    /// How it is asked for its firmware.
    pub firmware: Option<FirmwareQuestion>,
    /// What it can show.
    pub feedback: Option<Feedback>,
    /// What is inside and can be spoken to.
    pub direct: Option<Direct>,
    /// How its ATRs name cards.
    pub names: Names,
    /// How it says that something failed.
    pub errors: Errors,
}

/// A reader that nothing is known of.
pub const GENERIC: Profile = Profile {
    name: "generic",
    description: "contactless PC/SC reader",
    reader_names: &[],
    usb_ids: &[],
    keys: None,
    firmware: None,
    feedback: None,
    direct: None,
    names: Names::Standard,
    errors: Errors::PcScPart3,
};

/// All profiles, the unknown reader's last.
pub const PROFILES: &[Profile] = &[
    Profile {
        name: "acr122u",
        description: "ACS ACR122U",
        reader_names: &["ACR122"],
        usb_ids: &[(0x072F, 0x2200)],
        keys: Some(TWO_SLOTS),
        firmware: Some(FirmwareQuestion::Acr122),
        feedback: Some(Feedback::LedAndBuzzer),
        direct: Some(Direct::Pn532),
        errors: Errors::Acs,
        ..GENERIC
    },
    Profile {
        name: "acr1252u",
        description: "ACS ACR1252U",
        reader_names: &["ACR1252", "ACM1252"],
        usb_ids: &[(0x072F, 0x223B), (0x072F, 0x223E), (0x072F, 0x2259)],
        keys: Some(TWO_SLOTS),
        firmware: Some(FirmwareQuestion::Peripheral),
        feedback: Some(Feedback::Buzzer),
        errors: Errors::Acs,
        ..GENERIC
    },
    Profile {
        name: "acr1281u",
        description: "ACS ACR1281U",
        reader_names: &["ACR1281", "ACM1281", "ACR128 "],
        usb_ids: &[(0x072F, 0x2224)],
        keys: Some(SESSION_KEY),
        firmware: Some(FirmwareQuestion::Peripheral),
        feedback: Some(Feedback::Buzzer),
        errors: Errors::Acs,
        ..GENERIC
    },
    Profile {
        name: "omnikey",
        description: "HID OMNIKEY",
        reader_names: &["OMNIKEY", "CardMan 5"],
        usb_ids: &[
            (0x076B, 0x5022),
            (0x076B, 0x5023),
            (0x076B, 0x502A),
            (0x076B, 0x5127),
            (0x076B, 0x5321),
            (0x076B, 0x5326),
            (0x076B, 0x5412),
            (0x076B, 0x5421),
            (0x076B, 0x5422),
            (0x076B, 0x5427),
            (0x076B, 0x5432),
        ],
        // UNVERIFIED: which slots it has. HID's sample code loads into non-volatile memory, which is never done here, and
        // a 5321 refuses P1 00, P2 20 with 6986, so some models may not be usable at all; a reader would tell.
        keys: None,
        ..GENERIC
    },
    Profile {
        name: "identiv",
        description: "Identiv uTrust or SCM SCL",
        reader_names: &["uTrust 37", "uTrust 47", "CLOUD 37", "CLOUD 4", "SCL01", "SCL3711", "SDI01"],
        usb_ids: &[
            (0x04E6, 0x5612),
            (0x04E6, 0x5613),
            (0x04E6, 0x5724),
            (0x04E6, 0x5725),
            (0x04E6, 0x5790),
            (0x04E6, 0x5791),
            (0x04E6, 0x5720),
            (0x04E6, 0x5721),
            (0x04E6, 0x5121),
            (0x04E6, 0x512B),
            (0x04E6, 0x512C),
            (0x04E6, 0x5291),
            (0x04E6, 0x5293),
        ],
        keys: Some(BY_TYPE),
        ..GENERIC
    },
    GENERIC,
];

static GENERIC_PROFILE: Profile = GENERIC;

/// The profile with this name.
pub fn profile(name: &str) -> Option<&'static Profile> {
    PROFILES.iter().find(|profile| profile.name == name)
}

/// The profile of a reader with this PC/SC name and these USB vendor and product ids, [`GENERIC`] where none fits.
pub fn profile_of(reader_name: &str, usb: Option<(u16, u16)>) -> &'static Profile {
    let by_usb = usb.and_then(|ids| PROFILES.iter().find(|profile| profile.usb_ids.contains(&ids)));
    let named = |profile: &&Profile| profile.reader_names.iter().any(|text| contains(reader_name, text));
    by_usb.or_else(|| PROFILES.iter().find(named)).unwrap_or(&GENERIC_PROFILE)
}

/// Whether the text is in the name, whatever the case.
fn contains(name: &str, text: &str) -> bool {
    let (name, text) = (name.as_bytes(), text.as_bytes());
    !text.is_empty() && name.windows(text.len()).any(|part| part.eq_ignore_ascii_case(text))
}

/// Which part of a PC/SC reader name speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it: what the thing is.
    Whole,
    /// What stands in brackets, if anything does: which slot of the thing it is.
    Slot,
}

/// What appears in PC/SC and is no encoder: a line in [`NOT_ENCODERS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotEncoder {
    /// Where to look.
    pub part: Part,
    /// Words that stand there one after the other, whatever the case; what is between words does not matter.
    pub words: &'static str,
    /// Words any of which says that it is one after all.
    pub unless: &'static [&'static str],
    /// Why it is none.
    pub why: &'static str,
}

const SECURITY_KEY: &str = "a security key, not an encoder";
const TOKEN: &str = "a crypto token, not an encoder";
const WALLET: &str = "a hardware wallet, not an encoder";
const CONTACT: &str = "a reader for contact cards only";
const CONTACT_SLOT: &str = "the slot for contact cards";
const SAM_SLOT: &str = "a slot for a security module";
const KEYBOARD: &str = "a keyboard with a slot for contact cards";

/// Words of a contactless slot.
const CONTACTLESS: &[&str] = &["CL", "Contactless", "PICC", "NFC", "RFID"];

const fn whole(words: &'static str, why: &'static str) -> NotEncoder {
    NotEncoder { part: Part::Whole, words, unless: &[], why }
}

const fn slot(words: &'static str, why: &'static str) -> NotEncoder {
    NotEncoder { part: Part::Slot, words, unless: CONTACTLESS, why }
}

/// What appears in PC/SC and is no encoder. Names: libccid's list of supported readers, by the model numbers' meaning.
///
/// UNVERIFIED: the names of the two slots of a dual reader; `pcsc_scan` with the reader plugged in would tell.
pub const NOT_ENCODERS: &[NotEncoder] = &[
    whole("YubiKey", SECURITY_KEY),
    whole("Yubico", SECURITY_KEY),
    whole("Nitrokey", SECURITY_KEY),
    whole("SoloKeys", SECURITY_KEY),
    whole("Solo 2", SECURITY_KEY),
    whole("Canokey", SECURITY_KEY),
    whole("Canokeys", SECURITY_KEY),
    whole("Librem Key", SECURITY_KEY),
    whole("Crescendo Key", SECURITY_KEY),
    whole("Idem Key", SECURITY_KEY),
    whole("GoldKey", SECURITY_KEY),
    whole("FIDO", SECURITY_KEY),
    whole("Gnuk", SECURITY_KEY),
    whole("Molto2", SECURITY_KEY),
    whole("DIGIPASS KEY", SECURITY_KEY),
    whole("Ledger", WALLET),
    whole("eToken", TOKEN),
    whole("iToken", TOKEN),
    whole("IDToken", TOKEN),
    whole("SecureToken", TOKEN),
    whole("ePass2003", TOKEN),
    whole("ePass2003Auto", TOKEN),
    whole("Rutoken", TOKEN),
    whole("Token", TOKEN),
    whole("Keyboard", KEYBOARD),
    whole("KB SCR2", KEYBOARD),
    slot("SAM", SAM_SLOT),
    slot("ICC", CONTACT_SLOT),
    slot("Contact", CONTACT_SLOT),
    slot("OMNIKEY 5422 Smartcard Reader", CONTACT_SLOT),
    slot("OMNIKEY 5122 Smartcard Reader", CONTACT_SLOT),
    whole("CardMan 1021", CONTACT),
    whole("CardMan 3121", CONTACT),
    whole("CardMan 3621", CONTACT),
    whole("CardMan 3821", CONTACT),
    whole("CardMan 4321", CONTACT),
    whole("CardMan 6121", CONTACT),
    whole("3121 USB", CONTACT),
    whole("OMNIKEY 3x21", CONTACT),
    whole("OMNIKEY 6121", CONTACT),
    whole("uTrust 2900", CONTACT),
    whole("uTrust 2910", CONTACT),
    whole("CLOUD 2700", CONTACT),
    whole("CLOUD 2980", CONTACT),
    whole("SCR 331", CONTACT),
    whole("SCR 335", CONTACT),
    whole("SCR 3310", CONTACT),
    whole("SCR 3311", CONTACT),
    whole("SCR3310", CONTACT),
    whole("SCR3320", CONTACT),
    whole("SCR3340", CONTACT),
    whole("SCR3500", CONTACT),
    whole("SCR33x", CONTACT),
    whole("SCR35xx", CONTACT),
    whole("SPR 532", CONTACT),
    whole("ACR38", CONTACT),
    whole("ACR 38U", CONTACT),
    whole("ACR38U", CONTACT),
    whole("ACR39U", CONTACT),
    whole("ACR3901", CONTACT),
    whole("AU9520", CONTACT),
    whole("AU9540", CONTACT),
    whole("AU9560", CONTACT),
    whole("GemPC", CONTACT),
    whole("PC Twin Reader", CONTACT),
    whole("Smart Terminal", CONTACT),
    whole("SmartTerminal", CONTACT),
];

/// Why a reader with this PC/SC name is no encoder; `None` where it may be one.
pub fn not_an_encoder(reader_name: &str) -> Option<&'static str> {
    let slot = reader_name
        .split_once('[')
        .and_then(|(_, rest)| rest.split_once(']'))
        .map_or(reader_name, |(inside, _)| inside);
    let speaks = |entry: &&NotEncoder| {
        let text = match entry.part {
            Part::Whole => reader_name,
            Part::Slot => slot,
        };
        has_words(text, entry.words) && !entry.unless.iter().any(|words| has_words(text, words))
    };
    NOT_ENCODERS.iter().find(speaks).map(|entry| entry.why)
}

/// Whether these words stand one after the other in the text, whatever the case.
fn has_words(text: &str, words: &str) -> bool {
    let split = |text| str::split(text, |c: char| !c.is_ascii_alphanumeric()).filter(|word: &&str| !word.is_empty());
    let mut rest = split(text);
    loop {
        let mut here = rest.clone();
        if split(words).all(|word| here.next().is_some_and(|found| found.eq_ignore_ascii_case(word))) {
            return true;
        }
        if rest.next().is_none() {
            return false;
        }
    }
}

/// InListPassiveTarget for up to two cards of type A, for the chip inside.
pub(super) const LIST_TWO: [u8; 4] = [0xD4, 0x4A, 0x02, 0x00];
/// Code of the answer to it.
pub(super) const LISTED: u8 = 0x4B;

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;

    #[test]
    fn readers_are_known_by_usb_ids_and_by_name() {
        let cases = [
            ("ACS ACR122U PICC Interface 00 00", None, "acr122u"),
            ("whatever 00 00", Some((0x072F, 0x2200)), "acr122u"),
            ("ACS ACR1252 Dual Reader [ACR1252 Dual Reader PICC] 00 00", None, "acr1252u"),
            ("ACS ACR1281U 00 00", Some((0x072F, 0x2224)), "acr1281u"),
            ("HID Global OMNIKEY 5022 Smart Card Reader 00 00", None, "omnikey"),
            ("OMNIKEY CardMan 5321 00 00", None, "omnikey"),
            ("Identiv uTrust 3700 F CL Reader 00 00", None, "identiv"),
            ("SCM Microsystems Inc. SCL01x Contactless Reader 00 00", None, "identiv"),
            ("Virtual PCD 00 00", None, "generic"),
            ("", Some((0x1234, 0x5678)), "generic"),
            // The ids decide, whatever the name says.
            ("ACS ACR122U", Some((0x04E6, 0x5790)), "identiv"),
        ];
        for (name, usb, expected) in cases {
            assert_eq!(profile_of(name, usb).name, expected, "{name}");
        }
    }

    #[test]
    fn profiles_have_names_and_ids_of_their_own() {
        let names: BTreeSet<_> = PROFILES.iter().map(|profile| profile.name).collect();
        let ids: BTreeSet<_> = PROFILES.iter().flat_map(|profile| profile.usb_ids).collect();
        assert_eq!(names.len(), PROFILES.len());
        assert_eq!(ids.len(), PROFILES.iter().map(|profile| profile.usb_ids.len()).sum::<usize>());
        assert_eq!(PROFILES.last(), Some(&GENERIC));
        for known in PROFILES {
            assert_eq!(profile(known.name), Some(known));
        }
        assert_eq!(profile("pn532"), None);
    }

    #[test]
    fn what_is_no_encoder_is_told_with_its_reason() {
        // Names: libccid's list of supported readers, with the suffix that pcscd adds.
        let cases = [
            ("Yubico YubiKey OTP+FIDO+CCID 00 00", SECURITY_KEY),
            ("Nitrokey Nitrokey 3 00 00", SECURITY_KEY),
            ("SoloKeys Solo 2 01 00", SECURITY_KEY),
            ("Ledger Nano X 00 00", WALLET),
            ("SafeNet eToken 5110+ FIPS 00 00", TOKEN),
            ("Aktiv Rutoken ECP 00 00", TOKEN),
            ("Identive SCT3522CC token 00 00", TOKEN),
            ("Chicony USB Smart Card Keyboard 00 00", KEYBOARD),
            ("ACS ACR1252 Dual Reader [ACR1252 Dual Reader SAM] 01 00", SAM_SLOT),
            ("ACS ACR1281 1S Dual Reader [ACR1281U ICC Reader] 00 00", CONTACT_SLOT),
            ("HID Global OMNIKEY 5422 Smartcard Reader [OMNIKEY 5422 Smartcard Reader] 00 00", CONTACT_SLOT),
            ("OMNIKEY AG CardMan 3121 00 00", CONTACT),
            ("SCM Microsystems Inc. SCR33x USB Smart Card Reader 00 00", CONTACT),
            ("Identiv uTrust 2900 R Smart Card Reader 00 00", CONTACT),
            ("ACS ACR 38U-CCID 00 00", CONTACT),
        ];
        for (name, why) in cases {
            assert_eq!(not_an_encoder(name), Some(why), "{name}");
        }
    }

    #[test]
    fn encoders_are_not_taken_for_something_else() {
        for name in [
            "ACS ACR122U PICC Interface 00 00",
            "ACS ACR1252 Dual Reader [ACR1252 Dual Reader PICC] 00 00",
            "ACS ACR1281U 00 00",
            "HID Global OMNIKEY 5022 Smart Card Reader 00 00",
            "HID Global OMNIKEY 5422 Smartcard Reader [OMNIKEY 5422CL Smartcard Reader] 01 00",
            "Identiv uTrust 3700 F CL Reader 00 00",
            "Identiv Identiv uTrust 4711 F CL + SAM Reader 00 00",
            "Identive Identive CLOUD 4510 F Contactless + SAM Reader 00 00",
            "SCM Microsystems Inc. SCL01x Contactless Reader 00 00",
            "TOKEN2 MFA NFC Reader 00 00",
            "Feitian R502 00 00",
            "Samsung something 00 00",
            "Virtual PCD 00 00",
            "",
        ] {
            assert_eq!(not_an_encoder(name), None, "{name}");
        }
    }
}
