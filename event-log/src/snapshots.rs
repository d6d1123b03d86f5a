//! Snapshots: the folded state of a long stream, so that loading it need not begin at its start.
//!
//! A snapshot may be thrown away at any time. It is keyed by the hash of what folded it: changed
//! code never meets a state that other code left behind. It is found only while the log still holds
//! the event that it was folded to, so that one of a history that a restored database does not have
//! is as good as none. What else a state must prove is its owner's to say.

use crate::evidence::Hash;
use crate::{EventLog, Position, ReadError, StreamId};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, Row};

/// A state and the version of the stream it was folded to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The last version it has taken in.
    pub version: i64,
    /// The position of that event.
    pub position: Position,
    /// The state, as its owner writes it.
    pub state: Vec<u8>,
}

/// A snapshot whose last event is in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptSnapshot {
    /// As it was left.
    pub snapshot: Snapshot,
    /// The hash that the log has for the event at its position.
    pub event_hash: Vec<u8>,
}

impl FromRow<'_, PgRow> for KeptSnapshot {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let snapshot = Snapshot {
            version: row.try_get("version")?,
            position: row.try_get("position")?,
            state: row.try_get("state")?,
        };
        Ok(Self { snapshot, event_hash: row.try_get("event_hash")? })
    }
}

impl EventLog {
    /// The newest snapshot of a stream that this reducer left at or before a position, if there is
    /// one.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn snapshot(
        &self,
        stream: &StreamId,
        reducer: &Hash,
        at: Position,
    ) -> Result<Option<KeptSnapshot>, ReadError> {
        let found = sqlx::query_as(
            "select s.version, s.position, s.state, l.event_hash
               from event_log.snapshot s
               join event_log.log l on l.position = s.position and l.stream = s.stream
                                   and l.stream_version = s.version
              where s.stream = $1 and s.reducer = $2 and s.position <= $3
              order by s.version desc limit 1",
        )
        .bind(stream.as_str())
        .bind(reducer.as_slice())
        .bind(at)
        .fetch_optional(self.pool())
        .await?;
        Ok(found)
    }

    /// The hash that the log has for the event at a position.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn event_hash(&self, position: Position) -> Result<Option<Vec<u8>>, ReadError> {
        let sql = "select event_hash from event_log.log where position = $1";
        Ok(sqlx::query_scalar(sql).bind(position).fetch_optional(self.pool()).await?)
    }

    /// Throws away every snapshot of a stream.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn drop_snapshots(&self, stream: &StreamId) -> Result<(), ReadError> {
        let sql = "delete from event_log.snapshot where stream = $1";
        sqlx::query(sql).bind(stream.as_str()).execute(self.pool()).await?;
        Ok(())
    }

    /// Keeps a snapshot in place of whatever has its version. What other reducers left of the
    /// stream goes; of this one's, those stay whose version is a multiple of `apart`, and this one.
    ///
    /// # Errors
    /// When the database does not answer; nothing has changed then.
    pub async fn leave_snapshot(
        &self,
        stream: &StreamId,
        reducer: &Hash,
        snapshot: &Snapshot,
        apart: i64,
    ) -> Result<(), ReadError> {
        // A crash may lose it, and loses nothing by that: nobody waits for the disk.
        let begin = "begin; set local synchronous_commit = off";
        let mut transaction = self.pool().begin_with(begin).await?;
        sqlx::query(
            "insert into event_log.snapshot (stream, reducer, version, position, state)
             values ($1, $2, $3, $4, $5)
             on conflict (stream, reducer, version) do update
                set position = excluded.position, state = excluded.state",
        )
        .bind(stream.as_str())
        .bind(reducer.as_slice())
        .bind(snapshot.version)
        .bind(snapshot.position)
        .bind(&snapshot.state)
        .execute(&mut *transaction)
        .await?;
        sqlx::query(
            "delete from event_log.snapshot
              where stream = $1
                and (reducer <> $2 or (version % greatest($4, 1) <> 0 and version < $3))",
        )
        .bind(stream.as_str())
        .bind(reducer.as_slice())
        .bind(snapshot.version)
        .bind(apart)
        .execute(&mut *transaction)
        .await?;
        Ok(transaction.commit().await?)
    }
}
