//! `POST /api/v1/usage/batch`: usage in batches, for services that report much.
//!
//! ```json
//! { "organization": "org_… or a short name", "source": "gateway-1", "records": [
//!   { "usage_id": "call-4711", "occurred_at": "2026-11-21T04:50:00Z", "model": "gpt-4o",
//!     "power": "precision",
//!     "quantities": { "llm_tokens_input": 512, "llm_tokens_output": 96 } } ] }
//! ```
//!
//! All or nothing where the input is wrong: every wrong record is named by its index and nothing is
//! recorded. What a record repeats is no error: each is answered with a verdict of its own.

use super::App;
use super::about::problem_body;
use super::asker::asking;
use super::graphql::read_body;
use super::negotiation::is_json;
use crate::graphql::{LogPosition, RECORDS_MAX, Recording, moment, record};
use crate::problem::{Code, Problem};
use crate::reading::Asking;
use axum::Json;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use commands::{UsageAnswer, UsageItem, UsageReport, UsageVerdict};
use domain::values::{Code as ShortCode, OrganizationId};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use uuid::Uuid;

/// The most bytes of a batch.
const BODY_MAX: usize = 1_024 * 1_024;
/// How many wrong records are named at once.
const WRONG_MAX: usize = 100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch<'a> {
    organization: String,
    source: String,
    command_id: Option<Uuid>,
    /// Read one by one, so that one that is wrong does not hide the others.
    #[serde(borrow)]
    records: Vec<&'a serde_json::value::RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    usage_id: String,
    occurred_at: String,
    model: Option<String>,
    power: Option<String>,
    quantities: BTreeMap<String, u64>,
}

/// Why a batch was not recorded.
enum Refused {
    Problem(Problem),
    /// Which records are wrong, and how.
    Records(BTreeMap<usize, String>),
    /// The rules say no.
    Rules {
        code: String,
        message: String,
    },
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

/// Records a batch.
pub(crate) async fn batch(State(app): State<App>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    if !is_json(&parts.headers) {
        let message = "send application/json in UTF-8 (set the content type)";
        let problem = Problem::new(Code::BadUserInput, message);
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, problem_body(&problem)).into_response();
    }
    let asking = match asking(&app, &parts).await {
        Ok(asking) => asking,
        Err(problem) => return refuse(Refused::Problem(problem)),
    };
    if let Err(problem) = asking.signed_in() {
        return refuse(Refused::Problem(problem));
    }
    let bytes = match read_body(body, BODY_MAX).await {
        Ok(bytes) => bytes,
        Err((status, problem)) => return (status, problem_body(&problem)).into_response(),
    };
    match take(&asking, &bytes).await {
        Ok(answer) => Json(told(&asking, &answer)).into_response(),
        Err(refused) => refuse(refused),
    }
}

async fn take(asking: &Asking, bytes: &[u8]) -> Result<UsageAnswer, Refused> {
    let batch: Batch<'_> = serde_json::from_slice(bytes)
        .map_err(|error| Problem::new(Code::BadUserInput, format!("the batch: {error}")))?;
    if batch.records.is_empty() || batch.records.len() > RECORDS_MAX {
        let message = format!("{} records; send 1 to {RECORDS_MAX}", batch.records.len());
        return Err(Problem::input("records", message).into());
    }
    let source = batch.source.parse();
    let source = source.map_err(|e| Problem::input("source", format!("source: {e}")))?;
    let records = items(&batch.records)?;
    let organization_id = organization(asking, &batch.organization).await?;
    let command_id = batch.command_id;
    let report = UsageReport { organization_id, source, records, command_id };
    record(asking, report).await.map_err(|recording| match recording {
        Recording::Problem(problem) => Refused::Problem(problem),
        Recording::Refused(error) => {
            Refused::Rules { code: error.code_name(), message: error.message }
        }
    })
}

fn items(records: &[&serde_json::value::RawValue]) -> Result<Vec<UsageItem>, Refused> {
    let (mut items, mut wrong) = (Vec::with_capacity(records.len()), BTreeMap::new());
    for (index, raw) in records.iter().enumerate() {
        match item(raw.get()) {
            Ok(item) => items.push(item),
            Err(message) if wrong.len() < WRONG_MAX => {
                wrong.insert(index, message);
            }
            Err(_) => break,
        }
    }
    if wrong.is_empty() { Ok(items) } else { Err(Refused::Records(wrong)) }
}

fn item(text: &str) -> Result<UsageItem, String> {
    let record: Record = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let quantity = |(meter, quantity): (String, u64)| {
        Ok((meter.parse().map_err(|e: domain::values::CodeError| e.to_string())?, quantity))
    };
    let usage_id = record.usage_id.parse().map_err(|error| format!("usage_id: {error}"))?;
    let model = record.model.map(|model| model.parse()).transpose();
    let power = record.power.map(|power| power.parse()).transpose()?;
    Ok(UsageItem {
        usage_id,
        occurred_at: moment(&record.occurred_at).map_err(|e| format!("occurred_at: {e}"))?,
        model: model.map_err(|error| format!("model: {error}"))?,
        power: power.unwrap_or_default(),
        quantities: record.quantities.into_iter().map(quantity).collect::<Result<_, String>>()?,
    })
}

/// An organization by id or short name.
async fn organization(asking: &Asking, named: &str) -> Result<OrganizationId, Problem> {
    let none = || Problem::not_found("organization", named);
    if let Ok(id) = named.parse() {
        return Ok(id);
    }
    let slug: ShortCode = named.parse().map_err(|_| none())?;
    let found = asking.services.executor.organization_named(slug.as_str()).await?;
    found.ok_or_else(none)
}

fn told(asking: &Asking, answer: &UsageAnswer) -> Value {
    let shown = |position| LogPosition { log: asking.services.log_id, position }.to_string();
    let verdict = |verdict: &UsageVerdict| {
        let (word, position) = match verdict {
            UsageVerdict::Recorded(position) => ("recorded", position),
            UsageVerdict::Repeated(position) => ("repeated", position),
            UsageVerdict::Different(position) => ("different", position),
        };
        json!({ "verdict": word, "position": shown(*position) })
    };
    json!({
        "verdicts": answer.verdicts.iter().map(verdict).collect::<Vec<_>>(),
        "first_position": answer.first_position.map(shown),
        "last_position": answer.last_position.map(shown),
        "recorded_at": answer.recorded_at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true),
        "was_replayed": answer.was_replayed,
    })
}

fn refuse(refused: Refused) -> Response {
    match refused {
        Refused::Problem(problem) => {
            let status = problem.code.status();
            let mut response = (status, problem_body(&problem)).into_response();
            if status == StatusCode::UNAUTHORIZED {
                let how = axum::http::HeaderValue::from_static("Bearer realm=\"opscenter\"");
                response.headers_mut().insert(header::WWW_AUTHENTICATE, how);
            }
            response
        }
        Refused::Records(wrong) => {
            let problem = Problem::new(
                Code::BadUserInput,
                "nothing was recorded: correct the records named in `records` and send all again",
            );
            let mut body = problem_body(&problem).0;
            body["error"]["records"] = json!(wrong);
            (StatusCode::BAD_REQUEST, Json(body)).into_response()
        }
        Refused::Rules { code, message } => {
            let body = json!({ "error": { "code": code, "message": message } });
            (StatusCode::UNPROCESSABLE_ENTITY, Json(body)).into_response()
        }
    }
}
