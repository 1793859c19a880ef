//! Starting and stopping.

use crate::support::{World, settings, sqlite};
use encoderd::clock;
use encoderd::hub::{self, EntranceSettings, HubError, Patience, PropertySettings, Settings};
use serde_json::json;
use std::fs;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn of_two_hubs_on_one_port_the_second_changes_nothing() {
    let world = World::new().await;
    let directory = tempfile::tempdir().unwrap();
    let listen = world.base.strip_prefix("http://").unwrap().parse().unwrap();
    let second = Settings { listen, ..settings(sqlite(directory.path())) };
    let error = hub::serve(second, CancellationToken::new()).await.unwrap_err();
    assert!(matches!(error, HubError::PortInUse { .. }), "{error:?}");
    assert!(error.to_string().contains(&listen.to_string()) && error.to_string().contains("[hub]"), "{error}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "it made no database");
}

#[tokio::test]
async fn an_address_of_another_machine_is_refused_with_a_sentence() {
    let directory = tempfile::tempdir().unwrap();
    let elsewhere = Settings { listen: "192.0.2.1:80".parse().unwrap(), ..settings(sqlite(directory.path())) };
    let error = hub::serve(elsewhere, CancellationToken::new()).await.unwrap_err();
    assert!(matches!(error, HubError::Listen { .. }), "{error:?}");
}

#[tokio::test]
async fn a_damaged_database_is_refused_and_not_a_byte_of_it_changed() {
    let mut world = World::on_a_file().await;
    world.stop().await;
    let path = world.directory.path().join("hub.db");
    let whole = fs::read(&path).unwrap();
    for damaged in [whole[..whole.len() / 3].to_vec(), b"not a database, but a letter".to_vec()] {
        fs::write(&path, &damaged).unwrap();
        let error = hub::serve(settings(world.database.clone()), CancellationToken::new()).await.unwrap_err();
        let text = format!("{error}: {}", std::error::Error::source(&error).unwrap());
        assert!(text.contains("hub.db") && text.contains("damaged"), "{text}");
        assert_eq!(fs::read(&path).unwrap(), damaged);
        assert_eq!(fs::read_dir(world.directory.path()).unwrap().count(), 1, "no file was made beside it");
    }
}

#[tokio::test]
async fn an_empty_database_file_is_refused_and_stays_empty() {
    let mut world = World::on_a_file().await;
    world.stop().await;
    let path = world.directory.path().join("hub.db");
    fs::write(&path, b"").unwrap();
    let error = hub::serve(settings(world.database.clone()), CancellationToken::new()).await.unwrap_err();
    let text = format!("{error}: {}", std::error::Error::source(&error).unwrap());
    assert!(text.contains("hub.db") && text.contains("it is empty") && text.contains("move it away"), "{text}");
    assert_eq!(fs::read(&path).unwrap(), b"");
    assert_eq!(fs::read_dir(world.directory.path()).unwrap().count(), 1, "no file was made beside it");
}

#[tokio::test]
async fn a_restarted_hub_has_the_same_property_under_new_names() {
    let mut world = World::new().await;
    let (system, entrances) = (world.system().await, world.entrances().await);
    world.stop().await;
    let renamed = PropertySettings {
        name: "Hotel Renamed".to_owned(),
        time_zone: None,
        entrances: vec![
            EntranceSettings { name: "Suite 101".to_owned(), door: 101 },
            EntranceSettings { name: "Room 104".to_owned(), door: 104 },
        ],
    };
    let stop = CancellationToken::new();
    let again = Settings { property: Some(renamed), ..settings(world.database.clone()) };
    let hub = hub::serve(again, stop.clone()).await.unwrap();
    world.base = format!("http://{}", hub.address);
    assert_eq!(world.system().await, system);
    assert_eq!(world.get("/workspaces/get", "").await.good("workspace")["name"], "Hotel Renamed");
    let list = world.get("/acs/entrances/list", "").await.good("acs_entrances");
    let names: Vec<_> = list.as_array().unwrap().iter().map(|door| door["display_name"].as_str().unwrap()).collect();
    assert_eq!(names, ["Suite 101", "Room 102", "Room 103", "Room 104"], "by door number; none is taken away");
    assert_eq!(list[0]["acs_entrance_id"], json!(entrances[0]));
    let added = world.events("event_types=acs_system.added&event_types=acs_entrance.added").await;
    assert_eq!(added.len(), 5, "{added:?}");
    stop.cancel();
    hub.stopped().await;
}

#[tokio::test]
async fn stopping_ends_long_polls_at_once() {
    let mut world = World::new().await;
    let (desk, _) = world.desk().await;
    let poll = tokio::spawn(async move { desk.next(25, &[]).await });
    tokio::time::sleep(Duration::from_millis(500)).await;
    let begun = clock::now();
    world.stop().await;
    assert!(poll.await.unwrap().is_none());
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn an_open_attempt_outlives_a_restart_of_the_hub() {
    let world = World::new().await;
    let (desk, encoder) = world.desk().await;
    let attempt = world.scan(encoder).await["action_attempt_id"].clone();
    let world = world.restart(Patience::default()).await;
    let desk = desk.at(&world);
    assert_eq!(world.attempt(&attempt).await["status"], "pending");
    let job = desk.started().await;
    assert_eq!(json!(job.action_attempt_id), attempt);
    assert!(desk.finish(&job, &crate::support::scanned("04", None)).await);
    assert_eq!(world.attempt(&attempt).await["status"], "success");
}

#[tokio::test]
async fn an_open_attempt_whose_desk_does_not_come_back_is_ended_after_a_restart() {
    let world = World::new().await;
    let (_desk, encoder) = world.desk().await;
    let attempt = world.scan(encoder).await["action_attempt_id"].clone();
    let moment = Duration::from_millis(300);
    let world = world.restart(Patience { bridge: moment, come_back: moment, ..Patience::default() }).await;
    assert_eq!(world.settled(&attempt).await["error"]["type"], "bridge_disconnected");
    assert_eq!(world.events("event_type=acs_system.added").await.len(), 1);
}
