//! Keys to the Seam API: made, listed, revoked, rotated; and what each opens.

use crate::admin::{in_workspace, workspace};
use crate::sdk::{installed, suite};
use crate::support::{API_KEY, Answer, SOON, World};
use encoderd::hub::{Patience, Settings};
use reqwest::Method;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use uuid::Uuid;

const KEYS: &str = "/encoderd/v1/api_keys";

async fn create(world: &World, body: Value) -> Value {
    world.made(&format!("{KEYS}/create"), body, "api_key").await
}

fn secret(key: &Value) -> String {
    key["key"].as_str().unwrap().to_owned()
}

async fn get(world: &World, path: &str, key: &str) -> Answer {
    world.send(Method::GET, path, "", None, Some(key)).await
}

#[tokio::test]
async fn a_key_is_shown_once_and_opens_its_workspace_until_it_is_revoked() {
    let world = World::new().await;
    let made = create(&world, json!({ "name": "Booking" })).await;
    let key = secret(&made);
    assert!(key.len() == 69 && key.starts_with("seam_") && key.starts_with(made["prefix"].as_str().unwrap()), "{key}");
    assert!(key["seam_".len()..].bytes().all(|letter| letter.is_ascii_hexdigit()), "256 bits: {key}");
    assert_ne!(secret(&create(&world, json!({ "name": "Booking" })).await), key);
    let answer = get(&world, "/acs/systems/list", &key).await;
    assert_eq!(answer.good("acs_systems")[0]["acs_system_id"], world.system().await);
    let list = world.get(&format!("{KEYS}/list"), "").await.good("api_keys");
    let mut shown = made.clone();
    shown.as_object_mut().unwrap().remove("key");
    assert!(list.as_array().unwrap().contains(&shown), "{list}");
    assert!(!list.to_string().contains(&key));
    // Whoever reads the database finds no key.
    if let Some(path) = world.database.strip_prefix("sqlite://") {
        for file in [path.to_owned(), format!("{path}-wal")] {
            let bytes = std::fs::read(&file).unwrap_or_default();
            assert!(!bytes.windows(key.len()).any(|part| part == key.as_bytes()), "{file}");
        }
    }
    let id = json!({ "api_key_id": made["api_key_id"] });
    let revoked = world.made(&format!("{KEYS}/revoke"), id.clone(), "api_key").await;
    assert!(revoked["revoked_at"].is_string(), "{revoked}");
    get(&world, "/acs/systems/list", &key).await.refused(401, "unauthorized");
    assert_eq!(world.made(&format!("{KEYS}/revoke"), id.clone(), "api_key").await, revoked, "once is enough");
    world.post(&format!("{KEYS}/rotate"), id).await.invalid("api_key_id");
}

#[tokio::test]
async fn a_stream_ends_when_its_key_is_revoked() {
    let world = World::new().await;
    let (revoked, other) = (create(&world, json!({ "name": "a" })).await, create(&world, json!({ "name": "b" })).await);
    let open = async |key: &Value| world.request("/encoderd/v1/events").bearer_auth(secret(key)).send().await.unwrap();
    let (mut ends, mut stays) = (open(&revoked).await, open(&other).await);
    assert_eq!((ends.status().as_u16(), stays.status().as_u16()), (200, 200));
    world.made(&format!("{KEYS}/revoke"), json!({ "api_key_id": revoked["api_key_id"] }), "api_key").await;
    let rest = async {
        while let Some(part) = ends.chunk().await.unwrap() {
            assert!(!String::from_utf8_lossy(&part).contains("user_identity"), "nothing more is told");
        }
    };
    tokio::time::timeout(SOON, rest).await.expect("the stream ends");
    world.credential().await;
    let told = async {
        while let Some(part) = stays.chunk().await.unwrap() {
            if String::from_utf8_lossy(&part).contains("acs_user.created") {
                return true;
            }
        }
        false
    };
    assert!(tokio::time::timeout(SOON, told).await.expect("other streams go on"));
}

#[tokio::test]
async fn a_rotated_key_ends_at_once_or_after_its_grace() {
    let world = World::new().await;
    let first = create(&world, json!({ "name": "Booking" })).await;
    let rotate = json!({ "api_key_id": first["api_key_id"], "grace_seconds": 3600 });
    let answer = world.post(&format!("{KEYS}/rotate"), rotate.clone()).await;
    let (second, replaced) = (answer.good("api_key"), answer.good("replaced_api_key"));
    assert_eq!((&second["name"], &replaced["api_key_id"]), (&json!("Booking"), &first["api_key_id"]));
    assert!(replaced["revoked_at"].as_str() > replaced["created_at"].as_str(), "{replaced}");
    for key in [&first, &second] {
        get(&world, "/workspaces/get", &secret(key)).await.good("workspace");
    }
    world.post(&format!("{KEYS}/rotate"), rotate).await.invalid("api_key_id");
    // It can still be ended earlier.
    world.made(&format!("{KEYS}/revoke"), json!({ "api_key_id": first["api_key_id"] }), "api_key").await;
    get(&world, "/workspaces/get", &secret(&first)).await.refused(401, "unauthorized");
    let answer = world.post(&format!("{KEYS}/rotate"), json!({ "api_key_id": second["api_key_id"] })).await;
    get(&world, "/workspaces/get", &secret(&second)).await.refused(401, "unauthorized");
    get(&world, "/workspaces/get", &secret(&answer.good("api_key"))).await.good("workspace");
}

#[tokio::test]
async fn a_key_opens_its_own_workspace_only_and_never_administers() {
    let world = World::new().await;
    let other = workspace(&world, "Hotel Two").await;
    let here = secret(&create(&world, json!({ "name": "here" })).await);
    let made =
        in_workspace(&world, &other, &format!("{KEYS}/create"), json!({ "name": "there" })).await.good("api_key");
    let there = secret(&made);
    assert_eq!(made["workspace_id"], other["workspace_id"]);
    let credential = world.credential().await;
    let query = format!("acs_credential_id={credential}");
    world.send(Method::GET, "/acs/credentials/get", &query, None, Some(&here)).await.good("acs_credential");
    let answer = world.send(Method::GET, "/acs/credentials/get", &query, None, Some(&there)).await;
    answer.refused(404, "acs_credential_not_found");
    let workspace = get(&world, "/workspaces/get", &there).await.good("workspace");
    assert_eq!(workspace["workspace_id"], other["workspace_id"]);
    // Naming another workspace does not open it.
    let request = world.request("/workspaces/get").bearer_auth(&here);
    let named = request.header("seam-workspace", other["workspace_id"].as_str().unwrap()).send().await.unwrap();
    Answer::read(named).await.refused(403, "forbidden");
    for path in ["workspaces/list", "api_keys/list", "bridges/list"] {
        get(&world, &format!("/encoderd/v1/{path}"), &here).await.refused(403, "forbidden");
    }
    let list = world.get(&format!("{KEYS}/list"), "").await.good("api_keys");
    assert!(!list.to_string().contains("there"), "{list}");
}

#[tokio::test]
async fn a_personal_access_token_opens_the_workspace_that_it_names() {
    let world = World::new().await;
    let other = workspace(&world, "Hotel Two").await;
    let made = create(&world, json!({ "name": "Jane", "kind": "personal_access_token" })).await;
    let token = secret(&made);
    assert!(token.starts_with("seam_at") && made["workspace_id"].is_null(), "{made}");
    let ask = async |path: &str, workspace: Option<&str>| {
        let mut request = world.request(path).bearer_auth(&token);
        if let Some(workspace) = workspace {
            request = request.header("seam-workspace", workspace);
        }
        Answer::read(request.send().await.unwrap()).await
    };
    let id = other["workspace_id"].as_str().unwrap();
    assert_eq!(ask("/workspaces/get", Some(id)).await.good("workspace")["name"], "Hotel Two");
    ask("/workspaces/get", None).await.refused(400, "invalid_input");
    ask("/workspaces/get", Some("Hotel Two")).await.refused(400, "invalid_input");
    ask("/workspaces/get", Some(&Uuid::new_v4().to_string())).await.refused(404, "workspace_not_found");
    ask("/encoderd/v1/workspaces/list", Some(id)).await.refused(403, "forbidden");
    // It stands in the lists of all workspaces, and each can end it.
    let revoke = json!({ "api_key_id": made["api_key_id"] });
    in_workspace(&world, &other, &format!("{KEYS}/revoke"), revoke).await.good("api_key");
    ask("/workspaces/get", Some(id)).await.refused(401, "unauthorized");
}

/// Runs the check of personal access tokens in an SDK's suite.
async fn comes_in(program: &Path, arguments: &[&Path]) {
    let world = World::new().await;
    let made = create(&world, json!({ "name": "Jane", "kind": "personal_access_token" })).await;
    let workspace = world.get("/workspaces/get", "").await.good("workspace");
    let mut command = Command::new(program);
    command.args(arguments).arg("a_personal_access_token_comes_in_with_its_workspace");
    command.env("SEAM_ENDPOINT", &world.base).env("SEAM_API_KEY", API_KEY);
    command.env("SEAM_TEST_PERSONAL_ACCESS_TOKEN", secret(&made));
    command.env("SEAM_TEST_WORKSPACE_ID", workspace["workspace_id"].as_str().unwrap());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !text.contains("no token"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_personal_access_token_comes_in_through_the_sdks() {
    comes_in(&installed("venv/bin/python"), &[&suite("suite.py")]).await;
    let node = installed("node/node_modules/.bin/node");
    comes_in(&node, &[&suite("suite.mjs"), &installed("node/node_modules/seam")]).await;
}

#[tokio::test]
async fn who_asks_too_often_is_told_when_to_ask_again() {
    let world = World::set(Patience::default(), |settings| Settings { requests_per_second: 3, ..settings }).await;
    let made = create(&world, json!({ "name": "Booking" })).await;
    let ask = || world.request("/workspaces/get").bearer_auth(secret(&made)).send();
    let mut refused = None;
    for _ in 0..100 {
        let answer = ask().await.unwrap();
        if answer.status() == 429 {
            refused = Some(answer);
            break;
        }
        assert_eq!(answer.status(), 200);
    }
    let refused = refused.expect("a hundred requests at once are too many");
    let wait: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=2).contains(&wait), "{wait}");
    Answer::read(refused).await.refused(429, "too_many_requests");
    // Another key is another caller.
    get(&world, "/workspaces/get", API_KEY).await.good("workspace");
    tokio::time::sleep(std::time::Duration::from_secs(wait)).await;
    assert_eq!(ask().await.unwrap().status(), 200, "after the wait that was named");
    // Wrong keys have a bound of their own.
    let mut statuses = Vec::new();
    for number in 0..60 {
        statuses.push(get(&world, "/workspaces/get", &format!("seam_wrong_{number}")).await.status.as_u16());
    }
    assert!(statuses[..20].iter().all(|status| *status == 401) && statuses.contains(&429), "{statuses:?}");
    get(&world, "/workspaces/get", &secret(&made)).await.good("workspace");
}
