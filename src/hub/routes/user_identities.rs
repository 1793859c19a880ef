//! `/user_identities/…`

use super::{acs_users, now};
use crate::api::acs_systems::AcsSystem;
use crate::api::envelope::{Many, One};
use crate::api::id::UserIdentityId;
use crate::api::user_identities::{Create, Get, List, Person, UserIdentity};
use crate::hub::Hub;
use crate::hub::error::{ApiError, Invalid};
use crate::hub::request::{Input, Pages};
use crate::store::Connection;
use crate::store::hub::user_identities;
use axum::Json;
use axum::extract::State;
use serde_json::json;

pub(super) async fn create(
    State(hub): State<Hub>,
    Input(create): Input<Create>,
) -> Result<Json<One<UserIdentity>>, ApiError> {
    let systems = create.acs_system_ids.into_values();
    if let Some(other) = systems.iter().find(|system| **system != hub.system().acs_system_id) {
        return Err(ApiError::no::<AcsSystem>(other));
    }
    let person = Person {
        email_address: create.email_address,
        full_name: create.full_name,
        phone_number: create.phone_number,
        user_identity_key: create.user_identity_key,
    };
    let mut transaction = hub.store().begin().await?;
    let identity = make(&hub, &mut transaction, &person).await?;
    if !systems.is_empty() {
        acs_users::of_identity(&hub, &mut transaction, &identity).await?;
    }
    let identity = existing(&mut transaction, identity.user_identity_id).await?;
    transaction.commit().await?;
    Ok(Json(One(identity)))
}

/// Makes a person.
pub(super) async fn make(hub: &Hub, connection: &mut Connection, person: &Person) -> Result<UserIdentity, ApiError> {
    let id = UserIdentityId::random();
    match user_identities::create(&mut *connection, id, hub.system().workspace_id, person, now()).await {
        Ok(()) => existing(connection, id).await,
        Err(error) if error.is_conflict() => {
            Err(Invalid::parameter("user_identity_key", "Belongs to another user identity already").into())
        }
        Err(error) => Err(error.into()),
    }
}

/// The person with this id.
pub(super) async fn existing(connection: &mut Connection, id: UserIdentityId) -> Result<UserIdentity, ApiError> {
    user_identities::get(connection, id).await?.ok_or_else(|| ApiError::no::<UserIdentity>(id))
}

pub(super) async fn get(State(hub): State<Hub>, Input(get): Input<Get>) -> Result<Json<One<UserIdentity>>, ApiError> {
    let mut connection = hub.store().read().await?;
    let identity = match (get.user_identity_id, get.user_identity_key) {
        (Some(id), _) => existing(&mut connection, id).await?,
        (None, Some(key)) => user_identities::by_key(&mut connection, &key)
            .await?
            .ok_or_else(|| ApiError::no_such::<UserIdentity>(json!({ "user_identity_key": key })))?,
        (None, None) => return Err(Invalid::parameter("user_identity_id", "Required").into()),
    };
    Ok(Json(One(identity)))
}

pub(super) async fn list(
    State(hub): State<Hub>,
    pages: Pages,
    Input(list): Input<List>,
) -> Result<Json<Many<UserIdentity>>, ApiError> {
    let page = pages.page(&list.limit, list.page_cursor.as_deref())?;
    Ok(pages.answer(user_identities::list(&mut *hub.store().read().await?, &list, page).await?))
}
