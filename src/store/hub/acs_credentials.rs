//! Credentials: what is to be on a card, and what is.

use super::acs_entrances::door_number;
use super::acs_systems::SystemIds;
use super::select::{Page, Paged, Select};
use super::{Columns as _, to_json};
use crate::api::acs_credentials::List;
use crate::api::bridge::CredentialFlags;
use crate::api::credential_metadata::Metadata;
use crate::api::id::{
    AccessGrantId, AccessMethodId, AcsCredentialId, AcsEntranceId, AcsSystemId, AcsUserId, UserIdentityId, WorkspaceId,
};
use crate::api::time::Time;
use crate::store::{Connection, StoreError};
use sqlx::any::AnyRow;
use std::collections::BTreeMap;

const SELECT: &str = "SELECT c.acs_credential_id, c.acs_system_id, c.acs_user_id, c.user_identity_id, c.display_name,
    c.starts_at, c.ends_at, c.times_changed_at, c.card_number, c.issued_at, c.issued_starts_at, c.issued_ends_at,
    c.issued_doors, c.issued_flags, c.metadata, c.in_doubt_card_number, c.created_at, c.deleted_at, s.workspace_id, s.connected_account_id,
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
    /// The numbers of the doors that it is to open, in rising order.
    pub doors: Vec<u16>,
    /// What else was asked of it.
    pub metadata: Metadata,
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

/// What card numbers begin with that no card has.
pub const SIMULATED: &str = "simulated-";

impl Credential {
    /// What is on its card, unless that card was played.
    pub fn real_issue(&self) -> Option<&Issue> {
        self.issue.as_ref().filter(|issue| !issue.card_number.starts_with(SIMULATED))
    }

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
    /// What else was written; none: it was issued before that was kept.
    pub contents: Option<Contents>,
}

/// What a card carries of a credential beside its times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// Door numbers in rising order.
    pub doors: Vec<u16>,
    /// Guest semantics.
    pub flags: CredentialFlags,
}

impl Contents {
    /// From what a card or a job lists, in whatever order.
    pub fn new(mut doors: Vec<u16>, flags: CredentialFlags) -> Self {
        doors.sort_unstable();
        doors.dedup();
        Self { doors, flags }
    }
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
    let rows = select.fetch("", connection).await?;
    Ok(read_all(&rows, connection).await?.pop())
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
    let page = select.page("c", "created_at", "acs_credential_id", page, connection).await?;
    Ok(Paged { items: read_all(&page.items, connection).await?, next: page.next })
}

/// The credentials of an access grant that are not deleted.
pub async fn of_grant(connection: &mut Connection, grant: AccessGrantId) -> Result<Vec<Credential>, StoreError> {
    let mut select = Select::new(SELECT);
    select.and("c.deleted_at IS NULL");
    select.and_id("m.access_grant_id = $", Some(grant));
    in_order(select, connection).await
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
    in_order(select, connection).await
}

/// The credentials whose ids end with these four bytes; deleted ones too.
pub async fn with_number(
    connection: &mut Connection,
    workspace: WorkspaceId,
    number: u32,
) -> Result<Vec<Credential>, StoreError> {
    let mut select = Select::new(SELECT);
    select.and_id("s.workspace_id = $", Some(workspace));
    select.and_value("c.acs_credential_id LIKE $", format!("%{number:08x}"));
    in_order(select, connection).await
}

/// The credential that is issued on the card with this number, in whichever case that is written, and not deleted.
pub async fn issued_on(
    connection: &mut Connection,
    workspace: WorkspaceId,
    card_number: &str,
) -> Result<Option<Credential>, StoreError> {
    let mut select = Select::new(SELECT);
    select.and_id("s.workspace_id = $", Some(workspace));
    select.and("c.deleted_at IS NULL");
    // By value, so that the index serves.
    let cases = [card_number.to_owned(), card_number.to_lowercase(), card_number.to_uppercase()];
    select.and_any_of("c.card_number", Some(&cases));
    Ok(in_order(select, connection).await?.pop())
}

/// The credential of a workspace that was issued last and is not deleted.
pub async fn issued_last(
    connection: &mut Connection,
    workspace: WorkspaceId,
) -> Result<Option<Credential>, StoreError> {
    let mut select = Select::new(SELECT);
    select.and_id("s.workspace_id = $", Some(workspace));
    select.and("c.deleted_at IS NULL AND c.issued_at IS NOT NULL");
    let rows = select.fetch(" ORDER BY c.issued_at DESC, c.acs_credential_id LIMIT 1", connection).await?;
    Ok(read_all(&rows, connection).await?.pop())
}

/// The other credentials whose cards open a door of this one, common doors left out, and that are valid at the same time
/// as these times.
pub async fn beside(
    connection: &mut Connection,
    id: AcsCredentialId,
    times: Times,
) -> Result<Vec<Credential>, StoreError> {
    let mut select = Select::new(SELECT);
    select.and("c.deleted_at IS NULL AND c.card_number IS NOT NULL");
    select.and_id("c.acs_credential_id <> $", Some(id));
    select.and_value("c.issued_ends_at IS NULL OR c.issued_ends_at > $", times.starts_at);
    select.and_maybe("c.issued_starts_at < $", times.ends_at);
    select.and_id(
        "c.acs_credential_id IN (SELECT theirs.acs_credential_id FROM acs_credential_entrance theirs
         JOIN acs_credential_entrance ours ON ours.acs_entrance_id = theirs.acs_entrance_id
         WHERE ours.acs_credential_id = $ AND ours.is_common = 0 AND theirs.is_common = 0)",
        Some(id),
    );
    in_order(select, connection).await
}

/// Those of these credentials that a workspace has and that are not deleted.
pub async fn known(
    connection: &mut Connection,
    workspace: WorkspaceId,
    ids: &[AcsCredentialId],
) -> Result<Vec<AcsCredentialId>, StoreError> {
    let mut select = Select::new(SELECT);
    select.and_id("s.workspace_id = $", Some(workspace));
    select.and("c.deleted_at IS NULL");
    select.and_any_of("c.acs_credential_id", Some(ids));
    select.fetch("", connection).await?.iter().map(|row| row.id("acs_credential_id")).collect()
}

async fn in_order(select: Select, connection: &mut Connection) -> Result<Vec<Credential>, StoreError> {
    let rows = select.fetch(" ORDER BY c.created_at, c.acs_credential_id", connection).await?;
    read_all(&rows, connection).await
}

const DOORS: &str = "SELECT x.acs_credential_id, e.door FROM acs_credential_entrance x
    JOIN acs_entrance e ON e.acs_entrance_id = x.acs_entrance_id";

async fn read_all(rows: &[AnyRow], connection: &mut Connection) -> Result<Vec<Credential>, StoreError> {
    let mut credentials = rows.iter().map(without_doors).collect::<Result<Vec<_>, _>>()?;
    let ids: Vec<_> = credentials.iter().map(|credential| credential.acs_credential_id).collect();
    if ids.is_empty() {
        return Ok(credentials);
    }
    let mut select = Select::new(DOORS);
    select.and_any_of("x.acs_credential_id", Some(&ids));
    let mut doors: BTreeMap<AcsCredentialId, Vec<u16>> = BTreeMap::new();
    for row in select.fetch(" ORDER BY e.door", connection).await? {
        doors.entry(row.id("acs_credential_id")?).or_default().push(door_number(&row)?);
    }
    for credential in &mut credentials {
        credential.doors = doors.remove(&credential.acs_credential_id).unwrap_or_default();
    }
    Ok(credentials)
}

/// A door that a credential is to open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The door.
    pub acs_entrance_id: AcsEntranceId,
    /// Its number, as cards carry it.
    pub number: u16,
    /// Whether all guests share it.
    pub is_common: bool,
}

/// What a credential is to open.
pub async fn entrances(connection: &mut Connection, id: AcsCredentialId) -> Result<Vec<Opened>, StoreError> {
    let mut select = Select::new(
        "SELECT x.acs_entrance_id, x.is_common, e.door
         FROM acs_credential_entrance x JOIN acs_entrance e ON e.acs_entrance_id = x.acs_entrance_id",
    );
    select.and_id("x.acs_credential_id = $", Some(id));
    let rows = select.fetch(" ORDER BY e.door", connection).await?;
    let opened = |row: &AnyRow| {
        Ok(Opened {
            acs_entrance_id: row.id("acs_entrance_id")?,
            number: door_number(row)?,
            is_common: row.flag("is_common")?,
        })
    };
    rows.iter().map(opened).collect()
}

/// Changes what a credential opens, beside the doors that all guests share.
pub async fn set_entrances(
    connection: &mut Connection,
    id: AcsCredentialId,
    wanted: &[AcsEntranceId],
    now: Time,
) -> Result<(), StoreError> {
    let before = entrances(&mut *connection, id).await?;
    let own = before.iter().filter(|door| !door.is_common).map(|door| door.acs_entrance_id);
    let gone: Vec<_> = own.filter(|entrance| !wanted.contains(entrance)).collect();
    let has = |entrance: &AcsEntranceId| before.iter().any(|door| door.acs_entrance_id == *entrance);
    let new: Vec<_> = wanted.iter().filter(|entrance| !has(entrance)).collect();
    if gone.is_empty() && new.is_empty() {
        return Ok(());
    }
    for entrance in gone {
        sqlx::query("DELETE FROM acs_credential_entrance WHERE acs_credential_id = $1 AND acs_entrance_id = $2")
            .bind(id.to_string())
            .bind(entrance.to_string())
            .execute(&mut *connection)
            .await?;
    }
    for entrance in new {
        sqlx::query(
            "INSERT INTO acs_credential_entrance (acs_credential_id, acs_entrance_id) VALUES ($1, $2)
             ON CONFLICT DO NOTHING",
        )
        .bind(id.to_string())
        .bind(entrance.to_string())
        .execute(&mut *connection)
        .await?;
    }
    sqlx::query("UPDATE acs_credential SET times_changed_at = $1 WHERE acs_credential_id = $2")
        .bind(now.ms())
        .bind(id.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

/// The credentials of a person in a system that are not deleted.
pub async fn of_user(connection: &mut Connection, user: AcsUserId) -> Result<Vec<Credential>, StoreError> {
    let mut select = Select::new(SELECT);
    select.and("c.deleted_at IS NULL");
    select.and_id("c.acs_user_id = $", Some(user));
    in_order(select, connection).await
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

/// Keeps what else is asked of a credential, and which of its doors all guests share.
pub async fn set_metadata(
    connection: &mut Connection,
    id: AcsCredentialId,
    metadata: &Metadata,
    common: &[AcsEntranceId],
) -> Result<(), StoreError> {
    sqlx::query("UPDATE acs_credential SET metadata = $1 WHERE acs_credential_id = $2")
        .bind(to_json(metadata))
        .bind(id.to_string())
        .execute(&mut *connection)
        .await?;
    for entrance in common {
        sqlx::query(
            "INSERT INTO acs_credential_entrance (acs_credential_id, acs_entrance_id, is_common) VALUES ($1, $2, 1)
             ON CONFLICT (acs_credential_id, acs_entrance_id) DO UPDATE SET is_common = 1",
        )
        .bind(id.to_string())
        .bind(entrance.to_string())
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// Gives a credential another owner and name; `None`: nobody's.
pub async fn set_owner(
    connection: &mut Connection,
    id: AcsCredentialId,
    owner: Option<(AcsUserId, Option<UserIdentityId>)>,
    display_name: &str,
) -> Result<(), StoreError> {
    let (user, person) = owner.unzip();
    sqlx::query(
        "UPDATE acs_credential SET acs_user_id = $1, user_identity_id = $2, display_name = $3
         WHERE acs_credential_id = $4",
    )
    .bind(user.map(|id| id.to_string()))
    .bind(person.flatten().map(|id| id.to_string()))
    .bind(display_name)
    .bind(id.to_string())
    .execute(connection)
    .await?;
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
    let contents = issue.and_then(|issue| issue.contents.as_ref());
    sqlx::query(
        "UPDATE acs_credential SET card_number = $1, issued_at = $2, issued_starts_at = $3, issued_ends_at = $4,
         issued_doors = $5, issued_flags = $6, in_doubt_card_number = NULL WHERE acs_credential_id = $7",
    )
    .bind(issue.map(|issue| issue.card_number.clone()))
    .bind(issue.map(|issue| issue.at.ms()))
    .bind(issue.map(|issue| issue.times.starts_at.ms()))
    .bind(issue.and_then(|issue| issue.times.ends_at).map(Time::ms))
    .bind(contents.map(|contents| to_json(&contents.doors)))
    .bind(contents.map(|contents| to_json(&contents.flags)))
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

/// A credential without its doors, which are in other rows: [`read_all`] adds them.
fn without_doors(row: &AnyRow) -> Result<Credential, StoreError> {
    let contents = match (row.maybe_json("issued_doors")?, row.maybe_json("issued_flags")?) {
        (Some(doors), Some(flags)) => Some(Contents { doors, flags }),
        (None, _) | (_, None) => None,
    };
    let issue = match (row.maybe_text("card_number")?, row.maybe_time("issued_at")?) {
        (Some(card_number), Some(at)) => Some(Issue {
            card_number,
            at,
            times: Times { starts_at: row.time("issued_starts_at")?, ends_at: row.maybe_time("issued_ends_at")? },
            contents,
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
        doors: Vec::new(),
        metadata: row.maybe_json("metadata")?.unwrap_or_default(),
        issue,
        in_doubt_card_number: row.maybe_text("in_doubt_card_number")?,
        created_at: row.time("created_at")?,
        deleted_at: row.maybe_time("deleted_at")?,
        access_method,
    })
}
