//! `/acs/credentials/…`

use super::{acs_users, all_known, card_times, now, user_identities};
use crate::api::AccessMode;
use crate::api::acs_credentials::{AcsCredential, Create, Get, List, Update};
use crate::api::acs_users::AcsUser;
use crate::api::envelope::{Done, Many, One};
use crate::api::events::Happening;
use crate::api::id::{AcsCredentialId, WorkspaceId};
use crate::hub::call::Call;
use crate::hub::error::{ApiError, Invalid};
use crate::hub::{attempts, credentials};
use crate::store::Connection;
use crate::store::hub::acs_credentials::{self, Credential, NewCredential, Times};
use crate::store::hub::events;

/// What is said to everything that is not a card.
pub(super) const CARDS_ONLY: &str = "Only `card` is made here: an encoder writes cards and nothing else";

pub(super) async fn create(call: Call, create: Create) -> Result<One<AcsCredential>, ApiError> {
    if create.access_method != AccessMode::Card {
        return Err(Invalid::parameter("access_method", CARDS_ONLY).into());
    }
    refuse_code(create.code.as_deref())?;
    let now = now();
    let times = card_times(create.starts_at.unwrap_or(now), create.ends_at)?;
    if let Some(system) = create.acs_system_id {
        acs_users::served(call.system(), system)?;
    }
    let entrances = create.allowed_acs_entrance_ids.into_values();
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
    all_known(&mut transaction, call.system().acs_system_id, &entrances).await?;
    let credential = NewCredential {
        acs_credential_id: AcsCredentialId::random(),
        acs_system_id: call.system().acs_system_id,
        acs_user_id: user.as_ref().map(|user| user.acs_user_id),
        user_identity_id: identity_of(user.as_ref()),
        display_name: card_of(user.as_ref()),
        times,
        entrances,
    };
    acs_credentials::create(&mut transaction, &credential, now).await?;
    let credential = existing(&mut transaction, call.system().workspace_id, credential.acs_credential_id).await?;
    transaction.commit().await?;
    Ok(One(credentials::object(&credential)))
}

/// The person behind a user.
pub(super) fn identity_of(user: Option<&AcsUser>) -> Option<crate::api::id::UserIdentityId> {
    user.and_then(|user| user.identity.as_ref()).map(|identity| identity.user_identity_id)
}

/// A name for a card.
pub(super) fn card_of(user: Option<&AcsUser>) -> String {
    user.map_or_else(|| "Card".to_owned(), |user| format!("Card of {}", user.display_name))
}

fn refuse_code(code: Option<&str>) -> Result<(), Invalid> {
    if code.is_some() { Err(Invalid::parameter("code", "A card has no code")) } else { Ok(()) }
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
    let now = now();
    let mut transaction = call.begin().await?;
    let credential = existing(&mut transaction, call.system().workspace_id, get.acs_credential_id).await?;
    acs_credentials::delete(&mut transaction, credential.acs_credential_id, now).await?;
    let happening = Happening::AcsCredentialDeleted(credentials::event(&credential));
    let (workspace, person) = (credential.system.workspace_id, credential.user_identity_id);
    events::record(&mut transaction, workspace, happening, person, now).await?;
    transaction.commit().await?;
    attempts::credential_deleted(call.hub(), credential.acs_credential_id).await?;
    Ok(Done::default())
}
