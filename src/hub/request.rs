//! Parameters of a request: from the query string, from a JSON body, or from both.
//!
//! The SDKs send reads as GET with a query and as POST with a body, so every endpoint takes either; what stands in both
//! is taken from the body. In a query everything is text: `a=x&a=y` is a list and so is a single `a=x` where a list
//! belongs, `a=` is an empty list or null, `a.b=1` nests, and numbers and booleans are read where they belong.
//! Parameters that an endpoint does not know, such as the SDKs' `_strict=true`, are ignored.

mod given;

use self::given::Given;
use super::error::{ApiError, Invalid};
use crate::api::Pagination;
use crate::api::envelope::{Many, Object};
use crate::api::parameters::{LIMIT_DEFAULT, Limit};
use crate::store::hub::select::{Cursor, Page, Paged};
use axum::body::{Body, HttpBody as _};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

/// The longest body. The largest honest one, an access grant with a thousand doors, has 40 kB.
const BODY_BYTES_MAX: usize = 1 << 20;

/// How much of a longer body is read and thrown away, so that the caller gets to read the answer.
const DRAIN_BYTES_MAX: usize = 16 << 20;

/// How long a body may take to arrive.
const BODY_TIME_MAX: Duration = Duration::from_secs(15);

/// Reads the parameters of a request.
pub(super) async fn read<T: DeserializeOwned>(parts: &Parts, body: Body) -> Result<T, ApiError> {
    let mut parameters = given::from_query(parts.uri.query().unwrap_or_default())?;
    if parts.method != Method::GET && parts.method != Method::HEAD {
        let bytes = tokio::time::timeout(BODY_TIME_MAX, whole(body)).await.map_err(|_| ApiError::TooSlow)??;
        parameters.append(&mut from_body(&parts.headers, &bytes)?);
    }
    Ok(T::deserialize(Given::Object(parameters))?)
}

async fn whole(mut body: Body) -> Result<Vec<u8>, ApiError> {
    let mut bytes = Vec::new();
    let mut seen = 0usize;
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let frame = frame.map_err(|_| Invalid::whole("The body broke off."))?;
        let Ok(data) = frame.into_data() else { continue };
        seen = seen.saturating_add(data.len());
        if seen <= BODY_BYTES_MAX {
            bytes.extend_from_slice(&data);
        } else if seen > DRAIN_BYTES_MAX {
            break;
        }
    }
    if seen > BODY_BYTES_MAX { Err(ApiError::TooLarge { limit_bytes: BODY_BYTES_MAX }) } else { Ok(bytes) }
}

fn from_body(headers: &HeaderMap, bytes: &[u8]) -> Result<BTreeMap<String, Given>, Invalid> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(BTreeMap::new());
    }
    if !is_json(headers) {
        return Err(Invalid::whole("Send parameters as JSON with the header `content-type: application/json`"));
    }
    let value: serde_json::Value =
        serde_json::from_slice(bytes).map_err(|error| Invalid::whole(format!("Malformed JSON: {error}")))?;
    let given = Given::from(value);
    let kind = given.kind();
    if let Given::Object(parameters) = given {
        Ok(parameters)
    } else {
        Err(Invalid::whole(format!("Expected object, received {kind}")))
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return false };
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

/// Reads which page of a list is asked for, and writes lists with the address of their next page.
pub(super) struct Pages {
    /// The list.
    path: String,
    /// Scheme, host, path and query of a GET, without its cursor.
    url: Option<String>,
}

impl Pages {
    /// Which list a request asks for.
    pub(super) fn of(parts: &Parts) -> Self {
        let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let url = match host {
            Some(host) if parts.method == Method::GET => {
                let kept = parts.uri.query().unwrap_or_default().split('&');
                let kept: String = kept
                    .filter(|pair| !pair.is_empty() && !pair.starts_with("page_cursor="))
                    .flat_map(|pair| [pair, "&"])
                    .collect();
                Some(format!("http://{host}{}?{kept}", parts.uri.path()))
            }
            Some(_) | None => None,
        };
        Self { path: parts.uri.path().to_owned(), url }
    }

    /// Reads `limit` and `page_cursor`.
    pub(super) fn page(&self, limit: &Limit, cursor: Option<&str>) -> Result<Page, Invalid> {
        self.page_or(limit, cursor, LIMIT_DEFAULT)
    }

    /// Reads `limit` and `page_cursor` where the default is not the usual one.
    pub(super) fn page_or(&self, limit: &Limit, cursor: Option<&str>, default: u32) -> Result<Page, Invalid> {
        let invalid = || Invalid::parameter("page_cursor", "Invalid cursor");
        let after = cursor.map(|cursor| Cursor::parse(cursor, &self.path).ok_or_else(invalid)).transpose()?;
        Ok(Page { limit: limit.or(default), after })
    }

    /// A page of a list.
    pub(super) fn answer<T: Object>(&self, page: Paged<T>) -> Many<T> {
        let cursor = page.next.map(|cursor| cursor.text(&self.path));
        // Of base64's characters these two and the filling mean something in a query.
        let escaped = cursor.as_ref().map(|cursor| cursor.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D"));
        let pagination = Pagination {
            has_next_page: cursor.is_some(),
            next_page_url: self.url.as_ref().zip(escaped).map(|(url, cursor)| format!("{url}page_cursor={cursor}")),
            next_page_cursor: cursor,
        };
        Many { items: page.items, pagination: Some(pagination) }
    }
}
