//! Between the words of the bridge protocol and those of the card.

use crate::api::bridge::{
    CompactCredential, CredentialFlags, EncodeWork, Encoded, Failed, Outcome, RawEnded, Scanned, ScannedCredential,
};
use crate::device::order::{CardRead, EncodeEnd, Failure, Whose};
use crate::device::raw::{RawEnd, RawFailure};
use crate::fault::{Fault, FaultKind};
use crate::keys::CardKey;
use crate::store::state::JournalRow;
use encoder_protocols::id::Uid;
use encoder_protocols::layout::compact::CredentialNumber;
use encoder_protocols::layout::content::Content;
use encoder_protocols::layout::record::{CredentialId, Flags, PropertyId, Record};
use uuid::Uuid;

/// The record that a job asks for; refused when it is for another property.
pub(super) fn record(work: &EncodeWork, key: &CardKey, issued_at: u32) -> Result<Record, Fault> {
    if work.property_id.is_some_and(|property| property != key.property_id) {
        return Err(FaultKind::OtherProperty.into());
    }
    Ok(Record {
        credential_id: CredentialId(work.acs_credential_id.into_bytes()),
        property_id: PropertyId(key.property_id.into_bytes()),
        flags: flags(work.flags),
        starts_at: work.starts_at,
        ends_at: work.ends_at,
        issued_at,
        doors: work.doors.clone(),
    })
}

/// The only card that a job may write: the one that it names, or the one that it may have written before a crash.
pub(super) fn only_card(work: &EncodeWork, row: &JournalRow) -> Result<Option<Uid>, Fault> {
    let Some(text) = work.card_number.as_ref().or(row.card_number.as_ref()) else { return Ok(None) };
    // A number that is no UID is no card that could be laid on an encoder.
    text.parse().map(Some).map_err(|_| Fault::with_detail(FaultKind::CredentialOnAnotherCard, text))
}

type Field = fn(&mut CredentialFlags) -> &mut bool;

const FLAGS: [(Flags, Field); 4] = [
    (Flags::OVERRIDE_PREVIOUS_GUEST, |flags| &mut flags.override_previous),
    (Flags::JOINER, |flags| &mut flags.joiner),
    (Flags::ONE_TIME, |flags| &mut flags.one_time),
    (Flags::COMMON_DOOR, |flags| &mut flags.common_doors),
];

fn flags(mut asked: CredentialFlags) -> Flags {
    FLAGS.iter().filter(|(_, field)| *field(&mut asked)).fold(Flags::NONE, |flags, (flag, _)| flags | *flag)
}

fn credential_flags(flags: Flags) -> CredentialFlags {
    let mut read = CredentialFlags::default();
    for (flag, field) in FLAGS {
        *field(&mut read) = flags.contains(flag);
    }
    read
}

pub(super) fn encoded(end: &EncodeEnd, simulated: bool) -> Encoded {
    let (overwritten, overwritten_number) = match end.overwritten {
        Some(Whose::Credential(CredentialId(id))) => (Some(Uuid::from_bytes(id)), None),
        Some(Whose::Number(CredentialNumber(number))) => (None, Some(u32::from_be_bytes(number))),
        None => (None, None),
    };
    Encoded { card_number: end.card.to_string(), issued_at: end.issued_at, overwritten, overwritten_number, simulated }
}

pub(super) fn scanned(read: &CardRead, simulated: bool) -> Scanned {
    let (credential, compact) = match &read.content {
        Some(Content::Full(record)) => (
            Some(ScannedCredential {
                acs_credential_id: Uuid::from_bytes(record.credential_id.0),
                starts_at: record.starts_at,
                ends_at: record.ends_at,
                issued_at: record.issued_at,
                doors: record.doors.clone(),
                flags: credential_flags(record.flags),
            }),
            None,
        ),
        Some(content @ Content::Compact(compact)) => (
            None,
            Some(CompactCredential {
                number: u32::from_be_bytes(compact.number.0),
                starts_at: content.starts_at(),
                ends_at: content.ends_at(),
                doors: content.doors().to_vec(),
                flags: credential_flags(compact.flags),
            }),
        ),
        None => (None, None),
    };
    Scanned { card_number: read.card.to_string(), credential, compact, simulated }
}

/// A job that failed. The card that it may have written before a crash stays in doubt: nobody has verified since what
/// is on it.
pub(super) fn failed(failure: Failure, row: &JournalRow, simulated: bool) -> Failed {
    let left_behind = row.card_number.clone();
    Failed {
        fault: failure.fault,
        in_doubt: failure.in_doubt || left_behind.is_some(),
        card_number: left_behind.or_else(|| failure.card.map(|uid| uid.to_string())),
        simulated,
    }
}

/// What became of a raw image. Before a card was seen a failure is like any other.
pub(super) fn raw(end: Result<RawEnd, RawFailure>, row: &JournalRow, simulated: bool) -> Result<Outcome, Failure> {
    let left_behind = row.card_number.clone();
    match end {
        Ok(end) => Ok(Outcome::Raw(RawEnded {
            card_number: Some(end.card.to_string()),
            report: end.report.into(),
            fault: None,
            simulated,
        })),
        Err(RawFailure { failure, .. }) if failure.card.is_none() && left_behind.is_none() => Err(failure),
        Err(RawFailure { failure, report }) => Ok(Outcome::Raw(RawEnded {
            card_number: failure.card.map(|uid| uid.to_string()).or(left_behind),
            report: report.into(),
            fault: Some(failure.fault),
            simulated,
        })),
    }
}

/// A job that cannot go on.
pub(super) fn interrupted(row: &JournalRow, why: &str, simulated: bool) -> Failed {
    failed(Failure::without_card(Fault::with_detail(FaultKind::Expired, why)), row, simulated)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_the_same_both_ways() {
        for bits in 0..16 {
            let on_card = Flags::from_bits(bits).unwrap();
            assert_eq!(flags(credential_flags(on_card)), on_card);
        }
        let joiner = CredentialFlags { joiner: true, ..CredentialFlags::default() };
        assert_eq!(flags(joiner), Flags::JOINER);
    }
}
