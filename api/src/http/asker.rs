//! Who asks: the key in `Authorization`, and what else a request says about itself.

use super::about::Correlation;
use super::{App, Peer};
use crate::graphql::LogPosition;
use crate::problem::{Code, Problem};
use crate::reading::{Asking, own_position};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use commands::{Caller, Failure};
use event_log::Position;

const CONSISTENCY: &str = "ops-consistency";

/// The request as resolvers see it. Without a key it is nobody's; with one that does not work it is
/// refused, so that a typo never becomes an anonymous success.
pub(crate) async fn asking(app: &App, parts: &Parts) -> Result<Asking, Problem> {
    let caller = caller(app, &parts.headers).await?;
    let origin = parts.extensions.get::<Peer>().map(|peer| peer.0.ip().to_string());
    let correlation = parts.extensions.get::<Correlation>().map(|correlation| correlation.0);
    let at_least = at_least(app, &parts.headers)?;
    Ok(Asking::new(app.services.clone(), caller.with_request(origin, correlation), at_least))
}

async fn caller(app: &App, headers: &HeaderMap) -> Result<Caller, Problem> {
    let Some(given) = headers.get(header::AUTHORIZATION) else { return Ok(Caller::anonymous()) };
    let key = given.to_str().ok().and_then(bearer);
    let key = key.ok_or_else(|| {
        Problem::new(Code::Unauthenticated, "send the key as `Authorization: Bearer opc_…`")
    })?;
    app.services.executor.authenticate(key).await.map_err(|failure| match failure {
        Failure::Unauthenticated => {
            let message = "the key does not work: unknown, mistyped, expired or revoked";
            Problem::new(Code::Unauthenticated, message)
        }
        failure => failure.into(),
    })
}

fn bearer(given: &str) -> Option<&str> {
    let (scheme, key) = given.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(key.trim())
}

/// `Ops-Consistency: at-least=<position>`.
fn at_least(app: &App, headers: &HeaderMap) -> Result<Option<Position>, Problem> {
    let Some(given) = headers.get(CONSISTENCY) else { return Ok(None) };
    let text = given.to_str().unwrap_or_default();
    let position = text.trim().strip_prefix("at-least=").map(str::parse::<LogPosition>);
    match position {
        Some(Ok(position)) => own_position(&app.services, position, "Ops-Consistency").map(Some),
        Some(Err(message)) => Err(Problem::input("Ops-Consistency", message)),
        None => Err(Problem::input(
            "Ops-Consistency",
            "write it as `Ops-Consistency: at-least=<position>`",
        )),
    }
}
