//! People.

use super::Columns as _;
use super::select::{Page, Paged, Select};
use crate::api::Nothing;
use crate::api::id::{UserIdentityId, WorkspaceId};
use crate::api::time::Time;
use crate::api::user_identities::{List, Person, UserIdentity};
use crate::store::{Connection, StoreError};
use sqlx::any::AnyRow;

const SELECT: &str = "SELECT u.user_identity_id, u.workspace_id, u.user_identity_key, u.email_address, u.phone_number,
    u.full_name, u.created_at FROM user_identity u";

/// One person.
pub async fn get(
    connection: &mut Connection,
    workspace: WorkspaceId,
    id: UserIdentityId,
) -> Result<Option<UserIdentity>, StoreError> {
    let mut select = present(workspace);
    select.and_id("u.user_identity_id = $", Some(id));
    one(select, connection).await
}

/// The person with this key.
pub async fn by_key(
    connection: &mut Connection,
    workspace: WorkspaceId,
    key: &str,
) -> Result<Option<UserIdentity>, StoreError> {
    let mut select = present(workspace);
    select.and_value("u.user_identity_key = $", key);
    one(select, connection).await
}

/// People.
pub async fn list(
    connection: &mut Connection,
    workspace: WorkspaceId,
    filter: &List,
    page: Page,
) -> Result<Paged<UserIdentity>, StoreError> {
    let mut select = present(workspace);
    select.and_elsewhere(&[&filter.credential_manager_acs_system_id]);
    select.and_any_of("u.user_identity_id", filter.user_identity_ids.0.as_deref());
    select.and_maybe("u.created_at < $", filter.created_before);
    select.and_search(
        "LOWER(COALESCE(u.full_name, '')) LIKE LOWER($) ESCAPE '\\' OR LOWER(COALESCE(u.email_address, '')) LIKE LOWER($) ESCAPE '\\'
         OR COALESCE(u.phone_number, '') LIKE LOWER($) ESCAPE '\\' OR LOWER(COALESCE(u.user_identity_key, '')) LIKE LOWER($) ESCAPE '\\'",
        filter.search.as_ref().map(|search| search.0.as_str()),
    );
    let page = select.page("u", "created_at", "user_identity_id", page, connection).await?;
    let mut items = Vec::with_capacity(page.items.len());
    for row in &page.items {
        items.push(object(row, connection).await?);
    }
    Ok(Paged { items, next: page.next })
}

/// Makes a person.
///
/// # Errors
/// A conflict when the key belongs to somebody else.
pub async fn create(
    connection: &mut Connection,
    id: UserIdentityId,
    workspace: WorkspaceId,
    person: &Person,
    now: Time,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO user_identity
         (user_identity_id, workspace_id, user_identity_key, email_address, phone_number, full_name, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(id.to_string())
    .bind(workspace.to_string())
    .bind(person.user_identity_key.as_ref().map(|key| key.0.clone()))
    .bind(person.email_address.as_ref().map(|address| address.0.clone()))
    .bind(person.phone_number.as_ref().map(|number| number.0.clone()))
    .bind(person.full_name.as_ref().map(|name| name.0.clone()))
    .bind(now.ms())
    .execute(connection)
    .await?;
    Ok(())
}

/// Changes what is said of a person.
///
/// # Errors
/// A conflict when the key belongs to somebody else.
pub async fn update(connection: &mut Connection, id: UserIdentityId, person: &Person) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE user_identity SET user_identity_key = $1, email_address = $2, phone_number = $3, full_name = $4
         WHERE user_identity_id = $5",
    )
    .bind(person.user_identity_key.as_ref().map(|key| key.0.clone()))
    .bind(person.email_address.as_ref().map(|address| address.0.clone()))
    .bind(person.phone_number.as_ref().map(|number| number.0.clone()))
    .bind(person.full_name.as_ref().map(|name| name.0.clone()))
    .bind(id.to_string())
    .execute(connection)
    .await?;
    Ok(())
}

/// Marks a person as deleted; nothing of him stays but the id, and whoever he was in an access system is nobody's.
pub async fn delete(connection: &mut Connection, id: UserIdentityId, now: Time) -> Result<(), StoreError> {
    for statement in [
        "UPDATE acs_user SET user_identity_id = NULL WHERE user_identity_id = $1",
        "UPDATE acs_credential SET user_identity_id = NULL WHERE user_identity_id = $1",
    ] {
        sqlx::query(statement).bind(id.to_string()).execute(&mut *connection).await?;
    }
    sqlx::query(
        "UPDATE user_identity SET deleted_at = $1, user_identity_key = NULL, email_address = NULL, phone_number = NULL,
         full_name = NULL WHERE user_identity_id = $2",
    )
    .bind(now.ms())
    .bind(id.to_string())
    .execute(connection)
    .await?;
    Ok(())
}

fn present(workspace: WorkspaceId) -> Select {
    let mut select = Select::new(SELECT);
    select.and_id("u.workspace_id = $", Some(workspace));
    select.and("u.deleted_at IS NULL");
    select
}

async fn one(select: Select, connection: &mut Connection) -> Result<Option<UserIdentity>, StoreError> {
    match select.fetch("", connection).await?.first() {
        Some(row) => Ok(Some(object(row, connection).await?)),
        None => Ok(None),
    }
}

async fn object(row: &AnyRow, connection: &mut Connection) -> Result<UserIdentity, StoreError> {
    let user_identity_id: UserIdentityId = row.id("user_identity_id")?;
    let (key, email_address, phone_number, full_name) = (
        row.maybe_text("user_identity_key")?,
        row.maybe_text("email_address")?,
        row.maybe_text("phone_number")?,
        row.maybe_text("full_name")?,
    );
    let display_name = [&full_name, &email_address, &phone_number, &key]
        .into_iter()
        .flatten()
        .find(|name| !name.is_empty())
        .map_or_else(|| "Guest".to_owned(), Clone::clone);
    let users = sqlx::query("SELECT acs_user_id FROM acs_user WHERE user_identity_id = $1 ORDER BY created_at")
        .bind(user_identity_id.to_string())
        .fetch_all(connection)
        .await?;
    Ok(UserIdentity {
        user_identity_id,
        user_identity_key: key,
        email_address,
        phone_number,
        full_name,
        display_name,
        created_at: row.time("created_at")?,
        workspace_id: row.id("workspace_id")?,
        errors: Nothing::default(),
        warnings: Nothing::default(),
        acs_user_ids: users.iter().map(|user| user.id("acs_user_id")).collect::<Result<_, _>>()?,
    })
}
