//! Puts a property into the database: workspace, access system, entrances.
//!
//! Entrances are known by their door numbers, which stand on cards; their names may change. One that the configuration
//! does not name any more stays: credentials open it.

use super::{EntranceSettings, PropertySettings};
use crate::api::admin::Import;
use crate::api::events::{EntranceEvent, Happening};
use crate::api::id::{AcsEntranceId, AcsSystemId, ConnectedAccountId, WorkspaceId};
use crate::api::time::Time;
use crate::clock;
use crate::store::hub::acs_entrances::{self, Door};
use crate::store::hub::acs_systems::{self, SystemIds};
use crate::store::hub::events;
use crate::store::{Connection, Database, Realm, StoreError};

/// The name of the access system when none was ever configured.
const UNNAMED: &str = "encoderd";

/// Makes the database hold the property, and returns its ids, which last.
pub(super) async fn put(store: &Database, property: Option<&PropertySettings>) -> Result<SystemIds, StoreError> {
    let now = Time::from_ms(clock::wall_ms());
    // Of several nodes that start at once one makes the first workspace.
    let mut transaction = store.begin(Realm::Common).await?;
    let ids = if let Some(ids) = acs_systems::first(&mut transaction).await? {
        if let Some(property) = property {
            acs_systems::rename(&mut transaction, ids, &property.name, property.time_zone.as_deref()).await?;
        }
        ids
    } else {
        let ids = SystemIds {
            workspace_id: WorkspaceId::random(),
            acs_system_id: AcsSystemId::random(),
            connected_account_id: ConnectedAccountId::random(),
        };
        let name = property.map_or(UNNAMED, |property| &property.name);
        let time_zone = property.and_then(|property| property.time_zone.as_deref());
        acs_systems::create(&mut transaction, ids, name, time_zone, now).await?;
        let happening = Happening::AcsSystemAdded(ids.event());
        events::record(&mut transaction, ids.workspace_id, happening, None, now).await?;
        ids
    };
    let entrances = property.map(|property| property.entrances.as_slice()).unwrap_or_default();
    put_doors(&mut transaction, ids, entrances, now).await?;
    transaction.commit().await?;
    Ok(ids)
}

/// Makes doors known, and gives those that are known by their numbers their names.
pub(super) async fn put_doors(
    connection: &mut Connection,
    ids: SystemIds,
    entrances: &[EntranceSettings],
    now: Time,
) -> Result<Import, StoreError> {
    let mut done = Import { added: 0, renamed: 0, unchanged: 0, dry_run: false };
    let known = acs_entrances::doors(connection, ids.acs_system_id).await?;
    for entrance in entrances {
        let found = known.binary_search_by_key(&entrance.door, |door| door.number).ok().and_then(|at| known.get(at));
        if found.is_some_and(|door| door.display_name == entrance.name) {
            done.unchanged += 1;
            continue;
        }
        let door = Door {
            acs_entrance_id: found.map_or_else(AcsEntranceId::random, |door| door.acs_entrance_id),
            number: entrance.door,
            display_name: entrance.name.clone(),
        };
        acs_entrances::put(connection, ids.acs_system_id, &door, now).await?;
        if found.is_some() {
            done.renamed += 1;
            continue;
        }
        done.added += 1;
        let event = EntranceEvent { system: ids.event(), acs_entrance_id: door.acs_entrance_id };
        events::record(connection, ids.workspace_id, Happening::AcsEntranceAdded(event), None, now).await?;
    }
    Ok(done)
}

/// Makes another workspace. It is younger than all others, whatever the clock says: the oldest is the configured one.
pub(super) async fn create(connection: &mut Connection, name: &str, time_zone: &str) -> Result<SystemIds, StoreError> {
    let now = Time::from_ms(clock::wall_ms());
    let ids = SystemIds {
        workspace_id: WorkspaceId::random(),
        acs_system_id: AcsSystemId::random(),
        connected_account_id: ConnectedAccountId::random(),
    };
    let newest = acs_systems::newest(connection).await?;
    let created_at = newest.map_or(now, |newest| now.max(Time::from_ms(newest.ms().saturating_add(1))));
    acs_systems::create(connection, ids, name, Some(time_zone), created_at).await?;
    let happening = Happening::AcsSystemAdded(ids.event());
    events::record(connection, ids.workspace_id, happening, None, now).await?;
    Ok(ids)
}
