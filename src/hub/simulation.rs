//! Ends of attempts that were arranged: the next encode or scan of an encoder ends with them, at once and without a desk.
//!
//! What is played is told from what is real: an issue has a card number that no card has, and such a credential may go
//! onto any card afterwards; errors say that they are simulated; what is known of real cards is not changed.

use super::attempts::{self, End};
use super::{assignment, credentials};
use crate::api::action_attempts::{CredentialOnEncoder, ScanResult};
use crate::api::bridge::EncodeWork;
use crate::api::id::{AcsCredentialId, AcsEncoderId, AcsUserId};
use crate::api::simulate::{EncodeFailure, EncodeScenario, Ending, ScanFailure, ScanScenario};
use crate::api::time::Time;
use crate::fault::{Fault, FaultKind, Work};
use crate::store::hub::acs_credentials::{self, Contents, Credential, Issue, SIMULATED, Times};
use crate::store::hub::acs_systems::SystemIds;
use crate::store::hub::simulations;
use crate::store::{Connection, StoreError};
use uuid::Uuid;

/// What was asked for, and of which encoder.
pub(super) struct Scene<'a> {
    pub(super) encoder: AcsEncoderId,
    pub(super) system: SystemIds,
    pub(super) work: Work,
    /// The credential that is to be written.
    pub(super) credential: Option<&'a Credential>,
    /// What is to be written of it.
    pub(super) encode: Option<&'a EncodeWork>,
    /// Who is to get the credential of the scanned card.
    pub(super) user: Option<AcsUserId>,
}

/// Plays the arranged end, if there is one.
pub(super) async fn played(
    connection: &mut Connection,
    scene: &Scene<'_>,
    now: Time,
) -> Result<Option<End>, StoreError> {
    let credential = scene.credential.map(|credential| credential.acs_credential_id);
    let Some(ending) = simulations::take(&mut *connection, scene.encoder, scene.work, credential).await? else {
        return Ok(None);
    };
    tracing::info!(acs_encoder_id = %scene.encoder, ?ending, "simulated");
    let end = match ending {
        Ending::EncodeFails(failure) => Err(simulated(match failure {
            EncodeFailure::NoCredentialOnEncoder => FaultKind::NoCard,
            EncodeFailure::EncodingInterrupted => FaultKind::CardLeft,
            EncodeFailure::UncategorizedError => FaultKind::Simulated,
            EncodeFailure::ActionAttemptExpired => FaultKind::Expired,
        })),
        Ending::ScanFails(failure) => Err(simulated(match failure {
            ScanFailure::NoCredentialOnEncoder => FaultKind::NoCard,
            ScanFailure::UncategorizedError => FaultKind::Simulated,
            ScanFailure::ActionAttemptExpired => FaultKind::Expired,
        })),
        Ending::EncodeSucceeds(EncodeScenario::CredentialIsIssued) => match (scene.credential, scene.encode) {
            (Some(credential), Some(work)) => issue(connection, credential, work, now).await?,
            // Kept by the kind of work: a scan does not find it.
            (None, _) | (_, None) => return Ok(None),
        },
        Ending::ScanFinds(scenario, named) => {
            let credential = on_card(&mut *connection, scene.system, scenario, named).await?;
            match scene.user {
                None => Ok(attempts::json(&scan(scenario, credential.as_ref(), now))?),
                Some(_) if scenario == ScanScenario::CredentialOnEncoderIsEmpty => {
                    Err(simulated(FaultKind::CardWithoutCredential))
                }
                Some(user) => assignment::found(connection, scene.system.workspace_id, credential, user).await?,
            }
        }
    };
    Ok(Some(end))
}

fn simulated(kind: FaultKind) -> Fault {
    Fault::with_detail(kind, "simulated")
}

fn number() -> String {
    format!("{SIMULATED}{:08X}", Uuid::new_v4().as_fields().0)
}

/// Issues a credential on a card that does not exist. One that is on a real card, or may be, stays there.
async fn issue(
    connection: &mut Connection,
    credential: &Credential,
    work: &EncodeWork,
    now: Time,
) -> Result<End, StoreError> {
    if credential.real_issue().is_some() || credential.in_doubt_card_number.is_some() {
        return Ok(Err(simulated(FaultKind::CredentialOnAnotherCard)));
    }
    let before = credential.issue.as_ref().map(|issue| issue.card_number.clone());
    let issue = Issue {
        card_number: before.unwrap_or_else(number),
        at: now.card_seconds().map_or(now, Time::from_card_seconds),
        times: credentials::card_times(work.starts_at, work.ends_at),
        contents: Some(Contents::new(work.doors.clone(), work.flags)),
    };
    credentials::issued(&mut *connection, credential, &issue, now).await?;
    let workspace = credential.system.workspace_id;
    let issued = acs_credentials::get(connection, workspace, credential.acs_credential_id).await?;
    Ok(Ok(attempts::json(&issued.as_ref().map(credentials::object))?))
}

/// The credential on the card that is played: the named one, else the one that was issued last; none once it is deleted.
async fn on_card(
    connection: &mut Connection,
    system: SystemIds,
    scenario: ScanScenario,
    named: Option<AcsCredentialId>,
) -> Result<Option<Credential>, StoreError> {
    let credential = match (scenario, named) {
        (ScanScenario::CredentialDoesNotExistOnSeam | ScanScenario::CredentialOnEncoderIsEmpty, _) => None,
        (ScanScenario::CredentialExistsOnSeam | ScanScenario::CredentialOnEncoderNeedsUpdate, Some(id)) => {
            acs_credentials::get(connection, system.workspace_id, id).await?
        }
        (ScanScenario::CredentialExistsOnSeam | ScanScenario::CredentialOnEncoderNeedsUpdate, None) => {
            acs_credentials::issued_last(connection, system.workspace_id).await?
        }
    };
    Ok(credential.filter(|credential| credential.deleted_at.is_none()))
}

const HOUR_MS: i64 = 3_600_000;

fn scan(scenario: ScanScenario, credential: Option<&Credential>, now: Time) -> ScanResult {
    if scenario == ScanScenario::CredentialOnEncoderIsEmpty {
        return ScanResult { acs_credential_on_encoder: None, acs_credential_on_seam: None, warnings: Vec::new() };
    }
    let Some(credential) = credential else {
        let tomorrow = Time::from_ms(now.ms().saturating_add(24 * HOUR_MS));
        let times = Times { starts_at: now, ends_at: Some(tomorrow) };
        return ScanResult {
            acs_credential_on_encoder: Some(read(now, times, number())),
            acs_credential_on_seam: None,
            warnings: vec![credentials::not_found()],
        };
    };
    let mut times = credential.times;
    let mut warnings = Vec::new();
    if scenario == ScanScenario::CredentialOnEncoderNeedsUpdate {
        // An hour longer than it should, or one hour where it should open for ever.
        let from = times.ends_at.unwrap_or(times.starts_at);
        times.ends_at = Some(Time::from_ms(from.ms().saturating_add(HOUR_MS)));
        warnings.push(credentials::out_of_sync(&["ends_at"]));
    }
    let card_number = credential.issue.as_ref().map_or_else(number, |issue| issue.card_number.clone());
    ScanResult {
        acs_credential_on_encoder: Some(read(credential.created_at, times, card_number)),
        acs_credential_on_seam: Some(credentials::object(credential)),
        warnings,
    }
}

fn read(created_at: Time, times: Times, card_number: String) -> CredentialOnEncoder {
    CredentialOnEncoder {
        created_at: Some(created_at),
        is_issued: Some(true),
        starts_at: Some(times.starts_at),
        ends_at: times.ends_at,
        card_number: Some(card_number),
    }
}
