//! Walks to the hub. Asks nothing that changes anything there: a report without content is refused after the token was
//! looked at.

use super::reasons::{certificate, is_tls, words};
use super::{Finding, Hop};
use crate::api::acs_users::AcsUser;
use crate::api::envelope::Object as _;
use crate::api::user_identities::UserIdentity;
use crate::api::webhooks::{Webhook, WebhookDelivery};
use crate::clock;
use crate::config::Config;
use crate::control::StatusAnswer;
use crate::keys::{API_KEY_FILE, BRIDGE_TOKEN_FILE, token};
use crate::probe::Who;
use jiff::Timestamp;
use reqwest::{Client, Response, StatusCode, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

/// How long each hop may take.
const BOUND: Duration = Duration::from_secs(5);

/// Deliveries of a webhook that are looked at.
const DELIVERIES: u32 = 20;

/// Guests whose names are learnt, to be taken out of support bundles.
const GUESTS: u32 = 1000;

/// What was met on the way to the hub.
#[derive(Debug, Default)]
pub(in crate::probe) struct Walk {
    /// What each hop found, up to the first that is broken.
    pub(in crate::probe) steps: Vec<Finding>,
    /// The hub's clock and this PC's, at the same moment.
    pub(in crate::probe) date: Option<(Timestamp, Timestamp)>,
    /// The embedded hub's webhooks and what became of their last deliveries; `None` where they are not to be seen.
    pub(in crate::probe) webhooks: Option<Vec<(Webhook, Vec<WebhookDelivery>)>>,
    /// What the hub counts, as Prometheus reads it; `None` where it does not tell.
    pub(in crate::probe) metrics: Option<String>,
    /// Guests' names and addresses that the embedded hub knows, for taking them out of texts.
    pub(in crate::probe) guests: Vec<String>,
}

/// A hop was broken; the finding has been noted.
struct Broken;

/// Who goes there, and with what.
struct Walker<'a> {
    walk: Walk,
    url: &'a str,
    /// The hub is this daemon's own.
    is_own: bool,
    token_file: PathBuf,
}

impl Walk {
    /// Walks to the hub that the running daemon works for, or would.
    pub(in crate::probe) async fn walk(config: &Config, status: Option<&StatusAnswer>) -> Self {
        let running = status.map(|status| status.hub_url.as_str());
        let Some(url) = running.or(config.cloud.as_ref().map(|cloud| cloud.url.as_str())) else {
            let steps = vec![Finding::note(Hop::Http.name(), "the embedded hub starts with encoderd")];
            return Self { steps, ..Self::default() };
        };
        let own_token = || config.daemon.state_dir.join(BRIDGE_TOKEN_FILE);
        let mut walker = Walker {
            walk: Self::default(),
            url: url.trim_end_matches('/'),
            is_own: config.cloud.is_none(),
            token_file: config.cloud.as_ref().map_or_else(own_token, |cloud| cloud.token_file.clone()),
        };
        if let Ok(client) = walker.reach().await
            && walker.show_token(&client).await.is_ok()
            && walker.is_own
            && let Ok(Some(key)) = token(&config.daemon.state_dir.join(API_KEY_FILE))
        {
            walker.walk.webhooks = webhooks(&client, walker.url, &key).await;
            walker.walk.metrics = metrics(&client, walker.url, &key).await;
            walker.walk.guests = guests(&client, walker.url, &key).await;
        }
        walker.walk
    }
}

impl Walker<'_> {
    fn fine(&mut self, hop: Hop, message: String) {
        self.walk.steps.push(Finding::fine(hop.name(), message));
    }

    fn broken(&mut self, hop: Hop, message: String, remedy: impl Into<String>, who: Who) -> Broken {
        self.walk.steps.push(Finding::failed(hop.name(), message).remedy(remedy).by(who));
        Broken
    }

    /// From the name to an answer of a hub.
    async fn reach(&mut self) -> Result<Client, Broken> {
        let address = self.url.to_owned();
        let Some((url, host, port)) = parsed(&address) else {
            let message = format!("{address} is no address of a hub");
            return Err(self.broken(Hop::Dns, message, "correct [cloud] url", Who::It));
        };
        let addresses = self.name(&host, port).await?;
        self.connection(&host, port, &addresses).await?;
        let client = Client::builder().connect_timeout(BOUND).redirect(reqwest::redirect::Policy::none()).build();
        let client = client.map_err(|error| {
            self.broken(
                Hop::Tls,
                format!("TLS cannot be set up: {}", words(&error)),
                "sudo apt install ca-certificates",
                Who::It,
            )
        })?;
        let sent = client.get(format!("{address}/healthz")).timeout(BOUND).send().await;
        let answer = sent.map_err(|error| self.no_answer(&url, &error))?;
        if url.scheme() == "https" {
            self.fine(Hop::Tls, format!("{host} shows a certificate that this PC trusts"));
        }
        self.is_hub(answer).await?;
        Ok(client)
    }

    async fn name(&mut self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Broken> {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let found = timeout(BOUND, lookup_host((host, port))).await;
        let addresses: Vec<SocketAddr> = found.ok().and_then(Result::ok).map(Iterator::collect).unwrap_or_default();
        if addresses.is_empty() {
            let message = format!("the hub's name {host} has no address: this PC has no network, or the name is wrong");
            let remedy =
                format!("plug the network in; then: getent hosts {host}; if other names work, correct [cloud] url");
            return Err(self.broken(Hop::Dns, message, remedy, Who::It));
        }
        if host.parse::<std::net::IpAddr>().is_err() {
            let shown: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
            self.fine(Hop::Dns, format!("{host} is {}", shown.join(", ")));
        }
        Ok(addresses)
    }

    async fn connection(&mut self, host: &str, port: u16, addresses: &[SocketAddr]) -> Result<(), Broken> {
        let mut refused = false;
        for address in addresses {
            match timeout(BOUND, TcpStream::connect(address)).await {
                Ok(Ok(_)) => {
                    self.fine(Hop::Tcp, format!("{address} takes connections"));
                    return Ok(());
                }
                Ok(Err(error)) => refused |= error.kind() == std::io::ErrorKind::ConnectionRefused,
                Err(_) => {}
            }
        }
        let is_own = self.is_own;
        let (message, remedy, who) = if refused && is_own {
            let message = format!("encoderd runs and its own hub does not take connections at port {port}");
            (message, "sudo systemctl restart encoderd".to_owned(), Who::It)
        } else if refused {
            let message =
                format!("{host} refuses connections at port {port}: the hub does not run there, or at another port");
            (
                message,
                format!(
                    "on the hub's machine: sudo systemctl start encoderd, and see `listen`; from here: nc -vz {host} {port}"
                ),
                Who::HubOperator,
            )
        } else {
            let message = format!("nobody answers at {host}, port {port}: no way there, or a firewall drops it");
            (
                message,
                format!("let port {port} to {host} through the firewall; from here: nc -vz {host} {port}"),
                Who::It,
            )
        };
        Err(self.broken(Hop::Tcp, message, remedy, who))
    }

    fn no_answer(&mut self, url: &Url, error: &reqwest::Error) -> Broken {
        let words = words(error);
        tracing::debug!(%words, "no answer");
        let host = url.host_str().unwrap_or_default();
        if url.scheme() == "https" && is_tls(&words) {
            let (why, remedy) = certificate(&words);
            let port = url.port_or_known_default().unwrap_or(443);
            let remedy = remedy.replace("HOST:PORT", &format!("{host}:{port}"));
            return self.broken(Hop::Tls, format!("{host}: {why}"), remedy, Who::It);
        }
        let why = if error.is_timeout() { "does not answer in time" } else { "ends the connection without an answer" };
        let message = format!("{host} takes connections and {why}");
        self.broken(Hop::Http, message, format!("curl --verbose {}healthz", slashed(url)), Who::HubOperator)
    }

    /// A hub says `{"ok": true}`; a portal of a guest network, a proxy or a printer says something else.
    async fn is_hub(&mut self, answer: Response) -> Result<(), Broken> {
        let (url, status) = (self.url.to_owned(), answer.status());
        let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let (date, location) = (header("date"), header("location"));
        if status.is_redirection() {
            let to = location.unwrap_or_else(|| "another address".to_owned());
            let message = format!("{url} sends on to {to}: a guest network's portal, or the hub has moved");
            return Err(self.broken(
                Hop::Http,
                message,
                format!("open {url}/healthz in a browser; if the hub has moved, correct [cloud] url"),
                Who::It,
            ));
        }
        if status == StatusCode::UNAUTHORIZED || status == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
            let message =
                format!("{url} asks for a password before the hub is reached ({status}): a proxy stands between");
            return Err(self.broken(
                Hop::Http,
                message,
                "let /bridge/v1/ and /healthz through that proxy without a password of its own",
                Who::HubOperator,
            ));
        }
        if status.is_server_error() {
            let message = format!("the hub at {url} answers {status}: it is there and cannot work");
            return Err(self.broken(
                Hop::Http,
                message,
                "on the hub's machine: sudo journalctl -u encoderd -n 30",
                Who::HubOperator,
            ));
        }
        let body: Value = timeout(BOUND, answer.json()).await.ok().and_then(Result::ok).unwrap_or_default();
        if !status.is_success() || body.get("ok") != Some(&Value::Bool(true)) {
            let message = format!("what answers at {url} ({status}) is no hub of encoderd's");
            return Err(self.broken(
                Hop::Http,
                message,
                format!("correct [cloud] url; a hub says {{\"ok\":true}} to: curl {url}/healthz"),
                Who::It,
            ));
        }
        self.walk.date = date.and_then(|date| http_date(&date)).map(|hub| (hub, clock::wall()));
        self.fine(Hop::Http, format!("{url} is a hub and answers"));
        Ok(())
    }

    async fn show_token(&mut self, client: &Client) -> Result<(), Broken> {
        let file = self.token_file.clone();
        let path = file.display();
        let Ok(Some(token)) = token(&file) else {
            // A file that is missing or open to others `keys` has told of.
            if file.exists()
                || std::fs::metadata(&file).is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
            {
                let note = Finding::note(
                    Hop::Token.name(),
                    format!("this user cannot read {path}, so the token is not tried"),
                );
                self.walk.steps.push(note.remedy("sudo encoderd probe"));
            }
            return Err(Broken);
        };
        let (url, sent) = (
            self.url.to_owned(),
            post(client, &format!("{}/bridge/v1/jobs/progress", self.url), &token, &json!({})).await,
        );
        let pair =
            format!("sudo encoderd pair {url} CODE; whoever runs the hub gets the code from: encoderd admin pair");
        match sent.map(|answer| answer.status()) {
            Ok(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) if self.is_own => {
                let message =
                    format!("encoderd's own hub refuses the token in {path}: the file was changed while it ran");
                Err(self.broken(Hop::Token, message, "sudo systemctl restart encoderd", Who::It))
            }
            Ok(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                let message =
                    format!("the hub at {url} refuses this desk's token: it was revoked, or is another hub's");
                Err(self.broken(Hop::Token, message, pair, Who::HubOperator))
            }
            Ok(StatusCode::NOT_FOUND) => {
                let message = format!(
                    "the hub at {url} has no /bridge/v1/: it is not for desks, or a proxy keeps that from them"
                );
                Err(self.broken(Hop::Token, message, "let /bridge/v1/ through to the hub", Who::HubOperator))
            }
            Ok(status) if status.is_server_error() => {
                let message = format!("the hub at {url} answers {status} to this desk");
                Err(self.broken(
                    Hop::Token,
                    message,
                    "on the hub's machine: sudo journalctl -u encoderd -n 30",
                    Who::HubOperator,
                ))
            }
            Ok(_) => {
                self.fine(Hop::Token, "the hub takes this desk's token".to_owned());
                Ok(())
            }
            Err(error) => {
                let message =
                    format!("the hub at {url} ends the connection when the token is shown: {}", words(&error));
                Err(self.broken(
                    Hop::Token,
                    message,
                    format!("curl --verbose {url}/bridge/v1/jobs/progress"),
                    Who::HubOperator,
                ))
            }
        }
    }
}

fn parsed(address: &str) -> Option<(Url, String, u16)> {
    let url = Url::parse(address).ok()?;
    let (host, port) = (url.host_str()?.to_owned(), url.port_or_known_default()?);
    Some((url, host, port))
}

fn slashed(url: &Url) -> String {
    let url = url.to_string();
    if url.ends_with('/') { url } else { format!("{url}/") }
}

/// Source: RFC 9110, 5.6.7: `Sun, 06 Nov 1994 08:49:37 GMT`.
fn http_date(text: &str) -> Option<Timestamp> {
    let zoned = jiff::fmt::rfc2822::parse(&text.replace("GMT", "+0000")).ok()?;
    Some(zoned.timestamp())
}

async fn post(client: &Client, url: &str, token: &SecretString, body: &Value) -> reqwest::Result<Response> {
    client.post(url).bearer_auth(token.expose_secret()).timeout(BOUND).json(body).send().await
}

async fn listed<T: DeserializeOwned>(
    client: &Client,
    url: &str,
    key: &SecretString,
    body: &Value,
    many: &str,
) -> Option<Vec<T>> {
    let answer = post(client, url, key, body).await.ok().filter(|answer| answer.status().is_success())?;
    let mut body: Value = answer.json().await.ok()?;
    serde_json::from_value(body.get_mut(many)?.take()).ok()
}

async fn webhooks(client: &Client, url: &str, key: &SecretString) -> Option<Vec<(Webhook, Vec<WebhookDelivery>)>> {
    let webhooks: Vec<Webhook> =
        listed(client, &format!("{url}/webhooks/list"), key, &json!({}), Webhook::MANY).await?;
    let mut with_deliveries = Vec::new();
    for webhook in webhooks {
        let query =
            format!("{url}/encoderd/v1/webhook_deliveries?webhook_id={}&limit={DELIVERIES}", webhook.webhook_id);
        let answer = client.get(query).bearer_auth(key.expose_secret()).timeout(BOUND).send().await.ok()?;
        let mut body: Value = answer.json().await.ok()?;
        let deliveries = body.get_mut(WebhookDelivery::MANY).map(Value::take).unwrap_or_default();
        with_deliveries.push((webhook, serde_json::from_value(deliveries).unwrap_or_default()));
    }
    Some(with_deliveries)
}

/// Whoever the hub knows by name. It hands out a page of them; those who were entered last come first.
async fn guests(client: &Client, url: &str, key: &SecretString) -> Vec<String> {
    let mut guests = Vec::new();
    for (path, many) in [("/acs/users/list", AcsUser::MANY), ("/user_identities/list", UserIdentity::MANY)] {
        let body = json!({ "limit": GUESTS });
        let listed = listed::<Value>(client, &format!("{url}{path}"), key, &body, many).await.unwrap_or_default();
        for guest in listed {
            let texts = guest.as_object().into_iter().flatten().filter(|(name, _)| {
                ["name", "email", "phone"].iter().any(|part| name.contains(part)) && !name.ends_with("_id")
            });
            guests.extend(texts.filter_map(|(_, value)| value.as_str().map(str::to_owned)));
        }
    }
    guests
}

async fn metrics(client: &Client, url: &str, key: &SecretString) -> Option<String> {
    let answer =
        client.get(format!("{url}/metrics")).bearer_auth(key.expose_secret()).timeout(BOUND).send().await.ok()?;
    if answer.status().is_success() { answer.text().await.ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_of_http_is_understood() {
        let date = http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        assert_eq!(date.as_second(), 784_111_777);
        assert_eq!(http_date("yesterday"), None);
    }
}
