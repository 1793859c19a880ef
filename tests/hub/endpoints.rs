//! Every endpoint, by GET and by POST: good, without a parameter, with a wrong one, with an unknown id, without a key.

use crate::support::{API_KEY, BRIDGE_TOKEN, World};
use reqwest::Method;
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// An endpoint and what it takes.
struct Endpoint {
    path: &'static str,
    /// The key of the answer.
    key: &'static str,
    /// Good parameters.
    good: Value,
    /// Of those, the ones it cannot do without.
    required: &'static [&'static str],
    /// A parameter with a value of a wrong type, and the same as text for a query.
    wrong: Option<(&'static str, Value)>,
    /// Of the good ones, an id that may name nothing, and the error then.
    unknown: Option<(&'static str, &'static str)>,
    methods: &'static [&'static str],
}

const READ: &[&str] = &["GET", "POST"];
const WRITE: &[&str] = &["POST"];
const CHANGE: &[&str] = &["PATCH", "POST"];

/// All endpoints, in an order in which each finds what it needs; deletes last.
async fn table(world: &World) -> Vec<Endpoint> {
    let (_desk, encoder) = world.desk().await;
    let system = world.system().await;
    let entrance = world.entrances().await[0].clone();
    let identity = world.made("/user_identities/create", json!({ "full_name": "Jane Doe" }), "user_identity").await;
    let identity = identity["user_identity_id"].clone();
    let grant = world
        .made(
            "/access_grants/create",
            json!({ "user_identity_id": identity, "requested_access_methods": [{ "mode": "card" }], "acs_entrance_ids": [entrance] }),
            "access_grant",
        )
        .await;
    let method = grant["access_method_ids"][0].clone();
    let grant = grant["access_grant_id"].clone();
    let credential = world.credential().await;
    let user = world.show(&credential).await["acs_user_id"].clone();
    let attempt = world.scan(encoder).await["action_attempt_id"].clone();
    let event = world.get("/events/list", "limit=1").await.good("events")[0]["event_id"].clone();
    let webhook = world
        .made("/webhooks/create", json!({ "url": "https://example.com/", "event_types": ["none"] }), "webhook")
        .await["webhook_id"]
        .clone();
    let read = |path, key, good, required, wrong, unknown| Endpoint {
        path,
        key,
        good,
        required,
        wrong,
        unknown,
        methods: READ,
    };
    let write = |path, key, good, required, wrong, unknown| Endpoint {
        path,
        key,
        good,
        required,
        wrong,
        unknown,
        methods: WRITE,
    };
    let limit = Some(("limit", json!("many")));
    vec![
        read("/workspaces/get", "workspace", json!({}), &[], None, None),
        read("/acs/systems/list", "acs_systems", json!({}), &[], Some(("connected_account_id", json!("x"))), None),
        read(
            "/acs/systems/get",
            "acs_system",
            json!({ "acs_system_id": system }),
            &["acs_system_id"],
            Some(("acs_system_id", json!("x"))),
            Some(("acs_system_id", "acs_system_not_found")),
        ),
        read(
            "/acs/entrances/list",
            "acs_entrances",
            json!({ "acs_entrance_ids": [entrance] }),
            &[],
            limit.clone(),
            None,
        ),
        read(
            "/acs/entrances/get",
            "acs_entrance",
            json!({ "acs_entrance_id": entrance }),
            &["acs_entrance_id"],
            Some(("acs_entrance_id", json!("x"))),
            Some(("acs_entrance_id", "acs_entrance_not_found")),
        ),
        write(
            "/acs/users/create",
            "acs_user",
            json!({ "acs_system_id": system, "full_name": "A B" }),
            &["acs_system_id", "full_name"],
            Some(("full_name", json!(5))),
            Some(("acs_system_id", "acs_system_not_found")),
        ),
        read(
            "/acs/users/get",
            "acs_user",
            json!({ "acs_user_id": user }),
            &["acs_user_id"],
            Some(("acs_user_id", json!("x"))),
            Some(("acs_user_id", "acs_user_not_found")),
        ),
        read("/acs/users/list", "acs_users", json!({ "acs_system_id": system }), &[], limit.clone(), None),
        write(
            "/acs/credentials/create",
            "acs_credential",
            json!({ "acs_user_id": user, "access_method": "card" }),
            &["access_method"],
            Some(("starts_at", json!("soon"))),
            Some(("acs_user_id", "acs_user_not_found")),
        ),
        read(
            "/acs/credentials/get",
            "acs_credential",
            json!({ "acs_credential_id": credential }),
            &["acs_credential_id"],
            Some(("acs_credential_id", json!("x"))),
            Some(("acs_credential_id", "acs_credential_not_found")),
        ),
        read("/acs/credentials/list", "acs_credentials", json!({ "acs_user_id": user }), &[], limit.clone(), None),
        Endpoint {
            methods: CHANGE,
            ..read(
                "/acs/credentials/update",
                "acs_credential",
                json!({ "acs_credential_id": credential, "ends_at": "2025-07-20T11:00:00Z" }),
                &["acs_credential_id"],
                Some(("ends_at", json!("later"))),
                Some(("acs_credential_id", "acs_credential_not_found")),
            )
        },
        write(
            "/user_identities/create",
            "user_identity",
            json!({ "full_name": "C D" }),
            &[],
            Some(("email_address", json!("nobody"))),
            None,
        ),
        read(
            "/user_identities/get",
            "user_identity",
            json!({ "user_identity_id": identity }),
            &["user_identity_id"],
            Some(("user_identity_id", json!("x"))),
            Some(("user_identity_id", "user_identity_not_found")),
        ),
        read(
            "/user_identities/list",
            "user_identities",
            json!({ "user_identity_ids": [identity] }),
            &[],
            limit.clone(),
            None,
        ),
        write(
            "/access_grants/create",
            "access_grant",
            json!({ "user_identity_id": identity, "requested_access_methods": [{ "mode": "card" }], "ends_at": null }),
            &["user_identity_id", "requested_access_methods"],
            Some(("requested_access_methods", json!("card"))),
            Some(("user_identity_id", "user_identity_not_found")),
        ),
        read(
            "/access_grants/get",
            "access_grant",
            json!({ "access_grant_id": grant }),
            &["access_grant_id"],
            Some(("access_grant_id", json!("x"))),
            Some(("access_grant_id", "access_grant_not_found")),
        ),
        read("/access_grants/list", "access_grants", json!({ "user_identity_id": identity }), &[], limit.clone(), None),
        Endpoint {
            methods: CHANGE,
            ..read(
                "/access_grants/update",
                "ok",
                json!({ "access_grant_id": grant, "name": "Stay" }),
                &["access_grant_id"],
                Some(("ends_at", json!("later"))),
                Some(("access_grant_id", "access_grant_not_found")),
            )
        },
        read(
            "/access_methods/get",
            "access_method",
            json!({ "access_method_id": method }),
            &["access_method_id"],
            Some(("access_method_id", json!("x"))),
            Some(("access_method_id", "access_method_not_found")),
        ),
        read(
            "/access_methods/list",
            "access_methods",
            json!({ "access_grant_id": grant }),
            &[],
            Some(("access_grant_id", json!("x"))),
            None,
        ),
        write(
            "/access_methods/encode",
            "action_attempt",
            json!({ "access_method_id": method, "acs_encoder_id": encoder }),
            &["access_method_id", "acs_encoder_id"],
            Some(("acs_encoder_id", json!(7))),
            Some(("access_method_id", "access_method_not_found")),
        ),
        read("/acs/encoders/list", "acs_encoders", json!({ "acs_encoder_ids": [encoder] }), &[], limit.clone(), None),
        read(
            "/acs/encoders/get",
            "acs_encoder",
            json!({ "acs_encoder_id": encoder }),
            &["acs_encoder_id"],
            Some(("acs_encoder_id", json!("x"))),
            Some(("acs_encoder_id", "acs_encoder_not_found")),
        ),
        write(
            "/acs/encoders/encode_credential",
            "action_attempt",
            json!({ "acs_encoder_id": encoder, "acs_credential_id": credential }),
            &["acs_encoder_id", "acs_credential_id"],
            Some(("acs_encoder_id", json!("x"))),
            Some(("acs_encoder_id", "acs_encoder_not_found")),
        ),
        write(
            "/acs/encoders/scan_credential",
            "action_attempt",
            json!({ "acs_encoder_id": encoder }),
            &["acs_encoder_id"],
            Some(("acs_encoder_id", json!("x"))),
            Some(("acs_encoder_id", "acs_encoder_not_found")),
        ),
        read(
            "/action_attempts/get",
            "action_attempt",
            json!({ "action_attempt_id": attempt }),
            &["action_attempt_id"],
            Some(("action_attempt_id", json!("x"))),
            Some(("action_attempt_id", "action_attempt_not_found")),
        ),
        read(
            "/action_attempts/list",
            "action_attempts",
            json!({ "action_attempt_ids": [attempt] }),
            &[],
            limit.clone(),
            None,
        ),
        read(
            "/events/get",
            "event",
            json!({ "event_id": event }),
            &["event_id"],
            Some(("event_id", json!("x"))),
            Some(("event_id", "event_not_found")),
        ),
        read("/events/list", "events", json!({ "event_ids": [event] }), &[], Some(("since", json!("yesterday"))), None),
        read("/encoderd/v1/encoders", "encoders", json!({}), &[], None, None),
        read(
            "/encoderd/v1/webhook_deliveries",
            "webhook_deliveries",
            json!({ "webhook_id": webhook }),
            &["webhook_id"],
            limit.clone(),
            Some(("webhook_id", "webhook_not_found")),
        ),
        write(
            "/webhooks/create",
            "webhook",
            json!({ "url": "https://example.com/hook", "event_types": ["none"] }),
            &["url"],
            Some(("url", json!("example.com"))),
            None,
        ),
        read(
            "/webhooks/get",
            "webhook",
            json!({ "webhook_id": webhook }),
            &["webhook_id"],
            None,
            Some(("webhook_id", "webhook_not_found")),
        ),
        read("/webhooks/list", "webhooks", json!({}), &[], None, None),
        Endpoint {
            methods: &["PUT", "POST"],
            ..read(
                "/webhooks/update",
                "ok",
                json!({ "webhook_id": webhook, "event_types": ["none", "nothing"] }),
                &["webhook_id", "event_types"],
                Some(("event_types", json!("none"))),
                Some(("webhook_id", "webhook_not_found")),
            )
        },
        Endpoint {
            methods: &["DELETE"],
            ..read(
                "/webhooks/delete",
                "ok",
                json!({ "webhook_id": webhook }),
                &["webhook_id"],
                None,
                Some(("webhook_id", "webhook_not_found")),
            )
        },
        Endpoint {
            methods: &["DELETE"],
            ..read(
                "/acs/credentials/delete",
                "ok",
                json!({ "acs_credential_id": credential }),
                &["acs_credential_id"],
                Some(("acs_credential_id", json!("x"))),
                Some(("acs_credential_id", "acs_credential_not_found")),
            )
        },
    ]
}

/// Sends parameters as the SDKs do: a query with GET and DELETE, a body otherwise.
async fn send(
    world: &World,
    method: &str,
    path: &str,
    parameters: &Value,
    key: Option<&str>,
) -> crate::support::Answer {
    let method: Method = method.parse().unwrap();
    if method == Method::GET || method == Method::DELETE {
        return world.send(method, path, &query(parameters), None, key).await;
    }
    world.send(method, path, "", Some(parameters), key).await
}

fn query(parameters: &Value) -> String {
    let mut pairs = vec![("_strict".to_owned(), "true".to_owned())];
    for (name, value) in parameters.as_object().unwrap() {
        match value {
            Value::Array(items) => {
                pairs.extend(items.iter().map(|item| (name.clone(), item.as_str().unwrap().to_owned())));
            }
            Value::String(text) => pairs.push((name.clone(), text.clone())),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
                pairs.push((name.clone(), value.to_string()));
            }
        }
    }
    serde_html_form::to_string(&pairs).unwrap()
}

fn without(parameters: &Value, name: &str) -> Value {
    let mut parameters: Map<String, Value> = parameters.as_object().unwrap().clone();
    parameters.remove(name);
    Value::Object(parameters)
}

fn with(parameters: &Value, name: &str, value: Value) -> Value {
    let mut parameters = parameters.clone();
    parameters[name] = value;
    parameters
}

#[tokio::test]
async fn every_endpoint_answers_good_questions_and_refuses_bad_ones() {
    let world = World::new().await;
    for endpoint in table(&world).await {
        for method in endpoint.methods {
            let Endpoint { path, key, good, required, wrong, unknown, .. } = &endpoint;
            let told = |what: &str| println!("{method} {path}: {what}");
            told("no key");
            send(&world, method, path, good, None).await.refused(401, "unauthorized");
            told("wrong keys");
            send(&world, method, path, good, Some("seam_other")).await.refused(401, "unauthorized");
            send(&world, method, path, good, Some(BRIDGE_TOKEN)).await.refused(401, "unauthorized");
            for name in *required {
                told(&format!("without {name}"));
                send(&world, method, path, &without(good, name), Some(API_KEY)).await.invalid(name);
            }
            if let Some((name, value)) = wrong {
                told(&format!("with a wrong {name}"));
                send(&world, method, path, &with(good, name, value.clone()), Some(API_KEY)).await.invalid(name);
            }
            if let Some((name, error)) = unknown {
                told(&format!("with an unknown {name}"));
                let parameters = with(good, name, json!(Uuid::new_v4()));
                send(&world, method, path, &parameters, Some(API_KEY)).await.refused(404, error);
            }
            told("good");
            send(&world, method, path, good, Some(API_KEY)).await.good(key);
        }
    }
}

#[tokio::test]
async fn a_path_refuses_methods_that_it_does_not_take() {
    let world = World::new().await;
    for endpoint in table(&world).await {
        for method in ["GET", "PUT", "PATCH", "DELETE"] {
            let deletes = endpoint.path.ends_with("/delete") && method == "DELETE";
            if !endpoint.methods.contains(&method) && !deletes {
                let method: Method = method.parse().unwrap();
                let answer = world.send(method, endpoint.path, "", None, Some(API_KEY)).await;
                answer.refused(405, "method_not_allowed");
            }
        }
    }
}

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
    (
        "/access_grants/list",
        "access_grants",
        &["access_code_id", "device_id", "location_id", "space_id"],
        &["customer_key"],
    ),
    ("/access_methods/list", "access_methods", &["access_code_id", "device_id", "space_id"], &[]),
    ("/acs/entrances/list", "acs_entrances", &["space_id", "location_id", "connected_account_id"], &["customer_key"]),
    ("/acs/systems/list", "acs_systems", &["connected_account_id"], &["customer_key"]),
    ("/user_identities/list", "user_identities", &["credential_manager_acs_system_id"], &[]),
    (
        "/events/list",
        "events",
        &[
            "access_code_id",
            "acs_access_group_id",
            "connect_webview_id",
            "connected_account_id",
            "device_id",
            "space_id",
        ],
        &["customer_key"],
    ),
    ("/action_attempts/list", "action_attempts", &["device_id"], &[]),
];

#[tokio::test]
async fn a_filter_by_what_the_hub_has_none_of_lets_nothing_through() {
    let world = World::new().await;
    table(&world).await;
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
    for name in ["access_code_ids", "device_ids", "space_ids"] {
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
    for path in ["/user_identities/list", "/acs/users/list", "/acs/credentials/list", "/access_methods/list"] {
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
