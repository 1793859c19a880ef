//! Doors.

use super::select::{Page, Paged, Select, each};
use super::{Columns as _, spaces};
use crate::api::Nothing;
use crate::api::acs_entrances::{AcsEntrance, List};
use crate::api::id::{AcsEntranceId, AcsSystemId, SpaceId, WorkspaceId};
use crate::api::time::Time;
use crate::store::{Connection, StoreError};
use sqlx::any::AnyRow;
use std::collections::BTreeMap;

const SELECT: &str = "SELECT e.acs_entrance_id, e.acs_system_id, e.display_name, e.door, e.created_at,
    s.connected_account_id
    FROM acs_entrance e JOIN acs_system s ON s.acs_system_id = e.acs_system_id";

/// A door's number as cards carry it, and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Door {
    /// Its id.
    pub acs_entrance_id: AcsEntranceId,
    /// Its number.
    pub number: u16,
    /// Its name.
    pub display_name: String,
}

/// One entrance.
pub async fn get(
    connection: &mut Connection,
    workspace: WorkspaceId,
    id: AcsEntranceId,
) -> Result<Option<AcsEntrance>, StoreError> {
    let mut select = Select::new(SELECT);
    select.and_id("s.workspace_id = $", Some(workspace));
    select.and_id("e.acs_entrance_id = $", Some(id));
    let found = select.fetch("", connection).await?.first().map(object).transpose()?;
    Ok(with_spaces(found.into_iter().collect(), connection).await?.pop())
}

/// Says of entrances which spaces they are in: one question for all of them.
async fn with_spaces(
    mut entrances: Vec<AcsEntrance>,
    connection: &mut Connection,
) -> Result<Vec<AcsEntrance>, StoreError> {
    let ids: Vec<AcsEntranceId> = entrances.iter().map(|entrance| entrance.acs_entrance_id).collect();
    let mut around: BTreeMap<AcsEntranceId, Vec<SpaceId>> = BTreeMap::new();
    for (entrance, space) in spaces::around(connection, &ids).await? {
        around.entry(entrance).or_default().push(space);
    }
    for entrance in &mut entrances {
        entrance.space_ids = around.remove(&entrance.acs_entrance_id).unwrap_or_default();
    }
    Ok(entrances)
}

/// Entrances in the order of their door numbers.
pub async fn list(
    connection: &mut Connection,
    workspace: WorkspaceId,
    filter: &List,
    page: Page,
) -> Result<Paged<AcsEntrance>, StoreError> {
    let mut select = Select::new(SELECT);
    select.and_id("s.workspace_id = $", Some(workspace));
    select.and_elsewhere(&[&filter.customer_key]);
    for space in [filter.space_id, filter.location_id] {
        select.and_id("e.acs_entrance_id IN (SELECT acs_entrance_id FROM space_entrance WHERE space_id = $)", space);
    }
    select.and_any_of("e.acs_entrance_id", filter.acs_entrance_ids.0.as_deref());
    select.and_id("e.acs_system_id = $", filter.acs_system_id);
    select.and_id("s.connected_account_id = $", filter.connected_account_id);
    select.and_id(
        "e.acs_entrance_id IN (SELECT acs_entrance_id FROM acs_credential_entrance WHERE acs_credential_id = $)",
        filter.acs_credential_id,
    );
    select.and_search(
        "LOWER(e.display_name) LIKE LOWER($) ESCAPE '\\'",
        filter.search.as_ref().map(|search| search.0.as_str()),
    );
    let page = each(&select.page("e", "door", "acs_entrance_id", page, connection).await?, object)?;
    Ok(Paged { items: with_spaces(page.items, connection).await?, next: page.next })
}

/// All doors of a system.
pub async fn doors(connection: &mut Connection, system: AcsSystemId) -> Result<Vec<Door>, StoreError> {
    let mut select = Select::new(SELECT);
    select.and_id("e.acs_system_id = $", Some(system));
    select.fetch(" ORDER BY e.door", connection).await?.iter().map(door).collect()
}

/// Those of these entrances that a system has.
pub async fn known(
    connection: &mut Connection,
    system: AcsSystemId,
    ids: &[AcsEntranceId],
) -> Result<Vec<AcsEntranceId>, StoreError> {
    let mut select = Select::new(SELECT);
    select.and_id("e.acs_system_id = $", Some(system));
    select.and_any_of("e.acs_entrance_id", Some(ids));
    select.fetch("", connection).await?.iter().map(|row| row.id("acs_entrance_id")).collect()
}

/// Makes a door known, or gives the one with its number another name.
pub async fn put(connection: &mut Connection, system: AcsSystemId, door: &Door, now: Time) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO acs_entrance (acs_entrance_id, acs_system_id, door, display_name, created_at)
         VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (acs_system_id, door) DO UPDATE SET display_name = excluded.display_name",
    )
    .bind(door.acs_entrance_id.to_string())
    .bind(system.to_string())
    .bind(i64::from(door.number))
    .bind(door.display_name.clone())
    .bind(now.ms())
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) fn door_number(row: &AnyRow) -> Result<u16, StoreError> {
    let number = row.integer("door")?;
    u16::try_from(number).map_err(|_| StoreError::Value { expected: "a door number", value: number.to_string() })
}

fn door(row: &AnyRow) -> Result<Door, StoreError> {
    Ok(Door {
        acs_entrance_id: row.id("acs_entrance_id")?,
        number: door_number(row)?,
        display_name: row.text("display_name")?,
    })
}

fn object(row: &AnyRow) -> Result<AcsEntrance, StoreError> {
    Ok(AcsEntrance {
        acs_entrance_id: row.id("acs_entrance_id")?,
        acs_system_id: row.id("acs_system_id")?,
        connected_account_id: row.id("connected_account_id")?,
        created_at: row.time("created_at")?,
        display_name: row.text("display_name")?,
        space_ids: Vec::new(),
        can_unlock_with_card: true,
        errors: Nothing::default(),
        warnings: Nothing::default(),
    })
}
