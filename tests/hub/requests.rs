//! Requests that are no good at all.

use crate::support::{API_KEY, Answer, BRIDGE_TOKEN, World};
use reqwest::{Method, header};
use serde_json::json;

async fn raw(world: &World, content_type: &str, body: impl Into<reqwest::Body>) -> Answer {
    let request = reqwest::Client::new()
        .post(format!("{}/acs/encoders/list", world.base))
        .bearer_auth(API_KEY)
        .header(header::CONTENT_TYPE, content_type)
        .body(body);
    Answer::read(request.send().await.unwrap()).await
}

#[tokio::test]
async fn a_body_that_is_no_json_object_is_refused() {
    let world = World::new().await;
    for (content_type, body) in [
        ("application/json", "{\"limit\": 5"),
        ("application/json", "[]"),
        ("application/json", "null"),
        ("application/json", "\u{1}"),
        ("text/plain", "{}"),
        ("application/x-www-form-urlencoded", "limit=5"),
    ] {
        let answer = raw(&world, content_type, body).await;
        let tree = &answer.refused(400, "invalid_input")["validation_errors"];
        assert!(tree["_errors"][0].is_string(), "{tree}");
    }
    for (content_type, body) in
        [("application/json; charset=utf-8", "{}"), ("application/vnd.api+json", "{}"), ("text/plain", "")]
    {
        raw(&world, content_type, body).await.good("acs_encoders");
    }
}

#[tokio::test]
async fn a_body_over_one_mebibyte_is_refused_and_one_just_below_is_not() {
    let world = World::new().await;
    let padded = |bytes: usize| format!("{{\"_\":\"{}\"}}", "x".repeat(bytes - 8));
    raw(&world, "application/json", padded(1 << 20)).await.good("acs_encoders");
    raw(&world, "application/json", padded((1 << 20) + 1)).await.refused(413, "payload_too_large");
    raw(&world, "application/json", padded(4 << 20)).await.refused(413, "payload_too_large");
}

#[tokio::test]
async fn parameters_that_nest_too_deeply_are_refused_and_the_hub_goes_on() {
    let world = World::new().await;
    let deep = "a.".repeat(10_000);
    world.get("/acs/encoders/list", &format!("{deep}a=1")).await.refused(400, "invalid_input");
    world.get("/acs/encoders/list", &format!("{}=1", ".".repeat(10_000))).await.refused(400, "invalid_input");
    let lists = format!("{{\"a\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let objects = format!("{}1{}", "{\"a\":".repeat(10_000), "}".repeat(10_000));
    for body in [lists, objects] {
        raw(&world, "application/json", body).await.refused(400, "invalid_input");
    }
    world.get("/acs/encoders/list", "a.b.c.d=1").await.good("acs_encoders");
}

#[tokio::test]
async fn unknown_paths_are_json_too() {
    let world = World::new().await;
    for path in ["/", "/acs/encoders", "/acs/encoders/list/", "/nothing"] {
        world.get(path, "").await.refused(404, "not_found");
        world.post(path, json!({})).await.refused(404, "not_found");
    }
    world
        .send(Method::GET, "/bridge/v1/jobs/next", "", None, Some(BRIDGE_TOKEN))
        .await
        .refused(405, "method_not_allowed");
}

#[tokio::test]
async fn health_needs_no_key() {
    let world = World::new().await;
    for path in ["/healthz", "/readyz"] {
        world.send(Method::GET, path, "", None, None).await.good("ok");
    }
}

#[tokio::test]
async fn readiness_names_each_hop() {
    let world = World::new().await;
    let ready = world.send(Method::GET, "/readyz", "", None, None).await.good("hops");
    assert_eq!(ready, json!({ "database": { "ok": true, "needed": true } }));
}

#[tokio::test]
async fn metrics_are_for_this_machine_and_for_who_has_a_key() {
    encoderd::telemetry::metrics::install();
    let world = World::new().await;
    world.get("/acs/systems/list", "").await.good("acs_systems");
    world.get("/nothing", "").await.refused(404, "not_found");
    let open = world.request("/metrics").send().await.unwrap();
    assert_eq!(open.status(), 200);
    assert!(open.headers()["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"));
    let text = open.text().await.unwrap();
    for line in
        ["encoderd_http_requests_total{route=\"/acs/systems/list\",status=\"200\"}", "route=\"other\",status=\"404\""]
    {
        assert!(text.contains(line), "{line} in {text}");
    }
    let through = |key: Option<&str>| {
        let request = world.request("/metrics").header("x-forwarded-for", "192.0.2.1");
        match key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    };
    assert_eq!(through(None).send().await.unwrap().status(), 401);
    assert_eq!(through(Some(BRIDGE_TOKEN)).send().await.unwrap().status(), 401);
    assert_eq!(through(Some(API_KEY)).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn the_bridge_protocol_takes_its_own_token_only() {
    let world = World::new().await;
    for path in ["encoders/sync", "jobs/next", "jobs/start", "jobs/progress", "jobs/result", "events"] {
        let path = format!("/bridge/v1/{path}");
        for key in [None, Some(API_KEY), Some("")] {
            world.send(Method::POST, &path, "", Some(&json!({})), key).await.refused(401, "unauthorized");
        }
        world.send(Method::POST, &path, "", Some(&json!({})), Some(BRIDGE_TOKEN)).await.refused(400, "invalid_input");
    }
}

#[tokio::test]
async fn what_stands_in_query_and_body_is_taken_from_the_body() {
    let world = World::new().await;
    let entrances = world.entrances().await;
    let query = format!("acs_entrance_id={}", entrances[0]);
    let body = json!({ "acs_entrance_id": entrances[1] });
    let answer = world.send(Method::POST, "/acs/entrances/get", &query, Some(&body), Some(API_KEY)).await;
    assert_eq!(answer.good("acs_entrance")["display_name"], "Room 102");
    let answer = world.send(Method::POST, "/acs/entrances/get", &query, None, Some(API_KEY)).await;
    assert_eq!(answer.good("acs_entrance")["display_name"], "Room 101");
}

#[tokio::test]
async fn everything_that_was_forgotten_is_named_at_once() {
    let world = World::new().await;
    let answer = world.post("/acs/users/create", json!({ "email": "nobody" })).await;
    for parameter in ["email", "acs_system_id", "full_name"] {
        answer.invalid(parameter);
    }
    let answer = world.send(Method::DELETE, "/spaces/remove_acs_entrances", "_strict=true", None, Some(API_KEY)).await;
    for parameter in ["space_id", "acs_entrance_ids"] {
        answer.invalid(parameter);
        assert_eq!(answer.body["error"]["validation_errors"][parameter]["_errors"], json!(["Required"]));
    }
    let given = world.post("/access_methods/encode", json!({ "access_method_id": null })).await;
    given.invalid("access_method_id");
    given.invalid("acs_encoder_id");
}

#[tokio::test]
async fn texts_hold_no_nul_and_times_are_written_as_iso_8601_says() {
    let world = World::new().await;
    let system = world.system().await;
    world.post("/user_identities/create", json!({ "full_name": "Jane\0Doe" })).await.invalid("full_name");
    world.post("/user_identities/list", json!({ "search": "\0" })).await.invalid("search");
    world.get("/user_identities/list", "search=a%00b").await.invalid("search");
    for starts_at in ["2025-07-13T15:00:00Z[UTC]", "2025-07-13T15:00:00+00:00[Europe/Zurich]", "2025-07-13 15:00:00Z"] {
        let body = json!({ "acs_system_id": system, "access_method": "card", "starts_at": starts_at });
        let answer = world.post("/acs/credentials/create", body).await;
        answer.invalid("starts_at");
        assert!(answer.body.to_string().contains("Invalid datetime"), "{}", answer.body);
    }
    for ends_at in ["9999-12-31T23:59:59Z", "2106-02-07T06:28:15Z", "9999-12-31T23:59:59.999-12:00"] {
        let body = json!({ "acs_system_id": system, "access_method": "card", "ends_at": ends_at });
        let answer = world.post("/acs/credentials/create", body).await;
        answer.invalid("ends_at");
        assert!(answer.body.to_string().contains("2106-02-07"), "{}", answer.body);
    }
    let all = world.post("/acs/credentials/list", json!({ "created_before": "9999-12-31T23:59:59Z" })).await;
    all.good("acs_credentials");
}
