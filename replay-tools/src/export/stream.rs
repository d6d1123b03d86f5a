//! Writing the events of a bundle in their order, with the hashes of the leaves between them and
//! the checkpoints in their places.

use super::rows::{self, Placed, Rows};
use crate::Failure;
use crate::history::PageSize;
use crate::snapshot::Snapshot;
use crate::verify::tables::{Bounds, read};
use crate::verify::{PAGES_AHEAD, Page};
use event_log::bundle::{Manifest, Scope, Writer};
use event_log::tree::entry::Entry;
use event_log::tree::hash::Span;
use event_log::tree::walk::Walk;
use event_log::verify::Hash;
use event_log::{EventLog, Position};
use indicatif::ProgressBar;
use std::collections::VecDeque;
use std::fs::File;
use std::io::BufWriter;
use tokio::sync::mpsc;
use uuid::Uuid;

/// How many checkpoints stand in a bundle before the last: they tell between which two something
/// was changed.
const CHECKPOINTS_MAX: i32 = 32;

type Output = BufWriter<File>;

pub(super) struct Stream<'a> {
    log: &'a EventLog,
    manifest: &'a Manifest,
    writer: Writer<Output>,
    tree: Walk,
    /// How many leaves have been written, as events or as hashes.
    leaves: u64,
    /// Sizes of the checkpoints that are still to come, the last one at the end.
    checkpoints: VecDeque<i64>,
    events: u64,
    /// Whether a body was not there any more.
    is_purged: bool,
    bar: ProgressBar,
}

impl<'a> Stream<'a> {
    pub(super) async fn begin(
        log: &'a EventLog,
        manifest: &'a Manifest,
        writer: Writer<Output>,
        bar: ProgressBar,
    ) -> Result<Self, Failure> {
        let last = i64::try_from(manifest.size).unwrap_or(i64::MAX);
        let to = manifest.to.min(last - 1);
        let between = rows::checkpoints(log.pool(), manifest.from, to, CHECKPOINTS_MAX).await?;
        let checkpoints = between.into_iter().chain([last]).collect();
        let tree = Walk::begin(log).await?;
        Ok(Self {
            log,
            manifest,
            writer,
            tree,
            leaves: 0,
            checkpoints,
            events: 0,
            is_purged: false,
            bar,
        })
    }

    /// Every batch with its events.
    pub(super) async fn everything(&mut self, mut snapshot: Snapshot) -> Result<Snapshot, Failure> {
        let Manifest { from, to, .. } = *self.manifest;
        let mut previous = rows::chain_before(self.log.pool(), from).await?;
        let bounds = Bounds::look(&mut snapshot).await?;
        let (sender, mut pages) = mpsc::channel(PAGES_AHEAD);
        let reader = tokio::spawn(async move {
            read(&mut snapshot, bounds, from - 1, &sender).await.map(|()| snapshot)
        });
        'pages: while let Some(page) = pages.recv().await {
            let groups = match page {
                Page::Groups(groups) => groups,
                Page::Finding(finding) => return Err(damaged(finding.position, &finding.problem)),
            };
            for (batch, rows) in groups {
                if batch.first > to {
                    break 'pages;
                }
                self.advance(leaf(batch.first)).await?;
                self.writer.batch(&batch, hash(&previous, batch.first)?)?;
                let count = i32::try_from(rows.len()).unwrap_or(i32::MAX);
                for row in rows {
                    let placed = Placed { row, batch_first: batch.first, batch_count: count };
                    self.event(&placed).await?;
                }
                previous = batch.chain;
            }
        }
        // Whoever reads ahead stops when nobody listens.
        drop(pages);
        let ended = reader.await;
        ended.map_err(|error| Failure::Problem(format!("reading the log broke off: {error}")))?
    }

    /// The events of one organization, with those just before and behind.
    pub(super) async fn organization(
        &mut self,
        snapshot: &mut Snapshot,
        tenant: Uuid,
    ) -> Result<(), Failure> {
        let Manifest { from, to, .. } = *self.manifest;
        let size = i64::try_from(self.manifest.size).unwrap_or(i64::MAX);
        if let Some(before) = rows::neighbour(snapshot, tenant, 0, from - 1, true).await? {
            self.neighbour(&before).await?;
        }
        let page = PageSize::new();
        let mut events = Rows { tenant, after: from - 1, to, size: page };
        while let Some(page) = events.next(snapshot).await? {
            for placed in &page {
                self.advance(leaf(placed.row.position)).await?;
                self.event(placed).await?;
            }
        }
        let behind = rows::neighbour(snapshot, tenant, to, size, false).await?;
        // A purge that accounts for bodies is written as one.
        match behind.filter(|behind| !(self.is_purged && rows::is_purge(behind))) {
            Some(behind) => self.neighbour(&behind).await,
            None => Ok(()),
        }
    }

    /// The rest of the tree, the last checkpoint, what follows it, and the end.
    pub(super) async fn finish(
        mut self,
        snapshot: &mut Snapshot,
    ) -> Result<(Output, u64), Failure> {
        if self.is_purged && self.manifest.bodies {
            self.purges(snapshot).await?;
        }
        self.advance(self.manifest.size).await?;
        if let Scope::Organization(tenant) = self.manifest.scope {
            let proof = self.log.count_proof(tenant, self.manifest.size).await?;
            self.writer.count(&proof)?;
        }
        self.bar.finish_and_clear();
        Ok((self.writer.finish()?, self.events))
    }

    /// Purges that were recorded behind the events: they account for bodies that are gone.
    async fn purges(&mut self, snapshot: &mut Snapshot) -> Result<(), Failure> {
        let size = i64::try_from(self.manifest.size).unwrap_or(i64::MAX);
        let of = match self.manifest.scope {
            Scope::All => None,
            Scope::Organization(tenant) => Some(tenant),
        };
        for placed in rows::purges(snapshot, of, self.manifest.to, size).await? {
            self.advance(leaf(placed.row.position)).await?;
            let entry = self.entry(&placed).await?;
            self.writer.purge(entry, &placed.row)?;
            self.leaves += 1;
        }
        Ok(())
    }

    async fn event(&mut self, placed: &Placed) -> Result<(), Failure> {
        let entry = self.entry(placed).await?;
        self.writer.event(entry, &placed.row, self.manifest.bodies)?;
        self.is_purged |= placed.row.payload_salt.is_empty();
        self.leaves += 1;
        self.events += 1;
        if self.events.is_multiple_of(1_000) {
            let done = placed.row.position - self.manifest.from;
            self.bar.set_position(u64::try_from(done).unwrap_or_default());
        }
        Ok(())
    }

    async fn neighbour(&mut self, placed: &Placed) -> Result<(), Failure> {
        self.advance(leaf(placed.row.position)).await?;
        let entry = self.entry(placed).await?;
        self.writer.neighbour(entry, &placed.row)?;
        self.leaves += 1;
        Ok(())
    }

    /// What the leaf of a row says. A row that is not what was recorded is not handed on.
    async fn entry(&mut self, placed: &Placed) -> Result<Entry, Failure> {
        let Placed { row, batch_first, batch_count } = placed;
        let event_hash = hash(&row.event_hash, row.position)?;
        if row.hash() != event_hash {
            return Err(damaged(row.position, "the event was edited"));
        }
        Ok(Entry {
            position: Position(row.position),
            tenant_sequence: self.tree.tenant_sequence(leaf(row.position)).await?,
            batch_first: Position(*batch_first),
            batch_count: *batch_count,
            recorded_at_micros: placed.recorded_at_micros(),
            stream_version: row.stream_version.unwrap_or_default(),
            event_hash,
        })
    }

    /// Writes what stands before a leaf: hashes, and checkpoints in their places.
    async fn advance(&mut self, leaf: u64) -> Result<(), Failure> {
        while let Some(size) = self.checkpoints.pop_front_if(|size| size.unsigned_abs() <= leaf) {
            self.gap(size.unsigned_abs()).await?;
            self.writer.checkpoint(&rows::note(self.log.pool(), size).await?)?;
        }
        self.gap(leaf).await
    }

    async fn gap(&mut self, end: u64) -> Result<(), Failure> {
        if end > self.leaves {
            let hashes = self.tree.hashes(Span { start: self.leaves, end }).await?;
            self.writer.gap(end, &hashes)?;
            self.leaves = end;
        }
        Ok(())
    }
}

/// The leaf of a position, which is also how many leaves stand before it.
fn leaf(position: i64) -> u64 {
    u64::try_from(position - 1).unwrap_or_default()
}

fn hash(bytes: &[u8], position: i64) -> Result<Hash, Failure> {
    bytes.try_into().map_err(|_| damaged(position, "a hash has not 32 bytes"))
}

fn damaged(position: i64, problem: &str) -> Failure {
    Failure::Problem(format!("position {position}: {problem}; run `opscenter-replay verify`"))
}
