//! `/webhooks/…`, and what became of deliveries at `/encoderd/v1/webhook_deliveries`.

use crate::api::envelope::Object;
use crate::api::id::{EventId, WebhookId};
use crate::api::parameters::{AnyOf, Limit};
use crate::api::time::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use zeroize::Zeroize as _;

/// An address that events are sent to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Webhook {
    /// Its id.
    pub webhook_id: WebhookId,
    /// Where events are sent, as it was given.
    pub url: String,
    /// The types of events that are sent; `*` stands for all.
    pub event_types: Vec<String>,
    /// What deliveries are signed with.
    pub secret: WebhookSecret,
}

impl Object for Webhook {
    const ONE: &'static str = "webhook";
    const MANY: &'static str = "webhooks";
}

/// A webhook's secret, `whsec_` and base64. It does not print.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct WebhookSecret(String);

impl WebhookSecret {
    /// Takes one that was made or stored.
    pub fn new(secret: String) -> Self {
        Self(secret)
    }

    /// The secret itself, for signing and for the database.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl Drop for WebhookSecret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(..)")
    }
}

/// `/webhooks/create`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Create {
    /// Where events are to be sent: `http://` or `https://`.
    pub url: String,
    /// The types of events to send; without it, all.
    #[serde(default)]
    pub event_types: AnyOf<String>,
}

/// `/webhooks/get`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Get {
    /// Which.
    pub webhook_id: String,
}

/// `/webhooks/list`
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct List {}

/// `/webhooks/update`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Update {
    /// Which.
    pub webhook_id: String,
    /// The types of events to send from now on.
    pub event_types: Vec<String>,
}

/// `/webhooks/delete`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Delete {
    /// Which.
    pub webhook_id: String,
}

/// What became of an event on its way to a webhook. The Seam API has no object for it; this is ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WebhookDelivery {
    /// The webhook.
    pub webhook_id: WebhookId,
    /// The event.
    pub event_id: EventId,
    /// Its type.
    pub event_type: String,
    /// How far it has come.
    pub state: DeliveryState,
    /// How often it was tried.
    pub tries: u32,
    /// When it was tried last.
    pub tried_at: Option<Time>,
    /// When it is tried next; null once it has ended.
    pub next_try_at: Option<Time>,
    /// The HTTP status of the last answer; null when there was none.
    pub last_status: Option<u16>,
    /// Why the last try failed.
    pub last_error: Option<String>,
    /// When it ended.
    pub ended_at: Option<Time>,
}

impl Object for WebhookDelivery {
    const ONE: &'static str = "webhook_delivery";
    const MANY: &'static str = "webhook_deliveries";
}

/// How far a delivery has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// It is tried, or will be.
    Waiting,
    /// The receiver took it.
    Delivered,
    /// It was tried as often as the schedule has it, in vain.
    GivenUp,
    /// The webhook was disabled before.
    Stopped,
}

/// `/encoderd/v1/webhook_deliveries`: the newest first.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ListDeliveries {
    /// Those of this webhook.
    pub webhook_id: String,
    /// At most so many.
    #[serde(default)]
    pub limit: Limit,
}
