//! For machines that look after this one: alive, ready, figures.

use super::asker::asking;
use super::{App, Peer};
use crate::metrics as figures;
use crate::problem::Problem;
use axum::Json;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::access::Resource;
use event_log::witness::Sealing;
use projections::State as Standing;
use serde_json::{Value, json};
use std::time::Duration;

/// Read models may be so many events behind while the server counts as ready.
const LAG_MAX: i64 = 100_000;
/// How long the database may take to say where the log is.
const PATIENCE: Duration = Duration::from_secs(2);

/// The process runs.
pub(crate) async fn live() -> Json<Value> {
    Json(json!({ "status": "alive" }))
}

/// Requests can be answered: the database is there, and no read model stands still or is far
/// behind. Says what is wrong, without internals.
pub(crate) async fn ready(State(app): State<App>) -> Response {
    let Ok(standing) = tokio::time::timeout(PATIENCE, standing(&app)).await else {
        return not_ready(&["the database does not answer in time".to_owned()], &json!({}));
    };
    let Ok((head, models)) = standing else {
        return not_ready(&["the database cannot be reached".to_owned()], &json!({}));
    };
    let mut wrong: Vec<String> =
        app.services.log().halted().iter().map(ToString::to_string).collect();
    for model in &models {
        let (name, lag) = (&model.name, head - model.position.0);
        if model.state == Standing::Stopped {
            wrong.push(format!("read model {name} stands still and needs an operator"));
        } else if lag > LAG_MAX {
            wrong.push(format!("read model {name} is {lag} events behind"));
        }
    }
    let lags = models.iter().map(|model| {
        let lag = (head - model.position.0).max(0);
        (model.name.clone(), json!({ "lag": lag, "parked": model.parked }))
    });
    let details = json!({ "head": head, "readModels": Value::Object(lags.collect()) });
    if !wrong.is_empty() {
        return not_ready(&wrong, &details);
    }
    Json(json!({ "status": "ready", "details": details })).into_response()
}

fn not_ready(wrong: &[String], details: &Value) -> Response {
    let body = json!({ "status": "not ready", "wrong": wrong, "details": details });
    (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
}

async fn standing(app: &App) -> Result<(i64, Vec<projections::Standing>), Problem> {
    let models = app.services.progress.standings().await;
    let models = models.map_err(|error| Problem::unavailable(&error))?;
    let head = app.services.log().head().await?;
    Ok((head.0, models))
}

/// Up to where the log is signed; and sealed, where witnesses are asked and enough have cosigned.
async fn evidence(app: &App) -> Result<(u64, Option<u64>), Problem> {
    let log = app.services.log();
    let signed = log.newest_checkpoint().await?.map_or(0, |newest| newest.size);
    let sealed = match &app.services.sealing {
        Some(sealing) => log.sealed_checkpoint(sealing.policy()).await?,
        None => None,
    };
    Ok((signed, sealed.map(|sealed| sealed.size)))
}

/// Figures in Prometheus' text form: for this machine itself, and for whoever may read settings.
pub(crate) async fn metrics(State(app): State<App>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let is_local = parts.extensions.get::<Peer>().is_some_and(|peer| peer.0.ip().is_loopback());
    // Behind a proxy of this machine everybody looks local.
    let is_forwarded = ["x-forwarded-for", "forwarded", "via"]
        .iter()
        .any(|name| parts.headers.contains_key(*name));
    if !is_local || is_forwarded {
        let allowed = match asking(&app, &parts).await {
            Ok(asking) => asking.may_read(Resource::Settings).await,
            Err(problem) => Err(problem),
        };
        if let Err(problem) = allowed {
            return (problem.code.status(), super::about::problem_body(&problem)).into_response();
        }
    }
    if let Ok(Ok((signed, sealed))) = tokio::time::timeout(PATIENCE, evidence(&app)).await {
        let sealing = app.services.sealing.as_ref();
        let witnesses = sealing.map(Sealing::standings).unwrap_or_default();
        figures::evidence(signed, sealed, &witnesses);
    }
    if let Ok(Ok((head, models))) = tokio::time::timeout(PATIENCE, standing(&app)).await {
        let lag = |model: projections::Standing| (model.name, (head - model.position.0).max(0));
        let lags: Vec<_> = models.into_iter().map(lag).collect();
        let pool = app.services.log().pool();
        figures::standing(head, &lags, pool.size(), pool.num_idle());
    }
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, content_type)], figures::render()).into_response()
}
