//! User identities, and users of access systems.

use super::{Endpoint, Stock};
use crate::support::World;
use serde_json::{Value, json};

pub async fn rows(world: &World, stock: &Stock) -> Vec<Endpoint> {
    let Stock { system, user, identity, .. } = stock;
    let keyed = json!({ "full_name": "Keyed", "user_identity_key": "guest/1" });
    world.made("/user_identities/create", keyed, "user_identity").await;
    // A person, a user of the system who is nobody, and one who is that person: something to delete.
    let person = async || {
        let person = world.made("/user_identities/create", json!({}), "user_identity").await;
        json!({ "user_identity_id": person["user_identity_id"] })
    };
    let user_of = async |person: &Value| {
        let user = with(&json!({ "acs_system_id": system, "full_name": "G H" }), person);
        let user = world.made("/acs/users/create", user, "acs_user").await;
        json!({ "acs_user_id": user["acs_user_id"] })
    };
    let nobody = async || user_of(&json!({})).await;
    let somebody = async || {
        let person = person().await;
        user_of(&person).await;
        with(&json!({ "acs_system_id": system }), &person)
    };
    vec![
        Endpoint::create("/user_identities/create", "user_identity", json!({ "full_name": "C D" }))
            .also(json!({ "acs_system_ids": [system] }))
            .wrong("email_address", json!("nobody"))
            .wrong("full_name", json!(""))
            .finds("acs_system_ids", "acs_system_not_found"),
        Endpoint::read("/user_identities/get", "user_identity", json!({ "user_identity_id": identity }))
            .also(json!({ "user_identity_key": "guest/1" }))
            .needs("user_identity_id")
            .finds("user_identity_id", "user_identity_not_found"),
        Endpoint::change(
            "/user_identities/update",
            "ok",
            json!({ "user_identity_id": identity, "phone_number": null }),
        )
        .needs("user_identity_id")
        .wrong("email_address", json!("nobody"))
        .wrong("full_name", json!(" "))
        .finds("user_identity_id", "user_identity_not_found"),
        Endpoint::remove("/user_identities/delete", [person().await, person().await])
            .needs("user_identity_id")
            .finds("user_identity_id", "user_identity_not_found"),
        Endpoint::put("/user_identities/add_acs_user", "ok", with(&person().await, &nobody().await))
            .also(json!({ "user_identity_key": "guest/1", "acs_user_id": nobody().await["acs_user_id"] }))
            .needs("user_identity_id")
            .needs("acs_user_id")
            .finds("user_identity_id", "user_identity_not_found")
            .finds("acs_user_id", "acs_user_not_found"),
        Endpoint::read("/user_identities/list", "user_identities", json!({}))
            .also(json!({ "user_identity_ids": [identity] }))
            .wrong("limit", json!("many"))
            .wrong("created_before", json!("tea time"))
            .filters("user_identity_ids"),
        Endpoint::create("/acs/users/create", "acs_user", json!({ "acs_system_id": system, "full_name": "A B" }))
            .needs("acs_system_id")
            .needs("full_name")
            .wrong("full_name", json!(5))
            .wrong("acs_access_group_ids", json!([uuid::Uuid::new_v4()]))
            .finds("acs_system_id", "acs_system_not_found")
            .finds("user_identity_id", "user_identity_not_found"),
        Endpoint::read("/acs/users/get", "acs_user", json!({ "acs_user_id": user }))
            .also(json!({ "acs_system_id": system, "user_identity_id": identity }))
            .needs("acs_user_id")
            .finds("acs_user_id", "acs_user_not_found")
            .finds("acs_system_id", "acs_system_not_found")
            .finds("user_identity_id", "acs_user_not_found"),
        Endpoint::change("/acs/users/update", "ok", json!({ "acs_user_id": user, "full_name": "Jane D. Doe" }))
            .also(json!({ "acs_system_id": system, "user_identity_id": identity, "access_schedule": null }))
            .needs("acs_user_id")
            .wrong("full_name", json!(""))
            .wrong("email", json!("nobody"))
            .wrong("access_schedule", json!("always"))
            .finds("acs_user_id", "acs_user_not_found")
            .finds("acs_system_id", "acs_system_not_found")
            .finds("hid_acs_system_id", "acs_system_not_found")
            .finds("user_identity_id", "acs_user_not_found"),
        Endpoint::remove("/acs/users/delete", [nobody().await, somebody().await, nobody().await, somebody().await])
            .needs("acs_user_id")
            .finds("acs_user_id", "acs_user_not_found")
            .finds("acs_system_id", "acs_system_not_found")
            .finds("user_identity_id", "acs_user_not_found"),
        Endpoint::read("/acs/users/list", "acs_users", json!({}))
            .also(json!({ "acs_system_id": system }))
            .wrong("limit", json!("many"))
            .filters("acs_system_id")
            .filters("user_identity_id"),
    ]
}

/// Both parameters' values.
fn with(some: &Value, others: &Value) -> Value {
    let mut both = some.clone();
    both.as_object_mut().unwrap().extend(others.as_object().unwrap().clone());
    both
}
