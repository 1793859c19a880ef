//! Spaces, and what grants to them open.

use crate::support::{CARD, Desk, ISSUED_AT, World, card, encoded, encoded_at, scanned};
use encoderd::api::bridge::JobWork;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

async fn floor(world: &World, entrances: &[String]) -> Value {
    let body = json!({ "name": "First floor", "space_key": "floor/1", "acs_entrance_ids": entrances });
    world.made("/spaces/create", body, "space").await
}

/// A grant to something, and its credential.
async fn granted(world: &World, to: Value) -> (Value, String) {
    let mut body =
        json!({ "user_identity": { "full_name": "Jane Doe" }, "requested_access_methods": [{ "mode": "card" }] });
    body.as_object_mut().unwrap().extend(to.as_object().unwrap().clone());
    let grant = world.made("/access_grants/create", body, "access_grant").await;
    let query = format!("user_identity_id={}", grant["user_identity_id"].as_str().unwrap());
    let credentials = world.get("/acs/credentials/list", &query).await.good("acs_credentials");
    (grant, credentials[0]["acs_credential_id"].as_str().unwrap().to_owned())
}

/// Writes a grant's card; the doors that were written.
async fn writes(world: &World, desk: &Desk, encoder: Uuid, grant: &Value, at: u32) -> Vec<u16> {
    let body = json!({ "access_method_id": grant["access_method_ids"][0], "acs_encoder_id": encoder });
    world.made("/access_methods/encode", body, "action_attempt").await;
    let job = desk.started().await;
    assert!(desk.finish(&job, &encoded_at(CARD, at, None)).await);
    let JobWork::Encode(work) = job.work else { panic!("{job:?}") };
    work.doors
}

async fn doors_of(world: &World, filter: &str, id: &str) -> Vec<String> {
    let list = world.get("/acs/entrances/list", &format!("{filter}={id}")).await.good("acs_entrances");
    list.as_array().unwrap().iter().map(|door| door["display_name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_grant_opens_the_doors_that_its_spaces_have_right_now() {
    let world = World::new().await;
    let (desk, encoder) = world.desk().await;
    let entrances = world.entrances().await;
    let space = floor(&world, &entrances[1..2]).await;
    let id = space["space_id"].as_str().unwrap();
    let (grant, credential) =
        granted(&world, json!({ "space_keys": ["floor/1"], "acs_entrance_ids": [entrances[0]] })).await;
    assert_eq!((&grant["space_ids"], &grant["location_ids"]), (&json!([id]), &json!([id])));
    let about_grant = format!("access_grant_id={}", grant["access_grant_id"].as_str().unwrap());
    assert_eq!(doors_of(&world, "acs_credential_id", &credential).await, ["Room 101", "Room 102"]);
    assert_eq!(writes(&world, &desk, encoder, &grant, ISSUED_AT).await, [101, 102]);
    let door = |name: &str| format!("access_grant.{name}");
    let told = world.events(&about_grant).await;
    let granted_doors =
        [door("access_granted_to_door"), door("access_granted_to_door"), door("access_granted_to_all_doors")];
    assert!(told.ends_with(&granted_doors), "{told:?}");

    let change = async |method: Method, path: &str, entrance: &str| {
        let told = world.events(&about_grant).await.len();
        let body = json!({ "space_id": id, "acs_entrance_ids": [entrance] });
        world.send(method, path, "", Some(&body), Some(crate::support::API_KEY)).await.good("ok");
        world.events(&about_grant).await.split_off(told)
    };
    // A door more: the card does not know of it until it is written again.
    assert!(change(Method::PUT, "/spaces/add_acs_entrances", &entrances[2]).await.is_empty());
    assert_eq!(doors_of(&world, "acs_credential_id", &credential).await, ["Room 101", "Room 102", "Room 103"]);
    let mut on_card = card(&credential);
    on_card.doors = vec![101, 102];
    let result = desk.scans(&world, encoder, &scanned(CARD, Some(on_card))).await;
    let warning = &result["warnings"][0];
    assert_eq!(warning["warning_code"], "acs_credential_on_encoder_out_of_sync", "{result}");
    assert!(warning["warning_message"].as_str().unwrap().contains("doors"), "{warning}");
    assert_eq!(writes(&world, &desk, encoder, &grant, ISSUED_AT + 5).await, [101, 102, 103]);
    let told = world.events(&about_grant).await;
    assert!(told.ends_with(&[door("access_granted_to_door"), door("access_granted_to_all_doors")]), "{told:?}");
    let list = world.get("/access_grants/list", &format!("acs_entrance_id={}", entrances[2])).await;
    assert_eq!(list.good("access_grants")[0]["access_grant_id"], grant["access_grant_id"], "a door of its space");
    // The same again is no change.
    let before = world.events("").await.len();
    change(Method::PUT, "/spaces/add_acs_entrances", &entrances[2]).await;
    assert_eq!(world.events("").await.len(), before);
    // A door less, which the grant does not name itself.
    let taken = change(Method::DELETE, "/spaces/remove_acs_entrances", &entrances[2]).await;
    assert_eq!(taken, [door("access_to_door_lost")]);
    assert_eq!(doors_of(&world, "acs_credential_id", &credential).await, ["Room 101", "Room 102"]);
    // And one that it names as well.
    change(Method::PUT, "/spaces/add_acs_entrances", &entrances[0]).await;
    assert!(change(Method::DELETE, "/spaces/remove_acs_entrances", &entrances[0]).await.is_empty());
    // The whole space.
    let before = world.events(&about_grant).await.len();
    world
        .send(Method::DELETE, "/spaces/delete", &format!("space_id={id}"), None, Some(crate::support::API_KEY))
        .await
        .good("ok");
    assert_eq!(world.events(&about_grant).await.split_off(before), [door("access_to_door_lost")]);
    assert_eq!(doors_of(&world, "acs_credential_id", &credential).await, ["Room 101"]);
    let shown = world.get("/access_grants/get", &about_grant).await.good("access_grant");
    assert_eq!(shown["space_ids"], json!([]));
    let about_space = world.events(&format!("space_id={id}")).await;
    assert_eq!(about_space.first().unwrap(), "space.created");
    assert_eq!(about_space.iter().filter(|kind| *kind == "space.device_membership_changed").count(), 4);
    assert_eq!(about_space.last().unwrap(), "space.deleted");
    let event = &world.get("/events/list", "event_type=space.deleted").await.good("events")[0];
    assert_eq!(event["acs_entrance_ids"], json!([entrances[1]]), "the doors that it had");
}

#[tokio::test]
async fn a_door_is_lost_with_the_last_card_that_opens_it() {
    let world = World::new().await;
    let (desk, encoder) = world.desk().await;
    let entrances = world.entrances().await;
    let (grant, credential) = granted(&world, json!({ "acs_entrance_ids": [entrances[0]] })).await;
    let about = format!("access_grant_id={}", grant["access_grant_id"].as_str().unwrap());
    writes(&world, &desk, encoder, &grant, ISSUED_AT).await;
    let lost = "access_grant.access_to_door_lost";
    let is_lost = async || world.events(&about).await.iter().filter(|kind| *kind == lost).count();
    // The next guest's credential comes onto the same card.
    let next = world.credential().await;
    desk.encodes(&world, encoder, &next, &encoded_at(CARD, ISSUED_AT + 1, Some(&credential))).await;
    assert_eq!(is_lost().await, 1);
    // Written again, and on a second card.
    writes(&world, &desk, encoder, &grant, ISSUED_AT + 2).await;
    let more = json!({ "access_grant_id": grant["access_grant_id"], "requested_access_methods": [{ "mode": "card" }] });
    let more = world.made("/access_grants/request_access_methods", more, "access_grant").await;
    let second = more["access_method_ids"][1].clone();
    let body = json!({ "access_method_id": second, "acs_encoder_id": encoder });
    world.made("/access_methods/encode", body, "action_attempt").await;
    let job = desk.started().await;
    assert!(desk.finish(&job, &encoded("04C0FFEE")).await);
    let granted_to = "access_grant.access_granted_to_door";
    assert_eq!(world.events(&about).await.iter().filter(|kind| *kind == granted_to).count(), 2, "not for each card");
    world.post("/access_methods/delete", json!({ "access_method_id": grant["access_method_ids"][0] })).await.good("ok");
    assert_eq!(is_lost().await, 1, "the second card opens it");
    world.post("/access_methods/delete", json!({ "access_method_id": second })).await.good("ok");
    assert_eq!(is_lost().await, 2);
}

#[tokio::test]
async fn a_spaces_key_is_its_own_and_free_again_when_it_is_gone() {
    let world = World::new().await;
    let entrances = world.entrances().await;
    let data = json!({ "address": "Main Street 1", "default_checkin_time": "15:00", "time_zone": null });
    let body = json!({ "name": " First floor ", "space_key": "floor/1", "customer_key": "ada", "customer_data": data });
    let made = world.made("/spaces/create", body, "space").await;
    assert_eq!((&made["name"], &made["display_name"]), (&json!("First floor"), &json!("First floor")));
    assert_eq!((&made["device_count"], &made["acs_entrance_count"]), (&json!(0), &json!(0)));
    assert_eq!(made["customer_data"]["default_checkin_time"], "15:00");
    assert!(made.get("parent_space_id").is_none());
    let again = json!({ "name": "Another", "space_key": "floor/1", "acs_entrance_ids": entrances });
    world.post("/spaces/create", again.clone()).await.invalid("space_key");
    let late = json!({ "name": "Late", "customer_data": { "default_checkout_time": "25:00" } });
    world.post("/spaces/create", late).await.invalid("customer_data.default_checkout_time");
    let listed = world.get("/spaces/list", "customer_key=ada").await.good("spaces");
    assert_eq!(listed, json!([made]));
    world.post("/spaces/delete", json!({ "space_id": made["space_id"] })).await.good("ok");
    world.get("/spaces/get", "space_key=floor/1").await.refused(404, "space_not_found");
    assert_eq!(world.get("/spaces/list", "").await.good("spaces"), json!([]));
    let other = world.made("/spaces/create", again, "space").await;
    assert_eq!(other["acs_entrance_count"], 3);
    let door = world.get("/acs/entrances/get", &format!("acs_entrance_id={}", entrances[0])).await.good("acs_entrance");
    assert_eq!(door["space_ids"], json!([other["space_id"]]));
}

#[tokio::test]
async fn a_location_with_a_name_becomes_a_space() {
    let world = World::new().await;
    let entrances = world.entrances().await;
    let location = json!({ "name": "Suite", "acs_entrance_ids": entrances[..2] });
    let profile = Uuid::new_v4();
    let (grant, credential) =
        granted(&world, json!({ "location": location, "customization_profile_id": profile })).await;
    assert_eq!(grant["customization_profile_id"], json!(profile));
    let space = world.get("/spaces/list", "search=suite").await.good("spaces")[0].clone();
    assert_eq!((&grant["space_ids"], &space["acs_entrance_count"]), (&json!([space["space_id"]]), &json!(2)));
    assert_eq!(doors_of(&world, "acs_credential_id", &credential).await, ["Room 101", "Room 102"]);
    assert_eq!(doors_of(&world, "location_id", space["space_id"].as_str().unwrap()).await, ["Room 101", "Room 102"]);
    let (grant, credential) = granted(&world, json!({ "location": { "acs_entrance_ids": [entrances[2]] } })).await;
    assert_eq!(grant["space_ids"], json!([]), "without a name: doors");
    assert_eq!(doors_of(&world, "acs_credential_id", &credential).await, ["Room 103"]);
}
