//! Who may ask: the API key for the Seam API, the bridge token for the bridge protocol, and never one for the other.

use super::Hub;
use super::error::ApiError;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;

/// Lets requests with the API key through.
pub(super) async fn with_api_key(State(hub): State<Hub>, request: Request, next: Next) -> Response {
    if carries(request.headers(), hub.api_key()) {
        next.run(request).await
    } else {
        ApiError::Unauthorized.into_response()
    }
}

/// Lets requests with the bridge token through.
pub(super) async fn with_bridge_token(State(hub): State<Hub>, request: Request, next: Next) -> Response {
    if carries(request.headers(), hub.bridge_token()) {
        next.run(request).await
    } else {
        ApiError::Unauthorized.into_response()
    }
}

/// Compares in constant time, so that a wrong key does not tell how much of it is right.
fn carries(headers: &HeaderMap, secret: &SecretString) -> bool {
    let given = headers.get(header::AUTHORIZATION).map(axum::http::HeaderValue::as_bytes).unwrap_or_default();
    let token = match given.split_at_checked("Bearer ".len()) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"Bearer ") => token,
        Some(_) | None => return false,
    };
    let secret = secret.expose_secret().as_bytes();
    !secret.is_empty() && bool::from(token.ct_eq(secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_key_opens() {
        let secret = SecretString::from("seam_right");
        let with = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            carries(&headers, &secret)
        };
        assert!(with("Bearer seam_right") && with("bearer seam_right"));
        for wrong in ["Bearer seam_wrong", "Bearer seam_righ", "Bearer seam_right ", "seam_right", "Bearer ", ""] {
            assert!(!with(wrong), "{wrong}");
        }
        assert!(!carries(&HeaderMap::new(), &secret));
        assert!(!carries(&HeaderMap::new(), &SecretString::from("")), "an empty secret opens for nobody");
    }
}
