//! Clients that mean no good, or were written badly: refused or harmless, and the others are served meanwhile.

use crate::support::{API_KEY, Answer, World};
use encoderd::clock;
use reqwest::Method;
use serde_json::{Map, Value, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Somebody else is served, and soon.
async fn others_are_served(world: &World) {
    let begun = clock::now();
    world.get("/acs/systems/list", "").await.good("acs_systems");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

async fn connect(world: &World) -> TcpStream {
    TcpStream::connect(world.base.strip_prefix("http://").unwrap()).await.unwrap()
}

async fn post(world: &World, content_type: &str, body: Vec<u8>) -> Answer {
    let request = world.request_with(Method::POST, "/acs/users/create").bearer_auth(API_KEY);
    Answer::read(request.header("content-type", content_type).body(body).send().await.unwrap()).await
}

#[tokio::test]
async fn a_body_of_ten_megabytes_is_refused_and_read_to_its_end() {
    let world = World::new().await;
    let body = format!("{{\"full_name\": \"{}\"}}", "x".repeat(10 << 20));
    post(&world, "application/json", body.into_bytes()).await.refused(413, "payload_too_large");
    others_are_served(&world).await;
}

#[tokio::test]
async fn a_head_that_comes_slowly_or_never_ends_holds_nobody_up() {
    let world = World::new().await;
    let mut slow = connect(&world).await;
    slow.write_all(b"GET /acs/systems/list HTTP/1.1\r\nhost: x\r\n").await.unwrap();
    let mut endless = connect(&world).await;
    endless.write_all(b"GET /acs/systems/list HTTP/1.1\r\n").await.unwrap();
    // The hub hangs up at some point; until then this writes.
    let refused = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            if endless.write_all(format!("x-more: {}\r\n", "y".repeat(4000)).as_bytes()).await.is_err() {
                break;
            }
        }
    });
    refused.await.expect("a head without end is refused");
    others_are_served(&world).await;
    slow.write_all(b"connection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 401"), "slow, but whole: {answer}");
}

#[tokio::test]
async fn a_thousand_idle_connections_leave_room_for_others() {
    let world = World::new().await;
    let mut idle = Vec::with_capacity(1000);
    for _ in 0..1000 {
        idle.push(connect(&world).await);
    }
    others_are_served(&world).await;
    assert_eq!(idle.len(), 1000);
}

#[tokio::test]
async fn json_that_is_nested_deeply_is_refused() {
    let world = World::new().await;
    for depth in [200, 100_000] {
        let body = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let answer = post(&world, "application/json", format!("{{\"full_name\": {body}}}").into_bytes()).await;
        answer.refused(400, "invalid_input");
        let body = format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
        post(&world, "application/json", body.into_bytes()).await.refused(400, "invalid_input");
    }
    others_are_served(&world).await;
}

#[tokio::test]
async fn what_is_not_utf_8_or_not_json_is_refused() {
    let world = World::new().await;
    let latin_1 = b"{\"full_name\": \"Jos\xE9\"}".to_vec();
    let utf_16: Vec<u8> = "{\"full_name\": \"A\"}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (content_type, body) in [
        ("application/json; charset=iso-8859-1", latin_1.clone()),
        ("application/json", latin_1),
        ("application/json; charset=utf-16", utf_16),
        ("application/json", b"{\"full_name\": \"\x00\"".to_vec()),
        ("application/x-www-form-urlencoded", b"full_name=A".to_vec()),
        ("text/plain", b"{}".to_vec()),
    ] {
        post(&world, content_type, body).await.refused(400, "invalid_input");
    }
    others_are_served(&world).await;
}

#[tokio::test]
async fn a_character_that_a_database_cannot_hold_is_refused_and_not_an_error_of_the_hub() {
    let world = World::new().await;
    let body = json!({ "acs_system_id": world.system().await, "full_name": "a\u{0}b" });
    let answer = world.post("/acs/users/create", body).await;
    answer.refused(400, "invalid_input");
    world.get("/acs/users/list", "search=a%00b").await.refused(400, "invalid_input");
    others_are_served(&world).await;
}

/// SQL in every string that any path takes: refused as no such thing, or kept as the text that it is.
#[tokio::test]
async fn sql_in_every_string_of_every_path_is_text() {
    const SQL: &str = "'; DROP TABLE workspace; -- \" $1 \\";
    let world = World::new().await;
    let (system, encoder) = (world.system().await, world.desk().await.1);
    let known = json!({ "acs_system_id": system, "acs_encoder_id": encoder });
    let document: Value = world.request("/openapi.json").send().await.unwrap().json().await.unwrap();
    let mut tried = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        if path.starts_with("/bridge/v1") || path == "/encoderd/v1/events" {
            continue;
        }
        let schema = &operations["post"]["requestBody"]["content"]["application/json"]["schema"];
        let Some(properties) = schema["properties"].as_object() else { continue };
        for (name, schema) in properties {
            let mut body = Map::new();
            for (other, value) in known.as_object().unwrap() {
                if properties.contains_key(other) {
                    body.insert(other.clone(), value.clone());
                }
            }
            let is_list = schema["type"] == "array";
            body.insert(name.clone(), if is_list { json!([SQL]) } else { json!(SQL) });
            let answer = world.post(path, Value::Object(body)).await;
            assert!(answer.status.as_u16() < 500, "{path} {name}: {} {}", answer.status, answer.body);
            tried += 1;
        }
    }
    assert!(tried > 100, "{tried} strings");
    others_are_served(&world).await;
    let body = json!({ "acs_system_id": system, "full_name": SQL });
    let user = world.made("/acs/users/create", body, "acs_user").await;
    assert_eq!(user["full_name"], SQL.trim());
}
