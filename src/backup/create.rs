//! Makes a backup, whether the daemon runs or not.
//!
//! The databases are copied by SQLite as one more reader of them, so that nobody has to be asked and nothing waits. The
//! hub's is copied first: what the daemon then knows more than the hub is what it would tell it after a crash as well.

use super::archive::{self, Backup, FORMAT, Manifest, Name};
use super::secrets::{self, Secrets};
use super::wrap::Passphrase;
use super::{BackupError, HubAt, Places, blocking, sync_directory};
use crate::clock;
use crate::keys::CardKey;
use crate::store::copy::{self, Copy};
use crate::store::{hub, state};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// A backup that was made.
#[derive(Clone, Debug)]
pub struct Made {
    /// Its size.
    pub bytes: u64,
    /// What is in it.
    pub manifest: Manifest,
}

/// Makes a backup at `to`, which must not be there. Without a passphrase it has no secrets.
///
/// The file appears under its name when it is whole, on the disk, and has been read back.
pub async fn create(places: &Places, to: &Path, passphrase: Option<&Passphrase>) -> Result<Made, BackupError> {
    if std::fs::symlink_metadata(to).is_ok() {
        return Err(BackupError::Exists { path: to.to_path_buf() });
    }
    let (hub_file, state_file) = (places.hub_file(), places.state_dir.join(state::FILE));
    let (has_hub, has_state) = (hub_file.is_some_and(Path::exists), state_file.exists());
    if !has_hub && !has_state {
        return Err(BackupError::NothingHere { path: places.state_dir.clone() });
    }
    let stage = Stage::claim(to)?;
    let mut secrets = Secrets::read(places)?;
    let mut missing = Vec::new();
    let mut manifest = Manifest {
        format: FORMAT,
        encoderd: env!("CARGO_PKG_VERSION").to_owned(),
        made_at: clock::wall(),
        property: places.property.clone(),
        property_id: CardKey::load(&places.state_dir)?.map(|key| key.property_id),
        role: places.hub.role(),
        hub_schema: None,
        state_schema: None,
        missing: Vec::new(),
        members: Vec::new(),
    };
    let mut names = Vec::new();
    if let Some(file) = hub_file {
        let to = stage.file(Name::Hub);
        copy::take(file, &to, hub::SCHEMA).await?;
        let mut copy = Copy::open(&to).await?;
        secrets.take_webhooks(copy.take_webhook_secrets().await?);
        copy.drop_raw_images().await?;
        manifest.hub_schema = Some(copy.check(hub::SCHEMA).await?);
        manifest.property = manifest.property.or(copy.property_names().await?.into_iter().next());
        copy.close().await?;
        names.push(Name::Hub);
    }
    if has_state {
        let to = stage.file(Name::State);
        copy::take(&state_file, &to, state::SCHEMA).await?;
        let mut copy = Copy::open(&to).await?;
        manifest.state_schema = Some(copy.check(state::SCHEMA).await?);
        copy.close().await?;
        names.push(Name::State);
    }
    if places.hub == HubAt::Postgres {
        missing.push(
            "the hub's database: it is on a PostgreSQL server, whose own tools (pg_dump, pg_restore) back it up"
                .to_owned(),
        );
    }
    if let Some(path) = &places.configuration {
        let text =
            std::fs::read_to_string(path).map_err(|source| BackupError::Unreadable { path: path.clone(), source })?;
        if !secrets::in_configuration(&text) {
            write_new(&stage.file(Name::Configuration), text.as_bytes())?;
            names.push(Name::Configuration);
        } else if passphrase.is_some() {
            secrets.configuration = Some(text);
        } else {
            missing.push("the configuration: a password is in it, and no passphrase was given".to_owned());
        }
    }
    if passphrase.is_none() {
        missing.push(
            "the card key, the API key, the bridge token and the webhooks' secrets: no passphrase was given. Without the \
             card key every card of the property is foreign"
                .to_owned(),
        );
    }
    if passphrase.is_some() && secrets.card_key.is_none() {
        missing.push(format!(
            "the card key: there is none in {}. Where the service gets it by LoadCredential=, only its own nightly backup \
             finds it",
            places.state_dir.display()
        ));
    }
    manifest.missing = missing;
    let (to, passphrase) = (to.to_path_buf(), passphrase.cloned());
    blocking(move || pack(&stage, &to, manifest, names, secrets, passphrase.as_ref())).await
}

impl Places {
    fn hub_file(&self) -> Option<&Path> {
        match &self.hub {
            HubAt::File(path) => Some(path),
            HubAt::Postgres | HubAt::Remote => None,
        }
    }
}

fn pack(
    stage: &Stage,
    to: &Path,
    mut manifest: Manifest,
    names: Vec<Name>,
    mut secrets: Secrets,
    passphrase: Option<&Passphrase>,
) -> Result<Made, BackupError> {
    for name in names {
        manifest.members.push(archive::measure(name, &stage.file(name))?);
    }
    if let Some(passphrase) = passphrase {
        let sum = |member: &archive::Member| (member.name.file().to_owned(), member.sha256.clone());
        secrets.sha256 = manifest.members.iter().map(sum).collect();
        write_new(&stage.file(Name::Secrets), &secrets.seal(passphrase)?)?;
        manifest.members.push(archive::measure(Name::Secrets, &stage.file(Name::Secrets))?);
    }
    let file = stage.directory.join("backup.tar.gz");
    let bytes = archive::write(&file, &manifest, &stage.directory)?;
    // What the disk gives back counts, not what it was given.
    let read_back = Backup::open(&file)?.read(None)?;
    if read_back != manifest {
        return Err(BackupError::Damaged { path: file, detail: "it does not read back as it was written".to_owned() });
    }
    publish(&file, to)?;
    Ok(Made { bytes, manifest })
}

/// Gives a finished file its name, unless that name is taken.
fn publish(file: &Path, to: &Path) -> Result<(), BackupError> {
    let failed = |source: std::io::Error| {
        if source.kind() == ErrorKind::AlreadyExists {
            BackupError::Exists { path: to.to_path_buf() }
        } else {
            BackupError::File { path: to.to_path_buf(), source }
        }
    };
    match renameat_with(CWD, file, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => {}
        // Memory sticks and network shares: the name is taken first, and then the file put in its place.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::NOTSUP) => {
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(to).map_err(failed)?;
            std::fs::rename(file, to).map_err(failed)?;
        }
        Err(error) => return Err(failed(error.into())),
    }
    sync_directory(parent(to))
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        Some(_) | None => Path::new("."),
    }
}

/// Writes a new file that nobody else may read.
fn write_new(path: &Path, content: &[u8]) -> Result<(), BackupError> {
    use std::io::Write as _;
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(content))
        .map_err(|source| BackupError::File { path: path.to_path_buf(), source })
}

/// A directory beside the backup, in which it is made; gone when it is dropped. What a killed backup has left behind is
/// cleared away by the next one to the same file.
#[derive(Debug)]
struct Stage {
    directory: PathBuf,
    _lock: File,
}

impl Stage {
    fn claim(to: &Path) -> Result<Self, BackupError> {
        let name = to.file_name().unwrap_or_default().to_string_lossy();
        let directory = parent(to).join(format!(".{name}.partial"));
        let failed = |source| BackupError::File { path: directory.clone(), source };
        match DirBuilder::new().mode(0o700).create(&directory) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(error)),
        }
        let open = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(directory.join("lock"));
        let lock = open.map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(BackupError::InTheMaking { path: to.to_path_buf() }),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        for left in std::fs::read_dir(&directory).map_err(failed)? {
            let left = left.map_err(failed)?;
            if left.file_name() != "lock" {
                std::fs::remove_file(left.path()).map_err(failed)?;
            }
        }
        Ok(Self { directory, _lock: lock })
    }

    fn file(&self, name: Name) -> PathBuf {
        self.directory.join(name.file())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.directory) {
            tracing::warn!(directory = %self.directory.display(), %error, "cannot clear up behind a backup");
        }
    }
}
