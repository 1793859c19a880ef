//! Whose credentials are, and which access methods': by hand, by a scanned card, by a card's number.

use super::attempts::{self, End};
use super::call::Call;
use super::credentials;
use super::error::ApiError;
use crate::api::access_methods::AccessMethod;
use crate::api::acs_users::AcsUser;
use crate::api::action_attempts::{ActionAttempt, ActionType};
use crate::api::bridge::Scanned;
use crate::api::events::Happening;
use crate::api::id::{AccessMethodId, AcsCredentialId, AcsUserId, ActionAttemptId, WorkspaceId};
use crate::api::time::Time;
use crate::fault::FaultKind;
use crate::store::hub::acs_credentials::{self, Credential};
use crate::store::hub::action_attempts::{self, NewAttempt};
use crate::store::hub::{access_methods, acs_users, events};
use crate::store::{Connection, StoreError};

/// The name of a card that is nobody's.
const NOBODYS: &str = "Card";

/// A name for a card.
pub(super) fn card_of(user: Option<&AcsUser>) -> String {
    user.map_or_else(|| NOBODYS.to_owned(), |user| format!("Card of {}", user.display_name))
}

/// Gives a credential to somebody, or takes it from everybody.
pub(super) async fn give(
    connection: &mut Connection,
    credential: AcsCredentialId,
    user: Option<&AcsUser>,
) -> Result<(), StoreError> {
    let owner = user.map(|user| (user.acs_user_id, user.identity.as_ref().map(|person| person.user_identity_id)));
    acs_credentials::set_owner(connection, credential, owner, &card_of(user)).await
}

/// Gives the credential on a scanned card to a user.
pub(super) async fn scanned(
    connection: &mut Connection,
    workspace: WorkspaceId,
    scanned: &Scanned,
    user: AcsUserId,
) -> Result<End, StoreError> {
    let Some(on_card) = &scanned.credential else { return Ok(Err(FaultKind::CardWithoutCredential.into())) };
    let id = AcsCredentialId(on_card.acs_credential_id);
    let credential = acs_credentials::get(&mut *connection, workspace, id).await?;
    if let Some(credential) = &credential
        && credential.deleted_at.is_none()
        && credential.issue_on(&scanned.card_number).is_none()
    {
        // A copy: whoever gets it would hold a card that the hub takes for another one.
        return Ok(Err(FaultKind::CredentialOnAnotherCard.into()));
    }
    found(connection, workspace, credential, user).await
}

/// Gives a credential that was found on a card to a user.
pub(super) async fn found(
    connection: &mut Connection,
    workspace: WorkspaceId,
    credential: Option<Credential>,
    user: AcsUserId,
) -> Result<End, StoreError> {
    let Some(credential) = credential.filter(|credential| credential.deleted_at.is_none()) else {
        return Ok(Err(FaultKind::UnknownCredential.into()));
    };
    let Some(user) = acs_users::get(&mut *connection, workspace, user).await? else {
        return Ok(Err(FaultKind::OwnerGone.into()));
    };
    match credential.acs_user_id {
        None => give(&mut *connection, credential.acs_credential_id, Some(&user)).await?,
        Some(owner) if owner == user.acs_user_id => {}
        Some(_) => return Ok(Err(FaultKind::CredentialOfAnother.into())),
    }
    let given = acs_credentials::get(connection, workspace, credential.acs_credential_id).await?;
    Ok(Ok(attempts::json(&given.as_ref().map(credentials::object))?))
}

/// Puts the credential that a card carries behind an access method. Its doors and times become the method's: where the
/// card holds others, the credential says so.
pub(super) async fn card(call: &Call, method: AccessMethodId, card_number: &str) -> Result<ActionAttempt, ApiError> {
    let workspace = call.system().workspace_id;
    let now = attempts::now();
    let mut transaction = call.begin().await?;
    let standing = match access_methods::credential_of(&mut transaction, workspace, method).await? {
        Some(behind) => acs_credentials::get(&mut transaction, workspace, behind).await?,
        None => None,
    };
    let standing = standing.ok_or_else(|| ApiError::no::<AccessMethod>(method))?;
    let end = take_card(&mut transaction, &standing, method, card_number, now).await?;
    let attempt = NewAttempt {
        action_attempt_id: ActionAttemptId::random(),
        workspace_id: workspace,
        action_type: ActionType::AssignCredential,
        acs_encoder_id: None,
        acs_credential_id: None,
        acs_user_id: None,
        created_at: now,
        deadline_at: now,
        end: Some(attempts::settlement(ActionType::AssignCredential.work(), end)),
    };
    let made = attempts::made(&mut transaction, &attempt).await?;
    let stood = [standing.acs_credential_id];
    let gave_way = acs_credentials::known(&mut transaction, workspace, &stood).await?.is_empty();
    transaction.commit().await?;
    if gave_way {
        attempts::credential_deleted(call.hub(), standing.acs_credential_id).await?;
    }
    Ok(made)
}

async fn take_card(
    connection: &mut Connection,
    standing: &Credential,
    method: AccessMethodId,
    card_number: &str,
    now: Time,
) -> Result<End, StoreError> {
    let workspace = standing.system.workspace_id;
    let Some(credential) = acs_credentials::issued_on(&mut *connection, workspace, card_number).await? else {
        return Ok(Err(FaultKind::NoCredentialForCard.into()));
    };
    let id = credential.acs_credential_id;
    let is_new = id != standing.acs_credential_id;
    if is_new {
        if let Some(kind) = refusal(&mut *connection, standing, &credential).await? {
            return Ok(Err(kind.into()));
        }
        if (&credential.times, &credential.doors) != (&standing.times, &standing.doors) {
            acs_credentials::set_times(&mut *connection, id, standing.times, now).await?;
            acs_credentials::take_entrances(&mut *connection, id, standing.acs_credential_id).await?;
        }
        let owner = standing.acs_user_id.map(|user| (user, standing.user_identity_id));
        acs_credentials::set_owner(&mut *connection, id, owner, &standing.display_name).await?;
        access_methods::set_credential(&mut *connection, method, id).await?;
        if standing.deleted_at.is_none() {
            acs_credentials::delete(&mut *connection, standing.acs_credential_id, now).await?;
            let happening = Happening::AcsCredentialDeleted(credentials::event(standing));
            events::record(&mut *connection, workspace, happening, standing.user_identity_id, now).await?;
        }
        if let Some(event) = credentials::method_event(standing) {
            let happening = Happening::AccessMethodIssued(event);
            events::record(&mut *connection, workspace, happening, standing.user_identity_id, now).await?;
        }
    }
    let method = access_methods::get(connection, workspace, method).await?;
    Ok(Ok(attempts::json(&method)?))
}

/// Why a credential cannot take the place of the one that stands behind an access method.
async fn refusal(
    connection: &mut Connection,
    standing: &Credential,
    credential: &Credential,
) -> Result<Option<FaultKind>, StoreError> {
    if credential.access_method.is_some() {
        return Ok(Some(FaultKind::NoCredentialForCard));
    }
    if standing.deleted_at.is_none() && (standing.issue.is_some() || standing.in_doubt_card_number.is_some()) {
        return Ok(Some(FaultKind::MethodHasCard));
    }
    if credential.acs_user_id.is_some() && credential.acs_user_id != standing.acs_user_id {
        return Ok(Some(FaultKind::CredentialOfAnother));
    }
    // A card may be on its way with what stands there, or with other doors than the method's.
    for id in [standing.acs_credential_id, credential.acs_credential_id] {
        let open = action_attempts::open_for(&mut *connection, id).await?;
        if open.is_some_and(|attempt| attempt.started_at.is_some()) {
            return Ok(Some(FaultKind::CredentialBusy));
        }
    }
    Ok(None)
}
