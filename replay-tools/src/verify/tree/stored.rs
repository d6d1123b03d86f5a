//! What the database keeps of the tree: full tiles, the edge, the counts of organizations.

use super::grown::{Filled, Growing};
use crate::Failure;
use crate::verify::Finding;
use event_log::evidence::Hash;
use event_log::tree::edge::{Edge, TILE_WIDTH};
use sqlx::postgres::PgConnection;
use std::collections::{BTreeMap, HashMap};
use uuid::Uuid;

/// A tree of 2⁶³ leaves has no level above.
const LEVEL_MAX: u8 = 7;

/// A tile as it is stored: its hashes, and the numbers of its events.
type Nodes = (Vec<u8>, Option<Vec<u8>>);

/// Level, index and content of a tile.
type Row = (i16, i64, Vec<u8>, Option<Vec<u8>>);

/// Everything but the tiles, which are read as they are needed.
pub(super) struct Stored {
    size: i64,
    edge: Vec<u8>,
    sequences: Vec<u8>,
    heads: Vec<(Uuid, i64)>,
    /// What is wrong with how many rows there are.
    rows: Option<Finding>,
}

impl Stored {
    pub(super) async fn read(connection: &mut PgConnection) -> Result<Self, Failure> {
        let mut trees: Vec<(i64, Vec<u8>, Vec<u8>)> =
            sqlx::query_as("select size, edge, sequences from event_log.tree order by size desc")
                .fetch_all(&mut *connection)
                .await?;
        let heads = sqlx::query_as("select tenant, count from event_log.tenant_head")
            .fetch_all(&mut *connection)
            .await?;
        let rows = (trees.len() != 1)
            .then(|| Finding::changed(1, format!("tree has {} rows and not one", trees.len())));
        let (size, edge, sequences) = trees.pop().unwrap_or_default();
        Ok(Self { size, edge, sequences, heads, rows })
    }

    pub(super) fn size(&self) -> i64 {
        self.size
    }

    /// What is wrong without looking at the log: rows that no tree has, and one that is larger.
    pub(super) async fn strays(
        &self,
        connection: &mut PgConnection,
        head: i64,
    ) -> Result<Vec<Finding>, Failure> {
        let mut findings: Vec<Finding> = self.rows.clone().into_iter().collect();
        if self.size > head || self.size < 0 {
            findings.push(self.beyond(head));
        }
        let tiles: Vec<(i16, i64, i64)> = sqlx::query_as(
            "select level, index, count(*) from event_log.tile group by level, index
             having count(*) > 1
                 or case when level between 0 and $2 and index >= 0
                         then (index::numeric + 1) * power(256::numeric, level + 1) > $1
                         else true end",
        )
        .bind(self.size)
        .bind(i16::from(LEVEL_MAX))
        .fetch_all(&mut *connection)
        .await?;
        findings.extend(tiles.into_iter().map(|(level, index, count)| {
            let of_tree = u8::try_from(level).ok().zip(u64::try_from(index).ok());
            let first = of_tree.and_then(|(level, index)| first_of(level, index, 0));
            let position = first.map_or(head + 1, |first| first.min(head + 1));
            let size = self.size;
            let what = match count {
                1 => format!("tile has a row ({level}, {index}), as no tree of {size} events has"),
                _ => format!("tile has {count} rows ({level}, {index})"),
            };
            Finding::changed(position, what)
        }));
        Ok(findings)
    }

    /// A checkpoint is only made of a tree that has grown so far.
    pub(super) async fn compare_signed(
        &self,
        connection: &mut PgConnection,
        head: i64,
    ) -> Result<Option<Finding>, Failure> {
        let sql = "select max(size) from event_log.checkpoint where size > $1 and size <= $2";
        let signed: Option<i64> =
            sqlx::query_scalar(sql).bind(self.size).bind(head).fetch_one(connection).await?;
        Ok(signed.map(|signed| {
            let what = format!("the tree ends before it, and was signed up to {signed}");
            Finding::changed(self.size.max(0) + 1, what)
        }))
    }

    /// A tree that is larger than its log.
    fn beyond(&self, head: i64) -> Finding {
        let size = self.size;
        let edge = u64::try_from(size).ok().and_then(|size| Edge::from_bytes(size, &self.edge));
        match edge {
            Some(_) => Finding::missing(
                head + 1,
                format!(
                    "the log ends before it, and the tree over it has {size} events: its tail was \
                     dropped"
                ),
            ),
            None => Finding::changed(
                size.clamp(1, head + 1),
                format!("tree claims {size} events, and has not the hashes of so many"),
            ),
        }
    }

    /// Compares edge and counts where the stored tree ends.
    pub(super) fn compare(&self, growing: &Growing, batch_last: i64) -> Option<Finding> {
        if growing.size() != self.size || self.rows.is_some() {
            return None;
        }
        if batch_last != self.size {
            let what = format!("the tree ends here, inside a batch that ends at {batch_last}");
            return Some(Finding::changed(self.size, what));
        }
        // With a wrong edge, it may be the size that is wrong.
        self.compare_edge(growing)
            .or_else(|| self.compare_sequences(growing))
            .or_else(|| self.compare_heads(growing))
    }

    fn compare_edge(&self, growing: &Growing) -> Option<Finding> {
        if self.edge == growing.edge.to_bytes() {
            return None;
        }
        let size = u64::try_from(self.size).unwrap_or_default();
        let edge = Edge::from_bytes(size, &self.edge);
        let differs = |level: u8| {
            let (held, given) = (edge.as_ref()?.level(level), growing.edge.level(level));
            let at = held.iter().zip(given).position(|(held, given)| held != given)?;
            first_of(level, size >> (8 * (u32::from(level) + 1)), at)
        };
        let at = (0..=LEVEL_MAX).filter_map(differs).min().unwrap_or(self.size.max(1));
        Some(Finding::changed(at, "the edge of the tree is not the one that the events give"))
    }

    fn compare_sequences(&self, growing: &Growing) -> Option<Finding> {
        let at = differs(&self.sequences, &numbers(&growing.sequences), 8)?;
        let start = self.size - self.size % 256;
        let at = (start + i64::try_from(at).unwrap_or_default() + 1).min(self.size.max(1));
        let what = "tree has another number for the event here within its organization";
        Some(Finding::changed(at, what))
    }

    fn compare_heads(&self, growing: &Growing) -> Option<Finding> {
        let mut held: BTreeMap<Uuid, Vec<i64>> = BTreeMap::new();
        for (tenant, count) in &self.heads {
            held.entry(*tenant).or_default().push(*count);
        }
        let wrong = growing.counts.iter().filter_map(|(tenant, (count, last))| {
            let held = held.get(tenant).map_or(&[][..], Vec::as_slice);
            (*held != [*count]).then(|| {
                let what = format!(
                    "tenant_head has {held:?} for {tenant}, and the event here is number {count}"
                );
                Finding::changed(*last, what)
            })
        });
        let strange = held.keys().filter(|tenant| !growing.counts.contains_key(tenant));
        let strange = strange.map(|tenant| {
            let what = format!("tenant_head has a row for {tenant}, which has no events");
            Finding::changed(self.size.max(1), what)
        });
        wrong.chain(strange).min_by_key(|finding| finding.position)
    }

    /// Compares tiles that were filled with those that are stored.
    pub(super) async fn compare_tiles(
        &self,
        connection: &mut PgConnection,
        filled: &[Filled],
    ) -> Result<Option<Finding>, Failure> {
        let due: Vec<&Filled> = filled
            .iter()
            .filter(|(tile, _)| {
                let end = first_of(tile.level, tile.index + 1, 0);
                end.is_some_and(|end| end <= self.size.saturating_add(1))
            })
            .collect();
        let (levels, indexes): (Vec<i16>, Vec<i64>) = due
            .iter()
            .map(|(tile, _)| (i16::from(tile.level), i64::try_from(tile.index).unwrap_or(i64::MAX)))
            .unzip();
        let rows: Vec<Row> = sqlx::query_as(
            "select t.level, t.index, t.nodes, t.sequences from event_log.tile t
               join unnest($1::smallint[], $2::bigint[]) as w (level, index)
              using (level, index)",
        )
        .bind(levels)
        .bind(indexes)
        .fetch_all(connection)
        .await?;
        let held: HashMap<(i16, i64), Nodes> = rows
            .into_iter()
            .map(|(level, index, nodes, sequences)| ((level, index), (nodes, sequences)))
            .collect();
        let wrong = due.into_iter().filter_map(|filled| {
            let (level, index) = (i16::from(filled.0.level), i64::try_from(filled.0.index).ok()?);
            compare_tile(filled, held.get(&(level, index)))
        });
        Ok(wrong.min_by_key(|finding| finding.position))
    }
}

fn compare_tile((tile, given): &Filled, held: Option<&Nodes>) -> Option<Finding> {
    let (level, index) = (tile.level, tile.index);
    let at = |place: usize| first_of(level, index, place.min(TILE_WIDTH - 1)).unwrap_or(i64::MAX);
    let Some((nodes, sequences)) = held else {
        let what = format!("tile has no row ({level}, {index}), which begins here");
        return Some(Finding::changed(at(0), what));
    };
    if let Some(place) = differs(nodes, tile.hashes.as_flattened(), size_of::<Hash>()) {
        let what =
            format!("the tile ({level}, {index}) has another hash than the events here give");
        return Some(Finding::changed(at(place), what));
    }
    let given = given.as_ref().map(|given| numbers(given));
    let place = match (sequences, &given) {
        (Some(held), Some(given)) => differs(held, given, 8)?,
        (None, None) => return None,
        (Some(_), None) | (None, Some(_)) => 0,
    };
    let what = format!(
        "the tile ({level}, {index}) has another number for the event here within its organization"
    );
    Some(Finding::changed(at(place), what))
}

/// The first position below a hash of a tile; none beyond all positions.
fn first_of(level: u8, index: u64, place: usize) -> Option<i64> {
    let node = u128::from(index) << 8 | u128::try_from(place).ok()?;
    let first = node.checked_shl(8 * u32::from(level))?.checked_add(1)?;
    i64::try_from(first).ok()
}

/// Which piece is the first that differs; the one behind the end when one of them is longer.
fn differs(held: &[u8], given: &[u8], piece: usize) -> Option<usize> {
    if held == given {
        return None;
    }
    let pieces = held.chunks(piece).zip(given.chunks(piece));
    let same = pieces.take_while(|(held, given)| held == given).count();
    Some(same)
}

fn numbers(sequences: &[i64]) -> Vec<u8> {
    sequences.iter().flat_map(|number| number.to_be_bytes()).collect()
}
