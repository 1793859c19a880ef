//! `/encoderd/v1/events`: what happens, as it happens, as server-sent events.
//!
//! An event's `id` is its place among its workspace's events, so that a browser that connects again goes on where it was.
//! Encoders have no place: all are told at first, then those that changed. What this node commits is told at once, what
//! another node commits, and desks that came and went, within [`LOOK_EVERY`].

use super::auth::Application;
use super::call::Call;
use super::error::{ApiError, Invalid};
use super::{Hub, encoders};
use crate::api::acs_encoders::LiveEncoder;
use crate::api::events::Watch;
use crate::api::id::{AcsEncoderId, WorkspaceId};
use crate::store::StoreError;
use crate::store::hub::events;
use axum::http::HeaderMap;
use axum::response::sse::{Event as Message, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream::{self, Stream};
use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::watch;

/// How often is looked for what nobody rings for.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Proxies close a connection on which nothing moves for a minute or half of it.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How long a browser waits before it connects again.
const CONNECT_AGAIN: Duration = Duration::from_secs(2);

/// How many events are read at a time.
const EVENTS_MAX: u32 = 100;

/// Serves the stream.
pub(super) async fn serve(call: Call, watch: Watch, headers: HeaderMap) -> Result<Response, ApiError> {
    let workspace = call.system().workspace_id;
    let last = match headers.get("last-event-id") {
        Some(id) => {
            let place = id.to_str().ok().and_then(|id| id.parse().ok());
            Some(place.ok_or_else(|| Invalid::whole("The header `last-event-id` is no id of an event here"))?)
        }
        None => watch.after,
    };
    let place = match last {
        Some(place) => place,
        None => events::newest(&mut *call.read().await?, workspace).await?,
    };
    let hub = call.hub().clone();
    let watcher = Watcher {
        caller: call.caller().clone(),
        changed: hub.changed(),
        hub,
        workspace,
        place,
        encoders: watch.encoders.unwrap_or(false).then(BTreeMap::new),
        ready: VecDeque::from([Message::default().retry(CONNECT_AGAIN).comment("encoderd")]),
    };
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
    Ok(Sse::new(watcher.messages()).keep_alive(keep_alive).into_response())
}

/// Somebody who watches.
struct Watcher {
    hub: Hub,
    /// Whose key may be revoked meanwhile.
    caller: Application,
    changed: watch::Receiver<u64>,
    workspace: WorkspaceId,
    /// The place of the last event that was told.
    place: i64,
    /// What was last told of each encoder, if it is asked for.
    encoders: Option<BTreeMap<AcsEncoderId, LiveEncoder>>,
    ready: VecDeque<Message>,
}

impl Watcher {
    fn messages(self) -> impl Stream<Item = Result<Message, Infallible>> {
        stream::unfold(self, |mut watcher| async move {
            let message = watcher.next().await?;
            Some((Ok(message), watcher))
        })
    }

    /// The next message; none when the hub stops or cannot go on. The browser then connects again.
    async fn next(&mut self) -> Option<Message> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                return Some(message);
            }
            self.changed.mark_unchanged();
            match self.look().await {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => {
                    tracing::warn!(error = %error, "an event stream ends early");
                    return None;
                }
            }
            if !self.ready.is_empty() {
                continue;
            }
            let Self { changed, hub, .. } = self;
            tokio::select! {
                changed = changed.changed() => changed.ok()?,
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = hub.stop().cancelled() => return None,
            }
        }
    }

    /// Looks for what is new. `false`: the key was revoked.
    async fn look(&mut self) -> Result<bool, StoreError> {
        let mut connection = self.hub.store().read().await?;
        if !self.caller.still_stands(&mut connection).await? {
            return Ok(false);
        }
        for (place, event) in events::behind(&mut connection, self.workspace, self.place, EVENTS_MAX).await? {
            self.place = place;
            self.ready.extend(message("event", &event).map(|message| message.id(place.to_string())));
        }
        let Some(told) = &mut self.encoders else { return Ok(true) };
        for encoder in encoders::all_live(&self.hub, &mut connection, self.workspace).await? {
            if told.get(&encoder.acs_encoder_id) != Some(&encoder) {
                self.ready.extend(message("encoder", &encoder));
                told.insert(encoder.acs_encoder_id, encoder);
            }
        }
        Ok(true)
    }
}

fn message<T: serde::Serialize>(kind: &str, data: &T) -> Option<Message> {
    match Message::default().event(kind).json_data(data) {
        Ok(message) => Some(message),
        Err(error) => {
            tracing::error!(error = %error, kind, "could not be told");
            None
        }
    }
}
