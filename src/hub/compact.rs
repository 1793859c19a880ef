//! Which credential a small card means. A compact record has no room for a credential's id: it carries the id's last four
//! bytes, no moment of issue, and times in whole minutes.

use crate::api::bridge::{CompactCredential, Encoded, Failed, Outcome, Scanned, ScannedCredential};
use crate::api::id::WorkspaceId;
use crate::api::time::Time;
use crate::fault::FaultKind;
use crate::store::hub::acs_credentials::{self, Contents, Credential, Times};
use crate::store::{Connection, StoreError};
use uuid::Uuid;

/// The outcome with whole credentials in place of numbers. A number that fits several is no credential: the scan fails.
pub(super) async fn named(
    connection: &mut Connection,
    workspace: WorkspaceId,
    outcome: &Outcome,
    now: Time,
) -> Result<Outcome, StoreError> {
    Ok(match outcome {
        Outcome::Scanned(Scanned { card_number, compact: Some(on_card), simulated, .. }) => {
            let candidates = candidates(connection, workspace, card_number, on_card.number).await?;
            let credential = match candidates.as_slice() {
                [] => unknown(on_card, now),
                [credential] => whole(credential, on_card, card_number, now),
                [..] => {
                    return Ok(Outcome::Failed(Failed {
                        fault: FaultKind::AmbiguousCredential.into(),
                        card_number: Some(card_number.clone()),
                        in_doubt: false,
                        simulated: *simulated,
                    }));
                }
            };
            Outcome::Scanned(Scanned {
                card_number: card_number.clone(),
                credential: Some(credential),
                compact: None,
                simulated: *simulated,
            })
        }
        Outcome::Encoded(encoded @ Encoded { overwritten: None, overwritten_number: Some(number), .. }) => {
            let candidates = candidates(connection, workspace, &encoded.card_number, *number).await?;
            // The card is verified: what it held is told where it is certain.
            let overwritten = match candidates.as_slice() {
                [credential] => Some(credential.acs_credential_id.0),
                [] | [..] => None,
            };
            Outcome::Encoded(Encoded { overwritten, ..encoded.clone() })
        }
        Outcome::Encoded(_) | Outcome::Scanned(_) | Outcome::Raw(_) | Outcome::Failed(_) => outcome.clone(),
    })
}

/// The credentials that a number on this card may mean: those that are known to be on the card, or perhaps on it; if there
/// is none, all of the property.
async fn candidates(
    connection: &mut Connection,
    workspace: WorkspaceId,
    card_number: &str,
    number: u32,
) -> Result<Vec<Credential>, StoreError> {
    let mut on_card = acs_credentials::on_card(&mut *connection, workspace, card_number).await?;
    on_card.retain(|credential| number_of(credential.acs_credential_id.0) == number);
    if !on_card.is_empty() {
        return Ok(on_card);
    }
    acs_credentials::with_number(connection, workspace, number).await
}

/// The last four bytes of a credential's id.
fn number_of(id: Uuid) -> u32 {
    let [.., a, b, c, d] = id.into_bytes();
    u32::from_be_bytes([a, b, c, d])
}

/// A credential that the hub does not know; what is known of its id is its end.
fn unknown(on_card: &CompactCredential, now: Time) -> ScannedCredential {
    let id = Uuid::from_u128(u128::from(on_card.number));
    scanned(id, on_card, (on_card.starts_at, on_card.ends_at), now)
}

fn whole(credential: &Credential, on_card: &CompactCredential, card_number: &str, now: Time) -> ScannedCredential {
    let issue = credential.issue_on(card_number);
    let contents = Contents::new(on_card.doors.clone(), on_card.flags);
    let is_known = issue.is_some_and(|issue| {
        rounded(issue.times) == Some((on_card.starts_at, on_card.ends_at))
            && issue.contents.as_ref().is_none_or(|known| *known == contents)
    });
    // A card that holds something else than what it was last written with, without an attempt that may have done that, is
    // no news: it may be an old copy.
    let issued_at = match issue {
        Some(issue) if is_known || !credential.is_in_doubt_on(card_number) => issue.at,
        Some(_) | None => now,
    };
    let mut known = issue.map(|issue| issue.times).into_iter().chain([credential.times]);
    let exact = known.find(|times| rounded(*times) == Some((on_card.starts_at, on_card.ends_at)));
    let times = exact.and_then(seconds).unwrap_or((on_card.starts_at, on_card.ends_at));
    scanned(credential.acs_credential_id.0, on_card, times, issued_at)
}

fn scanned(id: Uuid, on_card: &CompactCredential, times: (u32, u32), issued_at: Time) -> ScannedCredential {
    ScannedCredential {
        acs_credential_id: id,
        starts_at: times.0,
        ends_at: times.1,
        issued_at: issued_at.card_seconds().unwrap_or_default(),
        doors: on_card.doors.clone(),
        flags: on_card.flags,
    }
}

/// Times as a full record carries them.
fn seconds(times: Times) -> Option<(u32, u32)> {
    let ends_at = times.ends_at.map_or(Some(u32::MAX), Time::card_seconds)?;
    Some((times.starts_at.card_seconds()?, ends_at))
}

/// Times as a compact record carries them: in whole minutes, never shorter than what was asked for.
fn rounded(times: Times) -> Option<(u32, u32)> {
    let (starts_at, ends_at) = seconds(times)?;
    let up = if ends_at == u32::MAX { ends_at } else { ends_at.div_ceil(60).checked_mul(60)? };
    Some((starts_at / 60 * 60, up))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::credentials::card_times;

    #[test]
    fn times_are_rounded_outward_and_no_end_stays_none() {
        assert_eq!(rounded(card_times(1_752_418_859, 1_752_663_601)), Some((1_752_418_800, 1_752_663_660)));
        assert_eq!(rounded(card_times(1_752_418_800, 1_752_663_600)), Some((1_752_418_800, 1_752_663_600)));
        assert_eq!(rounded(card_times(0, u32::MAX)), Some((0, u32::MAX)));
    }

    #[test]
    fn a_number_is_the_end_of_an_id() {
        assert_eq!(number_of(Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef)), 0x89ab_cdef);
    }
}
