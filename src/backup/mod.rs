//! Backup and restore: what a dead PC must not take with it.
//!
//! | module | what it does |
//! | --- | --- |
//! | `archive` | the file: a tar in gzip with a manifest and a checksum over all of it |
//! | `wrap` | secrets that a passphrase opens |
//! | `create` | copies databases while they are in use, and packs them |
//! | `restore` | puts a backup in the place of a state directory, whole or not at all |
//! | `nightly` | one a day, kept by the daemon |
//!
//! No secret is in a backup in clear: not the card key, the API key, the bridge token, the webhooks' secrets, and not a
//! configuration with a password in it.

pub mod archive;
pub mod create;
pub mod nightly;
pub mod restore;
mod secrets;
pub mod wrap;

use self::archive::Role;
use self::wrap::WrapError;
use crate::config::Config;
use crate::keys::KeyError;
use crate::store::{self, StoreError};
use std::path::{Path, PathBuf};

/// Why there is no backup, or why nothing was restored. Whatever was there before is as it was.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The file that was to be made is there.
    #[error("{} is there already, and a backup overwrites nothing: choose another name", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Another backup to the same file is being made.
    #[error("another backup to {} is being made: wait for it, or choose another name", path.display())]
    InTheMaking {
        /// The file.
        path: PathBuf,
    },
    /// There is nothing to back up.
    #[error(
        "there is nothing to back up in {}: encoderd has not run there; name its configuration with --config",
        path.display()
    )]
    NothingHere {
        /// The state directory.
        path: PathBuf,
    },
    /// A file or directory cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The backup cannot be read.
    #[error("cannot read the backup {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is something else.
    #[error("{} is not a backup of encoderd, or its first bytes are damaged", path.display())]
    NotABackup {
        /// The file.
        path: PathBuf,
    },
    /// The backup is not whole.
    #[error(
        "the backup {} is damaged ({detail}): copy it again from where it was made, or take another one. Nothing was \
         changed",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// A newer encoderd made it.
    #[error("the backup {} was made by a newer encoderd ({made_by}): install that one or a later one", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        made_by: String,
    },
    /// The wrapped secrets cannot be made or opened.
    #[error(transparent)]
    Wrap(#[from] WrapError),
    /// The backup has secrets and nobody said what opens them.
    #[error(
        "the backup holds secrets that need its passphrase: give --passphrase-file, or --without-secrets to leave them"
    )]
    PassphraseNeeded,
    /// The sealed part says something else of the rest.
    #[error(
        "`{member}` in the backup is not the one that was sealed with the secrets: somebody changed it. Nothing was changed"
    )]
    Forged {
        /// Which.
        member: String,
    },
    /// A secret cannot be read or written.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A database cannot be copied or is not whole.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The state directory is in use as one.
    #[error(
        "{} holds the state of an encoderd already: nothing was changed. With --force it is moved aside, and nothing of it \
         is deleted",
        path.display()
    )]
    StatePresent {
        /// The state directory.
        path: PathBuf,
    },
    /// The configuration is for something else than the backup.
    #[error("the backup is {backup}, and the configuration here is for {here}: {remedy}")]
    AnotherRole {
        /// What the backup is of.
        backup: &'static str,
        /// What the configuration says.
        here: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// The hub's database lies elsewhere, and two places cannot be exchanged at once.
    #[error(
        "hub.database is {}, outside of the state directory: leave it out of the configuration for the restore, and move \
         the file afterwards",
        path.display()
    )]
    HubElsewhere {
        /// The database.
        path: PathBuf,
    },
    /// The disk is too small.
    #[error("{} has {free_mib} MiB free, and {need_mib} MiB are needed", path.display())]
    NoSpace {
        /// Where.
        path: PathBuf,
        /// Free there.
        free_mib: u64,
        /// Needed.
        need_mib: u64,
    },
    /// The file system cannot exchange two directories.
    #[error(
        "the file system of {} cannot exchange two directories at once, or it is a mount point: move it away yourself and \
         restore again",
        path.display()
    )]
    NoExchange {
        /// The state directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A part of the program ended badly.
    #[error("the backup was broken off")]
    BrokenOff,
}

/// Where the hub's database is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HubAt {
    /// In a file of this PC.
    File(PathBuf),
    /// On a PostgreSQL server.
    Postgres,
    /// With a hub elsewhere.
    Remote,
}

impl HubAt {
    fn role(&self) -> Role {
        match self {
            Self::File(_) => Role::Sqlite,
            Self::Postgres => Role::Postgres,
            Self::Remote => Role::Remote,
        }
    }
}

/// What is backed up, and where it is restored to.
#[derive(Clone, Debug)]
pub struct Places {
    /// The state directory.
    pub state_dir: PathBuf,
    /// Where the hub's database is.
    pub hub: HubAt,
    /// The configuration, if there is a file.
    pub configuration: Option<PathBuf>,
    /// The token for the hub.
    pub bridge_token: PathBuf,
    /// The property's name, as the configuration says it.
    pub property: Option<String>,
}

impl Places {
    /// The places that a configuration names.
    pub fn of(config: &Config) -> Result<Self, BackupError> {
        let state_dir = config.daemon.state_dir.clone();
        let (hub, bridge_token) = if let Some(cloud) = &config.cloud {
            (HubAt::Remote, cloud.token_file.clone())
        } else {
            let file = store::file_of(&config.hub_database())?;
            (file.map_or(HubAt::Postgres, HubAt::File), state_dir.join(crate::keys::BRIDGE_TOKEN_FILE))
        };
        Ok(Self {
            state_dir,
            hub,
            configuration: config.file.clone(),
            bridge_token,
            property: config.property.as_ref().map(|property| property.name.clone()),
        })
    }
}

/// Flushes a directory's entries to the disk.
fn sync_directory(path: &Path) -> Result<(), BackupError> {
    let flushed = std::fs::File::open(path).and_then(|directory| directory.sync_all());
    flushed.map_err(|source| BackupError::File { path: path.to_path_buf(), source })
}

/// Runs what blocks beside the runtime.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BackupError> + Send + 'static,
) -> Result<T, BackupError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(BackupError::BrokenOff))
}
