//! `/encoderd/v1/api_keys/…`

use super::super::now;
use crate::api::admin::{
    ApiKey, CreateKey, GRACE_SECONDS_MAX, KeyKind, ListAll, NewApiKey, RevokeKey, RotateKey, RotatedKey, Secret,
};
use crate::api::envelope::{Many, One};
use crate::api::id::{ApiKeyId, WorkspaceId};
use crate::api::time::Time;
use crate::hub::call::OwnerCall;
use crate::hub::error::{ApiError, Invalid};
use crate::keys::random_token;
use crate::store::Connection;
use crate::store::hub::keys::{self, KeyHash};
use secrecy::ExposeSecret as _;

/// How many characters of a key are shown behind what all of its kind begin with: enough to tell them from one another.
const SHOWN: usize = 8;

/// What keys begin with. The SDKs tell the kinds by it: a personal access token is what begins with `seam_at`, and what
/// follows `seam_` in an API key are hex digits, which are none of the other kinds' letters.
/// Source: `seam` 3.18.0 for Python and 1.245.0 for JavaScript, the checks of their tokens.
fn beginning(kind: KeyKind) -> &'static str {
    match kind {
        KeyKind::ApiKey => "seam_",
        KeyKind::PersonalAccessToken => "seam_at_",
    }
}

/// Makes a key.
pub(in super::super) async fn create(call: OwnerCall, create: CreateKey) -> Result<One<NewApiKey>, ApiError> {
    let workspace = match create.kind {
        KeyKind::ApiKey => Some(call.system().workspace_id),
        KeyKind::PersonalAccessToken => None,
    };
    let mut transaction = call.begin().await?;
    let made = make(&mut transaction, create.kind, workspace, create.name.0, now()).await?;
    transaction.commit().await?;
    tracing::info!(api_key_id = %made.api_key.api_key_id, prefix = made.api_key.prefix, "key made");
    Ok(One(made))
}

async fn make(
    connection: &mut Connection,
    kind: KeyKind,
    workspace_id: Option<WorkspaceId>,
    name: String,
    now: Time,
) -> Result<NewApiKey, ApiError> {
    let key = random_token(beginning(kind)).map_err(|_| ApiError::NoRandomness)?;
    let key = key.expose_secret();
    let prefix = key.get(..beginning(kind).len() + SHOWN).unwrap_or_default().to_owned();
    let api_key =
        ApiKey { api_key_id: ApiKeyId::random(), kind, workspace_id, name, prefix, created_at: now, revoked_at: None };
    keys::create(connection, &api_key, &KeyHash::of(key.as_bytes())).await?;
    Ok(NewApiKey { api_key, key: Secret(key.to_owned()) })
}

/// The workspace's keys and all personal access tokens, without what is secret of them.
pub(in super::super) async fn list(call: OwnerCall, _: ListAll) -> Result<Many<ApiKey>, ApiError> {
    let items = keys::list(&mut *call.read().await?, call.system().workspace_id).await?;
    Ok(Many { items, pagination: None })
}

/// Ends a key at once.
pub(in super::super) async fn revoke(call: OwnerCall, revoke: RevokeKey) -> Result<One<ApiKey>, ApiError> {
    let mut transaction = call.begin().await?;
    existing(&call, &mut transaction, revoke.api_key_id).await?;
    keys::revoke(&mut transaction, revoke.api_key_id, now()).await?;
    let revoked = existing(&call, &mut transaction, revoke.api_key_id).await?;
    transaction.commit().await?;
    tracing::info!(api_key_id = %revoked.api_key_id, prefix = revoked.prefix, "key revoked");
    Ok(One(revoked))
}

/// Makes a new key for an old one, which ends at once or a while later.
pub(in super::super) async fn rotate(call: OwnerCall, rotate: RotateKey) -> Result<RotatedKey, ApiError> {
    let grace = rotate.grace_seconds.unwrap_or(0);
    if grace > GRACE_SECONDS_MAX {
        let message = format!("Number must be less than or equal to {GRACE_SECONDS_MAX}");
        return Err(Invalid::parameter("grace_seconds", message).into());
    }
    let grace_ms = i64::try_from(grace.saturating_mul(1000)).unwrap_or(i64::MAX);
    let now = now();
    let mut transaction = call.begin().await?;
    let old = existing(&call, &mut transaction, rotate.api_key_id).await?;
    if old.revoked_at.is_some() {
        let message = "The key was revoked or rotated already; create a new one";
        return Err(Invalid::parameter("api_key_id", message).into());
    }
    let api_key = make(&mut transaction, old.kind, old.workspace_id, old.name, now).await?;
    keys::revoke(&mut transaction, old.api_key_id, Time::from_ms(now.ms().saturating_add(grace_ms))).await?;
    let replaced_api_key = existing(&call, &mut transaction, rotate.api_key_id).await?;
    transaction.commit().await?;
    tracing::info!(api_key_id = %old.api_key_id, prefix = old.prefix, grace, "key rotated");
    Ok(RotatedKey { api_key, replaced_api_key, ok: true })
}

async fn existing(call: &OwnerCall, connection: &mut Connection, id: ApiKeyId) -> Result<ApiKey, ApiError> {
    keys::get(connection, call.system().workspace_id, id).await?.ok_or_else(|| ApiError::no::<ApiKey>(id))
}
