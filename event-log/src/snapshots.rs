//! Snapshots: the folded state of a long stream, so that loading it need not begin at its start.
//!
//! A snapshot may be thrown away at any time. It is keyed by the hash of what folded it: changed
//! code never meets a state that other code left behind.

use crate::{Position, StreamId};
use sqlx::postgres::{PgConnection, PgRow};
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

impl FromRow<'_, PgRow> for Snapshot {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            version: row.try_get("version")?,
            position: row.try_get("position")?,
            state: row.try_get("state")?,
        })
    }
}

/// The snapshot of a stream that this reducer left, if there is one.
pub async fn snapshot_load(
    connection: &mut PgConnection,
    stream: &StreamId,
    reducer: &[u8; 32],
) -> Result<Option<Snapshot>, sqlx::Error> {
    sqlx::query_as(
        "select version, position, state from event_log.snapshot
          where stream = $1 and reducer = $2",
    )
    .bind(stream.as_str())
    .bind(reducer.as_slice())
    .fetch_optional(connection)
    .await
}

/// Keeps a snapshot, unless a later one is there already.
pub async fn snapshot_store(
    connection: &mut PgConnection,
    stream: &StreamId,
    reducer: &[u8; 32],
    snapshot: &Snapshot,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into event_log.snapshot as s (stream, reducer, version, position, state)
         values ($1, $2, $3, $4, $5)
         on conflict (stream, reducer) do update
            set version = excluded.version, position = excluded.position, state = excluded.state
          where s.version < excluded.version",
    )
    .bind(stream.as_str())
    .bind(reducer.as_slice())
    .bind(snapshot.version)
    .bind(snapshot.position)
    .bind(&snapshot.state)
    .execute(connection)
    .await?;
    Ok(())
}
