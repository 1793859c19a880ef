//! `/webhooks/…`, and `/encoderd/v1/webhook_deliveries`.

use super::now;
use crate::api::envelope::{Done, Many, One};
use crate::api::id::WebhookId;
use crate::api::parameters::LIMIT_DEFAULT;
use crate::api::webhooks::{Create, Delete, Get, List, ListDeliveries, Update, Webhook, WebhookDelivery};
use crate::hub::call::Call;
use crate::hub::error::{ApiError, Invalid};
use crate::hub::webhooks::new_secret;
use crate::store::hub::{webhook_deliveries, webhooks};
use reqwest::Url;

/// Webhooks of a workspace. Every event is written down once for each.
const WEBHOOKS_MAX: usize = 50;

/// Characters of an address.
const URL_CHARACTERS_MAX: usize = 2048;

/// All types of events.
const ALL: &str = "*";

/// Types of events that a webhook may name, and characters of one; the API knows some hundred types.
const TYPES_MAX: usize = 500;
const TYPE_CHARACTERS_MAX: usize = 200;

pub(super) async fn create(call: Call, create: Create) -> Result<One<Webhook>, ApiError> {
    check(&create.url)?;
    let event_types = create.event_types.0.unwrap_or_else(|| vec![ALL.to_owned()]);
    check_types(&event_types)?;
    let webhook = Webhook {
        webhook_id: WebhookId::random(),
        url: create.url,
        event_types,
        secret: new_secret().map_err(|_| ApiError::NoRandomness)?,
    };
    let mut transaction = call.begin().await?;
    if webhooks::list(&mut transaction, call.system().workspace_id).await?.len() >= WEBHOOKS_MAX {
        let message = format!("This workspace has {WEBHOOKS_MAX} webhooks already; delete one first");
        return Err(Invalid::parameter("url", message).into());
    }
    webhooks::create(&mut transaction, call.system().workspace_id, &webhook, now()).await?;
    transaction.commit().await?;
    Ok(One(webhook))
}

/// Refuses what no delivery could be made to. Which addresses are allowed is decided when one is connected to.
fn check(url: &str) -> Result<(), Invalid> {
    let wrong = |message: &str| Err(Invalid::parameter("url", message));
    if url.chars().count() > URL_CHARACTERS_MAX {
        return wrong(&format!("String must contain at most {URL_CHARACTERS_MAX} character(s)"));
    }
    let Ok(url) = Url::parse(url) else { return wrong("Invalid url") };
    if !matches!(url.scheme(), "http" | "https") {
        return wrong("Must begin with https:// or http://");
    }
    if url.host_str().is_none_or(str::is_empty) {
        return wrong("Must name a host");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return wrong("Must not contain a user name or password");
    }
    Ok(())
}

/// Every text may name a type, as with Seam: one that this hub never sends is no error.
fn check_types(types: &[String]) -> Result<(), Invalid> {
    let wrong = |message: String| Err(Invalid::parameter("event_types", message));
    if types.len() > TYPES_MAX {
        return wrong(format!("Array must contain at most {TYPES_MAX} element(s)"));
    }
    if types.iter().any(|kind| kind.chars().count() > TYPE_CHARACTERS_MAX) {
        return wrong(format!("String must contain at most {TYPE_CHARACTERS_MAX} character(s)"));
    }
    Ok(())
}

pub(super) async fn get(call: Call, get: Get) -> Result<One<Webhook>, ApiError> {
    let none = || ApiError::no::<Webhook>(&get.webhook_id);
    let id = known(&get.webhook_id)?;
    let webhook = webhooks::get(&mut *call.read().await?, call.system().workspace_id, id).await?;
    Ok(One(webhook.ok_or_else(none)?))
}

pub(super) async fn list(call: Call, _: List) -> Result<Many<Webhook>, ApiError> {
    let items = webhooks::list(&mut *call.read().await?, call.system().workspace_id).await?;
    Ok(Many { items, pagination: None })
}

pub(super) async fn update(call: Call, update: Update) -> Result<Done, ApiError> {
    check_types(&update.event_types)?;
    let id = known(&update.webhook_id)?;
    let mut transaction = call.begin().await?;
    if !webhooks::update(&mut transaction, call.system().workspace_id, id, &update.event_types).await? {
        return Err(ApiError::no::<Webhook>(id));
    }
    transaction.commit().await?;
    Ok(Done::default())
}

pub(super) async fn remove(call: Call, delete: Delete) -> Result<Done, ApiError> {
    let id = known(&delete.webhook_id)?;
    let mut transaction = call.begin().await?;
    if !webhooks::delete(&mut transaction, call.system().workspace_id, id).await? {
        return Err(ApiError::no::<Webhook>(id));
    }
    transaction.commit().await?;
    Ok(Done::default())
}

/// What became of a webhook's deliveries.
pub(super) async fn deliveries(call: Call, list: ListDeliveries) -> Result<Many<WebhookDelivery>, ApiError> {
    let id = known(&list.webhook_id)?;
    let mut connection = call.read().await?;
    if webhooks::get(&mut connection, call.system().workspace_id, id).await?.is_none() {
        return Err(ApiError::no::<Webhook>(id));
    }
    let items = webhook_deliveries::list(&mut connection, id, list.limit.or(LIMIT_DEFAULT)).await?;
    Ok(Many { items, pagination: None })
}

/// The types let a webhook's id be any text; this hub's are UUIDs, and every other text names nothing.
fn known(id: &str) -> Result<WebhookId, ApiError> {
    id.parse().map(WebhookId).map_err(|_| ApiError::no::<Webhook>(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_host_to_speak_http_with() {
        for good in [
            "https://example.com/hooks?token=a#b",
            "http://10.0.0.5:8080",
            "http://localhost:3000/",
            "https://[2001:db8::1]/",
            "HTTPS://EXAMPLE.COM",
            "https://bücher.example/",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for (bad, word) in [
            ("", "Invalid url"),
            ("example.com/hooks", "Invalid url"),
            ("https://", "Invalid url"),
            ("http://[::1", "Invalid url"),
            ("ftp://example.com/", "https://"),
            ("file:///etc/passwd", "https://"),
            ("javascript:alert(1)", "https://"),
            ("https://user@example.com/", "user name"),
            ("https://:secret@example.com/", "user name"),
            (&format!("https://example.com/{}", "a".repeat(URL_CHARACTERS_MAX)), "at most"),
        ] {
            let error = check(bad).unwrap_err();
            assert_eq!(error.path, ["url"], "{bad}");
            assert!(error.message.contains(word), "{bad}: {}", error.message);
        }
    }
}
