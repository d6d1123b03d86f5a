//! The stored tree from left to right: the hashes between two leaves, and each event's number
//! within its organization.
//!
//! Tiles are read ahead and each is read once, so that a walk over the whole tree costs one pass
//! over its tiles, in the memory of a few.

use super::edge::{Edge, InTile, TILE_WIDTH};
use super::grow::sequences_from;
use super::hash::{Span, root_of};
use super::read::{TreeError, hashes_from};
use crate::EventLog;
use crate::evidence::Hash;
use std::collections::{HashMap, VecDeque};

/// How many tiles of one level are read at a time.
const TILES_AHEAD: i64 = 32;

/// One tile, full or not.
#[derive(Clone, Debug)]
struct Read {
    index: u64,
    hashes: Vec<Hash>,
    /// Of level 0: the number of each event within its organization.
    sequences: Vec<i64>,
}

/// A walk over the tree as it is when the walk begins.
#[derive(Debug)]
pub struct Walk {
    log: EventLog,
    edge: Edge,
    sequences: Vec<i64>,
    ahead: HashMap<u8, VecDeque<Read>>,
}

impl Walk {
    /// Begins at the tree as it is now.
    ///
    /// # Errors
    /// When the database does not answer, or what it keeps is no tree.
    pub async fn begin(log: &EventLog) -> Result<Self, TreeError> {
        let (size, edge, sequences): (i64, Vec<u8>, Vec<u8>) =
            sqlx::query_as("select size, edge, sequences from event_log.tree")
                .fetch_one(log.pool())
                .await?;
        let size = u64::try_from(size).map_err(|_| TreeError::Damaged)?;
        let edge = Edge::from_bytes(size, &edge).ok_or(TreeError::Damaged)?;
        let sequences = sequences_from(&sequences).ok_or(TreeError::Damaged)?;
        Ok(Self { log: log.clone(), edge, sequences, ahead: HashMap::new() })
    }

    /// How many leaves the tree has.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.edge.size()
    }

    /// The roots of the complete subtrees that a span consists of, in the order of [`Span::nodes`].
    /// Spans are asked for from left to right.
    ///
    /// # Errors
    /// [`TreeError::Beyond`] behind the end of the tree.
    pub async fn hashes(&mut self, span: Span) -> Result<Vec<Hash>, TreeError> {
        if span.end > self.size() {
            return Err(TreeError::Beyond { size: self.size(), asked: span.end });
        }
        let mut hashes = Vec::new();
        for node in span.nodes() {
            let InTile { level, index, start, count } = node.in_tile();
            let tile = self.tile(level, index).await?;
            let below = tile.hashes.get(start..start + count).ok_or(TreeError::Damaged)?;
            hashes.push(root_of(below));
        }
        Ok(hashes)
    }

    /// The number of the event of a leaf within its organization. Leaves are asked for from left to
    /// right.
    ///
    /// # Errors
    /// [`TreeError::Damaged`] when the tree does not have it.
    pub async fn tenant_sequence(&mut self, leaf: u64) -> Result<i64, TreeError> {
        let tile = self.tile(0, leaf / TILE_WIDTH as u64).await?;
        let place = usize::try_from(leaf % TILE_WIDTH as u64).unwrap_or_default();
        tile.sequences.get(place).copied().ok_or(TreeError::Damaged)
    }

    async fn tile(&mut self, level: u8, index: u64) -> Result<&Read, TreeError> {
        let held = self.ahead.entry(level).or_default();
        while held.front().is_some_and(|tile| tile.index < index) {
            held.pop_front();
        }
        if held.front().is_none_or(|tile| tile.index != index) {
            *held = if self.edge.size() >> (8 * (u32::from(level) + 1)) == index {
                let sequences = if level == 0 { self.sequences.clone() } else { Vec::new() };
                [Read { index, hashes: self.edge.level(level).to_vec(), sequences }].into()
            } else {
                stored(&self.log, level, index).await?
            };
        }
        held.front().filter(|tile| tile.index == index).ok_or(TreeError::Damaged)
    }
}

/// Full tiles of a level from one on.
async fn stored(log: &EventLog, level: u8, index: u64) -> Result<VecDeque<Read>, TreeError> {
    let rows: Vec<(i64, Vec<u8>, Option<Vec<u8>>)> = sqlx::query_as(
        "select index, nodes, sequences from event_log.tile
          where level = $1 and index >= $2 and index < $2 + $3 order by index",
    )
    .bind(i16::from(level))
    .bind(i64::try_from(index).map_err(|_| TreeError::Damaged)?)
    .bind(TILES_AHEAD)
    .fetch_all(log.pool())
    .await?;
    rows.into_iter()
        .map(|(index, nodes, sequences)| {
            Some(Read {
                index: u64::try_from(index).ok()?,
                hashes: hashes_from(&nodes)?,
                sequences: sequences_from(&sequences.unwrap_or_default())?,
            })
        })
        .collect::<Option<_>>()
        .ok_or(TreeError::Damaged)
}
