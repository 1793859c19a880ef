//! Deliveries: which event is to be sent to which webhook, and what became of it.
//!
//! A delivery is written in the transaction of its event. It waits until it is delivered, given up or stopped. A node
//! claims it for one try: the claim is one `UPDATE` that names what it found, it counts the try before it is made, and
//! it lapses. So no two nodes make the same try, and the try of a node that died is made again by another.

use super::select::Select;
use super::{Columns as _, from_json, to_json};
use crate::api::id::{EventId, WebhookId, WorkspaceId};
use crate::api::time::Time;
use crate::api::webhooks::{WebhookDelivery, WebhookSecret};
use crate::store::{Connection, StoreError};
use sqlx::any::AnyRow;
use std::time::Duration;

/// A webhook with deliveries that are due and that nobody has claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Its workspace.
    pub workspace_id: WorkspaceId,
    /// The webhook.
    pub webhook_id: WebhookId,
    /// How many are due, counted up to a bound.
    pub deliveries: u32,
    /// Since when the oldest of them is.
    pub since: Time,
    /// Whether the webhook's last try failed.
    pub failing: bool,
}

/// A try that is to be made by whoever claimed it.
#[derive(Clone, Debug)]
pub struct Try {
    /// The webhook.
    pub webhook_id: WebhookId,
    /// The event.
    pub event_id: EventId,
    /// The how manieth it is, from 1.
    pub number: u32,
    /// The node that claimed it.
    pub node: String,
    /// Where to send it.
    pub url: String,
    /// What to sign it with.
    pub secret: WebhookSecret,
    /// The event as it was written down.
    pub body: String,
}

/// What became of a try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver took it.
    Delivered {
        /// What it answered.
        status: u16,
    },
    /// The receiver wants no more: its webhook is disabled.
    Gone {
        /// What it answered.
        status: u16,
    },
    /// It is tried again, or given up.
    Failed {
        /// What the receiver answered, if it did.
        status: Option<u16>,
        /// Why, for people.
        error: String,
        /// When it is tried again; `None` gives it up.
        again_at: Option<Time>,
    },
    /// This node stopped before the receiver answered: as if it had not been made.
    Cut,
}

/// What a note changed beside the delivery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Noted {
    /// The webhook's tries succeeded until now and fail from now on, or the other way round.
    pub turned: bool,
}

/// Puts an event into the outbox of every webhook that wants it.
pub async fn queue(
    connection: &mut Connection,
    workspace: WorkspaceId,
    event: EventId,
    event_type: &str,
) -> Result<(), StoreError> {
    // The list is JSON and a type has no character that JSON escapes: with its quotes around it, it is in the text if
    // and only if it is in the list.
    sqlx::query(
        "INSERT INTO webhook_delivery (webhook_id, event_id, position, state, tries, next_at, claimed_until)
         SELECT w.webhook_id, v.event_id, v.position, 'waiting', 0, v.created_at, 0
         FROM webhook w JOIN event v ON v.workspace_id = w.workspace_id
         WHERE v.event_id = $1 AND w.workspace_id = $2 AND w.disabled_at IS NULL
         AND (REPLACE(w.event_types, '\"*\"', '') <> w.event_types OR REPLACE(w.event_types, $3, '') <> w.event_types)",
    )
    .bind(event.to_string())
    .bind(workspace.to_string())
    .bind(format!("\"{event_type}\""))
    .execute(connection)
    .await?;
    Ok(())
}

/// The webhooks that have something to do, those that wait longest first. Deliveries are counted up to `counted`.
pub async fn due(connection: &mut Connection, now: Time, counted: u32) -> Result<Vec<Due>, StoreError> {
    let rows = sqlx::query(
        "SELECT w.workspace_id, w.webhook_id, w.failing_since,
         (SELECT COUNT(*) FROM (SELECT 1 FROM webhook_delivery d WHERE d.webhook_id = w.webhook_id
             AND d.state = 'waiting' AND d.next_at <= $1 AND d.claimed_until <= $1 LIMIT $2) AS counted) AS deliveries,
         (SELECT MIN(d.next_at) FROM webhook_delivery d WHERE d.webhook_id = w.webhook_id
             AND d.state = 'waiting' AND d.next_at <= $1 AND d.claimed_until <= $1) AS since
         FROM webhook w WHERE w.disabled_at IS NULL",
    )
    .bind(now.ms())
    .bind(i64::from(counted))
    .fetch_all(connection)
    .await?;
    let mut due = Vec::new();
    for row in &rows {
        if let Some(since) = row.maybe_time("since")? {
            due.push(Due {
                workspace_id: row.id("workspace_id")?,
                webhook_id: row.id("webhook_id")?,
                deliveries: u32::try_from(row.integer("deliveries")?).unwrap_or(counted),
                since,
                failing: row.maybe_time("failing_since")?.is_some(),
            });
        }
    }
    due.sort_by_key(|due| (due.since, due.webhook_id));
    Ok(due)
}

/// When the next delivery can be claimed that cannot be claimed now.
pub async fn next_at(connection: &mut Connection, now: Time) -> Result<Option<Time>, StoreError> {
    let row = sqlx::query(
        "SELECT MIN(CASE WHEN d.next_at > d.claimed_until THEN d.next_at ELSE d.claimed_until END) AS next
         FROM webhook_delivery d JOIN webhook w ON w.webhook_id = d.webhook_id
         WHERE d.state = 'waiting' AND w.disabled_at IS NULL AND (d.next_at > $1 OR d.claimed_until > $1)",
    )
    .bind(now.ms())
    .fetch_one(connection)
    .await?;
    row.maybe_time("next")
}

/// Claims the next try of a webhook, unless so many of its tries are in flight already, whichever nodes make them.
pub async fn claim(
    connection: &mut Connection,
    webhook: WebhookId,
    node: &str,
    in_flight_max: u32,
    lease: Duration,
    now: Time,
) -> Result<Option<Try>, StoreError> {
    let lease_ms = i64::try_from(lease.as_millis()).unwrap_or(i64::MAX);
    let claimed = sqlx::query(
        "UPDATE webhook_delivery SET claimed_by = $1, claimed_until = $2, tries = tries + 1, tried_at = $3
         WHERE webhook_id = $4 AND state = 'waiting' AND next_at <= $3 AND claimed_until <= $3
         AND event_id = (SELECT d.event_id FROM webhook_delivery d WHERE d.webhook_id = $4 AND d.state = 'waiting'
             AND d.next_at <= $3 AND d.claimed_until <= $3 ORDER BY d.next_at, d.position LIMIT 1)
         AND (SELECT COUNT(*) FROM webhook_delivery o WHERE o.webhook_id = $4 AND o.state = 'waiting'
             AND o.claimed_until > $3) < $5
         RETURNING event_id, tries",
    )
    .bind(node.to_owned())
    .bind(now.ms().saturating_add(lease_ms))
    .bind(now.ms())
    .bind(webhook.to_string())
    .bind(i64::from(in_flight_max))
    .fetch_optional(&mut *connection)
    .await?;
    let Some(claimed) = claimed else { return Ok(None) };
    let event: EventId = claimed.id("event_id")?;
    let number = claimed.integer("tries")?;
    let row = sqlx::query(
        "SELECT w.url, w.secret, v.body FROM webhook w, event v WHERE w.webhook_id = $1 AND v.event_id = $2",
    )
    .bind(webhook.to_string())
    .bind(event.to_string())
    .fetch_optional(connection)
    .await?;
    // Deleted meanwhile.
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Try {
        webhook_id: webhook,
        event_id: event,
        number: u32::try_from(number)
            .map_err(|_| StoreError::Value { expected: "a number of tries", value: number.to_string() })?,
        node: node.to_owned(),
        url: row.text("url")?,
        secret: WebhookSecret::new(row.text("secret")?),
        body: row.text("body")?,
    }))
}

/// Gives up all claims: the nodes that made them are no more.
pub async fn release(connection: &mut Connection) -> Result<(), StoreError> {
    sqlx::query("UPDATE webhook_delivery SET claimed_until = 0 WHERE state = 'waiting' AND claimed_until > 0")
        .execute(connection)
        .await?;
    Ok(())
}

/// Writes down what became of a try.
///
/// A success counts whenever it comes. Anything else counts only while the try is still this node's: once its claim
/// has lapsed and another node tried again, that node's word stands.
///
/// The webhook's row is written before the delivery's, in the order in which a delete takes them: in the other order the
/// two could wait for each other.
pub async fn note(connection: &mut Connection, made: &Try, outcome: &Outcome, now: Time) -> Result<Noted, StoreError> {
    match outcome {
        Outcome::Delivered { status } => {
            let noted = works(&mut *connection, made.webhook_id).await?;
            sqlx::query(
                "UPDATE webhook_delivery SET state = 'delivered', claimed_until = 0, last_status = $1,
                 last_error = NULL, ended_at = $2 WHERE webhook_id = $3 AND event_id = $4 AND state = 'waiting'",
            )
            .bind(i64::from(*status))
            .bind(now.ms())
            .bind(made.webhook_id.to_string())
            .bind(made.event_id.to_string())
            .execute(connection)
            .await?;
            Ok(noted)
        }
        Outcome::Gone { status } => {
            let done = sqlx::query("UPDATE webhook SET disabled_at = $1 WHERE webhook_id = $2 AND disabled_at IS NULL")
                .bind(now.ms())
                .bind(made.webhook_id.to_string())
                .execute(&mut *connection)
                .await?;
            sqlx::query(
                "UPDATE webhook_delivery SET state = 'stopped', claimed_until = 0, last_status = $1, ended_at = $2
                 WHERE webhook_id = $3 AND state = 'waiting'",
            )
            .bind(i64::from(*status))
            .bind(now.ms())
            .bind(made.webhook_id.to_string())
            .execute(connection)
            .await?;
            Ok(Noted { turned: done.rows_affected() > 0 })
        }
        Outcome::Failed { status, error, again_at } => {
            let noted = fails(&mut *connection, made.webhook_id, now).await?;
            let state = if again_at.is_some() { "waiting" } else { "given_up" };
            sqlx::query(
                "UPDATE webhook_delivery SET state = $1, claimed_until = 0, last_status = $2, last_error = $3,
                 next_at = $4, ended_at = $5
                 WHERE webhook_id = $6 AND event_id = $7 AND state = 'waiting' AND claimed_by = $8 AND tries = $9",
            )
            .bind(state)
            .bind(status.map(i64::from))
            .bind(error.clone())
            .bind(again_at.unwrap_or(now).ms())
            .bind(again_at.is_none().then_some(now.ms()))
            .bind(made.webhook_id.to_string())
            .bind(made.event_id.to_string())
            .bind(made.node.clone())
            .bind(i64::from(made.number))
            .execute(connection)
            .await?;
            Ok(noted)
        }
        Outcome::Cut => {
            sqlx::query(
                "UPDATE webhook_delivery SET claimed_until = 0, tries = tries - 1
                 WHERE webhook_id = $1 AND event_id = $2 AND state = 'waiting' AND claimed_by = $3 AND tries = $4",
            )
            .bind(made.webhook_id.to_string())
            .bind(made.event_id.to_string())
            .bind(made.node.clone())
            .bind(i64::from(made.number))
            .execute(connection)
            .await?;
            Ok(Noted::default())
        }
    }
}

async fn works(connection: &mut Connection, webhook: WebhookId) -> Result<Noted, StoreError> {
    let done =
        sqlx::query("UPDATE webhook SET failing_since = NULL WHERE webhook_id = $1 AND failing_since IS NOT NULL")
            .bind(webhook.to_string())
            .execute(connection)
            .await?;
    Ok(Noted { turned: done.rows_affected() > 0 })
}

async fn fails(connection: &mut Connection, webhook: WebhookId, now: Time) -> Result<Noted, StoreError> {
    let done = sqlx::query("UPDATE webhook SET failing_since = $1 WHERE webhook_id = $2 AND failing_since IS NULL")
        .bind(now.ms())
        .bind(webhook.to_string())
        .execute(connection)
        .await?;
    Ok(Noted { turned: done.rows_affected() > 0 })
}

/// Forgets deliveries that ended before a time, at most so many. How many it were.
pub async fn prune(connection: &mut Connection, before: Time, at_most: u32) -> Result<u64, StoreError> {
    let done = sqlx::query(
        "DELETE FROM webhook_delivery WHERE ended_at IS NOT NULL AND ended_at < $1 AND (webhook_id, event_id) IN
         (SELECT d.webhook_id, d.event_id FROM webhook_delivery d WHERE d.ended_at IS NOT NULL AND d.ended_at < $1
          ORDER BY d.ended_at LIMIT $2)",
    )
    .bind(before.ms())
    .bind(i64::from(at_most))
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// What became of a webhook's deliveries, the newest event first.
pub async fn list(
    connection: &mut Connection,
    webhook: WebhookId,
    limit: u32,
) -> Result<Vec<WebhookDelivery>, StoreError> {
    let mut select = Select::new(
        "SELECT d.webhook_id, d.event_id, v.event_type, d.state, d.tries, d.next_at, d.tried_at, d.last_status,
         d.last_error, d.ended_at FROM webhook_delivery d JOIN event v ON v.event_id = d.event_id",
    );
    select.and_id("d.webhook_id = $", Some(webhook));
    let rows = select.fetch_some(" ORDER BY d.position DESC LIMIT $", limit, connection).await?;
    rows.iter().map(read).collect()
}

fn read(row: &AnyRow) -> Result<WebhookDelivery, StoreError> {
    let ended_at = row.maybe_time("ended_at")?;
    let number = |value: i64| StoreError::Value { expected: "a small number", value: value.to_string() };
    let tries = row.integer("tries")?;
    let last_status = row.maybe_integer("last_status")?;
    Ok(WebhookDelivery {
        webhook_id: row.id("webhook_id")?,
        event_id: row.id("event_id")?,
        event_type: row.text("event_type")?,
        state: from_json(&to_json(&row.text("state")?))?,
        tries: u32::try_from(tries).map_err(|_| number(tries))?,
        tried_at: row.maybe_time("tried_at")?,
        next_try_at: if ended_at.is_none() { Some(row.time("next_at")?) } else { None },
        last_status: last_status.map(|status| u16::try_from(status).map_err(|_| number(status))).transpose()?,
        last_error: row.maybe_text("last_error")?,
        ended_at,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::webhooks::{DeliveryState, Webhook};
    use crate::store::hub::{SCHEMA, webhooks};
    use crate::store::{Database, Realm, Transaction};

    const LEASE: Duration = Duration::from_secs(20);

    fn at(ms: i64) -> Time {
        Time::from_ms(ms)
    }

    /// A database with a webhook that something is to be delivered to.
    struct Outbox {
        database: Database,
        workspace: WorkspaceId,
        webhook: WebhookId,
        _directory: tempfile::TempDir,
    }

    impl Outbox {
        async fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let url = format!("sqlite://{}", directory.path().join("hub.db").display());
            let database = Database::open(&url, SCHEMA).await.unwrap();
            let (workspace, webhook) = (WorkspaceId::random(), WebhookId::random());
            let outbox = Self { database, workspace, webhook, _directory: directory };
            let object = Webhook {
                webhook_id: webhook,
                url: "https://example.com/".to_owned(),
                event_types: vec!["*".to_owned()],
                secret: WebhookSecret::new("whsec_AAAA".to_owned()),
            };
            let mut transaction = outbox.begin().await;
            sqlx::query("INSERT INTO workspace (workspace_id, name, created_at) VALUES ($1, 'Hotel', 0)")
                .bind(workspace.to_string())
                .execute(&mut *transaction)
                .await
                .unwrap();
            webhooks::create(&mut transaction, workspace, &object, at(0)).await.unwrap();
            transaction.commit().await.unwrap();
            outbox
        }

        async fn begin(&self) -> Transaction {
            self.database.begin(Realm::Workspace(self.workspace.0)).await.unwrap()
        }

        /// Events that happened at these times, in this order.
        async fn queue(&self, times: &[i64]) -> Vec<EventId> {
            let mut transaction = self.begin().await;
            let mut ids = Vec::new();
            for (position, time) in (1i64..).zip(times) {
                let id = EventId::random();
                sqlx::query(
                    "INSERT INTO event (event_id, position, workspace_id, event_type, created_at, body)
                     VALUES ($1, $2, $3, 'a.b', $4, '{}')",
                )
                .bind(id.to_string())
                .bind(position)
                .bind(self.workspace.to_string())
                .bind(*time)
                .execute(&mut *transaction)
                .await
                .unwrap();
                queue(&mut transaction, self.workspace, id, "a.b").await.unwrap();
                ids.push(id);
            }
            transaction.commit().await.unwrap();
            ids
        }

        async fn claim(&self, node: &str, in_flight_max: u32, now: i64) -> Option<Try> {
            let mut transaction = self.begin().await;
            let claimed = claim(&mut transaction, self.webhook, node, in_flight_max, LEASE, at(now)).await.unwrap();
            transaction.commit().await.unwrap();
            claimed
        }

        async fn note(&self, made: &Try, outcome: Outcome, now: i64) -> Noted {
            let mut transaction = self.begin().await;
            let noted = note(&mut transaction, made, &outcome, at(now)).await.unwrap();
            transaction.commit().await.unwrap();
            noted
        }

        async fn show(&self, event: EventId) -> WebhookDelivery {
            let all = list(&mut self.database.read().await.unwrap(), self.webhook, 100).await.unwrap();
            all.into_iter().find(|delivery| delivery.event_id == event).unwrap()
        }

        async fn due(&self, now: i64) -> Vec<(u32, i64, bool)> {
            let due = due(&mut self.database.read().await.unwrap(), at(now), 3).await.unwrap();
            due.iter().map(|due| (due.deliveries, due.since.ms(), due.failing)).collect()
        }
    }

    fn failed(again_at: Option<i64>) -> Outcome {
        Outcome::Failed { status: Some(500), error: "no".to_owned(), again_at: again_at.map(at) }
    }

    #[tokio::test]
    async fn deliveries_are_claimed_in_order_and_no_more_at_a_time_than_allowed() {
        let outbox = Outbox::new().await;
        let events = outbox.queue(&[10, 10, 20, 30]).await;
        assert_eq!(outbox.due(9).await, []);
        assert_eq!(outbox.due(20).await, [(3, 10, false)]);
        assert_eq!(outbox.due(30).await, [(3, 10, false)], "counted up to the bound");
        let first = outbox.claim("a", 1, 30).await.unwrap();
        assert_eq!((first.event_id, first.number), (events[0], 1));
        assert!(outbox.claim("b", 1, 30).await.is_none(), "another node has one in flight");
        let second = outbox.claim("b", 2, 30).await.unwrap();
        assert_eq!(second.event_id, events[1]);
        assert!(outbox.claim("a", 2, 30).await.is_none());
        outbox.note(&first, Outcome::Delivered { status: 200 }, 31).await;
        assert_eq!(outbox.claim("a", 2, 31).await.unwrap().event_id, events[2]);
        assert_eq!(outbox.due(31).await, [(1, 30, false)]);
    }

    #[tokio::test]
    async fn a_claim_lapses_and_the_word_of_the_later_node_stands() {
        let outbox = Outbox::new().await;
        let event = outbox.queue(&[0]).await[0];
        let early = outbox.claim("a", 1, 0).await.unwrap();
        let lapsed = i64::try_from(LEASE.as_millis()).unwrap();
        assert!(outbox.claim("b", 1, lapsed - 1).await.is_none());
        let late = outbox.claim("b", 1, lapsed).await.unwrap();
        assert_eq!((late.event_id, late.number), (event, 2));
        // The first node was not dead but slow. Its failure would give away the second one's claim.
        outbox.note(&early, failed(Some(0)), lapsed + 1).await;
        outbox.note(&early, failed(None), lapsed + 1).await;
        outbox.note(&early, Outcome::Cut, lapsed + 1).await;
        assert!(outbox.claim("c", 1, lapsed + 1).await.is_none());
        assert_eq!(outbox.show(event).await.tries, 2);
        // A success is one, whoever had it, and stays one.
        outbox.note(&early, Outcome::Delivered { status: 200 }, lapsed + 2).await;
        outbox.note(&late, failed(None), lapsed + 3).await;
        let ended = outbox.show(event).await;
        assert_eq!((ended.state, ended.last_status), (DeliveryState::Delivered, Some(200)));
        assert_eq!(ended.ended_at, Some(at(lapsed + 2)));
    }

    #[tokio::test]
    async fn a_failure_waits_is_told_once_and_is_given_up_in_the_end() {
        let outbox = Outbox::new().await;
        let event = outbox.queue(&[0]).await[0];
        let first = outbox.claim("a", 1, 0).await.unwrap();
        assert_eq!(outbox.note(&first, failed(Some(5_000)), 1).await, Noted { turned: true });
        assert!(outbox.claim("a", 1, 4_999).await.is_none());
        assert_eq!(outbox.due(5_000).await, [(1, 5_000, true)]);
        let second = outbox.claim("a", 1, 5_000).await.unwrap();
        assert_eq!(outbox.note(&second, failed(None), 5_001).await, Noted { turned: false });
        let ended = outbox.show(event).await;
        assert_eq!((ended.state, ended.tries, ended.next_try_at), (DeliveryState::GivenUp, 2, None));
        assert_eq!(ended.last_error.as_deref(), Some("no"));
        assert!(outbox.claim("a", 1, i64::MAX / 2).await.is_none());
    }

    #[tokio::test]
    async fn a_try_that_was_cut_off_does_not_count() {
        let outbox = Outbox::new().await;
        let event = outbox.queue(&[0]).await[0];
        let cut = outbox.claim("a", 1, 0).await.unwrap();
        outbox.note(&cut, Outcome::Cut, 1).await;
        assert_eq!(outbox.show(event).await.tries, 0);
        assert_eq!(outbox.claim("b", 1, 1).await.unwrap().number, 1);
    }

    #[tokio::test]
    async fn what_ended_is_forgotten_after_a_while_and_what_waits_is_not() {
        let outbox = Outbox::new().await;
        let events = outbox.queue(&[0, 0, 0, 0]).await;
        for time in [10, 20, 30] {
            let made = outbox.claim("a", 1, time).await.unwrap();
            outbox.note(&made, Outcome::Delivered { status: 200 }, time).await;
        }
        let mut transaction = outbox.begin().await;
        assert_eq!(prune(&mut transaction, at(30), 1).await.unwrap(), 1);
        assert_eq!(prune(&mut transaction, at(30), 9).await.unwrap(), 1);
        assert_eq!(prune(&mut transaction, at(30), 9).await.unwrap(), 0);
        transaction.commit().await.unwrap();
        let left = list(&mut outbox.database.read().await.unwrap(), outbox.webhook, 9).await.unwrap();
        assert_eq!(left.iter().map(|delivery| delivery.event_id).collect::<Vec<_>>(), [events[3], events[2]]);
    }
}
