//! The page's files, in the program itself: nothing to install, nothing to fetch from elsewhere.

use super::{Problem, refused};
use axum::extract::Path;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

/// What the page may do: run its own scripts, show its own styles and picture, talk to where it comes from. Nobody may show
/// it in a frame, so that no click on it is somebody else's.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Name, type and content of each.
pub(super) const FILES: &[(&str, &str, &str)] = &[
    ("style.css", CSS, include_str!("page/style.css")),
    ("app.js", SCRIPT, include_str!("page/app.js")),
    ("client.js", SCRIPT, include_str!("page/client.js")),
    ("dom.js", SCRIPT, include_str!("page/dom.js")),
    ("flow.js", SCRIPT, include_str!("page/flow.js")),
    ("language.js", SCRIPT, include_str!("page/language.js")),
    ("times.js", SCRIPT, include_str!("page/times.js")),
    ("view_encoders.js", SCRIPT, include_str!("page/view_encoders.js")),
    ("view_guests.js", SCRIPT, include_str!("page/view_guests.js")),
    ("view_history.js", SCRIPT, include_str!("page/view_history.js")),
    ("view_key.js", SCRIPT, include_str!("page/view_key.js")),
    ("view_read.js", SCRIPT, include_str!("page/view_read.js")),
    ("words.json", "application/json", include_str!("page/words.json")),
    ("icon.svg", "image/svg+xml", include_str!("page/icon.svg")),
];

pub(super) async fn page() -> Response {
    answer(HTML, include_str!("page/index.html"))
}

pub(super) async fn file(Path(name): Path<String>) -> Response {
    match FILES.iter().find(|(found, _, _)| *found == name) {
        Some((_, kind, content)) => answer(kind, content),
        None => refused(StatusCode::NOT_FOUND, Problem::NoSuchPath),
    }
}

fn answer(kind: &'static str, content: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        // An upgraded program's files must fit each other, and they come from this PC in no time.
        (header::CACHE_CONTROL, "no-cache"),
    ];
    let mut answer = (headers, content).into_response();
    for name in ["cross-origin-opener-policy", "cross-origin-resource-policy"] {
        answer.headers_mut().insert(name, HeaderValue::from_static("same-origin"));
    }
    answer
}
