//! Puts a backup in the place of a state directory, whole or not at all.
//!
//! Everything is unpacked, opened, checked and flushed in a directory beside the state directory; then the two are
//! exchanged in one step of the file system. A restore that is killed leaves the old state or the new one. What was there
//! before is moved aside and never deleted.

use super::archive::{Backup, Manifest, Name, Role};
use super::secrets::Secrets;
use super::wrap::Passphrase;
use super::{BackupError, HubAt, Places, blocking, sync_directory};
use crate::clock;
use crate::keys;
use crate::store::copy::{Copy, WebhookSecretRow};
use crate::store::{hub, state};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::fs::{DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The configuration of the backup, in the restored state directory.
pub const CONFIGURATION_FILE: &str = "encoderd.toml.restored";

/// The lock of a state directory, which whoever restores holds.
const LOCK_FILE: &str = "lock";

/// Lies in a directory that a restore has not finished: it may be deleted. Without it, it may be somebody's old state.
const UNFINISHED: &str = "restore-is-not-finished";

/// What of a state directory makes it one.
const STATE_FILES: [&str; 4] = [state::FILE, keys::CARD_KEY_FILE, keys::API_KEY_FILE, keys::BRIDGE_TOKEN_FILE];

/// What opens the secrets.
#[derive(Debug)]
pub enum Opening {
    /// Their passphrase.
    With(Passphrase),
    /// Nothing: they stay out.
    Without,
}

/// How to restore.
#[derive(Debug)]
pub struct Order {
    /// Where to.
    pub places: Places,
    /// What opens the secrets, if there are any.
    pub opening: Opening,
    /// Move aside the state that is there.
    pub force: bool,
    /// Keep the daemon's identity at a hub elsewhere: the old PC never starts again.
    pub same_desk: bool,
}

/// What was restored.
#[derive(Debug)]
pub struct Restored {
    /// What the backup says of itself.
    pub manifest: Manifest,
    /// Where the old state is now.
    pub aside: Option<PathBuf>,
    /// Whether the card key is there.
    pub card_key: bool,
    /// Whether the daemon has a new identity.
    pub new_bridge_id: bool,
    /// How many webhooks got a new secret.
    pub new_webhook_secrets: usize,
    /// The backup's configuration.
    pub configuration: Option<PathBuf>,
}

/// Whether a state directory holds a state.
pub fn has_state(places: &Places) -> bool {
    let is_there = |path: &Path| std::fs::symlink_metadata(path).is_ok();
    STATE_FILES.iter().any(|name| is_there(&places.state_dir.join(name))) || places.hub_is_there()
}

impl Places {
    fn hub_is_there(&self) -> bool {
        match &self.hub {
            HubAt::File(path) => std::fs::symlink_metadata(path).is_ok(),
            HubAt::Postgres | HubAt::Remote => false,
        }
    }
}

/// Restores. Whoever calls holds the lock of the state directory, if there is one, so that no daemon runs on it.
pub async fn restore(mut backup: Backup, mut order: Order) -> Result<Restored, BackupError> {
    let given = order.places.state_dir.clone();
    // The directory itself is exchanged, not a link to it.
    let state_dir = std::fs::canonicalize(&given).unwrap_or_else(|_| std::path::absolute(&given).unwrap_or(given));
    let hub_name = hub_name(&order.places, &state_dir)?;
    if has_state(&order.places) && !order.force {
        return Err(BackupError::StatePresent { path: state_dir });
    }
    order.places.state_dir.clone_from(&state_dir);
    let stage = blocking(move || {
        let manifest = backup.read(None)?;
        fits(&manifest, &order.places.hub)?;
        let need = manifest.members.iter().map(|member| member.bytes).sum();
        let stage = Stage::claim(&state_dir, need)?;
        let unpacked = backup.read(Some(&stage.directory))?;
        if unpacked != manifest {
            return Err(BackupError::BrokenOff);
        }
        Ok((stage, manifest, order, state_dir))
    });
    let (stage, manifest, order, state_dir) = stage.await?;
    let secrets = open(&stage, &manifest, order.opening).await?;
    let mut restored = Restored {
        aside: None,
        card_key: secrets.as_ref().is_some_and(|secrets| secrets.card_key.is_some()),
        new_bridge_id: false,
        new_webhook_secrets: 0,
        configuration: None,
        manifest,
    };
    let has = |name| restored.manifest.members.iter().any(|member| member.name == name);
    if has(Name::Hub) {
        let path = stage.file(Name::Hub);
        let mut copy = Copy::open(&path).await?;
        copy.check(hub::SCHEMA).await?;
        if let Some(secrets) = &secrets {
            copy.put_webhook_secrets(&secrets.webhook_rows()).await?;
        }
        let fresh: Vec<_> =
            copy.webhooks_without_secret().await?.into_iter().map(new_webhook_secret).collect::<Result<_, _>>()?;
        copy.put_webhook_secrets(&fresh).await?;
        restored.new_webhook_secrets = fresh.len();
        copy.close().await?;
    }
    if has(Name::State) {
        let mut copy = Copy::open(&stage.file(Name::State)).await?;
        copy.check(state::SCHEMA).await?;
        // A hub elsewhere must not meet two daemons of one name. With the hub's own database in the backup there is no
        // such place.
        restored.new_bridge_id = restored.manifest.role != Role::Sqlite && !order.same_desk;
        if restored.new_bridge_id {
            copy.renew_bridge_id().await?;
        }
        copy.close().await?;
    }
    blocking(move || {
        if let Some(name) = hub_name
            && has_file(&stage, Name::Hub)
        {
            stage.rename(Name::Hub.file(), &name)?;
        }
        if has_file(&stage, Name::Configuration) {
            stage.rename(Name::Configuration.file(), CONFIGURATION_FILE)?;
            restored.configuration = Some(state_dir.join(CONFIGURATION_FILE));
        }
        if has_file(&stage, Name::Secrets) {
            stage.remove(Name::Secrets.file())?;
        }
        if let Some(secrets) = &secrets {
            for (name, text) in [
                (keys::CARD_KEY_FILE, &secrets.card_key),
                (keys::API_KEY_FILE, &secrets.api_key),
                (keys::BRIDGE_TOKEN_FILE, &secrets.bridge_token),
                (CONFIGURATION_FILE, &secrets.configuration),
            ] {
                if let Some(text) = text {
                    keys::write_secret(&stage.directory.join(name), text.as_bytes())?;
                }
            }
            if secrets.configuration.is_some() {
                restored.configuration = Some(state_dir.join(CONFIGURATION_FILE));
            }
        }
        restored.aside = stage.exchange(&state_dir)?;
        Ok(restored)
    })
    .await
}

/// The name of the hub's database in the state directory, if it is kept in a file.
fn hub_name(places: &Places, state_dir: &Path) -> Result<Option<String>, BackupError> {
    let HubAt::File(path) = &places.hub else { return Ok(None) };
    let elsewhere = || BackupError::HubElsewhere { path: path.clone() };
    let directory = path.parent().ok_or_else(elsewhere)?;
    let inside =
        directory == places.state_dir || std::fs::canonicalize(directory).is_ok_and(|directory| directory == state_dir);
    let name = path.file_name().and_then(|name| name.to_str());
    match name {
        Some(name) if inside => Ok(Some(name.to_owned())),
        Some(_) | None => Err(elsewhere()),
    }
}

fn fits(manifest: &Manifest, hub: &HubAt) -> Result<(), BackupError> {
    let what = |role| match role {
        Role::Sqlite => "of a hub with its database in a file",
        Role::Postgres => "of a hub on PostgreSQL",
        Role::Remote => "of a desk with [cloud] url",
    };
    let here = hub.role();
    if manifest.role == here {
        return Ok(());
    }
    Err(BackupError::AnotherRole {
        backup: what(manifest.role),
        here: match here {
            Role::Sqlite => "a hub with its database in a file",
            Role::Postgres => "a hub on PostgreSQL",
            Role::Remote => "a desk with [cloud] url",
        },
        remedy: match manifest.role {
            Role::Sqlite => "leave [cloud] and hub.database out of it",
            Role::Postgres => "restore the database with PostgreSQL's own tools, and name it in hub.database",
            Role::Remote => "name the hub in [cloud] url",
        },
    })
}

async fn open(stage: &Stage, manifest: &Manifest, opening: Opening) -> Result<Option<Secrets>, BackupError> {
    let has_secrets = manifest.members.iter().any(|member| member.name == Name::Secrets);
    let passphrase = match opening {
        Opening::With(passphrase) if has_secrets => passphrase,
        Opening::With(_) | Opening::Without => return Ok(None),
    };
    let path = stage.file(Name::Secrets);
    let secrets = blocking(move || {
        let wrapped = std::fs::read(&path).map_err(|source| BackupError::File { path, source })?;
        Secrets::open(&wrapped, &passphrase)
    })
    .await?;
    let sealed = manifest.members.iter().filter(|member| member.name != Name::Secrets);
    for member in sealed.clone() {
        let name = member.name.file();
        if secrets.sha256.get(name) != Some(&member.sha256) {
            return Err(BackupError::Forged { member: name.to_owned() });
        }
    }
    if let Some(lost) = secrets.sha256.keys().find(|name| sealed.clone().all(|member| member.name.file() != **name)) {
        return Err(BackupError::Forged { member: lost.clone() });
    }
    Ok(Some(secrets))
}

/// A secret as the hub makes them: `whsec_` and 24 random bytes in base64.
fn new_webhook_secret(webhook_id: String) -> Result<WebhookSecretRow, BackupError> {
    let mut random = Zeroizing::new([0; 24]);
    getrandom::fill(random.as_mut()).map_err(|_| keys::KeyError::NoRandomness)?;
    Ok(WebhookSecretRow { webhook_id, secret: format!("whsec_{}", STANDARD.encode(random.as_ref())) })
}

fn has_file(stage: &Stage, name: Name) -> bool {
    stage.file(name).exists()
}

/// The directory that becomes the state directory. Dropped before that, it is gone.
#[derive(Debug)]
struct Stage {
    directory: PathBuf,
    /// It is not ours to delete any more.
    exchanged: bool,
}

impl Stage {
    /// Makes it beside the state directory, with room for so many bytes.
    fn claim(state_dir: &Path, need: u64) -> Result<Self, BackupError> {
        let parent = state_dir.parent().unwrap_or(Path::new("/"));
        let name = state_dir.file_name().unwrap_or_default().to_string_lossy();
        let directory = parent.join(format!(".{name}.restoring"));
        let failed = |source| BackupError::File { path: directory.clone(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(failed)?;
        if let Ok(space) = rustix::fs::statvfs(parent) {
            let free = space.f_bavail.saturating_mul(space.f_frsize);
            // SQLite's own work on the copies, and the log of the first start.
            let need = need.saturating_add(need / 8).saturating_add(1024 * 1024);
            if free < need {
                let mib = |bytes: u64| bytes / (1024 * 1024);
                let path = parent.to_path_buf();
                return Err(BackupError::NoSpace { path, free_mib: mib(free), need_mib: mib(need) + 1 });
            }
        }
        if std::fs::symlink_metadata(&directory).is_ok() {
            if directory.join(UNFINISHED).exists() {
                std::fs::remove_dir_all(&directory).map_err(failed)?;
            } else {
                // Killed just after the exchange: this is the old state.
                move_aside(&directory, state_dir)?;
            }
        }
        DirBuilder::new().mode(0o700).create(&directory).map_err(failed)?;
        let stage = Self { directory, exchanged: false };
        let marker = stage.directory.join(UNFINISHED);
        File::create(&marker).map_err(|source| BackupError::File { path: marker, source })?;
        Ok(stage)
    }

    fn file(&self, name: Name) -> PathBuf {
        self.directory.join(name.file())
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), BackupError> {
        let path = self.directory.join(to);
        std::fs::rename(self.directory.join(from), &path).map_err(|source| BackupError::File { path, source })
    }

    fn remove(&self, name: &str) -> Result<(), BackupError> {
        let path = self.directory.join(name);
        std::fs::remove_file(&path).map_err(|source| BackupError::File { path, source })
    }

    /// Puts it in the place of the state directory; returns where the old one is, if anything was in it.
    fn exchange(mut self, state_dir: &Path) -> Result<Option<PathBuf>, BackupError> {
        let parent = state_dir.parent().unwrap_or(Path::new("/"));
        let old = std::fs::metadata(state_dir).ok();
        let owner = match &old {
            Some(old) => (old.uid(), old.gid()),
            None => std::fs::metadata(parent).map_or((0, 0), |parent| (parent.uid(), parent.gid())),
        };
        self.remove(UNFINISHED)?;
        self.settle(owner)?;
        let exchange = || {
            if old.is_some() {
                renameat_with(CWD, &self.directory, CWD, state_dir, RenameFlags::EXCHANGE)
            } else {
                renameat_with(CWD, &self.directory, CWD, state_dir, RenameFlags::NOREPLACE)
            }
        };
        exchange().map_err(|error| {
            // It may be deleted after all.
            let _unmarked = File::create(self.directory.join(UNFINISHED));
            BackupError::NoExchange { path: state_dir.to_path_buf(), source: error.into() }
        })?;
        self.exchanged = true;
        sync_directory(parent)?;
        if old.is_none() {
            return Ok(None);
        }
        let aside = move_aside(&self.directory, state_dir)?;
        sync_directory(parent)?;
        Ok(aside)
    }

    /// Gives everything to the owner of the state directory, and flushes it to the disk.
    fn settle(&self, (uid, gid): (u32, u32)) -> Result<(), BackupError> {
        let is_root = rustix::process::geteuid().is_root();
        let settle = |path: &Path| {
            if is_root {
                std::os::unix::fs::chown(path, Some(uid), Some(gid))?;
            }
            File::open(path)?.sync_all()
        };
        let failed = |path: &Path| {
            let path = path.to_path_buf();
            move |source| BackupError::File { path, source }
        };
        for entry in std::fs::read_dir(&self.directory).map_err(failed(&self.directory))? {
            let path = entry.map_err(failed(&self.directory))?.path();
            settle(&path).map_err(failed(&path))?;
        }
        settle(&self.directory).map_err(failed(&self.directory))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if !self.exchanged
            && let Err(error) = std::fs::remove_dir_all(&self.directory)
        {
            tracing::warn!(directory = %self.directory.display(), %error, "cannot clear up behind a restore");
        }
    }
}

/// Gives an old state its name for good. One with nothing in it but its lock is removed: it was no state.
fn move_aside(directory: &Path, state_dir: &Path) -> Result<Option<PathBuf>, BackupError> {
    let failed = |source| BackupError::File { path: directory.to_path_buf(), source };
    let mut names = std::fs::read_dir(directory).map_err(failed)?.filter_map(Result::ok).map(|entry| entry.file_name());
    if names.all(|name| name == LOCK_FILE) {
        std::fs::remove_dir_all(directory).map_err(failed)?;
        return Ok(None);
    }
    let stamp = clock::wall().strftime("%Y%m%dT%H%M%SZ").to_string();
    for count in 1..=100 {
        let again = if count == 1 { String::new() } else { format!("-{count}") };
        let mut aside = state_dir.as_os_str().to_owned();
        aside.push(format!(".before-restore-{stamp}{again}"));
        match renameat_with(CWD, directory, CWD, &aside, RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(Some(PathBuf::from(aside))),
            Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(failed(error.into())),
        }
    }
    Err(failed(std::io::Error::from(std::io::ErrorKind::AlreadyExists)))
}
