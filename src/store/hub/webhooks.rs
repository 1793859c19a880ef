//! Webhooks: where events are sent.

use super::select::Select;
use super::{Columns as _, to_json};
use crate::api::id::{WebhookId, WorkspaceId};
use crate::api::time::Time;
use crate::api::webhooks::{Webhook, WebhookSecret};
use crate::store::{Connection, StoreError};
use sqlx::any::AnyRow;

const SELECT: &str = "SELECT w.webhook_id, w.url, w.event_types, w.secret FROM webhook w";

/// Makes a webhook.
pub async fn create(
    connection: &mut Connection,
    workspace: WorkspaceId,
    webhook: &Webhook,
    now: Time,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO webhook (webhook_id, workspace_id, url, event_types, secret, created_at)
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(webhook.webhook_id.to_string())
    .bind(workspace.to_string())
    .bind(webhook.url.clone())
    .bind(to_json(&webhook.event_types))
    .bind(webhook.secret.reveal().to_owned())
    .bind(now.ms())
    .execute(connection)
    .await?;
    Ok(())
}

/// One webhook.
pub async fn get(
    connection: &mut Connection,
    workspace: WorkspaceId,
    id: WebhookId,
) -> Result<Option<Webhook>, StoreError> {
    let mut select = Select::new(SELECT);
    select.and_id("w.workspace_id = $", Some(workspace));
    select.and_id("w.webhook_id = $", Some(id));
    select.fetch("", connection).await?.first().map(read).transpose()
}

/// All webhooks, oldest first.
pub async fn list(connection: &mut Connection, workspace: WorkspaceId) -> Result<Vec<Webhook>, StoreError> {
    let mut select = Select::new(SELECT);
    select.and_id("w.workspace_id = $", Some(workspace));
    select.fetch(" ORDER BY w.created_at, w.webhook_id", connection).await?.iter().map(read).collect()
}

/// Has other types of events sent, and enables the webhook again if its receiver had gone. Whether there is one.
pub async fn update(
    connection: &mut Connection,
    workspace: WorkspaceId,
    id: WebhookId,
    event_types: &[String],
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE webhook SET event_types = $1, disabled_at = NULL WHERE workspace_id = $2 AND webhook_id = $3",
    )
    .bind(to_json(&event_types))
    .bind(workspace.to_string())
    .bind(id.to_string())
    .execute(connection)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Deletes a webhook with everything that was to be delivered to it. Whether there was one.
pub async fn delete(connection: &mut Connection, workspace: WorkspaceId, id: WebhookId) -> Result<bool, StoreError> {
    let done = sqlx::query("DELETE FROM webhook WHERE workspace_id = $1 AND webhook_id = $2")
        .bind(workspace.to_string())
        .bind(id.to_string())
        .execute(connection)
        .await?;
    Ok(done.rows_affected() > 0)
}

fn read(row: &AnyRow) -> Result<Webhook, StoreError> {
    Ok(Webhook {
        webhook_id: row.id("webhook_id")?,
        url: row.text("url")?,
        event_types: row.json("event_types")?,
        secret: WebhookSecret::new(row.text("secret")?),
    })
}
