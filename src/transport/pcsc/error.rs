//! What an error of PC/SC means. The one place that reads the codes.

use pcsc::Error;
use serde::{Deserialize, Serialize};

/// What an error says about what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The service is not there, or this context of it is dead.
    ServiceGone,
    /// The service does not let this user in.
    Denied,
    /// The reader is not there, or the handle to it is dead.
    ReaderGone,
    /// No card lies there, or it left.
    NoCard,
    /// A card lies there and does not answer.
    Mute,
    /// Somebody has reset the card: reconnect, and nothing is authenticated.
    Reset,
    /// Another program has the reader or the card for itself.
    InUse,
    /// The exchange failed; the next one may work.
    NotTransacted,
    /// The driver does not know or does not allow this.
    Unsupported,
    /// Nothing happened within the time given.
    TimedOut,
    /// The call was cancelled from outside.
    Cancelled,
}

/// What an error means.
///
/// Codes that pcsc-lite does not use, because they belong to Windows' own smart card services, mean
/// [`Meaning::NotTransacted`]: it did not work, and nothing more is known.
pub fn meaning(error: Error) -> Meaning {
    match error {
        // pcscd died: COMM_ERROR to the call in progress, NO_SERVICE to each later one on that context (measured).
        Error::NoService
        | Error::ServiceStopped
        | Error::CommError
        | Error::Shutdown
        | Error::SystemCancelled
        // The context or the card's handle is not known any more.
        | Error::InvalidHandle => Meaning::ServiceGone,
        Error::SecurityViolation | Error::NoAccess => Meaning::Denied,
        // An open handle whose reader was unplugged: INVALID_VALUE to a transmit, READER_UNAVAILABLE to a status,
        // UNKNOWN_READER to a connect (measured).
        Error::InvalidValue | Error::ReaderUnavailable | Error::UnknownReader | Error::NoReadersAvailable => {
            Meaning::ReaderGone
        }
        Error::NoSmartcard | Error::RemovedCard => Meaning::NoCard,
        // UNPOWERED is what pcscd answers for a card that was mute at power-on (measured).
        Error::UnpoweredCard | Error::UnresponsiveCard | Error::UnsupportedCard | Error::UnknownCard => Meaning::Mute,
        // PROTO_MISMATCH: pcscd marks the handles that it knows, then resets, then forgets the protocol. A handle that was
        // made between is not marked, and its APDUs find another protocol (measured; `winscard.c`, `SCardDisconnect`).
        Error::ResetCard | Error::ProtoMismatch => Meaning::Reset,
        Error::SharingViolation => Meaning::InUse,
        // 0x8010001F is what pcscd answers for an unknown control code (measured).
        Error::UnsupportedFeature | Error::ReaderUnsupported | Error::InvalidParameter => Meaning::Unsupported,
        Error::Timeout => Meaning::TimedOut,
        Error::Cancelled | Error::CancelledByUser => Meaning::Cancelled,
        Error::NotTransacted
        | Error::CommDataLost
        | Error::NotReady
        | Error::InsufficientBuffer
        | Error::PciTooSmall
        | Error::InternalError
        | Error::UnknownError
        | Error::WaitedTooLong
        | Error::NoMemory
        | Error::ServerTooBusy
        | Error::CardUnsupported
        | Error::InvalidTarget
        | Error::CantDispose
        | Error::InvalidAtr
        | Error::DuplicateReader
        | Error::IccInstallation
        | Error::IccCreateorder
        | Error::DirNotFound
        | Error::FileNotFound
        | Error::NoDir
        | Error::NoFile
        | Error::WriteTooMany
        | Error::BadSeek
        | Error::InvalidChv
        | Error::UnknownResMng
        | Error::NoSuchCertificate
        | Error::CertificateUnavailable
        | Error::NoKeyContainer
        | Error::WrongChv
        | Error::ChvBlocked
        | Error::Eof
        | Error::CardNotAuthenticated
        | Error::CacheItemNotFound
        | Error::CacheItemStale
        | Error::CacheItemTooBig => Meaning::NotTransacted,
    }
}

/// Why the PC/SC service cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum ServiceProblem {
    /// There is no pcscd on this machine.
    #[error("pcscd is not installed: readers behind PC/SC need it")]
    NotInstalled,
    /// pcscd does not answer: not running, or it has just ended.
    #[error("pcscd is not running")]
    NotRunning,
    /// This user may not open pcscd's socket.
    #[error("no permission to open pcscd's socket")]
    SocketDenied,
    /// pcscd turns this user away: polkit's rules.
    #[error("pcscd refuses this user: a polkit rule for access_pcsc and access_card is missing")]
    Denied,
    /// It fails with this code of PC/SC.
    #[error("pcscd fails with {0:#010x}")]
    Other(u32),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_measured_on_pcscd_is_understood() {
        for (code, meant) in [
            (Error::CommError, Meaning::ServiceGone),
            (Error::NoService, Meaning::ServiceGone),
            (Error::InvalidValue, Meaning::ReaderGone),
            (Error::ReaderUnavailable, Meaning::ReaderGone),
            (Error::UnknownReader, Meaning::ReaderGone),
            (Error::RemovedCard, Meaning::NoCard),
            (Error::NoSmartcard, Meaning::NoCard),
            (Error::UnpoweredCard, Meaning::Mute),
            (Error::ResetCard, Meaning::Reset),
            (Error::ProtoMismatch, Meaning::Reset),
            (Error::SharingViolation, Meaning::InUse),
            (Error::NotTransacted, Meaning::NotTransacted),
            (Error::UnsupportedFeature, Meaning::Unsupported),
            (Error::SecurityViolation, Meaning::Denied),
        ] {
            assert_eq!(meaning(code), meant, "{code:?}");
        }
    }
}
