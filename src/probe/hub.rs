//! Whether the hub answers.

use super::{Context, Finding};
use crate::upstream::Hub;
use secrecy::SecretString;

const NAME: &str = "hub";

pub(super) async fn look(context: &Context) -> Vec<Finding> {
    if context.port.is_some() {
        return Vec::new();
    }
    let Ok(config) = &context.config else { return Vec::new() };
    let running = context.status.as_ref().map(|status| status.hub_url.clone());
    let Some(url) = running.or_else(|| config.cloud.as_ref().map(|cloud| cloud.url.clone())) else {
        return vec![Finding::note(NAME, "the embedded hub starts with encoderd")];
    };
    // Reachability needs no token.
    let reachable = match Hub::new(&url, SecretString::from("")) {
        Ok(hub) => hub.is_healthy().await,
        Err(_) => false,
    };
    vec![if reachable {
        Finding::fine(NAME, format!("{url} answers"))
    } else {
        Finding::failed(NAME, format!("{url} does not answer"))
            .remedy("check the network, the address in [cloud] url, and that the hub runs")
    }]
}
