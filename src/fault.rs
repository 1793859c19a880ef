//! The one place where a failure becomes a fault: an API error type, one sentence for the clerk, whether trying
//! again helps, and how loudly it is logged.
//!
//! Source of the error types: Seam API types, the four action attempts of credentials.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What kind of work failed; each has its own error types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// Writing a credential to a card.
    Encode,
    /// Reading a card.
    Scan,
    /// Reading a card to give its credential to somebody.
    ScanToAssign,
    /// Giving a card that was written before to an access method.
    Assign,
}

impl Work {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Encode, Self::Scan, Self::ScanToAssign, Self::Assign];

    /// The error types that the API's types know for it.
    pub fn error_types(self) -> &'static [ErrorType] {
        match self {
            Self::Encode => &[
                ErrorType::UncategorizedError,
                ErrorType::ActionAttemptExpired,
                ErrorType::NoCredentialOnEncoder,
                ErrorType::IncompatibleCardFormat,
                ErrorType::CredentialCannotBeReissued,
                ErrorType::EncoderNotOnline,
                ErrorType::EncoderCommunicationTimeout,
                ErrorType::BridgeDisconnected,
                ErrorType::EncodingInterrupted,
                ErrorType::CredentialDeleted,
            ],
            Self::Scan => &[
                ErrorType::UncategorizedError,
                ErrorType::ActionAttemptExpired,
                ErrorType::NoCredentialOnEncoder,
                ErrorType::EncoderNotOnline,
                ErrorType::EncoderCommunicationTimeout,
                ErrorType::BridgeDisconnected,
            ],
            Self::ScanToAssign => {
                &[ErrorType::UncategorizedError, ErrorType::ActionAttemptExpired, ErrorType::NoCredentialOnEncoder]
            }
            Self::Assign => {
                &[ErrorType::UncategorizedError, ErrorType::ActionAttemptExpired, ErrorType::CredentialNotFound]
            }
        }
    }
}

/// The API's error types of attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorType {
    /// Everything without a type of its own.
    UncategorizedError,
    /// Nobody picked the attempt up in time, or it did not end in time.
    ActionAttemptExpired,
    /// Nothing lay on the encoder.
    NoCredentialOnEncoder,
    /// A card that cannot carry the credential.
    IncompatibleCardFormat,
    /// The credential is on another card.
    CredentialCannotBeReissued,
    /// The encoder is unplugged or not linked.
    EncoderNotOnline,
    /// The encoder is plugged in and silent.
    EncoderCommunicationTimeout,
    /// The desk's daemon does not ask for work.
    BridgeDisconnected,
    /// The card left while it was being written.
    EncodingInterrupted,
    /// The credential was deleted before the card was touched.
    CredentialDeleted,
    /// No credential is on the card that was named.
    CredentialNotFound,
}

impl ErrorType {
    /// Every type, for documentation and tests.
    pub const ALL: [Self; 11] = [
        Self::UncategorizedError,
        Self::ActionAttemptExpired,
        Self::NoCredentialOnEncoder,
        Self::IncompatibleCardFormat,
        Self::CredentialCannotBeReissued,
        Self::EncoderNotOnline,
        Self::EncoderCommunicationTimeout,
        Self::BridgeDisconnected,
        Self::EncodingInterrupted,
        Self::CredentialDeleted,
        Self::CredentialNotFound,
    ];

    /// The type as the API spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UncategorizedError => "uncategorized_error",
            Self::ActionAttemptExpired => "action_attempt_expired",
            Self::NoCredentialOnEncoder => "no_credential_on_encoder",
            Self::IncompatibleCardFormat => "incompatible_card_format",
            Self::CredentialCannotBeReissued => "credential_cannot_be_reissued",
            Self::EncoderNotOnline => "encoder_not_online",
            Self::EncoderCommunicationTimeout => "encoder_communication_timeout",
            Self::BridgeDisconnected => "bridge_disconnected",
            Self::EncodingInterrupted => "encoding_interrupted",
            Self::CredentialDeleted => "credential_deleted",
            Self::CredentialNotFound => "credential_not_found",
        }
    }
}

impl fmt::Display for ErrorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Everything that can go wrong with a job, as somebody can act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// No card until the wait ended.
    NoCard,
    /// A card was lying there already and the property asks for a lifted and replaced one.
    CardNotLifted,
    /// Several cards on the encoder.
    SeveralCards,
    /// A card that no family knows.
    UnsupportedCard,
    /// The right family, but neither ours nor blank: foreign keys or foreign data.
    ForeignCard,
    /// A blank card while the property personalises cards by hand.
    BlankCard,
    /// A sector or a trailer of the card is broken.
    DamagedCard,
    /// More doors than the card can hold.
    CardTooSmall,
    /// The card refuses to be written.
    WriteProtectedCard,
    /// A card lies there and does not answer.
    MuteCard,
    /// A sector or page of the card is dead: the other slot was used, or none is left.
    WornCard,
    /// Two reads of the card differ.
    FlakyCard,
    /// Pages of the card are locked for ever.
    LockedCard,
    /// A sector opens with the factory's key and its access bits are not those of a new card, nor ours.
    WrongAccessBits,
    /// The capability container of a Type 2 card does not fit its kind.
    WrongCapabilityContainer,
    /// The application directory in sector 0 is another system's.
    ForeignDirectory,
    /// A payment card, or a phone that pays.
    PaymentCard,
    /// A phone or a watch: a smart card with a random UID.
    PhoneCard,
    /// MIFARE `DESFire`, which is not supported yet.
    DesfireCard,
    /// MIFARE Plus at a security level that is not Classic's.
    MifarePlusCard,
    /// Another smart card of ISO/IEC 14443-4.
    SmartCard,
    /// A card that is none of ISO/IEC 14443 A: type B, `FeliCa`, ISO/IEC 15693.
    OtherTechnologyCard,
    /// The reader cannot do what this kind of card needs.
    ReaderCannot,
    /// The card carries another property's credential.
    OtherPropertyCard,
    /// The card left while it was being read or written.
    CardLeft,
    /// The encoder is unplugged or switched off.
    EncoderOffline,
    /// The encoder's port belongs to another program.
    PortBusy,
    /// Another program has the reader or the card on it for itself.
    ReaderInUse,
    /// Two readers cannot be told apart, so neither is used.
    EncoderAmbiguous,
    /// No device is linked to this `acs_encoder_id`.
    EncoderNotLinked,
    /// The encoder is plugged in and silent.
    EncoderSilent,
    /// The encoder is working on another job.
    EncoderBusy,
    /// The credential is being encoded at another encoder.
    CredentialBusy,
    /// The credential is on another card already.
    CredentialOnAnotherCard,
    /// The credential was deleted before the card was touched.
    CredentialDeleted,
    /// The desk's daemon does not ask for work.
    BridgeDisconnected,
    /// Nobody took the job in time, or it did not end in time.
    Expired,
    /// This desk has no card key of the property.
    NoCardKey,
    /// The job belongs to another property.
    OtherProperty,
    /// The daemon is being stopped.
    Stopping,
    /// What the card says after writing is not what was written.
    VerificationFailed,
    /// The daemon could not write its journal, so it did not touch the card.
    JournalUnwritable,
    /// The card that was to be assigned carries no credential: it is blank or another system's.
    CardWithoutCredential,
    /// The card that was to be assigned carries a credential that the hub does not know.
    UnknownCredential,
    /// The short number on the card fits several credentials.
    AmbiguousCredential,
    /// The credential belongs to somebody else.
    CredentialOfAnother,
    /// The one that the card was to be assigned to is gone.
    OwnerGone,
    /// No credential is on the card that was named, or it stands behind another access method.
    NoCredentialForCard,
    /// The access method has a card already.
    MethodHasCard,
    /// A raw image that may not or cannot be written on this card.
    ImageRefused,
    /// The encoder has no lamp or buzzer that can be used.
    CannotSignal,
    /// A failure that a simulation was to bring about.
    Simulated,
}

/// How loudly a fault is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loudness {
    /// Daily life at a desk.
    Info,
    /// Somebody should look.
    Warn,
    /// Somebody must look.
    Error,
}

impl FaultKind {
    /// Its name, as machines are told.
    pub fn name(self) -> String {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::String(name)) => name,
            // A kind without fields is a string.
            Ok(_) | Err(_) => format!("{self:?}"),
        }
    }

    /// Every kind, for documentation and tests.
    pub const ALL: [Self; 52] = [
        Self::NoCard,
        Self::CardNotLifted,
        Self::SeveralCards,
        Self::UnsupportedCard,
        Self::ForeignCard,
        Self::BlankCard,
        Self::DamagedCard,
        Self::CardTooSmall,
        Self::WriteProtectedCard,
        Self::MuteCard,
        Self::WornCard,
        Self::FlakyCard,
        Self::LockedCard,
        Self::WrongAccessBits,
        Self::WrongCapabilityContainer,
        Self::ForeignDirectory,
        Self::PaymentCard,
        Self::PhoneCard,
        Self::DesfireCard,
        Self::MifarePlusCard,
        Self::SmartCard,
        Self::OtherTechnologyCard,
        Self::ReaderCannot,
        Self::OtherPropertyCard,
        Self::CardLeft,
        Self::EncoderOffline,
        Self::PortBusy,
        Self::ReaderInUse,
        Self::EncoderAmbiguous,
        Self::EncoderNotLinked,
        Self::EncoderSilent,
        Self::EncoderBusy,
        Self::CredentialBusy,
        Self::CredentialOnAnotherCard,
        Self::CredentialDeleted,
        Self::BridgeDisconnected,
        Self::Expired,
        Self::NoCardKey,
        Self::OtherProperty,
        Self::Stopping,
        Self::VerificationFailed,
        Self::JournalUnwritable,
        Self::CardWithoutCredential,
        Self::UnknownCredential,
        Self::AmbiguousCredential,
        Self::CredentialOfAnother,
        Self::OwnerGone,
        Self::NoCredentialForCard,
        Self::MethodHasCard,
        Self::ImageRefused,
        Self::CannotSignal,
        Self::Simulated,
    ];

    /// The API error type. What a kind of work has no type for is uncategorized; the sentence says what it was.
    pub fn error_type(self, work: Work) -> ErrorType {
        let precise = match self {
            Self::NoCard | Self::CardNotLifted | Self::CardWithoutCredential => ErrorType::NoCredentialOnEncoder,
            Self::UnsupportedCard
            | Self::ForeignCard
            | Self::BlankCard
            | Self::DamagedCard
            | Self::CardTooSmall
            | Self::WriteProtectedCard
            | Self::MuteCard
            | Self::WornCard
            | Self::FlakyCard
            | Self::LockedCard
            | Self::WrongAccessBits
            | Self::WrongCapabilityContainer
            | Self::ForeignDirectory
            | Self::PaymentCard
            | Self::PhoneCard
            | Self::DesfireCard
            | Self::MifarePlusCard
            | Self::SmartCard
            | Self::OtherTechnologyCard
            | Self::ReaderCannot
            | Self::OtherPropertyCard => ErrorType::IncompatibleCardFormat,
            Self::CardLeft => ErrorType::EncodingInterrupted,
            Self::EncoderOffline
            | Self::PortBusy
            | Self::ReaderInUse
            | Self::EncoderAmbiguous
            | Self::EncoderNotLinked => ErrorType::EncoderNotOnline,
            Self::EncoderSilent => ErrorType::EncoderCommunicationTimeout,
            Self::CredentialOnAnotherCard => ErrorType::CredentialCannotBeReissued,
            Self::CredentialDeleted => ErrorType::CredentialDeleted,
            Self::BridgeDisconnected => ErrorType::BridgeDisconnected,
            Self::Expired => ErrorType::ActionAttemptExpired,
            Self::NoCredentialForCard => ErrorType::CredentialNotFound,
            Self::SeveralCards
            | Self::EncoderBusy
            | Self::CredentialBusy
            | Self::NoCardKey
            | Self::OtherProperty
            | Self::Stopping
            | Self::VerificationFailed
            | Self::JournalUnwritable
            | Self::UnknownCredential
            | Self::AmbiguousCredential
            | Self::CredentialOfAnother
            | Self::OwnerGone
            | Self::MethodHasCard
            | Self::ImageRefused
            | Self::CannotSignal
            | Self::Simulated => ErrorType::UncategorizedError,
        };
        if work.error_types().contains(&precise) { precise } else { ErrorType::UncategorizedError }
    }

    /// One sentence that tells the clerk what happened and what to do.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::NoCard => "No card was placed on the encoder. Put a card on it and try again.",
            Self::CardNotLifted => "The card was not lifted. Take it off the encoder, put it back and try again.",
            Self::SeveralCards => "Several cards lie on the encoder. Leave only one on it and try again.",
            Self::UnsupportedCard => {
                "This kind of card is not known here. Use a MIFARE Classic, Ultralight or NTAG card."
            }
            Self::ForeignCard => "This card belongs to another system and was left untouched. Use another card.",
            Self::BlankCard => {
                "This card is blank and this property personalises cards by hand. Use a personalised card."
            }
            Self::DamagedCard => "This card is damaged. Put it aside and use another card.",
            Self::CardTooSmall => "The credential does not fit on this card. Use a larger card.",
            Self::WriteProtectedCard => "This card refuses to be written. Use another card.",
            Self::MuteCard => "The card does not answer. Lay it flat on the encoder, alone, or use another card.",
            Self::WornCard => "A part of this card no longer works. Replace the card.",
            Self::FlakyCard => "This card reads differently each time. Put it aside and use another card.",
            Self::LockedCard => "Pages of this card are locked for ever, so it cannot carry a key. Use another card.",
            Self::WrongAccessBits => {
                "The access bits of this card are not those of a new card, so it was left untouched. Use another card."
            }
            Self::WrongCapabilityContainer => {
                "This card's capability container is not that of a new card, so it was left untouched. Use another card."
            }
            Self::ForeignDirectory => {
                "The directory on this card lists another system's data, so it was left untouched. Use another card."
            }
            Self::PaymentCard => {
                "A payment card, or a phone that pays, lies there. Take it off and put a key card of this property on."
            }
            Self::PhoneCard => "A phone or a watch lies there. Take it off and put a key card of this property on.",
            Self::DesfireCard => {
                "This is a MIFARE DESFire card, which is not supported yet. Use a MIFARE Classic, Ultralight or NTAG card."
            }
            Self::MifarePlusCard => {
                "This is a MIFARE Plus card, which is not supported. Use a MIFARE Classic, Ultralight or NTAG card."
            }
            Self::SmartCard => "This is a smart card of another kind. Use a MIFARE Classic, Ultralight or NTAG card.",
            Self::OtherTechnologyCard => {
                "This card is of type B, FeliCa or ISO 15693. Use a MIFARE Classic, Ultralight or NTAG card."
            }
            Self::ReaderCannot => {
                "This reader cannot open this kind of card. Use a MIFARE Classic card here, or another reader."
            }
            Self::OtherPropertyCard => {
                "This card carries another property's key and was left untouched. Erase it first, or use another card."
            }
            Self::CardLeft => "The card was taken away too early. Put the same card back and try again.",
            Self::EncoderOffline => "The encoder is not connected. Plug it in and try again.",
            Self::PortBusy => "Another program uses the encoder's port. Close that program and try again.",
            Self::ReaderInUse => "Another program is using the card reader. Close that program and try again.",
            Self::EncoderAmbiguous => {
                "Two readers of one kind cannot be told apart here, so neither is used. Plug one of them out."
            }
            Self::EncoderNotLinked => "No device is linked to this encoder. Link one with `encoderd encoders link`.",
            Self::EncoderSilent => "The encoder does not answer. Unplug it, plug it back in and try again.",
            Self::EncoderBusy => "The encoder is busy with another card. Try again when it has finished.",
            Self::CredentialBusy => "This credential is being encoded right now. Wait for that attempt to end.",
            Self::CredentialOnAnotherCard => {
                "This credential is on another card. Put that card on the encoder, or create a new credential."
            }
            Self::CredentialDeleted => "The credential was deleted. The card was not changed.",
            Self::BridgeDisconnected => {
                "The front desk's encoderd is not connected. Check that its PC is on and the service runs."
            }
            Self::Expired => "The attempt was not finished in time. Try again.",
            Self::NoCardKey => {
                "This desk has no card key of the property. Import it with `encoderd keys import` and try again."
            }
            Self::OtherProperty => "The job belongs to another property. The card was not changed.",
            Self::Stopping => "encoderd is being stopped. Try again when it is back.",
            Self::VerificationFailed => "The card did not keep what was written. Use another card.",
            Self::JournalUnwritable => {
                "encoderd cannot write its journal, so the card was not touched. Check the disk of this PC."
            }
            Self::CardWithoutCredential => {
                "There is no credential on this card. Encode one on it, or use another card."
            }
            Self::UnknownCredential => {
                "The credential on this card is not known here, or was deleted. Use another card."
            }
            Self::AmbiguousCredential => {
                "The short number on this card fits several credentials. Encode the card again to be sure."
            }
            Self::CredentialOfAnother => "This card's credential belongs to somebody else. Unassign it first.",
            Self::OwnerGone => "The user that the card was for was deleted. Nothing was assigned.",
            Self::NoCredentialForCard => "No free credential is on this card. Encode the access method instead.",
            Self::MethodHasCard => "The access method has a card already, or may have one. Request another one.",
            Self::ImageRefused => "This image cannot be written on this card. The card was not changed.",
            Self::CannotSignal => "This encoder has no lamp or buzzer that encoderd can use.",
            Self::Simulated => "A failure that was asked for. Nothing is wrong.",
        }
    }

    /// Whether the same request can succeed when it is made again, after what the sentence asks for.
    pub fn retry_helps(self) -> bool {
        match self {
            Self::NoCard
            | Self::CardNotLifted
            | Self::SeveralCards
            | Self::UnsupportedCard
            | Self::ForeignCard
            | Self::BlankCard
            | Self::DamagedCard
            | Self::CardTooSmall
            | Self::WriteProtectedCard
            | Self::MuteCard
            | Self::WornCard
            | Self::FlakyCard
            | Self::LockedCard
            | Self::WrongAccessBits
            | Self::WrongCapabilityContainer
            | Self::ForeignDirectory
            | Self::PaymentCard
            | Self::PhoneCard
            | Self::DesfireCard
            | Self::MifarePlusCard
            | Self::SmartCard
            | Self::OtherTechnologyCard
            | Self::ReaderCannot
            | Self::OtherPropertyCard
            | Self::CardLeft
            | Self::EncoderOffline
            | Self::PortBusy
            | Self::ReaderInUse
            | Self::EncoderAmbiguous
            | Self::EncoderNotLinked
            | Self::EncoderSilent
            | Self::EncoderBusy
            | Self::CredentialBusy
            | Self::BridgeDisconnected
            | Self::Expired
            | Self::NoCardKey
            | Self::Stopping
            | Self::VerificationFailed
            | Self::JournalUnwritable
            | Self::CardWithoutCredential
            | Self::UnknownCredential
            | Self::AmbiguousCredential
            | Self::CredentialOfAnother
            | Self::Simulated => true,
            Self::CredentialOnAnotherCard
            | Self::CredentialDeleted
            | Self::OtherProperty
            | Self::OwnerGone
            | Self::NoCredentialForCard
            | Self::MethodHasCard
            | Self::ImageRefused
            | Self::CannotSignal => false,
        }
    }

    /// How loudly it is logged.
    pub fn loudness(self) -> Loudness {
        match self {
            Self::NoCard
            | Self::CardNotLifted
            | Self::SeveralCards
            | Self::UnsupportedCard
            | Self::ForeignCard
            | Self::BlankCard
            | Self::CardTooSmall
            | Self::MuteCard
            | Self::LockedCard
            | Self::WrongAccessBits
            | Self::WrongCapabilityContainer
            | Self::ForeignDirectory
            | Self::PaymentCard
            | Self::PhoneCard
            | Self::DesfireCard
            | Self::MifarePlusCard
            | Self::SmartCard
            | Self::OtherTechnologyCard
            | Self::CardLeft
            | Self::EncoderBusy
            | Self::CredentialBusy
            | Self::CredentialOnAnotherCard
            | Self::CredentialDeleted
            | Self::Stopping
            | Self::CardWithoutCredential
            | Self::UnknownCredential
            | Self::AmbiguousCredential
            | Self::CredentialOfAnother
            | Self::OwnerGone
            | Self::NoCredentialForCard
            | Self::MethodHasCard
            | Self::ImageRefused
            | Self::CannotSignal
            | Self::Simulated => Loudness::Info,
            Self::DamagedCard
            | Self::WornCard
            | Self::FlakyCard
            | Self::ReaderCannot
            | Self::OtherPropertyCard
            | Self::WriteProtectedCard
            | Self::EncoderOffline
            | Self::EncoderNotLinked
            | Self::EncoderSilent
            | Self::BridgeDisconnected
            | Self::Expired
            | Self::VerificationFailed
            | Self::ReaderInUse
            | Self::EncoderAmbiguous
            | Self::PortBusy => Loudness::Warn,
            Self::NoCardKey | Self::OtherProperty | Self::JournalUnwritable => Loudness::Error,
        }
    }
}

/// A failure of one job: its kind and what is particular about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Fault {
    /// The kind.
    pub kind: FaultKind,
    /// What the clerk reads: the kind's sentence, with what is particular behind it.
    pub message: String,
}

impl Fault {
    /// A fault with more to say than its sentence, such as which card or which sector.
    pub fn with_detail(kind: FaultKind, detail: impl fmt::Display) -> Self {
        Self { kind, message: format!("{} ({detail})", kind.sentence()) }
    }
}

impl From<FaultKind> for Fault {
    fn from(kind: FaultKind) -> Self {
        Self { kind, message: kind.sentence().to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_work_has_only_the_error_types_of_the_api_and_each_of_them_a_cause() {
        for (work, count) in [(Work::Encode, 10), (Work::Scan, 6), (Work::ScanToAssign, 3), (Work::Assign, 3)] {
            let types = work.error_types();
            assert_eq!(types.len(), count, "{work:?}");
            for kind in FaultKind::ALL {
                assert!(types.contains(&kind.error_type(work)), "{work:?} {kind:?}");
            }
            for error_type in types {
                let has_cause = FaultKind::ALL.iter().any(|kind| kind.error_type(work) == *error_type);
                assert!(has_cause, "{work:?} {error_type}");
            }
        }
    }

    #[test]
    fn every_error_type_is_spelled_as_in_json_and_belongs_to_some_work() {
        for error_type in ErrorType::ALL {
            assert!(Work::ALL.iter().any(|work| work.error_types().contains(&error_type)), "{error_type}");
            assert_eq!(serde_json::to_value(error_type).unwrap(), error_type.as_str());
        }
    }

    #[test]
    fn every_sentence_is_one_the_clerk_can_act_on() {
        for kind in FaultKind::ALL {
            let sentence = kind.sentence();
            assert!(sentence.ends_with('.') && sentence.len() <= 120, "{sentence}");
        }
    }
}
