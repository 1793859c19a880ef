//! People in access systems.

use super::Columns as _;
use super::select::{Page, Paged, Select, each};
use crate::api::Nothing;
use crate::api::acs_users::{AccessSchedule, AcsUser, AcsUserIdentity, List};
use crate::api::id::{AcsSystemId, AcsUserId, UserIdentityId, WorkspaceId};
use crate::api::time::Time;
use crate::store::{Connection, StoreError};
use sqlx::any::AnyRow;

const SELECT: &str = "SELECT a.acs_user_id, a.acs_system_id, a.full_name, a.email_address, a.phone_number,
    a.access_starts_at, a.access_ends_at, a.created_at, s.connected_account_id, s.workspace_id,
    a.user_identity_id, u.full_name AS user_identity_full_name, u.email_address AS user_identity_email_address,
    u.phone_number AS user_identity_phone_number
    FROM acs_user a JOIN acs_system s ON s.acs_system_id = a.acs_system_id
    LEFT JOIN user_identity u ON u.user_identity_id = a.user_identity_id";

/// A person to be made known to an access system.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// The id it gets.
    pub acs_user_id: AcsUserId,
    /// The system.
    pub acs_system_id: AcsSystemId,
    /// The person behind it.
    pub user_identity_id: Option<UserIdentityId>,
    /// Name.
    pub full_name: Option<String>,
    /// E-mail address.
    pub email_address: Option<String>,
    /// Phone number.
    pub phone_number: Option<String>,
    /// From when to when.
    pub access_schedule: Option<AccessSchedule>,
}

/// One of them.
pub async fn get(
    connection: &mut Connection,
    workspace: WorkspaceId,
    id: AcsUserId,
) -> Result<Option<AcsUser>, StoreError> {
    let mut select = present(workspace);
    select.and_id("a.acs_user_id = $", Some(id));
    select.fetch("", connection).await?.first().map(object).transpose()
}

/// A person in a system; in the first system when none is named.
pub async fn of_identity(
    connection: &mut Connection,
    workspace: WorkspaceId,
    system: Option<AcsSystemId>,
    identity: UserIdentityId,
) -> Result<Option<AcsUser>, StoreError> {
    let mut select = present(workspace);
    select.and_id("a.acs_system_id = $", system);
    select.and_id("a.user_identity_id = $", Some(identity));
    select.fetch(" ORDER BY a.created_at, a.acs_user_id LIMIT 1", connection).await?.first().map(object).transpose()
}

/// All of them.
pub async fn list(
    connection: &mut Connection,
    workspace: WorkspaceId,
    filter: &List,
    page: Page,
) -> Result<Paged<AcsUser>, StoreError> {
    let mut select = present(workspace);
    select.and_id("a.acs_system_id = $", filter.acs_system_id);
    select.and_maybe("a.created_at < $", filter.created_before);
    select.and_id("a.user_identity_id = $", filter.user_identity_id);
    select.and_maybe("u.email_address = $", filter.user_identity_email_address.as_deref());
    select.and_maybe("u.phone_number = $", filter.user_identity_phone_number.as_deref());
    select.and_search(
        "LOWER(COALESCE(a.full_name, '')) LIKE LOWER($) ESCAPE '\\' OR LOWER(COALESCE(a.email_address, '')) LIKE LOWER($) ESCAPE '\\'
         OR COALESCE(a.phone_number, '') LIKE LOWER($) ESCAPE '\\'",
        filter.search.as_ref().map(|search| search.0.as_str()),
    );
    each(&select.page("a", "created_at", "acs_user_id", page, connection).await?, object)
}

/// Makes a person known to a system.
///
/// # Errors
/// A conflict when the person is known to it already.
pub async fn create(connection: &mut Connection, user: &NewUser, now: Time) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO acs_user (acs_user_id, acs_system_id, user_identity_id, full_name, email_address, phone_number,
         access_starts_at, access_ends_at, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(user.acs_user_id.to_string())
    .bind(user.acs_system_id.to_string())
    .bind(user.user_identity_id.map(|id| id.to_string()))
    .bind(user.full_name.clone())
    .bind(user.email_address.clone())
    .bind(user.phone_number.clone())
    .bind(user.access_schedule.as_ref().map(|schedule| schedule.starts_at.ms()))
    .bind(user.access_schedule.as_ref().and_then(|schedule| schedule.ends_at).map(Time::ms))
    .bind(now.ms())
    .execute(connection)
    .await?;
    Ok(())
}

/// What is said of a person.
#[derive(Clone, Debug)]
pub struct Details {
    /// Name.
    pub full_name: Option<String>,
    /// E-mail address.
    pub email_address: Option<String>,
    /// Phone number.
    pub phone_number: Option<String>,
    /// From when to when.
    pub access_schedule: Option<AccessSchedule>,
}

/// Changes what is said of a person.
pub async fn update(connection: &mut Connection, id: AcsUserId, details: &Details) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE acs_user SET full_name = $1, email_address = $2, phone_number = $3, access_starts_at = $4,
         access_ends_at = $5 WHERE acs_user_id = $6",
    )
    .bind(details.full_name.clone())
    .bind(details.email_address.clone())
    .bind(details.phone_number.clone())
    .bind(details.access_schedule.as_ref().map(|schedule| schedule.starts_at.ms()))
    .bind(details.access_schedule.as_ref().and_then(|schedule| schedule.ends_at).map(Time::ms))
    .bind(id.to_string())
    .execute(connection)
    .await?;
    Ok(())
}

/// Says who a person in a system is; his credentials are that person's then.
///
/// # Errors
/// A conflict when the system knows that person as somebody else already.
pub async fn set_identity(
    connection: &mut Connection,
    id: AcsUserId,
    identity: UserIdentityId,
) -> Result<(), StoreError> {
    for statement in [
        "UPDATE acs_user SET user_identity_id = $1 WHERE acs_user_id = $2",
        "UPDATE acs_credential SET user_identity_id = $1 WHERE acs_user_id = $2",
    ] {
        sqlx::query(statement).bind(identity.to_string()).bind(id.to_string()).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Marks a person in a system as deleted; nothing of him stays but the id.
pub async fn delete(connection: &mut Connection, id: AcsUserId, now: Time) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE acs_user SET deleted_at = $1, user_identity_id = NULL, full_name = NULL, email_address = NULL,
         phone_number = NULL WHERE acs_user_id = $2",
    )
    .bind(now.ms())
    .bind(id.to_string())
    .execute(connection)
    .await?;
    Ok(())
}

fn present(workspace: WorkspaceId) -> Select {
    let mut select = Select::new(SELECT);
    select.and_id("s.workspace_id = $", Some(workspace));
    select.and("a.deleted_at IS NULL");
    select
}

fn object(row: &AnyRow) -> Result<AcsUser, StoreError> {
    let (full_name, email_address, phone_number) =
        (row.maybe_text("full_name")?, row.maybe_text("email_address")?, row.maybe_text("phone_number")?);
    let identity = match row.maybe_id::<UserIdentityId>("user_identity_id")? {
        Some(user_identity_id) => Some(AcsUserIdentity {
            user_identity_id,
            user_identity_full_name: row.maybe_text("user_identity_full_name")?,
            user_identity_email_address: row.maybe_text("user_identity_email_address")?,
            user_identity_phone_number: row.maybe_text("user_identity_phone_number")?,
        }),
        None => None,
    };
    let display_name = [&full_name, &email_address, &phone_number]
        .into_iter()
        .flatten()
        .find(|name| !name.is_empty())
        .map_or_else(|| "Guest".to_owned(), Clone::clone);
    let access_ends_at = row.maybe_time("access_ends_at")?;
    Ok(AcsUser {
        acs_user_id: row.id("acs_user_id")?,
        acs_system_id: row.id("acs_system_id")?,
        connected_account_id: row.id("connected_account_id")?,
        workspace_id: row.id("workspace_id")?,
        display_name,
        created_at: row.time("created_at")?,
        is_managed: true,
        is_suspended: false,
        last_successful_sync_at: None,
        errors: Nothing::default(),
        warnings: Nothing::default(),
        full_name,
        email_address,
        phone_number,
        access_schedule: row
            .maybe_time("access_starts_at")?
            .map(|starts_at| AccessSchedule { starts_at, ends_at: access_ends_at }),
        identity,
    })
}
