//! Connections: accepted up to a limit, with time-outs, and closed in order when the hub stops.

use super::auth::Peer;
use super::error::panicked;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::http::header::CONNECTION;
use axum::middleware::{self, Next};
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument as _;
use uuid::Uuid;

/// Connections at a time, at least; a desk holds two or three. As many more as the process may have files open, less
/// those that the database and everything else need. Further ones wait in the system's queue.
const CONNECTIONS_MIN: usize = 512;

/// Files that are not connections.
const OTHER_FILES: u64 = 256;

/// How long a connection may take to send a request's head, and how long it may stay silent between requests.
const HEAD_TIME_MAX: Duration = Duration::from_mins(1);

/// How long requests in flight may take to end when the hub stops.
const STOP_TIME_MAX: Duration = Duration::from_millis(1500);

/// How long a connection without a request in flight stays open once the hub is closing: a caller that polls sends its
/// next request within that time, and is told with the answer that the connection ends.
const LAST_REQUEST_MAX: Duration = Duration::from_millis(500);

/// Serves until `stop` and the connections have ended; from `closing` on each answer ends its connection.
pub(super) async fn run(listener: TcpListener, router: Router, closing: CancellationToken, stop: CancellationToken) {
    let ends = Ends { closing: closing.clone(), stop: stop.clone() };
    let router = router
        .layer(CatchPanicLayer::custom(|_| panicked()))
        .layer(middleware::from_fn_with_state(closing, with_close))
        .layer(middleware::from_fn(with_request_id));
    let connections = TaskTracker::new();
    let places = Arc::new(Semaphore::new(connections_max()));
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &places) => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Some((stream, peer, place)) => {
                connections.spawn(connection(stream, peer, place, router.clone(), ends.clone()));
            }
            // Out of file descriptors, for instance: waiting for some to be closed is all that helps.
            None => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(STOP_TIME_MAX, connections.wait()).await.is_err() {
        tracing::warn!(connections = connections.len(), "requests were cut off");
    }
}

/// Takes as many open files as the system lets it have, and returns how many connections that makes.
fn connections_max() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        match setrlimit(Resource::Nofile, raised) {
            Ok(()) => limit = raised,
            Err(error) => tracing::debug!(error = %error, "the limit of open files stays"),
        }
    }
    let files = limit.current.unwrap_or(u64::MAX).saturating_sub(OTHER_FILES);
    usize::try_from(files).unwrap_or(usize::MAX).clamp(CONNECTIONS_MIN, Semaphore::MAX_PERMITS)
}

async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> Option<(TcpStream, Peer, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, address)) => Some((stream, Peer(address.ip()), place)),
        Err(error) => {
            tracing::warn!(error = %error, "could not accept a connection");
            None
        }
    }
}

async fn connection(stream: TcpStream, peer: Peer, place: OwnedSemaphorePermit, router: Router, ends: Ends) {
    // Answers are small; without this each would wait for the other side's delayed acknowledgement.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(error = %error, "no TCP_NODELAY");
    }
    let connection =
        http1::Builder::new().timer(TokioTimer::new()).header_read_timeout(HEAD_TIME_MAX).serve_connection(
            TokioIo::new(stream),
            service_fn(move |mut request: hyper::Request<Incoming>| {
                request.extensions_mut().insert(peer);
                TowerToHyperService::new(router.clone()).call(request)
            }),
        );
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = ends.due() => {
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(STOP_TIME_MAX, connection).await {
                Ok(ended) => ended,
                Err(_) => Ok(()),
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error = %error, "connection ended");
    }
    drop(place);
}

/// When a connection is to end.
#[derive(Clone, Debug)]
struct Ends {
    closing: CancellationToken,
    stop: CancellationToken,
}

impl Ends {
    /// Waits until the hub stops, and so long that whoever has an open connection has used it once more if it was said
    /// before that the hub is closing.
    async fn due(&self) {
        let used = async {
            self.closing.cancelled().await;
            tokio::time::sleep(LAST_REQUEST_MAX).await;
        };
        let mut used = pin!(used);
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = &mut used => return self.stop.cancelled().await,
        }
        if self.closing.is_cancelled() {
            used.await;
        }
    }
}

/// Ends the connection behind the answer while the hub is closing.
async fn with_close(State(closing): State<CancellationToken>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if closing.is_cancelled() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Gives every response the id that the SDKs show as `request_id`.
async fn with_request_id(request: Request, next: Next) -> Response {
    let id = Uuid::new_v4().to_string();
    let span =
        tracing::debug_span!("request", request_id = id, method = %request.method(), path = request.uri().path());
    let mut response = next.run(request).instrument(span).await;
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert("seam-request-id", id);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;

    async fn panics() -> &'static str {
        assert!(std::hint::black_box(false), "a handler failed");
        "fine"
    }

    #[tokio::test]
    async fn a_panic_in_a_handler_is_an_answer_and_not_the_end() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let server =
            tokio::spawn(run(listener, Router::new().route("/", get(panics)), CancellationToken::new(), stop.clone()));
        for _ in 0..2 {
            let answer = reqwest::get(&url).await.unwrap();
            assert_eq!(answer.status(), 500);
            assert!(answer.headers().contains_key("seam-request-id"));
            let body: serde_json::Value = answer.json().await.unwrap();
            assert_eq!((&body["ok"], &body["error"]["type"]), (&false.into(), &"internal_error".into()));
        }
        stop.cancel();
        server.await.unwrap();
    }
}
