//! One try: a signed POST, and what became of it.

use super::address::{Reach, Refused};
use super::signature;
use crate::store::hub::webhook_deliveries::Try;
use reqwest::{Client, StatusCode, Url, redirect};
use std::error::Error;
use std::net::IpAddr;
use std::time::Duration;

/// So much of an answer is read at most, and for so long: only so that its connection can serve the next made.
const ANSWER_BYTES_MAX: usize = 16 * 1024;
const ANSWER_READ_MAX: Duration = Duration::from_secs(1);

/// How long a connection is kept for the next made. Shorter than the 5 s after which Node.js closes one: a request
/// on a connection that is just being closed would count as a failure.
const IDLE_MAX: Duration = Duration::from_secs(4);

/// What a try was answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The receiver took it.
    Taken { status: u16 },
    /// The receiver wants no more of this webhook.
    Gone { status: u16 },
    /// Neither; why, for people.
    Failure { status: Option<u16>, error: String },
}

/// Makes tries.
#[derive(Clone, Debug)]
pub(super) struct Sender {
    client: Client,
    reach: Reach,
    answer: Duration,
}

/// Why a try came to no answer.
#[derive(Debug, thiserror::Error)]
enum Unsent {
    #[error("the webhook's address is no URL")]
    Url,
    #[error("the webhook's secret cannot be used")]
    Secret,
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    Request(reqwest::Error),
}

impl Unsent {
    /// The cause of all causes, which names what somebody can do something about. A URL is not part of it: it may hold
    /// a token.
    fn sentence(&self) -> String {
        match self {
            Self::Url | Self::Secret | Self::Refused(_) => self.to_string(),
            Self::Request(error) => {
                let mut cause: &dyn Error = error;
                while let Some(deeper) = cause.source() {
                    cause = deeper;
                }
                if error.source().is_none() { "the request could not be made".to_owned() } else { cause.to_string() }
            }
        }
    }
}

impl Sender {
    /// A sender that waits so long for an answer.
    pub(super) fn new(reach: Reach, answer: Duration) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .dns_resolver(reach)
            // A proxy would look the name up itself, and connect to what this hub must not.
            .no_proxy()
            .redirect(redirect::Policy::none())
            .pool_max_idle_per_host(1)
            .pool_idle_timeout(IDLE_MAX)
            .user_agent(concat!("encoderd/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { client, reach, answer })
    }

    /// Makes one try.
    pub(super) async fn send(&self, made: &Try) -> Answer {
        let failed = |status, error| Answer::Failure { status, error };
        let mut response = match tokio::time::timeout(self.answer, self.post(made)).await {
            Ok(Ok(response)) => response,
            Ok(Err(unsent)) => return failed(None, unsent.sentence()),
            Err(_) => return failed(None, format!("no answer within {:?}", self.answer)),
        };
        let status = response.status();
        let mut read = 0;
        let drain = async {
            while read < ANSWER_BYTES_MAX {
                let Ok(Some(chunk)) = response.chunk().await else { break };
                read += chunk.len();
            }
        };
        // The status is the answer, whether or not the rest comes.
        let _late = tokio::time::timeout(ANSWER_READ_MAX, drain).await;
        if status.is_success() {
            Answer::Taken { status: status.as_u16() }
        } else if status == StatusCode::GONE {
            Answer::Gone { status: status.as_u16() }
        } else if status.is_redirection() {
            failed(Some(status.as_u16()), format!("the receiver answered {status}; redirects are not followed"))
        } else {
            failed(Some(status.as_u16()), format!("the receiver answered {status}"))
        }
    }

    async fn post(&self, made: &Try) -> Result<reqwest::Response, Unsent> {
        let url = Url::parse(&made.url).map_err(|_| Unsent::Url)?;
        if let Some(address) = literal(&url) {
            self.reach.check(address)?;
        }
        let headers = signature::sign(&made.secret, made.event_id, &made.body).ok_or(Unsent::Secret)?;
        self.client
            .post(url)
            .header("content-type", "application/json")
            .header("svix-id", headers.id)
            .header("svix-timestamp", headers.timestamp)
            .header("svix-signature", headers.signature)
            .body(made.body.clone())
            .send()
            .await
            .map_err(Unsent::Request)
    }
}

/// The address that a URL names without the help of a resolver. The URL's own parser has read decimal, octal and short
/// forms by then: `http://2130706433/` has the host `127.0.0.1`.
fn literal(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_recognised_in_every_spelling() {
        for (url, address) in [
            ("http://127.0.0.1:80/x", Some("127.0.0.1")),
            ("http://2130706433/", Some("127.0.0.1")),
            ("http://0x7f000001/", Some("127.0.0.1")),
            ("http://0177.0.0.1/", Some("127.0.0.1")),
            ("http://127.1/", Some("127.0.0.1")),
            ("http://127.0.0.1./", Some("127.0.0.1")),
            ("http://%31%32%37.0.0.1/", Some("127.0.0.1")),
            ("http://127。0。0。1/", Some("127.0.0.1")),
            ("http://[::1]:8080/", Some("::1")),
            ("http://[::ffff:127.0.0.1]/", Some("::ffff:127.0.0.1")),
            ("http://[0:0:0:0:0:ffff:7f00:1]/", Some("::ffff:127.0.0.1")),
            ("http://localhost/", None),
            ("http://127.0.0.1.example.com/", None),
        ] {
            let expected = address.map(|address| address.parse::<IpAddr>().unwrap());
            assert_eq!(literal(&Url::parse(url).unwrap()), expected, "{url}");
        }
    }
}
