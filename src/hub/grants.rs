//! What access grants open, and how they end.
//!
//! A grant opens the doors that it names and those of its spaces. Its credentials open the same; where that differs from
//! what is on a card, the credential says so. Events tell of a door when a card that opens it was written, and when the
//! grant has no such card any more.

use super::credentials;
use crate::api::access_grants::AccessGrant;
use crate::api::access_methods::AccessMethod;
use crate::api::events::{GrantDoorEvent, GrantEvent, Happening, MethodEvent};
use crate::api::id::AcsCredentialId;
use crate::api::time::Time;
use crate::store::hub::acs_credentials::{self, Credential};
use crate::store::hub::{access_grants, access_methods, events};
use crate::store::{Connection, StoreError};

/// Brings the credentials of a grant to the doors that it opens, after these have changed.
pub(super) async fn doors_changed(
    connection: &mut Connection,
    grant: &AccessGrant,
    now: Time,
) -> Result<(), StoreError> {
    let entrances = access_grants::entrances(&mut *connection, grant.access_grant_id).await?;
    for credential in acs_credentials::of_grant(&mut *connection, grant.access_grant_id).await? {
        acs_credentials::set_entrances(&mut *connection, credential.acs_credential_id, &entrances, now).await?;
    }
    doors_lost(connection, grant, now).await
}

/// Tells which doors a grant opens now that a credential was written to a card.
pub(super) async fn doors_opened(
    connection: &mut Connection,
    credential: &Credential,
    now: Time,
) -> Result<(), StoreError> {
    let Some(grant) = grant_of(&mut *connection, credential).await? else { return Ok(()) };
    let id = grant.access_grant_id;
    let wanted = access_grants::entrances(&mut *connection, id).await?;
    let mut told = access_grants::told_doors(&mut *connection, id).await?;
    let opens = acs_credentials::entrances(&mut *connection, credential.acs_credential_id).await?;
    let new: Vec<_> = opens.into_iter().filter(|door| wanted.contains(door) && !told.contains(door)).collect();
    if new.is_empty() {
        return Ok(());
    }
    for door in new {
        access_grants::tell_door(&mut *connection, id, door).await?;
        told.push(door);
        let event = GrantDoorEvent { access_grant_id: id, acs_entrance_id: door };
        tell(&mut *connection, &grant, Happening::AccessGrantAccessGrantedToDoor(event), now).await?;
    }
    if wanted.iter().all(|door| told.contains(door)) {
        let happening = Happening::AccessGrantAccessGrantedToAllDoors(GrantEvent { access_grant_id: id });
        tell(connection, &grant, happening, now).await?;
    }
    Ok(())
}

/// Tells which doors are lost to a grant now that a credential is not on its card any more, or was deleted.
pub(super) async fn doors_lost_with(
    connection: &mut Connection,
    credential: &Credential,
    now: Time,
) -> Result<(), StoreError> {
    match grant_of(&mut *connection, credential).await? {
        Some(grant) => doors_lost(connection, &grant, now).await,
        None => Ok(()),
    }
}

async fn grant_of(connection: &mut Connection, credential: &Credential) -> Result<Option<AccessGrant>, StoreError> {
    match &credential.access_method {
        Some(method) => access_grants::get(connection, credential.system.workspace_id, method.access_grant_id).await,
        None => Ok(None),
    }
}

async fn doors_lost(connection: &mut Connection, grant: &AccessGrant, now: Time) -> Result<(), StoreError> {
    let id = grant.access_grant_id;
    let told = access_grants::told_doors(&mut *connection, id).await?;
    if told.is_empty() {
        return Ok(());
    }
    let wanted = access_grants::entrances(&mut *connection, id).await?;
    let opened = access_grants::opened(&mut *connection, id).await?;
    for door in told.into_iter().filter(|door| !(wanted.contains(door) && opened.contains(door))) {
        access_grants::forget_door(&mut *connection, id, door).await?;
        let event = GrantDoorEvent { access_grant_id: id, acs_entrance_id: door };
        tell(&mut *connection, grant, Happening::AccessGrantAccessToDoorLost(event), now).await?;
    }
    Ok(())
}

/// Deletes a grant with its access methods and their credentials, which are returned: jobs may wait for them.
pub(super) async fn remove(
    connection: &mut Connection,
    grant: &AccessGrant,
    now: Time,
) -> Result<Vec<AcsCredentialId>, StoreError> {
    let gone = remove_methods(&mut *connection, grant, now).await?;
    access_grants::delete(&mut *connection, grant.access_grant_id, now).await?;
    let event = GrantEvent { access_grant_id: grant.access_grant_id };
    tell(connection, grant, Happening::AccessGrantDeleted(event), now).await?;
    Ok(gone)
}

/// Deletes all access methods of a grant with their credentials, which are returned.
pub(super) async fn remove_methods(
    connection: &mut Connection,
    grant: &AccessGrant,
    now: Time,
) -> Result<Vec<AcsCredentialId>, StoreError> {
    let mut gone = Vec::new();
    for method in access_methods::of_grant(&mut *connection, grant.access_grant_id).await? {
        gone.extend(remove_method(&mut *connection, grant, &method, now).await?);
    }
    Ok(gone)
}

/// Deletes an access method with its credential, which is returned.
pub(super) async fn remove_method(
    connection: &mut Connection,
    grant: &AccessGrant,
    method: &AccessMethod,
    now: Time,
) -> Result<Option<AcsCredentialId>, StoreError> {
    let (workspace, id) = (grant.workspace_id, method.access_method_id);
    let behind = access_methods::credential_of(&mut *connection, workspace, id).await?;
    access_methods::delete(&mut *connection, id, now).await?;
    let event = method_event(grant, method);
    if method.is_issued {
        tell(&mut *connection, grant, Happening::AccessMethodRevoked(event.clone()), now).await?;
    }
    tell(&mut *connection, grant, Happening::AccessMethodDeleted(event), now).await?;
    let Some(behind) = behind else { return Ok(None) };
    let credential = acs_credentials::get(&mut *connection, workspace, behind).await?;
    match credential.filter(|credential| credential.deleted_at.is_none()) {
        Some(credential) => {
            credentials::remove(connection, &credential, now).await?;
            Ok(Some(behind))
        }
        None => Ok(None),
    }
}

/// The event part that names an access method of a grant.
fn method_event(grant: &AccessGrant, method: &AccessMethod) -> MethodEvent {
    MethodEvent {
        access_method_id: method.access_method_id,
        access_grant_ids: vec![grant.access_grant_id],
        access_grant_keys: grant.access_grant_key.clone().into_iter().collect(),
    }
}

async fn tell(
    connection: &mut Connection,
    grant: &AccessGrant,
    happening: Happening,
    now: Time,
) -> Result<(), StoreError> {
    events::record(connection, grant.workspace_id, happening, Some(grant.user_identity_id), now).await
}
