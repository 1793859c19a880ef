//! `/acs/users/…`

use super::{now, user_identities};
use crate::api::acs_systems::AcsSystem;
use crate::api::acs_users::{AccessSchedule, AcsUser, Create, Get, List, Update};
use crate::api::envelope::{Done, Many, One};
use crate::api::events::{Happening, UserEvent};
use crate::api::id::{AcsSystemId, AcsUserId, WorkspaceId};
use crate::api::parameters::Change;
use crate::api::time::Time;
use crate::api::user_identities::UserIdentity;
use crate::hub::call::Call;
use crate::hub::error::{ApiError, Invalid};
use crate::hub::{attempts, credentials};
use crate::store::Connection;
use crate::store::hub::acs_systems::SystemIds;
use crate::store::hub::acs_users::{self, Details, NewUser};
use crate::store::hub::{acs_credentials, events};
use serde_json::json;

pub(super) async fn create(call: Call, create: Create) -> Result<One<AcsUser>, ApiError> {
    served(call.system(), create.acs_system_id)?;
    if create.acs_access_group_ids.0.is_some_and(|groups| !groups.is_empty()) {
        return Err(Invalid::parameter("acs_access_group_ids", "There are no access groups here").into());
    }
    let now = now();
    let access_schedule = create
        .access_schedule
        .map(|schedule| in_order(schedule.starts_at.unwrap_or(now), schedule.ends_at))
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

fn in_order(starts_at: Time, ends_at: Option<Time>) -> Result<AccessSchedule, Invalid> {
    if ends_at.is_some_and(|ends_at| ends_at <= starts_at) {
        return Err(Invalid::parameter("access_schedule", "ends_at must be later than starts_at"));
    }
    Ok(AccessSchedule { starts_at, ends_at })
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
    Ok(One(named(call.system(), &mut *call.read().await?, &get).await?))
}

/// The user with this id, or who a person is in a system. What is given besides must fit: nobody else is meant.
async fn named(system: SystemIds, connection: &mut Connection, get: &Get) -> Result<AcsUser, ApiError> {
    if let Some(named) = get.acs_system_id {
        served(system, named)?;
    }
    let identity = get.user_identity_id;
    let user = match (get.acs_user_id, identity) {
        (Some(id), _) => acs_users::get(connection, system.workspace_id, id).await?,
        (None, Some(identity)) => {
            acs_users::of_identity(connection, system.workspace_id, get.acs_system_id, identity).await?
        }
        (None, None) => return Err(Invalid::parameter("acs_user_id", "Required").into()),
    };
    let is_meant = |user: &AcsUser| {
        identity.is_none() || identity == user.identity.as_ref().map(|identity| identity.user_identity_id)
    };
    user.filter(is_meant).ok_or_else(|| match get.acs_user_id {
        Some(id) => ApiError::no::<AcsUser>(id),
        None => ApiError::no_such::<AcsUser>(json!({ "user_identity_id": identity })),
    })
}

pub(super) async fn update(call: Call, update: Update) -> Result<Done, ApiError> {
    if let Some(elsewhere) = update.hid_acs_system_id {
        return Err(ApiError::no::<AcsSystem>(elsewhere));
    }
    let access_schedule = match update.access_schedule {
        Change::Keep => Change::Keep,
        Change::Clear => Change::Clear,
        Change::Set(schedule) => Change::Set(in_order(schedule.starts_at, Some(schedule.ends_at))?),
    };
    let which = Get {
        acs_user_id: update.acs_user_id,
        acs_system_id: update.acs_system_id,
        user_identity_id: update.user_identity_id,
    };
    let mut transaction = call.begin().await?;
    let user = named(call.system(), &mut transaction, &which).await?;
    let details = Details {
        full_name: update.full_name.map(|name| name.0).or(user.full_name),
        email_address: update.email_address.or(update.email).map(|address| address.0).or(user.email_address),
        phone_number: update.phone_number.map(|number| number.0).or(user.phone_number),
        access_schedule: access_schedule.apply(user.access_schedule),
    };
    acs_users::update(&mut transaction, user.acs_user_id, &details).await?;
    transaction.commit().await?;
    Ok(Done::default())
}

/// Takes a person out of a system, with all credentials there.
pub(super) async fn remove(call: Call, get: Get) -> Result<Done, ApiError> {
    let (system, now) = (call.system(), now());
    let mut transaction = call.begin().await?;
    let user = named(system, &mut transaction, &get).await?;
    let mut gone = Vec::new();
    for credential in acs_credentials::of_user(&mut transaction, user.acs_user_id).await? {
        credentials::remove(&mut transaction, &credential, now).await?;
        gone.push(credential.acs_credential_id);
    }
    acs_users::delete(&mut transaction, user.acs_user_id, now).await?;
    let happening = Happening::AcsUserDeleted(UserEvent { system: system.event(), acs_user_id: user.acs_user_id });
    let person = user.identity.map(|identity| identity.user_identity_id);
    events::record(&mut transaction, system.workspace_id, happening, person, now).await?;
    transaction.commit().await?;
    attempts::credentials_deleted(call.hub(), &gone).await?;
    Ok(Done::default())
}

pub(super) async fn list(call: Call, list: List) -> Result<Many<AcsUser>, ApiError> {
    let page = call.page(&list.limit, list.page_cursor.as_deref())?;
    Ok(call.answer(acs_users::list(&mut *call.read().await?, call.system().workspace_id, &list, page).await?))
}
