//! `/acs/credentials/…`

use super::{acs_users, all_known, card_times, now, user_identities};
use crate::api::AccessMode;
use crate::api::acs_credentials::{AcsCredential, Assign, Create, Get, List, Update};
use crate::api::acs_entrances::{self, AcsEntrance};
use crate::api::acs_users::AcsUser;
use crate::api::credential_metadata::Metadata;
use crate::api::envelope::{Done, Many, One};
use crate::api::id::{AcsCredentialId, AcsUserId, UserIdentityId, WorkspaceId};
use crate::hub::assignment;
pub(super) use crate::hub::assignment::card_of;
use crate::hub::call::Call;
use crate::hub::error::{ApiError, Invalid};
use crate::hub::{attempts, credentials, guests};
use crate::store::Connection;
use crate::store::hub::acs_credentials::{self, Credential, NewCredential, Times};
use crate::store::hub::acs_systems::SystemIds;
use crate::store::hub::select::Page;

/// What is said to everything that is not a card.
pub(super) const CARDS_ONLY: &str = "Only `card` is made here: an encoder writes cards and nothing else";

const NO_MANAGER: &str = "Only keys on phones have a credential manager";

const NO_PHONES: &str = "A card is on no phone";

pub(super) async fn create(call: Call, create: Create) -> Result<One<AcsCredential>, ApiError> {
    if create.access_method != AccessMode::Card {
        return Err(Invalid::parameter("access_method", CARDS_ONLY).into());
    }
    refuse_code(create.code.as_deref())?;
    if create.credential_manager_acs_system_id.is_some() {
        return Err(Invalid::parameter("credential_manager_acs_system_id", NO_MANAGER).into());
    }
    if create.is_multi_phone_sync_credential == Some(true) {
        return Err(Invalid::parameter("is_multi_phone_sync_credential", NO_PHONES).into());
    }
    let metadata = Metadata {
        visionline_metadata: create.visionline_metadata,
        assa_abloy_vostio_metadata: create.assa_abloy_vostio_metadata,
        hotek_metadata: create.hotek_metadata,
        salto_space_metadata: create.salto_space_metadata,
    };
    let now = now();
    let times = card_times(create.starts_at.unwrap_or(now), create.ends_at)?;
    if let Some(system) = create.acs_system_id {
        acs_users::served(call.system(), system)?;
    }
    let mut own = create.allowed_acs_entrance_ids.into_values();
    let (more, common) = guests::doors(&metadata);
    own.extend(more);
    own.retain(|entrance| !common.contains(entrance));
    let workspace = call.system().workspace_id;
    let mut transaction = call.begin().await?;
    let user = match (create.acs_user_id, create.user_identity_id, create.acs_system_id) {
        (Some(id), _, _) => Some(acs_users::existing(&mut transaction, workspace, id).await?),
        (None, Some(id), _) => {
            let identity = user_identities::existing(&mut transaction, workspace, id).await?;
            Some(acs_users::of_identity(call.system(), &mut transaction, &identity).await?)
        }
        (None, None, Some(_)) => None,
        (None, None, None) => {
            return Err(Invalid::whole("Give acs_user_id, user_identity_id or acs_system_id").into());
        }
    };
    for named in [&own, &common] {
        all_known(&mut transaction, call.system().acs_system_id, named).await?;
    }
    guests::check(&mut transaction, workspace, &metadata, &own).await?;
    let credential = NewCredential {
        acs_credential_id: AcsCredentialId::random(),
        acs_system_id: call.system().acs_system_id,
        acs_user_id: user.as_ref().map(|user| user.acs_user_id),
        user_identity_id: identity_of(user.as_ref()),
        display_name: card_of(user.as_ref()),
        times,
        entrances: own,
    };
    acs_credentials::create(&mut transaction, &credential, now).await?;
    if metadata != Metadata::default() {
        acs_credentials::set_metadata(&mut transaction, credential.acs_credential_id, &metadata, &common).await?;
    }
    let credential = existing(&mut transaction, call.system().workspace_id, credential.acs_credential_id).await?;
    transaction.commit().await?;
    Ok(One(credentials::object(&credential)))
}

/// The person behind a user.
pub(super) fn identity_of(user: Option<&AcsUser>) -> Option<crate::api::id::UserIdentityId> {
    user.and_then(|user| user.identity.as_ref()).map(|identity| identity.user_identity_id)
}

fn refuse_code(code: Option<&str>) -> Result<(), Invalid> {
    if code.is_some() { Err(Invalid::parameter("code", "A card has no code")) } else { Ok(()) }
}

/// The one user who is named by one of the two; a person is made known to the system.
pub(super) async fn owner(
    system: SystemIds,
    connection: &mut Connection,
    user: Option<AcsUserId>,
    person: Option<UserIdentityId>,
) -> Result<AcsUser, ApiError> {
    match exactly_one(user, person)? {
        Owner::User(id) => acs_users::existing(connection, system.workspace_id, id).await,
        Owner::Person(id) => {
            let identity = user_identities::existing(&mut *connection, system.workspace_id, id).await?;
            acs_users::of_identity(system, connection, &identity).await
        }
    }
}

enum Owner {
    User(AcsUserId),
    Person(UserIdentityId),
}

fn exactly_one(user: Option<AcsUserId>, person: Option<UserIdentityId>) -> Result<Owner, Invalid> {
    match (user, person) {
        (Some(id), None) => Ok(Owner::User(id)),
        (None, Some(id)) => Ok(Owner::Person(id)),
        (None, None) => Err(Invalid::parameter("acs_user_id", "Required, or user_identity_id")),
        (Some(_), Some(_)) => Err(Invalid::whole("Give either acs_user_id or user_identity_id, not both")),
    }
}

/// The credential with this id, unless it was deleted.
async fn existing(
    connection: &mut Connection,
    workspace: WorkspaceId,
    id: AcsCredentialId,
) -> Result<Credential, ApiError> {
    acs_credentials::get(connection, workspace, id)
        .await?
        .filter(|credential| credential.deleted_at.is_none())
        .ok_or_else(|| ApiError::no::<AcsCredential>(id))
}

pub(super) async fn get(call: Call, get: Get) -> Result<One<AcsCredential>, ApiError> {
    let credential = existing(&mut *call.read().await?, call.system().workspace_id, get.acs_credential_id).await?;
    Ok(One(credentials::object(&credential)))
}

pub(super) async fn list(call: Call, list: List) -> Result<Many<AcsCredential>, ApiError> {
    let page = call.page(&list.limit, list.page_cursor.as_deref())?;
    let page = acs_credentials::list(&mut *call.read().await?, call.system().workspace_id, &list, page).await?;
    Ok(call.answer(page.map(|credential| credentials::object(&credential))))
}

pub(super) async fn update(call: Call, update: Update) -> Result<One<AcsCredential>, ApiError> {
    refuse_code(update.code.as_deref())?;
    let mut transaction = call.begin().await?;
    let credential = existing(&mut transaction, call.system().workspace_id, update.acs_credential_id).await?;
    if let Some(ends_at) = update.ends_at {
        set_times(&mut transaction, &credential, card_times(credential.times.starts_at, Some(ends_at))?).await?;
    }
    let credential = existing(&mut transaction, call.system().workspace_id, update.acs_credential_id).await?;
    transaction.commit().await?;
    Ok(One(credentials::object(&credential)))
}

/// Changes when a credential opens; the same times again are no change.
pub(super) async fn set_times(
    connection: &mut Connection,
    credential: &Credential,
    times: Times,
) -> Result<(), ApiError> {
    if credential.times != times {
        acs_credentials::set_times(connection, credential.acs_credential_id, times, now()).await?;
    }
    Ok(())
}

pub(super) async fn remove(call: Call, get: Get) -> Result<Done, ApiError> {
    let mut transaction = call.begin().await?;
    let credential = existing(&mut transaction, call.system().workspace_id, get.acs_credential_id).await?;
    credentials::remove(&mut transaction, &credential, now()).await?;
    transaction.commit().await?;
    attempts::credential_deleted(call.hub(), credential.acs_credential_id).await?;
    Ok(Done::default())
}

pub(super) async fn assign(call: Call, assign: Assign) -> Result<One<AcsCredential>, ApiError> {
    let workspace = call.system().workspace_id;
    let mut transaction = call.begin().await?;
    let credential = existing(&mut transaction, workspace, assign.acs_credential_id).await?;
    let user = owner(call.system(), &mut transaction, assign.acs_user_id, assign.user_identity_id).await?;
    match credential.acs_user_id {
        None => assignment::give(&mut transaction, credential.acs_credential_id, Some(&user)).await?,
        Some(owner) if owner == user.acs_user_id => {}
        Some(_) => {
            let message = "Belongs to another acs_user; unassign it from that one first";
            return Err(Invalid::parameter("acs_credential_id", message).into());
        }
    }
    let credential = existing(&mut transaction, workspace, assign.acs_credential_id).await?;
    transaction.commit().await?;
    Ok(One(credentials::object(&credential)))
}

pub(super) async fn unassign(call: Call, assign: Assign) -> Result<One<AcsCredential>, ApiError> {
    let workspace = call.system().workspace_id;
    let mut transaction = call.begin().await?;
    let credential = existing(&mut transaction, workspace, assign.acs_credential_id).await?;
    let (name, is_owner) = match exactly_one(assign.acs_user_id, assign.user_identity_id)? {
        Owner::User(id) => {
            acs_users::existing(&mut transaction, workspace, id).await?;
            ("acs_user_id", credential.acs_user_id == Some(id))
        }
        Owner::Person(id) => {
            user_identities::existing(&mut transaction, workspace, id).await?;
            ("user_identity_id", credential.user_identity_id == Some(id))
        }
    };
    if !is_owner {
        return Err(Invalid::parameter(name, "The credential is not assigned to this one").into());
    }
    if credential.access_method.is_some() {
        let message = "Belongs to an access grant, and so to the grant's person";
        return Err(Invalid::parameter("acs_credential_id", message).into());
    }
    assignment::give(&mut transaction, credential.acs_credential_id, None).await?;
    let credential = existing(&mut transaction, workspace, assign.acs_credential_id).await?;
    transaction.commit().await?;
    Ok(One(credentials::object(&credential)))
}

pub(super) async fn list_accessible_entrances(call: Call, get: Get) -> Result<Many<AcsEntrance>, ApiError> {
    let workspace = call.system().workspace_id;
    let mut connection = call.read().await?;
    let credential = existing(&mut connection, workspace, get.acs_credential_id).await?;
    let opened =
        acs_entrances::List { acs_credential_id: Some(credential.acs_credential_id), ..acs_entrances::List::default() };
    // Without pages, as the API has it: all of them.
    let page = Page { limit: u32::MAX, after: None };
    let page = crate::store::hub::acs_entrances::list(&mut connection, workspace, &opened, page).await?;
    Ok(Many { items: page.items, pagination: None })
}
