//! GraphQL over HTTP: JSON in, a negotiated media type out, GET for queries only, no batches.
//!
//! What cannot be understood as a request is answered 400 whatever is accepted. Where
//! `application/json` is accepted, everything that is a GraphQL answer comes with 200; where
//! `application/graphql-response+json` is, the status says whether the document was executed.

use super::App;
use super::asker::asking;
use super::negotiation::{MediaType, accepted, is_json};
use crate::graphql::{Executed, Incoming, response_of};
use crate::problem::{Code, Problem};
use async_graphql::Variables;
use axum::body::{Body, to_bytes};
use axum::extract::{RawQuery, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::time::Duration;

/// The most bytes of a request.
const BODY_MAX: usize = 256 * 1_024;
/// How long a body may take to arrive.
const BODY_PATIENCE: Duration = Duration::from_secs(10);

/// A query in the address. A mutation is refused: a link must not change anything.
pub(crate) async fn get(
    State(app): State<App>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    let Some(media) = accepted(&parts.headers) else { return not_acceptable() };
    let incoming = match of_address(query.as_deref().unwrap_or_default()) {
        Ok(incoming) => incoming,
        Err(problem) => return refused(&problem, media),
    };
    answer(&app, &parts, media, incoming, false).await
}

/// A request as a body.
pub(crate) async fn post(State(app): State<App>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Some(media) = accepted(&parts.headers) else { return not_acceptable() };
    if !is_json(&parts.headers) {
        let message = "send application/json in UTF-8 (set the content type)";
        let problem = Problem::new(Code::BadUserInput, message);
        return with_status(&problem, media, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    let bytes = match read_body(body, BODY_MAX).await {
        Ok(bytes) => bytes,
        Err((status, problem)) => return with_status(&problem, media, status),
    };
    let incoming = match of_body(&bytes) {
        Ok(incoming) => incoming,
        Err(problem) => return refused(&problem, media),
    };
    answer(&app, &parts, media, incoming, true).await
}

/// The schema as text, for whoever may ask about it.
pub(crate) async fn schema(State(app): State<App>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let text = match asking(&app, &parts).await {
        Ok(asking) => app.documents.text(&asking).await,
        Err(problem) => Err(problem),
    };
    match text {
        Ok(text) => {
            let name = "attachment; filename=\"schema.graphql\"";
            ([(header::CONTENT_DISPOSITION, name)], text).into_response()
        }
        Err(problem) => {
            (problem.code.status(), super::about::problem_body(&problem)).into_response()
        }
    }
}

async fn answer(
    app: &App,
    parts: &Parts,
    media: MediaType,
    incoming: Incoming,
    may_write: bool,
) -> Response {
    let asking = match asking(app, parts).await {
        Ok(asking) => asking,
        Err(problem) => return with_status(&problem, media, problem.code.status()),
    };
    let (response, status) = match app.documents.answer(incoming, asking, may_write).await {
        Executed::Yes(response) => (response, StatusCode::OK),
        Executed::No(response) if !may_write && is_mutation_refusal(&response) => {
            (response, StatusCode::METHOD_NOT_ALLOWED)
        }
        Executed::No(response) => match media {
            MediaType::Json => (response, StatusCode::OK),
            MediaType::GraphqlResponse => (response, StatusCode::BAD_REQUEST),
        },
    };
    let mut response = render(&response, media, status);
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
    }
    response
}

/// The one problem of input that a document meets before it is executed.
fn is_mutation_refusal(response: &async_graphql::Response) -> bool {
    let code = response.errors.first().and_then(|error| error.extensions.as_ref());
    code.and_then(|it| it.get("code"))
        == Some(&async_graphql::Value::from(Code::BadUserInput.as_str()))
}

/// A request that cannot be understood: 400 for every media type.
fn refused(problem: &Problem, media: MediaType) -> Response {
    with_status(problem, media, StatusCode::BAD_REQUEST)
}

fn with_status(problem: &Problem, media: MediaType, status: StatusCode) -> Response {
    let mut response = render(&response_of(problem), media, status);
    if status == StatusCode::UNAUTHORIZED {
        let how = HeaderValue::from_static("Bearer realm=\"opscenter\"");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, how);
    }
    response
}

fn not_acceptable() -> Response {
    let message = "accept application/graphql-response+json or application/json\n";
    (StatusCode::NOT_ACCEPTABLE, message).into_response()
}

/// An answer as it is written: the fields of `data` in the order they were asked for.
#[derive(Serialize)]
struct Written<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a async_graphql::Value>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [async_graphql::ServerError],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    extensions: &'a BTreeMap<String, async_graphql::Value>,
}

/// The answer as JSON; `data` is left out where nothing was executed.
fn render(response: &async_graphql::Response, media: MediaType, status: StatusCode) -> Response {
    let executed = response.extensions.contains_key("consistency");
    let has_data = executed || response.data != async_graphql::Value::Null;
    let written = Written {
        data: has_data.then_some(&response.data),
        errors: &response.errors,
        extensions: &response.extensions,
    };
    let content_type = [(header::CONTENT_TYPE, media.content_type())];
    match serde_json::to_vec(&written) {
        Ok(body) => (status, content_type, body).into_response(),
        Err(error) => {
            let problem = Problem::internal(&error);
            (problem.code.status(), super::about::problem_body(&problem)).into_response()
        }
    }
}

/// Reads a body that is neither too long nor too slow.
pub(super) async fn read_body(
    body: Body,
    most: usize,
) -> Result<axum::body::Bytes, (StatusCode, Problem)> {
    let problem = |message: String| Problem::new(Code::BadUserInput, message);
    match tokio::time::timeout(BODY_PATIENCE, to_bytes(body, most)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if is_too_long(&error) => Err((
            StatusCode::PAYLOAD_TOO_LARGE,
            problem(format!("the body is longer than {} KiB; send less at once", most / 1_024)),
        )),
        Ok(Err(_)) => {
            Err((StatusCode::BAD_REQUEST, problem("the body broke off; send it again".into())))
        }
        Err(_) => {
            let message = format!("the body did not arrive within {} s", BODY_PATIENCE.as_secs());
            Err((StatusCode::REQUEST_TIMEOUT, problem(message)))
        }
    }
}

fn is_too_long(error: &axum::Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if error.to_string().contains("length limit") {
            return true;
        }
        cause = error.source();
    }
    false
}

fn of_body(bytes: &[u8]) -> Result<Incoming, Problem> {
    let bad = |message: String| Problem::new(Code::BadUserInput, message);
    if bytes.is_empty() {
        return Err(bad("the body is empty; send {\"query\": \"…\"}".into()));
    }
    let value: Value = serde_json::from_slice(bytes).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        bad(format!("the body is not JSON (line {line}, column {column})"))
    })?;
    match value {
        Value::Object(fields) => of_fields(fields),
        Value::Array(_) => Err(bad("batches are not answered; send one request at a time".into())),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            Err(bad("the body is JSON and no object; send {\"query\": \"…\"}".into()))
        }
    }
}

fn of_fields(mut fields: Map<String, Value>) -> Result<Incoming, Problem> {
    let Some(Value::String(query)) = fields.remove("query") else {
        return Err(Problem::input("query", "query is missing or is not a string"));
    };
    let operation_name = match fields.remove("operationName") {
        None | Some(Value::Null) => None,
        Some(Value::String(name)) => Some(name),
        Some(_) => return Err(Problem::input("operationName", "operationName is not a string")),
    };
    let variables = match fields.remove("variables") {
        None | Some(Value::Null) => Variables::default(),
        Some(value @ Value::Object(_)) => Variables::from_json(value),
        Some(_) => return Err(Problem::input("variables", "variables are not an object")),
    };
    match fields.remove("extensions") {
        None | Some(Value::Null | Value::Object(_)) => {}
        Some(_) => return Err(Problem::input("extensions", "extensions are not an object")),
    }
    Ok(Incoming { query, operation_name, variables })
}

fn of_address(query: &str) -> Result<Incoming, Problem> {
    let mut fields = Map::new();
    for (name, value) in parameters(query) {
        if fields.contains_key(&name) {
            return Err(Problem::input(&name, format!("{name} is there twice")));
        }
        let value = match name.as_str() {
            "query" | "operationName" => Value::String(value),
            "variables" | "extensions" if value.is_empty() => Value::Null,
            "variables" | "extensions" => serde_json::from_str(&value)
                .map_err(|_| Problem::input(&name, format!("{name} is not JSON")))?,
            _ => continue,
        };
        fields.insert(name, value);
    }
    of_fields(fields)
}

/// The parameters of an address or a form, decoded.
pub(super) fn parameters(text: &str) -> Vec<(String, String)> {
    let decode = |text: &str| {
        let mut bytes = Vec::with_capacity(text.len());
        let mut rest = text.bytes();
        while let Some(byte) = rest.next() {
            let hex = |byte: Option<u8>| char::from(byte?).to_digit(16);
            match byte {
                b'+' => bytes.push(b' '),
                b'%' => match (hex(rest.next()), hex(rest.next())) {
                    (Some(high), Some(low)) => {
                        bytes.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                    }
                    _ => bytes.push(b'?'),
                },
                byte => bytes.push(byte),
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let pair = |part: &str| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        (decode(name), decode(value))
    };
    text.split('&').filter(|part| !part.is_empty()).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_decoded_once() {
        let found = parameters("query=%7B+a%20%7D&x=1%2B1&%C3%A9=%F0%9F%8F%83&bad=%zz");
        let want = [("query", "{ a }"), ("x", "1+1"), ("é", "🏃"), ("bad", "?")];
        assert_eq!(found, want.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn a_batch_is_refused() {
        assert!(of_body(br#"[{"query":"{a}"}]"#).is_err());
        assert!(of_body(br#"{"query":"{a}"}"#).is_ok());
    }
}
