//! The way to the hub, hop by hop. Each hop is a check of its own; behind the first that is broken nothing is asked.

mod reasons;
mod walk;

pub(super) use walk::Walk;

use super::{Context, Finding};
use crate::api::bridge::EncoderState;

/// A hop on the way to the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hop {
    /// Its name has an address.
    Dns,
    /// Somebody takes connections there.
    Tcp,
    /// He shows a certificate that this PC trusts.
    Tls,
    /// He is a hub.
    Http,
    /// He takes this desk's token.
    Token,
}

impl Hop {
    /// The check's name.
    const fn name(self) -> &'static str {
        match self {
            Self::Dns => "hub_dns",
            Self::Tcp => "hub_tcp",
            Self::Tls => "hub_tls",
            Self::Http => "hub_http",
            Self::Token => "hub_token",
        }
    }
}

fn of(context: &Context, hop: Hop) -> Vec<Finding> {
    context.hub.steps.iter().filter(|finding| finding.check == hop.name()).cloned().collect()
}

pub(super) fn dns(context: &Context) -> Vec<Finding> {
    of(context, Hop::Dns)
}

pub(super) fn tcp(context: &Context) -> Vec<Finding> {
    of(context, Hop::Tcp)
}

pub(super) fn tls(context: &Context) -> Vec<Finding> {
    of(context, Hop::Tls)
}

pub(super) fn http(context: &Context) -> Vec<Finding> {
    of(context, Hop::Http)
}

pub(super) fn token(context: &Context) -> Vec<Finding> {
    of(context, Hop::Token)
}

/// Encoders that work here, and that no job can reach.
pub(super) fn link(context: &Context) -> Vec<Finding> {
    const NAME: &str = "hub_link";
    let (Some(status), Ok(config)) = (&context.status, &context.config) else { return Vec::new() };
    if !status.hub_reachable {
        return Vec::new();
    }
    let online = status.encoders.iter().filter(|encoder| encoder.state == EncoderState::Online);
    let (linked, unlinked): (Vec<_>, Vec<_>) = online.partition(|encoder| encoder.acs_encoder_id.is_some());
    let mut findings: Vec<Finding> = unlinked
        .into_iter()
        .map(|encoder| {
            let (name, id) = (&encoder.display_name, &encoder.device_id);
            let message = format!("\"{name}\" works and is linked to no encoder of the hub: no job reaches it");
            let finding =
                if config.auto_link() { Finding::note(NAME, message) } else { Finding::failed(NAME, message) };
            finding.remedy(format!("sudo encoderd encoders link {id} ACS_ENCODER_ID")).simulated(encoder.simulated)
        })
        .collect();
    if findings.is_empty() && !linked.is_empty() {
        findings.push(Finding::fine(NAME, format!("linked encoders: {}", linked.len())));
    }
    findings
}
