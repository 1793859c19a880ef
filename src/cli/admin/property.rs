//! `encoderd admin workspaces` and `encoderd admin import`: properties and their doors.

use super::client::Hub;
use crate::api::admin::{CreateWorkspace, HubWorkspace, Import, ImportProperty, ListAll, PropertyFormat};
use crate::api::parameters::Filled;
use crate::cli::{print, print_json, table};
use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(super) enum Workspaces {
    /// List the workspaces.
    List,
    /// Make a workspace with its access system.
    Create {
        /// The property's name
        name: String,
        /// Its IANA time zone, such as Europe/Zurich
        #[arg(long, value_name = "ZONE", default_value = "UTC")]
        time_zone: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct ImportArguments {
    /// `….csv` with lines `name,door`, the first naming the columns; or `….toml` with `entrances` as in the configuration
    file: PathBuf,
    /// Only say what would happen
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn workspaces(hub: &Hub, command: Workspaces, json: bool) -> anyhow::Result<()> {
    match command {
        Workspaces::List => {
            let all: Vec<HubWorkspace> = hub.many("/encoderd/v1/workspaces/list", &ListAll {}).await?;
            if json {
                return print_json(&all);
            }
            let row = |workspace: &HubWorkspace| {
                let first = if workspace.is_first { "first" } else { "" };
                [
                    workspace.name.clone(),
                    workspace.time_zone.clone().unwrap_or_default(),
                    workspace.workspace_id.to_string(),
                    first.to_owned(),
                ]
            };
            let rows: Vec<[String; 4]> = all.iter().map(row).collect();
            print(&table(["NAME", "TIME ZONE", "WORKSPACE_ID", ""], &rows))
        }
        Workspaces::Create { name, time_zone } => {
            let asked = CreateWorkspace { name: Filled(name), time_zone: Some(Filled(time_zone)) };
            let made: HubWorkspace = hub.one("/encoderd/v1/workspaces/create", &asked).await?;
            if json { print_json(&made) } else { print(&made.workspace_id.to_string()) }
        }
    }
}

/// Reads the file. What ends in `.toml` is TOML, everything else CSV.
pub(super) fn read(arguments: &ImportArguments) -> anyhow::Result<ImportProperty> {
    let file = &arguments.file;
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let before = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
            let line = before.split(|byte| *byte == b'\n').count();
            bail!(
                "nothing was imported: {} is not UTF-8 (line {line})\n\
                 hint: save it as \"CSV UTF-8\", as spreadsheets call it",
                file.display()
            );
        }
    };
    let is_toml = file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml"));
    let format = if is_toml { PropertyFormat::Toml } else { PropertyFormat::Csv };
    Ok(ImportProperty { text, format, dry_run: arguments.dry_run })
}

pub(super) async fn import(hub: &Hub, property: ImportProperty, json: bool) -> anyhow::Result<()> {
    let done: Import = hub.one("/encoderd/v1/property/import", &property).await?;
    if json {
        return print_json(&done);
    }
    let would = if done.dry_run { "would be " } else { "" };
    let Import { added, renamed, unchanged, .. } = done;
    print(&format!("{would}added {added}, {would}renamed {renamed}, unchanged {unchanged}"))
}
