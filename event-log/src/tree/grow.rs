//! Letting the tree grow behind the head of the log.
//!
//! One process at a time does it, under a lease that only saves work: the step that writes compares
//! the size it started from, so that of two growers one writes and the other starts over from what
//! is there. Nothing is rebuilt at a start: the edge, the counts and the last batch are read, and
//! growing goes on. What a step writes commits after the events it covers, so that no crash leaves
//! a tree that is ahead of its log.
//!
//! The chain of every batch is recomputed on the way. A batch that does not follow from the one
//! before stops the tree there: nothing above it is ever signed.

use super::edge::{Edge, TILE_WIDTH, Tile};
use super::entry::Entry;
use super::organizations::Organizations;
use crate::evidence::{CHAIN_START, Hash, chain_next, micros};
use crate::verify::RawBatch;
use crate::{EventLog, Position, ReadError};
use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;
use std::collections::BTreeMap;
use uuid::Uuid;

/// How many batches and events one step takes in at most (one batch more than the events allow).
const BATCHES_MAX: i64 = 2_000;
const EVENTS_MAX: i64 = 16_384;

/// Why the tree does not grow.
#[derive(Debug, thiserror::Error)]
pub enum GrowError {
    /// The database did not answer.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// What is stored of the tree is not what a tree of its size has.
    #[error("what is stored of the tree does not fit its size; verify the log")]
    Edge,
    /// A batch does not follow from the one before it.
    #[error("the log is not as it was recorded at position {position}; verify it")]
    Changed {
        /// The first position of that batch.
        position: Position,
    },
}

impl From<sqlx::Error> for GrowError {
    fn from(error: sqlx::Error) -> Self {
        Self::Read(error.into())
    }
}

/// The tree as far as it has grown, in the memory of who lets it grow.
#[derive(Clone, Debug)]
pub(crate) struct Grown {
    pub(crate) edge: Edge,
    /// Numbers within their organizations of the events that fill no tile yet.
    sequences: Vec<i64>,
    pub(crate) organizations: Organizations,
    /// The chain of the batch that the tree ends with.
    pub(crate) chain: Hash,
    /// When that batch was recorded.
    pub(crate) recorded_at: DateTime<Utc>,
}

/// What one step adds.
#[derive(Default)]
struct Added {
    tiles: Vec<(Tile, Option<Vec<u8>>)>,
    tenants: BTreeMap<Uuid, i64>,
}

/// Position, organization, version in its stream (zero for none), and hash of an event.
type EventRow = (Position, Uuid, i64, Vec<u8>);

impl Grown {
    /// The tree as it is stored.
    pub(crate) async fn load(log: &EventLog) -> Result<Self, GrowError> {
        // One snapshot, so that counts and edge are of the same size.
        let mut snapshot = log
            .pool()
            .begin_with("begin transaction isolation level repeatable read, read only")
            .await?;
        let (size, edge, sequences): (i64, Vec<u8>, Vec<u8>) =
            sqlx::query_as("select size, edge, sequences from event_log.tree")
                .fetch_one(&mut *snapshot)
                .await?;
        let counts: Vec<(Uuid, i64)> =
            sqlx::query_as("select tenant, count from event_log.tenant_head")
                .fetch_all(&mut *snapshot)
                .await?;
        let batch: Option<(DateTime<Utc>, Vec<u8>)> = sqlx::query_as(
            "select recorded_at, chain from event_log.log_batch
              where first <= $1 and last = $1 order by first desc limit 1",
        )
        .bind(size)
        .fetch_optional(&mut *snapshot)
        .await?;
        snapshot.rollback().await?;
        let (recorded_at, chain) = match batch {
            Some((recorded_at, chain)) => (recorded_at, hash(&chain)?),
            None if size == 0 => (DateTime::UNIX_EPOCH, CHAIN_START),
            None => return Err(GrowError::Changed { position: Position(size) }),
        };
        let edge = Edge::from_bytes(u64::try_from(size).map_err(|_| GrowError::Edge)?, &edge);
        let edge = edge.ok_or(GrowError::Edge)?;
        let sequences = sequences_from(&sequences).ok_or(GrowError::Edge)?;
        if sequences.len() != edge.level(0).len() {
            return Err(GrowError::Edge);
        }
        let mut organizations = Organizations::default();
        counts.into_iter().for_each(|(tenant, count)| organizations.set(tenant, count));
        Ok(Self { edge, sequences, organizations, chain, recorded_at })
    }

    /// Up to where the tree has grown.
    pub(crate) fn position(&self) -> Position {
        Position(i64::try_from(self.edge.size()).unwrap_or(i64::MAX))
    }

    /// Takes in what follows, a bounded number of whole batches. False when there is nothing. When
    /// it fails, or somebody else was faster, it has to be loaded again.
    pub(crate) async fn step(&mut self, log: &EventLog) -> Result<Step, GrowError> {
        let from = self.position();
        let mut connection = log.pool().acquire().await?;
        let batches = batches_after(&mut connection, from).await?;
        let Some(last) = batches.last() else { return Ok(Step::Nothing) };
        let events: Vec<EventRow> = sqlx::query_as(
            "select position, tenant, coalesce(stream_version, 0), event_hash
               from event_log.log where position > $1 and position <= $2 order by position",
        )
        .bind(from)
        .bind(last.last)
        .fetch_all(&mut *connection)
        .await?;
        let (mut added, mut rest) = (Added::default(), events.as_slice());
        for batch in &batches {
            let count = usize::try_from(batch.last - batch.first + 1).unwrap_or_default();
            let of_batch = rest.split_at_checked(count);
            let (of_batch, after) =
                of_batch.ok_or(GrowError::Changed { position: Position(batch.first) })?;
            rest = after;
            self.take(batch, of_batch, &mut added)?;
        }
        for (tenant, count) in &added.tenants {
            self.organizations.set(*tenant, *count);
        }
        match self.store(&mut connection, from, added).await? {
            true => Ok(Step::Grown),
            false => Ok(Step::Overtaken),
        }
    }

    /// Takes a batch in, if it follows from the one before.
    fn take(
        &mut self,
        batch: &RawBatch,
        events: &[EventRow],
        added: &mut Added,
    ) -> Result<(), GrowError> {
        let changed = || GrowError::Changed { position: Position(batch.first) };
        let count = i32::try_from(events.len()).map_err(|_| changed())?;
        let hashes: Vec<Hash> =
            events.iter().map(|(.., event_hash)| hash(event_hash)).collect::<Result<_, _>>()?;
        let recorded_at_micros = micros(batch.recorded_at);
        let chain = chain_next(&self.chain, batch.first, count, recorded_at_micros, &hashes);
        let is_next = Position(batch.first) == self.position().next();
        if count == 0 || !is_next || chain[..] != batch.chain[..] {
            return Err(changed());
        }
        for ((position, tenant, stream_version, _), event_hash) in events.iter().zip(hashes) {
            if *position != self.position().next() {
                return Err(changed());
            }
            let so_far = added.tenants.entry(*tenant);
            let so_far = so_far.or_insert_with(|| self.organizations.count(*tenant));
            *so_far += 1;
            let tenant_sequence = *so_far;
            self.sequences.push(tenant_sequence);
            let entry = Entry {
                position: *position,
                tenant_sequence,
                batch_first: Position(batch.first),
                batch_count: count,
                recorded_at_micros,
                stream_version: *stream_version,
                event_hash,
            };
            for tile in self.edge.push(entry.leaf()) {
                let numbers =
                    (tile.level == 0).then(|| sequences_to(&std::mem::take(&mut self.sequences)));
                added.tiles.push((tile, numbers));
            }
        }
        self.chain = chain;
        self.recorded_at = batch.recorded_at;
        Ok(())
    }

    async fn store(
        &self,
        connection: &mut PgConnection,
        from: Position,
        added: Added,
    ) -> Result<bool, GrowError> {
        let (mut levels, mut indexes, mut nodes, mut sequences) = (vec![], vec![], vec![], vec![]);
        for (tile, numbers) in added.tiles {
            levels.push(i16::from(tile.level));
            indexes.push(i64::try_from(tile.index).unwrap_or(i64::MAX));
            nodes.push(tile.hashes.concat());
            sequences.push(numbers);
        }
        let (tenants, counts): (Vec<Uuid>, Vec<i64>) = added.tenants.into_iter().unzip();
        let grown = sqlx::query_scalar(
            "select event_log.grow_tree($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        )
        .bind(from)
        .bind(self.position())
        .bind(self.edge.to_bytes())
        .bind(sequences_to(&self.sequences))
        .bind(levels)
        .bind(indexes)
        .bind(nodes)
        .bind(sequences)
        .bind(tenants)
        .bind(counts)
        .fetch_one(connection)
        .await?;
        Ok(grown)
    }
}

impl EventLog {
    /// Lets the tree grow up to the head as it is now, whoever else does; answers its size.
    ///
    /// # Errors
    /// [`GrowError`] says why it cannot grow; it stays as it is then.
    pub async fn grow_tree(&self) -> Result<u64, GrowError> {
        let head = self.head().await?;
        let mut grown = Grown::load(self).await?;
        while grown.position() < head {
            if grown.step(self).await? != Step::Grown {
                grown = Grown::load(self).await?;
            }
        }
        Ok(grown.edge.size())
    }
}

/// What came of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// There is nothing that the tree does not have.
    Nothing,
    /// It has grown.
    Grown,
    /// Somebody else let it grow meanwhile: load it again.
    Overtaken,
}

/// The batches that follow a position: as many as one step takes in.
async fn batches_after(
    connection: &mut PgConnection,
    after: Position,
) -> Result<Vec<RawBatch>, sqlx::Error> {
    let batches: Vec<RawBatch> = sqlx::query_as(
        "select first, last, recorded_at, chain from event_log.log_batch
          where first > $1 and first <= $2 order by first limit $3",
    )
    .bind(after)
    .bind(after.0 + EVENTS_MAX)
    .bind(BATCHES_MAX)
    .fetch_all(connection)
    .await?;
    Ok(batches)
}

fn hash(bytes: &[u8]) -> Result<Hash, GrowError> {
    bytes.try_into().map_err(|_| GrowError::Edge)
}

pub(super) fn sequences_to(sequences: &[i64]) -> Vec<u8> {
    sequences.iter().flat_map(|number| number.to_be_bytes()).collect()
}

pub(super) fn sequences_from(bytes: &[u8]) -> Option<Vec<i64>> {
    let (numbers, rest) = bytes.as_chunks::<8>();
    let is_whole = rest.is_empty() && numbers.len() <= TILE_WIDTH;
    is_whole.then(|| numbers.iter().map(|bytes| i64::from_be_bytes(*bytes)).collect())
}
