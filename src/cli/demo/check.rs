//! What `encoderd demo --check` does: one encode and one scan through the HTTP API, as any caller makes them.

use crate::api::access_grants::AccessGrant;
use crate::api::acs_credentials::AcsCredential;
use crate::api::acs_encoders::LiveEncoder;
use crate::api::acs_entrances::AcsEntrance;
use crate::api::action_attempts::{ActionAttempt, ScanResult, Status};
use crate::api::bridge::{EncoderState, Presence};
use crate::api::envelope::Object;
use anyhow::{Context as _, bail};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::time::Duration;

/// How often a pending attempt is asked for.
const POLL_EVERY: Duration = Duration::from_millis(200);

/// Pending attempts end by themselves well before this.
const POLLS_MAX: u32 = 150;

pub(super) type LiveEncoders = Vec<LiveEncoder>;

/// A caller of the hub with its key.
pub(super) struct Caller {
    client: reqwest::Client,
    url: String,
    key: String,
}

impl Caller {
    pub(super) fn new(url: &str, key: &str) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder().timeout(Duration::from_secs(30)).build()?;
        Ok(Self { client, url: url.to_owned(), key: key.to_owned() })
    }

    async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let request = self.client.post(format!("{}{path}", self.url)).bearer_auth(&self.key).json(body);
        let answer = request.send().await.with_context(|| format!("{path} got no answer"))?;
        let status = answer.status();
        let body: Value = answer.json().await.with_context(|| format!("{path} did not answer with JSON"))?;
        if !status.is_success() {
            bail!("{path} answered {status}: {body}");
        }
        Ok(body)
    }

    async fn one<T: Object + DeserializeOwned>(&self, path: &str, body: &Value) -> anyhow::Result<T> {
        let answer = self.post(path, body).await?;
        let object = answer.get(T::ONE).with_context(|| format!("{path} answered without {}", T::ONE))?;
        Ok(serde_json::from_value(object.clone())?)
    }

    async fn many<T: Object + DeserializeOwned>(&self, path: &str) -> anyhow::Result<Vec<T>> {
        let answer = self.post(path, &json!({})).await?;
        let objects = answer.get(T::MANY).with_context(|| format!("{path} answered without {}", T::MANY))?;
        Ok(serde_json::from_value(objects.clone())?)
    }

    /// Waits until so many encoders are online, and the card that lies on one of them is seen.
    pub(super) async fn wait_for_encoders(&self, count: usize) -> anyhow::Result<LiveEncoders> {
        loop {
            let encoders: LiveEncoders = self.many("/encoderd/v1/encoders").await?;
            let online = encoders.iter().filter(|encoder| encoder.state == EncoderState::Online).count();
            if online >= count && encoders.iter().any(|encoder| encoder.presence == Presence::Present) {
                return Ok(encoders);
            }
            tokio::time::sleep(POLL_EVERY).await;
        }
    }

    /// Waits until encoders of all these names are online.
    pub(super) async fn wait_for_names(&self, names: &[&str]) -> anyhow::Result<LiveEncoders> {
        loop {
            let encoders: LiveEncoders = self.many("/encoderd/v1/encoders").await?;
            let is_online = |name: &&str| {
                encoders.iter().any(|encoder| encoder.display_name == *name && encoder.state == EncoderState::Online)
            };
            if names.iter().all(is_online) {
                return Ok(encoders);
            }
            tokio::time::sleep(POLL_EVERY).await;
        }
    }

    /// Makes a key at the first encoder with a card on it, then reads the card. Says what came of it.
    pub(super) async fn encode_and_scan(&self, encoders: &LiveEncoders) -> anyhow::Result<String> {
        let encoder = encoders
            .iter()
            .find(|encoder| encoder.presence == Presence::Present)
            .context("no encoder has a card on it")?;
        let entrances: Vec<AcsEntrance> = self.many("/acs/entrances/list").await?;
        let entrance = entrances.first().context("the property has no entrances")?;
        let grant: AccessGrant = self
            .one(
                "/access_grants/create",
                &json!({
                    "user_identity": { "full_name": "Ada Guest" },
                    "acs_entrance_ids": [entrance.acs_entrance_id],
                    "requested_access_methods": [{ "mode": "card" }],
                }),
            )
            .await?;
        let access_method_id = grant.access_method_ids.first().context("the grant has no access method")?;
        let body = json!({ "access_method_id": access_method_id, "acs_encoder_id": encoder.acs_encoder_id });
        let issued: AcsCredential = self.settle("/access_methods/encode", &body).await?;
        let body = json!({ "acs_encoder_id": encoder.acs_encoder_id });
        let scan: ScanResult = self.settle("/acs/encoders/scan_credential", &body).await?;
        let card_number = issued.card_number.context("the encoded credential has no card number")?;
        let issued_at = issued.issued_at.context("the encoded credential has no time of issue")?;
        let read = scan.acs_credential_on_encoder.context("the scan read no credential")?;
        if read.card_number.as_deref() != Some(&card_number) || !scan.warnings.is_empty() {
            bail!("the scan does not agree with the encode: {read:?}, {:?}", scan.warnings);
        }
        Ok(format!(
            "encoded  card_number {card_number}, issued_at {issued_at}, on \"{}\" [simulated]\nscanned  {}",
            encoder.display_name,
            serde_json::to_string(&read)?
        ))
    }

    /// Starts an attempt and waits for its end.
    async fn settle<T: DeserializeOwned>(&self, path: &str, body: &Value) -> anyhow::Result<T> {
        let mut attempt: ActionAttempt = self.one(path, body).await?;
        for _ in 0..POLLS_MAX {
            match attempt.status {
                Status::Success => {
                    return Ok(serde_json::from_value(attempt.result.context("a success without a result")?)?);
                }
                Status::Error => {
                    let error = attempt.error.context("an error without a word")?;
                    bail!("{path} ended with {}: {}", error.kind, error.message);
                }
                Status::Pending => tokio::time::sleep(POLL_EVERY).await,
            }
            let body = json!({ "action_attempt_id": attempt.action_attempt_id });
            attempt = self.one("/action_attempts/get", &body).await?;
        }
        bail!("{path} did not end")
    }
}
