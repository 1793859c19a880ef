//! Encoders and their links to devices.

use super::acs_systems::SystemIds;
use super::select::{Page, Paged, Select, each};
use super::{Columns as _, to_json};
use crate::api::acs_encoders::List;
use crate::api::bridge::EncoderReport;
use crate::api::id::{AcsEncoderId, AcsSystemId, BridgeId, WorkspaceId};
use crate::api::time::Time;
use crate::store::{Connection, StoreError};
use sqlx::any::AnyRow;

const SELECT: &str = "SELECT n.acs_encoder_id, n.acs_system_id, n.display_name, n.bridge_id, n.device_id, n.simulated,
    n.created_at, n.removed_at, s.workspace_id, s.connected_account_id
    FROM acs_encoder n JOIN acs_system s ON s.acs_system_id = n.acs_system_id";

/// An encoder as the database keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoder {
    /// Its id.
    pub acs_encoder_id: AcsEncoderId,
    /// Its system.
    pub system: SystemIds,
    /// Its name.
    pub display_name: String,
    /// The daemon that has its device.
    pub bridge_id: Option<BridgeId>,
    /// The linked device.
    pub device_id: Option<String>,
    /// A virtual encoder.
    pub simulated: bool,
    /// When it was first seen.
    pub created_at: Time,
    /// When its link was dissolved.
    pub removed_at: Option<Time>,
}

/// An encoder's link to a device, and how it is shown.
#[derive(Clone, Debug)]
pub struct Link {
    /// The encoder.
    pub acs_encoder_id: AcsEncoderId,
    /// The daemon.
    pub bridge_id: BridgeId,
    /// Its device.
    pub device_id: String,
    /// The encoder's name.
    pub display_name: String,
    /// A virtual encoder.
    pub simulated: bool,
}

/// One encoder.
pub async fn get(
    connection: &mut Connection,
    workspace: WorkspaceId,
    id: AcsEncoderId,
) -> Result<Option<Encoder>, StoreError> {
    let mut select = Select::new(SELECT);
    select.and_id("s.workspace_id = $", Some(workspace));
    select.and_id("n.acs_encoder_id = $", Some(id));
    select.fetch("", connection).await?.first().map(read).transpose()
}

/// Whether any workspace has an encoder with this id.
pub async fn exists(connection: &mut Connection, id: AcsEncoderId) -> Result<bool, StoreError> {
    let mut select = Select::new(SELECT);
    select.and_id("n.acs_encoder_id = $", Some(id));
    Ok(!select.fetch("", connection).await?.is_empty())
}

/// Encoders.
pub async fn list(
    connection: &mut Connection,
    workspace: WorkspaceId,
    filter: &List,
    page: Page,
) -> Result<Paged<Encoder>, StoreError> {
    let mut select = Select::new(SELECT);
    select.and_id("s.workspace_id = $", Some(workspace));
    select.and_id("n.acs_system_id = $", filter.acs_system_id);
    select.and_any_of("n.acs_system_id", filter.acs_system_ids.0.as_deref());
    select.and_any_of("n.acs_encoder_id", filter.acs_encoder_ids.0.as_deref());
    each(&select.page("n", "created_at", "acs_encoder_id", page, connection).await?, read)
}

/// All encoders of a daemon.
pub async fn of_bridge(
    connection: &mut Connection,
    workspace: WorkspaceId,
    bridge: BridgeId,
) -> Result<Vec<Encoder>, StoreError> {
    let mut select = Select::new(SELECT);
    select.and_id("s.workspace_id = $", Some(workspace));
    select.and_id("n.bridge_id = $", Some(bridge));
    select.fetch("", connection).await?.iter().map(read).collect()
}

/// Whether a daemon has encoders in another workspace than this.
pub async fn has_elsewhere(
    connection: &mut Connection,
    workspace: WorkspaceId,
    bridge: BridgeId,
) -> Result<bool, StoreError> {
    let mut select = Select::new(SELECT);
    select.and_id("s.workspace_id <> $", Some(workspace));
    select.and_id("n.bridge_id = $", Some(bridge));
    Ok(!select.fetch(" LIMIT 1", connection).await?.is_empty())
}

/// Makes an encoder, or links a known one to another device.
pub async fn put(connection: &mut Connection, system: AcsSystemId, link: &Link, now: Time) -> Result<(), StoreError> {
    // A device has one encoder: an older link of the same device gives way.
    sqlx::query(
        "UPDATE acs_encoder SET device_id = NULL, removed_at = $1
         WHERE bridge_id = $2 AND device_id = $3 AND acs_encoder_id <> $4",
    )
    .bind(now.ms())
    .bind(link.bridge_id.to_string())
    .bind(link.device_id.clone())
    .bind(link.acs_encoder_id.to_string())
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "INSERT INTO acs_encoder (acs_encoder_id, acs_system_id, display_name, bridge_id, device_id, simulated, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (acs_encoder_id) DO UPDATE SET display_name = excluded.display_name, bridge_id = excluded.bridge_id,
         device_id = excluded.device_id, simulated = excluded.simulated, removed_at = NULL",
    )
    .bind(link.acs_encoder_id.to_string())
    .bind(system.to_string())
    .bind(link.display_name.clone())
    .bind(link.bridge_id.to_string())
    .bind(link.device_id.clone())
    .bind(i64::from(link.simulated))
    .bind(now.ms())
    .execute(connection)
    .await?;
    Ok(())
}

/// Dissolves the link of an encoder to its device.
pub async fn unlink(connection: &mut Connection, id: AcsEncoderId, now: Time) -> Result<(), StoreError> {
    sqlx::query("UPDATE acs_encoder SET device_id = NULL, removed_at = $1 WHERE acs_encoder_id = $2")
        .bind(now.ms())
        .bind(id.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

/// What a daemon last said of an encoder.
#[derive(Clone, Debug)]
pub struct Reported {
    /// The encoder.
    pub acs_encoder_id: AcsEncoderId,
    /// The daemon that said it.
    pub bridge_id: BridgeId,
    /// What it said.
    pub report: EncoderReport,
    /// When.
    pub at: Time,
}

const REPORTS: &str = "SELECT r.acs_encoder_id, r.bridge_id, r.report, r.reported_at FROM encoder_report r";

/// What was last said of one encoder.
pub async fn reported(connection: &mut Connection, id: AcsEncoderId) -> Result<Option<Reported>, StoreError> {
    let mut select = Select::new(REPORTS);
    select.and_id("r.acs_encoder_id = $", Some(id));
    select.fetch("", connection).await?.first().map(read_report).transpose()
}

/// What a daemon last said of its encoders.
pub async fn reported_by(connection: &mut Connection, bridge: BridgeId) -> Result<Vec<Reported>, StoreError> {
    let mut select = Select::new(REPORTS);
    select.and_id("r.bridge_id = $", Some(bridge));
    select.fetch("", connection).await?.iter().map(read_report).collect()
}

/// Writes down what a daemon says of an encoder.
pub async fn put_report(connection: &mut Connection, reported: &Reported) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO encoder_report (acs_encoder_id, bridge_id, report, reported_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (acs_encoder_id) DO UPDATE SET bridge_id = excluded.bridge_id, report = excluded.report,
         reported_at = excluded.reported_at",
    )
    .bind(reported.acs_encoder_id.to_string())
    .bind(reported.bridge_id.to_string())
    .bind(to_json(&reported.report))
    .bind(reported.at.ms())
    .execute(connection)
    .await?;
    Ok(())
}

/// Forgets what was said before the only node was started: nothing is known until the daemons say it again.
pub async fn forget_reports(connection: &mut Connection) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM encoder_report").execute(connection).await?;
    Ok(())
}

fn read_report(row: &AnyRow) -> Result<Reported, StoreError> {
    Ok(Reported {
        acs_encoder_id: row.id("acs_encoder_id")?,
        bridge_id: row.id("bridge_id")?,
        report: row.json("report")?,
        at: row.time("reported_at")?,
    })
}

fn read(row: &AnyRow) -> Result<Encoder, StoreError> {
    Ok(Encoder {
        acs_encoder_id: row.id("acs_encoder_id")?,
        system: SystemIds::read(row)?,
        display_name: row.text("display_name")?,
        bridge_id: row.maybe_id("bridge_id")?,
        device_id: row.maybe_text("device_id")?,
        simulated: row.flag("simulated")?,
        created_at: row.time("created_at")?,
        removed_at: row.maybe_time("removed_at")?,
    })
}
