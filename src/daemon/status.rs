//! What a daemon without an embedded hub tells whoever watches it: `/healthz`, `/readyz`, `/metrics`.

use super::DaemonError;
use crate::telemetry::{Readiness, metrics};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use std::net::SocketAddr;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Serves until `stop`. Whoever reaches the address may read.
pub(super) async fn serve(
    address: SocketAddr,
    readiness: Readiness,
    stop: CancellationToken,
) -> Result<JoinHandle<()>, DaemonError> {
    let listener = TcpListener::bind(address).await.map_err(|source| DaemonError::StatusListen { address, source })?;
    let ready = move || async move {
        let report = readiness.report();
        let status = if report.ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        (status, Json(report)).into_response()
    };
    let router = Router::new()
        .route("/healthz", get(|| async { Json(crate::api::envelope::Done::default()) }))
        .route("/readyz", get(ready))
        .route("/metrics", get(|| async { ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics::render()) }));
    Ok(tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await {
            tracing::error!(%error, "the status address is not served any more");
        }
    }))
}
