//! The clerk's page at `/`: static files, and what stands between a browser at this PC and the hub.
//!
//! | path | what it does |
//! | --- | --- |
//! | `/`, `/desk/<file>` | the page; no secrets, so for everybody |
//! | `/desk/session` | begins a session without a password for a browser at this PC, behind the PIN if there is one |
//! | `/desk/api/<path>` | a path of the hub, out of [`calls::PATHS`], with the owner's key put in |
//! | `/desk/encoders/<action>` | what only this PC's daemon can do: wink, link, look at a card, erase it |
//!
//! From another PC, or on a hub without a daemon, the page asks for an API key and talks to the hub's own paths.

mod access;
mod calls;
mod files;
mod session;
#[cfg(test)]
mod words;

use crate::control;
use crate::hub::Front;
use access::Here;
use axum::Json;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get, post};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use session::{NoSession, Sessions};
use std::sync::{Arc, OnceLock};

/// The header that only the page itself can send: a form or a link of another page cannot set it.
const CSRF: &str = "x-encoderd-csrf";

/// What the page needs to work without a key at this PC.
#[derive(Clone, Debug)]
pub(crate) struct Local {
    /// The hub's own key, which the page never sees.
    pub(crate) api_key: SecretString,
    /// `[desk] pin`
    pub(crate) pin: Option<SecretString>,
    /// The daemon, from when it runs on: the hub answers before its daemon does.
    pub(crate) daemon: Arc<OnceLock<control::Context>>,
}

/// The page in front of a hub. Without a daemon at this PC it needs a key.
pub(crate) fn front(local: Option<Local>) -> Front {
    Front(Arc::new(move |hub| {
        let desk = Arc::new(Desk {
            hub: hub.clone(),
            sessions: Sessions::new(local.as_ref().and_then(|local| local.pin.clone())),
            local: local.clone(),
        });
        let own = Router::new()
            .route("/", get(files::page))
            .route("/desk/{file}", get(files::file))
            .route("/desk/session", post(begin).delete(end))
            .route("/desk/api/{*path}", any(calls::hub))
            .route("/desk/encoders/{action}", post(calls::encoders))
            .with_state(desk);
        hub.merge(own)
    }))
}

/// What the page's paths share.
struct Desk {
    hub: Router,
    sessions: Sessions,
    local: Option<Local>,
}

/// What the page asks for when it begins.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Begin {
    pin: Option<String>,
}

/// How the page is to work.
#[derive(Debug, Serialize)]
#[serde(tag = "mode", rename_all = "snake_case")]
enum Began {
    /// Without a key: this PC's own.
    Local { csrf: String, has_pin: bool },
    /// The page asks for an API key.
    Key,
}

/// Why the page may not go on, in a word that it has a sentence for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Problem {
    PinNeeded,
    PinWrong,
    TooManyTries,
    NoSession,
    NotAllowed,
    NoSuchPath,
    BadRequest,
    NotReady,
    Failed,
}

/// How long a request to begin may be.
const BEGIN_BYTES_MAX: usize = 1024;

async fn begin(State(desk): State<Arc<Desk>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let (Some(_), Some(here)) = (&desk.local, here(&parts)) else { return private(Json(Began::Key)) };
    if !here.is_origin(&parts.headers, true) {
        return refused(StatusCode::FORBIDDEN, Problem::NotAllowed);
    }
    let has_pin = desk.sessions.has_pin();
    if let Some(csrf) = cookie(&parts.headers, &here).and_then(|token| desk.sessions.csrf(token)) {
        return private(Json(Began::Local { csrf, has_pin }));
    }
    let Some(Begin { pin }) = body_of(body, BEGIN_BYTES_MAX).await else {
        return refused(StatusCode::BAD_REQUEST, Problem::BadRequest);
    };
    match desk.sessions.begin(pin.as_deref()) {
        Ok(begun) => {
            let mut answer = private(Json(Began::Local { csrf: begun.csrf, has_pin }));
            set_cookie(&mut answer, &here, &begun.token, "");
            answer
        }
        Err(NoSession::PinNeeded) => refused(StatusCode::UNAUTHORIZED, Problem::PinNeeded),
        Err(NoSession::PinWrong) => refused(StatusCode::UNAUTHORIZED, Problem::PinWrong),
        Err(NoSession::TooMany(wait)) => {
            let mut answer = refused(StatusCode::TOO_MANY_REQUESTS, Problem::TooManyTries);
            answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs() + 1));
            answer
        }
        Err(NoSession::NoRandomness) => refused(StatusCode::INTERNAL_SERVER_ERROR, Problem::Failed),
    }
}

/// Ends the session, so that the PIN is asked for again.
async fn end(State(desk): State<Arc<Desk>>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let here = match desk.admit(&parts) {
        Ok(here) => here,
        Err(refused) => return refused,
    };
    if let Some(token) = cookie(&parts.headers, &here) {
        desk.sessions.end(token);
    }
    let mut answer = private(StatusCode::NO_CONTENT);
    set_cookie(&mut answer, &here, "", "; Max-Age=0");
    answer
}

impl Desk {
    /// Looks whether a request is this page's, at this PC, in a session.
    fn admit(&self, parts: &Parts) -> Result<Here, Response> {
        let not_allowed = || refused(StatusCode::FORBIDDEN, Problem::NotAllowed);
        let here = here(parts).filter(|_| self.local.is_some()).ok_or_else(not_allowed)?;
        if !here.is_origin(&parts.headers, !parts.method.is_safe()) {
            return Err(not_allowed());
        }
        let csrf = parts.headers.get(CSRF).and_then(|value| value.to_str().ok());
        let admitted = match (cookie(&parts.headers, &here), csrf) {
            (Some(token), Some(csrf)) => self.sessions.admits(token, csrf),
            (Some(_) | None, _) => false,
        };
        if admitted { Ok(here) } else { Err(refused(StatusCode::UNAUTHORIZED, Problem::NoSession)) }
    }
}

fn here(parts: &Parts) -> Option<Here> {
    Here::of(&parts.headers, &parts.uri, parts.version, &parts.extensions)
}

/// Cookies do not know of ports, so the port is in the name: another encoderd of this PC has its own.
fn cookie_name(here: &Here) -> String {
    format!("encoderd_desk_{}", here.port())
}

fn cookie<'a>(headers: &'a HeaderMap, here: &Here) -> Option<&'a str> {
    let name = cookie_name(here);
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(found, _)| *found == name).map(|(_, token)| token)
}

/// `SameSite=Strict`: no other page's request carries it. `HttpOnly`: no script sees it.
fn set_cookie(answer: &mut Response, here: &Here, token: &str, more: &str) {
    let cookie = format!("{}={token}; HttpOnly; SameSite=Strict; Path=/desk{more}", cookie_name(here));
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        answer.headers_mut().insert(header::SET_COOKIE, cookie);
    }
}

/// Reads a small JSON body; an empty one is the default.
async fn body_of<T: serde::de::DeserializeOwned + Default>(body: axum::body::Body, bytes_max: usize) -> Option<T> {
    let bytes = axum::body::to_bytes(body, bytes_max).await.ok()?;
    if bytes.is_empty() { Some(T::default()) } else { serde_json::from_slice(&bytes).ok() }
}

/// An answer that no cache keeps.
fn private(answer: impl axum::response::IntoResponse) -> Response {
    let mut answer = answer.into_response();
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

fn refused(status: StatusCode, problem: Problem) -> Response {
    #[derive(Serialize)]
    struct Refused {
        problem: Problem,
    }
    private((status, Json(Refused { problem })).into_response())
}
