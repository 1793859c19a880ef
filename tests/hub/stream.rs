//! The live stream of events.

use crate::support::{API_KEY, SOON, World, report};
use encoderd::api::bridge::Presence;
use reqwest::Response;
use serde_json::{Value, json};
use std::collections::VecDeque;

/// Somebody who watches.
struct Watcher {
    response: Response,
    text: String,
    lines: VecDeque<(String, Value, Option<String>)>,
}

impl Watcher {
    async fn new(world: &World, query: &str, last_event_id: Option<&str>) -> Self {
        let mut request = world.request(&format!("/encoderd/v1/events?{query}")).bearer_auth(API_KEY);
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/event-stream"));
        Self { response, text: String::new(), lines: VecDeque::new() }
    }

    /// The next message: its type, its data and its id.
    async fn next(&mut self) -> (String, Value, Option<String>) {
        tokio::time::timeout(SOON, async {
            while self.lines.is_empty() {
                let chunk = self.response.chunk().await.unwrap().expect("the stream goes on");
                self.text.push_str(std::str::from_utf8(&chunk).unwrap());
                while let Some(end) = self.text.find("\n\n") {
                    let message: String = self.text.drain(..end + 2).collect();
                    let field = |name: &str| {
                        message.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")).map(str::to_owned))
                    };
                    if let (Some(kind), Some(data)) = (field("event"), field("data")) {
                        self.lines.push_back((kind, serde_json::from_str(&data).unwrap(), field("id")));
                    }
                }
            }
            self.lines.pop_front().unwrap()
        })
        .await
        .expect("a message")
    }
}

#[tokio::test]
async fn events_are_told_as_they_happen_and_go_on_where_a_watcher_was() {
    let world = World::new().await;
    let user = async |name: &str| {
        let body = json!({ "acs_system_id": world.system().await, "full_name": name });
        world.made("/acs/users/create", body, "acs_user").await["acs_user_id"].clone()
    };
    user("Before").await;
    let mut watcher = Watcher::new(&world, "", None).await;
    let one = user("One").await;
    let (kind, event, place) = watcher.next().await;
    assert_eq!(
        (kind.as_str(), &event["event_type"], &event["acs_user_id"]),
        ("event", &json!("acs_user.created"), &one)
    );
    let listed =
        world.get("/events/get", &format!("event_id={}", event["event_id"].as_str().unwrap())).await.good("event");
    assert_eq!(event, listed, "the same object as /events/get has");
    drop(watcher);
    let two = user("Two").await;
    let three = user("Three").await;
    let mut again = Watcher::new(&world, "", place.as_deref()).await;
    assert_eq!(again.next().await.1["acs_user_id"], two);
    assert_eq!(again.next().await.1["acs_user_id"], three);
    let mut whole = Watcher::new(&world, "after=0", None).await;
    assert_eq!(whole.next().await.1["event_type"], "acs_system.added", "from the first one on");
}

#[tokio::test]
async fn encoders_are_told_whole_at_first_and_then_as_they_change() {
    let world = World::new().await;
    let (desk, encoder) = world.desk().await;
    let mut watcher = Watcher::new(&world, "encoders=true", None).await;
    let (kind, shown, place) = watcher.next().await;
    assert_eq!((kind.as_str(), &shown["acs_encoder_id"], place), ("encoder", &json!(encoder), None));
    assert_eq!(shown["presence"], "absent");
    let mut changed = report("usb-1", Some(encoder));
    changed.presence = Presence::Present;
    changed.card_number = Some("04A1B2C3".to_owned());
    desk.report(&changed).await;
    let shown = watcher.next().await.1;
    assert_eq!((&shown["presence"], &shown["card_number"]), (&json!("present"), &json!("04A1B2C3")));
    // Nobody says that a desk is gone: it is noticed.
    let shown = watcher.next().await.1;
    assert_eq!((&shown["bridge_connected"], &shown["state"]), (&json!(false), &json!("offline")));
}

#[tokio::test]
async fn a_stream_needs_a_key_and_a_place_that_is_one() {
    let world = World::new().await;
    let answer = world.request("/encoderd/v1/events").send().await.unwrap();
    crate::support::Answer::read(answer).await.refused(401, "unauthorized");
    let answer = world.request("/encoderd/v1/events").bearer_auth(API_KEY).header("last-event-id", "x").send().await;
    crate::support::Answer::read(answer.unwrap()).await.refused(400, "invalid_input");
    world.get("/encoderd/v1/events", "after=soon").await.invalid("after");
}

#[tokio::test]
async fn a_hub_that_stops_ends_its_streams() {
    let mut world = World::new().await;
    let mut watcher = Watcher::new(&world, "", None).await;
    world.stop().await;
    let end = tokio::time::timeout(SOON, async { while let Ok(Some(_)) = watcher.response.chunk().await {} });
    end.await.expect("it ends");
}
