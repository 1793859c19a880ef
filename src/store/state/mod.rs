//! The daemon's own state: links, the journal of jobs, the outbox of results.

use super::{Database, Realm, Schema, StoreError};
use crate::api::bridge::{Job, Outcome, ResultRequest};
use crate::clock;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::Row as _;
use sqlx::any::AnyRow;
use std::collections::BTreeSet;
use std::path::Path;
use uuid::Uuid;

/// The daemon's state database.
pub const SCHEMA: Schema = Schema {
    name: "state",
    migrations: &[include_str!("0001_start.sql"), include_str!("0002_twins.sql"), include_str!("0003_begun_cards.sql")],
};

/// The file in the state directory.
pub const FILE: &str = "state.db";

/// How long an ended job stays in the journal. A hub offers a job again only until its result is acknowledged, and an
/// attempt lives for seconds; a week is for people who ask what happened.
const JOURNAL_KEPT_MS: i64 = 7 * 24 * 3600 * 1000;

/// How long a card that was begun and not finished is held to be ours. Somebody else may write it meanwhile.
const BEGUN_KEPT_MS: i64 = 30 * 24 * 3600 * 1000;

/// The daemon's state database.
#[derive(Clone, Debug)]
pub struct State {
    database: Database,
}

/// A stored link, or a stored refusal to link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkRow {
    /// The device.
    pub device_id: String,
    /// Its encoder.
    pub acs_encoder_id: Option<Uuid>,
    /// It was unlinked by hand and is not linked again by itself.
    pub unlinked: bool,
    /// The name it was given by hand.
    pub display_name: Option<String>,
}

/// A job in the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalRow {
    /// The job as it was last offered.
    pub job: Job,
    /// The moment of issue that the card gets, fixed when the job was first taken, in seconds since 1970.
    pub issued_at: u32,
    /// The card that may have been touched, in hex.
    pub card_number: Option<String>,
    /// How it ended.
    pub outcome: Option<Outcome>,
}

/// What waits in the outbox or the journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// How many.
    pub count: u64,
    /// When the oldest came, in milliseconds since 1970.
    pub oldest_ms: Option<i64>,
}

impl State {
    /// Opens the state database of a state directory, makes it when it is missing.
    pub async fn open(state_dir: &Path) -> Result<Self, StoreError> {
        let url = format!("sqlite://{}", state_dir.join(FILE).display());
        let database = Database::open(&url, SCHEMA).await?;
        let mut write = database.begin(Realm::Common).await?;
        sqlx::query("DELETE FROM journal WHERE outcome IS NOT NULL AND updated_at < $1")
            .bind(clock::wall_ms() - JOURNAL_KEPT_MS)
            .execute(&mut *write)
            .await?;
        sqlx::query("DELETE FROM begun_cards WHERE begun_at < $1")
            .bind(clock::wall_ms() - BEGUN_KEPT_MS)
            .execute(&mut *write)
            .await?;
        write.commit().await?;
        Ok(Self { database })
    }

    /// This daemon's lasting id, made on first use.
    pub async fn bridge_id(&self) -> Result<Uuid, StoreError> {
        let mut write = self.database.begin(Realm::Common).await?;
        sqlx::query("INSERT INTO settings (name, value) VALUES ('bridge_id', $1) ON CONFLICT (name) DO NOTHING")
            .bind(Uuid::new_v4().to_string())
            .execute(&mut *write)
            .await?;
        let row = sqlx::query("SELECT value FROM settings WHERE name = 'bridge_id'").fetch_one(&mut *write).await?;
        write.commit().await?;
        uuid(row.try_get(0)?)
    }

    /// All stored links.
    pub async fn links(&self) -> Result<Vec<LinkRow>, StoreError> {
        let mut read = self.database.read().await?;
        let rows =
            sqlx::query("SELECT device_id, acs_encoder_id, unlinked, display_name FROM links ORDER BY device_id")
                .fetch_all(&mut *read)
                .await?;
        rows.iter().map(link).collect()
    }

    /// Links a device; an encoder has one device, so another one's link to it ends.
    pub async fn link(&self, device_id: &str, acs_encoder_id: Uuid) -> Result<(), StoreError> {
        let mut write = self.database.begin(Realm::Common).await?;
        sqlx::query(
            "UPDATE links SET acs_encoder_id = NULL, unlinked = 1, updated_at = $3
             WHERE acs_encoder_id = $1 AND device_id <> $2",
        )
        .bind(acs_encoder_id.to_string())
        .bind(device_id)
        .bind(clock::wall_ms())
        .execute(&mut *write)
        .await?;
        set_link(&mut write, device_id, Some(acs_encoder_id)).await?;
        write.commit().await?;
        Ok(())
    }

    /// Ends a device's link and keeps it from being made again by itself.
    pub async fn unlink(&self, device_id: &str) -> Result<(), StoreError> {
        let mut write = self.database.begin(Realm::Common).await?;
        set_link(&mut write, device_id, None).await?;
        write.commit().await?;
        Ok(())
    }

    /// Gives a device a name.
    pub async fn rename(&self, device_id: &str, display_name: &str) -> Result<(), StoreError> {
        let mut write = self.database.begin(Realm::Common).await?;
        sqlx::query(
            "INSERT INTO links (device_id, display_name, updated_at) VALUES ($1, $2, $3)
             ON CONFLICT (device_id) DO UPDATE SET display_name = $2, updated_at = $3",
        )
        .bind(device_id)
        .bind(display_name)
        .bind(clock::wall_ms())
        .execute(&mut *write)
        .await?;
        write.commit().await?;
        Ok(())
    }

    /// Remembers which device has answered at a configured port.
    pub async fn remember_port(&self, port: &str, device_id: &str) -> Result<(), StoreError> {
        let mut write = self.database.begin(Realm::Common).await?;
        sqlx::query(
            "INSERT INTO ports (path, device_id) VALUES ($1, $2) ON CONFLICT (path) DO UPDATE SET device_id = $2",
        )
        .bind(port)
        .bind(device_id)
        .execute(&mut *write)
        .await?;
        write.commit().await?;
        Ok(())
    }

    /// Which device last answered at each configured port.
    pub async fn ports(&self) -> Result<Vec<(String, String)>, StoreError> {
        let mut read = self.database.read().await?;
        let rows = sqlx::query("SELECT path, device_id FROM ports").fetch_all(&mut *read).await?;
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
    }

    /// Remembers that two devices have said the same identity, and in which socket the first of them was.
    pub async fn remember_twins(&self, device_id: &str, socket: Option<&str>) -> Result<(), StoreError> {
        let mut write = self.database.begin(Realm::Common).await?;
        sqlx::query("INSERT INTO twins (device_id, socket) VALUES ($1, $2) ON CONFLICT (device_id) DO NOTHING")
            .bind(device_id)
            .bind(socket)
            .execute(&mut *write)
            .await?;
        write.commit().await?;
        Ok(())
    }

    /// The identities that several devices have said, as [`State::remember_twins`].
    pub async fn twins(&self) -> Result<Vec<(String, Option<String>)>, StoreError> {
        let mut read = self.database.read().await?;
        let rows = sqlx::query("SELECT device_id, socket FROM twins").fetch_all(&mut *read).await?;
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
    }

    /// Writes a job down before anything is done about it. A job that is there already keeps its moment of issue and
    /// what is known of it; only the offer is renewed.
    pub async fn journal_begin(&self, job: &Job, issued_at: u32) -> Result<JournalRow, StoreError> {
        let mut write = self.database.begin(Realm::Common).await?;
        let row = sqlx::query(
            "INSERT INTO journal (action_attempt_id, job, issued_at, created_at, updated_at) VALUES ($1, $2, $3, $4, $4)
             ON CONFLICT (action_attempt_id) DO UPDATE SET job = $2, updated_at = $4
             RETURNING job, issued_at, card_number, outcome",
        )
        .bind(job.action_attempt_id.to_string())
        .bind(json(job)?)
        .bind(i64::from(issued_at))
        .bind(clock::wall_ms())
        .fetch_one(&mut *write)
        .await?;
        write.commit().await?;
        journal(&row)
    }

    /// Writes down which card is about to be written, and how.
    pub async fn journal_touch(&self, attempt: Uuid, card_number: &str, plan: &str) -> Result<(), StoreError> {
        let mut write = self.database.begin(Realm::Common).await?;
        sqlx::query("UPDATE journal SET card_number = $2, plan = $3, updated_at = $4 WHERE action_attempt_id = $1")
            .bind(attempt.to_string())
            .bind(card_number)
            .bind(plan)
            .bind(clock::wall_ms())
            .execute(&mut *write)
            .await?;
        begin_card(&mut write, card_number).await?;
        write.commit().await?;
        Ok(())
    }

    /// Writes down that a card is about to be written.
    pub async fn card_begun(&self, card_number: &str) -> Result<(), StoreError> {
        let mut write = self.database.begin(Realm::Common).await?;
        begin_card(&mut write, card_number).await?;
        write.commit().await?;
        Ok(())
    }

    /// Forgets that a card was begun: what is on it has been verified.
    pub async fn card_settled(&self, card_number: &str) -> Result<(), StoreError> {
        let mut write = self.database.begin(Realm::Common).await?;
        settle_card(&mut write, card_number).await?;
        write.commit().await?;
        Ok(())
    }

    /// The cards whose writing was begun here and not verified, by their UIDs in hex.
    pub async fn begun_cards(&self) -> Result<BTreeSet<String>, StoreError> {
        let mut read = self.database.read().await?;
        let rows = sqlx::query("SELECT card_number FROM begun_cards").fetch_all(&mut *read).await?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    /// Writes down how a job ended and queues its result, both or neither. The first outcome stays.
    pub async fn journal_finish(&self, result: &ResultRequest) -> Result<(), StoreError> {
        let attempt = result.action_attempt_id.to_string();
        let mut write = self.database.begin(Realm::Common).await?;
        let first = sqlx::query(
            "UPDATE journal SET outcome = $2, updated_at = $3 WHERE action_attempt_id = $1 AND outcome IS NULL
             RETURNING action_attempt_id",
        )
        .bind(&attempt)
        .bind(json(&result.outcome)?)
        .bind(clock::wall_ms())
        .fetch_optional(&mut *write)
        .await?;
        if first.is_some() {
            queue(&mut write, result).await?;
        }
        if let Outcome::Encoded(encoded) = &result.outcome {
            settle_card(&mut write, &encoded.card_number).await?;
        }
        write.commit().await?;
        Ok(())
    }

    /// Queues the result of an ended job once more, for a hub that offers it again.
    pub async fn queue_again(&self, result: &ResultRequest) -> Result<(), StoreError> {
        let mut write = self.database.begin(Realm::Common).await?;
        queue(&mut write, result).await?;
        write.commit().await?;
        Ok(())
    }

    /// Jobs that were begun and have not ended: what a crash left behind.
    pub async fn unfinished(&self) -> Result<Vec<JournalRow>, StoreError> {
        let mut read = self.database.read().await?;
        let rows = sqlx::query(
            "SELECT job, issued_at, card_number, outcome FROM journal WHERE outcome IS NULL ORDER BY created_at",
        )
        .fetch_all(&mut *read)
        .await?;
        rows.iter().map(journal).collect()
    }

    /// Results that wait for the cloud, oldest first.
    pub async fn outbox(&self) -> Result<Vec<ResultRequest>, StoreError> {
        let mut read = self.database.read().await?;
        let rows = sqlx::query("SELECT result FROM outbox ORDER BY created_at, action_attempt_id LIMIT 100")
            .fetch_all(&mut *read)
            .await?;
        rows.iter().map(|row| from_json(&row.try_get::<String, _>(0)?)).collect()
    }

    /// How much a state directory's database holds, and since when, without opening it for anything else: neither a
    /// migration nor a running daemon is disturbed.
    pub async fn counts(state_dir: &Path) -> Result<Vec<(&'static str, Waiting)>, StoreError> {
        let mut read = super::look_at(&state_dir.join(FILE)).await?;
        let mut counts = Vec::new();
        for (what, query) in [
            ("links", "SELECT COUNT(*), MIN(updated_at) FROM links"),
            ("ports", "SELECT COUNT(*), NULL FROM ports"),
            ("journal", "SELECT COUNT(*), MIN(created_at) FROM journal"),
            ("open jobs", "SELECT COUNT(*), MIN(created_at) FROM journal WHERE outcome IS NULL"),
            ("outbox", "SELECT COUNT(*), MIN(created_at) FROM outbox"),
        ] {
            counts.push((what, waiting(&sqlx::query(query).fetch_one(&mut read).await?)?));
        }
        Ok(counts)
    }

    /// What waits: results for the cloud, and jobs that have not ended.
    pub async fn waiting(&self) -> Result<(Waiting, Waiting), StoreError> {
        let mut read = self.database.read().await?;
        let outbox = sqlx::query("SELECT COUNT(*), MIN(created_at) FROM outbox").fetch_one(&mut *read).await?;
        let journal = sqlx::query("SELECT COUNT(*), MIN(created_at) FROM journal WHERE outcome IS NULL")
            .fetch_one(&mut *read)
            .await?;
        Ok((waiting(&outbox)?, waiting(&journal)?))
    }

    /// Takes an acknowledged result out of the outbox.
    pub async fn outbox_remove(&self, attempt: Uuid) -> Result<(), StoreError> {
        let mut write = self.database.begin(Realm::Common).await?;
        sqlx::query("DELETE FROM outbox WHERE action_attempt_id = $1")
            .bind(attempt.to_string())
            .execute(&mut *write)
            .await?;
        write.commit().await?;
        Ok(())
    }

    /// Closes the database.
    pub async fn close(&self) {
        self.database.close().await;
    }
}

async fn set_link(
    write: &mut super::Connection,
    device_id: &str,
    acs_encoder_id: Option<Uuid>,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO links (device_id, acs_encoder_id, unlinked, updated_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (device_id) DO UPDATE SET acs_encoder_id = $2, unlinked = $3, updated_at = $4",
    )
    .bind(device_id)
    .bind(acs_encoder_id.map(|id| id.to_string()))
    .bind(i64::from(acs_encoder_id.is_none()))
    .bind(clock::wall_ms())
    .execute(write)
    .await?;
    Ok(())
}

async fn begin_card(write: &mut super::Connection, card_number: &str) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO begun_cards (card_number, begun_at) VALUES ($1, $2)
         ON CONFLICT (card_number) DO UPDATE SET begun_at = $2",
    )
    .bind(card_number)
    .bind(clock::wall_ms())
    .execute(write)
    .await?;
    Ok(())
}

async fn settle_card(write: &mut super::Connection, card_number: &str) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM begun_cards WHERE card_number = $1").bind(card_number).execute(write).await?;
    Ok(())
}

async fn queue(write: &mut super::Connection, result: &ResultRequest) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO outbox (action_attempt_id, result, created_at) VALUES ($1, $2, $3)
         ON CONFLICT (action_attempt_id) DO UPDATE SET result = $2",
    )
    .bind(result.action_attempt_id.to_string())
    .bind(json(result)?)
    .bind(clock::wall_ms())
    .execute(write)
    .await?;
    Ok(())
}

fn waiting(row: &AnyRow) -> Result<Waiting, StoreError> {
    let count: i64 = row.try_get(0)?;
    Ok(Waiting { count: u64::try_from(count).unwrap_or(0), oldest_ms: row.try_get(1)? })
}

fn link(row: &AnyRow) -> Result<LinkRow, StoreError> {
    Ok(LinkRow {
        device_id: row.try_get(0)?,
        acs_encoder_id: row.try_get::<Option<String>, _>(1)?.map(uuid).transpose()?,
        unlinked: row.try_get::<i64, _>(2)? != 0,
        display_name: row.try_get(3)?,
    })
}

fn journal(row: &AnyRow) -> Result<JournalRow, StoreError> {
    let issued_at: i64 = row.try_get(1)?;
    Ok(JournalRow {
        job: from_json(&row.try_get::<String, _>(0)?)?,
        issued_at: u32::try_from(issued_at)
            .map_err(|_| StoreError::Value { expected: "seconds since 1970", value: issued_at.to_string() })?,
        card_number: row.try_get(2)?,
        outcome: row.try_get::<Option<String>, _>(3)?.map(|text| from_json(&text)).transpose()?,
    })
}

fn uuid(text: String) -> Result<Uuid, StoreError> {
    text.parse().map_err(|_| StoreError::Value { expected: "a UUID", value: text })
}

fn json(value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value)
        .map_err(|error| StoreError::Value { expected: "something that JSON can hold", value: error.to_string() })
}

fn from_json<T: DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text)
        .map_err(|_| StoreError::Value { expected: std::any::type_name::<T>(), value: text.into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::bridge::{Encoded, JobWork, Scanned};

    async fn state() -> (tempfile::TempDir, State) {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).await.unwrap();
        (dir, state)
    }

    fn job(fence: i64) -> Job {
        Job {
            action_attempt_id: Uuid::from_u128(7),
            acs_encoder_id: Uuid::from_u128(8),
            fence,
            card_wait_ms: 8000,
            work: JobWork::Scan,
        }
    }

    fn result(card_number: &str) -> ResultRequest {
        ResultRequest {
            bridge_id: Uuid::nil(),
            action_attempt_id: Uuid::from_u128(7),
            fence: 1,
            outcome: Outcome::Scanned(Scanned {
                card_number: card_number.into(),
                credential: None,
                compact: None,
                simulated: true,
            }),
        }
    }

    #[tokio::test]
    async fn the_moment_of_issue_outlives_a_crash() {
        let (dir, state) = state().await;
        assert_eq!(state.journal_begin(&job(1), 1000).await.unwrap().issued_at, 1000);
        state.journal_touch(job(1).action_attempt_id, "04a1b2c3", "1. write").await.unwrap();
        drop(state);
        let state = State::open(dir.path()).await.unwrap();
        let again = state.journal_begin(&job(2), 2000).await.unwrap();
        assert_eq!((again.issued_at, again.job.fence), (1000, 2));
        assert_eq!(again.card_number.as_deref(), Some("04a1b2c3"));
        assert_eq!(state.unfinished().await.unwrap().len(), 1);
        let (outbox, journal) = state.waiting().await.unwrap();
        assert_eq!((outbox, journal.count, journal.oldest_ms.is_some()), (Waiting::default(), 1, true));
    }

    #[tokio::test]
    async fn a_card_is_begun_until_what_is_on_it_was_verified() {
        let (dir, state) = state().await;
        state.journal_begin(&job(1), 1000).await.unwrap();
        state.journal_touch(job(1).action_attempt_id, "04a1b2c3", "1. write").await.unwrap();
        state.card_begun("04ffffff").await.unwrap();
        state.journal_finish(&result("04a1b2c3")).await.unwrap();
        drop(state);
        let state = State::open(dir.path()).await.unwrap();
        let begun = state.begun_cards().await.unwrap();
        assert_eq!(begun, BTreeSet::from(["04a1b2c3".to_owned(), "04ffffff".to_owned()]), "a scan verifies nothing");
        let mut second = job(1);
        second.action_attempt_id = Uuid::from_u128(9);
        state.journal_begin(&second, 1000).await.unwrap();
        let encoded = Encoded {
            card_number: "04a1b2c3".to_owned(),
            issued_at: 1000,
            overwritten: None,
            overwritten_number: None,
            simulated: true,
        };
        let end = ResultRequest {
            action_attempt_id: second.action_attempt_id,
            outcome: Outcome::Encoded(encoded),
            ..result("04a1b2c3")
        };
        state.journal_finish(&end).await.unwrap();
        state.card_settled("04ffffff").await.unwrap();
        assert!(state.begun_cards().await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn the_first_outcome_stays_and_is_queued_once() {
        let (_dir, state) = state().await;
        state.journal_begin(&job(1), 1000).await.unwrap();
        state.journal_finish(&result("aa")).await.unwrap();
        state.outbox_remove(job(1).action_attempt_id).await.unwrap();
        state.journal_finish(&result("bb")).await.unwrap();
        assert!(state.outbox().await.unwrap().is_empty());
        assert_eq!(state.waiting().await.unwrap(), Default::default());
        assert!(state.unfinished().await.unwrap().is_empty());
        let kept = state.journal_begin(&job(3), 3000).await.unwrap().outcome;
        assert_eq!(kept, Some(result("aa").outcome));
    }

    #[tokio::test]
    async fn an_encoder_has_one_device_and_an_unlinked_one_stays_known() {
        let (_dir, state) = state().await;
        let encoder = Uuid::from_u128(1);
        state.link("a", encoder).await.unwrap();
        state.rename("a", "Front Desk").await.unwrap();
        state.link("b", encoder).await.unwrap();
        let links = state.links().await.unwrap();
        assert_eq!((links[0].acs_encoder_id, links[0].unlinked), (None, true));
        assert_eq!(links[0].display_name.as_deref(), Some("Front Desk"));
        assert_eq!(links[1].acs_encoder_id, Some(encoder));
        state.unlink("b").await.unwrap();
        assert_eq!(state.links().await.unwrap()[1].acs_encoder_id, None);
    }

    #[tokio::test]
    async fn the_bridge_id_lasts() {
        let (dir, state) = state().await;
        let id = state.bridge_id().await.unwrap();
        drop(state);
        assert_eq!(State::open(dir.path()).await.unwrap().bridge_id().await.unwrap(), id);
    }
}
