//! The cloud as the bridge sees it: the bridge protocol over HTTP. A remote hub differs from the embedded one by its
//! address only.

use crate::api::acs_encoders::{ListPage, ListedEncoder, ListedPage};
use crate::api::bridge::{
    EventsRequest, LONG_POLL_SECONDS_MAX, NextRequest, NextResponse, PairRequest, PairResponse, ProgressRequest,
    ResultRequest, ResultResponse, StartRequest, StartResponse, SyncRequest, SyncResponse,
};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// Longer than any answer but the long poll's takes.
const ANSWER_BOUND: Duration = Duration::from_secs(10);

/// How long connecting may take.
const CONNECT_BOUND: Duration = Duration::from_secs(5);

/// Why the cloud did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// No answer: no network, wrong address, hub stopped.
    #[error("the hub at {url} cannot be reached")]
    Unreachable {
        /// The hub.
        url: String,
        /// Why.
        source: reqwest::Error,
    },
    /// The token is not the hub's.
    #[error("the hub at {url} refuses the bridge token: pair this desk anew with `encoderd pair`")]
    Unauthorized {
        /// The hub.
        url: String,
    },
    /// The API key is not the account's.
    #[error("the account at {url} refuses the API key: correct the file that cloud.api_key_file names")]
    KeyRefused {
        /// The account.
        url: String,
    },
    /// The hub understood and refused.
    #[error("the hub at {url} refuses {path}: {status} {message}")]
    Refused {
        /// The hub.
        url: String,
        /// What was asked.
        path: &'static str,
        /// The HTTP status.
        status: u16,
        /// What the hub said.
        message: String,
    },
}

impl UpstreamError {
    /// Whether asking again can help. What the hub refuses today it refuses tomorrow.
    pub fn retry_helps(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Unauthorized { .. } => true,
            Self::KeyRefused { .. } => false,
            Self::Refused { status, .. } => *status >= 500 || matches!(status, 408 | 429),
        }
    }
}

/// Redeems a pairing code.
pub async fn pair(url: &str, request: &PairRequest) -> Result<PairResponse, UpstreamError> {
    Hub::new(url, SecretString::from(""))?.post("/bridge/v1/pair", request, ANSWER_BOUND).await
}

/// An account of the Seam API, by its key: what is in it, not what is done for it.
#[derive(Clone, Debug)]
pub struct Account {
    hub: Hub,
}

/// How many encoders are asked for at once.
const PAGE_ITEMS: u32 = 100;

/// After so many pages the list is cut off: nobody picks from more.
const PAGES_MAX: usize = 50;

impl Account {
    /// The account at an address that this key opens.
    pub fn new(url: &str, key: SecretString) -> Result<Self, UpstreamError> {
        Ok(Self { hub: Hub::new(url, key)? })
    }

    /// All of its encoders.
    pub async fn encoders(&self) -> Result<Vec<ListedEncoder>, UpstreamError> {
        let mut encoders = Vec::new();
        let mut page = ListPage { limit: PAGE_ITEMS, page_cursor: None };
        for _ in 0..PAGES_MAX {
            let listed: ListedPage = self.hub.post("/acs/encoders/list", &page, ANSWER_BOUND).await.map_err(by_key)?;
            encoders.extend(listed.acs_encoders);
            let next = listed.pagination.filter(|pagination| pagination.has_next_page);
            match next.and_then(|pagination| pagination.next_page_cursor) {
                // The same again would be the same page again.
                Some(cursor) if page.page_cursor.as_ref() != Some(&cursor) => page.page_cursor = Some(cursor),
                Some(_) | None => break,
            }
        }
        Ok(encoders)
    }
}

fn by_key(error: UpstreamError) -> UpstreamError {
    match error {
        UpstreamError::Unauthorized { url } => UpstreamError::KeyRefused { url },
        UpstreamError::Unreachable { .. } | UpstreamError::KeyRefused { .. } | UpstreamError::Refused { .. } => error,
    }
}

/// A hub.
#[derive(Clone, Debug)]
pub struct Hub {
    client: reqwest::Client,
    url: String,
    token: SecretString,
}

impl Hub {
    /// A hub at an address, with this desk's token.
    pub fn new(url: &str, token: SecretString) -> Result<Self, UpstreamError> {
        let url = url.trim_end_matches('/').to_owned();
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT_BOUND)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("encoderd/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|source| UpstreamError::Unreachable { url: url.clone(), source })?;
        Ok(Self { client, url, token })
    }

    /// The hub's address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Tells the hub which encoders there are; learns their links.
    pub async fn sync(&self, request: &SyncRequest) -> Result<SyncResponse, UpstreamError> {
        self.post("/bridge/v1/encoders/sync", request, ANSWER_BOUND).await
    }

    /// Waits for a job.
    pub async fn next(&self, request: &NextRequest) -> Result<NextResponse, UpstreamError> {
        let bound = Duration::from_secs(request.wait_seconds.min(LONG_POLL_SECONDS_MAX)) + ANSWER_BOUND;
        self.post("/bridge/v1/jobs/next", request, bound).await
    }

    /// Asks for leave to start a job.
    pub async fn start(&self, request: &StartRequest) -> Result<StartResponse, UpstreamError> {
        self.post("/bridge/v1/jobs/start", request, ANSWER_BOUND).await
    }

    /// Tells how far a job is.
    pub async fn progress(&self, request: &ProgressRequest) -> Result<(), UpstreamError> {
        self.post::<serde_json::Value>("/bridge/v1/jobs/progress", request, ANSWER_BOUND).await.map(drop)
    }

    /// Reports how a job ended.
    pub async fn result(&self, request: &ResultRequest) -> Result<ResultResponse, UpstreamError> {
        self.post("/bridge/v1/jobs/result", request, ANSWER_BOUND).await
    }

    /// Tells what happened at the desk.
    pub async fn events(&self, request: &EventsRequest) -> Result<(), UpstreamError> {
        self.post::<serde_json::Value>("/bridge/v1/events", request, ANSWER_BOUND).await.map(drop)
    }

    /// Whether the hub answers at all.
    pub async fn is_healthy(&self) -> bool {
        let answer = self.client.get(format!("{}/healthz", self.url)).timeout(Duration::from_secs(3)).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &'static str,
        body: &impl Serialize,
        bound: Duration,
    ) -> Result<T, UpstreamError> {
        let unreachable = |source: reqwest::Error| UpstreamError::Unreachable { url: self.url.clone(), source };
        let answer = self
            .client
            .post(format!("{}{path}", self.url))
            .bearer_auth(self.token.expose_secret())
            .timeout(bound)
            .json(body)
            .send()
            .await
            .map_err(unreachable)?;
        let status = answer.status();
        if status.is_success() {
            return answer.json().await.map_err(unreachable);
        }
        if status == reqwest::StatusCode::UNAUTHORIZED {
            return Err(UpstreamError::Unauthorized { url: self.url.clone() });
        }
        let body: serde_json::Value = answer.json().await.unwrap_or_default();
        let message = body.pointer("/error/message").and_then(serde_json::Value::as_str).unwrap_or("").to_owned();
        Err(UpstreamError::Refused { url: self.url.clone(), path, status: status.as_u16(), message })
    }
}
