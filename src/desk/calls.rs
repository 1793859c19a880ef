//! What a page in a session may call: some of the hub's paths, and this PC's daemon.

use super::{Desk, Problem, body_of, private, refused};
use crate::control::{self, Answer, Request as Ask};
use crate::hub::Peer;
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use std::sync::Arc;
use tower::ServiceExt as _;
use uuid::Uuid;

/// The hub's paths that the page uses. The owner's key opens more, administration above all, which stays closed here.
pub(super) const PATHS: &[&str] = &[
    "/access_grants/create",
    "/access_grants/delete",
    "/access_grants/get",
    "/access_grants/list",
    "/access_grants/request_access_methods",
    "/access_grants/update",
    "/acs/credentials/delete",
    "/acs/credentials/get",
    "/acs/credentials/list",
    "/acs/credentials/list_accessible_entrances",
    "/acs/credentials/update",
    "/acs/encoders/encode_credential",
    "/acs/encoders/list",
    "/acs/encoders/scan_credential",
    "/acs/entrances/list",
    "/acs/systems/list",
    "/action_attempts/get",
    "/encoderd/v1/attempts",
    "/encoderd/v1/encoders",
    "/encoderd/v1/events",
    "/user_identities/get",
];

/// What of a request's head goes on to the hub.
const HEADERS: [header::HeaderName; 2] = [header::CONTENT_TYPE, header::ACCEPT];

/// How long a request to the daemon may be.
const ASK_BYTES_MAX: usize = 4096;

/// Calls the hub in process, as its owner.
pub(super) async fn hub(State(desk): State<Arc<Desk>>, Path(path): Path<String>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    if let Err((status, problem)) = desk.admit(&parts) {
        return refused(status, problem);
    }
    let path = format!("/{path}");
    if !PATHS.contains(&path.as_str()) || !matches!(parts.method, Method::GET | Method::POST) {
        return refused(StatusCode::NOT_FOUND, Problem::NoSuchPath);
    }
    let uri = match parts.uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    private(desk.call(&parts, &uri, body).await)
}

impl Desk {
    async fn call(&self, parts: &Parts, uri: &str, body: Body) -> Response {
        let failed = || refused(StatusCode::INTERNAL_SERVER_ERROR, Problem::Failed);
        let key = self.local.as_ref().map(|local| format!("Bearer {}", local.api_key.expose_secret()));
        let Some(mut key) = key.and_then(|key| HeaderValue::from_str(&key).ok()) else { return failed() };
        key.set_sensitive(true);
        let Ok(mut request) = Request::builder().method(parts.method.clone()).uri(uri).body(body) else {
            return failed();
        };
        let headers = request.headers_mut();
        headers.insert(header::AUTHORIZATION, key);
        for name in HEADERS {
            if let Some(value) = parts.headers.get(&name) {
                headers.insert(name, value.clone());
            }
        }
        if let Some(peer) = parts.extensions.get::<Peer>() {
            request.extensions_mut().insert(*peer);
        }
        match self.hub.clone().oneshot(request).await {
            Ok(answer) => answer,
            Err(never) => match never {},
        }
    }
}

/// What an action needs; each has its own of these.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Order {
    /// Device identity or encoder id.
    device: String,
    /// To link to.
    acs_encoder_id: Option<Uuid>,
    /// The new name.
    name: Option<String>,
    /// The card that is meant.
    card_number: Option<String>,
}

/// Asks this PC's daemon. The path's last word says what; the answer is the control socket's.
pub(super) async fn encoders(State(desk): State<Arc<Desk>>, Path(action): Path<String>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    if let Err((status, problem)) = desk.admit(&parts) {
        return refused(status, problem);
    }
    let Some(order) = body_of::<Order>(body, ASK_BYTES_MAX).await else {
        return refused(StatusCode::BAD_REQUEST, Problem::BadRequest);
    };
    let Order { device, acs_encoder_id, name, card_number } = order;
    let ask = match (action.as_str(), acs_encoder_id, name, card_number) {
        ("list", ..) => Ask::Status,
        ("wink", ..) => Ask::Wink { device },
        ("unlink", ..) => Ask::Unlink { device },
        ("card", ..) => Ask::CardInfo { device: Some(device) },
        ("link", Some(id), ..) => Ask::Link { device, encoder: id.to_string(), take_over: false },
        ("rename", _, Some(name), _) => Ask::Rename { device, name },
        ("erase", _, _, Some(card_number)) => Ask::CardErase { device: Some(device), card_number },
        ("link" | "rename" | "erase", ..) => return refused(StatusCode::BAD_REQUEST, Problem::BadRequest),
        (..) => return refused(StatusCode::NOT_FOUND, Problem::NoSuchPath),
    };
    let Some(daemon) = desk.local.as_ref().and_then(|local| local.daemon.get()) else {
        return refused(StatusCode::SERVICE_UNAVAILABLE, Problem::NotReady);
    };
    let answer = control::answer(ask, daemon).await;
    if let Answer::Erased { acs_credential_id: Some(id), .. } = &answer
        && !desk.forget(parts, *id).await
    {
        return refused(StatusCode::INTERNAL_SERVER_ERROR, Problem::Failed);
    }
    let status = match &answer {
        Answer::Error { .. } => StatusCode::CONFLICT,
        Answer::Status(_)
        | Answer::Card(_)
        | Answer::CardWork(_)
        | Answer::Erased { .. }
        | Answer::AccountEncoders(_)
        | Answer::Done => StatusCode::OK,
    };
    private((status, Json(answer)))
}

impl Desk {
    /// Deletes the credential of a card that was erased: nothing is left that it could open doors with, and the guest's other
    /// cards stay what they are. Only then, because a card that still opens must not be forgotten. One that the hub does
    /// not know is deleted already.
    async fn forget(&self, mut parts: Parts, credential: Uuid) -> bool {
        parts.method = Method::POST;
        parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let body = serde_json::json!({ "acs_credential_id": credential }).to_string();
        let answer = self.call(&parts, "/acs/credentials/delete", Body::from(body)).await;
        let done = answer.status().is_success() || answer.status() == StatusCode::NOT_FOUND;
        if !done {
            tracing::error!(%credential, status = %answer.status(), "the credential of an erased card is not deleted");
        }
        done
    }
}
