//! Spaces: groups of doors.

use super::select::{Page, Paged, Select, each};
use super::{Columns as _, to_json};
use crate::api::id::{AcsEntranceId, SpaceId, WorkspaceId};
use crate::api::spaces::{CustomerData, List, Space};
use crate::api::time::Time;
use crate::store::{Connection, StoreError};
use sqlx::any::AnyRow;

const SELECT: &str = "SELECT p.space_id, p.workspace_id, p.space_key, p.name, p.customer_key, p.customer_data,
    p.created_at, (SELECT COUNT(*) FROM space_entrance x WHERE x.space_id = p.space_id) AS acs_entrance_count
    FROM space p";

/// A space to be made.
#[derive(Clone, Debug)]
pub struct NewSpace {
    /// The id it gets.
    pub space_id: SpaceId,
    /// Its workspace.
    pub workspace_id: WorkspaceId,
    /// The caller's own key.
    pub space_key: Option<String>,
    /// Its name.
    pub name: String,
    /// The caller's customer.
    pub customer_key: Option<String>,
    /// Defaults for stays.
    pub customer_data: Option<CustomerData>,
    /// Its doors.
    pub entrances: Vec<AcsEntranceId>,
}

/// One space.
pub async fn get(
    connection: &mut Connection,
    workspace: WorkspaceId,
    id: SpaceId,
) -> Result<Option<Space>, StoreError> {
    let mut select = present(workspace);
    select.and_id("p.space_id = $", Some(id));
    select.fetch("", connection).await?.first().map(object).transpose()
}

/// The space with this key.
pub async fn by_key(
    connection: &mut Connection,
    workspace: WorkspaceId,
    key: &str,
) -> Result<Option<Space>, StoreError> {
    let mut select = present(workspace);
    select.and_value("p.space_key = $", key);
    select.fetch("", connection).await?.first().map(object).transpose()
}

/// Spaces.
pub async fn list(
    connection: &mut Connection,
    workspace: WorkspaceId,
    filter: &List,
    page: Page,
) -> Result<Paged<Space>, StoreError> {
    let mut select = present(workspace);
    select.and_elsewhere(&[&filter.parent_space_id, &filter.parent_space_key]);
    select.and_id(
        "EXISTS (SELECT 1 FROM acs_system s WHERE s.workspace_id = p.workspace_id AND s.connected_account_id = $)",
        filter.connected_account_id,
    );
    select.and_maybe("p.customer_key = $", filter.customer_key.as_deref());
    select.and_maybe("p.space_key = $", filter.space_key.as_deref());
    select.and_search(
        "LOWER(p.name) LIKE LOWER($) ESCAPE '\\' OR LOWER(COALESCE(p.space_key, '')) LIKE LOWER($) ESCAPE '\\'",
        filter.search.as_ref().map(|search| search.0.as_str()),
    );
    each(&select.page("p", "created_at", "space_id", page, connection).await?, object)
}

/// The doors of a space, in the order of their numbers.
pub async fn entrances(connection: &mut Connection, id: SpaceId) -> Result<Vec<AcsEntranceId>, StoreError> {
    let mut select = Select::new(
        "SELECT x.acs_entrance_id FROM space_entrance x JOIN acs_entrance e ON e.acs_entrance_id = x.acs_entrance_id",
    );
    select.and_id("x.space_id = $", Some(id));
    select.fetch(" ORDER BY e.door", connection).await?.iter().map(|row| row.id("acs_entrance_id")).collect()
}

/// The spaces that these doors are in, the oldest first.
pub async fn around(
    connection: &mut Connection,
    entrances: &[AcsEntranceId],
) -> Result<Vec<(AcsEntranceId, SpaceId)>, StoreError> {
    let mut select = Select::new(
        "SELECT x.acs_entrance_id, x.space_id FROM space_entrance x JOIN space p ON p.space_id = x.space_id",
    );
    select.and("p.deleted_at IS NULL");
    select.and_any_of("x.acs_entrance_id", Some(entrances));
    let rows = select.fetch(" ORDER BY p.created_at, p.space_id", connection).await?;
    rows.iter().map(|row| Ok((row.id("acs_entrance_id")?, row.id("space_id")?))).collect()
}

/// Makes a space.
///
/// # Errors
/// A conflict when the key belongs to another space.
pub async fn create(connection: &mut Connection, space: &NewSpace, now: Time) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO space (space_id, workspace_id, space_key, name, customer_key, customer_data, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(space.space_id.to_string())
    .bind(space.workspace_id.to_string())
    .bind(space.space_key.clone())
    .bind(space.name.clone())
    .bind(space.customer_key.clone())
    .bind(space.customer_data.as_ref().map(to_json))
    .bind(now.ms())
    .execute(&mut *connection)
    .await?;
    add_entrances(connection, space.space_id, &space.entrances).await
}

/// Adds doors to a space; those that are in it already stay.
pub async fn add_entrances(
    connection: &mut Connection,
    id: SpaceId,
    entrances: &[AcsEntranceId],
) -> Result<(), StoreError> {
    for entrance in entrances {
        sqlx::query("INSERT INTO space_entrance (space_id, acs_entrance_id) VALUES ($1, $2) ON CONFLICT DO NOTHING")
            .bind(id.to_string())
            .bind(entrance.to_string())
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// Takes doors out of a space.
pub async fn remove_entrances(
    connection: &mut Connection,
    id: SpaceId,
    entrances: &[AcsEntranceId],
) -> Result<(), StoreError> {
    for entrance in entrances {
        sqlx::query("DELETE FROM space_entrance WHERE space_id = $1 AND acs_entrance_id = $2")
            .bind(id.to_string())
            .bind(entrance.to_string())
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// Marks a space as deleted; no door and no grant is in it any more.
pub async fn delete(connection: &mut Connection, id: SpaceId, now: Time) -> Result<(), StoreError> {
    for statement in
        ["DELETE FROM space_entrance WHERE space_id = $1", "DELETE FROM access_grant_space WHERE space_id = $1"]
    {
        sqlx::query(statement).bind(id.to_string()).execute(&mut *connection).await?;
    }
    sqlx::query("UPDATE space SET deleted_at = $1, space_key = NULL WHERE space_id = $2")
        .bind(now.ms())
        .bind(id.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

fn present(workspace: WorkspaceId) -> Select {
    let mut select = Select::new(SELECT);
    select.and_id("p.workspace_id = $", Some(workspace));
    select.and("p.deleted_at IS NULL");
    select
}

fn object(row: &AnyRow) -> Result<Space, StoreError> {
    let name = row.text("name")?;
    Ok(Space {
        space_id: row.id("space_id")?,
        workspace_id: row.id("workspace_id")?,
        space_key: row.maybe_text("space_key")?,
        display_name: name.clone(),
        name,
        created_at: row.time("created_at")?,
        device_count: 0,
        acs_entrance_count: row.integer("acs_entrance_count")?,
        customer_key: row.maybe_text("customer_key")?,
        customer_data: row.maybe_json("customer_data")?,
    })
}
