//! What holds for every request: an id, a span, figures, security headers, no panic that leaks.

use crate::http::Peer;
use crate::metrics;
use crate::problem::Problem;
use axum::Json;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt as _;
use serde_json::json;
use std::panic::AssertUnwindSafe;
use std::time::Instant;
use tracing::Instrument as _;
use uuid::Uuid;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The most characters of an id that is taken over from the caller.
const ID_MAX: usize = 128;

/// What a request is known by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Correlation(pub(crate) Uuid);

/// Headers that every answer has. A page of ours sets a policy of its own.
const SECURITY: [(HeaderName, HeaderValue); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'; base-uri 'none'"),
    ),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    ),
];

/// Wraps every request.
pub(crate) async fn request(mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = request_id(request.headers());
    let correlation = correlation(request.headers(), &id);
    request.extensions_mut().insert(Correlation(correlation));
    let peer = request.extensions().get::<Peer>().map(|peer| peer.0.ip().to_string());
    let (method, route) = (method_word(request.method()), route(request.uri().path()));
    let trace = trace(request.headers());
    let span = tracing::info_span!(
        "request", request_id = %id, %correlation, method, route, peer, trace
    );
    let mut response = AssertUnwindSafe(next.run(request))
        .catch_unwind()
        .instrument(span.clone())
        .await
        .unwrap_or_else(|_| span.in_scope(panicked));
    let (status, took) = (response.status().as_u16(), started.elapsed());
    metrics::request(route, method, status, took);
    let took_ms = took.as_secs_f64() * 1_000.0;
    span.in_scope(|| tracing::info!(status, took_ms, "answered"));
    let headers = response.headers_mut();
    for (name, value) in SECURITY {
        headers.entry(name).or_insert(value);
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, value);
    }
    response
}

fn panicked() -> Response {
    let problem = Problem::fault("a request panicked");
    (StatusCode::INTERNAL_SERVER_ERROR, problem_body(&problem)).into_response()
}

/// A problem as the body of an answer that is not GraphQL.
pub(crate) fn problem_body(problem: &Problem) -> Json<serde_json::Value> {
    Json(json!({ "error": {
        "code": problem.code.as_str(),
        "message": problem.message,
        "field": problem.field,
        "errorId": problem.error_id,
    } }))
}

/// The caller's id when it can be shown, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let shows = |id: &&str| {
        !id.is_empty() && id.len() <= ID_MAX && id.bytes().all(|byte| byte.is_ascii_graphic())
    };
    given.filter(shows).map_or_else(|| Uuid::now_v7().to_string(), str::to_owned)
}

/// What events and log lines of the request share: the trace it belongs to, else its id.
fn correlation(headers: &HeaderMap, id: &str) -> Uuid {
    let of_trace = trace(headers).and_then(|trace| Uuid::parse_str(trace).ok());
    of_trace.or_else(|| Uuid::parse_str(id).ok()).unwrap_or_else(Uuid::now_v7)
}

/// The trace id of a W3C `traceparent`, when that is one.
fn trace(headers: &HeaderMap) -> Option<&str> {
    let parent = headers.get("traceparent")?.to_str().ok()?;
    let mut parts = parent.split('-');
    let (version, trace) = (parts.next()?, parts.next()?);
    let is_hex = |text: &str| {
        text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    let holds = version.len() == 2
        && version != "ff"
        && is_hex(version)
        && trace.len() == 32
        && is_hex(trace)
        && trace.bytes().any(|byte| byte != b'0');
    holds.then_some(trace)
}

/// One of a few words, so that a stranger cannot invent labels.
fn route(path: &str) -> &'static str {
    match path {
        "/graphql" => "/graphql",
        "/graphql/schema.graphql" => "/graphql/schema.graphql",
        "/api/v1/usage/batch" => "/api/v1/usage/batch",
        "/healthz" => "/healthz",
        "/readyz" => "/readyz",
        "/metrics" => "/metrics",
        // What follows is a secret.
        path if path.starts_with("/setup/") => "/setup",
        _ => "other",
    }
}

fn method_word(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_taken_over_and_anything_else_is_not() {
        let mut headers = HeaderMap::new();
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        headers.insert("traceparent", HeaderValue::from_static(parent));
        assert_eq!(trace(&headers), Some("0af7651916cd43dd8448eb211c80319c"));
        let wanted = Uuid::parse_str("0af7651916cd43dd8448eb211c80319c").expect("hexadecimal");
        assert_eq!(correlation(&headers, "some id"), wanted);
        for bad in ["00-0-b7-01", "ff-0af7651916cd43dd8448eb211c80319c-b7-01", "x"] {
            headers.insert("traceparent", HeaderValue::from_static(bad));
            assert_eq!(trace(&headers), None, "{bad}");
        }
    }

    #[test]
    fn an_id_that_cannot_be_shown_is_replaced() {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, HeaderValue::from_static("order-4711"));
        assert_eq!(request_id(&headers), "order-4711");
        headers.insert(REQUEST_ID, HeaderValue::from_static("two words"));
        assert!(Uuid::parse_str(&request_id(&headers)).is_ok());
    }
}
