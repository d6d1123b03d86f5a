//! The one request of a witness over HTTP, and the status of every refusal.

use super::state::{Logs, Refusal};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use std::sync::Arc;
use std::time::Duration;

/// A proof of 63 lines and a checkpoint with many long signatures fit into this.
const BODY_BYTES_MAX: usize = 128 * 1024;
/// How long a body may take to arrive.
const BODY_LIMIT: Duration = Duration::from_secs(10);

/// What asks for a size.
const SIZE: HeaderValue = HeaderValue::from_static("text/x.tlog.size");

pub(super) fn router(logs: Arc<Logs>) -> Router {
    Router::new().route("/add-checkpoint", post(add_checkpoint)).with_state(logs)
}

async fn add_checkpoint(State(logs): State<Arc<Logs>>, request: Request) -> Response {
    let body = tokio::time::timeout(BODY_LIMIT, to_bytes(request.into_body(), BODY_BYTES_MAX));
    let body = match body.await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => return plain(StatusCode::PAYLOAD_TOO_LARGE, "the request is too long"),
        Err(_) => return plain(StatusCode::REQUEST_TIMEOUT, "the request took too long"),
    };
    let Ok(body) = String::from_utf8(body.into()) else {
        return plain(StatusCode::BAD_REQUEST, "the request is not UTF-8");
    };
    // It waits for the disk, and for others that ask for the same log.
    match tokio::task::spawn_blocking(move || logs.add(&body)).await {
        Ok(Ok(line)) => line.into_response(),
        Ok(Err(refusal)) => refused(&refusal),
        Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, "looking at it failed"),
    }
}

fn refused(refusal: &Refusal) -> Response {
    tracing::warn!(%refusal, "a checkpoint was not cosigned");
    let status = match refusal {
        Refusal::Malformed(_) => StatusCode::BAD_REQUEST,
        Refusal::UnknownLog(_) => StatusCode::NOT_FOUND,
        Refusal::NotSigned => StatusCode::FORBIDDEN,
        Refusal::OtherSize(_) | Refusal::Forked => StatusCode::CONFLICT,
        Refusal::Proof(_) => StatusCode::UNPROCESSABLE_ENTITY,
        Refusal::Disk(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let mut response = plain(status, &refusal.to_string());
    if let Refusal::OtherSize(_) = refusal {
        response.headers_mut().insert(CONTENT_TYPE, SIZE);
    }
    response
}

fn plain(status: StatusCode, text: &str) -> Response {
    (status, Body::from(format!("{text}\n"))).into_response()
}
