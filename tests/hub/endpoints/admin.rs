//! Administration, and the way in for desks.

use super::Endpoint;
use crate::support::World;
use serde_json::json;

pub async fn rows(world: &World) -> Vec<Endpoint> {
    let workspace = world.get("/workspaces/get", "").await.good("workspace")["workspace_id"].clone();
    let key = world.made("/encoderd/v1/api_keys/create", json!({ "name": "Key" }), "api_key").await;
    let other = world.made("/encoderd/v1/api_keys/create", json!({ "name": "Other key" }), "api_key").await;
    let code = async || world.made("/encoderd/v1/pairing_codes/create", json!({}), "pairing_code").await;
    let paired = world.post("/bridge/v1/pair", json!({ "code": code().await["code"] })).await;
    assert_eq!(paired.status, 200, "{}", paired.body);
    let bridge = world.get("/encoderd/v1/bridges/list", "").await.good("bridges")[0].clone();
    vec![
        Endpoint::create("/encoderd/v1/api_keys/create", "api_key", json!({ "name": "App" }))
            .also(json!({ "name": "Person", "kind": "personal_access_token" }))
            .needs("name")
            .wrong("name", json!(" "))
            .wrong("kind", json!("password")),
        Endpoint::read("/encoderd/v1/api_keys/list", "api_keys", json!({})),
        Endpoint::create("/encoderd/v1/api_keys/revoke", "api_key", json!({ "api_key_id": key["api_key_id"] }))
            .needs("api_key_id")
            .finds("api_key_id", "api_key_not_found"),
        Endpoint::create(
            "/encoderd/v1/api_keys/rotate",
            "replaced_api_key",
            json!({ "api_key_id": other["api_key_id"], "grace_seconds": 60 }),
        )
        .needs("api_key_id")
        .wrong("grace_seconds", json!("long"))
        .wrong("grace_seconds", json!(-1))
        .wrong("grace_seconds", json!(2_592_001))
        .finds("api_key_id", "api_key_not_found"),
        Endpoint::read("/encoderd/v1/bridges/list", "bridges", json!({})),
        Endpoint::create(
            "/encoderd/v1/bridges/revoke",
            "bridge",
            json!({ "bridge_token_id": bridge["bridge_token_id"] }),
        )
        .needs("bridge_token_id")
        .finds("bridge_token_id", "bridge_not_found"),
        Endpoint::create("/encoderd/v1/pairing_codes/create", "pairing_code", json!({ "name": "Front Desk" }))
            .also(json!({}))
            .wrong("name", json!(7)),
        Endpoint::create(
            "/encoderd/v1/property/import",
            "import",
            json!({ "text": "name,door\nRoom 901,901\n", "dry_run": true }),
        )
        .also(json!({ "text": "entrances = [{ name = \"Room 901\", door = 901 }]", "format": "toml" }))
        .needs("text")
        .wrong("text", json!("Room 901,901"))
        .wrong("format", json!("pdf"))
        .wrong("dry_run", json!("maybe")),
        Endpoint::create("/encoderd/v1/workspaces/create", "workspace", json!({ "name": "Hotel" }))
            .also(json!({ "name": "Hotel", "time_zone": "Europe/Zurich" }))
            .needs("name")
            .wrong("time_zone", json!("Mars/Olympus")),
        Endpoint::read("/encoderd/v1/workspaces/get", "workspace", json!({ "workspace_id": workspace }))
            .wrong("workspace_id", json!("x"))
            .also(json!({})),
        Endpoint::read("/encoderd/v1/workspaces/list", "workspaces", json!({})),
        Endpoint::create("/bridge/v1/pair", "token", json!({ "code": code().await["code"] }))
            .opened_by_anybody()
            .needs("code")
            .wrong("code", json!(5))
            .wrong("bridge_id", json!("x")),
    ]
}
