//! The hub's database: one file a thing.
//!
//! Functions that take a `&mut Connection` read or write one thing and know no rules; the rules are the hub's. Those
//! that belong together run in one transaction, the caller's.

pub mod access_grants;
pub mod access_methods;
pub mod acs_credentials;
pub mod acs_encoders;
pub mod acs_entrances;
pub mod acs_systems;
pub mod acs_users;
pub mod action_attempts;
pub mod bridge_tokens;
pub mod events;
pub mod jobs;
pub mod keys;
pub mod nodes;
pub mod pairing_codes;
pub mod retention;
pub mod select;
pub mod simulations;
pub mod spaces;
pub mod user_identities;
pub mod webhook_deliveries;
pub mod webhooks;

use super::{Schema, StoreError};
use crate::api::time::Time;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::Row as _;
use sqlx::any::AnyRow;
use uuid::Uuid;

/// The hub's database: access system, people, credentials, encoders, attempts, events.
pub const SCHEMA: Schema = Schema {
    name: "hub",
    migrations: &[
        include_str!("0001_start.sql"),
        include_str!("0002_card.sql"),
        include_str!("0003_nodes.sql"),
        include_str!("0004_webhooks.sql"),
        include_str!("0005_spaces.sql"),
        include_str!("0006_credentials.sql"),
        include_str!("0007_pairing.sql"),
        include_str!("0008_retention.sql"),
    ],
};

/// Reads a row's columns as the types that they hold.
trait Columns {
    fn text(&self, column: &str) -> Result<String, StoreError>;
    fn maybe_text(&self, column: &str) -> Result<Option<String>, StoreError>;
    fn integer(&self, column: &str) -> Result<i64, StoreError>;
    fn maybe_integer(&self, column: &str) -> Result<Option<i64>, StoreError>;

    fn id<T: From<Uuid>>(&self, column: &str) -> Result<T, StoreError> {
        uuid(&self.text(column)?)
    }

    fn maybe_id<T: From<Uuid>>(&self, column: &str) -> Result<Option<T>, StoreError> {
        self.maybe_text(column)?.as_deref().map(uuid).transpose()
    }

    fn time(&self, column: &str) -> Result<Time, StoreError> {
        Ok(Time::from_ms(self.integer(column)?))
    }

    fn maybe_time(&self, column: &str) -> Result<Option<Time>, StoreError> {
        Ok(self.maybe_integer(column)?.map(Time::from_ms))
    }

    fn flag(&self, column: &str) -> Result<bool, StoreError> {
        Ok(self.integer(column)? != 0)
    }

    fn json<T: DeserializeOwned>(&self, column: &str) -> Result<T, StoreError> {
        from_json(&self.text(column)?)
    }

    fn maybe_json<T: DeserializeOwned>(&self, column: &str) -> Result<Option<T>, StoreError> {
        self.maybe_text(column)?.as_deref().map(from_json).transpose()
    }
}

impl Columns for AnyRow {
    fn text(&self, column: &str) -> Result<String, StoreError> {
        Ok(self.try_get(column)?)
    }

    fn maybe_text(&self, column: &str) -> Result<Option<String>, StoreError> {
        Ok(self.try_get(column)?)
    }

    fn integer(&self, column: &str) -> Result<i64, StoreError> {
        Ok(self.try_get(column)?)
    }

    fn maybe_integer(&self, column: &str) -> Result<Option<i64>, StoreError> {
        Ok(self.try_get(column)?)
    }
}

fn uuid<T: From<Uuid>>(text: &str) -> Result<T, StoreError> {
    let id = Uuid::try_parse(text).map_err(|_| StoreError::Value { expected: "a UUID", value: text.to_owned() })?;
    Ok(T::from(id))
}

fn from_json<T: DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text)
        .map_err(|_| StoreError::Value { expected: std::any::type_name::<T>(), value: text.to_owned() })
}

/// JSON as text. Our own types always have a JSON form; if one had not, the database would hold `null` and reading it
/// would say so.
fn to_json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned())
}
