//! `encoderd restore`: a backup becomes the state directory.

use super::{ConfigArguments, passphrase, print, say};
use crate::backup::archive::{Backup, Manifest, Name, Role};
use crate::backup::restore::{Opening, Order, Restored, restore};
use crate::backup::wrap::Passphrase;
use crate::backup::{BackupError, Places};
use crate::daemon;
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The backup
    file: PathBuf,
    /// The file with its passphrase, mode 0600 (default: asked for)
    #[arg(long, value_name = "FILE", conflicts_with = "without_secrets")]
    passphrase_file: Option<PathBuf>,
    /// Leave the secrets in the backup: no card key is restored
    #[arg(long)]
    without_secrets: bool,
    /// Move the state that is there aside; nothing of it is deleted
    #[arg(long)]
    force: bool,
    /// For a desk of a hub elsewhere whose old PC never starts again: keep its identity and its pairing
    #[arg(long)]
    same_desk: bool,
    #[command(flatten)]
    config: ConfigArguments,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let config = arguments.config.load()?;
    let places = Places::of(&config)?;
    let state_dir = places.state_dir.clone();
    let is_there = state_dir.exists();
    let _lock = is_there.then(|| daemon::lock_state_dir(&state_dir)).transpose()?;
    let mut backup = Backup::open(&arguments.file)?;
    let manifest = backup.read(None)?;
    say(&described(&manifest));
    let has_secrets = manifest.members.iter().any(|member| member.name == Name::Secrets);
    let opening = match &arguments.passphrase_file {
        _ if arguments.without_secrets || !has_secrets => Opening::Without,
        Some(file) => Opening::With(Passphrase::from_file(file)?),
        None if passphrase::somebody_is_there() => Opening::With(passphrase::ask("The backup's passphrase")?),
        None => return Err(BackupError::PassphraseNeeded.into()),
    };
    let (force, same_desk) = (arguments.force, arguments.same_desk);
    let restored = restore(backup, Order { places: places.clone(), opening, force, same_desk }).await?;
    for note in notes(&restored, &places) {
        say(&note);
    }
    print(&state_dir.display().to_string())?;
    Ok(ExitCode::SUCCESS)
}

fn described(manifest: &Manifest) -> String {
    let property = manifest.property.as_deref().unwrap_or("a property without a name");
    let what = match manifest.role {
        Role::Sqlite => "hub and desk",
        Role::Postgres => "a desk, with its hub on PostgreSQL",
        Role::Remote => "a desk of a hub elsewhere",
    };
    format!("{property}: {what}, backed up on {} by encoderd {}", manifest.made_at, manifest.encoderd)
}

/// What whoever restores has to know, or to do.
fn notes(restored: &Restored, places: &Places) -> Vec<String> {
    let mut notes = Vec::new();
    if !restored.card_key {
        notes.push(
            "WARNING: no card key was restored: every card of the property is foreign until its key is back (`encoderd keys \
             import`, or a backup with its passphrase). A new key (`encoderd keys init`) makes all of them foreign for good"
                .to_owned(),
        );
    }
    if restored.new_webhook_secrets > 0 {
        let count = restored.new_webhook_secrets;
        notes.push(format!(
            "WARNING: {count} webhooks have a new secret: tell it to their receivers (`/webhooks/list` shows it), or they \
             refuse what they get"
        ));
    }
    if restored.new_bridge_id {
        notes.push(
            "This desk is a new one to its hub, so that the old PC cannot be mistaken for it: pair it (`encoderd pair URL \
             CODE`) and take the old PC's encoders over (`encoderd encoders link DEVICE NAME --take-over`). Is the old PC \
             gone for good? `--same-desk` keeps its pairing and its encoders"
                .to_owned(),
        );
    } else if restored.manifest.role == Role::Remote && restored.card_key {
        notes.push(format!(
            "The token of its hub lies in {}/bridge-token; the configuration names {}",
            places.state_dir.display(),
            places.bridge_token.display()
        ));
    }
    if let Some(file) = &restored.configuration {
        notes.push(format!("The backup's configuration lies in {}", file.display()));
    }
    if let Some(aside) = &restored.aside {
        notes.push(format!("The state that was here before lies in {}", aside.display()));
    }
    notes
}
