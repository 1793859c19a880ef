//! `encoderd admin encoders`, `pair` and `bridges`: desks and what is plugged into them.

use super::client::Hub;
use crate::api::acs_encoders::{ListLive, LiveEncoder};
use crate::api::admin::{CreatePairingCode, ListAll, PairedBridge, PairingCode, RevokeBridge};
use crate::api::bridge::{EncoderState, Presence};
use crate::api::parameters::Filled;
use crate::cli::status::simulated;
use crate::cli::{print, print_json, say, table};
use anyhow::bail;
use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub(super) struct PairArguments {
    /// The desk's name (default: what its PC is called)
    #[arg(long)]
    name: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Bridges {
    /// List the paired desks.
    List,
    /// End a desk's token at once; its encoders stay, for when it is paired again.
    Revoke {
        /// The desk's name, its `bridge_id`, or its token's id
        desk: String,
    },
}

pub(super) async fn encoders(hub: &Hub, json: bool) -> anyhow::Result<()> {
    let all: Vec<LiveEncoder> = hub.many("/encoderd/v1/encoders", &ListLive {}).await?;
    if json {
        return print_json(&all);
    }
    if all.is_empty() {
        say("no encoders: a desk brings them when it is connected");
        return Ok(());
    }
    let rows: Vec<[String; 8]> = all
        .iter()
        .map(|encoder| {
            [
                simulated(&encoder.display_name, encoder.simulated),
                encoder.acs_encoder_id.to_string(),
                encoder.device_id.clone().unwrap_or_else(|| "not linked".to_owned()),
                encoder.model.clone().unwrap_or_default(),
                encoder.firmware.clone().unwrap_or_default(),
                state(encoder.state).to_owned(),
                presence(encoder.presence).to_owned(),
                if encoder.bridge_connected { "connected" } else { "not connected" }.to_owned(),
            ]
        })
        .collect();
    print(&table(["NAME", "ACS_ENCODER_ID", "DEVICE", "MODEL", "FIRMWARE", "STATE", "CARD", "DESK"], &rows))?;
    for encoder in &all {
        if let Some(fault) = &encoder.fault {
            say(&format!("{}: {}", encoder.display_name, fault.message));
        }
    }
    Ok(())
}

fn state(state: EncoderState) -> &'static str {
    match state {
        EncoderState::Online => "online",
        EncoderState::Offline => "offline",
        EncoderState::Unavailable => "unavailable",
        EncoderState::Silent => "silent",
    }
}

fn presence(presence: Presence) -> &'static str {
    match presence {
        Presence::Absent => "none",
        Presence::Arriving => "arriving",
        Presence::Present => "present",
        Presence::Several => "several",
    }
}

pub(super) async fn pair(hub: &Hub, arguments: PairArguments, json: bool) -> anyhow::Result<()> {
    let asked = CreatePairingCode { name: arguments.name.map(Filled) };
    let made: PairingCode = hub.one("/encoderd/v1/pairing_codes/create", &asked).await?;
    if json {
        return print_json(&made);
    }
    print(&made.code.0)?;
    let url = hub.url.as_str().trim_end_matches('/');
    say(&format!(
        "good for one desk until {}. Type at the desk:\n\n  encoderd pair {url} {}\n",
        made.expires_at, made.code.0
    ));
    let is_here =
        hub.url.host_str().is_some_and(|host| host == "localhost" || host.starts_with("127.") || host == "[::1]");
    if is_here {
        say(
            "hint: this address is this PC's own. For a desk at another PC put the address there by which it reaches the \
             hub, and see that `[hub] listen`, or a proxy with TLS before it, takes it",
        );
    }
    Ok(())
}

pub(super) async fn bridges(hub: &Hub, command: Bridges, json: bool) -> anyhow::Result<()> {
    let all: Vec<PairedBridge> = hub.many("/encoderd/v1/bridges/list", &ListAll {}).await?;
    match command {
        Bridges::List if json => print_json(&all),
        Bridges::List if all.is_empty() => {
            say("no desk was paired: `encoderd admin pair` makes a code");
            Ok(())
        }
        Bridges::List => print(&list(&all)),
        Bridges::Revoke { desk } => {
            let bridge_token_id = find(&all, &desk)?.bridge_token_id;
            let revoked: PairedBridge =
                hub.one("/encoderd/v1/bridges/revoke", &RevokeBridge { bridge_token_id }).await?;
            if json {
                return print_json(&revoked);
            }
            print(&format!("the token of {} opens nothing any more", revoked.name))
        }
    }
}

fn list(bridges: &[PairedBridge]) -> String {
    let row = |bridge: &PairedBridge| {
        let state = match (bridge.revoked_at, bridge.bridge_id, bridge.connected) {
            (Some(end), _, _) => format!("revoked {end}"),
            (None, None, _) => "never came".to_owned(),
            (None, Some(_), true) => "connected".to_owned(),
            (None, Some(_), false) => "not connected".to_owned(),
        };
        [
            bridge.name.clone(),
            state,
            bridge.last_seen_at.map(|seen| seen.to_string()).unwrap_or_default(),
            bridge.created_at.to_string(),
            bridge.bridge_id.map(|id| id.to_string()).unwrap_or_default(),
            bridge.bridge_token_id.to_string(),
        ]
    };
    let rows: Vec<[String; 6]> = bridges.iter().map(row).collect();
    table(["NAME", "STATE", "LAST SEEN", "PAIRED", "BRIDGE_ID", "TOKEN_ID"], &rows)
}

/// The desk that somebody means; of those with one name, the one that was not revoked.
fn find<'a>(bridges: &'a [PairedBridge], meant: &str) -> anyhow::Result<&'a PairedBridge> {
    if let Some(bridge) = bridges.iter().find(|bridge| bridge.bridge_token_id.to_string() == meant) {
        return Ok(bridge);
    }
    let is_meant = |bridge: &&PairedBridge| {
        bridge.revoked_at.is_none()
            && (bridge.name == meant || bridge.bridge_id.is_some_and(|id| id.to_string() == meant))
    };
    let found: Vec<&PairedBridge> = bridges.iter().filter(is_meant).collect();
    match found.as_slice() {
        [bridge] => Ok(bridge),
        [] => bail!("no paired desk is called `{meant}`\nhint: `encoderd admin bridges list` lists them"),
        [_, _, ..] => bail!("{} desks are called `{meant}`\nhint: give the TOKEN_ID of the one you mean", found.len()),
    }
}
