//! `encoderd keys`: the property's card key.

use super::{ConfigArguments, passphrase, print, print_json, say};
use crate::backup::wrap::{Passphrase, Purpose, Wrapped};
use crate::daemon::prepare_state_dir;
use crate::keys::{CARD_KEY_FILE, CardKey, Imported, KeyError, read_secret, write_secret};
use anyhow::bail;
use clap::{Args, Subcommand};
use serde::Serialize;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use zeroize::Zeroizing;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    config: ConfigArguments,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a new random card key. Refused where there is one.
    Init,
    /// Copy the card key into a new file of mode 0600, for another desk or for the safe. Without a passphrase it is not
    /// encrypted.
    Export {
        /// The new file
        file: PathBuf,
        #[command(flatten)]
        wrap: WrapArguments,
    },
    /// Take over a card key that another desk exported. Where there is one of the same property, the keys that are missing
    /// are added.
    Import {
        /// The exported file, mode 0600
        file: PathBuf,
        /// The file with the passphrase of an encrypted one, mode 0600 (default: asked for)
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
    },
    /// Make a new random key for the cards from now on. The ones before it are kept and still read.
    Rotate {
        /// Write the keys with the new one into this new file, mode 0600, and change nothing here: `keys import` puts them
        /// to use, at every desk, when the locks know the new key
        #[arg(long, value_name = "FILE")]
        into: Option<PathBuf>,
        #[command(flatten)]
        wrap: WrapArguments,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Drop an older key. Cards that were made with it are foreign from then on.
    Forget {
        /// Its id, as `encoderd keys list` shows it
        key_id: u8,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// List the keys, newest first, without the keys themselves.
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
struct WrapArguments {
    /// Encrypt it with the passphrase in this file, mode 0600
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Encrypt it with a passphrase that is asked for
    #[arg(long, conflicts_with = "passphrase_file")]
    passphrase: bool,
}

impl WrapArguments {
    fn passphrase(&self) -> anyhow::Result<Option<Passphrase>> {
        Ok(match &self.passphrase_file {
            Some(file) => Some(Passphrase::from_file(file)?),
            None if self.passphrase => passphrase::ask_new("A passphrase for the card key")?,
            None => None,
        })
    }
}

/// What `keys list --json` prints.
#[derive(Serialize)]
struct Listing {
    property_id: uuid::Uuid,
    keys: Vec<Listed>,
}

#[derive(Serialize)]
struct Listed {
    key_id: u8,
    /// Whether cards are made with it.
    current: bool,
    /// Equal on two desks that have the same key.
    check: String,
}

impl Listing {
    fn of(key: &CardKey) -> Self {
        let listed = |(index, key): (usize, _)| Listed {
            key_id: encoder_protocols::layout::keys::PropertyKey::key_id(key),
            current: index == 0,
            check: CardKey::check_value(key),
        };
        Self { property_id: key.property_id, keys: key.key.keys().enumerate().map(listed).collect() }
    }

    fn text(&self) -> String {
        let mut lines = vec![format!("property {}", self.property_id)];
        for Listed { key_id, current, check } in &self.keys {
            let use_for = if *current { "makes cards" } else { "is read" };
            lines.push(format!("key {key_id:<4} {use_for:<12} check {check}"));
        }
        lines.join("\n")
    }
}

/// The card key's text in a file that a passphrase opens.
fn wrapped(text: &str, passphrase: &Passphrase) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let wrapped = Wrapped::seal(Purpose::CardKey, text.as_bytes(), passphrase)?;
    Ok(Zeroizing::new(serde_json::to_vec_pretty(&wrapped)?))
}

/// An encrypted file; none: it is one in clear, or none of ours.
fn read_wrapped(file: &Path) -> anyhow::Result<Option<Wrapped>> {
    let Some(text) = read_secret(file)? else { return Ok(None) };
    Ok(serde_json::from_str(&text).ok())
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let state_dir = arguments.config.load()?.daemon.state_dir;
    match &arguments.command {
        Command::Init => {
            prepare_state_dir(&state_dir)?;
            let key = CardKey::create(&state_dir)?;
            say(RELOAD);
            said(&key, &state_dir.join(CARD_KEY_FILE))?;
        }
        Command::Export { file, wrap } => {
            let key = match wrap.passphrase()? {
                Some(passphrase) => CardKey::export_as(&state_dir, file, |text| wrapped(text, &passphrase))?,
                None => CardKey::export(&state_dir, file)?,
            };
            said(&key, file)?;
        }
        Command::Import { file, passphrase_file } => import(&state_dir, file, passphrase_file.as_deref())?,
        Command::Rotate { into, wrap, yes } => rotate(&state_dir, into.as_deref(), wrap, *yes)?,
        Command::Forget { key_id, yes } => forget(&state_dir, *key_id, *yes)?,
        Command::List { json } => {
            let key = CardKey::load(&state_dir)?.ok_or(KeyError::Absent { path: state_dir.join(CARD_KEY_FILE) })?;
            let listing = Listing::of(&key);
            if *json { print_json(&listing)? } else { print(&listing.text())? }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn said(key: &CardKey, file: &Path) -> anyhow::Result<()> {
    let ids: Vec<String> = key.ids().iter().map(u8::to_string).collect();
    let keys = if ids.len() == 1 { "key" } else { "keys" };
    print(&format!("property {}, {keys} {}, in {}", key.property_id, ids.join(", "), file.display()))
}

fn import(state_dir: &Path, file: &Path, passphrase_file: Option<&Path>) -> anyhow::Result<()> {
    prepare_state_dir(state_dir)?;
    let Imported { key, new } = match read_wrapped(file)? {
        Some(wrapped) => {
            let passphrase = match passphrase_file {
                Some(file) => Passphrase::from_file(file)?,
                None => passphrase::ask("The passphrase of the card key")?,
            };
            let text = wrapped.open(Purpose::CardKey, &passphrase)?;
            CardKey::import_text(state_dir, str::from_utf8(&text)?, file)?
        }
        None => CardKey::import(state_dir, file)?,
    };
    say(if new.is_empty() { "this desk has these keys already" } else { RELOAD });
    said(&key, &state_dir.join(CARD_KEY_FILE))
}

const RELOAD: &str = "a running encoderd uses it after `systemctl reload encoderd`, or after a restart";

fn rotate(state_dir: &Path, into: Option<&Path>, wrap: &WrapArguments, yes: bool) -> anyhow::Result<()> {
    if into.is_none() && (wrap.passphrase || wrap.passphrase_file.is_some()) {
        bail!("a passphrase is for the file that `--into` names");
    }
    let old = CardKey::own(state_dir)?;
    let new = old.rotated()?;
    if let Some(file) = into {
        if file.exists() {
            return Err(KeyError::Exists { path: file.to_path_buf() }.into());
        }
        let text = new.text();
        match wrap.passphrase()? {
            Some(passphrase) => write_secret(file, &wrapped(&text, &passphrase)?)?,
            None => write_secret(file, text.as_bytes())?,
        }
        say("nothing is changed here. Give the new key to the locks, then import the file at every desk, this one too");
        return said(&new, file);
    }
    let (from, to) = (old.key.current().key_id(), new.key.current().key_id());
    let question = format!(
        "Cards are made with key {to} instead of {from} once encoderd is reloaded or restarted. A lock that does not know \
         key {to} refuses them; with `--into FILE` it can be told first."
    );
    ask(&question, yes)?;
    // Nobody else may have changed it while the question was open.
    if CardKey::own(state_dir)? != old {
        bail!("the card key was changed meanwhile: nothing is done, try again");
    }
    new.replace(state_dir)?;
    say(RELOAD);
    say(
        "export it again for the other desks, the locks and the safe: encoderd keys export FILE; there: encoderd keys import FILE",
    );
    say("a backup from before does not have the new key: encoderd backup");
    said(&new, &state_dir.join(CARD_KEY_FILE))
}

fn forget(state_dir: &Path, key_id: u8, yes: bool) -> anyhow::Result<()> {
    let old = CardKey::own(state_dir)?;
    let new = old.without(key_id)?;
    ask(&format!("Cards that were made with key {key_id} cannot be read, written or erased any more."), yes)?;
    if CardKey::own(state_dir)? != old {
        bail!("the card key was changed meanwhile: nothing is done, try again");
    }
    new.replace(state_dir)?;
    say(RELOAD);
    said(&new, &state_dir.join(CARD_KEY_FILE))
}

fn ask(warning: &str, yes: bool) -> anyhow::Result<()> {
    say(warning);
    if yes {
        return Ok(());
    }
    if !passphrase::somebody_is_there() {
        bail!("nobody is there to ask: confirm with --yes");
    }
    std::io::stderr().write_all(b"Go on? [y/N] ")?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    if !answer.trim().eq_ignore_ascii_case("y") && !answer.trim().eq_ignore_ascii_case("yes") {
        bail!("nothing is done");
    }
    Ok(())
}
