//! Workspaces and their doors, as the hub's owner makes them.

use crate::support::{API_KEY, World};
use reqwest::Method;
use serde_json::{Value, json};

/// Makes another workspace; its object.
pub async fn workspace(world: &World, name: &str) -> Value {
    world.made("/encoderd/v1/workspaces/create", json!({ "name": name }), "workspace").await
}

/// An answer to the hub's owner about a workspace.
pub async fn in_workspace(world: &World, workspace: &Value, path: &str, body: Value) -> crate::support::Answer {
    let request = world.request_with(Method::POST, path).bearer_auth(API_KEY).json(&body);
    let id = workspace["workspace_id"].as_str().unwrap();
    crate::support::Answer::read(request.header("seam-workspace", id).send().await.unwrap()).await
}

async fn import(world: &World, text: &str) -> Value {
    let import = world.made("/encoderd/v1/property/import", json!({ "text": text }), "import").await;
    json!([import["added"], import["renamed"], import["unchanged"], import["dry_run"]])
}

async fn doors(world: &World) -> Vec<String> {
    let doors = world.get("/acs/entrances/list", "").await.good("acs_entrances");
    doors.as_array().unwrap().iter().map(|door| door["display_name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_workspace_is_made_whole_and_the_configured_one_stays_the_first() {
    let world = World::new().await;
    let first = world.get("/workspaces/get", "").await.good("workspace");
    let body = json!({ "name": " Hotel Two ", "time_zone": "America/New_York" });
    let made = world.made("/encoderd/v1/workspaces/create", body, "workspace").await;
    assert_eq!((&made["name"], &made["time_zone"]), (&json!("Hotel Two"), &json!("America/New_York")));
    assert_eq!(made["is_first"], false);
    let list = world.get("/encoderd/v1/workspaces/list", "").await.good("workspaces");
    assert_eq!(list.as_array().unwrap().len(), 2);
    assert_eq!((&list[0]["workspace_id"], &list[0]["is_first"]), (&first["workspace_id"], &json!(true)));
    assert_eq!(list[1], made);
    // Its access system is there, in its time zone, and its first event says so.
    let systems = in_workspace(&world, &made, "/acs/systems/list", json!({})).await.good("acs_systems");
    assert_eq!(systems[0]["acs_system_id"], made["acs_system_id"]);
    assert_eq!(
        (&systems[0]["name"], &systems[0]["location"]["time_zone"]),
        (&json!("Hotel Two"), &json!("America/New_York"))
    );
    let events = in_workspace(&world, &made, "/events/list", json!({})).await.good("events");
    assert_eq!(events.as_array().unwrap().len(), 1);
    assert_eq!(
        (&events[0]["event_type"], &events[0]["workspace_id"]),
        (&json!("acs_system.added"), &made["workspace_id"])
    );
    assert_eq!(in_workspace(&world, &made, "/acs/entrances/list", json!({})).await.good("acs_entrances"), json!([]));
    // The workspace that `seam-workspace` names is the one that is got.
    let got = in_workspace(&world, &made, "/encoderd/v1/workspaces/get", json!({})).await.good("workspace");
    assert_eq!(got, made);
    let world = world.restart(encoderd::hub::Patience::default()).await;
    assert_eq!(world.get("/workspaces/get", "").await.good("workspace"), first);
}

#[tokio::test]
async fn an_import_adds_renames_and_leaves_alone() {
    let world = World::new().await;
    let credential = world.credential().await;
    let text = "\u{feff}name,door\r\nRoom 101,101\r\n\"Suite \"\"102\"\"\",102\r\nPool,900\r\n";
    let dry = json!({ "text": text, "dry_run": true });
    let dry = world.made("/encoderd/v1/property/import", dry, "import").await;
    assert_eq!(dry, json!({ "added": 1, "renamed": 1, "unchanged": 1, "dry_run": true }));
    assert_eq!(doors(&world).await, ["Room 101", "Room 102", "Room 103"], "nothing was done yet");
    let added = "event_type=acs_entrance.added";
    assert_eq!(world.events(added).await.len(), 3);
    assert_eq!(import(&world, text).await, json!([1, 1, 1, false]));
    assert_eq!(doors(&world).await, ["Room 101", "Suite \"102\"", "Room 103", "Pool"], "in the order of their numbers");
    assert_eq!(world.events(added).await.len(), 4);
    assert_eq!(import(&world, text).await, json!([0, 0, 3, false]), "the same again changes nothing");
    assert_eq!(world.events(added).await.len(), 4);
    // A renamed door is the same door.
    let opened = world.get("/acs/entrances/list", &format!("acs_credential_id={credential}")).await;
    assert_eq!(opened.good("acs_entrances")[1]["display_name"], "Suite \"102\"");
}

#[tokio::test]
async fn an_import_with_a_wrong_line_does_nothing_and_names_every_wrong_line() {
    let world = World::new().await;
    let text = "name,door\nPool,900\n,901\nSauna,x\nGym,900\n";
    for dry_run in [true, false] {
        let body = json!({ "text": text, "dry_run": dry_run });
        let answer = world.post("/encoderd/v1/property/import", body).await;
        answer.invalid("text");
        let error = answer.refused(400, "invalid_input");
        let lines = error["data"]["lines"].as_array().unwrap();
        assert_eq!(lines.iter().map(|line| line["line"].as_u64().unwrap()).collect::<Vec<_>>(), [3, 4, 5]);
        let message = error["message"].as_str().unwrap();
        for part in ["line 3: the name is empty", "line 4: \"x\"", "line 5: door 900 is in line 2 already"] {
            assert!(message.contains(part), "{message}");
        }
        assert_eq!(error["validation_errors"]["text"]["_errors"].as_array().unwrap().len(), 3);
    }
    assert_eq!(doors(&world).await, ["Room 101", "Room 102", "Room 103"]);
}

#[tokio::test]
async fn a_property_of_two_thousand_doors_is_imported_in_one_go() {
    use std::fmt::Write as _;
    let world = World::new().await;
    let other = workspace(&world, "Hotel Large").await;
    let mut text = "name;door\n".to_owned();
    for door in 0..2000 {
        writeln!(text, "Room {door};{door}").unwrap();
    }
    let made = in_workspace(&world, &other, "/encoderd/v1/property/import", json!({ "text": text })).await;
    assert_eq!(made.good("import")["added"], 2000);
    assert_eq!(doors(&world).await.len(), 3, "the first workspace has its own");
}
