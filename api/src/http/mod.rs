//! HTTP: the routes, and what every request passes.
//!
//! * [`about`]: ids, spans, security headers, panics;
//! * [`asker`]: who asks, by the key they send;
//! * [`graphql`]: GraphQL over HTTP, with negotiated media types;
//! * [`log`]: the evidence of the log;
//! * [`usage`]: usage in batches; [`setup`]: the first administrator; [`health`]: for machines.

mod about;
mod asker;
mod graphql;
mod health;
mod log;
mod negotiation;
mod setup;
mod usage;

use crate::graphql::Documents;
use crate::reading::Services;
use axum::Router;
use axum::http::StatusCode;
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
pub(crate) use log::BodyPlaces;
use std::net::SocketAddr;

/// What every route shares.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) services: Services,
    pub(crate) documents: Documents,
    pub(crate) bodies: BodyPlaces,
}

/// Who is at the other end of the connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// Every route. One that is not here does not exist.
pub(crate) fn router(app: App) -> Router {
    Router::new()
        .route("/graphql", get(graphql::get).post(graphql::post))
        .route("/graphql/schema.graphql", get(graphql::schema))
        .route("/api/v1/usage/batch", post(usage::batch))
        .route("/setup/{token}", get(setup::form).post(setup::complete))
        .route("/log/v1/checkpoint", get(log::checkpoint))
        .route("/log/v1/checkpoints/{size}", get(log::checkpoint_of))
        .route("/log/v1/keys", get(log::keys))
        .route("/log/v1/tile/entries/{*index}", get(log::entries))
        .route("/log/v1/tile/{level}/{*index}", get(log::tile))
        .route("/log/v1/bodies/{*index}", get(log::bodies))
        .route("/healthz", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .fallback(nothing)
        .with_state(app)
        .layer(from_fn(about::request))
}

async fn nothing() -> Response {
    (StatusCode::NOT_FOUND, "there is nothing here; GraphQL is at /graphql\n").into_response()
}
