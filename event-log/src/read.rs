//! Reading the log: by position, by stream, by id, by time.
//!
//! Every answer is a prefix of the truth without gaps. A read may show an event a moment before it
//! is on disk; whatever leaves the process because of it waits for [`EventLog::settle`] first, and
//! whoever appends because of it reads what is settled (`settled.rs`).

use crate::archive::ArchiveError;
use crate::{EventLog, Position, Receipt, Recorded, StreamId};
use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::postgres::{PgConnection, PgRow};
use uuid::Uuid;

/// Why the log could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The database did not answer.
    #[error("the log cannot be read just now; try again")]
    Unavailable(#[from] sqlx::Error),
    /// Positions are missing: somebody removed history.
    #[error("the log should go on at position {expected} but has {found}; verify it")]
    Gap {
        /// What should come next.
        expected: Position,
        /// What came.
        found: Position,
    },
    /// A body is in an archive, and cannot be had from there.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

macro_rules! columns {
    () => {
        "select position, tenant, stream, stream_version, type, schema_version, event_id, \
         recorded_at, occurred_at, actor, causation, correlation, meta, payload from event_log.log "
    };
}

impl EventLog {
    /// The position of the last event.
    pub async fn head(&self) -> Result<Position, ReadError> {
        let mut connection = self.pool().acquire().await?;
        Ok(head(&mut connection).await?)
    }

    /// What a command was answered, if it took effect. What this says is on disk.
    pub async fn receipt(&self, command_id: Uuid) -> Result<Option<Receipt>, ReadError> {
        let mut connection = self.pool().acquire().await?;
        let row = sqlx::query(
            "select tenant, first, last, recorded_at, event_ids
               from event_log.command_receipt where command_id = $1",
        )
        .bind(command_id)
        .fetch_optional(&mut *connection)
        .await?;
        let Some(row) = row else { return Ok(None) };
        // On the same connection: had it been lost meanwhile, so would be the connection.
        flush(&mut connection).await?;
        Ok(Some(Receipt {
            command_id,
            tenant: row.try_get("tenant")?,
            first_position: Position(row.try_get("first")?),
            last_position: Position(row.try_get("last")?),
            recorded_at: row.try_get("recorded_at")?,
            event_ids: row.try_get("event_ids")?,
            was_replayed: true,
        }))
    }

    /// Up to `limit` events after a position, in order.
    pub async fn read(&self, after: Position, limit: usize) -> Result<Vec<Recorded>, ReadError> {
        self.read_to(after, Position(i64::MAX), limit).await
    }

    /// Up to `limit` events after a position and up to another, in order.
    pub async fn read_to(
        &self,
        after: Position,
        to: Position,
        limit: usize,
    ) -> Result<Vec<Recorded>, ReadError> {
        let mut connection = self.pool().acquire().await?;
        let mut events = range(&mut connection, after, to, limit).await?;
        drop(connection);
        self.complete(&mut events).await?;
        Ok(events)
    }

    /// The events of a stream after a version, up to a position if one is given.
    pub async fn read_stream(
        &self,
        stream: &StreamId,
        after_version: i64,
        at: Option<Position>,
    ) -> Result<Vec<Recorded>, ReadError> {
        let mut connection = self.pool().acquire().await?;
        let mut events = stream_range(&mut connection, stream, after_version, at).await?;
        drop(connection);
        self.complete(&mut events).await?;
        Ok(events)
    }

    /// The version of a stream and the position of its last event, if it has any.
    pub async fn stream_head(
        &self,
        stream: &StreamId,
    ) -> Result<Option<(i64, Position)>, ReadError> {
        let sql = "select version, position from event_log.stream_head where stream = $1";
        let head: Option<(i64, Position)> =
            sqlx::query_as(sql).bind(stream.as_str()).fetch_optional(self.pool()).await?;
        Ok(head)
    }

    /// The event at a position.
    pub async fn event(&self, position: Position) -> Result<Option<Recorded>, ReadError> {
        let row = sqlx::query(concat!(columns!(), "where position = $1"))
            .bind(position)
            .fetch_optional(self.pool())
            .await?;
        let mut events: Vec<Recorded> =
            row.iter().map(recorded).collect::<Result<_, sqlx::Error>>()?;
        self.complete(&mut events).await?;
        Ok(events.pop())
    }

    /// The event with an id.
    pub async fn event_by_id(&self, id: Uuid) -> Result<Option<Recorded>, ReadError> {
        // Events of streams have an index of their own; the rest is found by its summary.
        for sql in [
            concat!(columns!(), "where event_id = $1 and stream is not null limit 1"),
            concat!(columns!(), "where event_id = $1 and stream is null limit 1"),
        ] {
            if let Some(row) = sqlx::query(sql).bind(id).fetch_optional(self.pool()).await? {
                let mut events = [recorded(&row)?];
                self.complete(&mut events).await?;
                let [event] = events;
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// The log's time now: whatever is recorded from here on is recorded at this moment or later.
    /// It is that of the database, which need not be that of this machine.
    pub async fn time(&self) -> Result<DateTime<Utc>, ReadError> {
        let sql = "select greatest(clock_timestamp(), (select recorded_at from event_log.log_batch
                                                        order by first desc limit 1))";
        Ok(sqlx::query_scalar(sql).fetch_one(self.pool()).await?)
    }

    /// The last position recorded at or before a moment.
    pub async fn position_at(&self, at: DateTime<Utc>) -> Result<Position, ReadError> {
        let sql = "select last from event_log.log_batch where recorded_at <= $1
                    order by recorded_at desc limit 1";
        let last: Option<i64> =
            sqlx::query_scalar(sql).bind(at).fetch_optional(self.pool()).await?;
        Ok(Position(last.unwrap_or_default()))
    }

    /// When the event at a position was recorded.
    pub async fn recorded_at(
        &self,
        position: Position,
    ) -> Result<Option<DateTime<Utc>>, ReadError> {
        let sql = "select recorded_at from event_log.log where position = $1";
        Ok(sqlx::query_scalar(sql).bind(position).fetch_optional(self.pool()).await?)
    }

    /// Where a usage record stands, if it was ever recorded.
    pub async fn usage_position(
        &self,
        tenant: Uuid,
        source: &str,
        usage_id: &str,
    ) -> Result<Option<Position>, ReadError> {
        let sql = "select i.position
                     from event_log.usage_source s
                     join event_log.usage_identity i on i.source_id = s.id
                    where s.tenant = $1 and s.source = $2 and i.usage_id = $3";
        let query = sqlx::query_scalar(sql).bind(tenant).bind(source).bind(usage_id);
        Ok(query.fetch_optional(self.pool()).await?)
    }
}

/// The position of the last event that is visible.
pub(crate) async fn head(connection: &mut PgConnection) -> Result<Position, sqlx::Error> {
    let sql = "select last from event_log.log_batch order by first desc limit 1";
    let last: Option<i64> = sqlx::query_scalar(sql).fetch_optional(connection).await?;
    Ok(Position(last.unwrap_or_default()))
}

/// Up to `limit` events after a position and up to another.
pub(crate) async fn range(
    connection: &mut PgConnection,
    after: Position,
    to: Position,
    limit: usize,
) -> Result<Vec<Recorded>, ReadError> {
    // Positions have no gaps: a range says what a limit would, and names its partitions.
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let to = to.0.min(after.0.saturating_add(limit));
    let rows =
        sqlx::query(concat!(columns!(), "where position > $1 and position <= $2 order by 1"))
            .bind(after.0)
            .bind(to)
            .fetch_all(connection)
            .await?;
    let events = rows.iter().map(recorded).collect::<Result<Vec<_>, _>>()?;
    let mut expected = after.next();
    for event in &events {
        if event.position != expected {
            return Err(ReadError::Gap { expected, found: event.position });
        }
        expected = expected.next();
    }
    Ok(events)
}

/// The events of a stream after a version, up to a position if one is given.
pub(crate) async fn stream_range(
    connection: &mut PgConnection,
    stream: &StreamId,
    after_version: i64,
    at: Option<Position>,
) -> Result<Vec<Recorded>, ReadError> {
    let rows = sqlx::query(concat!(
        columns!(),
        "where stream = $1 and stream_version > $2 and position <= $3 order by stream_version"
    ))
    .bind(stream.as_str())
    .bind(after_version)
    .bind(at.map_or(i64::MAX, |position| position.0))
    .fetch_all(connection)
    .await?;
    Ok(rows.iter().map(recorded).collect::<Result<Vec<_>, _>>()?)
}

/// Up to `limit` events of a stream after a version.
pub(crate) async fn stream_page(
    connection: &mut PgConnection,
    stream: &StreamId,
    after_version: i64,
    limit: i64,
) -> Result<Vec<Recorded>, ReadError> {
    let rows = sqlx::query(concat!(
        columns!(),
        "where stream = $1 and stream_version > $2 order by stream_version limit $3"
    ))
    .bind(stream.as_str())
    .bind(after_version)
    .bind(limit)
    .fetch_all(connection)
    .await?;
    Ok(rows.iter().map(recorded).collect::<Result<Vec<_>, _>>()?)
}

/// Returns once everything that was visible before is on disk.
pub(crate) async fn flush(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let sql = "select event_log.flush(case when has_function_privilege(
            'pg_logical_emit_message(boolean, text, text)', 'execute')
        then 'message' else 'row' end)";
    sqlx::query(sql).execute(connection).await?;
    Ok(())
}

pub(crate) fn recorded(row: &PgRow) -> Result<Recorded, sqlx::Error> {
    let stream: Option<String> = row.try_get(2)?;
    let stream = stream
        .map(StreamId::try_from)
        .transpose()
        .map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
    Ok(Recorded {
        position: Position(row.try_get(0)?),
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
