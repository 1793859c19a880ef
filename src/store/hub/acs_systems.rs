//! Workspaces, each with its access system.

use super::Columns as _;
use super::select::Select;
use crate::api::Nothing;
use crate::api::acs_systems::{AcsSystem, List, Location};
use crate::api::admin::HubWorkspace;
use crate::api::events::SystemEvent;
use crate::api::id::{AcsSystemId, ConnectedAccountId, WorkspaceId};
use crate::api::time::Time;
use crate::api::workspaces::{Customization, Workspace};
use crate::store::{Connection, Realm, StoreError};
use sqlx::any::AnyRow;

const SELECT: &str = "SELECT s.acs_system_id, s.workspace_id, s.connected_account_id, s.name, s.time_zone, s.created_at
    FROM acs_system s";

/// The ids that go into objects and events of an access system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SystemIds {
    /// Its workspace.
    pub workspace_id: WorkspaceId,
    /// The system.
    pub acs_system_id: AcsSystemId,
    /// Its account.
    pub connected_account_id: ConnectedAccountId,
}

impl SystemIds {
    /// The part of an event that names the system.
    pub fn event(self) -> SystemEvent {
        SystemEvent { acs_system_id: self.acs_system_id, connected_account_id: self.connected_account_id }
    }

    /// What a transaction has to itself that writes here.
    pub fn realm(self) -> Realm {
        Realm::Workspace(self.workspace_id.0)
    }

    pub(super) fn read(row: &AnyRow) -> Result<Self, StoreError> {
        Ok(Self {
            workspace_id: row.id("workspace_id")?,
            acs_system_id: row.id("acs_system_id")?,
            connected_account_id: row.id("connected_account_id")?,
        })
    }
}

const WORKSPACES: &str = "SELECT w.workspace_id, w.name FROM workspace w";

/// One workspace.
pub async fn workspace(connection: &mut Connection, id: WorkspaceId) -> Result<Option<Workspace>, StoreError> {
    let mut select = Select::new(WORKSPACES);
    select.and_id("w.workspace_id = $", Some(id));
    select.fetch("", connection).await?.first().map(workspace_object).transpose()
}

/// All workspaces, the oldest first.
pub async fn workspaces(connection: &mut Connection) -> Result<Vec<Workspace>, StoreError> {
    let rows = Select::new(WORKSPACES).fetch(" ORDER BY w.created_at, w.workspace_id", connection).await?;
    rows.iter().map(workspace_object).collect()
}

const HUB_WORKSPACES: &str = "SELECT w.workspace_id, w.name, w.created_at, s.acs_system_id, s.time_zone
    FROM workspace w JOIN acs_system s ON s.workspace_id = w.workspace_id";

/// All workspaces as the hub's owner sees them, the oldest first.
pub async fn hub_workspaces(connection: &mut Connection, first: WorkspaceId) -> Result<Vec<HubWorkspace>, StoreError> {
    let rows = Select::new(HUB_WORKSPACES).fetch(" ORDER BY w.created_at, w.workspace_id", connection).await?;
    rows.iter().map(|row| hub_workspace_object(row, first)).collect()
}

/// One workspace as the hub's owner sees it.
pub async fn hub_workspace(
    connection: &mut Connection,
    id: WorkspaceId,
    first: WorkspaceId,
) -> Result<Option<HubWorkspace>, StoreError> {
    let mut select = Select::new(HUB_WORKSPACES);
    select.and_id("w.workspace_id = $", Some(id));
    select.fetch("", connection).await?.first().map(|row| hub_workspace_object(row, first)).transpose()
}

fn hub_workspace_object(row: &AnyRow, first: WorkspaceId) -> Result<HubWorkspace, StoreError> {
    let workspace_id = row.id("workspace_id")?;
    Ok(HubWorkspace {
        workspace_id,
        acs_system_id: row.id("acs_system_id")?,
        name: row.text("name")?,
        time_zone: row.maybe_text("time_zone")?,
        is_first: workspace_id == first,
        created_at: row.time("created_at")?,
    })
}

/// Whether the database answers.
pub async fn ping(connection: &mut Connection) -> Result<(), StoreError> {
    Select::new(WORKSPACES).fetch(" LIMIT 1", connection).await?;
    Ok(())
}

fn workspace_object(row: &AnyRow) -> Result<Workspace, StoreError> {
    let name = row.text("name")?;
    Ok(Workspace {
        workspace_id: row.id("workspace_id")?,
        company_name: name.clone(),
        name,
        connect_partner_name: None,
        connect_webview_customization: Customization {},
        is_sandbox: false,
        is_suspended: false,
        is_publishable_key_auth_enabled: false,
        organization_id: None,
    })
}

/// The first workspace's system: the one that the configuration names.
pub async fn first(connection: &mut Connection) -> Result<Option<SystemIds>, StoreError> {
    let rows = Select::new(SELECT).fetch(" ORDER BY s.created_at, s.acs_system_id LIMIT 1", connection).await?;
    rows.first().map(SystemIds::read).transpose()
}

/// When the newest access system was made.
pub async fn newest(connection: &mut Connection) -> Result<Option<Time>, StoreError> {
    let rows = Select::new(SELECT).fetch(" ORDER BY s.created_at DESC LIMIT 1", connection).await?;
    rows.first().map(|row| row.time("created_at")).transpose()
}

/// A workspace's system.
pub async fn of_workspace(connection: &mut Connection, id: WorkspaceId) -> Result<Option<SystemIds>, StoreError> {
    let mut select = Select::new(SELECT);
    select.and_id("s.workspace_id = $", Some(id));
    select.fetch("", connection).await?.first().map(SystemIds::read).transpose()
}

/// One access system.
pub async fn get(
    connection: &mut Connection,
    workspace: WorkspaceId,
    id: AcsSystemId,
) -> Result<Option<AcsSystem>, StoreError> {
    let mut select = Select::new(SELECT);
    select.and_id("s.workspace_id = $", Some(workspace));
    select.and_id("s.acs_system_id = $", Some(id));
    select.fetch("", connection).await?.first().map(object).transpose()
}

/// The access systems of a workspace.
pub async fn list(
    connection: &mut Connection,
    workspace: WorkspaceId,
    filter: &List,
) -> Result<Vec<AcsSystem>, StoreError> {
    let mut select = Select::new(SELECT);
    select.and_id("s.workspace_id = $", Some(workspace));
    select.and_elsewhere(&[&filter.customer_key]);
    select.and_id("s.connected_account_id = $", filter.connected_account_id);
    select
        .and_search("LOWER(s.name) LIKE LOWER($) ESCAPE '\\'", filter.search.as_ref().map(|search| search.0.as_str()));
    select.fetch(" ORDER BY s.created_at, s.acs_system_id", connection).await?.iter().map(object).collect()
}

/// Makes a workspace with an access system of the same name.
pub async fn create(
    connection: &mut Connection,
    ids: SystemIds,
    name: &str,
    time_zone: Option<&str>,
    now: Time,
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO workspace (workspace_id, name, created_at) VALUES ($1, $2, $3)")
        .bind(ids.workspace_id.to_string())
        .bind(name)
        .bind(now.ms())
        .execute(&mut *connection)
        .await?;
    sqlx::query(
        "INSERT INTO acs_system (acs_system_id, workspace_id, connected_account_id, name, time_zone, created_at)
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(ids.acs_system_id.to_string())
    .bind(ids.workspace_id.to_string())
    .bind(ids.connected_account_id.to_string())
    .bind(name)
    .bind(time_zone)
    .bind(now.ms())
    .execute(connection)
    .await?;
    Ok(())
}

/// Gives workspace and access system another name and time zone.
pub async fn rename(
    connection: &mut Connection,
    ids: SystemIds,
    name: &str,
    time_zone: Option<&str>,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE workspace SET name = $1 WHERE workspace_id = $2")
        .bind(name)
        .bind(ids.workspace_id.to_string())
        .execute(&mut *connection)
        .await?;
    sqlx::query("UPDATE acs_system SET name = $1, time_zone = $2 WHERE acs_system_id = $3")
        .bind(name)
        .bind(time_zone)
        .bind(ids.acs_system_id.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

fn object(row: &AnyRow) -> Result<AcsSystem, StoreError> {
    let ids = SystemIds::read(row)?;
    let name = row.text("name")?;
    Ok(AcsSystem {
        acs_system_id: ids.acs_system_id,
        workspace_id: ids.workspace_id,
        connected_account_id: ids.connected_account_id,
        connected_account_ids: vec![ids.connected_account_id],
        image_url: "https://connect.getseam.com/assets/images/acs_systems/generic.png".to_owned(),
        image_alt_text: format!("Access system of {name}"),
        name,
        created_at: row.time("created_at")?,
        is_credential_manager: false,
        location: Location { time_zone: row.maybe_text("time_zone")? },
        errors: Nothing::default(),
        warnings: Nothing::default(),
    })
}
