//! Reading the tree: tiles, entries, roots and proofs, as of any size it has had.
//!
//! Everything is worked out from the stored tiles and the edge; the log's rows are needed for
//! entries only. A tree only grows, so that what is read in several statements still fits together:
//! what a tree of some size has does not change any more.

use super::edge::{Edge, InTile, TILE_WIDTH};
use super::entry::Entry;
use super::hash::{Span, consistency_spans, inclusion_spans, root_of};
use super::organizations::{CountProof, Organizations};
use crate::evidence::{Hash, micros};
use crate::{EventLog, Position};
use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::postgres::PgRow;
use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use uuid::Uuid;

/// Why something of the tree cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// The database did not answer.
    #[error("the tree cannot be read just now; try again")]
    Unavailable(#[from] sqlx::Error),
    /// The tree is not as large as was asked.
    #[error("the tree has {size} events; {asked} were asked for")]
    Beyond {
        /// How large it is.
        size: u64,
        /// What was asked.
        asked: u64,
    },
    /// What is stored is not what a tree of its size has.
    #[error("what is stored of the tree is not whole; verify the log")]
    Damaged,
}

/// The entries of some leaves, and how many the tree has. Where it has none of them, there is one
/// row that has no position. The numbers within organizations lie in the tile, or beside the edge
/// until it is full.
const ENTRIES: &str = "
select known.size, found.*,
       substring(known.sequences from ((found.position - 1) % 256 * 8 + 1)::integer for 8)
         as tenant_sequence
  from (select tree.size,
               case when tree.size >> 8 > $1 then tile.sequences else tree.sequences end
                 as sequences
          from event_log.tree
          left join event_log.tile on tile.level = 0 and tile.index = $1) known
  left join lateral (
       select l.position, coalesce(l.stream_version, 0) as stream_version, l.event_hash,
              b.first, (b.last - b.first + 1)::integer as count, b.recorded_at
         from event_log.log l,
              lateral (select * from event_log.log_batch b where b.first <= l.position
                        order by b.first desc limit 1) b
        where l.position > $2 and l.position <= least($3, known.size)) found on true
 order by found.position";

/// A row of [`ENTRIES`]; none where the tree has none of the leaves.
fn entry(row: &PgRow) -> Result<Option<Entry>, TreeError> {
    let Some(position) = row.try_get("position")? else { return Ok(None) };
    let recorded_at: DateTime<Utc> = row.try_get("recorded_at")?;
    let sequence: Option<Vec<u8>> = row.try_get("tenant_sequence")?;
    let sequence = sequence.and_then(|bytes| bytes.try_into().ok()).ok_or(TreeError::Damaged)?;
    let event_hash: Vec<u8> = row.try_get("event_hash")?;
    Ok(Some(Entry {
        position: Position(position),
        tenant_sequence: i64::from_be_bytes(sequence),
        batch_first: Position(row.try_get("first")?),
        batch_count: row.try_get("count")?,
        recorded_at_micros: micros(recorded_at),
        stream_version: row.try_get("stream_version")?,
        event_hash: event_hash.try_into().map_err(|_| TreeError::Damaged)?,
    }))
}

/// That an event is in a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inclusion {
    /// What the leaf is the hash of.
    pub entry: Entry,
    /// In the tree of this size.
    pub size: u64,
    /// The hashes beside the path, from the leaf to the root.
    pub path: Vec<Hash>,
}

/// The tiles and the edge that some hashes are worked out from.
struct Fetched {
    edge: Edge,
    tiles: HashMap<(u8, u64), Vec<Hash>>,
}

impl Fetched {
    /// The hashes that stand in a tile, whether it is full yet or not.
    fn hashes(&self, at: InTile) -> Option<&[Hash]> {
        let full = self.tiles.get(&(at.level, at.index)).map(Vec::as_slice);
        let is_edge = self.edge.size() >> (8 * (u32::from(at.level) + 1)) == at.index;
        let hashes = full.or_else(|| is_edge.then(|| self.edge.level(at.level)))?;
        hashes.get(at.start..at.start + at.count)
    }

    fn root(&self, span: Span) -> Option<Hash> {
        let nodes = span.nodes().into_iter();
        let hashes: Option<Vec<Hash>> =
            nodes.map(|node| self.hashes(node.in_tile()).map(root_of)).collect();
        Some(Span::root(&hashes?))
    }
}

impl EventLog {
    /// How many events the tree has taken in.
    pub async fn tree_size(&self) -> Result<u64, TreeError> {
        let size: i64 =
            sqlx::query_scalar("select size from event_log.tree").fetch_one(self.pool()).await?;
        u64::try_from(size).map_err(|_| TreeError::Damaged)
    }

    /// The root of the tree when it had a size.
    pub async fn tree_root(&self, size: u64) -> Result<Hash, TreeError> {
        let roots = self.span_roots(size, vec![Span { start: 0, end: size }]).await?;
        roots.into_iter().next().ok_or(TreeError::Damaged)
    }

    /// That the event at a position is in the tree of a size.
    pub async fn inclusion(&self, position: Position, size: u64) -> Result<Inclusion, TreeError> {
        let leaf = u64::try_from(position.0 - 1).unwrap_or(u64::MAX);
        if leaf >= size {
            return Err(TreeError::Beyond { size, asked: leaf.saturating_add(1) });
        }
        let place = usize::try_from(leaf % TILE_WIDTH as u64).unwrap_or_default();
        // Side by side: neither changes any more, once the tree has that size.
        let (path, entries) = tokio::try_join!(
            self.span_roots(size, inclusion_spans(leaf, size)),
            self.entries_of(leaf / TILE_WIDTH as u64, place..place + 1),
        )?;
        let entry = entries.into_iter().next().ok_or(TreeError::Damaged)?;
        Ok(Inclusion { entry, size, path })
    }

    /// That the tree of a size begins with the tree of a smaller one.
    pub async fn consistency(&self, old: u64, new: u64) -> Result<Vec<Hash>, TreeError> {
        if old > new {
            return Err(TreeError::Beyond { size: new, asked: old });
        }
        self.span_roots(new, consistency_spans(old, new)).await
    }

    /// The roots of some spans of leaves, all below a size.
    async fn span_roots(&self, size: u64, spans: Vec<Span>) -> Result<Vec<Hash>, TreeError> {
        let wanted: BTreeSet<(u8, u64)> = spans
            .iter()
            .flat_map(|span| span.nodes())
            .map(|node| (node.in_tile().level, node.in_tile().index))
            .collect();
        let fetched = self.fetch(size, &wanted).await?;
        let roots: Option<Vec<Hash>> = spans.into_iter().map(|span| fetched.root(span)).collect();
        roots.ok_or(TreeError::Damaged)
    }

    async fn fetch(&self, size: u64, wanted: &BTreeSet<(u8, u64)>) -> Result<Fetched, TreeError> {
        let (levels, indexes): (Vec<i16>, Vec<i64>) = wanted
            .iter()
            .map(|(level, index)| (i16::from(*level), i64::try_from(*index).unwrap_or(i64::MAX)))
            .unzip();
        // One statement sees the edge and the tiles of one moment.
        let (grown, edge, places, nodes): (i64, Vec<u8>, Vec<i64>, Vec<Vec<u8>>) = sqlx::query_as(
            "select tree.size, tree.edge, found.places, found.nodes
               from event_log.tree,
                    (select coalesce(array_agg(w.place), '{}') as places,
                            coalesce(array_agg(t.nodes), '{}') as nodes
                       from unnest($1::smallint[], $2::bigint[])
                              with ordinality as w (level, index, place)
                       join event_log.tile t using (level, index)) found",
        )
        .bind(levels)
        .bind(indexes)
        .fetch_one(self.pool())
        .await?;
        let grown = u64::try_from(grown).map_err(|_| TreeError::Damaged)?;
        if size > grown {
            return Err(TreeError::Beyond { size: grown, asked: size });
        }
        let edge = Edge::from_bytes(grown, &edge).ok_or(TreeError::Damaged)?;
        let wanted: Vec<(u8, u64)> = wanted.iter().copied().collect();
        let tile = |(place, nodes): (&i64, &Vec<u8>)| {
            let place = usize::try_from(*place - 1).ok()?;
            Some((*wanted.get(place)?, hashes_from(nodes)?))
        };
        let tiles: Option<_> = places.iter().zip(&nodes).map(tile).collect();
        Ok(Fetched { edge, tiles: tiles.ok_or(TreeError::Damaged)? })
    }

    /// The first hashes of a tile of a tree: all 256, or as many as the edge has. None when there
    /// are not so many.
    pub async fn tile(
        &self,
        level: u8,
        index: u64,
        width: usize,
    ) -> Result<Option<Vec<Hash>>, TreeError> {
        let fetched = self.fetch(0, &BTreeSet::from([(level, index)])).await?;
        let at = InTile { level, index, start: 0, count: width };
        Ok(fetched.hashes(at).map(<[Hash]>::to_vec))
    }

    /// The entries of a tile of leaves: all 256, or as many as the tree has.
    pub async fn entries(&self, index: u64) -> Result<Vec<Entry>, TreeError> {
        self.entries_of(index, 0..TILE_WIDTH).await
    }

    /// Those of a tile of leaves that stand at some of its places, as far as the tree has them.
    async fn entries_of(&self, index: u64, places: Range<usize>) -> Result<Vec<Entry>, TreeError> {
        let tile = i64::try_from(index).map_err(|_| TreeError::Damaged)?;
        let before = tile << 8;
        let place = |place: usize| before + i64::try_from(place).unwrap_or_default();
        let (start, end) = (place(places.start), place(places.end));
        let rows =
            sqlx::query(ENTRIES).bind(tile).bind(start).bind(end).fetch_all(self.pool()).await?;
        let size: i64 = rows.first().ok_or(TreeError::Damaged)?.try_get("size")?;
        let expected = usize::try_from(end.min(size) - start).unwrap_or_default();
        let found = rows.iter().filter_map(|row| entry(row).transpose());
        let found = found.collect::<Result<Vec<Entry>, TreeError>>()?;
        if found.len() == expected { Ok(found) } else { Err(TreeError::Damaged) }
    }

    /// The counts of all organizations when the tree had a size: those of now, less what came
    /// after.
    pub async fn organizations(&self, size: u64) -> Result<Organizations, TreeError> {
        let mut snapshot = self
            .pool()
            .begin_with("begin transaction isolation level repeatable read, read only")
            .await?;
        let grown: i64 =
            sqlx::query_scalar("select size from event_log.tree").fetch_one(&mut *snapshot).await?;
        let asked = i64::try_from(size).unwrap_or(i64::MAX);
        if asked > grown {
            let size = u64::try_from(grown).map_err(|_| TreeError::Damaged)?;
            return Err(TreeError::Beyond { size, asked: asked.unsigned_abs() });
        }
        let counts: Vec<(Uuid, i64)> = sqlx::query_as(
            "select h.tenant, h.count - coalesce(later.count, 0)
               from event_log.tenant_head h
               left join (select l.tenant, count(*) from event_log.log l
                           where l.position > $1 and l.position <= $2 group by l.tenant) later
              using (tenant)",
        )
        .bind(asked)
        .bind(grown)
        .fetch_all(&mut *snapshot)
        .await?;
        snapshot.rollback().await?;
        let mut organizations = Organizations::default();
        counts.into_iter().for_each(|(tenant, count)| organizations.set(tenant, count));
        Ok(organizations)
    }

    /// How many events an organization had when the tree had a size, with the proof.
    pub async fn count_proof(&self, tenant: Uuid, size: u64) -> Result<CountProof, TreeError> {
        Ok(self.organizations(size).await?.prove(tenant))
    }
}

pub(super) fn hashes_from(bytes: &[u8]) -> Option<Vec<Hash>> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    (rest.is_empty() && hashes.len() == TILE_WIDTH).then(|| hashes.to_vec())
}
