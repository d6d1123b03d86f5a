//! Reading history in pages: one stream, or everything that fits a filter.
//!
//! Nothing here holds more than a page: a log of any length is folded in the memory of one.

use crate::Failure;
use domain::Event;
use event_log::{EventLog, Position, Recorded, StreamId};
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Row};
use uuid::Uuid;

/// How many positions one query looks at, so that a filter that fits nothing is not one long query.
const WINDOW: i64 = 50_000;
/// How many events one page holds at most; fewer where they are large.
const PAGE_EVENTS_MAX: i64 = 3_000;
const PAGE_EVENTS_MIN: i64 = 50;
/// What a page may weigh. A charge can be a hundred times as long as a usage record.
pub(crate) const PAGE_BYTES: usize = 8 << 20;

const COLUMNS: &str = "select position, tenant, stream, stream_version, type, schema_version,
    event_id, recorded_at, occurred_at, actor, causation, correlation, meta, payload
    from event_log.log ";

/// Which events are wanted; what is not said does not matter.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    /// Of this organization.
    pub(crate) tenant: Option<Uuid>,
    /// With one of these names; any when empty.
    pub(crate) types: Vec<String>,
    /// Of this stream.
    pub(crate) stream: Option<String>,
    /// By this actor.
    pub(crate) actor: Option<String>,
}

impl Filter {
    /// Whether an event is wanted.
    #[must_use]
    pub(crate) fn takes(&self, event: &Recorded) -> bool {
        let stream = event.stream.as_ref().map(StreamId::as_str);
        self.tenant.is_none_or(|tenant| tenant == event.tenant)
            && (self.types.is_empty() || self.types.contains(&event.type_name))
            && self.stream.as_ref().is_none_or(|name| Some(name.as_str()) == stream)
            && self.actor.as_ref().is_none_or(|actor| *actor == event.actor)
    }
}

/// How many events to ask for next, so that a page stays about as heavy whatever it holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PageSize(i64);

impl PageSize {
    /// Before anything is known.
    pub(crate) const fn new() -> Self {
        Self(PAGE_EVENTS_MAX / 3)
    }

    /// How many to ask for.
    pub(crate) const fn events(self) -> i64 {
        self.0
    }

    /// Learns from a page what events weigh here.
    pub(crate) fn learn(&mut self, bodies: impl ExactSizeIterator<Item = usize>) {
        let count = bodies.len();
        if let Some(each) = bodies.sum::<usize>().checked_div(count) {
            let fit = i64::try_from(PAGE_BYTES / each.max(1)).unwrap_or(i64::MAX);
            self.0 = fit.clamp(PAGE_EVENTS_MIN, PAGE_EVENTS_MAX);
        }
    }
}

/// A walk over the events that fit a filter, in the order of the log.
#[derive(Debug)]
pub(crate) struct Scan {
    log: EventLog,
    filter: Filter,
    after: Position,
    to: Position,
    size: PageSize,
}

impl Scan {
    /// From after a position up to and with another.
    #[must_use]
    pub(crate) fn new(log: &EventLog, filter: Filter, after: Position, to: Position) -> Self {
        Self { log: log.clone(), filter, after, to, size: PageSize::new() }
    }

    /// Up to where it has looked.
    #[must_use]
    pub(crate) fn position(&self) -> Position {
        self.after
    }

    /// The next events; `None` when there are no more. A page may be empty before that.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<Recorded>>, Failure> {
        if self.after >= self.to {
            return Ok(None);
        }
        let end = self.to.0.min(self.after.0.saturating_add(WINDOW));
        let sql = format!(
            "{COLUMNS} where position > $1 and position <= $2
                and ($3::uuid is null or tenant = $3)
                and (cardinality($4::text[]) = 0 or type = any($4))
                and ($5::text is null or stream = $5)
                and ($6::text is null or actor = $6)
              order by position limit $7"
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(self.after)
            .bind(end)
            .bind(self.filter.tenant)
            .bind(&self.filter.types)
            .bind(self.filter.stream.as_deref())
            .bind(self.filter.actor.as_deref())
            .bind(self.size.events())
            .fetch_all(self.log.pool())
            .await?;
        let page = completed(&self.log, &rows).await?;
        let full = i64::try_from(page.len()).is_ok_and(|count| count == self.size.events());
        self.size.learn(page.iter().map(|event| event.payload.len()));
        self.after = match page.last() {
            Some(last) if full => last.position,
            Some(_) | None => Position(end),
        };
        Ok(Some(page))
    }
}

/// The events of a stream after a version, up to a position: one page of them.
///
/// # Errors
/// When the database does not answer.
pub(crate) async fn stream_page(
    log: &EventLog,
    stream: &StreamId,
    after_version: i64,
    to: Position,
    limit: i64,
) -> Result<Vec<Recorded>, Failure> {
    let sql = format!(
        "{COLUMNS} where stream = $1 and stream_version > $2 and position <= $3
          order by stream_version limit $4"
    );
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(stream.as_str())
        .bind(after_version)
        .bind(to)
        .bind(limit)
        .fetch_all(log.pool())
        .await?;
    completed(log, &rows).await
}

/// The events at these positions, in order.
///
/// # Errors
/// When the database does not answer.
pub(crate) async fn at_positions(
    log: &EventLog,
    positions: &[i64],
) -> Result<Vec<Recorded>, Failure> {
    let sql = format!("{COLUMNS} where position = any($1) order by position");
    let rows = sqlx::query(AssertSqlSafe(sql)).bind(positions).fetch_all(log.pool()).await?;
    completed(log, &rows).await
}

/// Up to `limit` events of some names after a position, in order.
///
/// # Errors
/// When the database does not answer.
pub(crate) async fn of_types(
    log: &EventLog,
    types: &[&str],
    after: Position,
    limit: i64,
) -> Result<Vec<Recorded>, Failure> {
    let sql =
        format!("{COLUMNS} where position > $1 and type = any($2) order by position limit $3");
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(after)
        .bind(types)
        .bind(limit)
        .fetch_all(log.pool())
        .await?;
    completed(log, &rows).await
}

/// What was recorded, as the domain reads it.
///
/// # Errors
/// [`Failure::Event`] for one that this program does not know.
pub(crate) fn decode(recorded: &Recorded) -> Result<Event, Failure> {
    Event::decode(&recorded.type_name, recorded.schema_version, &recorded.payload)
        .map_err(|source| Failure::Event { position: recorded.position, source })
}

/// Returns once everything that was visible before is on disk, so that no answer tells of what a
/// crash takes back. A role that may only look cannot ask for that; the log's own appends make it
/// so within milliseconds.
pub(crate) async fn settle(log: &EventLog) {
    if let Err(error) = log.settle().await {
        tracing::debug!(%error, "the log could not be asked to write itself out");
    }
}

/// Events with the bodies that lie in archives.
async fn completed(log: &EventLog, rows: &[PgRow]) -> Result<Vec<Recorded>, Failure> {
    let mut events = rows.iter().map(recorded).collect::<Result<Vec<_>, _>>()?;
    log.complete(&mut events).await?;
    Ok(events)
}

fn recorded(row: &PgRow) -> Result<Recorded, sqlx::Error> {
    let stream: Option<String> = row.try_get(2)?;
    let stream = stream
        .map(StreamId::try_from)
        .transpose()
        .map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
    Ok(Recorded {
        position: row.try_get(0)?,
        tenant: row.try_get(1)?,
        stream,
        stream_version: row.try_get(3)?,
        type_name: row.try_get(4)?,
        schema_version: row.try_get(5)?,
        event_id: row.try_get(6)?,
        recorded_at: row.try_get(7)?,
        occurred_at: row.try_get(8)?,
        actor: row.try_get(9)?,
        causation: row.try_get(10)?,
        correlation: row.try_get(11)?,
        meta: row.try_get(12)?,
        payload: row.try_get(13)?,
    })
}
