//! `encoderd admin keys`: keys to the Seam API.

use super::client::Hub;
use crate::api::admin::{ApiKey, CreateKey, KeyKind, ListAll, NewApiKey, RevokeKey, RotateKey, RotatedKey};
use crate::api::parameters::Filled;
use crate::cli::{print, print_json, say, table};
use anyhow::bail;
use clap::Subcommand;
use jiff::SignedDuration;

#[derive(Debug, Subcommand)]
pub(super) enum Keys {
    /// List the workspace's keys and all personal access tokens.
    List,
    /// Make a key and print it: this is the only time that it is shown.
    Create {
        /// Whose it is or what it is for
        #[arg(long, default_value = "unnamed")]
        name: String,
        /// Make a personal access token, which opens the workspace that each request names in `seam-workspace`
        #[arg(long)]
        personal: bool,
    },
    /// End a key at once.
    Revoke {
        /// How the key begins, or its id
        key: String,
    },
    /// Make a new key for an old one and print it; the old one ends at once, or after a grace.
    Rotate {
        /// How the key begins, or its id
        key: String,
        /// How long the old key still opens, such as 1h or 7d
        #[arg(long, value_name = "TIME", value_parser = grace)]
        grace: Option<u64>,
    },
}

/// Reads a time in seconds.
fn grace(text: &str) -> Result<u64, String> {
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u64>().ok()).map(|days| days.saturating_mul(86_400));
    let other = || text.parse::<SignedDuration>().ok().and_then(|time| u64::try_from(time.as_secs()).ok());
    days.or_else(other).ok_or_else(|| "write it like 30m, 1h or 7d".to_owned())
}

pub(super) async fn run(hub: &Hub, command: Keys, json: bool) -> anyhow::Result<()> {
    match command {
        Keys::List => {
            let all = all(hub).await?;
            if json { print_json(&all) } else { print(&list(&all)) }
        }
        Keys::Create { name, personal } => {
            let kind = if personal { KeyKind::PersonalAccessToken } else { KeyKind::ApiKey };
            let made: NewApiKey =
                hub.one("/encoderd/v1/api_keys/create", &CreateKey { name: Filled(name), kind }).await?;
            if json {
                return print_json(&made);
            }
            shown_once();
            print(&made.key.0)
        }
        Keys::Revoke { key } => {
            let api_key_id = find(&all(hub).await?, &key)?.api_key_id;
            let revoked: ApiKey = hub.one("/encoderd/v1/api_keys/revoke", &RevokeKey { api_key_id }).await?;
            if json { print_json(&revoked) } else { print(&format!("{}… opens nothing any more", revoked.prefix)) }
        }
        Keys::Rotate { key, grace } => {
            let api_key_id = find(&all(hub).await?, &key)?.api_key_id;
            let asked = RotateKey { api_key_id, grace_seconds: grace };
            let rotated: RotatedKey = hub.whole("/encoderd/v1/api_keys/rotate", &asked).await?;
            if json {
                return print_json(&rotated);
            }
            let old = &rotated.replaced_api_key;
            if let (Some(end), Some(_)) = (old.revoked_at, grace) {
                say(&format!("{}… opens until {end}", old.prefix));
            } else {
                say(&format!("{}… opens nothing any more", old.prefix));
            }
            shown_once();
            print(&rotated.api_key.key.0)
        }
    }
}

fn shown_once() {
    say("this is the only time that the key is shown: the hub keeps its hash");
}

async fn all(hub: &Hub) -> anyhow::Result<Vec<ApiKey>> {
    Ok(hub.many("/encoderd/v1/api_keys/list", &ListAll {}).await?)
}

fn list(keys: &[ApiKey]) -> String {
    let row = |key: &ApiKey| {
        let kind = match key.kind {
            KeyKind::ApiKey => "API key",
            KeyKind::PersonalAccessToken => "personal access token",
        };
        [
            format!("{}…", key.prefix),
            kind.to_owned(),
            key.name.clone(),
            key.created_at.to_string(),
            key.revoked_at.map(|end| end.to_string()).unwrap_or_default(),
            key.api_key_id.to_string(),
        ]
    };
    let rows: Vec<[String; 6]> = keys.iter().map(row).collect();
    table(["KEY", "KIND", "NAME", "CREATED", "REVOKED", "ID"], &rows)
}

/// The key that somebody means: by its id, by its beginning, or by the whole of it.
fn find<'a>(keys: &'a [ApiKey], meant: &str) -> anyhow::Result<&'a ApiKey> {
    let meant = meant.trim_end_matches('…');
    let is_meant = |key: &&ApiKey| {
        key.api_key_id.to_string() == meant
            || (!meant.is_empty() && key.prefix.starts_with(meant))
            || meant.starts_with(&key.prefix)
    };
    let found: Vec<&ApiKey> = keys.iter().filter(is_meant).collect();
    match found.as_slice() {
        [key] => Ok(key),
        [] => bail!("no key begins with `{meant}` or has it as its id\nhint: `encoderd admin keys list` lists them"),
        [_, _, ..] => bail!("{} keys begin with `{meant}`\nhint: give more of it, or the id", found.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::id::ApiKeyId;
    use crate::api::time::Time;

    fn key(prefix: &str) -> ApiKey {
        ApiKey {
            api_key_id: ApiKeyId::random(),
            kind: KeyKind::ApiKey,
            workspace_id: None,
            name: "a".to_owned(),
            prefix: prefix.to_owned(),
            created_at: Time::from_ms(0),
            revoked_at: None,
        }
    }

    #[test]
    fn a_key_is_meant_by_its_beginning_its_id_or_itself() {
        let keys = [key("seam_12345678"), key("seam_12abcdef"), key("seam_at_12345678")];
        let index = |meant: &str| find(&keys, meant).ok().and_then(|found| keys.iter().position(|key| key == found));
        assert_eq!(index("seam_123"), Some(0));
        assert_eq!(index("seam_12345678…"), Some(0), "as the list shows it");
        assert_eq!(index("seam_12abcdef0123456789"), Some(1), "the whole key");
        assert_eq!(index(&keys[2].api_key_id.to_string()), Some(2));
        for none in ["seam_12", "seam_", "", "…", "seam_9"] {
            assert_eq!(index(none), None, "{none}");
        }
    }

    #[test]
    fn a_grace_is_a_time() {
        assert_eq!((grace("90s"), grace("1h"), grace("7d")), (Ok(90), Ok(3600), Ok(604_800)));
        for bad in ["", "soon", "-1h", "7"] {
            assert!(grace(bad).is_err(), "{bad}");
        }
    }
}
