//! Lists: filters, pages; and the keys of the objects in them.

use crate::endpoints::{self, send};
use crate::support::{API_KEY, World};
use serde_json::{Value, json};
use uuid::Uuid;

#[tokio::test]
async fn a_filter_lets_through_what_it_names_and_an_empty_list_nothing() {
    let world = World::new().await;
    let entrances = world.entrances().await;
    let count = |answer: crate::support::Answer| answer.good("acs_entrances").as_array().unwrap().len();
    assert_eq!(count(world.get("/acs/entrances/list", &format!("acs_entrance_ids={}", entrances[1])).await), 1);
    let two = format!("acs_entrance_ids={}&acs_entrance_ids={}", entrances[0], entrances[1]);
    assert_eq!(count(world.get("/acs/entrances/list", &two).await), 2);
    assert_eq!(count(world.get("/acs/entrances/list", "acs_entrance_ids=").await), 0);
    assert_eq!(count(world.post("/acs/entrances/list", json!({ "acs_entrance_ids": [] })).await), 0);
    assert_eq!(count(world.get("/acs/entrances/list", "search=ROOM+10").await), 3);
    assert_eq!(count(world.get("/acs/entrances/list", "search=101").await), 1);
    assert_eq!(count(world.get("/acs/entrances/list", "search=%25").await), 0, "a percent sign is a percent sign");
    world.made("/user_identities/create", json!({ "full_name": "Änne Müller" }), "user_identity").await;
    for search in ["%C3%84nne", "M%C3%BCLLER"] {
        let found = world.get("/user_identities/list", &format!("search={search}")).await.good("user_identities");
        assert_eq!(found.as_array().unwrap().len(), 1, "{search}");
    }
    let credential = world.credential().await;
    assert_eq!(count(world.get("/acs/entrances/list", &format!("acs_credential_id={credential}")).await), 2);
    let none = format!("acs_system_id={}", Uuid::new_v4());
    assert_eq!(world.get("/acs/encoders/list", &none).await.good("acs_encoders"), json!([]));
}

/// Filters by what this hub has none of, and by accounts: path, the answer's key, parameters that are ids, and others.
const NOTHING_FITS: &[(&str, &str, &[&str], &[&str])] = &[
    ("/access_grants/list", "access_grants", &["access_code_id", "device_id"], &["customer_key"]),
    ("/access_methods/list", "access_methods", &["access_code_id", "device_id"], &[]),
    ("/acs/entrances/list", "acs_entrances", &["connected_account_id"], &["customer_key"]),
    ("/acs/systems/list", "acs_systems", &["connected_account_id"], &["customer_key"]),
    ("/user_identities/list", "user_identities", &["credential_manager_acs_system_id"], &[]),
    (
        "/events/list",
        "events",
        &["access_code_id", "acs_access_group_id", "connect_webview_id", "connected_account_id", "device_id"],
        &["customer_key"],
    ),
    ("/spaces/list", "spaces", &["parent_space_id", "connected_account_id"], &["parent_space_key", "customer_key"]),
    ("/action_attempts/list", "action_attempts", &["device_id"], &[]),
];

#[tokio::test]
async fn a_filter_by_what_the_hub_has_none_of_lets_nothing_through() {
    let world = World::new().await;
    endpoints::stock(&world).await;
    for (path, key, ids, texts) in NOTHING_FITS {
        let everything = world.get(path, "").await.good(key);
        assert_ne!(everything, json!([]), "{path} has something to hide");
        for name in ids.iter().chain(*texts) {
            let value = if ids.contains(name) { Uuid::new_v4().to_string() } else { "somebody".to_owned() };
            for method in ["GET", "POST"] {
                let told = format!("{method} {path} with {name}");
                let given = send(&world, method, path, &json!({ *name: value }), Some(API_KEY)).await;
                assert_eq!(given.good(key), json!([]), "{told}");
                if ids.contains(name) {
                    send(&world, method, path, &json!({ *name: "x" }), Some(API_KEY)).await.invalid(name);
                }
            }
            assert_eq!(world.post(path, json!({ *name: null })).await.good(key), everything, "{path}: no {name}");
            assert_eq!(world.get(path, &format!("{name}=")).await.good(key), everything, "{path}: no {name}");
        }
    }
    for name in ["access_code_ids", "device_ids"] {
        let ids = json!({ name: [Uuid::new_v4(), Uuid::new_v4()] });
        for method in ["GET", "POST"] {
            let given = send(&world, method, "/events/list", &ids, Some(API_KEY)).await;
            assert_eq!(given.good("events"), json!([]), "{method} with {name}");
        }
        world.post("/events/list", json!({ name: ["x"] })).await.invalid(&format!("{name}.0"));
    }
    let system = world.get("/acs/systems/list", "").await.good("acs_systems")[0].clone();
    let account = json!({ "connected_account_id": system["connected_account_id"] });
    for (path, key) in
        [("/acs/systems/list", "acs_systems"), ("/acs/entrances/list", "acs_entrances"), ("/events/list", "events")]
    {
        assert_ne!(world.post(path, account.clone()).await.good(key), json!([]), "{path} by its own account");
    }
}

#[tokio::test]
async fn pages_follow_one_another_without_gap_or_repetition() {
    let world = World::new().await;
    for number in 0..5 {
        world
            .made("/user_identities/create", json!({ "user_identity_key": format!("guest-{number}") }), "user_identity")
            .await;
    }
    let mut seen = Vec::new();
    let mut query = "limit=2".to_owned();
    loop {
        let answer = world.get("/user_identities/list", &query).await;
        let page = answer.good("user_identities");
        seen.extend(
            page.as_array().unwrap().iter().map(|identity| identity["user_identity_key"].as_str().unwrap().to_owned()),
        );
        let pagination = answer.good("pagination");
        let Some(cursor) = pagination["next_page_cursor"].as_str() else {
            assert_eq!(pagination, json!({ "has_next_page": false, "next_page_cursor": null, "next_page_url": null }));
            break;
        };
        assert_eq!((pagination["has_next_page"].as_bool(), page.as_array().unwrap().len()), (Some(true), 2));
        let url = pagination["next_page_url"].as_str().unwrap();
        query = url.strip_prefix(&format!("{}/user_identities/list?", world.base)).unwrap().to_owned();
        let by_post = world.post("/user_identities/list", json!({ "limit": 2, "page_cursor": cursor })).await;
        assert_eq!(
            by_post.good("user_identities"),
            world.get("/user_identities/list", &query).await.good("user_identities")
        );
    }
    seen.sort();
    assert_eq!(seen, ["guest-0", "guest-1", "guest-2", "guest-3", "guest-4"]);
    world.get("/user_identities/list", "page_cursor=nonsense").await.invalid("page_cursor");
    let entrances = world.get("/acs/entrances/list", "limit=1").await.good("pagination");
    let other = json!({ "page_cursor": entrances["next_page_cursor"] });
    world.post("/acs/entrances/list", other.clone()).await.good("acs_entrances");
    for path in
        ["/user_identities/list", "/spaces/list", "/acs/users/list", "/acs/credentials/list", "/access_methods/list"]
    {
        world.post(path, other.clone()).await.invalid("page_cursor");
    }
    world.post("/user_identities/list", json!({ "limit": 0 })).await.invalid("limit");
}

#[tokio::test]
async fn objects_have_exactly_the_keys_of_the_types() {
    let world = World::new().await;
    let (_desk, encoder) = world.desk().await;
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let encoder = world.get("/acs/encoders/get", &format!("acs_encoder_id={encoder}")).await.good("acs_encoder");
    let expected = [
        "acs_encoder_id",
        "acs_system_id",
        "connected_account_id",
        "created_at",
        "display_name",
        "errors",
        "workspace_id",
    ];
    assert_eq!(keys(&encoder), expected);
    let system = world.system().await;
    let unassigned = world
        .made("/acs/credentials/create", json!({ "acs_system_id": system, "access_method": "card" }), "acs_credential")
        .await;
    assert!(
        unassigned.get("acs_user_id").is_none() && unassigned.get("user_identity_id").is_none(),
        "optional is not nullable"
    );
    assert!(unassigned.get("ends_at").is_none(), "no end");
    for (name, value) in [
        ("card_number", json!(null)),
        ("issued_at", json!(null)),
        ("is_issued", json!(false)),
        ("is_managed", json!(true)),
        ("errors", json!([])),
    ] {
        assert_eq!(unassigned[name], value, "{name}");
    }
    assert!(!unassigned["display_name"].as_str().unwrap().is_empty());
    assert_eq!(unassigned["warnings"][0]["warning_code"], "waiting_to_be_issued");
    assert_eq!(keys(&unassigned["warnings"][0]), ["created_at", "message", "warning_code"]);
    let identity = world.made("/user_identities/create", json!({}), "user_identity").await;
    for name in ["user_identity_key", "email_address", "phone_number", "full_name"] {
        assert_eq!(identity[name], json!(null), "{name} is nullable");
    }
    assert!(!identity["display_name"].as_str().unwrap().is_empty());
    let attempt = world.scan(encoder["acs_encoder_id"].as_str().unwrap().parse().unwrap()).await;
    assert_eq!(keys(&attempt), ["action_attempt_id", "action_type", "error", "result", "status"]);
    let event = world.get("/events/list", "event_type=acs_encoder.added").await.good("events")[0].clone();
    let expected = [
        "acs_encoder_id",
        "acs_system_id",
        "connected_account_id",
        "created_at",
        "event_id",
        "event_type",
        "occurred_at",
        "workspace_id",
    ];
    assert_eq!(keys(&event), expected);
}
