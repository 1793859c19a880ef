//! Credentials: what is to be on a card, and what is.

use super::Columns as _;
use super::acs_entrances::door_number;
use super::acs_systems::SystemIds;
use super::select::{Page, Paged, Select, each};
use crate::api::acs_credentials::List;
use crate::api::id::{
    AccessGrantId, AccessMethodId, AcsCredentialId, AcsEntranceId, AcsSystemId, AcsUserId, UserIdentityId, WorkspaceId,
};
use crate::api::time::Time;
use crate::store::{Connection, StoreError};
use sqlx::any::AnyRow;

const SELECT: &str = "SELECT c.acs_credential_id, c.acs_system_id, c.acs_user_id, c.user_identity_id, c.display_name,
    c.starts_at, c.ends_at, c.times_changed_at, c.card_number, c.issued_at, c.issued_starts_at, c.issued_ends_at,
    c.in_doubt_card_number, c.created_at, c.deleted_at, s.workspace_id, s.connected_account_id,
    m.access_method_id, m.access_grant_id, g.access_grant_key
    FROM acs_credential c JOIN acs_system s ON s.acs_system_id = c.acs_system_id
    LEFT JOIN access_method m ON m.acs_credential_id = c.acs_credential_id
    LEFT JOIN access_grant g ON g.access_grant_id = m.access_grant_id";

/// A credential as the database keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// Its id.
    pub acs_credential_id: AcsCredentialId,
    /// Its system.
    pub system: SystemIds,
    /// Whose.
    pub acs_user_id: Option<AcsUserId>,
    /// The person behind that user.
    pub user_identity_id: Option<UserIdentityId>,
    /// A name that is never empty.
    pub display_name: String,
    /// When it is to open.
    pub times: Times,
    /// When those were last changed.
    pub times_changed_at: Time,
    /// What is on its card.
    pub issue: Option<Issue>,
    /// A card that may hold it.
    pub in_doubt_card_number: Option<String>,
    /// When it was made.
    pub created_at: Time,
    /// When it was deleted.
    pub deleted_at: Option<Time>,
    /// The access method it stands behind.
    pub access_method: Option<AccessMethodOf>,
}

impl Credential {
    /// What is known of its being on this card.
    pub fn issue_on(&self, card_number: &str) -> Option<&Issue> {
        self.issue.as_ref().filter(|issue| issue.card_number == card_number)
    }

    /// Whether this card may hold it, or not.
    pub fn is_in_doubt_on(&self, card_number: &str) -> bool {
        self.in_doubt_card_number.as_deref() == Some(card_number)
    }
}

/// From when to when a credential opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// Start.
    pub starts_at: Time,
    /// End; none: without end.
    pub ends_at: Option<Time>,
}

/// What is on a credential's card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// The card's UID.
    pub card_number: String,
    /// When it was written.
    pub at: Time,
    /// The times that were written.
    pub times: Times,
}

/// The access method that a credential stands behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessMethodOf {
    /// The access method.
    pub access_method_id: AccessMethodId,
    /// Its grant.
    pub access_grant_id: AccessGrantId,
    /// That grant's key.
    pub access_grant_key: Option<String>,
}

/// A credential to be made.
#[derive(Clone, Debug)]
pub struct NewCredential {
    /// The id it gets.
    pub acs_credential_id: AcsCredentialId,
    /// Its system.
    pub acs_system_id: AcsSystemId,
    /// Whose.
    pub acs_user_id: Option<AcsUserId>,
    /// The person behind that user.
    pub user_identity_id: Option<UserIdentityId>,
    /// A name that is never empty.
    pub display_name: String,
    /// When it is to open.
    pub times: Times,
    /// What it is to open.
    pub entrances: Vec<AcsEntranceId>,
}

/// One credential, deleted ones too.
pub async fn get(
    connection: &mut Connection,
    workspace: WorkspaceId,
    id: AcsCredentialId,
) -> Result<Option<Credential>, StoreError> {
    let mut select = Select::new(SELECT);
    select.and_id("s.workspace_id = $", Some(workspace));
    select.and_id("c.acs_credential_id = $", Some(id));
    select.fetch("", connection).await?.first().map(read).transpose()
}

/// Credentials that are not deleted.
pub async fn list(
    connection: &mut Connection,
    workspace: WorkspaceId,
    filter: &List,
    page: Page,
) -> Result<Paged<Credential>, StoreError> {
    let mut select = Select::new(SELECT);
    select.and_id("s.workspace_id = $", Some(workspace));
    select.and("c.deleted_at IS NULL");
    select.and_id("c.acs_user_id = $", filter.acs_user_id);
    select.and_id("c.acs_system_id = $", filter.acs_system_id);
    select.and_id("c.user_identity_id = $", filter.user_identity_id);
    select.and_maybe("c.created_at < $", filter.created_before);
    if filter.is_multi_phone_sync_credential == Some(true) {
        select.and("1 = 0");
    }
    select.and_search(
        "LOWER(c.display_name) LIKE LOWER($) ESCAPE '\\' OR LOWER(COALESCE(c.card_number, '')) LIKE LOWER($) ESCAPE '\\'",
        filter.search.as_ref().map(|search| search.0.as_str()),
    );
    each(&select.page("c", "created_at", "acs_credential_id", page, connection).await?, read)
}

/// The credentials of an access grant that are not deleted.
pub async fn of_grant(connection: &mut Connection, grant: AccessGrantId) -> Result<Vec<Credential>, StoreError> {
    let mut select = Select::new(SELECT);
    select.and("c.deleted_at IS NULL");
    select.and_id("m.access_grant_id = $", Some(grant));
    select.fetch(" ORDER BY c.created_at, c.acs_credential_id", connection).await?.iter().map(read).collect()
}

/// The credentials that are held to be on this card, or to be perhaps on it; deleted ones too.
pub async fn on_card(
    connection: &mut Connection,
    workspace: WorkspaceId,
    card_number: &str,
) -> Result<Vec<Credential>, StoreError> {
    let mut select = Select::new(SELECT);
    select.and_id("s.workspace_id = $", Some(workspace));
    select.and_value("c.card_number = $ OR c.in_doubt_card_number = $", card_number);
    select.fetch(" ORDER BY c.created_at, c.acs_credential_id", connection).await?.iter().map(read).collect()
}

/// The numbers of the doors that a credential opens, in rising order.
pub async fn doors(connection: &mut Connection, id: AcsCredentialId) -> Result<Vec<u16>, StoreError> {
    sqlx::query(
        "SELECT e.door FROM acs_credential_entrance x JOIN acs_entrance e ON e.acs_entrance_id = x.acs_entrance_id
         WHERE x.acs_credential_id = $1 ORDER BY e.door",
    )
    .bind(id.to_string())
    .fetch_all(connection)
    .await?
    .iter()
    .map(door_number)
    .collect()
}

/// Makes a credential.
pub async fn create(connection: &mut Connection, credential: &NewCredential, now: Time) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO acs_credential (acs_credential_id, acs_system_id, acs_user_id, user_identity_id, display_name,
         starts_at, ends_at, times_changed_at, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8)",
    )
    .bind(credential.acs_credential_id.to_string())
    .bind(credential.acs_system_id.to_string())
    .bind(credential.acs_user_id.map(|id| id.to_string()))
    .bind(credential.user_identity_id.map(|id| id.to_string()))
    .bind(credential.display_name.clone())
    .bind(credential.times.starts_at.ms())
    .bind(credential.times.ends_at.map(Time::ms))
    .bind(now.ms())
    .execute(&mut *connection)
    .await?;
    for entrance in &credential.entrances {
        sqlx::query(
            "INSERT INTO acs_credential_entrance (acs_credential_id, acs_entrance_id) VALUES ($1, $2)
             ON CONFLICT DO NOTHING",
        )
        .bind(credential.acs_credential_id.to_string())
        .bind(entrance.to_string())
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// Changes when a credential opens.
pub async fn set_times(
    connection: &mut Connection,
    id: AcsCredentialId,
    times: Times,
    now: Time,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE acs_credential SET starts_at = $1, ends_at = $2, times_changed_at = $3 WHERE acs_credential_id = $4",
    )
    .bind(times.starts_at.ms())
    .bind(times.ends_at.map(Time::ms))
    .bind(now.ms())
    .bind(id.to_string())
    .execute(connection)
    .await?;
    Ok(())
}

/// Writes down what is on a credential's card; `None`: it is on none. Nothing is in doubt any more.
pub async fn set_issue(
    connection: &mut Connection,
    id: AcsCredentialId,
    issue: Option<&Issue>,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE acs_credential SET card_number = $1, issued_at = $2, issued_starts_at = $3, issued_ends_at = $4,
         in_doubt_card_number = NULL WHERE acs_credential_id = $5",
    )
    .bind(issue.map(|issue| issue.card_number.clone()))
    .bind(issue.map(|issue| issue.at.ms()))
    .bind(issue.map(|issue| issue.times.starts_at.ms()))
    .bind(issue.and_then(|issue| issue.times.ends_at).map(Time::ms))
    .bind(id.to_string())
    .execute(connection)
    .await?;
    Ok(())
}

/// Writes down the card that may hold a credential; `None`: none may.
pub async fn set_in_doubt(
    connection: &mut Connection,
    id: AcsCredentialId,
    card_number: Option<&str>,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE acs_credential SET in_doubt_card_number = $1 WHERE acs_credential_id = $2")
        .bind(card_number)
        .bind(id.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

/// Marks a credential as deleted. Its row stays: attempts, late results and scans still name it.
pub async fn delete(connection: &mut Connection, id: AcsCredentialId, now: Time) -> Result<(), StoreError> {
    sqlx::query("UPDATE acs_credential SET deleted_at = $1 WHERE acs_credential_id = $2 AND deleted_at IS NULL")
        .bind(now.ms())
        .bind(id.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

fn read(row: &AnyRow) -> Result<Credential, StoreError> {
    let issue = match (row.maybe_text("card_number")?, row.maybe_time("issued_at")?) {
        (Some(card_number), Some(at)) => Some(Issue {
            card_number,
            at,
            times: Times { starts_at: row.time("issued_starts_at")?, ends_at: row.maybe_time("issued_ends_at")? },
        }),
        (None, _) | (_, None) => None,
    };
    let access_method = match (row.maybe_id("access_method_id")?, row.maybe_id("access_grant_id")?) {
        (Some(access_method_id), Some(access_grant_id)) => Some(AccessMethodOf {
            access_method_id,
            access_grant_id,
            access_grant_key: row.maybe_text("access_grant_key")?,
        }),
        (None, _) | (_, None) => None,
    };
    Ok(Credential {
        acs_credential_id: row.id("acs_credential_id")?,
        system: SystemIds::read(row)?,
        acs_user_id: row.maybe_id("acs_user_id")?,
        user_identity_id: row.maybe_id("user_identity_id")?,
        display_name: row.text("display_name")?,
        times: Times { starts_at: row.time("starts_at")?, ends_at: row.maybe_time("ends_at")? },
        times_changed_at: row.time("times_changed_at")?,
        issue,
        in_doubt_card_number: row.maybe_text("in_doubt_card_number")?,
        created_at: row.time("created_at")?,
        deleted_at: row.maybe_time("deleted_at")?,
        access_method,
    })
}
