//! All routes in one table; one file a resource.
//!
//! Reads answer GET with a query and POST with a body; changes PATCH and POST, deletes DELETE and POST. That is what
//! the SDKs of different ages send.

mod access_grants;
mod access_methods;
mod acs_credentials;
mod acs_encoders;
mod acs_entrances;
mod acs_systems;
mod acs_users;
mod action_attempts;
mod bridge;
mod events;
mod health;
mod live_encoders;
mod user_identities;
mod workspaces;

use super::error::{ApiError, Invalid};
use super::{Hub, auth};
use crate::api::acs_entrances::AcsEntrance;
use crate::api::id::{AcsEntranceId, AcsSystemId};
use crate::api::time::Time;
use crate::clock;
use crate::store::Connection;
use crate::store::hub::acs_credentials::Times;
use axum::Router;
use axum::handler::Handler;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, delete, get, patch, post};

/// Every path of the hub.
pub(super) fn table(hub: &Hub) -> Router {
    let seam = Router::new()
        .route("/access_grants/create", post(access_grants::create))
        .route("/access_grants/get", reads(access_grants::get))
        .route("/access_grants/list", reads(access_grants::list))
        .route("/access_grants/update", changes(access_grants::update))
        .route("/access_methods/encode", post(access_methods::encode))
        .route("/access_methods/get", reads(access_methods::get))
        .route("/access_methods/list", reads(access_methods::list))
        .route("/acs/credentials/create", post(acs_credentials::create))
        .route("/acs/credentials/delete", removes(acs_credentials::remove))
        .route("/acs/credentials/get", reads(acs_credentials::get))
        .route("/acs/credentials/list", reads(acs_credentials::list))
        .route("/acs/credentials/update", changes(acs_credentials::update))
        .route("/acs/encoders/encode_credential", post(acs_encoders::encode_credential))
        .route("/acs/encoders/get", reads(acs_encoders::get))
        .route("/acs/encoders/list", reads(acs_encoders::list))
        .route("/acs/encoders/scan_credential", post(acs_encoders::scan_credential))
        .route("/acs/entrances/get", reads(acs_entrances::get))
        .route("/acs/entrances/list", reads(acs_entrances::list))
        .route("/acs/systems/get", reads(acs_systems::get))
        .route("/acs/systems/list", reads(acs_systems::list))
        .route("/acs/users/create", post(acs_users::create))
        .route("/acs/users/get", reads(acs_users::get))
        .route("/acs/users/list", reads(acs_users::list))
        .route("/action_attempts/get", reads(action_attempts::get))
        .route("/action_attempts/list", reads(action_attempts::list))
        .route("/encoderd/v1/encoders", reads(live_encoders::encoders))
        .route("/events/get", reads(events::get))
        .route("/events/list", reads(events::list))
        .route("/user_identities/create", post(user_identities::create))
        .route("/user_identities/get", reads(user_identities::get))
        .route("/user_identities/list", reads(user_identities::list))
        .route("/workspaces/get", reads(workspaces::get))
        .method_not_allowed_fallback(method_not_allowed)
        .route_layer(from_fn_with_state(hub.clone(), auth::with_api_key));
    let bridge = Router::new()
        .route("/bridge/v1/encoders/sync", post(bridge::sync))
        .route("/bridge/v1/events", post(bridge::events))
        .route("/bridge/v1/jobs/next", post(bridge::next))
        .route("/bridge/v1/jobs/progress", post(bridge::progress))
        .route("/bridge/v1/jobs/result", post(bridge::result))
        .route("/bridge/v1/jobs/start", post(bridge::start))
        .method_not_allowed_fallback(method_not_allowed)
        .route_layer(from_fn_with_state(hub.clone(), auth::with_bridge_token));
    let open = Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .method_not_allowed_fallback(method_not_allowed);
    seam.merge(bridge).merge(open).fallback(no_route).with_state(hub.clone())
}

fn reads<H: Handler<T, Hub>, T: 'static>(handler: H) -> MethodRouter<Hub> {
    get(handler.clone()).post(handler)
}

fn changes<H: Handler<T, Hub>, T: 'static>(handler: H) -> MethodRouter<Hub> {
    patch(handler.clone()).post(handler)
}

fn removes<H: Handler<T, Hub>, T: 'static>(handler: H) -> MethodRouter<Hub> {
    delete(handler.clone()).post(handler)
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
