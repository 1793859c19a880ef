//! A request as its handler gets it, and how a handler becomes a route.

use super::Hub;
use super::auth::{Anybody, Application, Caller, Desk, Owner, Peer};
use super::error::{ApiError, Invalid};
use super::request::{self, Pages};
use crate::api::envelope::{Many, Object};
use crate::api::parameters::Limit;
use crate::store::hub::acs_systems::SystemIds;
use crate::store::hub::select::{Page, Paged};
use crate::store::{Reading, StoreError, Transaction};
use axum::Json;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;

/// A request: the hub, who asks, and which page.
pub(super) struct Call<C = Application> {
    hub: Hub,
    caller: C,
    pages: Pages,
}

/// A request of the hub's owner.
pub(super) type OwnerCall = Call<Owner>;

/// A request of a desk's daemon.
pub(super) type DeskCall = Call<Desk>;

/// A request without a key.
pub(super) type OpenCall = Call<Anybody>;

impl<C> Call<C> {
    pub(super) fn hub(&self) -> &Hub {
        &self.hub
    }

    pub(super) fn caller(&self) -> &C {
        &self.caller
    }

    /// A connection for reading.
    pub(super) async fn read(&self) -> Result<Reading, StoreError> {
        self.hub.store().read().await
    }

    /// Reads `limit` and `page_cursor`.
    pub(super) fn page(&self, limit: &Limit, cursor: Option<&str>) -> Result<Page, Invalid> {
        self.pages.page(limit, cursor)
    }

    /// Reads `limit` and `page_cursor` where the default is not the usual one.
    pub(super) fn page_or(&self, limit: &Limit, cursor: Option<&str>, default: u32) -> Result<Page, Invalid> {
        self.pages.page_or(limit, cursor, default)
    }

    /// A page of a list.
    pub(super) fn answer<T: Object>(&self, page: Paged<T>) -> Many<T> {
        self.pages.answer(page)
    }
}

impl Call<Application> {
    /// The workspace that is asked about.
    pub(super) fn system(&self) -> SystemIds {
        self.caller.system
    }

    /// The writing transaction of the workspace.
    pub(super) async fn begin(&self) -> Result<Transaction, StoreError> {
        self.hub.store().begin(self.caller.system.realm()).await
    }
}

impl Call<Owner> {
    /// The workspace that is asked about.
    pub(super) fn system(&self) -> SystemIds {
        self.caller.system
    }

    /// The writing transaction of the workspace.
    pub(super) async fn begin(&self) -> Result<Transaction, StoreError> {
        self.hub.store().begin(self.caller.system.realm()).await
    }
}

impl Call<Desk> {
    /// The workspace that the desk works in.
    pub(super) fn system(&self) -> SystemIds {
        self.caller.system
    }

    /// The writing transaction of the workspace.
    pub(super) async fn begin(&self) -> Result<Transaction, StoreError> {
        self.hub.store().begin(self.caller.system.realm()).await
    }
}

/// A handler: takes a call and its parameters, and answers.
pub(super) trait Handler<C, P, A>: Clone + Send + Sync + 'static {
    /// Handles a request.
    fn handle(self, hub: Hub, request: Request) -> impl Future<Output = Response> + Send + 'static;
}

impl<C, P, A, F, Answering> Handler<C, P, A> for F
where
    C: Caller + 'static,
    P: DeserializeOwned + Send + 'static,
    A: Serialize + Send + 'static,
    F: Fn(Call<C>, P) -> Answering + Clone + Send + Sync + 'static,
    Answering: Future<Output = Result<A, ApiError>> + Send + 'static,
{
    async fn handle(self, hub: Hub, request: Request) -> Response {
        let answered = match asked(hub, request).await {
            Ok((call, input)) => self(call, input).await,
            Err(error) => Err(error),
        };
        match answered {
            Ok(answer) => Json(answer).into_response(),
            Err(error) => error.into_response(),
        }
    }
}

/// An answer in the making.
type Answered = Pin<Box<dyn Future<Output = Response> + Send>>;

/// A handler as the router takes it.
pub(super) fn service<C, P, A, H>(
    handler: H,
) -> impl Fn(State<Hub>, Request) -> Answered + Clone + Send + Sync + 'static
where
    H: Handler<C, P, A>,
{
    move |State(hub), request| Box::pin(handler.clone().handle(hub, request))
}

/// A handler whose answer does not end, as the router takes it.
pub(super) fn endless<C, P, F, Answering>(handler: F) -> impl Fn(State<Hub>, Request) -> Answered + Clone
where
    C: Caller + 'static,
    P: DeserializeOwned + Send + 'static,
    F: Fn(Call<C>, P, HeaderMap) -> Answering + Clone + Send + Sync + 'static,
    Answering: Future<Output = Result<Response, ApiError>> + Send + 'static,
{
    move |State(hub), request| {
        let handler = handler.clone();
        Box::pin(async move {
            let headers = request.headers().clone();
            match asked(hub, request).await {
                Ok((call, input)) => handler(call, input, headers).await.unwrap_or_else(ApiError::into_response),
                Err(error) => error.into_response(),
            }
        })
    }
}

/// Who asks comes first, so that a stranger learns nothing of what a path takes.
async fn asked<C: Caller, P: DeserializeOwned>(hub: Hub, request: Request) -> Result<(Call<C>, P), ApiError> {
    let (parts, body) = request.into_parts();
    // Only a connection that the server did not accept itself has no peer: one in a test.
    let peer = parts.extensions.get().copied().unwrap_or(Peer(IpAddr::V4(Ipv4Addr::UNSPECIFIED)));
    let caller = C::admit(&hub, &parts.headers, peer).await?;
    let pages = Pages::of(&parts);
    let input = request::read(&parts, body).await?;
    Ok((Call { hub, caller, pages }, input))
}

/// How a type looks in JSON.
pub(super) type Describe = fn(&mut SchemaGenerator) -> Schema;

/// How a type looks in JSON.
pub(super) fn describe<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}
