//! How a delivery is signed: Svix's scheme, which is the symmetric one of Standard Webhooks.
//!
//! HMAC-SHA256 over `<id>.<timestamp>.<body>`, keyed with what the base64 after `whsec_` stands for. The id is the
//! event's, the same on every try: receivers recognise a repetition by it. The timestamp is that of the try; receivers
//! refuse one that is more than five minutes off.
//!
//! Source: Standard Webhooks 1.0.0, "Signature scheme"; docs.svix.com, "Verifying Webhooks Manually".

use crate::api::id::EventId;
use crate::api::webhooks::WebhookSecret;
use crate::clock;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

/// What a secret starts with.
const PREFIX: &str = "whsec_";

/// Random bytes of a new secret: what Svix's own have, and the least that Standard Webhooks allows.
const SECRET_BYTES: usize = 24;

/// Makes a secret.
pub(crate) fn new_secret() -> Result<WebhookSecret, getrandom::Error> {
    let mut random = Zeroizing::new([0; SECRET_BYTES]);
    getrandom::fill(random.as_mut())?;
    Ok(WebhookSecret::new(format!("{PREFIX}{}", STANDARD.encode(random.as_ref()))))
}

/// The three headers of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Headers {
    /// `svix-id`
    pub(super) id: String,
    /// `svix-timestamp`
    pub(super) timestamp: String,
    /// `svix-signature`
    pub(super) signature: String,
}

/// Signs a try that is made now. `None`: the secret is none.
pub(super) fn sign(secret: &WebhookSecret, event: EventId, body: &str) -> Option<Headers> {
    let id = format!("msg_{}", event.0.simple());
    let timestamp = clock::wall().as_second().to_string();
    let signature = signature(secret, &id, &timestamp, body)?;
    Some(Headers { id, timestamp, signature })
}

fn signature(secret: &WebhookSecret, id: &str, timestamp: &str, body: &str) -> Option<String> {
    let key = Zeroizing::new(STANDARD.decode(secret.reveal().strip_prefix(PREFIX)?).ok()?);
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).ok()?;
    for part in [id, ".", timestamp, ".", body] {
        mac.update(part.as_bytes());
    }
    Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_those_of_the_official_libraries() {
        // Computed with PyPI svix 1.99.1, `Webhook(secret).sign(id, timestamp, body)`, and the same from PyPI
        // standardwebhooks 1.1.0. The first is also the worked example of docs.svix.com, "Verifying Webhooks Manually".
        let vectors = [
            (
                "whsec_plJ3nmyCDGBKInavdOK15jsl",
                "msg_loFOjxBNrRLzqYUf",
                "1731705121",
                r#"{"event_type":"ping","data":{"success":true}}"#,
                "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=",
            ),
            (
                "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
                "msg_p5jXN8AQM9LWM0D4loKWxJek",
                "1614265330",
                r#"{"test": 2432232314}"#,
                "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            ),
            (
                "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
                "msg_00000000000040008000000000000000",
                "0",
                r#"{"name":"Zimmer 101 · Müller"}"#,
                "v1,AjTw28HnxBewlFGFFMEofyiYCjFNRi6uOjluLkuexhc=",
            ),
            (
                "whsec_////////////////////////////////",
                "msg_x",
                "4102444800",
                "",
                "v1,FbSZ0zFsKsigJ+TGhUX/7nBVwRQiX7RArzyaALJDgZk=",
            ),
        ];
        for (secret, id, timestamp, body, expected) in vectors {
            let secret = WebhookSecret::new(secret.to_owned());
            assert_eq!(signature(&secret, id, timestamp, body).as_deref(), Some(expected));
        }
    }

    #[test]
    fn a_secret_is_random_long_enough_and_does_not_print() {
        let (one, two) = (new_secret().unwrap(), new_secret().unwrap());
        assert_ne!(one.reveal(), two.reveal());
        let key = STANDARD.decode(one.reveal().strip_prefix(PREFIX).unwrap()).unwrap();
        assert!((24..=64).contains(&key.len()));
        assert!(!format!("{one:?}").contains(one.reveal()));
    }

    #[test]
    fn a_try_is_signed_with_the_events_id_and_the_time() {
        let (secret, event) = (new_secret().unwrap(), EventId::random());
        let headers = sign(&secret, event, "{}").unwrap();
        assert_eq!(headers.id, format!("msg_{}", event.to_string().replace('-', "")));
        assert!(!headers.id.contains('.'), "the parts that are signed are told apart by full stops");
        let age = clock::wall().as_second() - headers.timestamp.parse::<i64>().unwrap();
        assert!((0..=5).contains(&age));
        assert_eq!(signature(&secret, &headers.id, &headers.timestamp, "{}"), Some(headers.signature));
        assert_eq!(sign(&WebhookSecret::new("no secret".to_owned()), event, "{}"), None);
    }
}
