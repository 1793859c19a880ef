//! Databases of earlier versions: brought forward with everything that is in them, on both engines.

use crate::support::{World, database};
use encoderd::store::hub::SCHEMA;
use encoderd::store::{Database, Realm, Schema};
use serde_json::json;

/// A database as the first version left it, in the middle of an encode.
const FIRST: &str = "
    INSERT INTO workspace VALUES ('11111111-0000-4000-8000-000000000001', 'Hotel Old', 1000);
    INSERT INTO acs_system VALUES ('22222222-0000-4000-8000-000000000001', '11111111-0000-4000-8000-000000000001',
        '33333333-0000-4000-8000-000000000001', 'Hotel Old', 'Europe/Zurich', 1000);
    INSERT INTO acs_entrance VALUES ('44444444-0000-4000-8000-000000000001', '22222222-0000-4000-8000-000000000001',
        101, 'Room 101', 1000);
    INSERT INTO acs_credential (acs_credential_id, acs_system_id, display_name, starts_at, ends_at, times_changed_at,
        card_number, issued_at, issued_starts_at, issued_ends_at, created_at)
        VALUES ('55555555-0000-4000-8000-000000000001', '22222222-0000-4000-8000-000000000001', 'Card', 1000, 900000,
        1000, '04A1B2C3', 2000, 1000, 900000, 1000);
    INSERT INTO acs_credential_entrance
        VALUES ('55555555-0000-4000-8000-000000000001', '44444444-0000-4000-8000-000000000001');
    INSERT INTO acs_encoder VALUES ('66666666-0000-4000-8000-000000000001', '22222222-0000-4000-8000-000000000001',
        'Front Desk', '77777777-0000-4000-8000-000000000001', 'usb-1', 0, 1000, NULL);
    INSERT INTO action_attempt VALUES ('88888888-0000-4000-8000-000000000001', 'ENCODE_CREDENTIAL', 'error',
        '66666666-0000-4000-8000-000000000001', '55555555-0000-4000-8000-000000000001', NULL,
        '{\"type\":\"encoding_interrupted\",\"message\":\"The card left.\"}', 1000, 14000, 1500, 3000);
    INSERT INTO action_attempt VALUES ('88888888-0000-4000-8000-000000000002', 'SCAN_CREDENTIAL', 'pending',
        '66666666-0000-4000-8000-000000000001', NULL, NULL, NULL, 1000, 14000, NULL, NULL);
    INSERT INTO job VALUES ('88888888-0000-4000-8000-000000000001', '66666666-0000-4000-8000-000000000001',
        '{\"type\":\"scan\"}', 8000, 'done', 3, 1000);
    INSERT INTO job VALUES ('88888888-0000-4000-8000-000000000002', '66666666-0000-4000-8000-000000000001',
        '{\"type\":\"scan\"}', 8000, 'waiting', 0, 1000);
    INSERT INTO job_result VALUES ('88888888-0000-4000-8000-000000000001', 3, '{}', 1, 3000);
    INSERT INTO event (event_id, position, workspace_id, event_type, created_at, body)
        VALUES ('99999999-0000-4000-8000-000000000001', 1, '11111111-0000-4000-8000-000000000001', 'acs_system.added',
        1000, '{\"event_id\":\"99999999-0000-4000-8000-000000000001\",\"event_type\":\"acs_system.added\",\"workspace_id\":\"11111111-0000-4000-8000-000000000001\",\"created_at\":\"1970-01-01T00:00:01.000Z\",\"occurred_at\":\"1970-01-01T00:00:01.000Z\",\"acs_system_id\":\"22222222-0000-4000-8000-000000000001\",\"connected_account_id\":\"33333333-0000-4000-8000-000000000001\"}');
";

#[tokio::test]
async fn a_database_of_every_earlier_version_is_brought_forward_with_all_that_is_in_it() {
    // Only the first version's tables are filled: they are the ones that later versions change.
    for versions in 1..=SCHEMA.migrations.len() {
        let directory = tempfile::tempdir().unwrap();
        let url = database(directory.path()).await;
        let first = Database::open(&url, Schema { migrations: &SCHEMA.migrations[..1], ..SCHEMA }).await.unwrap();
        let mut transaction = first.begin(Realm::Common).await.unwrap();
        sqlx::raw_sql(FIRST).execute(&mut *transaction).await.unwrap();
        transaction.commit().await.unwrap();
        first.close().await;
        let old = Database::open(&url, Schema { migrations: &SCHEMA.migrations[..versions], ..SCHEMA }).await.unwrap();
        old.close().await;
        let world = World::on_database(directory, url).await;
        assert_eq!(world.system().await, "22222222-0000-4000-8000-000000000001", "from version {versions}");
        let attempt = world.attempt(&json!("88888888-0000-4000-8000-000000000001")).await;
        assert_eq!(attempt["error"]["type"], "encoding_interrupted", "{attempt}");
        let pending = world.settled(&json!("88888888-0000-4000-8000-000000000002")).await;
        assert_eq!(pending["error"]["type"], "bridge_disconnected", "its time was over long ago");
        let credential = world.show("55555555-0000-4000-8000-000000000001").await;
        assert_eq!((&credential["card_number"], &credential["warnings"]), (&json!("04A1B2C3"), &json!([])));
        assert_eq!(credential["issued_at"], "1970-01-01T00:00:02.000Z");
        let events = world.events("since=1970-01-01T00:00:00Z").await;
        assert_eq!(events[0], "acs_system.added");
    }
}

#[tokio::test]
async fn a_database_of_a_later_version_is_refused_and_left_alone() {
    const LATER: &str = "CREATE TABLE of_a_later_version (id TEXT)";
    let directory = tempfile::tempdir().unwrap();
    let url = database(directory.path()).await;
    let mut migrations = SCHEMA.migrations.to_vec();
    migrations.push(LATER);
    let later = Schema { migrations: migrations.leak(), ..SCHEMA };
    Database::open(&url, later).await.unwrap().close().await;
    let error = Database::open(&url, SCHEMA).await.unwrap_err().to_string();
    assert!(error.contains("version") && error.contains("nothing in it was changed"), "{error}");
    let again = Database::open(&url, later).await.unwrap();
    again.close().await;
}

#[tokio::test]
async fn a_database_of_another_program_is_refused_and_left_alone() {
    const OTHER: Schema = Schema { name: "other", migrations: &["CREATE TABLE c (id TEXT)"] };
    let directory = tempfile::tempdir().unwrap();
    let url = database(directory.path()).await;
    Database::open(&url, OTHER).await.unwrap().close().await;
    let error = Database::open(&url, SCHEMA).await.unwrap_err().to_string();
    assert!(error.contains("`hub`") && error.contains("`other`"), "{error}");
}
