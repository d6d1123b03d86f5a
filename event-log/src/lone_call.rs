//! One call of `event_log.append_alone`: a single small command, recorded and made durable by one
//! statement. What it cannot do it leaves undone, and `call.rs` goes the long way.

use crate::Position;
use crate::append::{Append, Receipt};
use crate::call::bind_events;
use crate::evidence::Prepared;
use chrono::DateTime;
use sqlx::Row;
use sqlx::postgres::PgConnection;
use std::sync::atomic::{AtomicI64, Ordering};
use uuid::Uuid;

const CALL: &str = "select event_log.append_alone($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, \
    $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22)";

/// The path that the function insists on; sessions that append have it.
pub(crate) const SEARCH_PATH: &str = "pg_catalog,pg_temp";

/// Above this a set is written faster than row by row.
const EVENTS_MAX: usize = 8;

/// Where the last batch known to this process begins. A guess: the database looks.
#[derive(Debug, Default)]
pub(crate) struct Tip(AtomicI64);

/// The streams of a command, each named once, and what becomes of it.
struct Streams<'a> {
    names: Vec<&'a str>,
    expected: Vec<i64>,
    /// The number of the last event of each, from 1; 0 for none.
    ends: Vec<i32>,
    /// The stream of each event, from 1.
    of_events: Vec<Option<i32>>,
}

impl<'a> Streams<'a> {
    /// None unless the version of every stream is relied on: then it need not be looked up.
    fn of(append: &'a Append, events: &'a [Prepared]) -> Option<Self> {
        let (mut names, mut expected) = (Vec::new(), Vec::new());
        for (stream, version) in append.expected_versions() {
            if names.contains(&stream.as_str()) {
                return None;
            }
            names.push(stream.as_str());
            expected.push(version);
        }
        let (mut ends, mut of_events) = (vec![0; names.len()], Vec::new());
        for (number, prepared) in (1..).zip(events) {
            let Some(stream) = &prepared.event.stream else {
                of_events.push(None);
                continue;
            };
            let index = names.iter().position(|name| *name == stream.as_str())?;
            *ends.get_mut(index)? = number;
            of_events.push(Some(i32::try_from(index + 1).ok()?));
        }
        // That a stream does not exist, without beginning it, is looked at the long way.
        let is_absent = ends.iter().zip(&expected).any(|(end, version)| *end == 0 && *version == 0);
        (!is_absent).then_some(Self { names, expected, ends, of_events })
    }
}

/// Records a command by itself, durably; none if that is not the way to record it, whereupon
/// nothing was written. So it is after an error of the database, too, unless the connection broke.
pub(crate) async fn append(
    connection: &mut PgConnection,
    tip: &Tip,
    append: &Append,
    events: &[Prepared],
) -> Result<Option<Receipt>, sqlx::Error> {
    let is_small = (1..=EVENTS_MAX).contains(&events.len())
        && !append.needs_to_be_first()
        && events.iter().all(|prepared| prepared.event.tags.is_empty());
    let streams = is_small.then(|| Streams::of(append, events)).flatten();
    let Some(streams) = streams else { return Ok(None) };
    let events: Vec<&Prepared> = events.iter().collect();
    let call = sqlx::query(CALL)
        .bind(tip.0.load(Ordering::Relaxed))
        .bind(append.command.id)
        .bind(append.tenant)
        .bind(append.command.content_hash.as_slice())
        .bind(streams.names)
        .bind(streams.expected)
        .bind(streams.ends)
        .bind(events.iter().map(|prepared| prepared.event.tenant).collect::<Vec<Uuid>>())
        .bind(streams.of_events);
    let row = bind_events(call, &events).fetch_one(connection).await?;
    let answer: Option<Vec<i64>> = row.try_get(0)?;
    let Some(&[first, last, micros]) = answer.as_deref() else { return Ok(None) };
    tip.0.store(first, Ordering::Relaxed);
    Ok(Some(Receipt {
        command_id: append.command.id,
        tenant: append.tenant,
        first_position: Position(first),
        last_position: Position(last),
        recorded_at: DateTime::from_timestamp_micros(micros).ok_or(sqlx::Error::RowNotFound)?,
        event_ids: events.iter().map(|prepared| prepared.event.event_id).collect(),
        was_replayed: false,
    }))
}
