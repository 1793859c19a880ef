//! What is old is forgotten, and what somebody still needs is not, on both engines.

use crate::support::{SOON, World};
use encoderd::clock;
use encoderd::hub::{Patience, Retention, Settings};
use encoderd::store::hub::SCHEMA;
use encoderd::store::{Database, Realm};
use serde_json::json;
use sqlx::Row as _;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

const DAY_MS: i64 = 24 * 3600 * 1000;

/// Times that no test waits for.
const OFTEN: Duration = Duration::from_millis(100);

/// A hub that keeps ninety days, and its database.
async fn world(retention: Retention) -> (World, Database) {
    let patience = Patience { retention: OFTEN, ..Patience::default() };
    let world = World::set(patience, |settings| Settings { retention, ..settings }).await;
    let database = Database::open(&world.database, SCHEMA).await.unwrap();
    (world, database)
}

async fn run(database: &Database, statements: String) {
    let mut transaction = database.begin(Realm::Common).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(statements)).execute(&mut *transaction).await.unwrap();
    transaction.commit().await.unwrap();
}

async fn ids(database: &Database, statement: &'static str) -> BTreeSet<String> {
    let mut connection = database.read().await.unwrap();
    sqlx::query(statement).fetch_all(&mut *connection).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// Waits until what a statement finds is this.
async fn becomes(database: &Database, statement: &'static str, expected: &[&str]) {
    let expected: BTreeSet<String> = expected.iter().map(|id| (*id).to_owned()).collect();
    let end = clock::now() + SOON;
    loop {
        let found = ids(database, statement).await;
        if found == expected {
            return;
        }
        assert!(clock::now() < end, "{found:?}, and not {expected:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A workspace of its own: `w`, with system `s`, encoder `e`, credentials `sure`, `doubt` and `told`, and a webhook `k`.
fn hotel() -> String {
    let mut text = String::from(
        "INSERT INTO workspace VALUES ('11111111-0000-4000-8000-000000000001', 'Hotel Old', 1000);
         INSERT INTO acs_system VALUES ('s', '11111111-0000-4000-8000-000000000001', 'a', 'Hotel Old', 'UTC', 1000);
         INSERT INTO acs_encoder VALUES ('e', 's', 'Desk', NULL, NULL, 0, 1000, NULL);
         INSERT INTO webhook VALUES ('k', '11111111-0000-4000-8000-000000000001', 'https://example.com', '[\"*\"]',
             'whsec_x', 1000, NULL, 1000);",
    );
    for (id, doubt) in [("sure", "NULL"), ("doubt", "'04A1B2C3'"), ("told", "NULL")] {
        write!(
            text,
            "INSERT INTO acs_credential (acs_credential_id, acs_system_id, display_name, starts_at, times_changed_at,
                 in_doubt_card_number, created_at) VALUES ('{id}', 's', 'Card', 1000, 1000, {doubt}, 1000);"
        )
        .unwrap();
    }
    text
}

fn event(id: &str, position: i64, created_at: i64, credential: &str) -> String {
    format!(
        "INSERT INTO event (event_id, position, workspace_id, event_type, created_at, body, acs_credential_id)
         VALUES ('{id}', {position}, '11111111-0000-4000-8000-000000000001', 'a.b', {created_at}, '{{}}', '{credential}');"
    )
}

fn delivery(event: &str, state: &str, ended_at: &str) -> String {
    format!(
        "INSERT INTO webhook_delivery (webhook_id, event_id, position, state, tries, next_at, claimed_until, ended_at)
         VALUES ('k', '{event}', 1, '{state}', 1, 9000000000000000, 0, {ended_at});"
    )
}

struct Attempt<'a> {
    id: &'a str,
    status: &'a str,
    credential: &'a str,
    created_at: i64,
    is_started: bool,
    job: Option<&'a str>,
    has_result: bool,
}

fn attempt(attempt: &Attempt<'_>) -> String {
    let Attempt { id, status, credential, created_at, is_started, job, has_result } = attempt;
    let credential = if credential.is_empty() { "NULL".to_owned() } else { format!("'{credential}'") };
    let started = if *is_started { "1000" } else { "NULL" };
    let mut text = format!(
        "INSERT INTO action_attempt (action_attempt_id, workspace_id, action_type, status, acs_encoder_id,
             acs_credential_id, created_at, deadline_at, started_at)
         VALUES ('{id}', '11111111-0000-4000-8000-000000000001', 'ENCODE_CREDENTIAL', '{status}', 'e', {credential},
             {created_at}, 9000000000000000, {started});"
    );
    if let Some(state) = job {
        write!(
            text,
            "INSERT INTO job VALUES ('{id}', 'e', '{{\"type\":\"scan\"}}', 8000, '{state}', 1, 1000);
             INSERT INTO job_offer VALUES ('{id}', 1, 'b');"
        )
        .unwrap();
    }
    if *has_result {
        write!(text, "INSERT INTO job_result VALUES ('{id}', 1, '{{}}', 1, 1000);").unwrap();
    }
    text
}

const EVENTS: &str = "SELECT event_id FROM event WHERE workspace_id = '11111111-0000-4000-8000-000000000001'";
const ATTEMPTS: &str = "SELECT action_attempt_id FROM action_attempt";
const JOBS: &str = "SELECT action_attempt_id FROM job";

#[tokio::test]
async fn old_events_go_unless_they_are_to_be_delivered_or_counted_from() {
    let (_world, database) = world(Retention::days(90, 90)).await;
    let now = clock::wall_ms();
    let old = now - 91 * DAY_MS;
    let mut text = hotel();
    for (position, (id, created_at)) in
        (1..).zip([("plain", old), ("waits", old), ("was-sent", old), ("young", now - 89 * DAY_MS), ("newest", old)])
    {
        text += &event(id, position, created_at, "sure");
    }
    text += &delivery("waits", "waiting", "NULL");
    text += &delivery("was-sent", "delivered", &now.to_string());
    run(&database, text).await;
    becomes(&database, EVENTS, &["waits", "was-sent", "young", "newest"]).await;
    // Once nothing names them any more they go too.
    run(&database, "DELETE FROM webhook_delivery".to_owned()).await;
    becomes(&database, EVENTS, &["young", "newest"]).await;
}

#[tokio::test]
async fn old_attempts_go_with_their_jobs_unless_somebody_needs_them() {
    let (_world, database) = world(Retention::days(90, 90)).await;
    let now = clock::wall_ms();
    let old = now - 91 * DAY_MS;
    let plain = Attempt {
        id: "ended",
        status: "success",
        credential: "sure",
        created_at: old,
        is_started: true,
        job: Some("done"),
        has_result: true,
    };
    let attempts = [
        Attempt { ..plain },
        Attempt { id: "scan", credential: "", ..plain },
        Attempt { id: "never-started", status: "error", is_started: false, has_result: false, ..plain },
        Attempt { id: "young", created_at: now - 89 * DAY_MS, ..plain },
        Attempt { id: "open", status: "pending", job: Some("started"), has_result: false, credential: "", ..plain },
        Attempt { id: "of-a-doubt", status: "error", credential: "doubt", ..plain },
        Attempt { id: "result-may-come", status: "error", has_result: false, ..plain },
        Attempt { id: "is-told-of", credential: "told", ..plain },
    ];
    let mut text = hotel();
    text += &event("telling", 1, now, "told");
    text += &delivery("telling", "waiting", "NULL");
    for one in &attempts {
        text += &attempt(one);
    }
    run(&database, text).await;
    let kept = ["is-told-of", "of-a-doubt", "open", "result-may-come", "young"];
    becomes(&database, ATTEMPTS, &kept).await;
    becomes(&database, JOBS, &kept).await;
    run(
        &database,
        "DELETE FROM webhook_delivery; UPDATE acs_credential SET in_doubt_card_number = NULL, deleted_at = 1"
            .to_owned(),
    )
    .await;
    becomes(&database, ATTEMPTS, &["open", "young"]).await;
}

#[tokio::test]
async fn many_are_forgotten_and_events_go_on_where_they_were() {
    let (world, database) = world(Retention::days(90, 90)).await;
    let old = clock::wall_ms() - 91 * DAY_MS;
    let mut text = hotel();
    // More than two batches.
    for position in 1..=500 {
        text += &event(&format!("{position}"), position, old, "sure");
    }
    run(&database, text).await;
    becomes(&database, EVENTS, &["500"]).await;
    // The hub's own workspace: all its events are old and its newest is the one that the next is counted from.
    let newest =
        "SELECT CAST(MAX(position) AS TEXT) FROM event WHERE workspace_id <> '11111111-0000-4000-8000-000000000001'";
    let before = ids(&database, newest).await;
    run(&database, format!("UPDATE event SET created_at = {old}")).await;
    let count = "SELECT CAST(COUNT(*) AS TEXT) FROM event WHERE workspace_id <> '11111111-0000-4000-8000-000000000001'";
    becomes(&database, count, &["1"]).await;
    assert_eq!(ids(&database, newest).await, before);
    world.post("/user_identities/create", json!({"full_name": "Ada"})).await;
    world.post("/spaces/create", json!({"name": "Floor"})).await;
    let next = before.first().unwrap().parse::<i64>().unwrap() + 1;
    assert_eq!(ids(&database, newest).await, BTreeSet::from([next.to_string()]), "the next event's place");
}

#[tokio::test]
async fn nothing_is_forgotten_where_it_is_kept_for_ever() {
    assert_eq!(Retention::days(0, 0), Retention::default());
    let (_world, database) = world(Retention::days(0, 90)).await;
    let old = clock::wall_ms() - 91 * DAY_MS;
    let ended = Attempt {
        id: "ended",
        status: "success",
        credential: "",
        created_at: old,
        is_started: true,
        job: Some("done"),
        has_result: true,
    };
    run(&database, hotel() + &event("1", 1, old, "sure") + &event("2", 2, old, "sure") + &attempt(&ended)).await;
    // The attempts' turn comes after the events'.
    becomes(&database, ATTEMPTS, &[]).await;
    assert_eq!(ids(&database, EVENTS).await.len(), 2);
}
