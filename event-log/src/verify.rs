//! Verification: the log as it lies in the database, and whether it is what was recorded.
//!
//! Pure but for the two readers at the end. A verifier walks batches and rows side by side and
//! gives each pair to [`Verifier::batch`]; the first thing that is wrong is named by position.

pub use crate::evidence::{
    CHAIN_START, EVENT_MAGIC, Hash, Header, chain_next, event_hash, header_bytes, meta_commit,
    micros, payload_commit,
};
use crate::purge::PurgedRows;
use crate::{EventLog, Position, ReadError};
use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, Row};
use std::collections::HashMap;
use uuid::Uuid;

/// One row of the log with every column.
#[derive(Clone, Debug)]
pub struct RawRow {
    /// Place in the total order.
    pub position: i64,
    /// Whose it is.
    pub tenant: Uuid,
    /// Where it belongs.
    pub stream: Option<String>,
    /// Place in the stream.
    pub stream_version: Option<i64>,
    /// Stored name.
    pub type_name: String,
    /// Which form of that name.
    pub schema_version: i16,
    /// Its own id.
    pub event_id: Uuid,
    /// The log's time.
    pub recorded_at: DateTime<Utc>,
    /// The writer's time.
    pub occurred_at: DateTime<Utc>,
    /// Who did it.
    pub actor: String,
    /// What it follows from.
    pub causation: Option<Uuid>,
    /// What it belongs together with.
    pub correlation: Option<Uuid>,
    /// Bytes about it.
    pub meta: Vec<u8>,
    /// The body.
    pub payload: Vec<u8>,
    /// Salt of the meta commitment.
    pub meta_salt: Vec<u8>,
    /// Salt of the payload commitment.
    pub payload_salt: Vec<u8>,
    /// Whose keys the body was sealed with.
    pub subjects: Vec<Uuid>,
    /// The hash made when it was recorded.
    pub event_hash: Vec<u8>,
    /// What is left of a payload that was purged.
    pub payload_commit: Option<Vec<u8>>,
    /// What is left of bytes about it that were purged.
    pub meta_commit: Option<Vec<u8>>,
}

impl FromRow<'_, PgRow> for RawRow {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            position: row.try_get("position")?,
            tenant: row.try_get("tenant")?,
            stream: row.try_get("stream")?,
            stream_version: row.try_get("stream_version")?,
            type_name: row.try_get("type")?,
            schema_version: row.try_get("schema_version")?,
            event_id: row.try_get("event_id")?,
            recorded_at: row.try_get("recorded_at")?,
            occurred_at: row.try_get("occurred_at")?,
            actor: row.try_get("actor")?,
            causation: row.try_get("causation")?,
            correlation: row.try_get("correlation")?,
            meta: row.try_get("meta")?,
            payload: row.try_get("payload")?,
            meta_salt: row.try_get("meta_salt")?,
            payload_salt: row.try_get("payload_salt")?,
            subjects: row.try_get("subjects")?,
            event_hash: row.try_get("event_hash")?,
            payload_commit: row.try_get("payload_commit")?,
            meta_commit: row.try_get("meta_commit")?,
        })
    }
}

/// One batch as the log keeps it.
#[derive(Clone, Debug)]
pub struct RawBatch {
    /// Its first position.
    pub first: i64,
    /// Its last position.
    pub last: i64,
    /// When the log took it.
    pub recorded_at: DateTime<Utc>,
    /// The chain after it.
    pub chain: Vec<u8>,
}

impl FromRow<'_, PgRow> for RawBatch {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            first: row.try_get("first")?,
            last: row.try_get("last")?,
            recorded_at: row.try_get("recorded_at")?,
            chain: row.try_get("chain")?,
        })
    }
}

/// The first thing found wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("position {position}: {problem}")]
pub struct Finding {
    /// Where.
    pub position: Position,
    /// What.
    pub problem: Problem,
}

/// What can be wrong with a log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The batches do not follow each other.
    #[error("the batch should begin at {expected}")]
    BatchGap {
        /// Where it should begin.
        expected: i64,
    },
    /// A batch ends before it begins.
    #[error("the batch ends at {last}, before its beginning")]
    BatchBounds {
        /// Where it claims to end.
        last: i64,
    },
    /// Rows are missing, doubled or out of place.
    #[error("the row here has position {found}")]
    RowPosition {
        /// What stands there; zero for nothing.
        found: i64,
    },
    /// The content is not what was recorded.
    #[error("the event's content does not have the hash it was recorded with")]
    EventHash,
    /// The event's time is not its batch's.
    #[error("the event's recorded time is not that of its batch")]
    RecordedAt,
    /// The log's time did not move forward.
    #[error("the log's time does not move forward here")]
    TimeOrder,
    /// The stream's versions have a gap or a double.
    #[error("{stream} should be at version {expected}, not {found}")]
    StreamVersion {
        /// Which stream.
        stream: String,
        /// What the count says.
        expected: i64,
        /// What the row says.
        found: i64,
    },
    /// A version without a stream, or a stream without a version.
    #[error("the event has only one of stream and version")]
    StreamShape,
    /// The chain is not the one that follows.
    #[error("the chain does not follow from what is before it")]
    Chain,
    /// Bodies and their commitments are there, or only one of the two went.
    #[error("the event was purged by half")]
    HalfPurged,
    /// The body is gone, and no recorded purge covers it.
    #[error("the body is gone and no recorded purge says so")]
    UnrecordedPurge,
}

/// Walks a log from its beginning and remembers what the next batch has to follow from.
#[derive(Debug, Default)]
pub struct Verifier {
    chain: Hash,
    last: i64,
    recorded_at: Option<DateTime<Utc>>,
    versions: HashMap<String, i64>,
    purged: PurgedRows,
}

impl Verifier {
    /// Before the first batch.
    #[must_use]
    pub fn new() -> Self {
        Self { chain: CHAIN_START, ..Self::default() }
    }

    /// Up to where everything held.
    #[must_use]
    pub fn position(&self) -> Position {
        Position(self.last)
    }

    /// The chain up to there: compare it with one kept outside the database.
    #[must_use]
    pub fn chain(&self) -> Hash {
        self.chain
    }

    /// Checks the next batch with its rows.
    pub fn batch(&mut self, batch: &RawBatch, rows: &[RawRow]) -> Result<(), Finding> {
        let at =
            |position: i64, problem: Problem| Finding { position: Position(position), problem };
        let expected = self.last + 1;
        if batch.first != expected {
            return Err(at(batch.first.min(expected), Problem::BatchGap { expected }));
        }
        let count = i32::try_from(batch.last - batch.first + 1)
            .ok()
            .filter(|count| *count > 0)
            .ok_or_else(|| at(batch.first, Problem::BatchBounds { last: batch.last }))?;
        if self.recorded_at.is_some_and(|before| batch.recorded_at <= before) {
            return Err(at(batch.first, Problem::TimeOrder));
        }
        let mut hashes = Vec::with_capacity(rows.len());
        for (position, row) in (batch.first..).zip(rows) {
            if row.position != position || position > batch.last {
                return Err(at(position, Problem::RowPosition { found: row.position }));
            }
            hashes.push(self.row(row, batch).map_err(|problem| at(position, problem))?);
        }
        let found = i64::try_from(rows.len()).unwrap_or(i64::MAX);
        if found != i64::from(count) {
            return Err(at(batch.first + found, Problem::RowPosition { found: 0 }));
        }
        let recorded = micros(batch.recorded_at);
        let chain = chain_next(&self.chain, batch.first, count, recorded, &hashes);
        if chain != batch.chain[..] {
            return Err(at(batch.first, Problem::Chain));
        }
        self.chain = chain;
        self.last = batch.last;
        self.recorded_at = Some(batch.recorded_at);
        Ok(())
    }

    /// The events without bodies so far: each is tampering until a recorded purge covers it.
    #[must_use]
    pub fn purged(&self) -> &PurgedRows {
        &self.purged
    }

    /// Takes in what a recorded purge says about events before it.
    pub fn cover(&mut self, runs: &[(i64, i64)], digest: &Hash) -> Result<(), Finding> {
        let missing = |position| Finding { position, problem: Problem::UnrecordedPurge };
        self.purged.cover(runs, digest).map_err(missing)
    }

    /// At the end of the log: every body that is gone is covered.
    pub fn finish(&self) -> Result<(), Finding> {
        match self.purged.first_uncovered() {
            None => Ok(()),
            Some(position) => Err(Finding { position, problem: Problem::UnrecordedPurge }),
        }
    }

    fn row(&mut self, row: &RawRow, batch: &RawBatch) -> Result<Hash, Problem> {
        if row.is_purged() != row.is_purged_whole() {
            return Err(Problem::HalfPurged);
        }
        let hash = row.hash();
        if hash != row.event_hash[..] {
            return Err(Problem::EventHash);
        }
        if row.recorded_at != batch.recorded_at {
            return Err(Problem::RecordedAt);
        }
        if row.is_purged() {
            self.purged.note(row.position, row.event_id, hash);
        }
        match (&row.stream, row.stream_version) {
            (None, None) => {}
            (Some(stream), Some(found)) => {
                let version = self.versions.entry(stream.clone()).or_default();
                *version += 1;
                if *version != found {
                    let (stream, expected) = (stream.clone(), *version);
                    return Err(Problem::StreamVersion { stream, expected, found });
                }
            }
            (None, Some(_)) | (Some(_), None) => return Err(Problem::StreamShape),
        }
        Ok(hash)
    }
}

impl RawRow {
    /// The hash that its content has now.
    #[must_use]
    pub fn hash(&self) -> Hash {
        event_hash(&self.header())
    }

    /// The header as it is hashed.
    #[must_use]
    pub fn header_bytes(&self) -> Vec<u8> {
        header_bytes(&self.header())
    }

    fn header(&self) -> Header<'_> {
        Header {
            tenant: self.tenant,
            stream: self.stream.as_deref(),
            type_name: &self.type_name,
            schema_version: self.schema_version,
            event_id: self.event_id,
            occurred_at_micros: micros(self.occurred_at),
            actor: &self.actor,
            causation: self.causation,
            correlation: self.correlation,
            subjects: &self.subjects,
            payload_commit: kept(self.payload_commit.as_deref())
                .unwrap_or_else(|| payload_commit(&self.payload_salt, &self.payload)),
            meta_commit: kept(self.meta_commit.as_deref())
                .unwrap_or_else(|| meta_commit(&self.meta_salt, &self.meta)),
        }
    }

    /// Whether anything of it was purged.
    #[must_use]
    pub fn is_purged(&self) -> bool {
        self.payload_commit.is_some() || self.meta_commit.is_some()
    }

    /// Whether both bodies went with their salts, and both commitments are there.
    pub(crate) fn is_purged_whole(&self) -> bool {
        let bodies = [&self.payload, &self.meta, &self.payload_salt, &self.meta_salt];
        let commits = [&self.payload_commit, &self.meta_commit];
        bodies.iter().all(|body| body.is_empty())
            && commits.iter().all(|commit| kept(commit.as_deref()).is_some())
    }
}

fn kept(commit: Option<&[u8]>) -> Option<Hash> {
    commit.and_then(|bytes| bytes.try_into().ok())
}

impl EventLog {
    /// Rows after a position with every column, in order of position; gaps stay gaps.
    pub async fn raw_rows(&self, after: Position, limit: usize) -> Result<Vec<RawRow>, ReadError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let sql = "select * from event_log.log where position > $1 order by position limit $2";
        let mut rows: Vec<RawRow> =
            sqlx::query_as(sql).bind(after.0).bind(limit).fetch_all(self.pool()).await?;
        self.complete_rows(rows.iter_mut()).await?;
        Ok(rows)
    }

    /// The rows at these positions with every column, in order of position.
    pub async fn raw_rows_at(&self, positions: &[i64]) -> Result<Vec<RawRow>, ReadError> {
        let sql = "select * from event_log.log where position = any ($1) order by position";
        let mut rows: Vec<RawRow> =
            sqlx::query_as(sql).bind(positions).fetch_all(self.pool()).await?;
        self.complete_rows(rows.iter_mut()).await?;
        Ok(rows)
    }

    /// Where the events after a position stand, and whose they are: enough to decide who may see
    /// them, without a body. In order of position; gaps stay gaps.
    pub async fn owners(
        &self,
        after: Position,
        limit: usize,
    ) -> Result<Vec<(i64, Uuid)>, ReadError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let sql = "select position, tenant from event_log.log
                    where position > $1 order by position limit $2";
        Ok(sqlx::query_as(sql).bind(after.0).bind(limit).fetch_all(self.pool()).await?)
    }

    /// Rows of one batch with every column.
    pub async fn raw_rows_of(&self, batch: &RawBatch) -> Result<Vec<RawRow>, ReadError> {
        let sql = "select * from event_log.log where position between $1 and $2 order by position";
        let (first, last) = (batch.first, batch.last);
        let mut rows: Vec<RawRow> =
            sqlx::query_as(sql).bind(first).bind(last).fetch_all(self.pool()).await?;
        self.complete_rows(rows.iter_mut()).await?;
        Ok(rows)
    }

    /// Batches that begin after a position, in order.
    pub async fn batches(&self, after: Position, limit: usize) -> Result<Vec<RawBatch>, ReadError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let sql = "select first, last, recorded_at, chain from event_log.log_batch
                    where first > $1 order by first limit $2";
        Ok(sqlx::query_as(sql).bind(after.0).bind(limit).fetch_all(self.pool()).await?)
    }
}
