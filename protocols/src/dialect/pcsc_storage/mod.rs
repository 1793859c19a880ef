//! Readers behind PC/SC that carry out storage card commands themselves: ACR122U, ACR1252U, OMNIKEY, Identiv and others.
//!
//! | what | support |
//! | --- | --- |
//! | MIFARE Classic (detect, authenticate, read, write) | yes |
//! | two cards at once | told on the ACR122U; elsewhere the reader picks one and does not say so |
//! | LED and buzzer | ACR122U, ACR1252U, ACR1281U |
//! | Type 2 (Ultralight, NTAG): pages | yes |
//! | Type 2: version, fast read, password, 3DES authentication | on the ACR122U, through its PN532; elsewhere no |
//! | ISO/IEC 14443-4 | SELECT, to tell what it is |
//!
//! | file | what |
//! | --- | --- |
//! | `profiles` | [`PROFILES`]: what is particular to a reader, as data; [`not_an_encoder`] |
//! | `host` | [`PcscStorageHost`]: card commands as APDUs |
//! | `signals` | what readers show, and their firmware |
//! | `device` | [`PcscStorageDevice`]: such a reader from its own end |
//!
//! What readers get wrong:
//! - The key is loaded into a slot, and slots differ: see [`KeyForm`]. Keys stay in the slot when the program ends.
//! - Those of ACS say `6300` to everything that fails: wrong key, no right, card gone.
//! - Some answer fewer than two bytes when the card leaves (vpcd, acsccid issue 24).
//! - An ACR122U may say `6300` though the block was written (nfc-pcsc issue 139): whoever writes reads back.
//! - The names in ATRs differ from reader to reader.
//!
//! Source: `apdu` and `atr` name the documents.

mod device;
mod host;
mod profiles;
mod signals;

pub use device::PcscStorageDevice;
pub use host::PcscStorageHost;
pub use profiles::{
    Direct, Errors, Feedback, FirmwareQuestion, GENERIC, KEY_FORMS, KeyForm, KeyPlace, NOT_ENCODERS, NotEncoder,
    PROFILES, Part, Profile, not_an_encoder, profile, profile_of,
};

/// What a host has found out about its reader; worth keeping as long as the reader is the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is an observation of its own")]
pub struct Learnt {
    /// The form of key slots with which a sector was opened.
    pub keys: Option<KeyForm>,
    /// The reader does not know `FF 86`, and knows `FF 88`.
    pub obsolete_authenticate: bool,
    /// The driver takes no escape commands.
    pub escape_refused: bool,
    /// The reader shows nothing.
    pub feedback_refused: bool,
    /// The reader takes no commands for the chip inside.
    pub direct_refused: bool,
}
