//! Access grants.

use super::select::{Page, Paged, Select};
use super::{Columns as _, access_methods};
use crate::api::access_grants::{AccessGrant, List, RequestedAccessMethod};
use crate::api::id::{AccessGrantId, AcsEntranceId, UserIdentityId, WorkspaceId};
use crate::api::time::Time;
use crate::api::{AccessMode, Nothing};
use crate::store::hub::acs_credentials::Times;
use crate::store::{Connection, StoreError};
use sqlx::any::AnyRow;

const SELECT: &str = "SELECT g.access_grant_id, g.workspace_id, g.user_identity_id, g.access_grant_key,
    g.reservation_key, g.name, g.display_name, g.starts_at, g.ends_at, g.created_at FROM access_grant g";

/// An access grant to be made.
#[derive(Clone, Debug)]
pub struct NewAccessGrant {
    /// The id it gets.
    pub access_grant_id: AccessGrantId,
    /// Its workspace.
    pub workspace_id: WorkspaceId,
    /// Whose.
    pub user_identity_id: UserIdentityId,
    /// The caller's own key.
    pub access_grant_key: Option<String>,
    /// The caller's reservation.
    pub reservation_key: Option<String>,
    /// The caller's name for it.
    pub name: Option<String>,
    /// A name that is never empty.
    pub display_name: String,
    /// When it opens.
    pub times: Times,
    /// What it opens.
    pub entrances: Vec<AcsEntranceId>,
}

/// One access grant.
pub async fn get(
    connection: &mut Connection,
    workspace: WorkspaceId,
    id: AccessGrantId,
) -> Result<Option<AccessGrant>, StoreError> {
    let mut select = Select::new(SELECT);
    select.and_id("g.workspace_id = $", Some(workspace));
    select.and_id("g.access_grant_id = $", Some(id));
    one(select, connection).await
}

/// The access grant with this key.
pub async fn by_key(
    connection: &mut Connection,
    workspace: WorkspaceId,
    key: &str,
) -> Result<Option<AccessGrant>, StoreError> {
    let mut select = Select::new(SELECT);
    select.and_id("g.workspace_id = $", Some(workspace));
    select.and_value("g.access_grant_key = $", key);
    one(select, connection).await
}

/// Access grants.
pub async fn list(
    connection: &mut Connection,
    workspace: WorkspaceId,
    filter: &List,
    page: Page,
) -> Result<Paged<AccessGrant>, StoreError> {
    let mut select = Select::new(SELECT);
    select.and_id("g.workspace_id = $", Some(workspace));
    select.and_elsewhere(&[
        &filter.access_code_id,
        &filter.device_id,
        &filter.location_id,
        &filter.space_id,
        &filter.customer_key,
    ]);
    select.and_any_of("g.access_grant_id", filter.access_grant_ids.0.as_deref());
    select.and_maybe("g.access_grant_key = $", filter.access_grant_key.as_deref());
    select.and_maybe("g.reservation_key = $", filter.reservation_key.as_deref());
    select.and_id("g.user_identity_id = $", filter.user_identity_id);
    select.and_id(
        "g.access_grant_id IN (SELECT access_grant_id FROM access_grant_entrance WHERE acs_entrance_id = $)",
        filter.acs_entrance_id,
    );
    select.and_id(
        "g.access_grant_id IN (SELECT x.access_grant_id FROM access_grant_entrance x
         JOIN acs_entrance e ON e.acs_entrance_id = x.acs_entrance_id WHERE e.acs_system_id = $)",
        filter.acs_system_id,
    );
    let page = select.page("g", "created_at", "access_grant_id", page, connection).await?;
    let mut items = Vec::with_capacity(page.items.len());
    for row in &page.items {
        items.push(object(row, connection).await?);
    }
    Ok(Paged { items, next: page.next })
}

/// Makes an access grant.
///
/// # Errors
/// A conflict when the key belongs to another grant.
pub async fn create(connection: &mut Connection, grant: &NewAccessGrant, now: Time) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO access_grant (access_grant_id, workspace_id, user_identity_id, access_grant_key, reservation_key,
         name, display_name, starts_at, ends_at, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(grant.access_grant_id.to_string())
    .bind(grant.workspace_id.to_string())
    .bind(grant.user_identity_id.to_string())
    .bind(grant.access_grant_key.clone())
    .bind(grant.reservation_key.clone())
    .bind(grant.name.clone())
    .bind(grant.display_name.clone())
    .bind(grant.times.starts_at.ms())
    .bind(grant.times.ends_at.map(Time::ms))
    .bind(now.ms())
    .execute(&mut *connection)
    .await?;
    for entrance in &grant.entrances {
        sqlx::query(
            "INSERT INTO access_grant_entrance (access_grant_id, acs_entrance_id) VALUES ($1, $2)
             ON CONFLICT DO NOTHING",
        )
        .bind(grant.access_grant_id.to_string())
        .bind(entrance.to_string())
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// Changes times and name of an access grant.
pub async fn update(
    connection: &mut Connection,
    id: AccessGrantId,
    times: Times,
    name: Option<&str>,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE access_grant SET starts_at = $1, ends_at = $2, name = $3 WHERE access_grant_id = $4")
        .bind(times.starts_at.ms())
        .bind(times.ends_at.map(Time::ms))
        .bind(name)
        .bind(id.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

async fn one(select: Select, connection: &mut Connection) -> Result<Option<AccessGrant>, StoreError> {
    match select.fetch("", connection).await?.first() {
        Some(row) => Ok(Some(object(row, connection).await?)),
        None => Ok(None),
    }
}

async fn object(row: &AnyRow, connection: &mut Connection) -> Result<AccessGrant, StoreError> {
    let access_grant_id = row.id("access_grant_id")?;
    let methods = access_methods::of_grant(connection, access_grant_id).await?;
    let name = row.maybe_text("name")?;
    Ok(AccessGrant {
        access_grant_id,
        workspace_id: row.id("workspace_id")?,
        user_identity_id: row.id("user_identity_id")?,
        access_grant_key: row.maybe_text("access_grant_key")?,
        reservation_key: row.maybe_text("reservation_key")?,
        location_ids: Nothing::default(),
        space_ids: Nothing::default(),
        access_method_ids: methods.iter().map(|method| method.access_method_id).collect(),
        requested_access_methods: methods
            .into_iter()
            .map(|method| RequestedAccessMethod {
                display_name: method.display_name,
                mode: AccessMode::Card,
                created_at: method.created_at,
                created_access_method_ids: vec![method.access_method_id],
            })
            .collect(),
        display_name: match &name {
            Some(name) if !name.trim().is_empty() => name.clone(),
            Some(_) | None => row.text("display_name")?,
        },
        name,
        created_at: row.time("created_at")?,
        starts_at: row.time("starts_at")?,
        ends_at: row.maybe_time("ends_at")?,
        warnings: Nothing::default(),
        errors: Nothing::default(),
        pending_mutations: Nothing::default(),
    })
}
