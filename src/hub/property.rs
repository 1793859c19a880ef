//! Puts the configured property into the database: workspace, access system, entrances.
//!
//! Entrances are known by their door numbers, which stand on cards; their names may change. One that the configuration
//! does not name any more stays: credentials open it.

use super::PropertySettings;
use crate::api::events::{EntranceEvent, Happening};
use crate::api::id::{AcsEntranceId, AcsSystemId, ConnectedAccountId, WorkspaceId};
use crate::api::time::Time;
use crate::clock;
use crate::store::hub::acs_entrances::{self, Door};
use crate::store::hub::acs_systems::{self, SystemIds};
use crate::store::hub::events;
use crate::store::{Database, Realm, StoreError};

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
    let known = acs_entrances::doors(&mut transaction, ids.acs_system_id).await?;
    for entrance in property.map(|property| property.entrances.as_slice()).unwrap_or_default() {
        let found = known.iter().find(|door| door.number == entrance.door);
        if found.is_some_and(|door| door.display_name == entrance.name) {
            continue;
        }
        let door = Door {
            acs_entrance_id: found.map_or_else(AcsEntranceId::random, |door| door.acs_entrance_id),
            number: entrance.door,
            display_name: entrance.name.clone(),
        };
        acs_entrances::put(&mut transaction, ids.acs_system_id, &door, now).await?;
        if found.is_none() {
            let event = EntranceEvent { system: ids.event(), acs_entrance_id: door.acs_entrance_id };
            let happening = Happening::AcsEntranceAdded(event);
            events::record(&mut transaction, ids.workspace_id, happening, None, now).await?;
        }
    }
    transaction.commit().await?;
    Ok(ids)
}
