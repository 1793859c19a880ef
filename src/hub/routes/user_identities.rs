//! `/user_identities/…`

use super::{acs_users, now};
use crate::api::acs_systems::AcsSystem;
use crate::api::envelope::{Done, Many, One};
use crate::api::id::{UserIdentityId, WorkspaceId};
use crate::api::parameters::{Email, Filled};
use crate::api::user_identities::{AddAcsUser, Create, Delete, Get, List, Person, Update, UserIdentity};
use crate::hub::call::Call;
use crate::hub::error::{ApiError, Invalid};
use crate::hub::{attempts, grants};
use crate::store::hub::acs_systems::SystemIds;
use crate::store::hub::{access_grants, user_identities};
use crate::store::{Connection, StoreError};
use serde_json::json;

pub(super) async fn create(call: Call, create: Create) -> Result<One<UserIdentity>, ApiError> {
    let systems = create.acs_system_ids.into_values();
    if let Some(other) = systems.iter().find(|system| **system != call.system().acs_system_id) {
        return Err(ApiError::no::<AcsSystem>(other));
    }
    let person = Person {
        email_address: create.email_address,
        full_name: create.full_name,
        phone_number: create.phone_number,
        user_identity_key: create.user_identity_key,
    };
    let mut transaction = call.begin().await?;
    let identity = make(call.system(), &mut transaction, &person).await?;
    if !systems.is_empty() {
        acs_users::of_identity(call.system(), &mut transaction, &identity).await?;
    }
    let identity = existing(&mut transaction, call.system().workspace_id, identity.user_identity_id).await?;
    transaction.commit().await?;
    Ok(One(identity))
}

/// Makes a person.
pub(super) async fn make(
    system: SystemIds,
    connection: &mut Connection,
    person: &Person,
) -> Result<UserIdentity, ApiError> {
    let id = UserIdentityId::random();
    let created = user_identities::create(&mut *connection, id, system.workspace_id, person, now()).await;
    created.map_err(key_is_taken)?;
    existing(connection, system.workspace_id, id).await
}

fn key_is_taken(error: StoreError) -> ApiError {
    if error.is_conflict() {
        Invalid::parameter("user_identity_key", "Belongs to another user identity already").into()
    } else {
        error.into()
    }
}

/// The person with this id.
pub(super) async fn existing(
    connection: &mut Connection,
    workspace: WorkspaceId,
    id: UserIdentityId,
) -> Result<UserIdentity, ApiError> {
    user_identities::get(connection, workspace, id).await?.ok_or_else(|| ApiError::no::<UserIdentity>(id))
}

pub(super) async fn get(call: Call, get: Get) -> Result<One<UserIdentity>, ApiError> {
    let mut connection = call.read().await?;
    let (workspace, key) = (call.system().workspace_id, get.user_identity_key.as_deref());
    Ok(One(named(&mut connection, workspace, get.user_identity_id, key).await?))
}

/// The person with this id or with this key.
async fn named(
    connection: &mut Connection,
    workspace: WorkspaceId,
    id: Option<UserIdentityId>,
    key: Option<&str>,
) -> Result<UserIdentity, ApiError> {
    match (id, key) {
        (Some(id), _) => existing(connection, workspace, id).await,
        (None, Some(key)) => user_identities::by_key(connection, workspace, key)
            .await?
            .ok_or_else(|| ApiError::no_such::<UserIdentity>(json!({ "user_identity_key": key }))),
        (None, None) => Err(Invalid::parameter("user_identity_id", "Required").into()),
    }
}

pub(super) async fn update(call: Call, update: Update) -> Result<Done, ApiError> {
    let mut transaction = call.begin().await?;
    let before = existing(&mut transaction, call.system().workspace_id, update.user_identity_id).await?;
    let person = Person {
        email_address: update.email_address.apply(before.email_address.map(Email)),
        full_name: update.full_name.apply(before.full_name.map(Filled)),
        phone_number: update.phone_number.apply(before.phone_number.map(Filled)),
        user_identity_key: update.user_identity_key.apply(before.user_identity_key.map(Filled)),
    };
    let updated = user_identities::update(&mut transaction, before.user_identity_id, &person).await;
    updated.map_err(key_is_taken)?;
    transaction.commit().await?;
    Ok(Done::default())
}

/// Deletes a person with the access that he was granted. Whoever he was in an access system stays, as nobody's: that
/// system's users may have cards that no grant gave them.
pub(super) async fn remove(call: Call, delete: Delete) -> Result<Done, ApiError> {
    let (workspace, now) = (call.system().workspace_id, now());
    let mut transaction = call.begin().await?;
    let identity = existing(&mut transaction, workspace, delete.user_identity_id).await?.user_identity_id;
    let mut gone = Vec::new();
    for grant in access_grants::of_identity(&mut transaction, workspace, identity).await? {
        gone.extend(grants::remove(&mut transaction, &grant, now).await?);
    }
    user_identities::delete(&mut transaction, identity, now).await?;
    transaction.commit().await?;
    attempts::credentials_deleted(call.hub(), &gone).await?;
    Ok(Done::default())
}

pub(super) async fn add_acs_user(call: Call, add: AddAcsUser) -> Result<Done, ApiError> {
    let workspace = call.system().workspace_id;
    let mut transaction = call.begin().await?;
    let identity = named(&mut transaction, workspace, add.user_identity_id, add.user_identity_key.as_deref())
        .await?
        .user_identity_id;
    let user = acs_users::existing(&mut transaction, workspace, add.acs_user_id).await?;
    match user.identity.map(|other| other.user_identity_id) {
        Some(same) if same == identity => return Ok(Done::default()),
        Some(_) => {
            return Err(Invalid::parameter("acs_user_id", "Belongs to another user identity already").into());
        }
        None => {}
    }
    crate::store::hub::acs_users::set_identity(&mut transaction, user.acs_user_id, identity).await.map_err(
        |error| {
            if error.is_conflict() {
                Invalid::parameter("acs_user_id", "The user identity has another acs_user in this acs_system already")
                    .into()
            } else {
                ApiError::from(error)
            }
        },
    )?;
    transaction.commit().await?;
    Ok(Done::default())
}

pub(super) async fn list(call: Call, list: List) -> Result<Many<UserIdentity>, ApiError> {
    let page = call.page(&list.limit, list.page_cursor.as_deref())?;
    Ok(call.answer(user_identities::list(&mut *call.read().await?, call.system().workspace_id, &list, page).await?))
}
