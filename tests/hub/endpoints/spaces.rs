//! Spaces.

use super::{Endpoint, Stock};
use crate::support::World;
use serde_json::json;
use uuid::Uuid;

pub async fn rows(world: &World, stock: &Stock) -> Vec<Endpoint> {
    let Stock { space, entrances, .. } = stock;
    let again = async || {
        let space = world.made("/spaces/create", json!({ "name": "Attic" }), "space").await;
        json!({ "space_id": space["space_id"] })
    };
    let doors = json!({ "space_id": space, "acs_entrance_ids": [entrances[2]] });
    vec![
        Endpoint::create("/spaces/create", "space", json!({ "name": "Cellar", "acs_entrance_ids": [entrances[0]] }))
            .also(json!({ "name": "Roof", "customer_key": "c", "customer_data": { "default_checkin_time": "15:00" } }))
            .needs("name")
            .wrong("name", json!(5))
            .wrong("customer_data", json!("x"))
            .wrong("customer_key", json!(""))
            .wrong("device_ids", json!([Uuid::new_v4()]))
            .wrong("space_key", json!("floor/1"))
            .finds("acs_entrance_ids", "acs_entrance_not_found")
            .finds("connected_account_ids", "connected_account_not_found"),
        Endpoint::read("/spaces/get", "space", json!({ "space_id": space }))
            .also(json!({ "space_key": "floor/1" }))
            .needs("space_id")
            .finds("space_id", "space_not_found"),
        Endpoint::read("/spaces/list", "spaces", json!({}))
            .also(json!({ "search": "FLOOR" }))
            .also(json!({ "space_key": "floor/1" }))
            .wrong("limit", json!("many"))
            .wrong("search", json!(" "))
            .wrong("parent_space_id", json!("x"))
            .filters("connected_account_id"),
        Endpoint::put("/spaces/add_acs_entrances", "ok", doors.clone())
            .needs("space_id")
            .needs("acs_entrance_ids")
            .wrong("acs_entrance_ids", json!([]))
            .finds("space_id", "space_not_found")
            .finds("acs_entrance_ids", "acs_entrance_not_found"),
        Endpoint::remove("/spaces/remove_acs_entrances", [doors.clone(), doors])
            .needs("space_id")
            .needs("acs_entrance_ids")
            .finds("space_id", "space_not_found")
            .finds("acs_entrance_ids", "acs_entrance_not_found"),
        Endpoint::remove("/spaces/delete", [again().await, again().await])
            .needs("space_id")
            .finds("space_id", "space_not_found"),
    ]
}
