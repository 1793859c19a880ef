//! `/access_grants/…`

use super::acs_credentials::{CARDS_ONLY, card_of, identity_of, set_times};
use super::{acs_users, all_known, card_times, no_devices, now, spaces, user_identities};
use crate::api::AccessMode;
use crate::api::access_grants::{
    AccessGrant, Create, Delete, Get, List, RequestAccessMethod, RequestAccessMethods, Update,
};
use crate::api::acs_users::AcsUser;
use crate::api::envelope::{Done, Many, One};
use crate::api::events::{GrantEvent, GrantTimesEvent, Happening, MethodEvent};
use crate::api::id::{AccessGrantId, AccessMethodId, AcsCredentialId, SpaceId, WorkspaceId};
use crate::api::time::Time;
use crate::api::user_identities::{Person, UserIdentity};
use crate::hub::call::Call;
use crate::hub::error::{ApiError, Invalid};
use crate::hub::{attempts, grants};
use crate::store::Connection;
use crate::store::hub::access_grants::NewAccessGrant;
use crate::store::hub::access_methods::NewAccessMethod;
use crate::store::hub::acs_credentials::{NewCredential, Times};
use crate::store::hub::acs_systems::SystemIds;
use crate::store::hub::{access_grants, access_methods, acs_credentials, events};
use serde_json::json;

pub(super) async fn create(call: Call, create: Create) -> Result<One<AccessGrant>, ApiError> {
    cards_only(&create.requested_access_methods)?;
    no_devices("device_ids", &create.device_ids)?;
    let location = create.location.unwrap_or_default();
    no_devices("location", &location.device_ids)?;
    let now = now();
    let times = card_times(create.starts_at.unwrap_or(now), create.ends_at)?;
    let mut entrances = create.acs_entrance_ids.into_values();
    let workspace = call.system().workspace_id;
    let mut transaction = call.begin().await?;
    let identity = match (create.user_identity_id, create.user_identity) {
        (Some(id), None) => user_identities::existing(&mut transaction, workspace, id).await?,
        (None, Some(person)) => found_or_made(call.system(), &mut transaction, &person).await?,
        (None, None) => return Err(Invalid::parameter("user_identity_id", "Required, or user_identity").into()),
        (Some(_), Some(_)) => {
            return Err(Invalid::whole("Give either user_identity_id or user_identity, not both").into());
        }
    };
    let mut spaces = create.space_ids.into_values();
    spaces.extend(create.location_ids.into_values());
    let mut spaces = named_spaces(&mut transaction, workspace, spaces, &create.space_keys.into_values()).await?;
    let located = location.acs_entrance_ids.into_values();
    if let Some(name) = location.name {
        let space = spaces::new(workspace, name, located);
        spaces::make(call.system(), &mut transaction, &space, now).await?;
        spaces.push(space.space_id);
    } else {
        entrances.extend(located);
    }
    all_known(&mut transaction, call.system().acs_system_id, &entrances).await?;
    let user = acs_users::of_identity(call.system(), &mut transaction, &identity).await?;
    let grant = NewAccessGrant {
        access_grant_id: AccessGrantId::random(),
        workspace_id: call.system().workspace_id,
        user_identity_id: identity.user_identity_id,
        access_grant_key: create.access_grant_key.map(|key| key.0),
        reservation_key: create.reservation_key.map(|key| key.0),
        name: create.name,
        display_name: format!("Access of {}", identity.display_name),
        times,
        entrances,
        spaces,
        customization_profile_id: create.customization_profile_id,
    };
    access_grants::create(&mut transaction, &grant, now).await.map_err(|error| {
        if error.is_conflict() {
            Invalid::parameter("access_grant_key", "Belongs to another access grant already").into()
        } else {
            ApiError::from(error)
        }
    })?;
    let happening = Happening::AccessGrantCreated(GrantEvent { access_grant_id: grant.access_grant_id });
    events::record(&mut transaction, grant.workspace_id, happening, Some(grant.user_identity_id), now).await?;
    let made = existing(&mut transaction, workspace, grant.access_grant_id).await?;
    for _ in &create.requested_access_methods {
        add_card(call.system(), &mut transaction, &made, &user, now).await?;
    }
    let made = existing(&mut transaction, workspace, grant.access_grant_id).await?;
    transaction.commit().await?;
    Ok(One(made))
}

/// Refuses what no encoder can make.
fn cards_only(requested: &[RequestAccessMethod]) -> Result<(), Invalid> {
    if requested.is_empty() {
        return Err(Invalid::parameter("requested_access_methods", "Must contain at least 1 element(s)"));
    }
    let wrong = |index: usize, name: &str, message: &str| {
        let path = ["requested_access_methods", &index.to_string(), name];
        Invalid::at(path.map(str::to_owned).to_vec(), message)
    };
    for (index, method) in requested.iter().enumerate() {
        if method.mode != AccessMode::Card {
            return Err(wrong(index, "mode", CARDS_ONLY));
        }
        if method.code.is_some() {
            return Err(wrong(index, "code", "A card has no code"));
        }
    }
    Ok(())
}

/// The spaces with these ids and with these keys.
async fn named_spaces(
    connection: &mut Connection,
    workspace: WorkspaceId,
    ids: Vec<SpaceId>,
    keys: &[String],
) -> Result<Vec<SpaceId>, ApiError> {
    for id in &ids {
        spaces::existing(&mut *connection, workspace, *id).await?;
    }
    let mut named = ids;
    for key in keys {
        named.push(spaces::named(&mut *connection, workspace, None, Some(key)).await?.space_id);
    }
    Ok(named)
}

pub(super) async fn request_access_methods(
    call: Call,
    request: RequestAccessMethods,
) -> Result<One<AccessGrant>, ApiError> {
    cards_only(&request.requested_access_methods)?;
    let (workspace, now) = (call.system().workspace_id, now());
    let mut transaction = call.begin().await?;
    let grant = existing(&mut transaction, workspace, request.access_grant_id).await?;
    let identity = user_identities::existing(&mut transaction, workspace, grant.user_identity_id).await?;
    let user = acs_users::of_identity(call.system(), &mut transaction, &identity).await?;
    for _ in &request.requested_access_methods {
        add_card(call.system(), &mut transaction, &grant, &user, now).await?;
    }
    let grant = existing(&mut transaction, workspace, grant.access_grant_id).await?;
    transaction.commit().await?;
    Ok(One(grant))
}

pub(super) async fn remove(call: Call, delete: Delete) -> Result<Done, ApiError> {
    let mut transaction = call.begin().await?;
    let grant = existing(&mut transaction, call.system().workspace_id, delete.access_grant_id).await?;
    let gone = grants::remove(&mut transaction, &grant, now()).await?;
    transaction.commit().await?;
    attempts::credentials_deleted(call.hub(), &gone).await?;
    Ok(Done::default())
}

/// The person with the same key, or a new one.
async fn found_or_made(
    system: SystemIds,
    connection: &mut Connection,
    person: &Person,
) -> Result<UserIdentity, ApiError> {
    if let Some(key) = &person.user_identity_key
        && let Some(known) =
            crate::store::hub::user_identities::by_key(&mut *connection, system.workspace_id, &key.0).await?
    {
        return Ok(known);
    }
    user_identities::make(system, connection, person).await
}

/// Adds an access method with the credential behind it.
async fn add_card(
    system: SystemIds,
    connection: &mut Connection,
    grant: &AccessGrant,
    user: &AcsUser,
    now: Time,
) -> Result<(), ApiError> {
    let credential = NewCredential {
        acs_credential_id: AcsCredentialId::random(),
        acs_system_id: system.acs_system_id,
        acs_user_id: Some(user.acs_user_id),
        user_identity_id: identity_of(Some(user)),
        display_name: card_of(Some(user)),
        times: Times { starts_at: grant.starts_at, ends_at: grant.ends_at },
        entrances: access_grants::entrances(&mut *connection, grant.access_grant_id).await?,
    };
    acs_credentials::create(&mut *connection, &credential, now).await?;
    let method = NewAccessMethod {
        access_method_id: AccessMethodId::random(),
        access_grant_id: grant.access_grant_id,
        acs_credential_id: credential.acs_credential_id,
        display_name: credential.display_name,
    };
    access_methods::create(&mut *connection, &method, now).await?;
    let event = MethodEvent {
        access_method_id: method.access_method_id,
        access_grant_ids: vec![grant.access_grant_id],
        access_grant_keys: grant.access_grant_key.clone().into_iter().collect(),
    };
    for happening in [Happening::AccessMethodCreated(event.clone()), Happening::AccessMethodCardEncodingRequired(event)]
    {
        events::record(&mut *connection, grant.workspace_id, happening, Some(grant.user_identity_id), now).await?;
    }
    Ok(())
}

async fn existing(
    connection: &mut Connection,
    workspace: WorkspaceId,
    id: AccessGrantId,
) -> Result<AccessGrant, ApiError> {
    access_grants::get(connection, workspace, id).await?.ok_or_else(|| ApiError::no::<AccessGrant>(id))
}

/// The grant with this id or with this key.
async fn named(
    connection: &mut Connection,
    workspace: WorkspaceId,
    id: Option<AccessGrantId>,
    key: Option<&str>,
) -> Result<AccessGrant, ApiError> {
    match (id, key) {
        (Some(id), _) => existing(connection, workspace, id).await,
        (None, Some(key)) => access_grants::by_key(connection, workspace, key)
            .await?
            .ok_or_else(|| ApiError::no_such::<AccessGrant>(json!({ "access_grant_key": key }))),
        (None, None) => Err(Invalid::parameter("access_grant_id", "Required").into()),
    }
}

pub(super) async fn get(call: Call, get: Get) -> Result<One<AccessGrant>, ApiError> {
    let mut connection = call.read().await?;
    Ok(One(named(&mut connection, call.system().workspace_id, get.access_grant_id, get.access_grant_key.as_deref())
        .await?))
}

pub(super) async fn list(call: Call, list: List) -> Result<Many<AccessGrant>, ApiError> {
    let page = call.page(&list.limit, list.page_cursor.as_deref())?;
    Ok(call.answer(access_grants::list(&mut *call.read().await?, call.system().workspace_id, &list, page).await?))
}

pub(super) async fn update(call: Call, update: Update) -> Result<Done, ApiError> {
    let mut transaction = call.begin().await?;
    let grant =
        named(&mut transaction, call.system().workspace_id, update.access_grant_id, update.access_grant_key.as_deref())
            .await?;
    let times = card_times(update.starts_at.unwrap_or(grant.starts_at), update.ends_at.apply(grant.ends_at))?;
    let name = update.name.apply(grant.name);
    access_grants::update(&mut transaction, grant.access_grant_id, times, name.as_deref()).await?;
    if (times.starts_at, times.ends_at) != (grant.starts_at, grant.ends_at) {
        for credential in acs_credentials::of_grant(&mut transaction, grant.access_grant_id).await? {
            set_times(&mut transaction, &credential, times).await?;
        }
        let happening = Happening::AccessGrantAccessTimesChanged(GrantTimesEvent {
            access_grant_id: grant.access_grant_id,
            access_grant_key: grant.access_grant_key,
            starts_at: times.starts_at,
            ends_at: times.ends_at,
        });
        let person = Some(grant.user_identity_id);
        events::record(&mut transaction, grant.workspace_id, happening, person, now()).await?;
    }
    transaction.commit().await?;
    Ok(Done::default())
}
