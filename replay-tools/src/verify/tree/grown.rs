//! The tree, grown again from the rows of the log.

use crate::Failure;
use event_log::Position;
use event_log::evidence::{Hash, micros};
use event_log::tree::edge::{Edge, Tile};
use event_log::tree::entry::Entry;
use event_log::tree::organizations::Organizations;
use event_log::verify::RawBatch;
use sqlx::postgres::PgConnection;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// How many events are read at a time.
const EVENTS: i64 = 16_384;

/// Position, organization, version in its stream (zero for none), and hash of an event.
pub(super) type Row = (i64, Uuid, i64, Vec<u8>);

/// A tile that was filled, and of level 0 the numbers of its events within their organizations.
pub(super) type Filled = (Tile, Option<Vec<i64>>);

/// Events that follow each other, with their batches.
pub(super) struct Page {
    rows: Vec<Row>,
    batches: Vec<RawBatch>,
    /// Up to which position.
    pub(super) to: i64,
}

impl Page {
    pub(super) async fn read(
        connection: &mut PgConnection,
        after: i64,
        head: i64,
    ) -> Result<Self, Failure> {
        let to = head.min(after + EVENTS);
        let rows = sqlx::query_as(
            "select position, tenant, coalesce(stream_version, 0), event_hash
               from event_log.log where position > $1 and position <= $2 order by position",
        )
        .bind(after)
        .bind(to)
        .fetch_all(&mut *connection)
        .await?;
        let batches = sqlx::query_as(
            "select first, last, recorded_at, chain from event_log.log_batch
              where last > $1 and first <= $2 order by first",
        )
        .bind(after)
        .bind(to)
        .fetch_all(connection)
        .await?;
        Ok(Self { rows, batches, to })
    }

    /// Each event with its batch. The log is known to be whole, so that each has one.
    pub(super) fn rows(&self) -> impl Iterator<Item = (&Row, &RawBatch)> {
        let mut batches = self.batches.iter().peekable();
        self.rows.iter().filter_map(move |row| {
            while batches.next_if(|batch| batch.last < row.0).is_some() {}
            batches.peek().map(|batch| (row, *batch))
        })
    }
}

/// The tree after a part of the log.
#[derive(Default)]
pub(super) struct Growing {
    pub(super) edge: Edge,
    /// Numbers within their organizations of the events that fill no tile yet.
    pub(super) sequences: Vec<i64>,
    /// How many events each organization has, and where its last one is.
    pub(super) counts: BTreeMap<Uuid, (i64, i64)>,
    organizations: Organizations,
    /// Whose counts the map does not have yet.
    changed: BTreeSet<Uuid>,
}

impl Growing {
    /// How many events it has.
    pub(super) fn size(&self) -> i64 {
        i64::try_from(self.edge.size()).unwrap_or(i64::MAX)
    }

    /// Takes the next event; answers what it filled. None when it is not the next.
    pub(super) fn take(&mut self, row: &Row, batch: &RawBatch) -> Option<Vec<Filled>> {
        let (position, tenant, stream_version, event_hash) = row;
        if *position != self.size() + 1 || *position < batch.first {
            return None;
        }
        let event_hash: Hash = event_hash.as_slice().try_into().ok()?;
        let batch_count = i32::try_from(batch.last - batch.first + 1).ok()?;
        let (count, last) = self.counts.entry(*tenant).or_default();
        (*count, *last) = (*count + 1, *position);
        let entry = Entry {
            position: Position(*position),
            tenant_sequence: *count,
            batch_first: Position(batch.first),
            batch_count,
            recorded_at_micros: micros(batch.recorded_at),
            stream_version: *stream_version,
            event_hash,
        };
        self.sequences.push(*count);
        self.changed.insert(*tenant);
        let filled = self.edge.push(entry.leaf()).into_iter().map(|tile| {
            let numbers = (tile.level == 0).then(|| std::mem::take(&mut self.sequences));
            (tile, numbers)
        });
        Some(filled.collect())
    }

    /// The root of the map of organizations.
    pub(super) fn organizations(&mut self) -> Hash {
        for tenant in std::mem::take(&mut self.changed) {
            let count = self.counts.get(&tenant).map_or(0, |(count, _)| *count);
            self.organizations.set(tenant, count);
        }
        self.organizations.root()
    }
}
