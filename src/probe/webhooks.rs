//! Webhooks whose receivers do not take their events.

use super::{Context, Finding, Who};
use crate::api::webhooks::DeliveryState;

const NAME: &str = "webhooks";

pub(super) fn look(context: &Context) -> Vec<Finding> {
    let Some(webhooks) = &context.hub.webhooks else { return Vec::new() };
    let mut findings = Vec::new();
    for (webhook, deliveries) in webhooks {
        let failing: Vec<_> = deliveries
            .iter()
            .filter(|delivery| match delivery.state {
                DeliveryState::Waiting => delivery.last_error.is_some(),
                DeliveryState::GivenUp => true,
                DeliveryState::Delivered | DeliveryState::Stopped => false,
            })
            .collect();
        let Some(last) = failing.first() else { continue };
        let why = match (last.last_status, &last.last_error) {
            (Some(status), _) => format!("it answers {status}"),
            (None, Some(error)) => error.clone(),
            (None, None) => "no answer".to_owned(),
        };
        let url = host(&webhook.url);
        let message = format!(
            "the webhook to {url} does not take its events ({} of the last {}): {why}",
            failing.len(),
            deliveries.len()
        );
        let remedy = format!("curl --include --request POST --data '{{}}' {url}/…; the receiver must answer 2xx there");
        findings.push(Finding::failed(NAME, message).remedy(remedy).by(Who::HubOperator));
    }
    if findings.is_empty() && !webhooks.is_empty() {
        findings.push(Finding::fine(NAME, format!("webhooks: {}, all of them take their events", webhooks.len())));
    }
    findings
}

/// An address without what may be a secret in it.
fn host(url: &str) -> String {
    let Ok(url) = reqwest::Url::parse(url) else { return "an address".to_owned() };
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default())
}
