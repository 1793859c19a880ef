//! Access methods: the cards of access grants.

use super::Columns as _;
use super::select::{Page, Paged, Select, each};
use crate::api::access_methods::{AccessMethod, List};
use crate::api::id::{AccessGrantId, AccessMethodId, AcsCredentialId, WorkspaceId};
use crate::api::time::Time;
use crate::api::{AccessMode, Nothing};
use crate::store::{Connection, StoreError};
use sqlx::any::AnyRow;

const SELECT: &str = "SELECT m.access_method_id, m.access_grant_id, m.acs_credential_id, m.display_name, m.created_at,
    g.workspace_id, c.issued_at, c.deleted_at
    FROM access_method m JOIN access_grant g ON g.access_grant_id = m.access_grant_id
    JOIN acs_credential c ON c.acs_credential_id = m.acs_credential_id";

/// An access method to be made.
#[derive(Clone, Debug)]
pub struct NewAccessMethod {
    /// The id it gets.
    pub access_method_id: AccessMethodId,
    /// Its grant.
    pub access_grant_id: AccessGrantId,
    /// The credential behind it.
    pub acs_credential_id: AcsCredentialId,
    /// A name that is never empty.
    pub display_name: String,
}

/// One access method.
pub async fn get(
    connection: &mut Connection,
    workspace: WorkspaceId,
    id: AccessMethodId,
) -> Result<Option<AccessMethod>, StoreError> {
    let mut select = present(workspace);
    select.and_id("m.access_method_id = $", Some(id));
    select.fetch("", connection).await?.first().map(object).transpose()
}

/// The credential behind an access method.
pub async fn credential_of(
    connection: &mut Connection,
    workspace: WorkspaceId,
    id: AccessMethodId,
) -> Result<Option<AcsCredentialId>, StoreError> {
    let mut select = present(workspace);
    select.and_id("m.access_method_id = $", Some(id));
    select.fetch("", connection).await?.first().map(|row| row.id("acs_credential_id")).transpose()
}

/// The grant of an access method.
pub async fn grant_of(
    connection: &mut Connection,
    workspace: WorkspaceId,
    id: AccessMethodId,
) -> Result<Option<AccessGrantId>, StoreError> {
    let mut select = present(workspace);
    select.and_id("m.access_method_id = $", Some(id));
    select.fetch("", connection).await?.first().map(|row| row.id("access_grant_id")).transpose()
}

/// Access methods.
pub async fn list(
    connection: &mut Connection,
    workspace: WorkspaceId,
    filter: &List,
    page: Page,
) -> Result<Paged<AccessMethod>, StoreError> {
    let mut select = present(workspace);
    select.and_elsewhere(&[&filter.access_code_id, &filter.device_id]);
    select.and_id(
        "m.access_grant_id IN (SELECT access_grant_id FROM access_grant_space WHERE space_id = $)",
        filter.space_id,
    );
    select.and_id("m.access_grant_id = $", filter.access_grant_id);
    select.and_maybe("g.access_grant_key = $", filter.access_grant_key.as_deref());
    select.and_id(
        "m.acs_credential_id IN (SELECT acs_credential_id FROM acs_credential_entrance WHERE acs_entrance_id = $)",
        filter.acs_entrance_id,
    );
    each(&select.page("m", "created_at", "access_method_id", page, connection).await?, object)
}

/// The access methods of a grant.
pub async fn of_grant(connection: &mut Connection, grant: AccessGrantId) -> Result<Vec<AccessMethod>, StoreError> {
    let mut select = Select::new(SELECT);
    select.and("m.deleted_at IS NULL");
    select.and_id("m.access_grant_id = $", Some(grant));
    select.fetch(" ORDER BY m.created_at, m.access_method_id", connection).await?.iter().map(object).collect()
}

/// Makes an access method.
pub async fn create(connection: &mut Connection, method: &NewAccessMethod, now: Time) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO access_method (access_method_id, access_grant_id, acs_credential_id, display_name, created_at)
         VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(method.access_method_id.to_string())
    .bind(method.access_grant_id.to_string())
    .bind(method.acs_credential_id.to_string())
    .bind(method.display_name.clone())
    .bind(now.ms())
    .execute(connection)
    .await?;
    Ok(())
}

/// Marks an access method as deleted.
pub async fn delete(connection: &mut Connection, id: AccessMethodId, now: Time) -> Result<(), StoreError> {
    sqlx::query("UPDATE access_method SET deleted_at = $1 WHERE access_method_id = $2")
        .bind(now.ms())
        .bind(id.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

/// Puts another credential behind an access method.
pub async fn set_credential(
    connection: &mut Connection,
    id: AccessMethodId,
    credential: AcsCredentialId,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE access_method SET acs_credential_id = $1 WHERE access_method_id = $2")
        .bind(credential.to_string())
        .bind(id.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

/// Access methods that were not deleted; those of a deleted grant were deleted with it.
fn present(workspace: WorkspaceId) -> Select {
    let mut select = Select::new(SELECT);
    select.and_id("g.workspace_id = $", Some(workspace));
    select.and("m.deleted_at IS NULL");
    select
}

fn object(row: &AnyRow) -> Result<AccessMethod, StoreError> {
    let issued_at = row.maybe_time("issued_at")?;
    let deleted = row.maybe_time("deleted_at")?.is_some();
    Ok(AccessMethod {
        access_method_id: row.id("access_method_id")?,
        workspace_id: row.id("workspace_id")?,
        display_name: row.text("display_name")?,
        mode: AccessMode::Card,
        created_at: row.time("created_at")?,
        issued_at,
        is_issued: issued_at.is_some(),
        is_encoding_required: true,
        is_ready_for_encoding: issued_at.is_none() && !deleted,
        is_assignment_required: false,
        is_ready_for_assignment: false,
        warnings: Nothing::default(),
        errors: Nothing::default(),
        pending_mutations: Nothing::default(),
    })
}
