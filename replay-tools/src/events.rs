//! `events`: history as JSON Lines, filtered, followed, or raw for verifying elsewhere.
//!
//! A body that is JSON is shown as it was written, to the byte; any other in base64. Personal data
//! stays sealed.

use crate::history::{Filter, Scan, settle};
use crate::moment::{Moment, printed, resolve};
use crate::output::Out;
use crate::raw::Line;
use crate::snapshot::Snapshot;
use crate::verify::tables::{Bounds, read};
use crate::verify::{PAGES_AHEAD, Page};
use crate::{Failure, organization, session};
use clap::Args;
use data_encoding::BASE64;
use domain::values::OrganizationId;
use event_log::{EventLog, Position, Recorded, StreamId};
use installation::Place;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use uuid::Uuid;

const FOLLOW_PAGE: usize = 1_000;

/// Which events are wanted, and in which form.
#[derive(Args, Clone, Debug, Default)]
#[command(after_long_help = "\
Examples:
  opscenter-replay events --limit 10
  opscenter-replay events --type usage_charged --organization acme --since 2026-11-01
  opscenter-replay events --stream credit_account/org_01… --follow
  opscenter-replay events --raw > log.jsonl      # for `verify --from log.jsonl` elsewhere")]
pub(crate) struct Options {
    /// Begin after this position
    #[arg(long, value_name = "POSITION", default_value_t = 0)]
    pub(crate) after: i64,
    /// Only events of this type; may be given several times
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) types: Vec<String>,
    /// Only events of this organization, by id or slug
    #[arg(long, value_name = "ORG")]
    pub(crate) organization: Option<String>,
    /// Only events of this stream, such as user/usr_01…
    #[arg(long, value_name = "STREAM")]
    pub(crate) stream: Option<String>,
    /// Only what this actor did, such as user/usr_01… or system/metering
    #[arg(long, value_name = "ACTOR")]
    pub(crate) actor: Option<String>,
    /// Only events recorded at or after this time
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<Moment>,
    /// Go on with what is appended from now on, until stopped
    #[arg(long)]
    pub(crate) follow: bool,
    /// End after so many events
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u64>,
    /// Every column and batch, for `verify --from` on another machine
    #[arg(long, conflicts_with_all = [
        "types", "organization", "stream", "actor", "since", "follow", "limit",
    ])]
    pub(crate) raw: bool,
}

/// Prints the events.
///
/// # Errors
/// When the log cannot be read, or a filter names what is not there.
pub(crate) async fn run(options: &Options, place: &Place, out: Out<'_>) -> Result<(), Failure> {
    let installation = session::open(place).await?;
    let log = installation.log();
    let result = if options.raw {
        raw(log, Position(options.after), out).await
    } else {
        listed(log, options, out).await
    };
    installation.close().await;
    result
}

async fn listed(log: &EventLog, options: &Options, out: Out<'_>) -> Result<(), Failure> {
    let head = log.head().await?;
    let tenant = match &options.organization {
        Some(name) => Some(organization::find(log, name, head).await?.id.uuid()),
        None => None,
    };
    let filter = Filter {
        tenant,
        types: known(&options.types)?,
        stream: options.stream.clone(),
        actor: options.actor.clone(),
    };
    let after = Position(options.after.max(since(log, options.since).await?.0));
    let mut left = options.limit.unwrap_or(u64::MAX);
    let mut scan = Scan::new(log, filter.clone(), after, head);
    while let Some(page) = scan.next().await? {
        if print(log, &page, &mut left, out).await? {
            return Ok(());
        }
    }
    if !options.follow {
        return Ok(());
    }
    let mut follower = log.follow(after.max(head));
    loop {
        let mut page = follower.next_page(FOLLOW_PAGE).await?;
        page.retain(|event| filter.takes(event));
        if print(log, &page, &mut left, out).await? {
            return Ok(());
        }
    }
}

/// Prints a page; true when there is no more to be printed.
async fn print(
    log: &EventLog,
    page: &[Recorded],
    left: &mut u64,
    out: Out<'_>,
) -> Result<bool, Failure> {
    if !page.is_empty() {
        settle(log).await;
    }
    for event in page {
        if *left == 0 {
            break;
        }
        *left -= 1;
        serde_json::to_writer(&mut *out, &Shown::from(event)).map_err(std::io::Error::from)?;
        out.write_all(b"\n")?;
    }
    out.flush()?;
    Ok(*left == 0)
}

/// The last position before a moment.
pub(crate) async fn since(log: &EventLog, moment: Option<Moment>) -> Result<Position, Failure> {
    match moment {
        None => Ok(Position::START),
        Some(Moment::Position(position)) => Ok(Position(position.0.saturating_sub(1))),
        Some(Moment::Time(at)) => {
            // Times of the log are whole microseconds.
            let before = at - chrono::TimeDelta::microseconds(1);
            resolve(log, Some(Moment::Time(before))).await
        }
    }
}

/// A type that no program ever writes would silently find nothing.
fn known(types: &[String]) -> Result<Vec<String>, Failure> {
    let names = domain::Event::names();
    for wanted in types {
        if !names.iter().any(|(name, _)| name == wanted) {
            let mut listed: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
            listed.sort_unstable();
            return Err(Failure::Usage(format!(
                "{wanted:?} is no type of event; there are {}",
                listed.join(", ")
            )));
        }
    }
    Ok(types.to_vec())
}

/// Every batch with its rows, as `verify --from` reads them.
async fn raw(log: &EventLog, after: Position, out: Out<'_>) -> Result<(), Failure> {
    settle(log).await;
    refuse_inside_batch(log, after).await?;
    let mut snapshot = Snapshot::take(log).await?;
    let bounds = Bounds::look(&mut snapshot).await?;
    let (sender, mut pages) = mpsc::channel(PAGES_AHEAD);
    let reader = tokio::spawn(async move { read(&mut snapshot, bounds, after.0, &sender).await });
    while let Some(page) = pages.recv().await {
        match page {
            Page::Groups(groups) => {
                for (batch, rows) in groups {
                    line(out, &batch.into())?;
                    rows.into_iter().try_for_each(|row| line(out, &row.into()))?;
                }
            }
            // The file would not say what is wrong as well as `verify` does here.
            Page::Finding(finding) => {
                return Err(Failure::Problem(format!(
                    "position {}: {}; run `opscenter-replay verify`",
                    finding.position, finding.problem
                )));
            }
        }
    }
    let read = reader.await;
    read.map_err(|error| Failure::Problem(format!("reading the log broke off: {error}")))??;
    Ok(out.flush()?)
}

/// A file that goes on another must begin with a whole batch.
async fn refuse_inside_batch(log: &EventLog, after: Position) -> Result<(), Failure> {
    let around: Option<(i64, i64)> = sqlx::query_as(
        "select first, last from event_log.log_batch where first <= $1 order by first desc limit 1",
    )
    .bind(after)
    .fetch_optional(log.pool())
    .await?;
    match around {
        Some((first, last)) if after.0 < last => Err(Failure::Usage(format!(
            "position {after} is inside a batch; go on after {} or {last}",
            first - 1
        ))),
        Some(_) | None => Ok(()),
    }
}

fn line(out: Out<'_>, line: &Line) -> Result<(), Failure> {
    serde_json::to_writer(&mut *out, line).map_err(std::io::Error::from)?;
    Ok(out.write_all(b"\n")?)
}

/// An event as it is printed.
#[derive(Serialize)]
struct Shown<'a> {
    position: i64,
    recorded_at: String,
    occurred_at: String,
    #[serde(rename = "type")]
    type_name: &'a str,
    schema_version: i16,
    /// None for what belongs to the platform.
    organization: Option<OrganizationId>,
    stream: Option<&'a StreamId>,
    stream_version: Option<i64>,
    event_id: Uuid,
    actor: &'a str,
    causation: Option<Uuid>,
    correlation: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    meta: Option<Body>,
    payload: Body,
}

/// Bytes as they are where they are JSON, else in base64.
#[derive(Serialize)]
#[serde(untagged)]
enum Body {
    Json(Box<RawValue>),
    Bytes { base64: String },
}

impl Body {
    fn of(bytes: &[u8]) -> Self {
        // Line breaks can only stand between the parts of JSON, where blanks mean the same.
        let text = std::str::from_utf8(bytes).map(|text| text.replace(['\n', '\r'], " "));
        let json = text.ok().and_then(|text| RawValue::from_string(text).ok());
        json.map_or_else(|| Self::Bytes { base64: BASE64.encode(bytes) }, Self::Json)
    }
}

impl<'a> From<&'a Recorded> for Shown<'a> {
    fn from(event: &'a Recorded) -> Self {
        let tenant = (!event.tenant.is_nil()).then(|| OrganizationId::new(event.tenant));
        Self {
            position: event.position.0,
            recorded_at: printed(event.recorded_at),
            occurred_at: printed(event.occurred_at),
            type_name: &event.type_name,
            schema_version: event.schema_version,
            organization: tenant,
            stream: event.stream.as_ref(),
            stream_version: event.stream_version,
            event_id: event.event_id,
            actor: &event.actor,
            causation: event.causation,
            correlation: event.correlation,
            meta: (!event.meta.is_empty()).then(|| Body::of(&event.meta)),
            payload: Body::of(&event.payload),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_shown_as_it_was_written_or_in_base64() {
        let shown = |bytes: &[u8]| serde_json::to_string(&Body::of(bytes)).expect("JSON");
        assert_eq!(shown(br#"{"b":1.10,"a":"x"}"#), r#"{"b":1.10,"a":"x"}"#);
        assert_eq!(shown(b"[1,\n2]"), "[1, 2]");
        assert_eq!(shown(b"\xff\x00"), r#"{"base64":"/wA="}"#);
        assert_eq!(shown(b""), r#"{"base64":""}"#);
    }
}
