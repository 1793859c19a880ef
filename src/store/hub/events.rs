//! Events: written in the transaction of the change that they tell of.

use super::select::Select;
use super::{Columns as _, to_json, webhook_deliveries};
use crate::api::events::{Event, Get, Happening, List, MethodEvent, SystemEvent};
use crate::api::id::{EventId, UserIdentityId, WorkspaceId};
use crate::api::time::Time;
use crate::store::{Connection, StoreError};
use sqlx::any::AnyRow;

const SELECT: &str = "SELECT v.body FROM event v";

/// What an event is about, for the filters.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_field_names, reason = "the columns' names")]
struct Subjects {
    connected_account_id: Option<String>,
    acs_system_id: Option<String>,
    acs_entrance_id: Option<String>,
    acs_user_id: Option<String>,
    acs_encoder_id: Option<String>,
    acs_credential_id: Option<String>,
    access_grant_id: Option<String>,
    access_method_id: Option<String>,
    space_id: Option<String>,
}

impl Subjects {
    fn of(happening: &Happening) -> Self {
        match happening {
            Happening::AcsSystemAdded(event) => Self::system(event),
            Happening::AcsEntranceAdded(event) => {
                Self { acs_entrance_id: Some(event.acs_entrance_id.to_string()), ..Self::system(&event.system) }
            }
            Happening::AcsUserCreated(event) | Happening::AcsUserDeleted(event) => {
                Self { acs_user_id: Some(event.acs_user_id.to_string()), ..Self::system(&event.system) }
            }
            Happening::AcsEncoderAdded(event) | Happening::AcsEncoderRemoved(event) => {
                Self { acs_encoder_id: Some(event.acs_encoder_id.to_string()), ..Self::system(&event.system) }
            }
            Happening::AcsCredentialIssued(event)
            | Happening::AcsCredentialReissued(event)
            | Happening::AcsCredentialInvalidated(event)
            | Happening::AcsCredentialDeleted(event) => {
                Self { acs_credential_id: Some(event.acs_credential_id.to_string()), ..Self::system(&event.system) }
            }
            Happening::AccessGrantCreated(event)
            | Happening::AccessGrantDeleted(event)
            | Happening::AccessGrantAccessGrantedToAllDoors(event) => {
                Self { access_grant_id: Some(event.access_grant_id.to_string()), ..Self::default() }
            }
            Happening::AccessGrantAccessGrantedToDoor(event) | Happening::AccessGrantAccessToDoorLost(event) => Self {
                access_grant_id: Some(event.access_grant_id.to_string()),
                acs_entrance_id: Some(event.acs_entrance_id.to_string()),
                ..Self::default()
            },
            Happening::AccessGrantAccessTimesChanged(event) => {
                Self { access_grant_id: Some(event.access_grant_id.to_string()), ..Self::default() }
            }
            Happening::AccessMethodCreated(event)
            | Happening::AccessMethodCardEncodingRequired(event)
            | Happening::AccessMethodIssued(event)
            | Happening::AccessMethodReissued(event)
            | Happening::AccessMethodRevoked(event)
            | Happening::AccessMethodDeleted(event) => Self::method(event),
            Happening::SpaceCreated(event)
            | Happening::SpaceDeleted(event)
            | Happening::SpaceDeviceMembershipChanged(event) => {
                Self { space_id: Some(event.space_id.to_string()), ..Self::default() }
            }
        }
    }

    fn system(event: &SystemEvent) -> Self {
        Self {
            connected_account_id: Some(event.connected_account_id.to_string()),
            acs_system_id: Some(event.acs_system_id.to_string()),
            ..Self::default()
        }
    }

    fn method(event: &MethodEvent) -> Self {
        Self {
            access_method_id: Some(event.access_method_id.to_string()),
            access_grant_id: event.access_grant_ids.first().map(ToString::to_string),
            ..Self::default()
        }
    }
}

/// Writes an event down. The person it concerns is not in every event's body, but can be asked for.
pub async fn record(
    connection: &mut Connection,
    workspace: WorkspaceId,
    happening: Happening,
    person: Option<UserIdentityId>,
    now: Time,
) -> Result<(), StoreError> {
    let subjects = Subjects::of(&happening);
    let event =
        Event { event_id: EventId::random(), workspace_id: workspace, created_at: now, occurred_at: now, happening };
    let body = to_json(&event);
    let event_type = serde_json::to_value(&event)
        .ok()
        .and_then(|value| value.get("event_type").and_then(|kind| kind.as_str().map(str::to_owned)))
        .unwrap_or_default();
    tracing::debug!(event_type, event_id = %event.event_id, "event");
    sqlx::query(
        "INSERT INTO event (event_id, position, workspace_id, event_type, created_at, body, connected_account_id,
         acs_system_id, acs_entrance_id, acs_user_id, acs_encoder_id, acs_credential_id, access_grant_id,
         access_method_id, user_identity_id, space_id)
         VALUES ($1, (SELECT COALESCE(MAX(position), 0) + 1 FROM event WHERE workspace_id = $2), $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12,
         $13, $14, $15)",
    )
    .bind(event.event_id.to_string())
    .bind(workspace.to_string())
    .bind(event_type.clone())
    .bind(now.ms())
    .bind(body)
    .bind(subjects.connected_account_id)
    .bind(subjects.acs_system_id)
    .bind(subjects.acs_entrance_id)
    .bind(subjects.acs_user_id)
    .bind(subjects.acs_encoder_id)
    .bind(subjects.acs_credential_id)
    .bind(subjects.access_grant_id)
    .bind(subjects.access_method_id)
    .bind(person.map(|id| id.to_string()))
    .bind(subjects.space_id)
    .execute(&mut *connection)
    .await?;
    webhook_deliveries::queue(connection, workspace, event.event_id, &event_type).await
}

/// One event; the newest that fits.
pub async fn get(
    connection: &mut Connection,
    workspace: WorkspaceId,
    filter: &Get,
) -> Result<Option<Event>, StoreError> {
    let mut select = Select::new(SELECT);
    select.and_id("v.workspace_id = $", Some(workspace));
    select.and_id("v.event_id = $", filter.event_id);
    select.and_maybe("v.event_type = $", filter.event_type.as_deref());
    select.fetch(" ORDER BY v.position DESC LIMIT 1", connection).await?.first().map(read).transpose()
}

/// Events, oldest first: from a moment on, or else the newest.
pub async fn list(
    connection: &mut Connection,
    workspace: WorkspaceId,
    filter: &List,
    limit: u32,
) -> Result<Vec<Event>, StoreError> {
    let mut select = Select::new(SELECT);
    select.and_id("v.workspace_id = $", Some(workspace));
    select.and_elsewhere(&[
        &filter.access_code_id,
        &filter.access_code_ids,
        &filter.acs_access_group_id,
        &filter.connect_webview_id,
        &filter.customer_key,
        &filter.device_id,
        &filter.device_ids,
    ]);
    let between = filter.between.0.as_deref().unwrap_or_default();
    select.and_maybe("v.created_at >= $", filter.since);
    select.and_maybe("v.created_at >= $", between.first().copied());
    select.and_maybe("v.created_at < $", between.get(1).copied());
    select.and_maybe("v.event_type = $", filter.event_type.as_deref());
    select.and_any_of("v.event_type", filter.event_types.0.as_deref());
    select.and_any_of("v.event_id", filter.event_ids.0.as_deref());
    select.and_id("v.access_grant_id = $", filter.access_grant_id);
    select.and_any_of("v.access_grant_id", filter.access_grant_ids.0.as_deref());
    select.and_id("v.access_method_id = $", filter.access_method_id);
    select.and_any_of("v.access_method_id", filter.access_method_ids.0.as_deref());
    select.and_id("v.acs_credential_id = $", filter.acs_credential_id);
    select.and_id("v.acs_encoder_id = $", filter.acs_encoder_id);
    select.and_id("v.acs_entrance_id = $", filter.acs_entrance_id);
    select.and_id("v.acs_system_id = $", filter.acs_system_id);
    select.and_any_of("v.acs_system_id", filter.acs_system_ids.0.as_deref());
    select.and_id("v.acs_user_id = $", filter.acs_user_id);
    select.and_id("v.connected_account_id = $", filter.connected_account_id);
    select.and_id("v.user_identity_id = $", filter.user_identity_id);
    select.and_id("v.space_id = $", filter.space_id);
    select.and_any_of("v.space_id", filter.space_ids.0.as_deref());
    if filter.since.is_some() || !between.is_empty() {
        let rows = select.fetch_some(" ORDER BY v.position LIMIT $", limit, connection).await?;
        return rows.iter().map(read).collect();
    }
    let rows = select.fetch_some(" ORDER BY v.position DESC LIMIT $", limit, connection).await?;
    rows.iter().rev().map(read).collect()
}

/// The events of a workspace behind a place, oldest first, each with its place.
pub async fn behind(
    connection: &mut Connection,
    workspace: WorkspaceId,
    place: i64,
    limit: u32,
) -> Result<Vec<(i64, Event)>, StoreError> {
    let mut select = Select::new("SELECT v.position, v.body FROM event v");
    select.and_id("v.workspace_id = $", Some(workspace));
    select.and_value("v.position > $", place);
    let rows = select.fetch_some(" ORDER BY v.position LIMIT $", limit, connection).await?;
    rows.iter().map(|row| Ok((row.integer("position")?, read(row)?))).collect()
}

/// The place of a workspace's newest event; 0 before the first.
pub async fn newest(connection: &mut Connection, workspace: WorkspaceId) -> Result<i64, StoreError> {
    let mut select = Select::new("SELECT COALESCE(MAX(v.position), 0) AS position FROM event v");
    select.and_id("v.workspace_id = $", Some(workspace));
    select.fetch("", connection).await?.first().map_or(Ok(0), |row| row.integer("position"))
}

fn read(row: &AnyRow) -> Result<Event, StoreError> {
    row.json("body")
}
