//! A hub as its owner asks it.

use crate::api::admin::WrongLines;
use crate::api::envelope::{Failure, Object};
use crate::cli::ConfigArguments;
use crate::config::{self, Config};
use crate::daemon::reachable;
use crate::keys::{self, API_KEY_FILE, KeyError};
use reqwest::{StatusCode, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::error::Error as _;
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use uuid::Uuid;

/// Longer than any answer takes, a property of many thousand doors included.
const ANSWER_BOUND: Duration = Duration::from_mins(1);

/// Why the hub did not do what was asked; each says what can be done.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    #[error(
        "the hub at {url} cannot be reached: {cause}\n\
         hint: start it with `encoderd run` or `encoderd hub`, or name another one with --hub"
    )]
    Unreachable { url: Url, cause: String },
    #[error("the hub at {url} does not answer as a hub: {problem}\nhint: check the address that --hub names")]
    NoHub { url: Url, problem: String },
    #[error(
        "the hub at {url} refuses the key from {origin}\n\
         hint: only the hub's own key administers it: `api-key` in the state directory of that hub, or what it has in \
         ENCODERD_API_KEY"
    )]
    KeyRefused { url: Url, origin: KeyOrigin },
    #[error("the hub refuses: {message}")]
    Refused { message: String },
    #[error("nothing was imported:\n{}", lines(wrong))]
    WrongLines { wrong: WrongLines },
    #[error("{0}")]
    Key(String),
}

fn lines(wrong: &WrongLines) -> String {
    let lines: Vec<String> = wrong.lines.iter().map(|line| format!("  {line}")).collect();
    lines.join("\n")
}

/// Where a key was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum KeyOrigin {
    Environment,
    File(PathBuf),
}

impl std::fmt::Display for KeyOrigin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Environment => f.write_str(config::API_KEY_VARIABLE),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// A hub that is administered.
pub(super) struct Hub {
    pub(super) url: Url,
    client: reqwest::Client,
    key: SecretString,
    origin: KeyOrigin,
    workspace: Option<Uuid>,
}

impl Hub {
    /// The hub that the arguments name, else the one that this PC's configuration does.
    pub(super) fn new(config: &ConfigArguments, named: Option<&Url>, workspace: Option<Uuid>) -> anyhow::Result<Self> {
        let config = config.load()?;
        let url = match (named, &config.cloud) {
            (Some(url), _) => url.clone(),
            (None, Some(cloud)) => Url::parse(&cloud.url)?,
            (None, None) => Url::parse(&format!("http://{}", reachable(config.hub.listen)))?,
        };
        let (key, origin) = key(&config)?;
        let client = reqwest::Client::builder()
            .timeout(ANSWER_BOUND)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("encoderd/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { url, client, key, origin, workspace })
    }

    /// One object.
    pub(super) async fn one<T: Object + DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, AskError> {
        let mut answer = self.ask(path, body).await?;
        self.read(answer.get_mut(T::ONE).map(Value::take).unwrap_or_default())
    }

    /// A list.
    pub(super) async fn many<T: Object + DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<Vec<T>, AskError> {
        let mut answer = self.ask(path, body).await?;
        self.read(answer.get_mut(T::MANY).map(Value::take).unwrap_or_default())
    }

    /// An answer as it is.
    pub(super) async fn whole<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, AskError> {
        self.read(self.ask(path, body).await?)
    }

    fn read<T: DeserializeOwned>(&self, answer: Value) -> Result<T, AskError> {
        serde_json::from_value(answer).map_err(|error| self.no_hub(&error))
    }

    fn no_hub(&self, problem: &dyn std::fmt::Display) -> AskError {
        AskError::NoHub { url: self.url.clone(), problem: problem.to_string() }
    }

    async fn ask(&self, path: &str, body: &impl Serialize) -> Result<Value, AskError> {
        let url = format!("{}{path}", self.url.as_str().trim_end_matches('/'));
        let mut request = self.client.post(url).bearer_auth(self.key.expose_secret()).json(body);
        if let Some(workspace) = self.workspace {
            request = request.header("seam-workspace", workspace.to_string());
        }
        let answer = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = answer.status();
        let text = answer.text().await.map_err(|error| self.unreachable(&error))?;
        if status.is_success() {
            return serde_json::from_str(&text).map_err(|error| self.no_hub(&error));
        }
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return Err(AskError::KeyRefused { url: self.url.clone(), origin: self.origin.clone() });
        }
        let Ok(failure) = serde_json::from_str::<Failure>(&text) else {
            return Err(self.no_hub(&format!("HTTP status {status}")));
        };
        let data = failure.error.data.unwrap_or_default();
        Err(match serde_json::from_value(data) {
            Ok(wrong) => AskError::WrongLines { wrong },
            Err(_) => AskError::Refused { message: failure.error.message },
        })
    }

    fn unreachable(&self, error: &reqwest::Error) -> AskError {
        // The innermost cause is the system's own word; those around it say that a request failed.
        let mut cause = error.source();
        while let Some(inner) = cause.and_then(std::error::Error::source) {
            cause = Some(inner);
        }
        let cause = cause.map_or_else(|| error.to_string(), ToString::to_string);
        AskError::Unreachable { url: self.url.clone(), cause }
    }
}

/// The hub's own key: from the environment, else from the state directory.
fn key(config: &Config) -> Result<(SecretString, KeyOrigin), AskError> {
    if let Some(key) = config::api_key_from_environment().map_err(AskError::Key)? {
        return Ok((key, KeyOrigin::Environment));
    }
    let path = config.daemon.state_dir.join(API_KEY_FILE);
    let hint = format!(
        "\nhint: run this on the hub's machine as the user of encoderd or as root, or set {}",
        config::API_KEY_VARIABLE
    );
    match keys::token(&path) {
        Ok(Some(key)) => Ok((key, KeyOrigin::File(path))),
        Ok(None) => Err(AskError::Key(format!("there is no API key in {}{hint}", path.display()))),
        Err(KeyError::Unreadable { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => {
            Err(AskError::Key(format!("no permission to read {}{hint}", path.display())))
        }
        Err(error) => Err(AskError::Key(error.to_string())),
    }
}
