//! What the hub holds to be true of credentials and cards.
//!
//! The truth about a card comes from a daemon: from an encode, also one whose attempt has ended long since, and from a
//! scan. What somebody wants of a credential and what is on its card are kept apart; where they differ the credential
//! says `needs_to_be_reissued`.

use super::grants;
use crate::api::acs_credentials::{AcsCredential, NEEDS_TO_BE_REISSUED, WAITING_TO_BE_ISSUED};
use crate::api::action_attempts::{CredentialOnEncoder, ScanResult, ScanWarning, ScanWarningCode};
use crate::api::bridge::{EncodeWork, Encoded, Failed, Scanned, ScannedCredential};
use crate::api::events::{CredentialEvent, Happening, MethodEvent};
use crate::api::id::{AcsCredentialId, WorkspaceId};
use crate::api::time::Time;
use crate::api::{AccessMode, Nothing, Warning};
use crate::hub::guests;
use crate::store::hub::acs_credentials::{self, Contents, Credential, Issue, Times};
use crate::store::hub::{action_attempts, events};
use crate::store::{Connection, StoreError};

/// A credential as the API shows it.
pub(super) fn object(credential: &Credential) -> AcsCredential {
    let warning = match &credential.issue {
        None => Some(Warning {
            warning_code: WAITING_TO_BE_ISSUED.to_owned(),
            message: "The credential is not on a card yet. Encode it.".to_owned(),
            created_at: credential.created_at,
        }),
        Some(issue) => outdated(credential, issue).map(|what| Warning {
            warning_code: NEEDS_TO_BE_REISSUED.to_owned(),
            message: format!("The card holds other {what} than the credential. Encode it again on the same card."),
            created_at: credential.times_changed_at,
        }),
    };
    AcsCredential {
        acs_credential_id: credential.acs_credential_id,
        acs_system_id: credential.system.acs_system_id,
        connected_account_id: credential.system.connected_account_id,
        workspace_id: credential.system.workspace_id,
        acs_user_id: credential.acs_user_id,
        user_identity_id: credential.user_identity_id,
        display_name: credential.display_name.clone(),
        access_method: AccessMode::Card,
        created_at: credential.created_at,
        is_managed: true,
        code: None,
        card_number: credential.issue.as_ref().map(|issue| issue.card_number.clone()),
        is_issued: credential.issue.is_some(),
        issued_at: credential.issue.as_ref().map(|issue| issue.at),
        starts_at: credential.times.starts_at,
        ends_at: credential.times.ends_at,
        is_one_time_use: guests::is_one_time(&credential.metadata),
        is_multi_phone_sync_credential: false,
        is_latest_desired_state_synced_with_provider: None,
        latest_desired_state_synced_with_provider_at: None,
        visionline_metadata: credential.metadata.visionline_metadata.clone().map(Into::into),
        assa_abloy_vostio_metadata: credential.metadata.assa_abloy_vostio_metadata.clone().map(Into::into),
        errors: Nothing::default(),
        warnings: warning.into_iter().collect(),
    }
}

/// What a credential's card holds differently, in words; none: nothing.
fn outdated(credential: &Credential, issue: &Issue) -> Option<String> {
    let mut differs = Vec::new();
    if issue.times != credential.times {
        differs.push("times");
    }
    if let Some(contents) = &issue.contents {
        if contents.doors != credential.doors {
            differs.push("doors");
        }
        if contents.flags != guests::flags(&credential.metadata, contents.flags) {
            differs.push("rules for guests");
        }
    }
    match differs.split_last() {
        None => None,
        Some((last, [])) => Some((*last).to_owned()),
        Some((last, others)) => Some(format!("{} and {last}", others.join(", "))),
    }
}

/// The times that a card carries.
pub(super) fn card_times(starts_at: u32, ends_at: u32) -> Times {
    Times {
        starts_at: Time::from_card_seconds(starts_at),
        ends_at: (ends_at != u32::MAX).then(|| Time::from_card_seconds(ends_at)),
    }
}

/// When a daemon's word reaches the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// While its attempt is open and its offer the newest: it tells what is.
    InTime,
    /// Later. Its work was begun then; what was done since counts more.
    Late(Time),
}

/// Takes over that a credential is on a card, and that no other one is. An older word than what is known changes
/// nothing.
pub(super) async fn encoded(
    connection: &mut Connection,
    workspace: WorkspaceId,
    work: &EncodeWork,
    encoded: &Encoded,
    arrival: Arrival,
    now: Time,
) -> Result<(), StoreError> {
    let id = AcsCredentialId(work.acs_credential_id);
    let card_number = encoded.card_number.as_str();
    let issue = Issue {
        card_number: card_number.to_owned(),
        at: Time::from_card_seconds(encoded.issued_at),
        times: card_times(work.starts_at, work.ends_at),
        contents: Some(Contents::new(work.doors.clone(), work.flags)),
    };
    let mut others = acs_credentials::on_card(&mut *connection, workspace, card_number).await?;
    others.retain(|other| other.acs_credential_id != id);
    let outlives = |other: &Credential| {
        // A card that showed what is being overwritten is surer than two desks' clocks.
        let was_seen = arrival == Arrival::InTime && encoded.overwritten == Some(other.acs_credential_id.0);
        !was_seen && other.issue_on(card_number).is_some_and(|known| known.at > issue.at)
    };
    let written_over = others.iter().any(outlives);
    if let Some(credential) = acs_credentials::get(&mut *connection, workspace, id).await? {
        if credential.real_issue().is_some_and(|known| known.at > issue.at) {
            others.retain(|other| encoded.overwritten == Some(other.acs_credential_id.0));
        } else if !written_over {
            issued(&mut *connection, &credential, &issue, now).await?;
        } else if credential.is_in_doubt_on(card_number) {
            acs_credentials::set_in_doubt(&mut *connection, id, None).await?;
        }
    }
    for other in others.iter().filter(|other| !outlives(other)) {
        invalidated(&mut *connection, other, card_number, now).await?;
    }
    Ok(())
}

/// Takes over that a job failed and the card may hold the credential all the same.
pub(super) async fn in_doubt(
    connection: &mut Connection,
    work: &EncodeWork,
    failed: &Failed,
) -> Result<(), StoreError> {
    match &failed.card_number {
        Some(card_number) if failed.in_doubt => {
            let id = AcsCredentialId(work.acs_credential_id);
            acs_credentials::set_in_doubt(connection, id, Some(card_number)).await
        }
        Some(_) | None => Ok(()),
    }
}

/// Writes down that a credential is on a card, and tells of it.
pub(super) async fn issued(
    connection: &mut Connection,
    credential: &Credential,
    issue: &Issue,
    now: Time,
) -> Result<(), StoreError> {
    acs_credentials::set_issue(&mut *connection, credential.acs_credential_id, Some(issue)).await?;
    tracing::info!(acs_credential_id = %credential.acs_credential_id, card = shortened(&issue.card_number), "issued");
    tracing::debug!(acs_credential_id = %credential.acs_credential_id, card_number = issue.card_number, "issued");
    if credential.deleted_at.is_some() {
        return Ok(());
    }
    let again = credential.issue.is_some();
    let event = event(credential);
    let happening = if again { Happening::AcsCredentialReissued(event) } else { Happening::AcsCredentialIssued(event) };
    let (workspace, person) = (credential.system.workspace_id, credential.user_identity_id);
    events::record(&mut *connection, workspace, happening, person, now).await?;
    if let Some(event) = method_event(credential) {
        let happening =
            if again { Happening::AccessMethodReissued(event) } else { Happening::AccessMethodIssued(event) };
        events::record(&mut *connection, workspace, happening, person, now).await?;
    }
    grants::doors_opened(connection, credential, now).await
}

/// Takes over that a card does not carry a credential. One that is known to be on another card stays there.
async fn invalidated(
    connection: &mut Connection,
    credential: &Credential,
    card_number: &str,
    now: Time,
) -> Result<(), StoreError> {
    let id = credential.acs_credential_id;
    if credential.issue_on(card_number).is_none() {
        return acs_credentials::set_in_doubt(connection, id, None).await;
    }
    acs_credentials::set_issue(&mut *connection, id, None).await?;
    if let Some(other_card) = credential.in_doubt_card_number.as_deref().filter(|doubtful| *doubtful != card_number) {
        acs_credentials::set_in_doubt(&mut *connection, id, Some(other_card)).await?;
    }
    tracing::info!(acs_credential_id = %id, card = shortened(card_number), "invalidated");
    if credential.deleted_at.is_none() {
        let happening = Happening::AcsCredentialInvalidated(event(credential));
        let (workspace, person) = (credential.system.workspace_id, credential.user_identity_id);
        events::record(&mut *connection, workspace, happening, person, now).await?;
        grants::doors_lost_with(connection, credential, now).await?;
    }
    Ok(())
}

/// Deletes a credential. Whoever calls ends the job that may wait for it: [`super::attempts::credential_deleted`].
pub(super) async fn remove(connection: &mut Connection, credential: &Credential, now: Time) -> Result<(), StoreError> {
    acs_credentials::delete(&mut *connection, credential.acs_credential_id, now).await?;
    let happening = Happening::AcsCredentialDeleted(event(credential));
    let (workspace, person) = (credential.system.workspace_id, credential.user_identity_id);
    events::record(&mut *connection, workspace, happening, person, now).await?;
    grants::doors_lost_with(connection, credential, now).await
}

/// The event part that names the access method that a credential stands behind.
pub(super) fn method_event(credential: &Credential) -> Option<MethodEvent> {
    credential.access_method.as_ref().map(|method| MethodEvent {
        access_method_id: method.access_method_id,
        access_grant_ids: vec![method.access_grant_id],
        access_grant_keys: method.access_grant_key.clone().into_iter().collect(),
    })
}

/// The event part that names a credential.
pub(super) fn event(credential: &Credential) -> CredentialEvent {
    CredentialEvent { system: credential.system.event(), acs_credential_id: credential.acs_credential_id }
}

/// Takes over what a scanned card holds: the credential that is on it is issued, any other that was thought to be on it,
/// or perhaps on it, is not.
///
/// A late scan says nothing once one of them was written again: that may have been this card.
pub(super) async fn seen(
    connection: &mut Connection,
    workspace: WorkspaceId,
    scanned: &Scanned,
    arrival: Arrival,
    now: Time,
) -> Result<(), StoreError> {
    let card_number = scanned.card_number.as_str();
    let found = scanned.credential.as_ref().map(|on_card| AcsCredentialId(on_card.acs_credential_id));
    let others = acs_credentials::on_card(&mut *connection, workspace, card_number).await?;
    if let Arrival::Late(since) = arrival {
        let named: Vec<_> = others.iter().map(|other| other.acs_credential_id).chain(found).collect();
        if action_attempts::written_since(&mut *connection, &named, since).await? {
            return Ok(());
        }
    }
    for other in others.iter().filter(|other| Some(other.acs_credential_id) != found) {
        invalidated(&mut *connection, other, card_number, now).await?;
    }
    match &scanned.credential {
        Some(on_card) => found_on(connection, workspace, on_card, card_number, now).await,
        None => Ok(()),
    }
}

/// Takes over that a credential was found on a card. One that is, or may be, on another card stays there: this card may
/// be a copy, and the scan's result says how the two differ.
async fn found_on(
    connection: &mut Connection,
    workspace: WorkspaceId,
    on_card: &ScannedCredential,
    card_number: &str,
    now: Time,
) -> Result<(), StoreError> {
    let id = AcsCredentialId(on_card.acs_credential_id);
    let Some(credential) = acs_credentials::get(&mut *connection, workspace, id).await? else { return Ok(()) };
    let issue = Issue {
        card_number: card_number.to_owned(),
        at: Time::from_card_seconds(on_card.issued_at),
        times: card_times(on_card.starts_at, on_card.ends_at),
        contents: Some(Contents::new(on_card.doors.clone(), on_card.flags)),
    };
    let is_known = credential.issue.as_ref().is_some_and(|known| {
        let written = known.contents.as_ref().is_none_or(|contents| issue.contents.as_ref() == Some(contents));
        written && (&known.card_number, known.at, known.times) == (&issue.card_number, issue.at, issue.times)
    });
    if credential.is_in_doubt_on(card_number) {
        // The card may still hold what it held before the torn write: no new issue.
        return if is_known {
            acs_credentials::set_in_doubt(connection, id, None).await
        } else {
            issued(connection, &credential, &issue, now).await
        };
    }
    // A daemon that crashed after it had written, or another one without a hub, has said nothing of it.
    let is_news = match credential.real_issue() {
        None => credential.in_doubt_card_number.is_none(),
        Some(known) => known.card_number == card_number && known.at < issue.at,
    };
    if is_news { issued(connection, &credential, &issue, now).await } else { Ok(()) }
}

/// What a scan says: what the card holds, what the hub holds, and how they differ.
pub(super) async fn scan_result(
    connection: &mut Connection,
    workspace: WorkspaceId,
    scanned: &Scanned,
) -> Result<ScanResult, StoreError> {
    let Some(on_card) = &scanned.credential else {
        return Ok(ScanResult { acs_credential_on_encoder: None, acs_credential_on_seam: None, warnings: Vec::new() });
    };
    let id = AcsCredentialId(on_card.acs_credential_id);
    let known = acs_credentials::get(&mut *connection, workspace, id).await?;
    let times = card_times(on_card.starts_at, on_card.ends_at);
    let on_encoder = CredentialOnEncoder {
        created_at: Some(
            known.as_ref().map_or(Time::from_card_seconds(on_card.issued_at), |credential| credential.created_at),
        ),
        is_issued: Some(true),
        starts_at: Some(times.starts_at),
        ends_at: times.ends_at,
        card_number: Some(scanned.card_number.clone()),
    };
    let current = known.filter(|credential| credential.deleted_at.is_none());
    let warning = match &current {
        None => Some(not_found()),
        Some(credential) => {
            let differing = differences(credential, on_card, &scanned.card_number);
            (!differing.is_empty()).then(|| out_of_sync(&differing))
        }
    };
    Ok(ScanResult {
        acs_credential_on_encoder: Some(on_encoder),
        acs_credential_on_seam: current.as_ref().map(object),
        warnings: warning.into_iter().collect(),
    })
}

/// Card and credential differ in these properties.
pub(super) fn out_of_sync(properties: &[&str]) -> ScanWarning {
    ScanWarning {
        warning_code: ScanWarningCode::AcsCredentialOnEncoderOutOfSync,
        warning_message: format!(
            "The following properties are out of sync between acs_credential_on_encoder and acs_credential_on_seam: {}",
            properties.join(", ")
        ),
    }
}

/// The hub does not know what the card carries.
pub(super) fn not_found() -> ScanWarning {
    ScanWarning {
        warning_code: ScanWarningCode::AcsCredentialOnSeamNotFound,
        warning_message: "The credential on the card is not known, or was deleted.".to_owned(),
    }
}

/// The properties in which a card and its credential differ.
fn differences(credential: &Credential, on_card: &ScannedCredential, card_number: &str) -> Vec<&'static str> {
    let times = card_times(on_card.starts_at, on_card.ends_at);
    let on_card = Contents::new(on_card.doors.clone(), on_card.flags);
    let written = credential.issue.as_ref().and_then(|issue| issue.contents.as_ref());
    let flags = guests::flags(&credential.metadata, written.unwrap_or(&on_card).flags);
    let known_card = credential.issue.as_ref().map(|issue| issue.card_number.as_str());
    [
        ("starts_at", times.starts_at != credential.times.starts_at),
        ("ends_at", times.ends_at != credential.times.ends_at),
        ("doors", on_card.doors != credential.doors),
        ("flags", on_card.flags != flags),
        ("card_number", known_card != Some(card_number)),
    ]
    .into_iter()
    .filter_map(|(name, differs)| differs.then_some(name))
    .collect()
}

/// A card's UID as it may stand in a log: it identifies a guest's card.
fn shortened(card_number: &str) -> String {
    format!("{}…", card_number.chars().take(4).collect::<String>())
}
