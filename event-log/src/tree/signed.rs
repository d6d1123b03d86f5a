//! Signed checkpoints as they are kept: every one there ever was, with what witnesses signed.

use super::read::TreeError;
use crate::{EventLog, Position};
use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::postgres::PgRow;

/// A signed checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCheckpoint {
    /// How many events it covers.
    pub size: u64,
    /// When it was kept.
    pub recorded_at: DateTime<Utc>,
    /// The signed note, with the lines of witnesses at its end.
    pub note: String,
    /// Which witnesses signed it, and when.
    pub cosignatures: Vec<(String, DateTime<Utc>)>,
}

const CHECKPOINT: &str = "
select c.size, c.recorded_at, c.note,
       coalesce((select string_agg(s.line || chr(10), '' order by s.witness)
                   from event_log.cosignature s where s.size = c.size), '') as lines,
       array(select s.witness from event_log.cosignature s
              where s.size = c.size order by s.witness) as witnesses,
       array(select s.signed_at from event_log.cosignature s
              where s.size = c.size order by s.witness) as signed
  from event_log.checkpoint c";

fn signed(row: &PgRow) -> Result<SignedCheckpoint, TreeError> {
    let (note, lines): (String, String) = (row.try_get("note")?, row.try_get("lines")?);
    let witnesses: Vec<String> = row.try_get("witnesses")?;
    let times: Vec<DateTime<Utc>> = row.try_get("signed")?;
    Ok(SignedCheckpoint {
        size: u64::try_from(row.try_get::<i64, _>("size")?).map_err(|_| TreeError::Damaged)?,
        recorded_at: row.try_get("recorded_at")?,
        note: note + &lines,
        cosignatures: witnesses.into_iter().zip(times).collect(),
    })
}

impl EventLog {
    /// The newest checkpoint; none before the first was signed.
    pub async fn newest_checkpoint(&self) -> Result<Option<SignedCheckpoint>, TreeError> {
        let mut query = sqlx::QueryBuilder::new(CHECKPOINT);
        query.push(" order by c.size desc limit 1");
        query.build().fetch_optional(self.pool()).await?.as_ref().map(signed).transpose()
    }

    /// The checkpoint of exactly this size.
    pub async fn checkpoint_of(&self, size: u64) -> Result<Option<SignedCheckpoint>, TreeError> {
        let Ok(size) = i64::try_from(size) else { return Ok(None) };
        let mut query = sqlx::QueryBuilder::new(CHECKPOINT);
        query.push(" where c.size = ").push_bind(size);
        query.build().fetch_optional(self.pool()).await?.as_ref().map(signed).transpose()
    }

    /// The first checkpoint that covers a position.
    pub async fn checkpoint_covering(
        &self,
        position: Position,
    ) -> Result<Option<SignedCheckpoint>, TreeError> {
        let mut query = sqlx::QueryBuilder::new(CHECKPOINT);
        query.push(" where c.size >= ").push_bind(position.0);
        query.push(" order by c.size limit 1");
        query.build().fetch_optional(self.pool()).await?.as_ref().map(signed).transpose()
    }

    /// Checkpoints beyond a size, in order.
    pub async fn checkpoints_after(
        &self,
        size: u64,
        limit: i64,
    ) -> Result<Vec<SignedCheckpoint>, TreeError> {
        let Ok(size) = i64::try_from(size) else { return Ok(Vec::new()) };
        let mut query = sqlx::QueryBuilder::new(CHECKPOINT);
        query.push(" where c.size > ").push_bind(size);
        query.push(" order by c.size limit ").push_bind(limit);
        query.build().fetch_all(self.pool()).await?.iter().map(signed).collect()
    }
}
