//! `/user_identities/…`

use super::{acs_users, now};
use crate::api::acs_systems::AcsSystem;
use crate::api::envelope::{Many, One};
use crate::api::id::{UserIdentityId, WorkspaceId};
use crate::api::user_identities::{Create, Get, List, Person, UserIdentity};
use crate::hub::call::Call;
use crate::hub::error::{ApiError, Invalid};
use crate::store::Connection;
use crate::store::hub::acs_systems::SystemIds;
use crate::store::hub::user_identities;
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
    match user_identities::create(&mut *connection, id, system.workspace_id, person, now()).await {
        Ok(()) => existing(connection, system.workspace_id, id).await,
        Err(error) if error.is_conflict() => {
            Err(Invalid::parameter("user_identity_key", "Belongs to another user identity already").into())
        }
        Err(error) => Err(error.into()),
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
    let workspace = call.system().workspace_id;
    let identity = match (get.user_identity_id, get.user_identity_key) {
        (Some(id), _) => existing(&mut connection, workspace, id).await?,
        (None, Some(key)) => user_identities::by_key(&mut connection, workspace, &key)
            .await?
            .ok_or_else(|| ApiError::no_such::<UserIdentity>(json!({ "user_identity_key": key })))?,
        (None, None) => return Err(Invalid::parameter("user_identity_id", "Required").into()),
    };
    Ok(One(identity))
}

pub(super) async fn list(call: Call, list: List) -> Result<Many<UserIdentity>, ApiError> {
    let page = call.page(&list.limit, list.page_cursor.as_deref())?;
    Ok(call.answer(user_identities::list(&mut *call.read().await?, call.system().workspace_id, &list, page).await?))
}
