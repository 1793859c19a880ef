//! `encoderd admin`: administration of a hub over HTTP, with the hub's own key.

mod client;
mod desks;
mod keys;
mod property;

use self::client::Hub;
use super::ConfigArguments;
use clap::{Args, Subcommand};
use reqwest::Url;
use std::process::ExitCode;
use uuid::Uuid;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    config: ConfigArguments,
    /// The hub's address (default: `[cloud] url`, else `[hub] listen` of the configuration)
    #[arg(long, value_name = "URL", global = true, value_parser = url)]
    hub: Option<Url>,
    /// Work in this workspace instead of the first
    #[arg(long, value_name = "ID", global = true)]
    workspace: Option<Uuid>,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The properties that the hub serves, each a workspace.
    #[command(subcommand)]
    Workspaces(property::Workspaces),
    /// Keys to the Seam API.
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Take over a property's doors from a CSV or TOML file; all of them or none.
    Import(property::ImportArguments),
    /// All encoders, live.
    Encoders,
    /// Make a code that pairs one desk with the hub, within ten minutes.
    Pair(desks::PairArguments),
    /// The desks that were paired.
    #[command(subcommand)]
    Bridges(desks::Bridges),
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { command, config, hub, workspace, json } = arguments;
    let hub = || Hub::new(&config, hub.as_ref(), workspace);
    match command {
        Command::Workspaces(command) => property::workspaces(&hub()?, command, json).await?,
        Command::Keys(command) => keys::run(&hub()?, command, json).await?,
        Command::Import(arguments) => {
            let read = property::read(&arguments)?;
            property::import(&hub()?, read, json).await?;
        }
        Command::Encoders => desks::encoders(&hub()?, json).await?,
        Command::Pair(arguments) => desks::pair(&hub()?, arguments, json).await?,
        Command::Bridges(command) => desks::bridges(&hub()?, command, json).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads a hub's address.
pub(super) fn url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("{error}; write it like https://hub.example.com"))?;
    if matches!(url.scheme(), "http" | "https") && url.has_host() {
        Ok(url)
    } else {
        Err("it must start with https:// (or http:// for a hub on this PC)".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hub_has_a_web_address() {
        assert!(url("http://127.0.0.1:8765").is_ok() && url("https://hub.example.com/encoderd").is_ok());
        for bad in ["127.0.0.1:8765", "ftp://hub", "hub.example.com", "http://", ""] {
            assert!(url(bad).is_err(), "{bad}");
        }
    }
}
