//! Access grants.

use super::select::{Page, Paged, Select};
use super::{Columns as _, access_methods};
use crate::api::access_grants::{AccessGrant, List, RequestedAccessMethod};
use crate::api::id::{AccessGrantId, AcsEntranceId, CustomizationProfileId, SpaceId, UserIdentityId, WorkspaceId};
use crate::api::time::Time;
use crate::api::{AccessMode, Nothing};
use crate::store::hub::acs_credentials::Times;
use crate::store::{Connection, StoreError};
use sqlx::any::AnyRow;

const SELECT: &str = "SELECT g.access_grant_id, g.workspace_id, g.user_identity_id, g.access_grant_key,
    g.reservation_key, g.name, g.display_name, g.starts_at, g.ends_at, g.created_at, g.customization_profile_id
    FROM access_grant g";

/// The doors of grants: those that they name, and those of the spaces that they name.
const ENTRANCES: &str = "SELECT d.access_grant_id, d.acs_entrance_id FROM (
    SELECT access_grant_id, acs_entrance_id FROM access_grant_entrance
    UNION
    SELECT s.access_grant_id, x.acs_entrance_id FROM access_grant_space s
    JOIN space_entrance x ON x.space_id = s.space_id) d";

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
    /// What it opens, beside spaces.
    pub entrances: Vec<AcsEntranceId>,
    /// The spaces that it opens.
    pub spaces: Vec<SpaceId>,
    /// Kept for the caller.
    pub customization_profile_id: Option<CustomizationProfileId>,
}

/// One access grant.
pub async fn get(
    connection: &mut Connection,
    workspace: WorkspaceId,
    id: AccessGrantId,
) -> Result<Option<AccessGrant>, StoreError> {
    let mut select = present(workspace);
    select.and_id("g.access_grant_id = $", Some(id));
    one(select, connection).await
}

/// The access grant with this key.
pub async fn by_key(
    connection: &mut Connection,
    workspace: WorkspaceId,
    key: &str,
) -> Result<Option<AccessGrant>, StoreError> {
    let mut select = present(workspace);
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
    let mut select = present(workspace);
    select.and_elsewhere(&[&filter.access_code_id, &filter.device_id, &filter.customer_key]);
    for space in [filter.space_id, filter.location_id] {
        select
            .and_id("g.access_grant_id IN (SELECT access_grant_id FROM access_grant_space WHERE space_id = $)", space);
    }
    select.and_any_of("g.access_grant_id", filter.access_grant_ids.0.as_deref());
    select.and_maybe("g.access_grant_key = $", filter.access_grant_key.as_deref());
    select.and_maybe("g.reservation_key = $", filter.reservation_key.as_deref());
    select.and_id("g.user_identity_id = $", filter.user_identity_id);
    select.and_id(
        "g.access_grant_id IN (SELECT access_grant_id FROM access_grant_entrance WHERE acs_entrance_id = $
         UNION SELECT s.access_grant_id FROM access_grant_space s
         JOIN space_entrance x ON x.space_id = s.space_id WHERE x.acs_entrance_id = $)",
        filter.acs_entrance_id,
    );
    select.and_id(
        "g.access_grant_id IN (SELECT x.access_grant_id FROM access_grant_entrance x
         JOIN acs_entrance e ON e.acs_entrance_id = x.acs_entrance_id WHERE e.acs_system_id = $
         UNION SELECT s.access_grant_id FROM access_grant_space s
         JOIN space_entrance x ON x.space_id = s.space_id
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
         name, display_name, starts_at, ends_at, created_at, customization_profile_id)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
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
    .bind(grant.customization_profile_id.map(|id| id.to_string()))
    .execute(&mut *connection)
    .await?;
    for space in &grant.spaces {
        sqlx::query(
            "INSERT INTO access_grant_space (access_grant_id, space_id) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        )
        .bind(grant.access_grant_id.to_string())
        .bind(space.to_string())
        .execute(&mut *connection)
        .await?;
    }
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

/// The doors of a grant: those that it names, and those of its spaces.
pub async fn entrances(connection: &mut Connection, id: AccessGrantId) -> Result<Vec<AcsEntranceId>, StoreError> {
    let mut select = Select::new(ENTRANCES);
    select.and_id("d.access_grant_id = $", Some(id));
    doors(select, " ORDER BY d.acs_entrance_id", connection).await
}

/// The doors that cards of a grant are for, as far as these cards were written.
pub async fn opened(connection: &mut Connection, id: AccessGrantId) -> Result<Vec<AcsEntranceId>, StoreError> {
    let mut select = Select::new(
        "SELECT DISTINCT x.acs_entrance_id FROM acs_credential_entrance x
         JOIN acs_credential c ON c.acs_credential_id = x.acs_credential_id
         JOIN access_method m ON m.acs_credential_id = c.acs_credential_id",
    );
    select.and("c.deleted_at IS NULL AND c.issued_at IS NOT NULL AND m.deleted_at IS NULL");
    select.and_id("m.access_grant_id = $", Some(id));
    doors(select, " ORDER BY x.acs_entrance_id", connection).await
}

/// The doors that a grant was said to open.
pub async fn told_doors(connection: &mut Connection, id: AccessGrantId) -> Result<Vec<AcsEntranceId>, StoreError> {
    let mut select = Select::new("SELECT t.acs_entrance_id FROM access_grant_door t");
    select.and_id("t.access_grant_id = $", Some(id));
    doors(select, " ORDER BY t.acs_entrance_id", connection).await
}

/// Notes that a grant was said to open a door.
pub async fn tell_door(
    connection: &mut Connection,
    id: AccessGrantId,
    entrance: AcsEntranceId,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO access_grant_door (access_grant_id, acs_entrance_id) VALUES ($1, $2) ON CONFLICT DO NOTHING",
    )
    .bind(id.to_string())
    .bind(entrance.to_string())
    .execute(connection)
    .await?;
    Ok(())
}

/// Notes that a grant was said to open a door no more.
pub async fn forget_door(
    connection: &mut Connection,
    id: AccessGrantId,
    entrance: AcsEntranceId,
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM access_grant_door WHERE access_grant_id = $1 AND acs_entrance_id = $2")
        .bind(id.to_string())
        .bind(entrance.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

async fn doors(
    select: Select,
    end: &'static str,
    connection: &mut Connection,
) -> Result<Vec<AcsEntranceId>, StoreError> {
    select.fetch(end, connection).await?.iter().map(|row| row.id("acs_entrance_id")).collect()
}

/// The grants of a person.
pub async fn of_identity(
    connection: &mut Connection,
    workspace: WorkspaceId,
    identity: UserIdentityId,
) -> Result<Vec<AccessGrant>, StoreError> {
    let mut select = present(workspace);
    select.and_id("g.user_identity_id = $", Some(identity));
    all(select, connection).await
}

/// The grants to a space.
pub async fn of_space(
    connection: &mut Connection,
    workspace: WorkspaceId,
    space: SpaceId,
) -> Result<Vec<AccessGrant>, StoreError> {
    let mut select = present(workspace);
    select.and_id(
        "g.access_grant_id IN (SELECT access_grant_id FROM access_grant_space WHERE space_id = $)",
        Some(space),
    );
    all(select, connection).await
}

/// The grants of a reservation.
pub async fn of_reservation(
    connection: &mut Connection,
    workspace: WorkspaceId,
    key: &str,
) -> Result<Vec<AccessGrant>, StoreError> {
    let mut select = present(workspace);
    select.and_value("g.reservation_key = $", key);
    all(select, connection).await
}

/// Marks a grant as deleted; its key is free again.
pub async fn delete(connection: &mut Connection, id: AccessGrantId, now: Time) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM access_grant_space WHERE access_grant_id = $1")
        .bind(id.to_string())
        .execute(&mut *connection)
        .await?;
    sqlx::query("UPDATE access_grant SET deleted_at = $1, access_grant_key = NULL WHERE access_grant_id = $2")
        .bind(now.ms())
        .bind(id.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

fn present(workspace: WorkspaceId) -> Select {
    let mut select = Select::new(SELECT);
    select.and_id("g.workspace_id = $", Some(workspace));
    select.and("g.deleted_at IS NULL");
    select
}

async fn all(select: Select, connection: &mut Connection) -> Result<Vec<AccessGrant>, StoreError> {
    let rows = select.fetch(" ORDER BY g.created_at, g.access_grant_id", connection).await?;
    let mut grants = Vec::with_capacity(rows.len());
    for row in &rows {
        grants.push(object(row, connection).await?);
    }
    Ok(grants)
}

async fn one(select: Select, connection: &mut Connection) -> Result<Option<AccessGrant>, StoreError> {
    match select.fetch("", connection).await?.first() {
        Some(row) => Ok(Some(object(row, connection).await?)),
        None => Ok(None),
    }
}

async fn object(row: &AnyRow, connection: &mut Connection) -> Result<AccessGrant, StoreError> {
    let access_grant_id = row.id("access_grant_id")?;
    let methods = access_methods::of_grant(&mut *connection, access_grant_id).await?;
    let mut spaces = Select::new("SELECT x.space_id FROM access_grant_space x JOIN space p ON p.space_id = x.space_id");
    spaces.and_id("x.access_grant_id = $", Some(access_grant_id));
    let spaces = spaces.fetch(" ORDER BY p.created_at, p.space_id", connection).await?;
    let spaces = spaces.iter().map(|row| row.id("space_id")).collect::<Result<Vec<SpaceId>, _>>()?;
    let name = row.maybe_text("name")?;
    Ok(AccessGrant {
        access_grant_id,
        workspace_id: row.id("workspace_id")?,
        user_identity_id: row.id("user_identity_id")?,
        access_grant_key: row.maybe_text("access_grant_key")?,
        reservation_key: row.maybe_text("reservation_key")?,
        customization_profile_id: row.maybe_id("customization_profile_id")?,
        location_ids: spaces.clone(),
        space_ids: spaces,
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
