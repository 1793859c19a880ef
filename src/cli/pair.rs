//! `encoderd pair`: gets this desk's token for a code that somebody at the hub made.

use super::{ConfigArguments, admin, print, say};
use crate::api::admin::Secret;
use crate::api::bridge::PairRequest;
use crate::config::Config;
use crate::keys;
use crate::upstream;
use anyhow::{Context as _, bail};
use clap::Args;
use reqwest::Url;
use rustix::fs::{Access, access};
use secrecy::SecretString;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Where the token goes when the configuration does not say.
const TOKEN_FILE: &str = "/etc/encoderd/bridge-token";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The hub's address, such as `https://hub.example.com`
    #[arg(value_parser = admin::url)]
    url: Url,
    /// The code, as `encoderd admin pair` showed it
    #[arg(required = true)]
    code: Vec<String>,
    #[command(flatten)]
    config: ConfigArguments,
    /// The desk's name, for a code that was made without one (default: what this PC is called)
    #[arg(long)]
    name: Option<String>,
    /// Replace the token that is there
    #[arg(long)]
    force: bool,
}

pub(super) async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let config = arguments.config.load()?;
    let file = config.cloud.as_ref().map_or_else(|| PathBuf::from(TOKEN_FILE), |cloud| cloud.token_file.clone());
    // Before the code is used up.
    if !arguments.force && file.exists() {
        bail!("{} is there already\nhint: --force replaces it", file.display());
    }
    can_be_written(&file)?;
    let name = arguments.name.clone().or_else(own_name);
    let request = PairRequest { code: Secret(arguments.code.concat()), bridge_id: None, name };
    let url = arguments.url.as_str().trim_end_matches('/');
    let paired = upstream::pair(url, &request).await?;
    keys::write_token(&file, &SecretString::from(paired.token.0))
        .context("this desk is paired, but its token is lost: revoke it at the hub and make another code")?;
    print(&format!("paired as \"{}\" with {}; token in {}", paired.name, paired.workspace_name, file.display()))?;
    for hint in hints(&config, url, &file) {
        say(&format!("hint: {hint}"));
    }
    Ok(ExitCode::SUCCESS)
}

fn can_be_written(file: &Path) -> anyhow::Result<()> {
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let hint = "hint: the directory must be there, and this must run as a user that may write to it";
    if let Err(error) = access(directory, Access::WRITE_OK | Access::EXEC_OK) {
        bail!("cannot write {}: {}: {error}\n{hint}", file.display(), directory.display());
    }
    Ok(())
}

/// What is still missing for the desk to work.
fn hints(config: &Config, url: &str, file: &Path) -> Vec<String> {
    let mut hints = Vec::new();
    match &config.cloud {
        None => hints.push(format!(
            "put this into the configuration, and take [hub] and [property] out of it:\n\n\
             [cloud]\nurl = \"{url}\"\ntoken_file = \"{}\"\n",
            file.display()
        )),
        Some(cloud) if cloud.url.trim_end_matches('/') != url => {
            hints.push(format!("the configuration has url = \"{}\" under [cloud]; set it to \"{url}\"", cloud.url));
        }
        Some(_) => {}
    }
    let owner = |path: &Path| std::fs::metadata(path).ok().map(|metadata| metadata.uid());
    if let (Some(daemon), Some(own)) = (owner(&config.daemon.state_dir), owner(file))
        && daemon != own
    {
        hints.push(format!("encoderd runs as user {daemon} here: `chown {daemon} {}`", file.display()));
    }
    if !config.daemon.state_dir.join(keys::CARD_KEY_FILE).exists() {
        hints.push("this desk has no card key of the property yet: `encoderd keys import FILE`".to_owned());
    }
    hints.push("a running encoderd uses the token after a restart".to_owned());
    hints
}

/// What this PC is called.
fn own_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}
