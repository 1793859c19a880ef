//! All routes in one table; one file a resource.
//!
//! A line is a path, the methods that it takes and a handler; parameters and answer of the OpenAPI document come from the
//! handler's own types. Every path of the Seam API takes POST with a body; reads take GET with a query too, changes PATCH
//! or PUT, deletes DELETE. That is what the SDKs of different ages send.

mod access_grants;
mod access_methods;
mod acs_credentials;
mod acs_encoders;
mod acs_entrances;
mod acs_systems;
mod acs_users;
mod action_attempts;
mod admin;
mod bridge;
mod events;
mod health;
mod live_encoders;
mod simulate;
mod spaces;
mod user_identities;
mod webhooks;
mod workspaces;

use super::Hub;
use super::auth::Caller;
use super::call::{Call, Describe, Handler, describe, endless, service};
use super::error::{ApiError, Invalid};
use super::{openapi, stream};
use crate::api::acs_entrances::AcsEntrance;
use crate::api::events::Event;
use crate::api::health::Ready;
use crate::api::id::{AcsEntranceId, AcsSystemId, ElsewhereId};
use crate::api::parameters::AnyOf;
use crate::api::time::Time;
use crate::clock;
use crate::store::Connection;
use crate::store::hub::acs_credentials::Times;
use crate::telemetry::metrics;
use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, Method};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{MethodFilter, MethodRouter, get, on};
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::future::Future;

/// All routes.
fn table() -> Vec<Route> {
    vec![
        route("/access_grants/create", CREATE, access_grants::create),
        route("/access_grants/delete", REMOVE, access_grants::remove),
        route("/access_grants/get", READ, access_grants::get),
        route("/access_grants/list", READ, access_grants::list),
        route("/access_grants/request_access_methods", CREATE, access_grants::request_access_methods),
        route("/access_grants/update", CHANGE, access_grants::update),
        route("/access_methods/delete", REMOVE, access_methods::remove),
        route("/access_methods/assign_card", CREATE, access_methods::assign_card),
        route("/access_methods/encode", CREATE, access_methods::encode),
        route("/access_methods/get", READ, access_methods::get),
        route("/access_methods/list", READ, access_methods::list),
        route("/acs/credentials/assign", CHANGE, acs_credentials::assign),
        route("/acs/credentials/create", CREATE, acs_credentials::create),
        route("/acs/credentials/delete", REMOVE, acs_credentials::remove),
        route("/acs/credentials/get", READ, acs_credentials::get),
        route("/acs/credentials/list", READ, acs_credentials::list),
        route("/acs/credentials/list_accessible_entrances", READ, acs_credentials::list_accessible_entrances),
        route("/acs/credentials/unassign", CHANGE, acs_credentials::unassign),
        route("/acs/credentials/update", CHANGE, acs_credentials::update),
        route("/acs/encoders/encode_credential", CREATE, acs_encoders::encode_credential),
        route("/acs/encoders/get", READ, acs_encoders::get),
        route("/acs/encoders/list", READ, acs_encoders::list),
        route("/acs/encoders/scan_credential", CREATE, acs_encoders::scan_credential),
        route("/acs/encoders/scan_to_assign_credential", CREATE, acs_encoders::scan_to_assign),
        route("/acs/encoders/simulate/next_credential_encode_will_fail", CREATE, simulate::encode_fails),
        route("/acs/encoders/simulate/next_credential_encode_will_succeed", CREATE, simulate::encode_succeeds),
        route("/acs/encoders/simulate/next_credential_scan_will_fail", CREATE, simulate::scan_fails),
        route("/acs/encoders/simulate/next_credential_scan_will_succeed", CREATE, simulate::scan_succeeds),
        route("/acs/entrances/get", READ, acs_entrances::get),
        route("/acs/entrances/list", READ, acs_entrances::list),
        route("/acs/systems/get", READ, acs_systems::get),
        route("/acs/systems/list", READ, acs_systems::list),
        route("/acs/users/create", CREATE, acs_users::create),
        route("/acs/users/delete", REMOVE, acs_users::remove),
        route("/acs/users/get", READ, acs_users::get),
        route("/acs/users/list", READ, acs_users::list),
        route("/acs/users/update", CHANGE, acs_users::update),
        route("/action_attempts/get", READ, action_attempts::get),
        route("/action_attempts/list", READ, action_attempts::list),
        route("/events/get", READ, events::get),
        route("/events/list", READ, events::list),
        route("/spaces/add_acs_entrances", PUT, spaces::add_acs_entrances),
        route("/spaces/create", CREATE, spaces::create),
        route("/spaces/delete", REMOVE, spaces::remove),
        route("/spaces/get", READ, spaces::get),
        route("/spaces/list", READ, spaces::list),
        route("/spaces/remove_acs_entrances", REMOVE, spaces::remove_acs_entrances),
        route("/user_identities/add_acs_user", PUT, user_identities::add_acs_user),
        route("/user_identities/create", CREATE, user_identities::create),
        route("/user_identities/delete", REMOVE, user_identities::remove),
        route("/user_identities/get", READ, user_identities::get),
        route("/user_identities/list", READ, user_identities::list),
        route("/user_identities/update", CHANGE, user_identities::update),
        route("/webhooks/create", CREATE, webhooks::create),
        route("/webhooks/delete", REMOVE, webhooks::remove),
        route("/webhooks/get", READ, webhooks::get),
        route("/webhooks/list", READ, webhooks::list),
        route("/webhooks/update", PUT, webhooks::update),
        route("/workspaces/get", READ, workspaces::get),
        // What the Seam API has no path for.
        route("/encoderd/v1/encoders", READ, live_encoders::list),
        route("/encoderd/v1/acs_encoders/write_raw", CREATE, acs_encoders::write_raw),
        route("/encoderd/v1/attempts", READ, action_attempts::last),
        route("/encoderd/v1/api_keys/create", CREATE, admin::api_keys::create),
        route("/encoderd/v1/api_keys/list", READ, admin::api_keys::list),
        route("/encoderd/v1/api_keys/revoke", CREATE, admin::api_keys::revoke),
        route("/encoderd/v1/api_keys/rotate", CREATE, admin::api_keys::rotate),
        route("/encoderd/v1/bridges/list", READ, admin::bridges::list),
        route("/encoderd/v1/bridges/revoke", CREATE, admin::bridges::revoke),
        route("/encoderd/v1/pairing_codes/create", CREATE, admin::bridges::create_code),
        route("/encoderd/v1/property/import", CREATE, admin::property::import),
        route("/encoderd/v1/workspaces/create", CREATE, admin::workspaces::create),
        route("/encoderd/v1/workspaces/get", READ, admin::workspaces::get),
        route("/encoderd/v1/workspaces/list", READ, admin::workspaces::list),
        route("/encoderd/v1/webhook_deliveries", READ, webhooks::deliveries),
        raw("/encoderd/v1/events", "text/event-stream", describe::<Event>, stream::serve),
        // The desks' daemons.
        route("/bridge/v1/encoders/sync", CREATE, bridge::sync),
        route("/bridge/v1/events", CREATE, bridge::events),
        route("/bridge/v1/jobs/next", CREATE, bridge::next),
        route("/bridge/v1/jobs/progress", CREATE, bridge::progress),
        route("/bridge/v1/jobs/result", CREATE, bridge::result),
        route("/bridge/v1/jobs/start", CREATE, bridge::start),
        route("/bridge/v1/pair", CREATE, admin::bridges::pair),
        // Whoever watches the service.
        route("/healthz", OPEN, health::alive),
        route("/openapi.json", OPEN, openapi::serve),
        raw("/metrics", "text/plain", describe::<String>, health::metrics),
        raw("/readyz", "application/json", describe::<Ready>, health::ready),
    ]
}

/// The hub's paths.
pub(super) fn router(hub: &Hub) -> Router {
    let mut router = Router::new();
    for route in table() {
        router = router.route(route.path, route.service);
    }
    let router = router.method_not_allowed_fallback(method_not_allowed).fallback(no_route);
    router.layer(middleware::from_fn(counted)).with_state(hub.clone())
}

/// Counts a request under its path in the table.
async fn counted(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("other", MatchedPath::as_str).to_owned();
    let begun = clock::now();
    let response = next.run(request).await;
    metrics::request(route, response.status().as_u16(), clock::now().saturating_duration_since(begun));
    response
}

/// What the OpenAPI document says of each path.
pub(super) fn described() -> Vec<Described> {
    table().into_iter().map(|route| route.described).collect()
}

/// A line of the table.
struct Route {
    path: &'static str,
    service: MethodRouter<Hub>,
    described: Described,
}

/// A path, without what serves it.
pub(super) struct Described {
    /// The path.
    pub(super) path: &'static str,
    /// The methods that it takes.
    pub(super) methods: &'static [Method],
    /// The key that it needs.
    pub(super) scheme: Option<&'static str>,
    /// Its parameters.
    pub(super) parameters: Describe,
    /// Its answer.
    pub(super) answer: Describe,
    /// What the answer is sent as.
    pub(super) content: &'static str,
}

/// The methods that a path takes.
#[derive(Clone, Copy)]
struct Methods(&'static [Method], MethodFilter);

const OPEN: Methods = Methods(&[Method::GET], MethodFilter::GET);
const READ: Methods = Methods(&[Method::GET, Method::POST], MethodFilter::GET.or(MethodFilter::POST));
const CREATE: Methods = Methods(&[Method::POST], MethodFilter::POST);
const CHANGE: Methods = Methods(&[Method::PATCH, Method::POST], MethodFilter::PATCH.or(MethodFilter::POST));
const PUT: Methods = Methods(&[Method::PUT, Method::POST], MethodFilter::PUT.or(MethodFilter::POST));
const REMOVE: Methods = Methods(&[Method::DELETE, Method::POST], MethodFilter::DELETE.or(MethodFilter::POST));

fn route<C, P, A, H>(path: &'static str, Methods(methods, filter): Methods, handler: H) -> Route
where
    C: Caller + 'static,
    P: DeserializeOwned + JsonSchema + 'static,
    A: Serialize + JsonSchema + 'static,
    H: Handler<C, P, A>,
{
    Route {
        path,
        service: on(filter, service(handler)),
        described: Described {
            path,
            methods,
            scheme: C::SCHEME,
            parameters: describe::<P>,
            answer: describe::<A>,
            content: "application/json",
        },
    }
}

/// A path that answers by itself.
fn raw<C, P, F, Answering>(path: &'static str, content: &'static str, answer: Describe, handler: F) -> Route
where
    C: Caller + 'static,
    P: DeserializeOwned + JsonSchema + Send + 'static,
    F: Fn(Call<C>, P, HeaderMap) -> Answering + Clone + Send + Sync + 'static,
    Answering: Future<Output = Result<Response, ApiError>> + Send + 'static,
{
    Route {
        path,
        service: get(endless(handler)),
        described: Described {
            path,
            methods: &[Method::GET],
            scheme: C::SCHEME,
            parameters: describe::<P>,
            answer,
            content,
        },
    }
}

async fn no_route() -> ApiError {
    ApiError::NoRoute
}

async fn method_not_allowed() -> ApiError {
    ApiError::MethodNotAllowed
}

fn now() -> Time {
    Time::from_ms(clock::wall_ms())
}

/// What is said to times that no card can carry; its last second means "no end".
const OUT_OF_RANGE: &str = "Must lie between 1970-01-01T00:00:00Z and 2106-02-07T06:28:14Z, the last possible date: cards count seconds in 32 bits";

/// Times that a card can carry: whole seconds, an end after the start.
fn card_times(starts_at: Time, ends_at: Option<Time>) -> Result<Times, Invalid> {
    let whole = |name: &str, time: Time| {
        let seconds = time.card_seconds();
        seconds.map(Time::from_card_seconds).ok_or_else(|| Invalid::parameter(name, OUT_OF_RANGE))
    };
    let starts_at = whole("starts_at", starts_at)?;
    let ends_at = ends_at.map(|time| whole("ends_at", time)).transpose()?;
    if ends_at.is_some_and(|ends_at| ends_at <= starts_at) {
        return Err(Invalid::parameter("ends_at", "Must be later than starts_at"));
    }
    Ok(Times { starts_at, ends_at })
}

/// Refuses entrances that the system does not have.
async fn all_known(
    connection: &mut Connection,
    system: AcsSystemId,
    entrances: &[AcsEntranceId],
) -> Result<(), ApiError> {
    let known = crate::store::hub::acs_entrances::known(connection, system, entrances).await?;
    match entrances.iter().find(|entrance| !known.contains(entrance)) {
        Some(unknown) => Err(ApiError::no::<AcsEntrance>(unknown)),
        None => Ok(()),
    }
}

/// Refuses devices: ignoring them would give less than was asked for.
fn no_devices(name: &str, devices: &AnyOf<ElsewhereId>) -> Result<(), Invalid> {
    if devices.0.as_ref().is_some_and(|devices| !devices.is_empty()) {
        return Err(Invalid::parameter(
            name,
            "There are no devices here, only entrances; name them in acs_entrance_ids",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_whole_seconds_and_end_after_they_start() {
        let times = card_times(Time::from_ms(1_999), Some(Time::from_ms(2_001))).unwrap();
        assert_eq!((times.starts_at, times.ends_at), (Time::from_ms(1_000), Some(Time::from_ms(2_000))));
        for (starts_at, ends_at, name) in
            [(1_000, Some(1_999), "ends_at"), (-1, None, "starts_at"), (0, Some(i64::from(u32::MAX) * 1000), "ends_at")]
        {
            let error = card_times(Time::from_ms(starts_at), ends_at.map(Time::from_ms)).unwrap_err();
            assert_eq!(error.path, [name]);
        }
    }
}
