//! What only the passphrase opens.

use super::wrap::{Passphrase, Purpose, WrapError, Wrapped};
use super::{BackupError, Places};
use crate::keys;
use crate::store;
use crate::store::copy::WebhookSecretRow;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use zeroize::{Zeroize as _, Zeroizing};

/// Room for the secrets' text, so that it is not moved about in memory while it grows.
const ROOM: usize = 64 * 1024;

/// Keys in a configuration whose value nobody else should read.
const SECRET_KEYS: [&str; 5] = ["pin", "password", "secret", "token", "api_key"];

/// The secrets of a backup, each as its file holds it.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Secrets {
    pub(super) card_key: Option<String>,
    pub(super) api_key: Option<String>,
    pub(super) bridge_token: Option<String>,
    /// The configuration, if a password is in it.
    pub(super) configuration: Option<String>,
    /// By webhook.
    pub(super) webhooks: BTreeMap<String, String>,
    /// SHA-256 of the members in clear, so that none of them can be exchanged.
    pub(super) sha256: BTreeMap<String, String>,
}

impl Drop for Secrets {
    fn drop(&mut self) {
        let texts = [&mut self.card_key, &mut self.api_key, &mut self.bridge_token, &mut self.configuration];
        for text in texts {
            text.zeroize();
        }
        for secret in self.webhooks.values_mut() {
            secret.zeroize();
        }
    }
}

impl Secrets {
    /// Reads the files.
    pub(super) fn read(places: &Places) -> Result<Self, BackupError> {
        let text = |path: PathBuf| Ok::<_, BackupError>(keys::read_secret(&path)?.map(|text| (*text).clone()));
        let mut secrets = Self::default();
        secrets.card_key = text(places.state_dir.join(keys::CARD_KEY_FILE))?;
        secrets.api_key = text(places.state_dir.join(keys::API_KEY_FILE))?;
        secrets.bridge_token = text(places.bridge_token.clone())?;
        Ok(secrets)
    }

    pub(super) fn take_webhooks(&mut self, rows: Vec<WebhookSecretRow>) {
        self.webhooks.extend(rows.into_iter().map(|row| (row.webhook_id, row.secret)));
    }

    pub(super) fn webhook_rows(&self) -> Vec<WebhookSecretRow> {
        let row =
            |(id, secret): (&String, &String)| WebhookSecretRow { webhook_id: id.clone(), secret: secret.clone() };
        self.webhooks.iter().map(row).collect()
    }

    pub(super) fn seal(&self, passphrase: &Passphrase) -> Result<Vec<u8>, BackupError> {
        let malformed = |_| WrapError::Malformed { problem: "they have no JSON form" };
        let mut text = Zeroizing::new(Vec::with_capacity(ROOM));
        serde_json::to_writer(&mut *text, self).map_err(malformed)?;
        let wrapped = Wrapped::seal(Purpose::Backup, &text, passphrase)?;
        Ok(serde_json::to_vec_pretty(&wrapped).map_err(malformed)?)
    }

    pub(super) fn open(wrapped: &[u8], passphrase: &Passphrase) -> Result<Self, BackupError> {
        // The parser's own words would quote what it read.
        let malformed = |_| WrapError::Malformed { problem: "they are not as this encoderd writes them" };
        let wrapped: Wrapped = serde_json::from_slice(wrapped).map_err(malformed)?;
        let text = wrapped.open(Purpose::Backup, passphrase)?;
        Ok(serde_json::from_slice(&text).map_err(malformed)?)
    }
}

/// Whether a configuration holds what nobody else should read. What cannot be understood counts as such.
pub(super) fn in_configuration(text: &str) -> bool {
    fn in_value(key: &str, value: &toml::Value) -> bool {
        match value {
            toml::Value::Table(table) => table.iter().any(|(key, value)| in_value(key, value)),
            toml::Value::Array(values) => values.iter().any(|value| in_value(key, value)),
            toml::Value::String(text) => SECRET_KEYS.contains(&key) || store::has_password(text),
            toml::Value::Integer(_) | toml::Value::Float(_) | toml::Value::Boolean(_) | toml::Value::Datetime(_) => {
                SECRET_KEYS.contains(&key)
            }
        }
    }
    text.parse::<toml::Table>().map_or(true, |table| table.iter().any(|(key, value)| in_value(key, value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_with_a_password_or_a_pin_is_a_secret() {
        let documented = include_str!("../../tests/support/encoderd.toml");
        assert!(!in_configuration(documented), "{documented}");
        for secret in [
            "[hub]\ndatabase = \"postgres://hub:s3cret@db/hub\"",
            "[desk]\npin = \"4711\"",
            "[desk]\npin = 4711",
            "[[x]]\ny = [\"https://me:pw@example.com\"]",
            "not toml",
        ] {
            assert!(in_configuration(secret), "{secret}");
        }
    }

    #[test]
    fn sealed_secrets_come_back_as_they_were() {
        let passphrase = Passphrase::new(Zeroizing::new("correct horse battery".to_owned())).unwrap();
        let mut secrets = Secrets::default();
        secrets.card_key = Some("key = \"ä\"\n".to_owned());
        secrets.take_webhooks(vec![WebhookSecretRow { webhook_id: "w".to_owned(), secret: "whsec_x".to_owned() }]);
        let sealed = secrets.seal(&passphrase).unwrap();
        assert!(!String::from_utf8_lossy(&sealed).contains("whsec"));
        let opened = Secrets::open(&sealed, &passphrase).unwrap();
        assert_eq!(opened.card_key.as_deref(), Some("key = \"ä\"\n"));
        assert_eq!(opened.webhook_rows()[0].secret, "whsec_x");
        assert_eq!(opened.api_key, None);
    }
}
