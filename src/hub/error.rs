//! What a request that failed is answered with.

use crate::api::admin::WrongLine;
use crate::api::envelope::{Failure, FailureDetail, Object};
use crate::store::StoreError;
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use std::error::Error;
use std::fmt::Display;
use std::time::Duration;

/// Why a request failed.
#[derive(Debug)]
pub(super) enum ApiError {
    /// No key, or a wrong one.
    Unauthorized,
    /// The key does not open this.
    Forbidden(String),
    /// A parameter is missing or malformed.
    InvalidInput(Invalid),
    /// There is no such object.
    NotFound { object: &'static str, data: Value },
    /// There is no such path.
    NoRoute,
    /// The path exists, but not with this method.
    MethodNotAllowed,
    /// The body is too long.
    TooLarge { limit_bytes: usize },
    /// The body did not arrive in time.
    TooSlow,
    /// Asked too often.
    TooMany { retry_after: Duration },
    /// A pairing code that opens nothing.
    PairingRefused,
    /// Some lines of a text are wrong.
    Lines { parameter: &'static str, wrong: Vec<WrongLine> },
    /// The system gave no randomness for a secret.
    NoRandomness,
    /// The database failed.
    Store(StoreError),
}

/// How long a caller is asked to wait when the database is out of reach.
const DATABASE_AGAIN: Duration = Duration::from_secs(2);

/// What is wrong with the parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Invalid {
    /// Where: the parameter, and inside it; empty for the whole.
    pub(super) path: Vec<String>,
    /// What, in the words of zod, which the API's own server uses.
    pub(super) message: String,
}

impl Invalid {
    /// Something wrong with the parameters as a whole.
    pub(super) fn whole(message: impl Into<String>) -> Self {
        Self { path: Vec::new(), message: message.into() }
    }

    /// Something wrong with one parameter.
    pub(super) fn parameter(name: &str, message: impl Into<String>) -> Self {
        Self { path: vec![name.to_owned()], message: message.into() }
    }

    /// zod's tree: `{"_errors": [], "acs_encoder_id": {"_errors": ["Required"]}}`.
    fn tree(&self) -> Value {
        let leaf = json!({ "_errors": [self.message] });
        self.path.iter().rev().fold(leaf, |inner, name| {
            let mut node = Map::new();
            node.insert("_errors".to_owned(), json!([]));
            node.insert(name.clone(), inner);
            Value::Object(node)
        })
    }

    fn sentence(&self) -> String {
        if self.path.is_empty() { self.message.clone() } else { format!("{}: {}", self.path.join("."), self.message) }
    }
}

impl ApiError {
    /// There is no object of this type with this id.
    pub(super) fn no<T: Object>(id: impl Display) -> Self {
        let key = format!("{}_id", T::ONE);
        Self::NotFound { object: T::ONE, data: json!({ key: id.to_string() }) }
    }

    /// There is no object of this type with this key.
    pub(super) fn no_such<T: Object>(data: Value) -> Self {
        Self::NotFound { object: T::ONE, data }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) | Self::PairingRefused => StatusCode::FORBIDDEN,
            Self::InvalidInput(_) | Self::Lines { .. } => StatusCode::BAD_REQUEST,
            Self::NotFound { .. } | Self::NoRoute => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Store(error) if error.is_passing() => StatusCode::SERVICE_UNAVAILABLE,
            Self::NoRandomness | Self::Store(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// When to try again, if that may help.
    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooMany { retry_after } => Some(*retry_after),
            Self::Store(error) if error.is_passing() => Some(DATABASE_AGAIN),
            Self::Unauthorized
            | Self::Forbidden(_)
            | Self::InvalidInput(_)
            | Self::NotFound { .. }
            | Self::NoRoute
            | Self::MethodNotAllowed
            | Self::TooLarge { .. }
            | Self::TooSlow
            | Self::PairingRefused
            | Self::Lines { .. }
            | Self::NoRandomness
            | Self::Store(_) => None,
        }
    }

    fn detail(&self) -> FailureDetail {
        let plain = |kind: &str, message: String| FailureDetail {
            kind: kind.to_owned(),
            message,
            data: None,
            validation_errors: None,
        };
        match self {
            Self::Unauthorized => plain(
                "unauthorized",
                "The key is missing or wrong. Send it as `Authorization: Bearer <key>`.".to_owned(),
            ),
            Self::Forbidden(message) => plain("forbidden", message.clone()),
            Self::InvalidInput(invalid) => {
                FailureDetail { validation_errors: Some(invalid.tree()), ..plain("invalid_input", invalid.sentence()) }
            }
            Self::NotFound { object, data } => FailureDetail {
                data: Some(data.clone()),
                ..plain(&format!("{object}_not_found"), format!("There is no such {object}."))
            },
            Self::NoRoute => plain("not_found", "There is no such path.".to_owned()),
            Self::MethodNotAllowed => {
                plain("method_not_allowed", "The path does not take this method; see the header `allow`.".to_owned())
            }
            Self::TooLarge { limit_bytes } => {
                plain("payload_too_large", format!("The body is longer than {limit_bytes} bytes."))
            }
            Self::TooSlow => plain("request_timeout", "The body did not arrive in time.".to_owned()),
            Self::TooMany { retry_after } => plain(
                "too_many_requests",
                format!("Too many requests with this key. Try again in {} s.", retry_after.as_secs().max(1)),
            ),
            Self::PairingRefused => plain(
                "pairing_code_refused",
                "The code is wrong, too old or used already. Ask for a new one: `encoderd admin pair`.".to_owned(),
            ),
            Self::Lines { parameter, wrong } => {
                let sentences: Vec<String> = wrong.iter().map(ToString::to_string).collect();
                let invalid = Invalid::parameter(parameter, sentences.join("; "));
                FailureDetail {
                    data: Some(json!({ "lines": wrong })),
                    validation_errors: Some(json!({ "_errors": [], *parameter: { "_errors": sentences } })),
                    ..plain("invalid_input", invalid.sentence())
                }
            }
            Self::NoRandomness => plain(
                "internal_error",
                "The hub's system gave no randomness to make a secret of. Try again.".to_owned(),
            ),
            Self::Store(error) if error.is_passing() => plain(
                "service_unavailable",
                "The hub cannot reach its database at the moment. Nothing is lost; try again in a moment.".to_owned(),
            ),
            Self::Store(_) => plain(
                "internal_error",
                "The hub could not read or write its database; its log says why. Try again.".to_owned(),
            ),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Invalid> for ApiError {
    fn from(invalid: Invalid) -> Self {
        Self::InvalidInput(invalid)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        if let Self::Store(error) = &self {
            let cause = error.source().map(ToString::to_string).unwrap_or_default();
            tracing::error!(error = %error, cause, "request failed");
        }
        let mut response = (self.status(), Json(Failure { error: self.detail(), ok: false })).into_response();
        if let Some(wait) = self.retry_after() {
            // Rounded up: who comes back too early is refused again.
            let seconds = wait.as_millis().div_ceil(1000);
            if let Ok(value) = HeaderValue::from_str(&seconds.to_string()) {
                response.headers_mut().insert(header::RETRY_AFTER, value);
            }
        }
        response
    }
}

/// The answer to a request whose handler panicked.
pub(super) fn panicked() -> Response {
    let error = FailureDetail {
        kind: "internal_error".to_owned(),
        message: "The hub failed at this request; its log says why.".to_owned(),
        data: None,
        validation_errors: None,
    };
    (StatusCode::INTERNAL_SERVER_ERROR, Json(Failure { error, ok: false })).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn validation_errors_have_the_shape_of_zod() {
        let nested = Invalid { path: vec!["a".to_owned(), "0".to_owned()], message: "Required".to_owned() };
        assert_eq!(nested.tree(), json!({ "_errors": [], "a": { "_errors": [], "0": { "_errors": ["Required"] } } }));
        assert_eq!(Invalid::whole("one of them").tree(), json!({ "_errors": ["one of them"] }));
    }
}
