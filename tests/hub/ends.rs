//! How people, grants and access methods change and end, and what ends with them.

use crate::support::{API_KEY, CARD, World, encoded};
use reqwest::Method;
use serde_json::{Value, json};

async fn identity(world: &World, key: &str) -> Value {
    let body = json!({ "full_name": "Ada", "email_address": "ada@example.com", "user_identity_key": key });
    world.made("/user_identities/create", body, "user_identity").await["user_identity_id"].clone()
}

async fn granted(world: &World, person: &Value, key: &str) -> Value {
    let entrances = world.entrances().await;
    let body = json!({
        "user_identity_id": person, "requested_access_methods": [{ "mode": "card" }], "reservation_key": "stay",
        "acs_entrance_ids": [entrances[0]], "access_grant_key": key,
    });
    world.made("/access_grants/create", body, "access_grant").await
}

/// The credential behind a grant's first access method.
async fn behind(world: &World, grant: &Value) -> Value {
    let query = format!("user_identity_id={}", grant["user_identity_id"].as_str().unwrap());
    let list = world.get("/acs/credentials/list", &query).await.good("acs_credentials");
    list.as_array().unwrap().last().unwrap().clone()
}

async fn delete(world: &World, path: &str, name: &str, id: &Value) {
    let query = format!("{name}={}", id.as_str().unwrap());
    let answer = world.send(Method::DELETE, path, &query, None, Some(API_KEY)).await;
    assert_eq!(answer.body, json!({ "ok": true }), "nothing but ok");
}

#[tokio::test]
async fn a_grant_takes_its_access_methods_and_credentials_with_it() {
    let world = World::new().await;
    let (desk, encoder) = world.desk().await;
    let person = identity(&world, "ada").await;
    let grant = granted(&world, &person, "stay/1").await;
    let credential = behind(&world, &grant).await["acs_credential_id"].clone();
    desk.encodes(&world, encoder, credential.as_str().unwrap(), &encoded(CARD)).await;
    let more = json!({ "access_grant_id": grant["access_grant_id"], "requested_access_methods": [{ "mode": "card" }] });
    let grant = world.made("/access_grants/request_access_methods", more, "access_grant").await;
    let methods = grant["access_method_ids"].as_array().unwrap().clone();
    assert_eq!(methods.len(), 2);
    let waiting = json!({ "access_method_id": methods[1], "acs_encoder_id": encoder });
    let waiting = world.made("/access_methods/encode", waiting, "action_attempt").await;
    assert_eq!(waiting["status"], "pending");
    let told = world.events("").await.len();
    delete(&world, "/access_grants/delete", "access_grant_id", &grant["access_grant_id"]).await;
    let expected = [
        "access_method.revoked",
        "access_method.deleted",
        "acs_credential.deleted",
        "access_grant.access_to_door_lost",
        "access_method.deleted",
        "acs_credential.deleted",
        "access_grant.deleted",
    ];
    assert_eq!(world.events("").await.split_off(told), expected);
    let attempt = world.attempt(&waiting["action_attempt_id"]).await;
    assert_eq!(attempt["error"]["type"], "credential_deleted", "before the card is touched");
    assert!(desk.next(0, &[]).await.is_none());
    for method in &methods {
        world
            .post("/access_methods/get", json!({ "access_method_id": method }))
            .await
            .refused(404, "access_method_not_found");
        let body = json!({ "access_method_id": method, "acs_encoder_id": encoder });
        world.post("/access_methods/encode", body).await.refused(404, "access_method_not_found");
    }
    for path in ["/access_grants/get", "/access_grants/update", "/access_grants/delete"] {
        let which = json!({ "access_grant_id": grant["access_grant_id"] });
        world.post(path, which).await.refused(404, "access_grant_not_found");
    }
    world
        .post("/acs/credentials/get", json!({ "acs_credential_id": credential }))
        .await
        .refused(404, "acs_credential_not_found");
    assert_eq!(world.get("/access_grants/list", "reservation_key=stay").await.good("access_grants"), json!([]));
    assert_eq!(world.get("/access_methods/list", "").await.good("access_methods"), json!([]));
    // What was deleted does not stand in the way of the same again.
    let again = granted(&world, &person, "stay/1").await;
    assert_ne!(again["access_grant_id"], grant["access_grant_id"]);
}

#[tokio::test]
async fn access_methods_end_one_by_one_by_grant_or_by_reservation() {
    let world = World::new().await;
    let person = identity(&world, "ada").await;
    let (first, second) = (granted(&world, &person, "1").await, granted(&world, &person, "2").await);
    let left = async |grant: &Value| {
        let body = json!({ "access_grant_id": grant["access_grant_id"] });
        let grant = world.made("/access_grants/get", body, "access_grant").await;
        assert_eq!(
            grant["access_method_ids"].as_array().unwrap().len(),
            grant["requested_access_methods"].as_array().unwrap().len()
        );
        grant["access_method_ids"].as_array().unwrap().len()
    };
    delete(&world, "/access_methods/delete", "access_grant_id", &first["access_grant_id"]).await;
    assert_eq!((left(&first).await, left(&second).await), (0, 1));
    world.post("/access_methods/delete", json!({ "reservation_key": "stay" })).await.good("ok");
    assert_eq!(left(&second).await, 0);
    world
        .post("/access_methods/delete", json!({ "reservation_key": "no" }))
        .await
        .refused(404, "access_grant_not_found");
    let unknown = json!({ "access_grant_id": uuid::Uuid::new_v4() });
    world.post("/access_methods/delete", unknown).await.refused(404, "access_grant_not_found");
    let both = json!({ "access_grant_id": first["access_grant_id"], "reservation_key": "stay" });
    world.post("/access_methods/delete", both).await.refused(400, "invalid_input");
    world.post("/access_methods/delete", json!({})).await.invalid("access_method_id");
}

#[tokio::test]
async fn a_user_takes_his_credentials_with_him_and_a_person_his_grants() {
    let world = World::new().await;
    let (desk, encoder) = world.desk().await;
    let (system, person) = (world.system().await, identity(&world, "ada").await);
    let grant = granted(&world, &person, "stay/1").await;
    let credential = behind(&world, &grant).await;
    let waiting = world.encode(encoder, credential["acs_credential_id"].as_str().unwrap()).await;
    let query = format!("acs_system_id={system}&user_identity_id={}", person.as_str().unwrap());
    world.send(Method::DELETE, "/acs/users/delete", &query, None, Some(API_KEY)).await.good("ok");
    assert_eq!(world.attempt(&waiting["action_attempt_id"]).await["error"]["type"], "credential_deleted");
    assert!(desk.next(0, &[]).await.is_none());
    world.get("/acs/users/get", &query).await.refused(404, "acs_user_not_found");
    let about = format!("acs_user_id={}", credential["acs_user_id"].as_str().unwrap());
    assert_eq!(world.events(&about).await, ["acs_user.created", "acs_user.deleted"]);
    assert_eq!(world.get("/acs/credentials/list", "").await.good("acs_credentials"), json!([]));
    // The grant stays, and a new card makes him known to the system again.
    let more = json!({ "access_grant_id": grant["access_grant_id"], "requested_access_methods": [{ "mode": "card" }] });
    world.made("/access_grants/request_access_methods", more, "access_grant").await;
    let user = world.get("/acs/users/get", &query).await.good("acs_user");
    assert_ne!(user["acs_user_id"], credential["acs_user_id"]);

    let own = json!({ "acs_user_id": user["acs_user_id"], "access_method": "card" });
    let own = world.made("/acs/credentials/create", own, "acs_credential").await;
    assert_eq!(own["user_identity_id"], person);
    delete(&world, "/user_identities/delete", "user_identity_id", &person).await;
    world
        .post("/user_identities/get", json!({ "user_identity_key": "ada" }))
        .await
        .refused(404, "user_identity_not_found");
    world
        .post("/access_grants/get", json!({ "access_grant_key": "stay/1" }))
        .await
        .refused(404, "access_grant_not_found");
    let user = world.made("/acs/users/get", json!({ "acs_user_id": user["acs_user_id"] }), "acs_user").await;
    assert!(user.get("user_identity_id").is_none(), "{user}");
    let own = world.show(own["acs_credential_id"].as_str().unwrap()).await;
    assert!(own.get("user_identity_id").is_none(), "{own}");
    assert_eq!(world.get("/acs/credentials/list", "").await.good("acs_credentials"), json!([own]), "only the grant's");
    assert_ne!(identity(&world, "ada").await, person, "the key is free");
}

#[tokio::test]
async fn a_user_becomes_a_person_once() {
    let world = World::new().await;
    let (ada, bob) = (identity(&world, "ada").await, identity(&world, "bob").await);
    let credential = world.credential().await;
    let user = world.show(&credential).await["acs_user_id"].clone();
    let link = json!({ "user_identity_key": "ada", "acs_user_id": user });
    let path = "/user_identities/add_acs_user";
    for _ in 0..2 {
        world.send(Method::PUT, path, "", Some(&link), Some(API_KEY)).await.good("ok");
    }
    assert_eq!(world.show(&credential).await["user_identity_id"], ada, "his credentials are hers");
    let person = world.made("/user_identities/get", json!({ "user_identity_id": ada }), "user_identity").await;
    assert_eq!(person["acs_user_ids"], json!([user]));
    world.post(path, json!({ "user_identity_id": bob, "acs_user_id": user })).await.invalid("acs_user_id");
    let second = json!({ "acs_system_id": world.system().await, "full_name": "Ada again" });
    let second = world.made("/acs/users/create", second, "acs_user").await["acs_user_id"].clone();
    world.post(path, json!({ "user_identity_id": ada, "acs_user_id": second })).await.invalid("acs_user_id");
    world.post(path, json!({ "acs_user_id": second })).await.invalid("user_identity_id");
    // Whoever names two things means one that is both.
    let mixed = json!({ "acs_user_id": second, "user_identity_id": ada });
    for path in ["/acs/users/get", "/acs/users/delete", "/acs/users/update"] {
        world.post(path, mixed.clone()).await.refused(404, "acs_user_not_found");
    }
}

#[tokio::test]
async fn an_update_changes_what_it_names_and_null_clears() {
    let world = World::new().await;
    let (ada, _) = (identity(&world, "ada").await, identity(&world, "bob").await);
    let update =
        async |path: &str, change: Value| world.send(Method::PATCH, path, "", Some(&change), Some(API_KEY)).await;
    let change = json!({ "user_identity_id": ada, "full_name": "Ada King", "email_address": null });
    assert_eq!(update("/user_identities/update", change).await.body, json!({ "ok": true }));
    let shown = world.made("/user_identities/get", json!({ "user_identity_key": "ada" }), "user_identity").await;
    assert_eq!((&shown["full_name"], &shown["email_address"]), (&json!("Ada King"), &json!(null)));
    let taken = json!({ "user_identity_id": ada, "user_identity_key": "bob" });
    update("/user_identities/update", taken).await.invalid("user_identity_key");
    update("/user_identities/update", json!({ "user_identity_id": ada, "user_identity_key": null })).await.good("ok");
    world.get("/user_identities/get", "user_identity_key=ada").await.refused(404, "user_identity_not_found");

    let schedule = json!({ "starts_at": "2025-07-13T17:00:00+02:00" });
    let body = json!({ "acs_system_id": world.system().await, "full_name": "Bob", "access_schedule": schedule });
    let user = world.made("/acs/users/create", body, "acs_user").await;
    assert_eq!(user["access_schedule"], json!({ "starts_at": "2025-07-13T15:00:00.000Z", "ends_at": null }));
    let id = &user["acs_user_id"];
    let show = async || world.made("/acs/users/get", json!({ "acs_user_id": id }), "acs_user").await;
    let schedule = json!({ "starts_at": "2025-07-13T15:00:00Z", "ends_at": "2025-07-14T15:00:00Z" });
    let change = json!({ "acs_user_id": id, "email": "bob@example.com", "access_schedule": schedule });
    update("/acs/users/update", change).await.good("ok");
    let shown = show().await;
    assert_eq!((&shown["full_name"], &shown["email_address"]), (&json!("Bob"), &json!("bob@example.com")));
    assert_eq!(shown["access_schedule"]["ends_at"], "2025-07-14T15:00:00.000Z");
    let backwards = json!({ "starts_at": "2025-07-14T15:00:00Z", "ends_at": "2025-07-13T15:00:00Z" });
    update("/acs/users/update", json!({ "acs_user_id": id, "access_schedule": backwards }))
        .await
        .invalid("access_schedule");
    update("/acs/users/update", json!({ "acs_user_id": id, "access_schedule": null })).await.good("ok");
    assert!(show().await.get("access_schedule").is_none());
}
