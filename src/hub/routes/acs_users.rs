//! `/acs/users/…`

use super::{now, user_identities};
use crate::api::acs_systems::AcsSystem;
use crate::api::acs_users::{AccessSchedule, AcsUser, Create, Get, List};
use crate::api::envelope::{Many, One};
use crate::api::events::{Happening, UserEvent};
use crate::api::id::{AcsSystemId, AcsUserId, WorkspaceId};
use crate::api::user_identities::UserIdentity;
use crate::hub::call::Call;
use crate::hub::error::{ApiError, Invalid};
use crate::store::Connection;
use crate::store::hub::acs_systems::SystemIds;
use crate::store::hub::acs_users::{self, NewUser};
use crate::store::hub::events;
use serde_json::json;

pub(super) async fn create(call: Call, create: Create) -> Result<One<AcsUser>, ApiError> {
    served(call.system(), create.acs_system_id)?;
    let now = now();
    let access_schedule = create
        .access_schedule
        .map(|schedule| {
            let starts_at = schedule.starts_at.unwrap_or(now);
            match schedule.ends_at {
                Some(ends_at) if ends_at <= starts_at => {
                    Err(Invalid::parameter("access_schedule", "ends_at must be later than starts_at"))
                }
                ends_at => Ok(AccessSchedule { starts_at, ends_at }),
            }
        })
        .transpose()?;
    let mut transaction = call.begin().await?;
    if let Some(identity) = create.user_identity_id {
        user_identities::existing(&mut transaction, call.system().workspace_id, identity).await?;
    }
    let user = NewUser {
        acs_user_id: AcsUserId::random(),
        acs_system_id: create.acs_system_id,
        user_identity_id: create.user_identity_id,
        full_name: Some(create.full_name.0),
        email_address: create.email_address.or(create.email).map(|address| address.0),
        phone_number: create.phone_number.map(|number| number.0),
        access_schedule,
    };
    let user = make(call.system(), &mut transaction, &user).await?;
    transaction.commit().await?;
    Ok(One(user))
}

/// Refuses systems that the workspace does not have.
pub(super) fn served(system: SystemIds, id: AcsSystemId) -> Result<(), ApiError> {
    if id == system.acs_system_id { Ok(()) } else { Err(ApiError::no::<AcsSystem>(id)) }
}

async fn make(system: SystemIds, connection: &mut Connection, user: &NewUser) -> Result<AcsUser, ApiError> {
    let now = now();
    acs_users::create(&mut *connection, user, now).await.map_err(|error| {
        if error.is_conflict() {
            Invalid::parameter("user_identity_id", "Has an acs_user in this acs_system already").into()
        } else {
            ApiError::from(error)
        }
    })?;
    let event = UserEvent { system: system.event(), acs_user_id: user.acs_user_id };
    let happening = Happening::AcsUserCreated(event);
    events::record(&mut *connection, system.workspace_id, happening, user.user_identity_id, now).await?;
    existing(connection, system.workspace_id, user.acs_user_id).await
}

/// A person in the served system; made known to it when it is not.
pub(super) async fn of_identity(
    system: SystemIds,
    connection: &mut Connection,
    identity: &UserIdentity,
) -> Result<AcsUser, ApiError> {
    let in_system = Some(system.acs_system_id);
    if let Some(user) =
        acs_users::of_identity(&mut *connection, system.workspace_id, in_system, identity.user_identity_id).await?
    {
        return Ok(user);
    }
    let user = NewUser {
        acs_user_id: AcsUserId::random(),
        acs_system_id: system.acs_system_id,
        user_identity_id: Some(identity.user_identity_id),
        full_name: Some(identity.display_name.clone()),
        email_address: identity.email_address.clone(),
        phone_number: identity.phone_number.clone(),
        access_schedule: None,
    };
    make(system, connection, &user).await
}

/// The user with this id.
pub(super) async fn existing(
    connection: &mut Connection,
    workspace: WorkspaceId,
    id: AcsUserId,
) -> Result<AcsUser, ApiError> {
    acs_users::get(connection, workspace, id).await?.ok_or_else(|| ApiError::no::<AcsUser>(id))
}

pub(super) async fn get(call: Call, get: Get) -> Result<One<AcsUser>, ApiError> {
    let mut connection = call.read().await?;
    let workspace = call.system().workspace_id;
    let user = match (get.acs_user_id, get.user_identity_id) {
        (Some(id), _) => existing(&mut connection, workspace, id).await?,
        (None, Some(identity)) => acs_users::of_identity(&mut connection, workspace, get.acs_system_id, identity)
            .await?
            .ok_or_else(|| ApiError::no_such::<AcsUser>(json!({ "user_identity_id": identity.to_string() })))?,
        (None, None) => return Err(Invalid::parameter("acs_user_id", "Required").into()),
    };
    Ok(One(user))
}

pub(super) async fn list(call: Call, list: List) -> Result<Many<AcsUser>, ApiError> {
    let page = call.page(&list.limit, list.page_cursor.as_deref())?;
    Ok(call.answer(acs_users::list(&mut *call.read().await?, call.system().workspace_id, &list, page).await?))
}
